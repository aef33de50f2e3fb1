// A paused inline connection (OPT_PAUSED): what it receives waits, the window closes, and all of it comes after resume().
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { assertContent, MSS, mss, Peer, type SegmentOptions, sackPermitted, timestamps } from '../../helpers/peer.js';
import { random } from '../../helpers/random.js';

const BUFFER = 10 * MSS;

/** A peer of an inline connection whose callback checks what it is given. */
class Paused extends Peer {
  readonly told: number[] = [];
  received = 0;
  /** What the callback does behind each event. */
  act: (kind: number) => void = () => {};

  constructor(config: Partial<CoreConfig> = {}, options: readonly number[] = mss(MSS)) {
    super({ rcvBufBytes: BUFFER, ...config }, (_handle, kind, a, b) => this.#event(kind, a, b));
    this.accept(options, { flags: L.SOCK_INLINE });
    this.told.length = 0;
  }

  #event(kind: number, a: number, b: number): void {
    if (kind === L.EV_ACCEPT) this.handle = a;
    else if (kind === L.EV_DATA) {
      assert.is(this.paused, 0, 'data for a connection that is paused');
      const { core } = this.m;
      assertContent(core.u8.subarray(a, a + b), this.received);
      this.received += b;
      assert.is(core.free(a), 0);
    }
    this.told.push(kind);
    this.act(kind);
  }

  get paused(): number {
    return this.m.core.getOption(this.handle, L.OPT_PAUSED);
  }

  pause(on = 1): this {
    assert.is(this.m.core.setOption(this.handle, L.OPT_PAUSED, on), 0);
    return this;
  }

  /** And the loop's next turn. */
  resume(): this {
    this.pause(0);
    this.m.core.flush(this.m.nowUs);
    return this;
  }

  /** Segments one behind the other from byte `from` on, as far as the window reaches. */
  fill(from: number, options: SegmentOptions = {}): number {
    let at = from;
    let edge = Number.POSITIVE_INFINITY;
    while (at - from + MSS <= BUFFER && at + MSS <= edge) {
      this.in('.', { seq: 1 + at, len: MSS, ...options });
      at += MSS;
      for (const { ack, win } of this.heard()) edge = ack - 1 + win;
    }
    return at;
  }

  queued(): number {
    return this.info(L.INFO_rcv_queued_bytes);
  }
}

test('nothing is handed over, the window closes, and resume() hands over all and opens it at once', () => {
  const p = new Paused().pause();
  const sent = p.fill(0);
  assert.is(sent, BUFFER, 'all of the buffer');
  assert.equal([p.received, p.queued()], [0, BUFFER]);
  p.pass(100_000);
  p.heard();
  // A probe of the window (RFC 9293 §3.8.6.1).
  p.in('.', { seq: 1 + sent, len: 1 });
  assert.equal(
    p.heard().map(({ ack, win }) => [ack, win]),
    [[1 + sent, 0]],
    'what there is no room for is not acknowledged',
  );
  p.pause(0);
  assert.is(p.received, 0, 'not before the call returns');
  p.m.core.flush(p.m.nowUs);
  assert.equal([p.received, p.queued()], [BUFFER, 0]);
  assert.equal(
    p.heard().map(({ ack, win }) => [ack, win]),
    [[1 + sent, BUFFER]],
    'the window update',
  );
  p.in('P.', { seq: 1 + sent, len: 100 });
  assert.is(p.received, BUFFER + 100);
  p.done();
});

test('a window that has not closed is told anew when much has waited, and not when little has', () => {
  const p = new Paused().pause();
  p.in('P.', { seq: 1, len: 100 });
  p.pass(100_000);
  assert.equal(p.heard().at(-1)?.win, BUFFER - 100);
  p.resume();
  assert.is(p.received, 100);
  assert.equal(p.out(), []);
  p.done();
});

test('a callback that pauses gets no more of what has become whole with its piece', () => {
  const p = new Paused();
  p.act = (kind) => {
    if (kind === L.EV_DATA) p.pause();
  };
  for (const i of [3, 2, 1, 0]) p.in('.', { seq: 1 + i * 100, len: 100 });
  for (let i = 1; i <= 4; i++) {
    assert.equal([p.received, p.queued()], [i * 100, 400 - i * 100]);
    p.resume();
  }
  p.done();
});

test('one that pauses on the fast path, too, and one that resumes in the same call goes on', () => {
  const p = new Paused();
  let resumes = false;
  p.act = () => {
    p.pause();
    if (resumes) p.pause(0);
  };
  p.m.inject(p.frame('.', { seq: 1, len: 100 }), p.frame('.', { seq: 101, len: 100 }));
  assert.equal([p.received, p.queued()], [100, 100]);
  resumes = true;
  p.resume();
  p.m.inject(p.frame('.', { seq: 201, len: 100 }), p.frame('.', { seq: 301, len: 100 }));
  assert.equal([p.received, p.queued()], [400, 0]);
  p.done();
});

test('the peer’s FIN is acknowledged, and told behind the data', () => {
  const p = new Paused().pause();
  p.in('P.', { seq: 1, len: 100 });
  p.in('F.', { seq: 101 });
  assert.is(p.heard().at(-1)?.ack, 102);
  assert.is(p.state(), L.TCP_CLOSE_WAIT);
  assert.equal(p.told, []);
  p.resume();
  assert.equal(p.told, [L.EV_DATA, L.EV_EOF]);
  p.done();
});

test('so is the end of both directions, also without data', () => {
  for (const len of [0, 100]) {
    const p = new Paused().pause();
    if (len > 0) p.in('P.', { seq: 1, len });
    p.m.core.shutdown(p.handle);
    p.m.core.flush(p.m.nowUs);
    p.in('F.', { seq: 1 + len, ack: 2 });
    p.pass(200e6, 1e6);
    assert.equal(p.told, []);
    p.resume();
    assert.equal(p.told, [...(len > 0 ? [L.EV_DATA] : []), L.EV_EOF, L.EV_CLOSED]);
    assert.is(p.received, len);
    p.done();
  }
});

test('a reset is told at once, and what waited goes with the handle', () => {
  const p = new Paused().pause();
  p.in('P.', { seq: 1, len: 100 });
  p.act = (kind) => {
    assert.is(kind, L.EV_ERROR);
    p.m.core.close(p.handle);
  };
  p.in('R', { seq: 101 });
  assert.equal(p.told, [L.EV_ERROR]);
  p.handle = 0;
  assert.is(p.m.core.rxInUse(), 0);
  p.done();
});

test('close() with unread data is a reset, without it a FIN; abort() a reset', () => {
  for (const [len, end, flags] of [
    [100, 'close', 'R.'],
    [0, 'close', 'F.'],
    [100, 'abort', 'R.'],
  ] as const) {
    const p = new Paused().pause();
    if (len > 0) p.in('P.', { seq: 1, len });
    p.pass(100_000);
    p.heard();
    assert.is(p.m.core[end](p.handle), 0);
    p.m.core.flush(p.m.nowUs);
    assert.is(p.heard().at(-1)?.flags, flags, `${end} with ${len} bytes`);
    assert.is(p.m.core.rxInUse(), 0);
    assert.equal(p.told, [], 'nothing is told');
    p.handle = 0;
    p.done();
  }
});

test('recv() takes what waits, and opens the window', () => {
  const p = new Paused().pause();
  const sent = p.fill(0);
  p.heard();
  assert.is(p.read(0), sent);
  assert.is(p.heard().at(-1)?.win, BUFFER);
  p.received = sent;
  p.in('P.', { seq: 1 + sent, len: 100 });
  assert.equal([p.told.length, p.queued()], [0, 100]);
  p.resume();
  assert.equal(p.told, [L.EV_DATA]);
  p.done();
});

test('what does not wait behind data is told: room to send, and reports', () => {
  const p = new Paused({ sndBufBytes: 4096 });
  p.pause();
  p.in('P.', { seq: 1, len: 100 });
  p.m.core.setOption(p.handle, L.OPT_NODELAY, 1);
  while (p.write(1024) > 0);
  p.in('.', { seq: 101, ack: 1 + p.written });
  assert.equal(p.told, [L.EV_WRITE]);
  p.write(1000);
  for (let i = 0; i < 10; i++) {
    p.pass(2e6, 50_000);
    p.heard();
  }
  assert.ok(p.told.includes(L.EV_REPORT), 'retransmissions are reported');
  assert.is(p.received, 0);
  p.done();
});

test('an active open that is paused before it is done tells that it is', () => {
  const kinds: number[] = [];
  const p = new Peer({}, (_handle, kind, a) => {
    kinds.push(kind);
    if (kind === L.EV_DATA) p.m.core.free(a);
  });
  p.connect({ flags: L.SOCK_INLINE });
  assert.is(p.m.core.setOption(p.handle, L.OPT_PAUSED, 1), 0);
  p.heard();
  p.in('S.', { from: 40000, seq: 0, options: mss(MSS) });
  p.in('P.', { seq: 1, len: 10 });
  assert.equal(kinds, [L.EV_CONNECT]);
  p.m.core.setOption(p.handle, L.OPT_PAUSED, 0);
  p.m.core.flush(p.m.nowUs);
  assert.equal(kinds, [L.EV_CONNECT, L.EV_DATA]);
  p.done();
});

test('batch connections and listeners cannot be paused, inline ones more than once', () => {
  const batch = new Peer().accept();
  const { core } = batch.m;
  for (const value of [0, 1]) {
    assert.is(core.setOption(batch.handle, L.OPT_PAUSED, value), -L.EINVAL);
    assert.is(core.setOption(batch.listener, L.OPT_PAUSED, value), -L.EINVAL);
  }
  assert.is(core.getOption(batch.handle, L.OPT_PAUSED), 0);
  batch.done();
  const p = new Paused().resume().pause().pause();
  p.in('P.', { seq: 1, len: 100 });
  assert.equal([p.paused, p.received], [1, 0]);
  p.resume().resume();
  assert.equal([p.paused, p.received], [0, 100]);
  p.done();
});

test('nothing is lost, doubled or out of order through many pauses, losses and disorder', () => {
  for (let seed = 1; seed <= 8; seed++) {
    const r = random(seed);
    const p = new Paused({}, [...mss(MSS), ...sackPermitted(), ...timestamps(1000, 0)]);
    p.act = (kind) => {
      if (kind === L.EV_DATA && r.oneIn(3)) p.pause();
    };
    const total = 300_000;
    const options = timestamps(1001, 0);
    let acked = 0;
    let edge = BUFFER;
    let sawZero = false;
    let pauses = 0;
    for (let step = 0; acked < total; step++) {
      assert.ok(step < 20_000, `seed ${seed}: ${acked} of ${total} after ${step} steps`);
      const frames = [];
      for (let at = acked; at < Math.min(edge, total) && frames.length < 8; ) {
        const len = Math.min(1 + r.below(MSS - 12), edge - at, total - at);
        frames.push(p.frame(r.oneIn(4) ? 'P.' : '.', { seq: 1 + at, len, options }));
        at += len;
      }
      if (r.oneIn(4)) frames.reverse();
      if (r.oneIn(4)) frames.splice(r.below(frames.length + 1), 1);
      p.m.inject(...frames);
      if (r.oneIn(5)) p.pause();
      if (p.paused) pauses++;
      if (r.oneIn(6)) p.resume();
      p.pass(r.pick([0, 1000, 50_000]));
      for (const { ack, win } of p.heard()) {
        acked = Math.max(acked, ack - 1);
        assert.ok(ack - 1 + win >= edge, 'the right edge does not move left');
        edge = ack - 1 + win;
        sawZero ||= win === 0;
      }
      assert.ok(p.queued() <= BUFFER, 'no more waits than the buffer holds');
      if (acked === edge && p.paused) p.resume();
    }
    while (p.received < total) p.resume();
    assert.ok(sawZero && pauses > 50, `seed ${seed}: ${pauses} pauses`);
    p.done();
  }
});

test('a paused connection that is packed (park.ts) stays paused', () => {
  const handles: number[] = [];
  const got = new Map<number, number>();
  const p = new Peer({ maxConnections: 64, activeConnections: 8 }, (handle, kind, a, b) => {
    if (kind === L.EV_ACCEPT) handles.push(a);
    if (kind !== L.EV_DATA) return;
    got.set(handle, (got.get(handle) ?? 0) + b);
    p.m.core.free(a);
  });
  p.listen(L.SOCK_INLINE);
  const isses: number[] = [];
  for (let i = 0; i < 40; i++) {
    p.in('S', { from: 20_000 + i, seq: 0, options: mss(MSS) });
    p.heard();
    isses.push(p.iss);
    p.in('.', { from: 20_000 + i });
    assert.is(p.m.core.setOption(handles[i], L.OPT_PAUSED, 1), 0);
    p.pass(1000);
  }
  assert.ok(p.count(L.CNT_TcpExtTCPParked) >= 32, 'most are packed');
  for (let i = 0; i < 40; i++) {
    p.iss = isses[i];
    p.in('P.', { from: 20_000 + i, len: 100 });
    p.pass(1000);
    assert.is(got.size, 0);
    assert.is(p.m.core.setOption(handles[i], L.OPT_PAUSED, 0), 0);
    p.pass(1000);
    assert.is(got.get(handles[i]), 100);
    got.clear();
  }
  for (const handle of handles) p.m.core.abort(handle);
  p.done();
});

test('paused while the application holds all but a few receive objects: what finds no room is sent again', () => {
  const p = new Paused({ rcvBufBytes: 1 << 20 }, [...mss(MSS), 1, 3, 3, 6]);
  const { m } = p;
  // Objects that wait on paused connections leave some for what must come.
  p.pause();
  let at = 0;
  for (let i = 0; i < 2 * m.rxObjects && p.count(L.CNT_TcpExtTCPRcvQDrop) === 0; i++) {
    if (m.inject(p.frame('.', { seq: 1 + at, len: 1000 })) === 0) break;
    for (const { ack } of p.heard()) at = ack - 1;
    p.pass(1000);
    for (const { ack } of p.heard()) at = ack - 1;
  }
  assert.ok(p.count(L.CNT_TcpExtTCPRcvQDrop) > 0, 'there was no room');
  assert.ok(m.freeRxObjects() > 0, 'something is left for others');
  assert.is(p.received, 0);
  const waited = p.queued();
  assert.is(waited, at, 'what has been acknowledged waits');
  p.resume();
  assert.is(p.received, waited);
  p.in('P.', { seq: 1 + at, len: 1000 });
  assert.is(p.received, waited + 1000);
  p.done();
});

test.run();
