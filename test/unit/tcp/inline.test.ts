// The inline callback: what it is given, and that it may do anything, its own end included. And ICMP errors.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { InlineEvent } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { cuts, fragment4 } from '../../helpers/fragments.js';
import * as F from '../../helpers/frames.js';
import { assertContent, MSS, mss, Peer } from '../../helpers/peer.js';

interface Call {
  kind: number;
  a: number;
  b: number;
}

/** An inline connection, and what its callback does with each event. */
function inline(act: (p: Peer, call: Call) => void): { p: Peer; calls: Call[] } {
  const calls: Call[] = [];
  const onEvent: InlineEvent = (handle, kind, a, b) => {
    if (kind === L.EV_ACCEPT) {
      p.handle = a;
      return;
    }
    assert.is(handle, p.handle);
    calls.push({ kind, a, b });
    act(p, { kind, a, b });
  };
  const p = new Peer({}, onEvent);
  p.accept(mss(MSS), { flags: L.SOCK_INLINE });
  assert.ok(p.handle > 0, 'the callback has been given the connection');
  return { p, calls };
}

test('payload is handed over in place with one reference', () => {
  const { p, calls } = inline((peer, { kind, a, b }) => {
    if (kind !== L.EV_DATA) return;
    const { core } = peer.m;
    assert.is(core.refCount(a), 1, 'the frame’s, which is the callback’s now');
    assertContent(core.u8.subarray(a, a + b), 0);
    core.free(a);
  });
  p.in('P.', { len: 700 });
  assert.equal(
    calls.map((c) => [c.kind, c.b]),
    [[L.EV_DATA, 700]],
  );
  assert.is(p.m.core.rxInUse(), 0);
  p.done();
});

test('payload that came in fragments is handed over with a reference to what they were put together in', () => {
  const kept: Call[] = [];
  const { p } = inline((_, call) => kept.push(call));
  const { core } = p.m;
  const frame = p.frame('P.', { len: 700 });
  for (const cut of cuts(frame.length - F.ETH - 20, 400)) p.m.inject(fragment4(frame, 1, cut));
  assert.equal(
    kept.map(({ kind, b }) => [kind, b]),
    [[L.EV_DATA, 700]],
  );
  const [{ a, b }] = kept;
  assert.is(core.rxInUse(), 0, 'the link has its objects back');
  assert.is(core.refCount(a), 1, 'it is the callback’s alone');
  assertContent(core.u8.subarray(a, a + b), 0);
  assert.is(core.free(a), 0);
  p.done();
});

test('what the callback keeps stays until it is freed', () => {
  const kept: number[] = [];
  const { p } = inline((_, { a }) => kept.push(a));
  p.in('P.', { len: 100 });
  p.in('P.', { seq: 101, len: 100 });
  assert.is(p.m.core.rxInUse(), 2);
  for (const addr of kept) assert.is(p.m.core.free(addr), 0);
  assert.is(p.m.core.rxInUse(), 0);
  p.done();
});

test('the answer of a callback carries the ACK', () => {
  const { p } = inline((peer, { kind, a, b }) => {
    if (kind !== L.EV_DATA) return;
    peer.m.core.send(peer.handle, a, b);
    peer.m.core.free(a);
  });
  for (let i = 0; i < 12; i++) {
    p.in('P.', { seq: 1 + i * 50, ack: 1 + i * 50, len: 50 });
    assert.equal(p.out(), [`P. ${1 + i * 50}:${51 + i * 50} ack ${51 + i * 50}`]);
  }
  p.done();
});

test('a gap that fills is delivered in one go, in order', () => {
  let at = 0;
  const { p } = inline((peer, { kind, a, b }) => {
    if (kind !== L.EV_DATA) return;
    assertContent(peer.m.core.u8.subarray(a, a + b), at);
    at += b;
    peer.m.core.free(a);
  });
  for (const i of [3, 1, 2, 0]) p.in('.', { seq: 1 + i * 100, len: 100 });
  assert.is(at, 400);
  p.done();
});

for (const [name, end] of [
  ['close', (p: Peer) => p.m.core.close(p.handle)],
  ['abort', (p: Peer) => p.m.core.abort(p.handle)],
] as [string, (p: Peer) => number][]) {
  test(`a callback may ${name} its own connection, with more of the same segment to come`, () => {
    const { p, calls } = inline((peer, { kind, a }) => {
      if (kind !== L.EV_DATA) return;
      peer.m.core.free(a);
      assert.is(end(peer), 0);
      assert.is(end(peer), -L.EBADF);
    });
    for (const i of [2, 1]) p.in('.', { seq: 1 + i * 100, len: 100 });
    p.in('F.', { seq: 1, len: 100 });
    assert.is(calls.filter((c) => c.kind === L.EV_DATA).length, 1);
    p.in('F.', { seq: 301, ack: 2 });
    p.handle = 0;
    p.done();
  });
}

test('a callback may open connections and send on them', () => {
  let opened = 0;
  const { p } = inline((peer, { kind, a }) => {
    if (kind !== L.EV_DATA) return;
    const { core } = peer.m;
    core.free(a);
    opened = core.connect(peer.address(F.PEER_IP), 7, 0, 0, L.SOCK_INLINE);
  });
  p.in('P.', { len: 1 });
  assert.ok(opened > 0);
  assert.ok(p.heard().some((s) => s.flags === 'S' && s.dstPort === 7));
  p.m.core.abort(opened);
  p.done();
});

test('end of file, reset and errors come by the callback too', () => {
  const first = inline((p, { kind }) => {
    if (kind === L.EV_EOF) p.m.core.shutdown(p.handle);
  });
  first.p.in('F.');
  first.p.in('.', { seq: 2, ack: 2 });
  assert.equal(
    first.calls.map((c) => c.kind),
    [L.EV_EOF, L.EV_CLOSED],
  );
  first.p.done();
  const second = inline(() => {});
  second.p.in('R');
  assert.equal(second.calls, [{ kind: L.EV_ERROR, a: L.ECONNRESET, b: 0 }]);
  second.p.done();
});

/** The beginning of the core's last segment, as a router would quote it. */
function quote(p: Peer): Uint8Array {
  const frames = p.m.take();
  return frames[frames.length - 1].slice(14, 14 + 28);
}

test('ICMP port unreachable ends an attempt to connect, and is soft on an open connection (RFC 5927)', () => {
  const p = new Peer();
  p.connect();
  p.m.inject(F.icmpError(3, 3, 0, quote(p)));
  const [event] = p.m.events();
  assert.equal(event.slice(1, 3), [L.EV_ERROR, L.ECONNREFUSED]);
  p.done();
  const open = new Peer().accept();
  open.write(100);
  open.m.inject(F.icmpError(3, 3, 0, quote(open)));
  assert.is(open.state(), L.TCP_ESTABLISHED);
  open.done();
});

test('fragmentation needed lowers the segment size and sends again, within reason', () => {
  const p = new Peer().accept();
  p.write(1460);
  p.m.inject(F.icmpError(3, 4, 1000, quote(p)));
  assert.is(p.info(L.INFO_snd_mss), 960);
  p.write(2000);
  assert.ok(p.heard().every((s) => s.payload.length <= 960));
  p.done();
  const forged = new Peer().accept();
  forged.write(1460);
  forged.m.inject(F.icmpError(3, 4, 20, quote(forged)));
  assert.ok(forged.info(L.INFO_snd_mss) >= 500, `mss ${forged.info(L.INFO_snd_mss)}`);
  forged.done();
});

test('an ICMP error that quotes a sequence number not in flight is ignored', () => {
  const p = new Peer().accept();
  p.write(1460);
  const quoted = quote(p);
  quoted[24] ^= 0x40;
  p.m.inject(F.icmpError(3, 4, 600, quoted));
  assert.is(p.info(L.INFO_snd_mss), 1460);
  p.done();
});

test.run();
