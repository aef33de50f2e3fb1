// More of everything than there is room for: SYNs, connections, resets, TIME-WAIT.
import * as L from '../../core/layout.js';
import type { TcpOption } from '../../script/ast.js';
import { answersTo, type Enemy, openEnemy, watch } from '../enemy.js';
import { ACK, FIN, PSH, RST, readAnswer, SERVER_IP, SYN, segment, variant } from '../frames.js';
import type { Attack } from '../run.js';
import { BARE, ECHO, FAREWELL, FAREWELL_BYTES, LAZY, type World } from '../world.js';

const SYN_OPTIONS: readonly TcpOption[] = [
  { kind: 'mss', value: 1460 },
  { kind: 'sackOK' },
  { kind: 'TS', val: 1, ecr: 0 },
  { kind: 'nop' },
  { kind: 'wscale', value: 7 },
];
const A_TURN = 64;

/** Sends `count` frames, a burst in each turn. */
export function flood(world: World, count: number, make: (i: number) => Uint8Array): void {
  for (let i = 0; i < count; i += A_TURN) {
    world.hostile(...Array.from({ length: Math.min(A_TURN, count - i) }, (_, j) => make(i + j)));
    world.turn();
  }
}

/** Anywhere but 0/8, 10/8, 127/8 and from 224 on. */
function somewhere(world: World): number {
  const first = [1, 17, 45, 88, 130, 172, 198, 203][world.r.below(8)];
  return ((first << 24) | (world.r.u32() & 0xffffff)) >>> 0;
}

/** SYNs, and a look at the options of what is opened meanwhile. */
export function synFlood(world: World, count: number, source: () => number, from = world.ip.attacker): void {
  const template = segment({ src: from, dstPort: ECHO, flags: SYN, options: SYN_OPTIONS });
  let carried = 0;
  let bare = 0;
  const known = new Set(world.served.keys());
  flood(world, count, (i) => {
    if (i % 1024 === 0) {
      for (const handle of world.served.keys()) {
        if (known.has(handle)) continue;
        known.add(handle);
        if ((world.info(handle, L.INFO_options) & 7) === 7) carried++;
        else bare++;
      }
    }
    return variant(template, { src: source(), srcPort: 1024 + world.r.below(60000), seq: world.r.u32() });
  });
  world.expect(carried > 0, 'no connection was seen to be opened');
  world.expect(bare === 0, `${bare} connections without timestamps, SACK or window scale`);
  world.expect(world.count(L.CNT_TcpExtSyncookiesRecv) > 0, 'no cookie came back');
  world.expect(world.most.slots < 200, `${world.most.slots} slots in use`);
  world.expect(world.legitimate.slowestUs < 20_000, `an opening took ${world.legitimate.slowestUs} µs`);
}

/** Completes handshakes until there is no slot left, and stays. */
function fillTable(world: World, full: boolean): void {
  const own: Enemy[] = [];
  const { maxConnections } = world.server.core.config;
  for (let i = 0; i < maxConnections * (full ? 8 : 2); i++) {
    const enemy = openEnemy(world, { port: i % 2 === 0 ? ECHO : LAZY, srcPort: 1024 + i });
    if (enemy) own.push(enemy);
    if (i % 8 === 0) world.turn();
  }
  world.expect(world.slots() === maxConnections, `${world.slots()} slots in use: the table should be full`);
  world.pass(100_000);
  // They go, and there is room again.
  flood(world, own.length, (i) => own[i].frame({ flags: RST }));
  const { done } = world.legitimate;
  world.pass(1_000_000);
  world.expect(world.legitimate.done > done + 100, 'no new connections after the attack');
}

/** As many connections as there are slots are closed by the server, in good order, and stay in TIME-WAIT. */
function fillTimeWait(world: World, full: boolean): void {
  const { maxConnections } = world.server.core.config;
  for (let i = 0; i < maxConnections * (full ? 20 : 3); i++) {
    const enemy = openEnemy(world, { port: FAREWELL, srcPort: 1024 + i });
    if (!enemy) world.expect(false, `opening ${i} was not answered`);
    else {
      const end = (enemy.ack + FAREWELL_BYTES) >>> 0;
      answersTo(world, () => world.hostile(enemy.frame({ ack: end })));
      world.hostile(enemy.frame({ ack: (end + 1) >>> 0, flags: FIN | ACK }));
    }
    if (i % 4 === 0) world.turn();
  }
  world.expect(world.count(L.CNT_TcpExtTCPTimeWait) >= maxConnections, 'too few connections in TIME-WAIT');
}

/** SYNs without an ACK, and connections that send a byte now and then. */
function slowloris(world: World, full: boolean): void {
  const own: Enemy[] = [];
  for (let i = 0; i < 300; i++) {
    world.hostile(segment({ srcPort: 1024 + i, dstPort: ECHO, flags: SYN, seq: i, options: SYN_OPTIONS }));
    const enemy = openEnemy(world, { port: ECHO, srcPort: 10000 + i });
    if (enemy) own.push(enemy);
    world.turn();
  }
  for (let round = 0; round < (full ? 200 : 20); round++) {
    for (const enemy of own) {
      const answers = answersTo(world, () => world.hostile(enemy.frame({ flags: ACK | PSH, length: 1 })));
      enemy.seq = (enemy.seq + 1) >>> 0;
      enemy.ack = (enemy.ack + answers.reduce((sum, { length }) => sum + length, 0)) >>> 0;
    }
    world.pass(50_000);
  }
  world.expect(world.served.size >= own.length, 'a slow connection was ended');
}

/** Segments of no connection, with every combination of flags. */
function strays(world: World, full: boolean): void {
  const templates = Array.from({ length: 64 }, (_, flags) => segment({ dstPort: ECHO, flags }));
  let resets = 0;
  world.onAnswer = (frame) => {
    if ((readAnswer(frame)?.flags ?? 0) & RST) resets++;
  };
  const count = full ? 2_000_000 : 100_000;
  flood(world, count, (i) => {
    // A SYN alone would open something.
    const flags = (i & 63) === SYN ? RST : i & 63;
    return variant(templates[flags], { src: somewhere(world), srcPort: 1 + world.r.below(65000), seq: world.r.u32() });
  });
  world.expect(resets <= count, `${resets} resets for ${count} frames`);
  world.expect(world.most.slots < 200, `${world.most.slots} slots in use`);
}

/** FINs and RSTs with known numbers, but out of the window, at an open connection. */
function wrongEnds(world: World, full: boolean): void {
  const seen = watch(world, world.legitimate.handle);
  world.turn(200);
  world.pass(2000);
  const shapes = [FIN | ACK, RST, RST | ACK, FIN].map((flags) =>
    segment({ src: [10, 0, 0, 2], srcPort: seen.clientPort, dstPort: ECHO, flags }),
  );
  flood(world, full ? 1_000_000 : 50_000, (i) => {
    const far = 70_000 + world.r.below(2 ** 31 - 200_000);
    const seq = (seen.clientSeq + (i & 4 ? far : -far)) >>> 0;
    return variant(shapes[i & 3], { seq, ack: seen.serverSeq });
  });
}

export const floods: readonly Attack[] = [
  {
    name: 'syn-flood',
    about: 'a million SYNs from random addresses',
    counters: [L.CNT_TcpExtSyncookiesSent, L.CNT_TcpExtSyncookiesRecv, L.CNT_TcpExtListenDrops],
    run: (world, full) => synFlood(world, full ? 10_000_000 : 1_000_000, () => somewhere(world)),
  },
  {
    name: 'syn-flood-neighbours',
    about: 'SYNs from addresses of the link that nobody has: each answer wants a neighbour',
    prefixLength: 16,
    counters: [L.CNT_TcpExtSyncookiesSent, L.CNT_NeighTableFull, L.CNT_NeighPendingDrops, L.CNT_ArpOutRequests],
    run: (world, full) =>
      synFlood(world, full ? 2_000_000 : 100_000, () => (0x0a000000 | (256 + world.r.below(65000 - 256))) >>> 0),
  },
  {
    name: 'connection-flood',
    about: 'handshakes that are completed until the table is full, and kept',
    counters: [L.CNT_TcpPassiveOpens, L.CNT_TcpExtListenDrops, L.CNT_TcpExtSyncookiesSent],
    shutsOut: true,
    run: fillTable,
  },
  {
    name: 'time-wait',
    about: 'three times as many connections in TIME-WAIT as there are slots',
    counters: [L.CNT_TcpExtTCPTimeWait, L.CNT_TcpExtListenDrops],
    run: fillTimeWait,
  },
  {
    name: 'slowloris',
    about: 'half-open connections, and open ones that send a byte now and then',
    counters: [L.CNT_TcpExtSyncookiesSent, L.CNT_TcpPassiveOpens],
    run: slowloris,
  },
  {
    name: 'strays',
    about: 'segments of no connection with every combination of flags',
    counters: [L.CNT_TcpOutRsts, L.CNT_TcpInErrs],
    run: strays,
  },
  {
    name: 'fin-rst-flood',
    config: BARE,
    about: 'FINs and RSTs outside the window of an open connection',
    counters: [L.CNT_TcpExtOutOfWindow, L.CNT_TcpEstabResets, L.CNT_TcpExtPAWSEstab],
    run: wrongEnds,
  },
  {
    name: 'land',
    about: 'SYNs from the server’s own address and port',
    counters: [L.CNT_IpInAddrErrors],
    run(world, full) {
      const frame = segment({ src: SERVER_IP, srcPort: ECHO, dstPort: ECHO, flags: SYN });
      flood(world, full ? 500_000 : 20_000, () => frame);
      world.expect(world.count(L.CNT_IpInAddrErrors) >= world.frames, 'a packet from ourselves was taken');
    },
  },
];
