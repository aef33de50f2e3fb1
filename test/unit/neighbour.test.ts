// ARP and the neighbour table. Output is provoked by echo requests: the reply's destination is the request's source.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import * as L from '../../src/host/core/layout.js';
import * as F from '../helpers/frames.js';
import { type ManualCore, manualCore, OWN_MAC, PEER_MAC } from '../helpers/manual.js';

const SECOND = 1_000_000;
const BROADCAST = new Uint8Array(6).fill(255);
const kernelFlags = L.CFGF_NEIGH_EVENTS | L.CFGF_ICMP_ECHO;

const ip = (last: number, third = 0): number[] => [10, 0, third, last];

/** An echo request from a host, marked with `id`. */
function echoFrom(from: number[], id = 0): Uint8Array {
  const frame = F.icmpEcho(new Uint8Array([id, 1, 2, 3]));
  frame.set(from, 26);
  F.fixChecksums(frame);
  return frame;
}

function arp(operation: number, sender: number[], mac: Uint8Array, target: readonly number[] = F.OWN_IP): Uint8Array {
  const frame = F.arpFrame(operation, sender, target);
  frame.set(mac, 6);
  frame.set(mac, 22);
  return frame;
}

const macOf = (n: number): Uint8Array => new Uint8Array([2, 9, 9, 9, n >> 8, n & 255]);
const isArp = (frame: Uint8Array): boolean => frame[12] === 8 && frame[13] === 6;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function assertRequest(frame: Uint8Array, target: number[], to = BROADCAST): void {
  assert.is(frame.length, 42);
  assert.is(hex(frame.slice(0, 6)), hex(to));
  assert.is(hex(frame.slice(6, 12)), hex(OWN_MAC));
  assert.equal([...frame.slice(12, 22)], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
  assert.is(hex(frame.slice(22, 28)), hex(OWN_MAC));
  assert.equal([...frame.slice(28, 32)], [...F.OWN_IP]);
  assert.equal([...frame.slice(38, 42)], target);
}

/** Time moves in steps of a quarter second. */
function pass(manual: ManualCore, us: number): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const end = manual.nowUs + us;
  while (manual.nowUs < end) {
    manual.nowUs = Math.min(end, manual.nowUs + SECOND / 4);
    manual.poll();
    frames.push(...manual.take());
  }
  return frames;
}

function neighbours(manual: ManualCore): { ip: number; mac: string; state: number; pending: number }[] {
  const { core } = manual;
  const list = [];
  for (let i = 0; i < core.config.maxNeighbours; i++) {
    if (core.neighAt(i, core.scratch) < 0) continue;
    const at = core.scratch;
    list.push({
      ip: core.u8[at + 15],
      mac: hex(core.u8.slice(at + L.NEIGH_mac, at + L.NEIGH_mac + 6)),
      state: core.dv.getUint32(at + L.NEIGH_state, true),
      pending: core.dv.getUint32(at + L.NEIGH_pending, true),
    });
  }
  return list;
}

function emptied(manual: ManualCore): void {
  manual.take();
  manual.poll();
  assert.is(manual.core.zbufInUse(), 0);
  assert.is(manual.core.rxInUse(), 0);
  assert.is(manual.core.counter(L.CNT_ZbufMisuse), 0);
}

test('a request for our address is answered to who asked', () => {
  const manual = manualCore();
  manual.inject(arp(1, ip(2), PEER_MAC));
  const [reply, ...rest] = manual.take();
  assert.is(rest.length, 0);
  assert.equal(
    [...reply],
    [...PEER_MAC, ...OWN_MAC, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, ...OWN_MAC, ...F.OWN_IP, ...PEER_MAC, ...ip(2)],
  );
  assert.equal(neighbours(manual), [{ ip: 2, mac: hex(PEER_MAC), state: L.NEIGH_REACHABLE, pending: 0 }]);
  emptied(manual);
});

test('a request for another address is neither answered nor remembered', () => {
  const manual = manualCore();
  manual.inject(arp(1, ip(2), PEER_MAC, ip(3)));
  assert.is(manual.take().length, 0);
  assert.is(neighbours(manual).length, 0);
  emptied(manual);
});

test('a probe is answered and nothing is learnt from it', () => {
  const manual = manualCore();
  manual.inject(arp(1, [0, 0, 0, 0], PEER_MAC));
  const [reply] = manual.take();
  assert.equal([...reply.slice(38, 42)], [0, 0, 0, 0]);
  assert.is(neighbours(manual).length, 0);
  emptied(manual);
});

test('forged and malformed packets are counted and change nothing', () => {
  const bad: [string, Uint8Array][] = [
    ['truncated', F.arpFrame(1).slice(0, 41)],
    ['token ring', withByte(F.arpFrame(1), 15, 6)],
    ['IPv6 as protocol', withByte(F.arpFrame(1), 16, 0x86)],
    ['hardware length', withByte(F.arpFrame(1), 18, 8)],
    ['protocol length', withByte(F.arpFrame(1), 19, 16)],
    ['operation 3', F.arpFrame(3)],
    ['operation 0', F.arpFrame(0)],
    ['our address as sender', arp(1, [...F.OWN_IP], PEER_MAC)],
    ['our MAC as sender', arp(1, ip(2), OWN_MAC)],
    ['a multicast MAC', arp(1, ip(2), new Uint8Array([1, 0, 0, 0, 0, 1]))],
    ['the broadcast MAC', arp(1, ip(2), BROADCAST)],
    ['no MAC', arp(1, ip(2), new Uint8Array(6))],
    ['a multicast sender', arp(1, [224, 0, 0, 1], PEER_MAC)],
    ['a loopback sender', arp(1, [127, 0, 0, 1], PEER_MAC)],
    ['our broadcast address as sender', arp(1, ip(255), PEER_MAC)],
  ];
  for (const [name, frame] of bad) {
    const manual = manualCore();
    manual.inject(frame);
    assert.is(manual.core.counter(L.CNT_ArpInErrors), 1, name);
    assert.is(manual.take().length, 0, name);
    assert.is(neighbours(manual).length, 0, name);
    emptied(manual);
  }
});

function withByte(frame: Uint8Array, at: number, value: number): Uint8Array {
  frame[at] = value;
  return frame;
}

test('a frame waits for its neighbour and goes out with the reply', () => {
  const manual = manualCore();
  manual.inject(echoFrom(ip(7), 1), echoFrom(ip(7), 2));
  const [request, ...rest] = manual.take();
  assert.is(rest.length, 0, 'one request for two frames');
  assertRequest(request, ip(7));
  assert.equal(neighbours(manual), [{ ip: 7, mac: '000000000000', state: L.NEIGH_INCOMPLETE, pending: 2 }]);
  manual.inject(arp(2, ip(7), macOf(7)));
  const frames = manual.take();
  assert.equal(
    frames.map((f) => f[42]),
    [1, 2],
    'in order',
  );
  for (const frame of frames) assert.is(hex(frame.slice(0, 6)), hex(macOf(7)));
  manual.inject(echoFrom(ip(7), 3));
  assert.is(manual.take()[0][42], 3);
  assert.is(manual.core.counter(L.CNT_ArpOutRequests), 1);
  emptied(manual);
});

test('an unanswered request is repeated each second, three in all; then the frames are dropped', () => {
  const manual = manualCore();
  manual.inject(echoFrom(ip(7)));
  assert.is(manual.take().length, 1);
  const began = manual.nowUs;
  const times: number[] = [];
  while (manual.core.counter(L.CNT_NeighPendingDrops) === 0) {
    for (const frame of pass(manual, SECOND / 4)) {
      assertRequest(frame, ip(7));
      times.push(Math.round((manual.nowUs - began) / SECOND));
    }
    assert.ok(manual.nowUs - began < 10 * SECOND);
  }
  assert.equal(times, [1, 2]);
  assert.is(neighbours(manual)[0].state, L.NEIGH_FAILED);
  emptied(manual);
  manual.inject(echoFrom(ip(7)));
  assertRequest(manual.take()[0], ip(7));
  pass(manual, 60 * SECOND);
  assert.is(neighbours(manual).length, 0, 'forgotten in the end');
  emptied(manual);
});

test('64 frames wait for one neighbour: the latest ones', () => {
  const manual = manualCore();
  for (let id = 1; id <= 69; id++) manual.inject(echoFrom(ip(7), id));
  manual.take();
  assert.is(manual.core.counter(L.CNT_NeighPendingDrops), 5);
  assert.is(manual.core.rxInUse(), 64);
  manual.inject(arp(2, ip(7), macOf(7)));
  assert.equal(
    manual.take().map((f) => f[42]),
    Array.from({ length: 64 }, (_, i) => 6 + i),
  );
  emptied(manual);
});

test('512 frames wait in all', () => {
  const manual = manualCore({ maxNeighbours: 100 }, undefined, '10.0.0.1', 112);
  for (let host = 0; host < 20; host++) for (let id = 0; id < 32; id++) manual.inject(echoFrom(ip(2 + host, 1), id));
  manual.take();
  assert.is(manual.core.counter(L.CNT_NeighPendingDrops), 20 * 32 - 512);
  assert.is(manual.core.rxInUse(), 512);
  pass(manual, 5 * SECOND);
  assert.is(manual.core.counter(L.CNT_NeighPendingDrops), 20 * 32);
  emptied(manual);
});

test('frames the ring has no room for when the MAC is known are dropped and counted', () => {
  const manual = manualCore({ txRing: 16 });
  for (let host = 2; host < 5; host++) {
    for (let id = 0; id < 4; id++) manual.inject(echoFrom(ip(host), id));
    manual.take();
  }
  for (let host = 2; host < 5; host++) manual.inject(arp(2, ip(host), macOf(host)));
  assert.is(manual.core.counter(L.CNT_NeighPendingDrops), 4);
  assert.is(manual.take().length, 8);
  emptied(manual);
});

test('a table full of waiting neighbours drops and counts, one with idle entries makes room', () => {
  const manual = manualCore({ maxNeighbours: 4 });
  for (let host = 2; host < 6; host++) manual.inject(echoFrom(ip(host)));
  manual.take();
  manual.inject(echoFrom(ip(9)));
  assert.is(manual.take().length, 0);
  assert.is(manual.core.counter(L.CNT_NeighTableFull), 1);
  assert.is(manual.core.counter(L.CNT_NeighPendingDrops), 1);
  for (let host = 2; host < 6; host++) manual.inject(arp(2, ip(host), macOf(host)));
  manual.take();
  manual.inject(echoFrom(ip(9)));
  assertRequest(manual.take()[0], ip(9));
  manual.inject(arp(2, ip(9), macOf(9)));
  assert.is(manual.take().length, 1);
  for (let host = 2; host < 60; host++) {
    manual.inject(echoFrom(ip(host)));
    manual.inject(arp(2, ip(host), macOf(host)));
    assert.ok(
      manual.take().some((f) => !isArp(f) && f[33] === host),
      `host ${host}`,
    );
  }
  assert.is(neighbours(manual).length, 4);
  emptied(manual);
});

test('addresses that nobody has do not drive out a neighbour that is there, and one that shows itself gets a place', () => {
  const manual = manualCore({ maxNeighbours: 16 });
  manual.inject(arp(1, ip(2), macOf(2)));
  manual.take();
  for (let round = 0; round < 5; round++) {
    for (let host = 10; host < 200; host++) manual.inject(echoFrom(ip(host)));
    manual.take();
    manual.inject(echoFrom(ip(2)));
    assert.ok(
      manual.take().some((f) => !isArp(f) && f[33] === 2),
      'answered without a question',
    );
    const shown = 3 + round;
    manual.inject(arp(1, ip(shown), macOf(shown)), echoFrom(ip(shown)));
    assert.ok(
      manual.take().some((f) => !isArp(f) && f[33] === shown),
      `host ${shown}`,
    );
    pass(manual, SECOND);
  }
  pass(manual, 4 * SECOND);
  emptied(manual);
});

test('an announcement moves a neighbour we know, and does not make one', () => {
  const manual = manualCore();
  manual.inject(arp(1, ip(2), PEER_MAC));
  manual.take();
  manual.inject(arp(1, ip(2), macOf(77), ip(2)), arp(2, ip(3), macOf(78)), arp(2, ip(4), macOf(79), ip(4)));
  assert.is(manual.take().length, 0);
  assert.equal(
    neighbours(manual).map((n) => n.mac),
    [hex(macOf(77))],
  );
  manual.inject(echoFrom(ip(2)));
  assert.is(hex(manual.take()[0].slice(0, 6)), hex(macOf(77)));
  emptied(manual);
});

test('a neighbour in use is confirmed by unicast, without holding traffic', () => {
  const manual = manualCore();
  manual.inject(arp(1, ip(2), PEER_MAC), echoFrom(ip(2)));
  manual.take();
  const probes = pass(manual, 31 * SECOND).filter(isArp);
  assert.ok(probes.length >= 1);
  assertRequest(probes[0], ip(2), PEER_MAC);
  assert.is(neighbours(manual)[0].state, L.NEIGH_PROBE);
  manual.inject(echoFrom(ip(2)));
  assert.not.ok(isArp(manual.take()[0]), 'answered while it is probed');
  manual.inject(arp(2, ip(2), PEER_MAC));
  assert.is(neighbours(manual)[0].state, L.NEIGH_REACHABLE);
  emptied(manual);
});

test('a neighbour in use that falls silent is asked for by broadcast, then given up', () => {
  const manual = manualCore();
  manual.inject(arp(1, ip(2), PEER_MAC), echoFrom(ip(2)));
  manual.take();
  let broadcasts = 0;
  for (let s = 0; s < 40; s++) {
    if (s > 25 && s < 34) manual.inject(echoFrom(ip(2)));
    for (const frame of [...manual.take(), ...pass(manual, SECOND)]) {
      if (isArp(frame) && hex(frame.slice(0, 6)) === hex(BROADCAST)) broadcasts++;
    }
  }
  assert.ok(broadcasts >= 3, `${broadcasts} broadcasts`);
  pass(manual, 10 * SECOND);
  assert.is.not(neighbours(manual)[0]?.state, L.NEIGH_REACHABLE);
  emptied(manual);
});

test('an unused neighbour is forgotten, and an idle stack has no timer', () => {
  const manual = manualCore();
  manual.inject(arp(1, ip(2), PEER_MAC));
  manual.take();
  assert.is(pass(manual, 31 * SECOND).length, 0);
  assert.is(neighbours(manual).length, 0);
  assert.is(manual.poll(), Number.POSITIVE_INFINITY);
});

test('behind a kernel the host is asked, again at most every 100 ms, and tells', () => {
  const manual = manualCore({ flags: kernelFlags });
  const { core } = manual;
  manual.inject(echoFrom(ip(7), 1));
  assert.is(manual.take().length, 0, 'no ARP');
  const asked: number[] = [];
  for (let ms = 0; ms < 1000; ms++) {
    for (const [handle, kind, a] of manual.events()) {
      assert.equal([handle, kind], [0, L.EV_NEIGH]);
      assert.equal([...core.u8.slice(a, a + 16)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...ip(7)]);
      asked.push(ms);
    }
    manual.nowUs += 1000;
    manual.poll();
  }
  assert.ok(asked.length >= 9 && asked.length <= 10, `${asked.length} times`);
  for (let i = 1; i < asked.length; i++) assert.ok(asked[i] - asked[i - 1] >= 100, 'too soon');
  writeAddress(core.u8, core.scratch, '10.0.0.7');
  core.u8.set(macOf(7), core.scratch + 16);
  assert.is(core.neighSet(core.scratch, core.scratch + 16), 0);
  assert.is(manual.take()[0][42], 1);
  assert.is(pass(manual, 3600 * SECOND).length, 0);
  assert.is(neighbours(manual)[0].state, L.NEIGH_REACHABLE, 'holds until the host says otherwise');
  manual.inject(arp(1, ip(7), PEER_MAC), arp(2, ip(7), PEER_MAC));
  assert.is(neighbours(manual)[0].mac, hex(macOf(7)), 'ARP is the kernel’s');
  assert.is(manual.take().length, 0);
  core.u8.set(macOf(8), core.scratch + 16);
  writeAddress(core.u8, core.scratch, '10.0.0.7');
  core.neighSet(core.scratch, core.scratch + 16);
  manual.inject(echoFrom(ip(7)));
  assert.is(hex(manual.take()[0].slice(0, 6)), hex(macOf(8)), 'a changed MAC takes effect');
  assert.is(core.neighDel(core.scratch), 0);
  manual.events();
  manual.inject(echoFrom(ip(7)));
  assert.is(manual.take().length, 0);
  assert.is(manual.events().length, 1, 'asked again');
  assert.is(core.neighFail(core.scratch), 0);
  assert.is(core.counter(L.CNT_NeighPendingDrops), 1);
  emptied(manual);
});

test('a question the event ring had no room for is asked as soon as it has', () => {
  const manual = manualCore({ flags: kernelFlags, eventRing: 2 });
  for (let host = 2; host < 12; host++) manual.inject(echoFrom(ip(host)));
  const asked = new Set<number>();
  for (let i = 0; i < 10; i++) {
    for (const [, , a] of manual.events()) asked.add(manual.core.u8[a + 15]);
    manual.nowUs += 2_000;
    manual.poll();
  }
  assert.is(asked.size, 10);
  for (let i = 0; i < 100; i++) {
    manual.events();
    pass(manual, SECOND / 4);
  }
  assert.is(manual.core.counter(L.CNT_NeighPendingDrops), 10);
  emptied(manual);
});

test('that a neighbour does not answer is reported as EHOSTUNREACH to the connection that wants it', () => {
  const manual = manualCore();
  const { core } = manual;
  writeAddress(core.u8, core.scratch, '10.0.0.99');
  const handle = core.connect(core.scratch, 80, 0, 0, 0);
  assert.ok(handle > 0);
  manual.poll();
  assertRequest(manual.take()[0], ip(99));
  const began = manual.nowUs;
  let errno = 0;
  while (errno === 0 && manual.nowUs < began + 60 * SECOND) {
    pass(manual, SECOND / 4);
    for (const [of, kind, a] of manual.events()) if (of === handle && kind === L.EV_REPORT) errno = a >>> 8;
  }
  assert.is(errno, L.EHOSTUNREACH);
  assert.ok(manual.nowUs - began <= 4 * SECOND, 'as soon as ARP gives up');
  assert.is(core.close(handle), 0);
  pass(manual, 60 * SECOND);
  assert.is(core.connectionAt(0, core.scratch), -L.EBADF);
  emptied(manual);
});

test('bad arguments are errors', () => {
  const { core } = manualCore();
  core.u8.fill(0, core.scratch, core.scratch + 32);
  core.u8[core.scratch + 16] = 1;
  assert.is(core.neighSet(core.scratch, core.scratch + 16), -L.EINVAL, 'a group MAC');
  for (const call of [core.neighDel, core.neighFail]) assert.is(call(0xfffffff8), -L.EINVAL, 'outside the memory');
  assert.is(core.neighSet(0xfffffff8, core.scratch), -L.EINVAL);
  assert.is(core.neighSet(core.scratch, 0xfffffffe), -L.EINVAL);
  assert.is(core.neighAt(0xffffffff, core.scratch), -L.EBADF);
  assert.is(core.neighDel(core.scratch), 0, 'one that is not there');
});

test.run();
