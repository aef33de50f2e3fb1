// Messages with headroom: one segment where nothing else has its headers in the room, two otherwise, and never a byte of
// one frame in another.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Core } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import { PEER_MAC } from '../../helpers/manual.js';
import { assertContent, content, MSS, mss, Peer, sackPermitted, timestamps, wscale } from '../../helpers/peer.js';

const ETH_IP_TCP = 54;

/** Lengths of the segments of each frame that waits in the transmit ring. */
function waiting(core: Core): number[][] {
  const { u32 } = core;
  const at = u32[L.CTL_TX_AT >> 2] >> 2;
  const mask = u32[L.CTL_TX_SIZE >> 2] - 1;
  const frames: number[][] = [];
  for (let tail = u32[L.CTL_TX_TAIL >> 2]; tail !== u32[L.CTL_TX_HEAD >> 2]; tail++) {
    const entry = at + 4 * (tail & mask);
    if (u32[entry + 2] & L.TXF_START) frames.push([]);
    frames[frames.length - 1].push(u32[entry + 1]);
  }
  return frames;
}

/** A message of the stream's next `length` bytes. */
function message(p: Peer, length: number): number {
  const addr = p.m.core.allocMessage(length);
  assert.ok(addr > 0, 'memory to write');
  p.m.core.u8.set(content(p.written, length), addr);
  p.written += length;
  return addr;
}

function sendMessage(p: Peer, length: number): void {
  const { core } = p.m;
  const addr = message(p, length);
  assert.is(core.send(p.handle, addr, length), length);
  assert.is(core.free(addr), 0);
  core.flush(p.m.nowUs);
}

/** Takes what the core has sent, with all checksums right. Returns the payloads. */
function payloads(p: Peer): Uint8Array[] {
  return p.m.take().map((frame) => {
    const right = Uint8Array.from(frame);
    F.fixChecksums(right);
    assert.is(Buffer.compare(right, frame), 0, 'checksums');
    const segment = F.parseTcp(frame);
    assert.ok(segment);
    return segment.payload;
  });
}

for (const length of [1, 2, 77, 1000, MSS]) {
  test(`a message of ${length} bytes that fits leaves as one segment`, () => {
    const p = new Peer().accept();
    sendMessage(p, length);
    assert.equal(waiting(p.m.core), [[ETH_IP_TCP + length]]);
    const [payload] = payloads(p);
    assert.is(payload.length, length);
    assertContent(payload, 0);
    p.done();
  });
}

test('options lie in the room too', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...sackPermitted(), ...timestamps(1, 0), ...wscale(7)] });
  p.heard();
  p.in('.', { options: timestamps(2, 0) });
  p.handle = p.m.core.accept(p.listener);
  p.in('.', { seq: 1001, len: 100, options: timestamps(3, 0) });
  p.m.take();
  sendMessage(p, 500);
  // Timestamps, and a selective acknowledgment of the piece that came out of order.
  assert.equal(waiting(p.m.core), [[ETH_IP_TCP + 12 + 12 + 500]]);
  assertContent(payloads(p)[0], 0);
  p.done();
});

test('without headroom, and at any byte but the first, the header is a segment of its own', () => {
  const p = new Peer().accept();
  p.write(100);
  assert.equal(waiting(p.m.core), [[ETH_IP_TCP, 100]]);
  p.m.take();
  p.in('.', { ack: 101 });
  const { core } = p.m;
  const addr = message(p, 100);
  core.send(p.handle, addr + 1, 99);
  core.flush(p.m.nowUs);
  assert.equal(waiting(core), [[ETH_IP_TCP, 99]]);
  core.free(addr);
  p.done();
});

test('of a message longer than a segment the first leaves as one piece', () => {
  const p = new Peer().accept();
  sendMessage(p, MSS + 500);
  assert.equal(waiting(p.m.core), [[ETH_IP_TCP + MSS], [ETH_IP_TCP, 500]]);
  const got = payloads(p);
  assertContent(Buffer.concat(got), 0);
  p.done();
});

for (const first of [30, 31]) {
  test(`what follows a message of ${first} bytes in its segment is a piece behind it`, () => {
    const p = new Peer().accept();
    const { core } = p.m;
    const addr = message(p, first);
    const rest = core.alloc(200);
    core.u8.set(content(first, 200), rest);
    core.u32.set([addr, first, rest, 121, rest + 121, 79], core.scratch >> 2);
    assert.is(core.sendv(p.handle, core.scratch, 3), first + 200);
    core.free(addr);
    core.free(rest);
    core.flush(p.m.nowUs);
    assert.equal(waiting(core), [[ETH_IP_TCP + first, 121, 79]]);
    assertContent(payloads(p)[0], 0);
    p.done();
  });
}

test('while the link reads the room, whatever sends the same bytes has a header of its own', () => {
  const p = new Peer().accept();
  const { core } = p.m;
  core.setOption(p.handle, L.OPT_NODELAY, 1);
  const addr = core.allocMessage(300);
  core.u8.set(content(0, 300), addr);
  for (let i = 0; i < 3; i++) {
    assert.is(core.send(p.handle, addr, 300), 300);
    core.flush(p.m.nowUs);
  }
  assert.equal(waiting(core), [[ETH_IP_TCP + 300], [ETH_IP_TCP, 300], [ETH_IP_TCP, 300]]);
  for (const segment of p.heard()) assertContent(segment.payload, 0);
  // The link has finished with all of them: the room is free.
  core.send(p.handle, addr, 300);
  core.flush(p.m.nowUs);
  assert.equal(waiting(core), [[ETH_IP_TCP + 300]]);
  assert.is(core.free(addr), 0);
  p.done();
});

test('a retransmission takes the room when the link has left it, and only then', () => {
  const p = new Peer().accept();
  const { core } = p.m;
  const { u32 } = core;
  sendMessage(p, 400);
  // The driver has the frame, and keeps it for long.
  const entry = u32[L.CTL_TX_TAIL >> 2]++ & (u32[L.CTL_TX_SIZE >> 2] - 1);
  const frame = u32[(u32[L.CTL_TX_AT >> 2] >> 2) + 4 * entry];
  for (const lengths of [[ETH_IP_TCP, 400], [ETH_IP_TCP + 400]]) {
    for (let i = 0; i < 100 && waiting(core).length === 0; i++) p.pass(100_000);
    assert.equal(waiting(core), [lengths]);
    assertContent(payloads(p)[0], 0);
    if (lengths.length === 1) break;
    // Now it gives it back: by the address of the frame's first byte, in the room.
    const done = u32[L.CTL_DONE_HEAD >> 2]++ & (u32[L.CTL_DONE_SIZE >> 2] - 1);
    u32[(u32[L.CTL_DONE_AT >> 2] >> 2) + done] = frame;
    core.ingest(0, p.m.nowUs);
  }
  p.in('.', { ack: 401 });
  core.ingest(0, p.m.nowUs);
  assert.is(core.zbufInUse(), 0);
  assert.is(p.count(L.CNT_ZbufMisuse), 0);
  p.done();
});

test('acknowledged before the link has finished, or after: the object is given back once', () => {
  for (const acknowledgedFirst of [true, false]) {
    const p = new Peer().accept();
    const { core } = p.m;
    sendMessage(p, 400);
    assert.is(core.zbufInUse(), 1, 'no header object');
    const acknowledge = (): void => p.in('.', { ack: 401 });
    const complete = (): void => {
      p.m.take();
      core.ingest(0, p.m.nowUs);
    };
    if (acknowledgedFirst) acknowledge();
    else complete();
    assert.is(core.zbufInUse(), 1);
    if (acknowledgedFirst) complete();
    else acknowledge();
    assert.is(core.zbufInUse(), 0);
    assert.is(p.count(L.CNT_ZbufMisuse), 0);
    p.done();
  }
});

test('an aborted connection leaves the room to the frame in it until the link has finished', () => {
  const p = new Peer().accept();
  const { core } = p.m;
  const addr = message(p, 400);
  core.send(p.handle, addr, 400);
  core.flush(p.m.nowUs);
  core.abort(p.handle);
  core.free(addr);
  p.handle = 0;
  assert.is(core.refCount(addr), 1, 'the frame’s');
  const [segment] = p.heard();
  assertContent(segment.payload, 0);
  core.ingest(0, p.m.nowUs);
  assert.is(core.refCount(addr), 0);
  p.done();
});

test('a frame that waits for a neighbour keeps the room, and gives it up when it is dropped', () => {
  for (const resolved of [true, false]) {
    const p = new Peer().accept();
    const { core } = p.m;
    assert.is(core.neighDel(p.address(F.PEER_IP)), 0);
    const addr = message(p, 350);
    core.send(p.handle, addr, 350);
    core.flush(p.m.nowUs);
    p.m.take();
    assert.is(core.refCount(addr), 3, 'ours, the queue’s, the frame’s');
    if (resolved) {
      p.m.inject(F.arpFrame(2));
      assert.equal(waiting(core), [[ETH_IP_TCP + 350]]);
      assertContent(payloads(p)[0], 0);
    } else {
      core.neighFail(p.address(F.PEER_IP));
      core.u8.set(PEER_MAC, core.scratch + 16);
      p.address(F.PEER_IP);
      core.neighSet(core.scratch, core.scratch + 16);
    }
    core.ingest(0, p.m.nowUs);
    assert.is(core.refCount(addr), 2);
    // Free again: what is sent next from there begins in it.
    p.pass(3e6, 1000);
    const frames = waiting(core);
    assert.ok(frames.some(([first]) => first === ETH_IP_TCP + 350));
    core.free(addr);
    p.done();
  }
});

test('the room is no memory of the application’s', () => {
  const p = new Peer().accept();
  const { core } = p.m;
  const addr = core.allocMessage(900);
  assert.ok(core.objectEnd(addr) - addr >= 900);
  let misuse = 0;
  for (const at of [addr - 1, addr - 64, addr - L.HEADROOM]) {
    assert.is(core.objectEnd(at), 0);
    for (const call of [core.free, core.dup, (x: number) => core.send(p.handle, x, 100)]) {
      assert.is(call(at), -L.EFAULT);
      assert.is(p.count(L.CNT_ZbufMisuse), ++misuse);
    }
  }
  assert.is(core.refCount(addr), 1);
  assert.is(core.free(addr), 0);
  assert.is(core.free(addr), -L.EINVAL);
  assert.is(core.send(p.handle, addr, 1), -L.EINVAL);
  assert.is(core.allocMessage(L.ZONE_BYTES), 0);
  assert.is(core.allocMessage(65536 - L.HEADROOM + 1), 0);
  assert.is(core.allocMessage(0xffffffff), 0);
  const largest = core.allocMessage(65536 - L.HEADROOM);
  assert.ok(largest > 0);
  core.free(largest);
  p.done();
});

test.run();
