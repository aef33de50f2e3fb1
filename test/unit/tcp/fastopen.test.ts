// TCP Fast Open (RFC 7413) beside what scripts show of it (test/script/fast-open/): off by default, bounded, inline
// sockets, full rings, and nothing left behind.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { content, MSS, mss, Peer } from '../../helpers/peer.js';

const SERVER = { fastOpen: L.FAST_OPEN_SERVER };
const ASK = [...mss(MSS), 34, 2, 1, 1];

/** The cookie in a SYN-ACK's options; empty without one. */
function cookieIn(options: Uint8Array): number[] {
  const at = options.indexOf(34);
  return at < 0 ? [] : [...options.subarray(at + 2, at + options[at + 1])];
}

function withCookie(cookie: readonly number[]): number[] {
  return [...mss(MSS), 34, 2 + cookie.length, ...cookie, 1, 1];
}

/** A server with room for `most` connections by data in a SYN, and a cookie of it. */
function server(most: number, flags = 0, onEvent?: ConstructorParameters<typeof Peer>[1]): [Peer, number[]] {
  const p = new Peer(SERVER, onEvent);
  p.listen(flags);
  assert.is(p.m.core.setOption(p.listener, L.OPT_FAST_OPEN, most), 0);
  assert.is(p.m.core.getOption(p.listener, L.OPT_FAST_OPEN), most);
  p.in('S', { seq: 0, from: 999, options: ASK });
  const [answer] = p.heard();
  const cookie = cookieIn(answer.options);
  assert.is(cookie.length, 8);
  p.in('R', { seq: 1, from: 999 });
  return [p, cookie];
}

function data(p: Peer, cookie: readonly number[], from: number, length = 100): void {
  p.in('S', { seq: 0, from, options: withCookie(cookie), payload: content(0, length) });
}

test('without being told to, a listener gives no cookie and takes no data', () => {
  for (const config of [{}, SERVER]) {
    const p = new Peer(config);
    p.listen();
    p.in('S', { seq: 0, options: ASK, payload: content(0, 100) });
    const [answer] = p.heard();
    assert.is(answer.ack, 1);
    assert.equal(cookieIn(answer.options), []);
    p.done();
  }
});

test('data in a SYN with the cookie is read and answered before the handshake is over', () => {
  const [p, cookie] = server(4);
  data(p, cookie, 2000);
  assert.equal(p.out(), ['S. 0 ack 101']);
  p.handle = p.m.core.accept(p.listener);
  assert.ok(p.handle > 0);
  assert.is(p.read(0), 100);
  p.write(50);
  assert.equal(p.out(), ['P. 1:51 ack 101']);
  p.in('.', { seq: 101, ack: 51, from: 2000 });
  assert.is(p.state(), L.TCP_ESTABLISHED);
  assert.is(p.count(L.CNT_TcpExtTCPFastOpenPassive), 1);
  p.done();
});

test('an inline socket gets the data of the SYN, and may answer it at once', () => {
  const got: number[] = [];
  const [p, cookie] = server(4, L.SOCK_INLINE, (handle, kind, a, b) => {
    const { core } = p.m;
    got.push(kind);
    if (kind === L.EV_ERROR) core.close(handle);
    if (kind !== L.EV_DATA) return;
    assert.is(b, 100);
    core.free(a);
    const addr = core.alloc(10);
    assert.is(core.send(handle, addr, 10), 10);
    core.free(addr);
  });
  data(p, cookie, 2000);
  assert.equal(p.out(), ['S. 0 ack 101', 'P. 1:11 ack 101']);
  assert.equal(got, [L.EV_ACCEPT, L.EV_DATA]);
  p.in('R', { seq: 101, from: 2000 });
  assert.is(got.at(-1), L.EV_ERROR);
  p.done();
});

test('no more connections wait for their ACK than the option says, and a reset makes no room for a minute', () => {
  const [p, cookie] = server(2);
  for (const from of [2000, 2001]) data(p, cookie, from);
  assert.equal(p.out(), ['S. 0 ack 101', 'S. 0 ack 101']);
  const { iss } = p;
  data(p, cookie, 2002);
  assert.equal(p.out(), ['S. 0 ack 1'], 'the third opens as ever');
  assert.is(p.count(L.CNT_TcpExtTCPFastOpenListenOverflow), 1);
  p.in('R', { seq: 101, from: 2000 });
  p.in('R', { seq: 1, from: 2002 });
  data(p, cookie, 2003);
  assert.equal(p.out(), ['S. 0 ack 1']);
  p.in('R', { seq: 1, from: 2003 });
  // One that is confirmed makes room for the next.
  p.iss = iss;
  p.in('.', { seq: 101, from: 2001 });
  data(p, cookie, 2004);
  assert.equal(p.out(), ['S. 0 ack 101']);
  // Longer than the minute, and than the one that is not confirmed is waited for.
  p.pass(70e6, 1e6);
  p.m.take();
  for (const from of [2005, 2006]) data(p, cookie, from);
  assert.equal(p.out(), ['S. 0 ack 101', 'S. 0 ack 101']);
  p.done();
});

test('a cookie is good from its own address only', () => {
  const [p, cookie] = server(4);
  for (let i = 0; i < cookie.length; i++) {
    const wrong = cookie.map((byte, j) => (i === j ? byte ^ 1 : byte));
    data(p, wrong, 2000 + i);
    const [answer] = p.heard();
    assert.is(answer.ack, 1);
    assert.equal(cookieIn(answer.options), cookie);
  }
  assert.is(p.count(L.CNT_TcpExtTCPFastOpenPassiveFail), cookie.length);
  p.done();
});

test('malformed options are no cookies', () => {
  const [p] = server(4);
  const bad = [
    [34, 3, 7, 1],
    [34, 4, 7, 7],
    [34, 7, 1, 2, 3, 4, 5, 1],
    [34, 20, ...new Array<number>(18).fill(1)],
    [254, 4, 1, 1],
  ];
  for (const [i, option] of bad.entries()) {
    p.in('S', { seq: 0, from: 2000 + i, options: [...mss(MSS), ...option], payload: content(0, 10) });
    const [answer] = p.heard();
    assert.is(answer.ack, 1);
    assert.equal(cookieIn(answer.options), []);
  }
  p.done();
});

test('the SYN-ACK goes again until its ACK comes, and the connection is given up as any other', () => {
  const [p, cookie] = server(4);
  data(p, cookie, 2000);
  p.handle = p.m.core.accept(p.listener);
  p.read(0);
  p.write(10);
  p.m.take();
  p.pass(200e6, 50_000);
  const sent = p.out();
  assert.ok(sent.length >= 5 && sent.every((segment) => segment === 'S. 0 ack 101'), sent.join());
  assert.is(p.state(), L.TCP_CLOSE);
  p.done();
});

test('a client asks for a cookie, and its next SYN carries it with the data, up to a segment without options', () => {
  const p = new Peer({ fastOpen: L.FAST_OPEN_CLIENT });
  const { core } = p.m;
  const cookie = [1, 2, 3, 4, 5, 6, 7, 8];
  assert.is(core.fastOpenRoom(p.address([10, 0, 0, 2])), -L.EAGAIN);
  p.connect({ flags: L.SOCK_FAST_OPEN });
  const [asked] = p.heard();
  assert.is(asked.flags, 'S');
  assert.equal([...asked.options.subarray(-4)], [34, 2, 1, 1]);
  p.in('S.', { seq: 0, options: [...mss(1000), 34, 10, ...cookie, 1, 1] });
  core.abort(p.handle);
  p.m.take();
  const room = core.fastOpenRoom(p.address([10, 0, 0, 2]));
  assert.is(room, 1000 - 40);
  const addr = core.alloc(3000);
  core.u8.set(content(0, 3000), addr);
  p.handle = core.connect(p.address([10, 0, 0, 2]), 9000, 0, 0, L.SOCK_FAST_OPEN);
  assert.is(core.send(p.handle, addr, 3000), 3000);
  core.free(addr);
  core.flush(p.m.nowUs);
  const [syn] = p.heard();
  assert.equal([syn.flags, syn.payload.length, cookieIn(syn.options)], ['S', room, cookie]);
  p.port = syn.srcPort;
  p.in('S.', { seq: 0, ack: 1 + 500, from: 9000, options: mss(1000) });
  const rest = p.heard();
  assert.is(rest[0].seq, 501, 'the rest follows what was taken');
  assert.equal([...rest[0].payload], [...content(500, rest[0].payload.length)]);
  p.done();
});

test.run();
