// Data that must be kept until more comes (CVE-2018-5390), and data that nobody reads.
import * as L from '../../core/layout.js';
import { type Enemy, openEnemy } from '../enemy.js';
import { ACK, fragment, PSH, segment, variant } from '../frames.js';
import type { Attack } from '../run.js';
import { ECHO, LAZY, type World } from '../world.js';
import { flood } from './flood.js';

function openMany(world: World, port: number, count: number): Enemy[] {
  const own: Enemy[] = [];
  for (let i = 0; i < count; i++) {
    const enemy = openEnemy(world, { port, srcPort: 1024 + i, options: [{ kind: 'sackOK' }] });
    if (enemy) own.push(enemy);
    world.turn();
  }
  world.expect(own.length === count, `${own.length} of ${count} connections opened`);
  return own;
}

/** The most that may be kept out of order: a share of all receive objects. */
function expectRoom(world: World): void {
  world.look();
  const { rxObjects } = world.server;
  world.expect(world.most.rx <= rxObjects / 2, `${world.most.rx} of ${rxObjects} receive objects held`);
}

/** Single bytes with gaps between them, in an order that makes the search for their place long. */
function smack(world: World, full: boolean, order: (i: number, slots: number) => number): void {
  const [enemy] = openMany(world, ECHO, 1);
  const slots = 30_000;
  const count = full ? 500_000 : 20_000;
  const bursts = world.burstNs.length;
  flood(world, count, (i) => {
    const seq = (enemy.seq + 1 + 2 * order(i, slots)) >>> 0;
    return enemy.frame({ seq, flags: ACK | PSH, length: 1 });
  });
  const ns = world.nsPerFrame(bursts);
  world.expect(ns < 50_000, `${ns.toFixed(0)} ns for a segment`);
  expectRoom(world);
}

/** The same on many connections: together they may not have all receive objects. */
function smackMany(world: World, full: boolean): void {
  const own = openMany(world, ECHO, 100);
  flood(world, full ? 1_000_000 : 60_000, (i) => {
    const enemy = own[i % own.length];
    return enemy.frame({ seq: (enemy.seq + 1 + 2 * world.r.below(30_000)) >>> 0, flags: ACK | PSH, length: 1 });
  });
  expectRoom(world);
}

/** Segments of all lengths that overlap each other in every way, at times also the missing first byte. */
function overlaps(world: World, full: boolean): void {
  const own = openMany(world, ECHO, 10);
  const count = full ? 500_000 : 30_000;
  flood(world, count, (i) => {
    const enemy = own[i % own.length];
    const from = world.r.oneIn(500) ? 0 : 1 + world.r.below(20_000);
    return enemy.frame({ seq: (enemy.seq + from) >>> 0, flags: ACK | PSH, length: 1 + world.r.below(1000) });
  });
  expectRoom(world);
}

/** In order, a byte a segment, to an application that reads nothing. */
function unread(world: World, full: boolean): void {
  const own = openMany(world, LAZY, 200);
  flood(world, full ? 1_000_000 : 100_000, (i) => {
    const enemy = own[i % own.length];
    const frame = enemy.frame({ flags: ACK | PSH, length: 1 });
    enemy.seq = (enemy.seq + 1) >>> 0;
    return frame;
  });
  world.look();
  const { rxObjects } = world.server;
  world.expect(world.most.rx < rxObjects, `all ${rxObjects} receive objects held`);
}

/** Fragments of datagrams that never become whole, from everywhere, at times overlapping. */
function fragments(world: World, full: boolean): void {
  const whole = segment({ dstPort: ECHO, flags: ACK | PSH, length: 1000 });
  flood(world, full ? 1_000_000 : 60_000, () => {
    const from = variant(whole, { src: (0xc6000000 | world.r.below(0x100000)) >>> 0 });
    return fragment(from, world.r.below(64), 8 * world.r.below(500), world.r.below(8) !== 0);
  });
  world.look();
  const { reasmObjects } = world.server.core.config;
  world.expect(world.most.rx <= reasmObjects, `${world.most.rx} receive objects held`);
}

const COUNTERS = [L.CNT_TcpExtTCPOFOQueue, L.CNT_TcpExtTCPOFODrop, L.CNT_TcpExtTCPOFOMerge];

export const reassembly: readonly Attack[] = [
  {
    name: 'segment-smack',
    about: 'single bytes out of order at random places (CVE-2018-5390)',
    counters: COUNTERS,
    run: (world, full) => smack(world, full, (_, slots) => world.r.below(slots)),
  },
  {
    name: 'segment-smack-descending',
    about: 'the same, each before the last',
    counters: COUNTERS,
    run: (world, full) => smack(world, full, (i, slots) => slots - 1 - (i % slots)),
  },
  {
    name: 'segment-smack-inside',
    about: 'the same, each just before the highest',
    counters: COUNTERS,
    run: (world, full) => smack(world, full, (i, slots) => (i % 2 === 0 ? slots - 1 : (i >> 1) % (slots - 1))),
  },
  {
    name: 'segment-smack-many',
    about: 'single bytes out of order on a hundred connections',
    counters: COUNTERS,
    run: smackMany,
  },
  {
    name: 'overlaps',
    about: 'out-of-order segments that overlap each other in every way',
    counters: COUNTERS,
    run: overlaps,
  },
  {
    name: 'fragments',
    about: 'fragments of datagrams that never become whole, from a million addresses',
    counters: [L.CNT_IpReasmReqds, L.CNT_IpReasmFails, L.CNT_IpExtReasmOverlaps, L.CNT_IpReasmTimeout],
    run: fragments,
  },
  {
    name: 'unread',
    about: 'a byte a segment to two hundred connections whose application does not read',
    counters: [L.CNT_TcpExtTCPRcvCoalesce, L.CNT_TcpExtTCPRcvQDrop, L.CNT_CopiedBytes],
    run: unread,
  },
];
