// Every way a connection ends: RFC 9293 §3.6, §3.10.4 to §3.10.8, RFC 5961, RFC 6191, RFC 1337, RFC 2525 §2.17.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { MSS, mss, PEER_PORT, Peer, timestamps } from '../../helpers/peer.js';

test('the active close: FIN, ACK, FIN, ACK, TIME-WAIT', () => {
  const p = new Peer({ timeWaitUs: 2e6 }).accept();
  const { core } = p.m;
  core.shutdown(p.handle);
  core.flush(p.m.nowUs);
  assert.equal(p.out(), ['F. 1 ack 1']);
  assert.is(p.state(), L.TCP_FIN_WAIT1);
  p.in('.', { ack: 2 });
  assert.is(p.state(), L.TCP_FIN_WAIT2);
  p.in('F.', { ack: 2 });
  assert.equal(p.out(), ['. 2 ack 2']);
  assert.is(p.state(), L.TCP_TIME_WAIT);
  assert.equal(p.kinds(), [L.EV_EOF, L.EV_CLOSED]);
  core.close(p.handle);
  assert.is(p.state(), -1);
  p.handle = 0;
  p.done();
});

test('the passive close: FIN is end of file, our FIN the end', () => {
  const p = new Peer().accept();
  p.in('F.');
  assert.equal(p.kinds(), [L.EV_EOF]);
  assert.is(p.state(), L.TCP_CLOSE_WAIT);
  p.write(100);
  p.m.core.shutdown(p.handle);
  p.m.core.flush(p.m.nowUs);
  const out = p.out();
  assert.is(out[out.length - 1], 'F. 101 ack 2');
  assert.is(p.state(), L.TCP_LAST_ACK);
  p.in('.', { seq: 2, ack: 102 });
  assert.equal(p.kinds(), [L.EV_CLOSED]);
  p.done();
});

test('half closed, the other direction goes on', () => {
  const p = new Peer().accept();
  p.m.core.shutdown(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('.', { ack: 2 });
  p.in('P.', { ack: 2, len: 1000 });
  assert.is(p.read(0), 1000);
  p.in('F.', { seq: 1001, ack: 2 });
  assert.is(p.state(), L.TCP_TIME_WAIT);
  p.done();
});

test('FINs that cross: CLOSING, then TIME-WAIT', () => {
  const p = new Peer().accept();
  p.m.core.shutdown(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('F.', { ack: 1 });
  assert.is(p.state(), L.TCP_CLOSING);
  assert.equal(p.out(), ['. 2 ack 2']);
  p.in('.', { seq: 2, ack: 2 });
  assert.is(p.state(), L.TCP_TIME_WAIT);
  p.done();
});

test('a FIN with the ACK of ours goes straight to TIME-WAIT', () => {
  const p = new Peer().accept();
  p.m.core.shutdown(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('F.', { ack: 2 });
  assert.is(p.state(), L.TCP_TIME_WAIT);
  p.done();
});

test('a lost FIN is retransmitted', () => {
  const p = new Peer().accept();
  p.m.core.shutdown(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.pass(1.5e6, 10_000);
  assert.ok(p.out().every((s) => s.startsWith('F')));
  assert.ok(p.count(L.CNT_TcpRetransSegs) > 0);
  p.in('F.', { ack: 2 });
  p.done();
});

test('a FIN that arrives before the data waits for it', () => {
  const p = new Peer().accept();
  p.in('F.', { seq: 101, len: 100 });
  assert.is(p.state(), L.TCP_ESTABLISHED);
  p.in('.', { len: 100 });
  assert.is(p.state(), L.TCP_CLOSE_WAIT);
  assert.is(p.read(0), 200);
  p.done();
});

test('TIME-WAIT acknowledges a repeated FIN and starts its time anew', () => {
  const p = new Peer({ timeWaitUs: 2e6 }).accept();
  p.m.core.close(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('F.', { ack: 2 });
  p.out();
  p.pass(1.5e6, 100_000);
  p.in('F.', { ack: 2 });
  assert.equal(p.out(), ['. 2 ack 2']);
  p.pass(1.5e6, 100_000);
  p.in('F.', { ack: 2 });
  assert.equal(p.out(), ['. 2 ack 2'], 'still there');
  p.pass(2.5e6, 100_000);
  p.in('.', { ack: 2, seq: 2 });
  assert.equal(p.out(), ['R 2'], 'gone');
  p.handle = 0;
  p.done();
});

test('a reset does not end TIME-WAIT early (RFC 1337)', () => {
  const p = new Peer({ timeWaitUs: 5e6 }).accept();
  p.m.core.close(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('F.', { ack: 2 });
  p.out();
  p.in('R', { seq: 2 });
  p.in('F.', { ack: 2 });
  assert.equal(p.out(), ['. 2 ack 2']);
  p.handle = 0;
  p.done();
});

test('a new SYN with a later timestamp takes over from TIME-WAIT (RFC 6191)', () => {
  const p = new Peer({ timeWaitUs: 60e6 });
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(1000, 0)] });
  p.out();
  p.in('.', { options: timestamps(1001, 0) });
  p.handle = p.m.core.accept(p.listener);
  p.m.core.close(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('F.', { ack: 2, options: timestamps(1002, 0) });
  p.out();
  p.in('S', { seq: 100_000, options: [...mss(MSS), ...timestamps(2000, 0)] });
  const [synAck] = p.heard();
  assert.is(synAck.flags, 'S.');
  assert.is(synAck.ack, 100_001);
  p.handle = 0;
  p.done();
});

test('a new SYN that takes over from TIME-WAIT leaves the application its handle and what it has not read', () => {
  const p = new Peer({ timeWaitUs: 60e6 });
  const { core } = p.m;
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(1000, 0)] });
  p.out();
  p.in('.', { options: timestamps(1001, 0) });
  p.handle = core.accept(p.listener);
  core.shutdown(p.handle);
  core.flush(p.m.nowUs);
  p.out();
  p.in('F.', { len: 100, ack: 2, options: timestamps(1002, 0) });
  p.out();
  assert.is(p.state(), L.TCP_TIME_WAIT);
  p.in('S', { seq: 100_000, options: [...mss(MSS), ...timestamps(2000, 0)] });
  assert.is(p.heard()[0].flags, 'S.');
  assert.is(p.read(0), 100);
  assert.equal(p.kinds(), [L.EV_DATA, L.EV_EOF, L.EV_CLOSED]);
  assert.is(core.close(p.handle), 0);
  p.handle = 0;
  p.done();
});

test('an orphan in FIN-WAIT-2 is forgotten after its time', () => {
  const p = new Peer({ finWait2Us: 3e6 }).accept();
  p.m.core.close(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('.', { ack: 2 });
  p.pass(4e6, 100_000);
  p.in('.', { ack: 2 });
  assert.equal(p.out(), ['R 2']);
  p.handle = 0;
  p.done();
});

test('closing with unread data resets (RFC 2525 §2.17)', () => {
  const p = new Peer().accept();
  p.in('P.', { len: 10 });
  p.out();
  p.m.core.close(p.handle);
  p.m.core.flush(p.m.nowUs);
  const out = p.out();
  assert.is(out.length, 1);
  assert.ok(out[0].startsWith('R'), out[0]);
  assert.is(p.count(L.CNT_TcpExtTCPAbortOnClose), 1);
  p.handle = 0;
  p.done();
});

test('data for a closed socket resets', () => {
  const p = new Peer().accept();
  p.m.core.close(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.in('P.', { ack: 2, len: 10 });
  const out = p.out();
  assert.ok(out.length === 1 && out[0].startsWith('R'), out.join());
  p.handle = 0;
  p.done();
});

test('close sends what is queued, then the FIN', () => {
  const p = new Peer().accept();
  p.write(3 * MSS);
  p.m.core.close(p.handle);
  p.m.core.flush(p.m.nowUs);
  const heard = p.heard();
  assert.is(
    heard.reduce((sum, s) => sum + s.payload.length, 0),
    3 * MSS,
  );
  assert.ok(heard[heard.length - 1].flags.startsWith('F'));
  p.in('F.', { ack: 2 + 3 * MSS });
  p.handle = 0;
  p.done();
});

test('what was queued at close is delivered although keepalive was on', () => {
  const p = new Peer().accept(mss(MSS), { win: 1000 });
  const { core } = p.m;
  core.setOption(p.handle, L.OPT_KEEPALIVE, 1);
  core.setOption(p.handle, L.OPT_KEEPALIVE_TIME_US, 5e6);
  p.write(3000);
  core.close(p.handle);
  core.flush(p.m.nowUs);
  assert.equal(p.out(), ['. 1:1001 ack 1']);
  p.in('.', { ack: 1001, win: 0 });
  // The peer does not read for longer than the keepalive time.
  for (let i = 0; i < 10; i++) {
    p.pass(1e6, 1e5);
    p.out();
    p.in('.', { ack: 1001, win: 0 });
  }
  p.in('.', { ack: 1001 });
  assert.equal(p.out(), ['. 1001:2461 ack 1', 'FP. 2461:3001 ack 1']);
  p.handle = 0;
  p.in('R', { seq: 1 });
  p.done();
});

test('abort sends RST and forgets', () => {
  const p = new Peer().accept();
  p.write(100);
  p.out();
  assert.is(p.m.core.abort(p.handle), 0);
  p.m.core.flush(p.m.nowUs);
  const out = p.out();
  assert.ok(out.length === 1 && out[0].startsWith('R'), out.join());
  assert.is(p.m.core.zbufInUse(), 0);
  p.handle = 0;
  p.done();
});

test('a reset at the exact sequence number kills the connection with ECONNRESET', () => {
  const p = new Peer().accept();
  p.write(100);
  p.out();
  p.in('R', { seq: 1 });
  const events = p.m.events().filter(([h]) => h === p.handle);
  assert.equal(events[events.length - 1].slice(1, 3), [L.EV_ERROR, L.ECONNRESET]);
  assert.is(p.m.core.zbufInUse(), 0);
  assert.ok(p.write(1) < 0);
  p.done();
});

test('a reset elsewhere in the window only draws a challenge ACK (RFC 5961 §3)', () => {
  const p = new Peer().accept();
  p.in('R', { seq: 100 });
  assert.equal(p.out(), ['. 1 ack 1']);
  assert.is(p.state(), L.TCP_ESTABLISHED);
  p.in('R', { seq: 1_000_000 });
  assert.equal(p.out(), []);
  assert.is(p.count(L.CNT_TcpExtTCPChallengeACK), 1);
  p.done();
});

test('a SYN on an open connection draws a challenge ACK (RFC 5961 §4), a flood of them is limited', () => {
  const p = new Peer().accept();
  p.in('S', { seq: 5000, options: mss(MSS) });
  assert.equal(p.out(), ['. 1 ack 1']);
  let acks = 0;
  for (let i = 0; i < 5000; i++) {
    p.in('S', { seq: 5000 + i });
    acks += p.out().length;
  }
  assert.ok(acks < 2000, `${acks} challenge ACKs in no time`);
  assert.is(p.state(), L.TCP_ESTABLISHED);
  p.done();
});

test('an ACK far below the window draws a challenge ACK and no data is taken with it (RFC 5961 §5)', () => {
  const p = new Peer().accept();
  p.in('P.', { ack: -200_000, len: 10 });
  assert.is(p.read(0), 0);
  p.done();
});

test('a segment without ACK is dropped', () => {
  const p = new Peer().accept();
  p.in('P', { len: 10 });
  assert.equal(p.out(), []);
  assert.is(p.read(0), 0);
  p.done();
});

test('after EOF, reading what is left still works, and after our shutdown writing is EPIPE', () => {
  const p = new Peer().accept();
  p.in('FP.', { len: 50 });
  assert.equal(p.kinds(), [L.EV_DATA, L.EV_EOF]);
  assert.is(p.read(0), 50);
  p.m.core.shutdown(p.handle);
  assert.is(p.write(1), -L.EPIPE);
  p.done();
});

test('an error leaves the handle to the application until it closes', () => {
  const p = new Peer().accept();
  p.in('P.', { len: 10 });
  p.in('R', { seq: 11 });
  assert.is(p.state(), L.TCP_CLOSE);
  assert.is(p.m.core.close(p.handle), 0);
  assert.is(p.m.core.close(p.handle), -L.EBADF);
  p.handle = 0;
  p.done();
});

test('resets that the full transmit ring cannot take are sent later', () => {
  const p = new Peer({ txRing: 16 }).accept();
  p.write(30_000);
  p.m.core.abort(p.handle);
  p.m.core.flush(p.m.nowUs);
  let resets = 0;
  for (let i = 0; i < 5; i++) {
    for (const s of p.heard()) if (s.flags.includes('R')) resets++;
    p.m.core.flush(p.m.nowUs);
  }
  assert.is(resets, 1);
  p.handle = 0;
  p.done();
});

test('the same four-tuple can be used again after the orphan is gone', () => {
  const p = new Peer({ timeWaitUs: 1e6, portLo: 62000, portHi: 62000 });
  for (let i = 0; i < 3; i++) {
    p.connect();
    p.out();
    p.in('S.', { seq: 0, options: mss(MSS) });
    p.m.core.close(p.handle);
    p.m.core.flush(p.m.nowUs);
    p.out();
    p.in('F.', { ack: 2, from: PEER_PORT });
    p.pass(2e6, 100_000);
    p.m.take();
    p.m.events();
  }
  p.handle = 0;
  p.done();
});

test.run();
