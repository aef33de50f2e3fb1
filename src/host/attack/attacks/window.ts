// Receivers that hardly receive, or say so: windows of nothing, segments of nothing, SACK blocks without end.
import * as L from '../../core/layout.js';
import type { TcpOption } from '../../script/ast.js';
import { answersTo, type Enemy, openEnemy } from '../enemy.js';
import { RST, readAnswer } from '../frames.js';
import type { Attack } from '../run.js';
import { FAREWELL, SOURCE, type World } from '../world.js';
import { openSource, servedAt } from './acks.js';
import { flood } from './flood.js';

const MSS = 1460;
/** So many have all that they want of the server's memory. */
const MISERS = 100;

/** Opens `count` connections that never offer more than `window` bytes, and answers whatever is sent on them. */
function misers(world: World, port: number, count: number, window: number): Map<number, Enemy> {
  const own = new Map<number, Enemy>();
  const answered = new Map<number, number>();
  world.onAnswer = (frame) => {
    const answer = readAnswer(frame);
    // A reset ends it.
    if (answer && answer.flags & RST) own.delete(answer.dstPort);
    else if (answer && own.has(answer.dstPort)) answered.set(answer.dstPort, (answer.seq + answer.length) >>> 0);
  };
  for (let i = 0; i < count; i++) {
    const enemy = openEnemy(world, { port, srcPort: 1024 + i, window });
    if (enemy) own.set(enemy.srcPort, enemy);
    world.expect(enemy !== null, `connection ${i} was not opened`);
    world.turn();
  }
  replies.set(world, () => {
    const due = [...answered];
    answered.clear();
    for (const [srcPort, end] of due) {
      const enemy = own.get(srcPort);
      if (!enemy) continue;
      // A probe is an old number: it is answered with what is expected.
      if (((end - enemy.ack) | 0) > 0) enemy.ack = end;
      world.hostile(enemy.frame({ window }));
    }
  });
  return own;
}

const replies = new WeakMap<World, () => void>();

/** Time passes while the misers answer. */
function linger(world: World, us: number): void {
  for (const end = world.nowUs + us; world.nowUs < end; ) {
    world.turn();
    replies.get(world)?.();
  }
}

/** A few bytes of window on hundreds of connections to an application that has much to send. */
function tinyWindows(world: World, full: boolean): void {
  misers(world, SOURCE, MISERS, 3);
  const { sndBufBytes } = world.server.core.config;
  linger(world, (full ? 60 : 1) * 1e6);
  const each = world.server.core.zbufInUse() / MISERS;
  world.expect(each <= sndBufBytes / 16384 + 2, `${each.toFixed(0)} objects held for each connection`);
}

/** Sockstress: no window ever, every probe answered, on connections that the application has closed. */
function shutOrphans(world: World, full: boolean): void {
  const count = full ? 900 : 400;
  misers(world, FAREWELL, count, 0);
  world.look();
  const limit = world.server.core.config.maxConnections >> 2;
  world.expect(world.most.slots <= limit + 200, `${world.most.slots} slots in use`);
  world.expect(world.count(L.CNT_TcpExtTCPAbortOnMemory) > 0, 'no orphan had to go');
  // 8 probes with backoff from the first RTO on: minutes.
  linger(world, 300e6);
  const left = world.slots();
  world.expect(left < 100, `${left} slots in use after all orphans should have been given up`);
}

/** The same while the application keeps its connections open: a user timeout ends them. */
function shutWindows(world: World): void {
  const timeoutUs = 30e6;
  const known = new Set(world.served.keys());
  misers(world, SOURCE, MISERS, 0);
  for (const handle of world.served.keys()) {
    if (!known.has(handle)) world.server.core.setOption(handle, L.OPT_USER_TIMEOUT_US, timeoutUs);
  }
  linger(world, 2 * timeoutUs + 30e6);
  const left = [...world.served.values()].filter((port) => port === SOURCE).length;
  world.expect(left === 0, `${left} connections outlived their user timeout`);
}

/** Segments of the smallest size, and SACK blocks all over them (CVE-2019-11477 to 11479). */
function sackPanic(world: World, full: boolean): void {
  const options: TcpOption[] = [
    { kind: 'mss', value: 1 },
    { kind: 'sackOK' },
    { kind: 'nop' },
    { kind: 'wscale', value: 14 },
  ];
  const enemy = openSource(world, { options });
  const handle = servedAt(world, SOURCE);
  const mss = world.info(handle, L.INFO_snd_mss);
  world.expect(mss >= 88, `segments of ${mss} bytes`);
  // Has the window opened first: as many segments in flight as there can be.
  let highest = (enemy.ack + enemy.first.reduce((sum, { length }) => sum + length, 0)) >>> 0;
  world.onAnswer = (frame) => {
    const answer = readAnswer(frame);
    if (answer?.dstPort !== enemy.srcPort) return;
    const end = (answer.seq + answer.length) >>> 0;
    if (((end - highest) | 0) > 0) highest = end;
  };
  for (let i = 0; i < 4000; i++) {
    // Half of what is in flight is acknowledged.
    enemy.ack = (enemy.ack + (((highest - enemy.ack) >>> 0) >> 1)) >>> 0;
    world.hostile(enemy.frame());
    if (i % 16 === 0) world.turn();
  }
  const flight = (): number => Math.floor(((highest - enemy.ack) >>> 0) / mss);
  world.expect(flight() > 1000, `${flight()} segments in flight`);
  const bursts = world.burstNs.length;
  const count = full ? 200_000 : 10_000;
  flood(world, count, () => {
    const blocks = Array.from({ length: 4 }, () => {
      const from = (enemy.ack + mss * (1 + world.r.below(flight() - 1))) >>> 0;
      return [from, (from + mss) >>> 0] as const;
    });
    return enemy.frame({ options: [{ kind: 'nop' }, { kind: 'nop' }, { kind: 'sack', blocks }] });
  });
  const ns = world.nsPerFrame(bursts);
  world.expect(ns < 500_000, `${ns.toFixed(0)} ns for a frame with SACK blocks`);
}

/** Everything but the first segment is reported, and then was not there after all (RFC 2018 §8). */
function reneging(world: World, full: boolean): void {
  const options: TcpOption[] = [{ kind: 'mss', value: MSS }, { kind: 'sackOK' }];
  for (let i = 0; i < (full ? 50 : 3); i++) {
    const enemy = openSource(world, { srcPort: 5000 + i, options });
    const from = (enemy.ack + MSS) >>> 0;
    const blocks = [[from, (from + 6 * MSS) >>> 0] as const];
    world.hostile(enemy.frame({ options: [{ kind: 'nop' }, { kind: 'nop' }, { kind: 'sack', blocks }] }));
    // The hole is filled, and what was reported is denied: all of it must come again.
    const denied = new Set(Array.from({ length: 6 }, (_, n) => (from + n * MSS) >>> 0));
    for (let n = 0; n < 60 && denied.size > 0; n++) {
      world.hostile(enemy.frame({ ack: Math.min(...denied) }));
      for (const { seq } of answersTo(world, () => world.pass(2_000_000))) denied.delete(seq);
    }
    world.expect(denied.size === 0, `${denied.size} segments that were denied were not sent again`);
    world.hostile(enemy.frame({ flags: RST }));
  }
}

/** Peers with small segments that acknowledge nothing: records must be left for others. */
function recordHogs(world: World): void {
  const options: TcpOption[] = [{ kind: 'mss', value: 1 }, { kind: 'nop' }, { kind: 'wscale', value: 14 }];
  const own: Enemy[] = [];
  const highest = new Map<number, number>();
  world.onAnswer = (frame) => {
    const answer = readAnswer(frame);
    if (answer && answer.length > 0) highest.set(answer.dstPort, (answer.seq + answer.length) >>> 0);
  };
  for (let i = 0; i < 30; i++) own.push(openSource(world, { srcPort: 5000 + i, options }));
  for (let round = 0; round < 400; round++) {
    world.hostile(...own.map((enemy) => enemy.frame({ ack: highest.get(enemy.srcPort) ?? enemy.ack })));
    world.turn();
  }
  // From now on they are silent.
  const { rpcs } = world.legitimate;
  world.pass(200_000);
  world.expect(world.legitimate.rpcs - rpcs > 200, `${world.legitimate.rpcs - rpcs} RPCs in 0.2 s without records`);
}

export const windows: readonly Attack[] = [
  {
    name: 'tiny-windows',
    about: 'windows of three bytes on a hundred connections',
    stepUs: 2000,
    counters: [L.CNT_TcpExtTCPZeroWindowProbe, L.CNT_TcpOutSegs],
    run: tinyWindows,
  },
  {
    name: 'sockstress',
    about: 'no window ever on hundreds of connections that the application has closed',
    stepUs: 10_000,
    counters: [L.CNT_TcpExtTCPAbortOnMemory, L.CNT_TcpExtTCPAbortOnTimeout, L.CNT_TcpExtTCPZeroWindowProbe],
    run: shutOrphans,
  },
  {
    name: 'zero-windows',
    about: 'no window ever on connections that are open and have a user timeout',
    stepUs: 10_000,
    counters: [L.CNT_TcpExtTCPAbortOnTimeout, L.CNT_TcpExtTCPZeroWindowProbe],
    run: shutWindows,
  },
  {
    name: 'sack-panic',
    about: 'an MSS of one byte, and four SACK blocks in every ACK (CVE-2019-11477, 11478, 11479)',
    config: { sndBufBytes: 1 << 20 },
    counters: [L.CNT_TcpExtTCPSackRecovery, L.CNT_TcpRetransSegs],
    run: sackPanic,
  },
  {
    name: 'record-hogs',
    about: 'thirty peers with an MSS of one byte that stop acknowledging',
    config: { segmentRecords: 4096 },
    counters: [L.CNT_TcpOutSegs],
    run: recordHogs,
  },
  {
    name: 'sack-reneging',
    about: 'segments that are reported and then denied',
    stepUs: 2000,
    counters: [L.CNT_TcpExtTCPSACKReneging, L.CNT_TcpExtTCPTimeouts, L.CNT_TcpRetransSegs],
    run: reneging,
  },
];
