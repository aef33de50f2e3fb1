// The same over IPv6, and what only IPv6 has: neighbour discovery (RFC 4861, RFC 6583), fragments as an extension header.
import * as L from '../../core/layout.js';
import { ACK, fragment6, icmp6, neighbourSolicitation, PSH, segment, variant } from '../frames.js';
import type { Attack } from '../run.js';
import { ECHO, type World } from '../world.js';
import { sweeps } from './blind.js';
import { flood, synFlood } from './flood.js';
import { forgedErrors } from './icmp.js';

const UNREACHABLE = 1;
const PACKET_TOO_BIG = 2;
const TIME_EXCEEDED = 3;
const PARAMETER_PROBLEM = 4;
/** RFC 8200 §5: no path has less. Headers and timestamps take 72 of it. */
const MTU_LEAST = 1280;
const OVERHEAD = 40 + 20 + 12;

/** 2001:db8::, where nobody on the link is. */
const ELSEWHERE = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const errors = forgedErrors({
  times: 30_000,
  kinds: [
    ...[0, 1, 2, 3, 4, 5, 6].map((code) => [UNREACHABLE, code] as const),
    [PACKET_TOO_BIG, 0],
    [TIME_EXCEEDED, 0],
    [PARAMETER_PROBLEM, 1],
  ],
  frame: (world, type, code, quoted) => icmp6(type, code, type === PACKET_TOO_BIG ? world.r.below(1400) : 0, quoted),
  mssLeast: MTU_LEAST - OVERHEAD,
  mssWhole: 1500 - OVERHEAD,
});

/** Neighbours that the core has an entry for. */
function neighbours(world: World): number {
  const { core } = world.server;
  let count = 0;
  // Some way beyond the table's end, too.
  for (let i = 0; i < 4 * core.config.maxNeighbours; i++) if (core.neighAt(i, core.scratch) >= 0) count++;
  return count;
}

/** Solicitations from a /64 of made-up neighbours: each may be learnt, and the table has its size. */
function solicitations(world: World, full: boolean): void {
  flood(world, full ? 1_000_000 : 50_000, () => neighbourSolicitation(world.r.u32() | 0x100));
  const { maxNeighbours } = world.server.core.config;
  const known = neighbours(world);
  world.expect(known > 2 && known <= maxNeighbours, `${known} neighbours known, of ${maxNeighbours} at most`);
  world.expect(world.answers <= world.frames, `${world.answers} answers to ${world.frames} solicitations`);
}

/** Fragments of packets that never become whole, from everywhere. */
function fragments(world: World, full: boolean): void {
  const whole = segment({ src: ELSEWHERE, dstPort: ECHO, flags: ACK | PSH, length: 1000 });
  flood(world, full ? 1_000_000 : 40_000, () => {
    const from = variant(whole, { src: world.r.below(0x100000) });
    return fragment6(from, world.r.below(64), 8 * world.r.below(500), world.r.below(8) !== 0);
  });
  world.look();
  const { reasmObjects } = world.server.core.config;
  world.expect(world.most.rx > 0 && world.most.rx <= reasmObjects, `${world.most.rx} receive objects held`);
}

const attacks: readonly Omit<Attack, 'six'>[] = [
  ...sweeps('ipv6-'),
  {
    name: 'ipv6-syn-flood',
    about: 'SYNs from random addresses that are not on the link',
    counters: [L.CNT_TcpExtSyncookiesSent, L.CNT_TcpExtSyncookiesRecv, L.CNT_TcpExtListenDrops],
    run: (world, full) => synFlood(world, full ? 2_000_000 : 100_000, () => world.r.u32(), ELSEWHERE),
  },
  {
    name: 'ipv6-syn-flood-neighbours',
    about: 'SYNs from addresses of the /64 that nobody has: each answer wants a neighbour (RFC 6583)',
    counters: [L.CNT_NeighTableFull, L.CNT_NeighPendingDrops, L.CNT_Icmp6OutNeighborSolicits],
    run: (world, full) => {
      synFlood(world, full ? 2_000_000 : 60_000, () => world.r.u32() | 0x100);
      const { maxNeighbours } = world.server.core.config;
      world.expect(neighbours(world) <= maxNeighbours, `${neighbours(world)} neighbours`);
    },
  },
  {
    name: 'ipv6-neighbour-flood',
    about: 'neighbour solicitations from made-up neighbours of the /64',
    counters: [
      L.CNT_Icmp6InNeighborSolicits,
      L.CNT_Icmp6OutNeighborAdvertisements,
      L.CNT_Icmp6OutNeighborSolicits,
      L.CNT_NeighTableFull,
    ],
    run: solicitations,
  },
  {
    name: 'ipv6-icmp-blind',
    about: 'ICMPv6 errors of all kinds that quote random sequence numbers',
    counters: [L.CNT_Icmp6InDestUnreachs, L.CNT_Icmp6InPktTooBigs],
    run: (world, full) => errors(world, full, false),
  },
  {
    name: 'ipv6-icmp-informed',
    about: 'the same with sequence numbers that are or were in flight',
    counters: [L.CNT_Icmp6InDestUnreachs, L.CNT_Icmp6InPktTooBigs, L.CNT_TcpRetransSegs],
    run: (world, full) => errors(world, full, true),
  },
  {
    name: 'ipv6-fragments',
    about: 'fragments of packets that never become whole, from a million addresses',
    counters: [L.CNT_Ip6ReasmReqds, L.CNT_Ip6ReasmFails, L.CNT_Ip6ReasmOverlaps, L.CNT_Ip6ReasmTimeout],
    run: fragments,
  },
];

export const ipv6: readonly Attack[] = attacks.map((attack) => ({ ...attack, six: true }));
