// Memory of received data: bounded per connection and in total, whatever the number of connections.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../src/host/core/address.js';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import { type ManualCore, manualCore, PEER_MAC } from '../../helpers/manual.js';
import { MSS, mss, Peer, sackPermitted } from '../../helpers/peer.js';

interface Flow {
  handle: number;
  peerPort: number;
  iss: number;
}

/** A core with connections whose peer has 100 as its next sequence number. */
class Many {
  readonly m: ManualCore;
  readonly flows: Flow[] = [];
  readonly listener: number;

  constructor(connections: number, config: Parameters<typeof manualCore>[0] = {}) {
    this.m = manualCore(config);
    const { core } = this.m;
    writeAddress(core.u8, core.scratch, F.PEER_IP.join('.'));
    core.u8.set(PEER_MAC, core.scratch + 16);
    core.neighSet(core.scratch, core.scratch + 16);
    core.u8.fill(0, core.scratch, core.scratch + 16);
    this.listener = core.listen(core.scratch, 80, 4, 0);
    for (let i = 0; i < connections; i++) {
      const peerPort = 1000 + i;
      this.send(peerPort, 99, 0, F.SYN, 0);
      const iss = F.parseTcp(this.m.take()[0])?.seq ?? 0;
      this.send(peerPort, 100, iss + 1, F.ACK, 0);
      this.flows.push({ handle: core.accept(this.listener), peerPort, iss });
    }
  }

  send(srcPort: number, seq: number, ack: number, flags: number, bytes: number): void {
    const options = Uint8Array.from(flags & F.SYN ? [...mss(MSS), ...sackPermitted()] : []);
    const payload = new Uint8Array(bytes).fill(7);
    this.m.inject(F.tcpFrame({ srcPort, dstPort: 80, seq, ack, flags, window: 65535, options, payload }));
  }

  /** `bytes` of flow `i` at `offset` of its stream. */
  data(i: number, offset: number, bytes: number): void {
    const { peerPort, iss } = this.flows[i];
    this.send(peerPort, 100 + offset, iss + 1, F.ACK, bytes);
    this.m.take();
  }

  read(i: number): number {
    const { core } = this.m;
    let bytes = 0;
    for (;;) {
      const pieces = core.recv(this.flows[i].handle, core.scratch, 64);
      if (pieces <= 0) return bytes;
      for (const [addr, len] of Array.from({ length: pieces }, (_, k) =>
        core.u32.slice((core.scratch >> 2) + 2 * k, (core.scratch >> 2) + 2 * k + 2),
      )) {
        bytes += len;
        core.free(addr);
      }
    }
  }

  done(): void {
    const { core } = this.m;
    for (const { handle } of this.flows) core.abort(handle);
    core.close(this.listener);
    this.m.take();
    assert.is(core.rxInUse(), 0);
    assert.is(core.recordsInUse(), 0);
    assert.is(this.m.freeRxObjects(), this.m.rxObjects);
  }
}

test('out-of-order data of many connections leaves three quarters of the receive objects, and something for one more', () => {
  const all = new Many(40, { oooObjects: 1000 });
  const quarter = all.m.rxObjects >> 2;
  for (let i = 0; i < 39; i++) for (let k = 0; k < 200; k++) all.data(i, 10 + 20 * k, 10);
  assert.ok(all.m.core.rxInUse() <= quarter, `${all.m.core.rxInUse()} of ${all.m.rxObjects}`);
  assert.ok(all.m.core.rxInUse() >= quarter - 8, 'and they are used');
  const before = all.m.core.rxInUse();
  all.data(39, 10, 10);
  // One that has more has given up what was furthest.
  assert.is(all.m.core.rxInUse(), before);
  assert.ok(all.m.core.counter(L.CNT_TcpExtOfoPruned) > 0);
  // What is missing arrives.
  all.data(39, 0, 10);
  assert.is(all.read(39), 20);
  all.done();
});

test('the bound of all out-of-order data can be set', () => {
  const all = new Many(20, { oooTotalObjects: 32 });
  for (let i = 0; i < 20; i++) for (let k = 0; k < 30; k++) all.data(i, 10 + 20 * k, 10);
  assert.ok(all.m.core.rxInUse() <= 32);
  assert.ok(all.m.core.counter(L.CNT_TcpExtTCPOFODrop) > 0);
  all.done();
});

test('objects are counted, not what their memory could have been', () => {
  // Objects of 2 KiB, as many again as the FREE ring would take: a quarter of the ring would be half of them.
  const one = new Many(1, { oooObjects: 1000, rcvBufBytes: 65535 });
  assert.ok(one.m.core.u32[L.CFG_FREE_RING >> 2] > one.m.rxObjects);
  for (let k = 0; k < 1000; k++) one.data(0, 10 + 20 * k, 10);
  assert.ok(one.m.core.rxInUse() <= one.m.rxObjects >> 2);
  one.done();
});

test('unread data of many connections leaves a quarter of the receive objects', () => {
  const all = new Many(100, { oooObjects: 1000, rcvBufBytes: 65535 });
  for (let k = 0; k < 60; k++) for (let i = 0; i < 99; i++) all.data(i, 600 * k, 600);
  const { core } = all.m;
  assert.ok(core.rxInUse() <= all.m.rxObjects - (all.m.rxObjects >> 2), `${core.rxInUse()} of ${all.m.rxObjects}`);
  assert.ok(core.counter(L.CNT_TcpExtTCPRcvQDrop) > 0);
  // A connection whose application reads goes on.
  for (let k = 0; k < 50; k++) {
    all.data(99, 600 * k, 600);
    assert.is(all.read(99), 600);
  }
  all.done();
});

test('data that is nearer to the gap takes the place of what is furthest, which is no longer reported', () => {
  const p = new Peer({ oooObjects: 4, rcvBufBytes: 65535 }).accept([...mss(MSS), ...sackPermitted()]);
  for (const seq of [5001, 6001, 7001, 8001]) p.in('.', { seq, len: 100 });
  p.out();
  p.in('.', { seq: 3001, len: 100 });
  assert.is(p.count(L.CNT_TcpExtOfoPruned), 1);
  assert.is(p.m.core.rxInUse(), 4);
  const [{ options }] = p.heard();
  const dv = new DataView(options.buffer, options.byteOffset, options.byteLength);
  const starts: number[] = [];
  for (let at = 4; at < options.length; at += 8) starts.push((dv.getUint32(at) - 0xfffffffd) >>> 0);
  assert.equal(starts, [3001, 7001, 6001, 5001]);
  // The furthest of all does not fit.
  p.in('.', { seq: 9001, len: 100 });
  assert.is(p.count(L.CNT_TcpExtTCPOFODrop), 1);
  // The peer sends all of it again.
  for (let seq = 1; seq < 8101; seq += MSS) p.in('.', { seq, len: Math.min(MSS, 8101 - seq) });
  assert.is(p.read(0), 8100);
  p.done();
});

test.run();
