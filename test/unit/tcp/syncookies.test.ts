// SYN cookies (RFC 4987 §3.6): what is kept of a SYN that finds no room, what its answer says, which ACKs open a
// connection, and with which options.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { content, MSS, mss, Peer, sackPermitted, timestamps, wscale } from '../../helpers/peer.js';

const BACKLOG = 4;
const STRANGER = 1000;

/** A listener whose half-open list is full. */
function pressed(config: ConstructorParameters<typeof Peer>[0] = {}, flags = 0, onEvent?: () => void): Peer {
  const p = new Peer(config, onEvent);
  p.listen(flags, BACKLOG);
  for (let i = 0; i < BACKLOG; i++) p.in('S', { seq: 0, from: STRANGER + i, options: mss(MSS) });
  assert.is(p.heard().length, BACKLOG);
  assert.is(p.count(L.CNT_TcpExtSyncookiesSent), 0);
  return p;
}

function slots(p: Peer): number {
  let used = 0;
  for (let i = 0; i < p.m.core.config.maxConnections; i++) {
    if (p.m.core.connectionAt(i, p.m.core.scratch) === 0) used++;
  }
  return used;
}

/** The half-open strangers go away. */
function forget(p: Peer): void {
  for (let i = 0; i < BACKLOG; i++) p.in('R', { seq: 1, from: STRANGER + i });
}

function stampOf(options: Uint8Array): number {
  const at = options.findIndex((kind, i) => kind === 8 && options[i + 1] === 10);
  return at < 0 ? 0 : new DataView(options.buffer, options.byteOffset).getUint32(at + 2);
}

function accept(p: Peer): number {
  p.handle = p.m.core.accept(p.listener);
  return p.handle;
}

test('a SYN that finds the half-open list full is answered, and nothing of it is kept', () => {
  const p = pressed();
  const before = slots(p);
  p.in('S', { seq: 0, options: mss(MSS) });
  assert.equal(p.out(), ['S. 0 ack 1']);
  p.m.take();
  assert.is(p.count(L.CNT_TcpExtSyncookiesSent), 1);
  assert.is(slots(p), before);
  assert.is(p.m.core.zbufInUse(), 0);
  assert.is(p.m.core.rxInUse(), 0);
  p.in('.');
  assert.is(p.count(L.CNT_TcpExtSyncookiesRecv), 1);
  assert.ok(accept(p) > 0);
  assert.is(p.state(), L.TCP_ESTABLISHED);
  p.write(10);
  assert.equal(p.out(), ['P. 1:11 ack 1']);
  p.in('P.', { ack: 11, len: 100 });
  assert.is(p.read(0), 100);
  forget(p);
  p.done();
});

test('those that were there first stay and complete', () => {
  const p = pressed();
  for (let i = 0; i < 50; i++) p.in('S', { seq: 0, from: 5000 + i, options: mss(MSS) });
  p.heard();
  assert.is(p.count(L.CNT_TcpExtListenDrops), 0);
  p.in('S', { seq: 0, from: STRANGER, options: mss(MSS) });
  assert.equal(p.out(), ['S. 0 ack 1'], 'the SYN-ACK again, of the half-open connection');
  assert.is(p.count(L.CNT_TcpExtSyncookiesSent), 50);
  p.in('.', { from: STRANGER });
  assert.ok(accept(p) > 0);
  forget(p);
  p.done();
});

test('with timestamps the SYN-ACK offers SACK and window scaling, and the connection has them', () => {
  const p = pressed({ rcvBufBytes: 1 << 20 });
  p.in('S', { seq: 0, options: [...mss(1400), ...sackPermitted(), ...timestamps(7000, 0), ...wscale(9)] });
  const [answer] = p.heard();
  const stamp = stampOf(answer.options);
  assert.equal([...answer.options.subarray(0, 6)], [2, 4, 5, 180, 4, 2]);
  assert.equal([...answer.options.subarray(16)], [1, 3, 3, 5]);
  p.in('.', { win: 100, options: timestamps(7001, stamp) });
  assert.ok(accept(p) > 0);
  assert.is(p.info(L.INFO_options), 7);
  assert.is(p.info(L.INFO_snd_wscale), 9);
  assert.is(p.info(L.INFO_rcv_wscale), 5);
  assert.is(p.info(L.INFO_snd_wnd), 100 << 9);
  assert.is(p.info(L.INFO_snd_mss), 1360 - 12, 'the next smaller value of the table');
  p.write(1);
  const [data] = p.heard();
  assert.ok(stampOf(data.options) - stamp >= 0 && stampOf(data.options) - stamp < 64, 'our timestamps do not go back');
  forget(p);
  p.done();
});

test('every combination of options comes back out of the timestamp', () => {
  for (const scale of [-1, 0, 1, 7, 14]) {
    for (const sack of [false, true]) {
      for (const ecn of [false, true]) {
        const p = pressed({ tcpFlags: L.CFGF_ECN_ACCEPT });
        p.m.nowUs += 12_345_678 * (scale + 2);
        const options = [
          ...mss(MSS),
          ...(sack ? sackPermitted() : []),
          ...timestamps(1, 0),
          ...(scale >= 0 ? wscale(scale) : []),
        ];
        p.in(ecn ? 'SEW' : 'S', { seq: 0, options });
        const [answer] = p.heard();
        assert.is(answer.flags.includes('E'), ecn);
        p.in('.', { win: 1000, options: timestamps(2, stampOf(answer.options)) });
        assert.ok(accept(p) > 0);
        const expected = 1 | (sack ? 2 : 0) | (scale >= 0 ? 4 : 0) | (ecn ? 8 : 0);
        assert.is(p.info(L.INFO_options) & 15, expected, `scale ${scale} sack ${sack} ecn ${ecn}`);
        assert.is(p.info(L.INFO_snd_wnd), 1000 << Math.max(scale, 0));
        forget(p);
        p.done();
      }
    }
  }
});

test('without timestamps there is no place for the other options, so the SYN-ACK offers none', () => {
  const p = pressed();
  p.in('SEW', { seq: 0, options: [...mss(MSS), ...sackPermitted(), ...wscale(9)] });
  const [answer] = p.heard();
  assert.equal([...answer.options], mss(1460));
  assert.is(answer.flags, 'S.');
  p.in('.', { win: 5000 });
  assert.ok(accept(p) > 0);
  assert.is(p.info(L.INFO_options), 0);
  assert.is(p.info(L.INFO_snd_wnd), 5000);
  forget(p);
  p.done();
});

test('the MSS is rounded down, never up', () => {
  const p = pressed();
  const expected = [
    [0, 536],
    [20, 88],
    [88, 88],
    [255, 88],
    [300, 256],
    [536, 536],
    [1300, 1220],
    [1459, 1440],
    [1460, 1460],
    [9000, 1460],
  ];
  for (const [i, [said, used]] of expected.entries()) {
    const from = 20000 + i;
    p.in('S', { seq: 0, from, options: said > 0 ? mss(said) : [] });
    p.heard();
    p.in('.', { from });
    assert.ok(accept(p) > 0);
    assert.is(p.info(L.INFO_snd_mss), used, `for ${said}`);
    p.m.core.abort(p.handle);
    p.heard();
  }
  p.handle = 0;
  forget(p);
  p.done();
});

test('an ACK that brings no cookie of ours is reset', () => {
  const p = pressed();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.heard();
  const wrong = [
    { ack: 2 },
    { ack: 0 },
    { ack: 1 + (1 << 24) },
    { ack: 1 + (1 << 27) },
    { seq: 2 },
    { from: 40001 },
    { seq: 100, ack: 100 },
  ];
  for (const o of wrong) {
    p.in('.', o);
    assert.equal(
      p.heard().map((s) => s.flags),
      ['R'],
      JSON.stringify(o),
    );
  }
  assert.is(p.count(L.CNT_TcpExtSyncookiesFailed), wrong.length);
  assert.is(accept(p), -L.EAGAIN);
  p.in('.');
  assert.ok(accept(p) > 0, 'the right one still opens it');
  forget(p);
  p.done();
});

test('of many random guesses none opens a connection', () => {
  const p = pressed();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.heard();
  let x = 12345;
  for (let i = 0; i < 50_000; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    p.in('.', { ack: x | 2, from: 30000 });
    if (i % 100 === 0) p.m.take();
  }
  p.m.take();
  assert.is(accept(p), -L.EAGAIN);
  assert.is(p.count(L.CNT_TcpExtSyncookiesFailed), 50_000);
  p.handle = 0;
  forget(p);
  p.done();
});

test('a cookie is good for a minute and not for two', () => {
  for (const [seconds, good] of [
    [1, true],
    [59, true],
    [121, false],
    [1000, false],
    // The 5 bits of the minute come round.
    [32 * 60, false],
  ] as const) {
    const p = pressed({ synackRetries: 20 });
    p.in('S', { seq: 0, options: mss(MSS) });
    p.heard();
    const { iss } = p;
    p.pass(seconds * 1e6, 1e6);
    p.m.take();
    p.iss = iss;
    // Somebody else is answered now, so that cookies are looked at.
    for (let i = 0; i < 2 * BACKLOG; i++) p.in('S', { seq: 0, from: 6000 + i, options: mss(MSS) });
    p.m.take();
    assert.ok(p.count(L.CNT_TcpExtSyncookiesSent) > 1);
    p.in('.');
    assert.is(accept(p) > 0, good, `after ${seconds} s`);
    p.handle = Math.max(p.handle, 0);
    p.m.take();
    for (let i = 0; i < 2 * BACKLOG; i++) p.in('R', { seq: 1, from: 6000 + i });
    forget(p);
    p.done();
  }
});

test('an ACK is not looked at when no cookie can be out', () => {
  const p = new Peer();
  p.listen();
  p.in('.', { ack: 1 });
  assert.is(p.heard()[0].flags, 'R');
  assert.is(p.count(L.CNT_TcpExtSyncookiesFailed), 0);
  p.done();
});

test('an echoed timestamp that is not that of a cookie fails', () => {
  const p = pressed();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(1, 0)] });
  const stamp = stampOf(p.heard()[0].options);
  for (const off of [-200_000, 64, 1 << 30]) {
    p.in('.', { options: timestamps(2, (stamp + off) >>> 0) });
    assert.is(p.heard()[0].flags, 'R', String(off));
  }
  p.in('.', { options: timestamps(2, stamp) });
  assert.ok(accept(p) > 0);
  forget(p);
  p.done();
});

test('data that overtakes or replaces the lost ACK opens the connection and is delivered', () => {
  const p = pressed();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.heard();
  p.in('P.', { len: 300 });
  assert.equal(p.out(), ['. 1 ack 301']);
  assert.ok(accept(p) > 0);
  assert.is(p.read(0), 300);
  forget(p);
  p.done();
});

test('data and FIN in one segment are enough', () => {
  const p = pressed();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.heard();
  p.in('FP.', { len: 3 });
  assert.ok(accept(p) > 0);
  assert.is(p.state(), L.TCP_CLOSE_WAIT);
  assert.is(p.read(0), 3);
  forget(p);
  p.done();
});

test('with the accept queue full the ACK is dropped; what the peer sends again opens the connection', () => {
  const p = pressed();
  const guests: number[] = [];
  const issOf: number[] = [];
  for (let i = 0; i < BACKLOG + 1; i++) {
    p.in('S', { seq: 0, from: 7000 + i, options: mss(MSS) });
    p.heard();
    issOf.push(p.iss);
  }
  for (let i = 0; i < BACKLOG; i++) {
    p.iss = issOf[i];
    p.in('.', { from: 7000 + i });
  }
  p.iss = issOf[BACKLOG];
  p.heard();
  p.in('.', { from: 7000 + BACKLOG });
  assert.equal(p.out(), []);
  assert.ok(p.count(L.CNT_TcpExtListenOverflows) > 0);
  for (let i = 0; i < BACKLOG; i++) guests.push(accept(p));
  p.in('P.', { from: 7000 + BACKLOG, len: 20 });
  assert.equal(p.out(), ['. 1 ack 21']);
  assert.ok(accept(p) > 0);
  assert.is(p.read(0), 20);
  for (const guest of guests) p.m.core.abort(guest);
  forget(p);
  p.done();
});

test('an inline listener is called back, and the first data with it', () => {
  const seen: number[] = [];
  const p = new Peer({}, (handle, kind, a, b) => {
    seen.push(kind);
    if (kind === L.EV_ACCEPT) p.handle = a;
    if (kind === L.EV_DATA) {
      assert.is(b, 40);
      assert.equal(p.m.core.u8.slice(a, a + b), content(0, 40));
      p.m.core.free(a);
    }
    assert.ok(handle > 0);
  });
  p.listen(L.SOCK_INLINE, BACKLOG);
  for (let i = 0; i < BACKLOG; i++) p.in('S', { seq: 0, from: STRANGER + i, options: mss(MSS) });
  p.heard();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.heard();
  assert.is(p.count(L.CNT_TcpExtSyncookiesSent), 1);
  p.in('P.', { len: 40 });
  assert.equal(seen, [L.EV_ACCEPT, L.EV_DATA]);
  p.in('F.', { seq: 41 });
  assert.equal(seen.slice(2), [L.EV_EOF]);
  forget(p);
  p.done();
});

test('listener options hold for connections from cookies', () => {
  const p = pressed();
  p.m.core.setOption(p.listener, L.OPT_RCV_BUF_BYTES, 30_000);
  p.m.core.setOption(p.listener, L.OPT_NODELAY, 1);
  p.in('S', { seq: 0, options: mss(MSS) });
  assert.is(p.heard()[0].win, 30_000);
  p.in('.');
  assert.ok(accept(p) > 0);
  assert.is(p.m.core.getOption(p.handle, L.OPT_RCV_BUF_BYTES), 30_000);
  assert.is(p.m.core.getOption(p.handle, L.OPT_NODELAY), 1);
  forget(p);
  p.done();
});

test('retransmission starts from the initial timeout: a cookie tells no round trip', () => {
  const p = pressed();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.heard();
  const iss = p.iss;
  p.pass(30_000_000, 1_000_000);
  p.heard();
  p.iss = iss;
  p.in('.');
  assert.ok(accept(p) > 0);
  assert.is(p.info(L.INFO_rto), p.m.core.config.rtoInitUs);
  assert.is(p.info(L.INFO_rtt), 0);
  forget(p);
  p.done();
});

test('“always” keeps no half-open connection at all', () => {
  const p = new Peer({ synCookies: L.SYN_COOKIES_ALWAYS });
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS) });
  assert.equal(p.out(), ['S. 0 ack 1']);
  assert.is(slots(p), 0);
  p.pass(10_000_000, 500_000);
  assert.equal(p.out(), [], 'and retransmits no SYN-ACK');
  p.in('.');
  assert.ok(accept(p) > 0);
  p.done();
});

test('“off”: the oldest half-open connection makes room', () => {
  const p = new Peer({ synCookies: L.SYN_COOKIES_OFF });
  p.listen(0, BACKLOG);
  for (let i = 0; i < 20; i++) p.in('S', { seq: 0, from: 1000 + i, options: mss(MSS) });
  assert.is(slots(p), BACKLOG);
  assert.is(p.count(L.CNT_TcpExtListenDrops), 20 - BACKLOG);
  assert.is(p.count(L.CNT_TcpExtSyncookiesSent), 0);
  p.done();
});

test('the half-open connections of all listeners take half of the table at most', () => {
  const p = new Peer({ maxConnections: 64 });
  p.listen(0, 1000);
  for (let i = 0; i < 100; i++) p.in('S', { seq: 0, from: 1000 + i, options: mss(MSS) });
  assert.is(slots(p), 32);
  assert.is(p.count(L.CNT_TcpExtSyncookiesSent), 68);
  p.done();
});

test('with no slot left a cookie is sent, and its ACK waits for one', () => {
  const p = new Peer({ maxConnections: 2 });
  p.listen(0, 10);
  const kept: number[] = [];
  for (const from of [1, 2]) {
    p.in('S', { seq: 0, from, options: mss(MSS) });
    p.heard();
    p.in('.', { from });
    kept.push(accept(p));
  }
  assert.ok(kept.every((handle) => handle > 0));
  p.in('S', { seq: 0, options: mss(MSS) });
  assert.equal(p.out(), ['S. 0 ack 1']);
  p.in('.');
  assert.equal(p.out(), []);
  p.m.core.abort(kept[0]);
  p.m.core.flush(p.m.nowUs);
  p.heard();
  p.in('P.', { len: 5 });
  assert.ok(accept(p) > 0);
  assert.is(p.read(0), 5);
  p.m.core.abort(kept[1]);
  p.done();
});

test.run();
