// Opening a connection: RFC 9293 §3.5, §3.10.1 and §3.10.7, options of RFC 7323 and 2018.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { MSS, mss, PEER_PORT, Peer, PORT, sackPermitted, timestamps, wscale } from '../../helpers/peer.js';

test('a SYN to a listener is answered with SYN-ACK, the ACK of it makes a connection to accept', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS) });
  assert.equal(p.out(), ['S. 0 ack 1']);
  assert.is(p.m.core.accept(p.listener), -L.EAGAIN);
  p.in('.');
  assert.equal(p.kinds(p.listener), [L.EV_ACCEPT]);
  p.handle = p.m.core.accept(p.listener);
  assert.is(p.state(), L.TCP_ESTABLISHED);
  assert.is(p.count(L.CNT_TcpPassiveOpens), 1);
  assert.is(p.count(L.CNT_TcpCurrEstab), 1);
  p.done();
});

test('a SYN to a closed port is reset with the ACK that RFC 9293 §3.10.7.1 names', () => {
  const p = new Peer();
  p.in('S', { seq: 0, to: 81 });
  assert.equal(
    p.heard().map((s) => [s.flags, s.ack, s.srcPort]),
    [['R.', 1, 81]],
  );
  p.done();
});

test('an ACK to a closed port is reset with the sequence number it acknowledged, an RST never', () => {
  const p = new Peer();
  p.iss = 5000;
  p.in('.', { to: 81, ack: 77 });
  assert.equal(p.out(), ['R 77']);
  p.in('R', { to: 81 });
  p.in('R.', { to: 81 });
  assert.equal(p.out(), []);
  p.done();
});

test('an unanswered SYN-ACK is sent again with backoff, then the half-open connection is forgotten', () => {
  const p = new Peer({ synackRetries: 3 });
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS) });
  assert.is(p.out().length, 1);
  const times: number[] = [];
  const start = p.m.nowUs;
  for (let i = 0; i < 400; i++) {
    p.pass(100_000);
    if (p.out().length > 0) times.push(Math.round((p.m.nowUs - start) / 1e6));
  }
  assert.equal(times, [1, 3, 7]);
  p.in('.');
  assert.equal(p.out(), ['R 1'], 'nobody remembers it');
  p.done();
});

test('a SYN that is repeated gets the same SYN-ACK again', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS) });
  const [first] = p.heard();
  p.in('S', { seq: 0, options: mss(MSS) });
  const [second] = p.heard();
  assert.is(second.seq, 0);
  assert.is(second.flags, first.flags);
  p.done();
});

test('an active open sends SYN, ACKs the SYN-ACK and says so', () => {
  const p = new Peer();
  assert.ok(p.connect() > 0);
  assert.is(p.state(), L.TCP_SYN_SENT);
  assert.equal(p.out(), ['S 0']);
  p.in('S.', { seq: 0, options: mss(MSS) });
  assert.equal(p.out(), ['. 1 ack 1']);
  assert.equal(p.kinds(), [L.EV_CONNECT]);
  assert.is(p.state(), L.TCP_ESTABLISHED);
  assert.ok(p.port >= 61440);
  p.done();
});

test('an unanswered SYN is sent again with backoff and ends in ETIMEDOUT', () => {
  const p = new Peer({ synRetries: 3 });
  p.connect();
  const times: number[] = [];
  const start = p.m.nowUs;
  let error: number[] = [];
  for (let i = 0; i < 200; i++) {
    if (p.out().length > 0) times.push(Math.round((p.m.nowUs - start) / 1e6));
    const event = p.m.events().find(([h]) => h === p.handle);
    if (event) error = [event[1], event[2], Math.round((p.m.nowUs - start) / 1e6)];
    p.pass(100_000);
  }
  assert.equal(times, [0, 1, 3, 7]);
  assert.equal(error, [L.EV_ERROR, L.ETIMEDOUT, 15]);
  p.done();
});

test('an RST to our SYN is ECONNREFUSED, one that does not acknowledge it is ignored', () => {
  const p = new Peer();
  p.connect();
  p.out();
  p.in('R', { seq: 0 });
  p.in('R.', { seq: 0, ack: 0 });
  assert.is(p.state(), L.TCP_SYN_SENT);
  p.in('R.', { seq: 0, ack: 1 });
  const [event] = p.m.events();
  assert.equal(event.slice(0, 3), [p.handle, L.EV_ERROR, L.ECONNREFUSED]);
  p.done();
});

test('a SYN-ACK that acknowledges something else is reset and does not open the connection', () => {
  const p = new Peer();
  p.connect();
  p.out();
  p.in('S.', { seq: 0, ack: 5 });
  assert.equal(p.out(), ['R 5']);
  assert.is(p.state(), L.TCP_SYN_SENT);
  p.done();
});

test('two SYNs that cross make one connection', () => {
  const p = new Peer();
  p.connect();
  p.out();
  p.in('S', { seq: 0, options: mss(MSS) });
  assert.equal(p.out(), ['S. 0 ack 1']);
  assert.is(p.state(), L.TCP_SYN_RECV);
  p.in('S.', { seq: 0, ack: 1, options: mss(MSS) });
  assert.is(p.state(), L.TCP_ESTABLISHED);
  assert.equal(p.kinds(), [L.EV_CONNECT]);
  p.done();
});

test('without options from the peer none are used, and segments carry 536 bytes', () => {
  const p = new Peer().accept([]);
  p.write(2000);
  const sizes = p.heard().map((s) => [s.payload.length, s.options.length]);
  assert.equal(sizes, [
    [536, 0],
    [536, 0],
    [536, 0],
    [392, 0],
  ]);
  p.in('.', { ack: 2001 });
  p.done();
});

test('the SYN-ACK answers each option only when it was offered', () => {
  const kindsOf = (options: Uint8Array): number[] => {
    const kinds: number[] = [];
    for (let i = 0; i < options.length && options[i] !== 0; i += options[i] === 1 ? 1 : options[i + 1]) {
      if (options[i] !== 1) kinds.push(options[i]);
    }
    return kinds.sort((a, b) => a - b);
  };
  const answer = (options: number[]): number[] => {
    const p = new Peer();
    p.listen();
    p.in('S', { seq: 0, options });
    const [synAck] = p.heard();
    p.done();
    return kindsOf(synAck.options);
  };
  assert.equal(answer(mss(MSS)), [2]);
  assert.equal(answer([...mss(MSS), ...wscale(7)]), [2, 3]);
  assert.equal(answer([...mss(MSS), ...sackPermitted()]), [2, 4]);
  assert.equal(answer([...mss(MSS), ...timestamps(1, 0)]), [2, 8]);
  assert.equal(answer([...mss(MSS), ...sackPermitted(), ...timestamps(1, 0), ...wscale(2)]), [2, 3, 4, 8]);
});

test('a window scale above 14 counts as 14 (RFC 7323 §2.3)', () => {
  const p = new Peer().accept([...mss(MSS), ...wscale(15)]);
  assert.is(p.info(L.INFO_snd_wscale), 14);
  p.done();
});

test('the peer’s window is scaled after the handshake and not in it', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, win: 1000, options: [...mss(MSS), ...wscale(4)] });
  p.out();
  p.in('.', { win: 1000 });
  p.handle = p.m.core.accept(p.listener);
  assert.is(p.info(L.INFO_snd_wnd), 16000);
  p.done();
});

test('malformed options are counted and cost nothing else', () => {
  for (const options of [
    [2, 0, 0, 0],
    [2, 1, 5, 0],
    [8, 40, 0, 0],
    [3, 200, 1, 1],
    [255, 2, 254, 3],
    [1, 1, 1, 8],
  ]) {
    const p = new Peer();
    p.listen();
    p.in('S', { seq: 0, options });
    assert.equal(p.out(), ['S. 0 ack 1'], `options ${options}`);
    p.done();
  }
});

test('an MSS too small to work with is raised', () => {
  const p = new Peer().accept(mss(1));
  p.write(600);
  const heard = p.heard();
  assert.ok(heard.length > 0 && heard.length <= 12, `${heard.length} segments`);
  p.done();
});

test('data and a FIN on the ACK of the handshake are taken', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.out();
  p.in('FP.', { len: 100 });
  p.handle = p.m.core.accept(p.listener);
  assert.is(p.read(0), 100);
  assert.is(p.state(), L.TCP_CLOSE_WAIT);
  assert.equal(p.out(), ['. 1 ack 102']);
  p.done();
});

test('data on the SYN is not acknowledged with it', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS), payload: new Uint8Array(10) });
  assert.equal(p.out(), ['S. 0 ack 1']);
  p.done();
});

test('a wrong ACK in SYN-RECEIVED is reset and the half-open connection stays', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.out();
  p.in('.', { ack: 2 });
  assert.equal(p.out(), ['R 2']);
  p.in('.', { ack: 1 });
  assert.ok(p.m.core.accept(p.listener) > 0);
  for (let i = 0; i < p.m.core.config.maxConnections; i++) {
    if (p.m.core.connectionAt(i, p.m.core.scratch) === 0) {
      const h = p.m.core.dv.getUint32(p.m.core.scratch + L.INFO_handle, true);
      if (h !== p.listener) p.m.core.abort(h);
    }
  }
  p.done();
});

test('a listener’s backlog bounds the half-open connections; one that completes is still accepted', () => {
  const p = new Peer({ synCookies: L.SYN_COOKIES_OFF });
  p.listen(0, 4);
  for (let i = 0; i < 20; i++) p.in('S', { seq: 0, from: 1000 + i, options: mss(MSS) });
  let halfOpen = 0;
  for (let i = 0; i < p.m.core.config.maxConnections; i++) {
    if (p.m.core.connectionAt(i, p.m.core.scratch) < 0) continue;
    if (p.m.core.dv.getUint32(p.m.core.scratch + L.INFO_state, true) === L.TCP_SYN_RECV) halfOpen++;
  }
  assert.ok(halfOpen >= 1 && halfOpen <= 8, `${halfOpen} half-open`);
  assert.ok(p.count(L.CNT_TcpExtListenDrops) + p.count(L.CNT_TcpExtListenOverflows) > 0);
  p.done();
});

test('closing a listener resets who has not been accepted', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: mss(MSS) });
  p.out();
  p.in('.');
  assert.is(p.m.core.close(p.listener), 0);
  p.listener = 0;
  p.m.core.flush(p.m.nowUs);
  assert.equal(
    p.heard().map((s) => s.flags),
    ['R.'],
  );
  p.in('S', { seq: 0, from: 5 });
  assert.equal(
    p.heard().map((s) => s.flags),
    ['R.'],
  );
  p.done();
});

test('a second listener on the port is EADDRINUSE, port 0 and foreign addresses are refused', () => {
  const p = new Peer();
  p.listen();
  const { core } = p.m;
  core.u8.fill(0, core.scratch, core.scratch + 16);
  assert.is(core.listen(core.scratch, PORT, 5, 0), -L.EADDRINUSE);
  assert.ok(core.listen(core.scratch, 70000, 5, 0) < 0);
  assert.is(core.listen(p.address([192, 0, 2, 1]), 81, 5, 0), -L.EADDRNOTAVAIL);
  p.done();
});

test('client ports are unique per peer and run out with EADDRNOTAVAIL', () => {
  const p = new Peer({ portLo: 62000, portHi: 62003 });
  const ports = new Set<number>();
  const handles: number[] = [];
  for (let i = 0; i < 4; i++) {
    handles.push(p.connect());
    ports.add(p.port);
  }
  assert.equal([...ports].sort(), [62000, 62001, 62002, 62003]);
  assert.is(p.connect(), -L.EADDRNOTAVAIL);
  assert.ok(p.connect({ port: PEER_PORT + 1 }) > 0, 'another peer port is another connection');
  for (const handle of handles) p.m.core.abort(handle);
  p.done();
});

test('a handle that was closed is EBADF for every call, also when its slot serves another connection', () => {
  const p = new Peer({ maxConnections: 4 });
  p.connect();
  const stale = p.handle;
  p.m.core.abort(stale);
  for (let i = 0; i < 12; i++) {
    p.connect();
    if (i < 11) p.m.core.abort(p.handle);
  }
  const { core } = p.m;
  const addr = core.alloc(64);
  for (const result of [
    core.send(stale, addr, 1),
    core.recv(stale, core.scratch, 1),
    core.shutdown(stale),
    core.close(stale),
    core.abort(stale),
    core.info(stale, core.scratch),
    core.accept(stale),
    core.setOption(stale, L.OPT_NODELAY, 1),
  ]) {
    assert.is(result, -L.EBADF);
  }
  core.free(addr);
  p.done();
});

test('initial sequence numbers of one flow grow with time and differ between flows (RFC 6528)', () => {
  const issOf = (from: number, nowUs: number): number => {
    const p = new Peer();
    p.m.nowUs = nowUs;
    p.listen();
    p.in('S', { seq: 0, from, options: mss(MSS) });
    p.heard();
    const { iss } = p;
    p.done();
    return iss;
  };
  const first = issOf(1000, 1e6);
  assert.is(issOf(1000, 1e6 + 4000), (first + 1000) >>> 0, 'one tick every 4 µs');
  assert.ok(Math.abs(issOf(1001, 1e6) - first) > 1000);
});

test.run();
