// ICMP that is forged (RFC 5927) or too much, and neighbours that are made up.
import * as L from '../../core/layout.js';
import { watch } from '../enemy.js';
import { arpRequest, icmp, quote } from '../frames.js';
import type { Attack } from '../run.js';
import { ECHO, type World } from '../world.js';
import { flood } from './flood.js';

const UNREACHABLE = 3;
const TIME_EXCEEDED = 11;
const ECHO_REQUEST = 8;
const FRAG_NEEDED = 4;
/** The least path MTU that is believed, and what headers and timestamps take of it. */
const PMTU_LEAST = 552;
const OVERHEAD = 20 + 20 + 12;

/** The server's handle of the client's long connection. */
function victim(world: World, clientPort: number): number {
  for (const handle of world.served.keys()) {
    if (world.info(handle, L.INFO_remote_port) === clientPort) return handle;
  }
  return 0;
}

/** ICMP of one family of addresses. */
interface Forgery {
  /** Frames in the bounded run. */
  times: number;
  /** Types and codes, in turn. */
  kinds: readonly (readonly [type: number, code: number])[];
  frame(world: World, type: number, code: number, quoted: Uint8Array): Uint8Array;
  /** Payload bytes of a segment on the least path that is believed, and on the link. */
  mssLeast: number;
  mssWhole: number;
}

/** Errors of every kind that quote a segment of the client's connection, with numbers by chance or (`known`) in flight. */
export function forgedErrors(forgery: Forgery): (world: World, full: boolean, known: boolean) => void {
  const { times, kinds, frame, mssLeast, mssWhole } = forgery;
  return (world, full, known) => {
    const seen = watch(world, world.legitimate.handle);
    world.pass(4000);
    const handle = victim(world, seen.clientPort);
    flood(world, full ? 1_000_000 : times, (i) => {
      const [type, code] = kinds[i % kinds.length];
      const seq = known ? (seen.serverSeq - world.r.below(400)) >>> 0 : world.r.u32();
      return frame(world, type, code, quote(world.ip.client, ECHO, seen.clientPort, seq));
    });
    const mss = world.info(handle, L.INFO_snd_mss);
    // What somebody on the path says is believed, as far as it can be true.
    if (known) world.expect(mss < mssWhole, `segments of ${mss} bytes: no error was believed`);
    world.expect(mss >= (known ? mssLeast : mssWhole), `segments of ${mss} bytes`);
    world.expect(world.info(handle, L.INFO_state) === L.TCP_ESTABLISHED, 'the connection is gone');
  };
}

const errors = forgedErrors({
  times: 40_000,
  kinds: [...[0, 1, 2, 3, FRAG_NEEDED, 13].map((code) => [UNREACHABLE, code] as const), [TIME_EXCEEDED, 0]],
  // MTUs that no path has.
  frame: (world, type, code, quoted) =>
    icmp(type, code, type === UNREACHABLE && code === FRAG_NEEDED ? world.r.below(600) : 0, quoted),
  mssLeast: PMTU_LEAST - OVERHEAD,
  mssWhole: 1500 - OVERHEAD,
});

export const icmps: readonly Attack[] = [
  {
    name: 'icmp-blind',
    about: 'ICMP errors of all kinds that quote random sequence numbers',
    counters: [L.CNT_IcmpInDestUnreachs],
    run: (world, full) => errors(world, full, false),
  },
  {
    name: 'icmp-informed',
    about: 'the same with sequence numbers that are or were in flight',
    counters: [L.CNT_IcmpInDestUnreachs, L.CNT_TcpRetransSegs],
    run: (world, full) => errors(world, full, true),
  },
  {
    name: 'echo-flood',
    about: 'echo requests of 1,000 bytes',
    counters: [L.CNT_IcmpInEchos, L.CNT_IcmpOutEchoReps],
    run(world, full) {
      const frame = icmp(ECHO_REQUEST, 0, 1, new Uint8Array(1000));
      flood(world, full ? 1_000_000 : 50_000, () => frame);
      world.expect(world.answers <= world.frames, `${world.answers} answers to ${world.frames} requests`);
    },
  },
  {
    name: 'arp-flood',
    about: 'ARP requests from thousands of made-up neighbours',
    prefixLength: 16,
    counters: [L.CNT_ArpInRequests, L.CNT_ArpOutReplies, L.CNT_NeighTableFull],
    run(world, full) {
      flood(world, full ? 1_000_000 : 50_000, () => arpRequest(0x0a000000 + 256 + world.r.below(65_000 - 256)));
    },
  },
];
