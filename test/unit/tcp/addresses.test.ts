// Opening, addresses and the IP fields of segments: RFC 9293 §3.5, §3.9.1, §3.9.2.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../src/host/core/address.js';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import { manualCore, PEER_MAC } from '../../helpers/manual.js';
import { content, MSS, mss, PEER_PORT, Peer } from '../../helpers/peer.js';

const TOS = 15;
const TTL = 22;
const DSCP_AF41 = 34 << 2;

/** Where a SYN in `frame` is from, and to. */
function ends(frame: Uint8Array): string {
  return `${frame.slice(26, 30).join('.')} > ${frame.slice(30, 34).join('.')}`;
}

function second(p: Peer, address: string): void {
  const { core } = p.m;
  writeAddress(core.u8, core.scratch, address);
  assert.is(core.addressAdd(core.scratch, 120), 0);
}

test('connect() takes the local address that it is given, IP chooses one where none is given, and it stays (MUST-43, MUST-44, MUST-45)', () => {
  const p = new Peer();
  const { core } = p.m;
  second(p, '10.9.9.1');
  core.u8.set(PEER_MAC, core.scratch + 32);
  writeAddress(core.u8, core.scratch, '10.9.9.2');
  core.neighSet(core.scratch, core.scratch + 32);
  const open = (remote: string, local: string): string => {
    writeAddress(core.u8, core.scratch, remote);
    if (local) writeAddress(core.u8, core.scratch + 16, local);
    const handle = core.connect(core.scratch, 80, local ? core.scratch + 16 : 0, 0, 0);
    if (handle < 0) return String(handle);
    core.flush(p.m.nowUs);
    // However long it takes, and whatever other addresses there are by then.
    p.pass(1.5e6);
    const frames = p.m.take();
    assert.ok(frames.length >= 2);
    assert.is(new Set(frames.map(ends)).size, 1);
    core.abort(handle);
    return ends(frames[0]);
  };
  assert.is(open('10.0.0.2', ''), '10.0.0.1 > 10.0.0.2');
  assert.is(open('10.9.9.2', ''), '10.9.9.1 > 10.9.9.2', 'the address on the next hop’s subnet');
  assert.is(open('10.0.0.2', '10.9.9.1'), '10.9.9.1 > 10.0.0.2');
  assert.is(open('10.0.0.2', '10.9.9.7'), String(-L.EADDRNOTAVAIL));
  p.done();
});

test('a listener with an address hears that one only, one without hears all, and connections keep the one that was called (MUST-43, MUST-45)', () => {
  const p = new Peer();
  const { core } = p.m;
  second(p, '10.0.0.5');
  writeAddress(core.u8, core.scratch, '10.0.0.5');
  const own = core.listen(core.scratch, 81, 4, 0);
  core.u8.fill(0, core.scratch, core.scratch + 16);
  const any = core.listen(core.scratch, 82, 4, 0);
  const syn = (to: readonly number[], port: number): string[] => {
    const fields = { srcPort: 5000, dstPort: port, seq: 7, ack: 0, flags: F.SYN, window: 1000 };
    p.m.inject(F.tcpFrame(fields, F.PEER_IP, to));
    return p.m.take().map((f) => `${ends(f)} ${f[47]}`);
  };
  const SYN_ACK = F.SYN | F.ACK;
  const RST_ACK = F.RST | F.ACK;
  assert.equal(syn([10, 0, 0, 5], 81), [`10.0.0.5 > 10.0.0.2 ${SYN_ACK}`]);
  assert.equal(syn([10, 0, 0, 1], 81), [`10.0.0.1 > 10.0.0.2 ${RST_ACK}`]);
  assert.equal(syn([10, 0, 0, 5], 82), [`10.0.0.5 > 10.0.0.2 ${SYN_ACK}`]);
  assert.equal(syn([10, 0, 0, 1], 82), [`10.0.0.1 > 10.0.0.2 ${SYN_ACK}`]);
  core.close(own);
  core.close(any);
  p.done();
});

test('opening to a broadcast, multicast, unspecified or loopback address is an error (MUST-46)', () => {
  const { core } = manualCore();
  for (const address of [
    '255.255.255.255',
    '10.0.0.255',
    '224.0.0.1',
    '239.255.0.1',
    '240.0.0.1',
    '0.0.0.0',
    '127.0.0.1',
  ]) {
    writeAddress(core.u8, core.scratch, address);
    const result = core.connect(core.scratch, 80, 0, 0, 0);
    assert.ok(result === -L.ENETUNREACH || result === -L.EINVAL, `${address}: ${result}`);
  }
});

/** What the core answers to a SYN to its listener with these addresses. */
function answers(from: readonly number[], to: readonly number[], edit?: (frame: Uint8Array) => void): number {
  const p = new Peer();
  p.listen();
  const frame = F.tcpFrame({ srcPort: PEER_PORT, dstPort: 80, seq: 1, ack: 0, flags: F.SYN, window: 1000 }, from, to);
  edit?.(frame);
  p.m.inject(frame);
  const frames = p.m.take().length;
  assert.is(p.count(L.CNT_TcpPassiveOpens), frames, 'what is not answered leaves nothing behind');
  p.done();
  return frames;
}

test('a SYN to a broadcast or multicast address is discarded in silence (MUST-57)', () => {
  assert.is(answers(F.PEER_IP, F.OWN_IP), 1);
  for (const to of [
    [255, 255, 255, 255],
    [10, 0, 0, 255],
    [224, 0, 0, 1],
  ]) {
    assert.is(answers(F.PEER_IP, to), 0, to.join('.'));
    assert.is(
      answers(F.PEER_IP, to, (frame) => frame.fill(255, 0, 6)),
      0,
      `${to.join('.')} in a broadcast frame`,
    );
  }
  assert.is(
    answers(F.PEER_IP, F.OWN_IP, (frame) => frame.fill(255, 0, 6)),
    0,
    'our address in a broadcast frame',
  );
});

test('a SYN from an address that nobody can have is ignored (MUST-63)', () => {
  for (const from of [
    [255, 255, 255, 255],
    [10, 0, 0, 255],
    [224, 0, 0, 1],
    [127, 0, 0, 1],
    [0, 0, 0, 0],
    [10, 0, 0, 1],
  ]) {
    assert.is(answers(from, F.OWN_IP), 0, from.join('.'));
  }
});

test('a listener can be opened on a port from which a connection is being opened, and disturbs none (MUST-41, MUST-42)', () => {
  const p = new Peer();
  const { core } = p.m;
  const opening = p.connect({ localPort: 80 });
  p.heard();
  assert.is(p.state(opening), L.TCP_SYN_SENT);
  p.port = 80;
  p.listen();
  assert.is(p.state(opening), L.TCP_SYN_SENT);
  // A SYN from elsewhere is the listener's, the answer to ours is the connection's.
  p.m.inject(F.tcpFrame({ srcPort: 9, dstPort: 80, seq: 1, ack: 0, flags: F.SYN, window: 1000 }));
  const [other] = p.m.take();
  assert.is(other[47], F.SYN | F.ACK);
  p.in('S.', { seq: 0, ack: 1, options: mss(MSS) });
  assert.is(p.state(opening), L.TCP_ESTABLISHED);
  core.u8.fill(0, core.scratch, core.scratch + 16);
  assert.is(core.listen(core.scratch, 80, 4, 0), -L.EADDRINUSE);
  assert.is(p.state(opening), L.TCP_ESTABLISHED);
  p.done();
  // And on one on which a half-open connection waits.
  const q = new Peer();
  q.listen();
  q.in('S', { seq: 0 });
  q.out();
  writeAddress(q.m.core.u8, q.m.core.scratch, '10.0.0.1');
  const exact = q.m.core.listen(q.m.core.scratch, 80, 4, 0);
  assert.ok(exact > 0);
  q.in('.');
  q.handle = q.m.core.accept(q.listener);
  assert.ok(q.handle > 0, 'the older listener gets what it began');
  q.m.core.close(exact);
  q.done();
});

test('a reset in SYN-RECEIVED leads back to where it came from: to LISTEN, or to "refused" (MUST-11)', () => {
  const passive = new Peer();
  passive.listen();
  passive.in('S', { seq: 0 });
  assert.equal(passive.out(), ['S. 0 ack 1']);
  passive.in('R', { seq: 1 });
  assert.equal(passive.m.events(), [], 'the listener is not bothered');
  passive.accept();
  assert.is(passive.state(), L.TCP_ESTABLISHED);
  passive.done();
  const active = new Peer();
  active.connect();
  active.heard();
  active.in('S', { seq: 0, options: mss(MSS) });
  assert.equal(active.out(), ['S. 0 ack 1']);
  active.in('R', { seq: 1 });
  assert.equal(active.m.events(), [[active.handle, L.EV_ERROR, L.ECONNREFUSED, 0]]);
  active.done();
});

test('another SYN in the window of a half-open connection leads back to LISTEN (RFC 9293 §3.10.7.4)', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0 });
  assert.equal(p.out(), ['S. 0 ack 1']);
  p.in('S', { seq: 500 });
  assert.equal(p.out(), []);
  p.in('S', { seq: 500 });
  assert.equal(p.out(), ['S. 0 ack 501']);
  p.in('.', { seq: 501 });
  p.handle = p.m.core.accept(p.listener);
  assert.is(p.state(), L.TCP_ESTABLISHED);
  p.done();
});

test('text, FIN and urgent pointer that come with a SYN-ACK are taken with it (RFC 9293 §3.10.7.3)', () => {
  const p = new Peer();
  p.connect();
  p.heard();
  p.in('SPU.', { seq: 0, ack: 1, urg: 51, options: mss(MSS), payload: content(0, 100) });
  assert.equal(p.out(), ['. 1 ack 101']);
  assert.equal(p.kinds(), [L.EV_CONNECT, L.EV_REPORT, L.EV_DATA]);
  assert.is(p.m.core.getOption(p.handle, L.OPT_URGENT_BYTES), 50);
  assert.is(p.read(0), 100);
  p.done();
  const q = new Peer({ rcvBufBytes: 1 << 20 });
  q.connect();
  q.heard();
  q.in('SF.', { seq: 0, ack: 1, options: mss(MSS), payload: content(0, 1000) });
  assert.equal(q.out(), ['. 1 ack 1002']);
  assert.is(q.state(), L.TCP_CLOSE_WAIT);
  assert.is(q.read(0), 1000);
  q.done();
});

test('a reset may carry data, which is not delivered (SHLD-2)', () => {
  const p = new Peer().accept();
  p.in('R.', { len: 100 });
  assert.equal(p.kinds(), [L.EV_ERROR]);
  assert.is(p.info(L.INFO_rcv_queued_bytes), 0);
  p.done();
});

test('whether a connection was closed or aborted is told apart (MUST-12)', () => {
  const closed = new Peer().accept();
  closed.in('F.');
  assert.equal(closed.kinds(), [L.EV_EOF]);
  closed.m.core.shutdown(closed.handle);
  closed.m.core.flush(closed.m.nowUs);
  closed.in('.', { seq: 2, ack: 2 });
  assert.equal(closed.kinds(), [L.EV_CLOSED]);
  closed.done();
  const aborted = new Peer().accept();
  aborted.in('R');
  assert.equal(aborted.kinds(), [L.EV_ERROR]);
  assert.is(aborted.m.core.recv(aborted.handle, aborted.m.core.scratch, 1), -L.ECONNRESET);
  aborted.done();
});

test('a reboot of the peer is found out: its SYN draws an ACK, and its reset for that ends the connection (RFC 9293 figure 9)', () => {
  const p = new Peer().accept();
  p.write(100);
  p.out();
  p.in('S', { seq: 5000 });
  assert.equal(p.out(), ['. 101 ack 1']);
  p.in('R', { seq: 1 });
  assert.equal(p.kinds(), [L.EV_ERROR]);
  p.done();
  // Figure 8 from the other side: the ACK of a half-open peer is answered with a reset that it believes.
  const q = new Peer();
  q.connect();
  q.heard();
  q.in('.', { seq: 300, ack: 100 });
  assert.equal(q.out(), ['R 100']);
  assert.is(q.state(), L.TCP_SYN_SENT);
  q.done();
});

// ---- the IP header -----------------------------------------------------------------------------------------------

test('the application sets DSCP and TTL of every segment, during the connection too (MUST-48, MUST-49, SHLD-21, SHLD-22)', () => {
  const p = new Peer();
  p.listen();
  const { core } = p.m;
  const fields = (): string[] => p.m.take().map((f) => `${f[TOS]} ${f[TTL]}`);
  assert.is(core.setOption(p.listener, L.OPT_TOS, DSCP_AF41), 0);
  assert.is(core.setOption(p.listener, L.OPT_TTL, 7), 0);
  assert.is(core.setOption(p.listener, L.OPT_TTL, 256), -L.EINVAL);
  assert.is(core.setOption(p.listener, L.OPT_TOS, 256), -L.EINVAL);
  p.in('S', { seq: 0, options: mss(MSS) });
  const [synAck] = p.m.take();
  assert.equal([synAck[TOS], synAck[TTL]], [DSCP_AF41, 7]);
  p.iss = F.parseTcp(synAck)?.seq ?? 0;
  p.in('.');
  p.handle = core.accept(p.listener);
  assert.is(core.getOption(p.handle, L.OPT_TOS), DSCP_AF41, 'inherited');
  p.write(2000);
  p.pass(1e6);
  assert.ok(
    fields().every((f) => f === `${DSCP_AF41} 7`),
    'data and retransmissions',
  );
  assert.is(core.setOption(p.handle, L.OPT_TOS, 0), 0);
  assert.is(core.setOption(p.handle, L.OPT_TTL, 0), 0);
  p.in('.', { ack: 2001 });
  p.write(10);
  p.in('P.', { ack: 2001, len: 3000 });
  assert.ok(
    fields().every((f) => f === '0 64'),
    'the defaults again',
  );
  p.done();
});

test('the DSCP of what arrives does not matter', () => {
  const p = new Peer().accept();
  for (const [i, tos] of [0, DSCP_AF41, 0xb8, 0xfc].entries()) {
    const frame = p.frame('P.', { seq: 1 + i * 10, payload: content(i * 10, 10) });
    frame[TOS] = tos;
    F.fixChecksums(frame);
    p.m.inject(frame);
  }
  assert.is(p.read(0), 40);
  p.done();
});

test('packets are not fragmented on the way, and have the same identification, also when sent again (MAY-4, RFC 6864)', () => {
  const p = new Peer().accept();
  p.write(100);
  const frames = p.m.take();
  p.pass(2e6, 1e5);
  frames.push(...p.m.take());
  assert.ok(frames.length >= 2);
  for (const f of frames) assert.equal([...f.slice(18, 22)], [0, 0, 0x40, 0]);
  p.done();
});

test('initial sequence numbers cannot be worked out from those of other connections: they hang on the seed (MUST-9)', () => {
  const iss = (seed: bigint): number => {
    const p = new Peer({ seed });
    p.listen();
    p.in('S', { seq: 0 });
    p.heard();
    const value = p.iss;
    p.done();
    return value;
  };
  const values = new Set<number>();
  for (let seed = 1n; seed <= 64n; seed++) values.add(iss(seed));
  assert.is(values.size, 64);
  // No byte of it is the clock's or the address's alone.
  for (const shift of [0, 8, 16, 24]) {
    const bytes = new Set([...values].map((v) => (v >>> shift) & 255));
    assert.ok(bytes.size > 32, `byte ${shift / 8}: ${bytes.size} values`);
  }
});

test.run();
