// Loss and disorder, sender and receiver: RFC 5681, 6298, 6582, 6675, 2018, 2883, 3042, 7323.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { assertContent, MSS, mss, Peer, sackPermitted, timestamps } from '../../helpers/peer.js';

const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

/** A SACK option of the peer's for ranges of the core's stream. */
function sack(p: Peer, ...ranges: [number, number][]): number[] {
  const edges = ranges.flatMap(([from, to]) => [...word((p.iss + from) >>> 0), ...word((p.iss + to) >>> 0)]);
  return [1, 1, 5, 2 + edges.length, ...edges];
}

/** SACK blocks that the core reports, relative to our stream. */
function blocks(options: Uint8Array): [number, number][] {
  const dv = new DataView(options.buffer, options.byteOffset, options.byteLength);
  for (let i = 0; i < options.length && options[i] !== 0; i += options[i] === 1 ? 1 : options[i + 1]) {
    if (options[i] !== 5) continue;
    const list: [number, number][] = [];
    for (let at = i + 2; at < i + options[i + 1]; at += 8) {
      list.push([(dv.getUint32(at) - 0xfffffffd) | 0, (dv.getUint32(at + 4) - 0xfffffffd) | 0]);
    }
    return list;
  }
  return [];
}

function withSack(): Peer {
  return new Peer().accept([...mss(MSS), ...sackPermitted()]);
}

const at = (segments: number): number => 1 + segments * MSS;

test('three duplicate ACKs retransmit the missing segment, once', () => {
  const p = new Peer().accept();
  p.write(10 * MSS);
  p.out();
  for (let i = 0; i < 2; i++) p.in('.');
  assert.equal(
    p.heard().filter((s) => s.seq === 1),
    [],
  );
  p.in('.');
  const heard = p.heard();
  assert.equal(
    heard.filter((s) => s.seq === 1).map((s) => s.payload.length),
    [MSS],
  );
  for (let i = 0; i < 5; i++) p.in('.');
  assert.equal(
    p.heard().filter((s) => s.seq === 1),
    [],
  );
  assert.is(p.count(L.CNT_TcpExtTCPFastRetrans), 1);
  assert.is(p.count(L.CNT_TcpRetransSegs), 1);
  p.in('.', { ack: at(10) });
  assert.is(p.m.core.zbufInUse(), 0);
  p.done();
});

test('the first two duplicate ACKs send new data (limited transmit, RFC 3042)', () => {
  const p = new Peer().accept();
  p.write(20 * MSS);
  assert.is(p.heard().length, 10);
  p.in('.');
  assert.equal(
    p.heard().map((s) => s.seq),
    [at(10)],
  );
  p.in('.');
  assert.equal(
    p.heard().map((s) => s.seq),
    [at(11)],
  );
  p.done();
});

test('without SACK a partial ACK retransmits the next hole (RFC 6582)', () => {
  const p = new Peer().accept();
  p.write(10 * MSS);
  p.out();
  for (let i = 0; i < 5; i++) p.in('.');
  assert.ok(p.heard().some((s) => s.seq === 1));
  p.in('.', { ack: at(4) });
  assert.ok(
    p.heard().some((s) => s.seq === at(4)),
    'segment 5 was lost too',
  );
  p.in('.', { ack: at(10) });
  assert.is(p.info(L.INFO_unacked), 0);
  p.done();
});

test('with SACK exactly the holes are retransmitted', () => {
  const p = withSack();
  p.write(10 * MSS);
  p.out();
  // 1 and 4 are lost.
  p.in('.', { options: sack(p, [at(1), at(3)]) });
  p.in('.', { options: sack(p, [at(4), at(7)], [at(1), at(3)]) });
  p.in('.', { options: sack(p, [at(4), at(10)], [at(1), at(3)]) });
  const seqs = p.heard().map((s) => s.seq);
  assert.equal(
    [...new Set(seqs)].sort((a, b) => a - b),
    [at(0), at(3)],
  );
  assert.is(seqs.length, 2, 'each once');
  p.in('.', { ack: at(3), options: sack(p, [at(4), at(10)]) });
  assert.equal(p.out(), []);
  p.in('.', { ack: at(10) });
  assert.is(p.count(L.CNT_TcpRetransSegs), 2);
  assert.is(p.count(L.CNT_TcpExtTCPTimeouts), 0);
  p.done();
});

test('recovery halves the window once per window of data', () => {
  const p = withSack();
  p.write(20 * MSS);
  assert.is(p.heard().length, 10);
  p.in('.', { options: sack(p, [at(1), at(5)]) });
  p.in('.', { options: sack(p, [at(1), at(8)]) });
  assert.is(p.info(L.INFO_snd_ssthresh), 5 * MSS);
  p.in('.', { ack: at(10) });
  assert.ok(p.info(L.INFO_snd_cwnd) <= 6 * MSS, `cwnd ${p.info(L.INFO_snd_cwnd)}`);
  p.done();
});

test('SACK blocks that make no sense are ignored', () => {
  const p = withSack();
  p.write(5 * MSS);
  p.out();
  for (const range of [
    [at(50), at(60)],
    [at(3), at(1)],
    [-50000, -40000],
    [at(2), at(2)],
    [at(1), 0x7ffffff0],
  ] as [number, number][]) {
    for (let i = 0; i < 4; i++) p.in('.', { win: 65535 - i, options: sack(p, range) });
  }
  assert.is(p.count(L.CNT_TcpRetransSegs), 0);
  assert.is(p.info(L.INFO_sacked), 0);
  p.in('.', { ack: at(5) });
  p.done();
});

test('the retransmission timeout doubles and ends in ETIMEDOUT (RFC 6298 §5.5, RFC 9293 §3.8.3)', () => {
  const p = new Peer({ retries: 5 }).accept();
  p.write(100);
  p.out();
  const start = p.m.nowUs;
  const times: number[] = [];
  let error = 0;
  for (let i = 0; i < 20_000 && error === 0; i++) {
    p.pass(10_000, 1000);
    if (p.heard().length > 0) times.push((p.m.nowUs - start) / 1e6);
    for (const [h, kind, a] of p.m.events()) if (h === p.handle && kind === L.EV_ERROR) error = a;
  }
  assert.is(error, L.ETIMEDOUT);
  assert.is(times.length, 5);
  for (let i = 2; i < times.length; i++) {
    const ratio = (times[i] - times[i - 1]) / (times[i - 1] - times[i - 2]);
    assert.ok(Math.abs(ratio - 2) < 0.1, `ratio ${ratio}`);
  }
  p.done();
});

/** A connection with SACK on a path of 10 ms, which has been measured. */
function measured(): Peer {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...sackPermitted()] });
  p.out();
  p.pass(10_000);
  p.in('.');
  p.handle = p.m.core.accept(p.listener);
  for (let i = 0; i < 4; i++) {
    p.write(MSS);
    p.out();
    p.pass(10_000);
    p.in('.', { ack: at(i + 1) });
  }
  return p;
}

test('a retransmission that is lost too is found by time, without a timeout (RFC 8985)', () => {
  const p = measured();
  p.write(30 * MSS);
  const last = Math.max(...p.heard().map((s) => s.seq));
  p.pass(10_000);
  p.in('.', { ack: at(4), options: sack(p, [at(5), at(8)]) });
  assert.is(p.heard().filter((s) => s.seq === at(4)).length, 1);
  p.pass(1_000);
  p.in('.', { ack: at(4), options: sack(p, [at(5), last + MSS]) });
  const fresh = Math.max(...p.heard().map((s) => s.seq));
  assert.ok(fresh > last, 'new data follows the retransmission');
  p.pass(10_000);
  p.in('.', { ack: at(4), options: sack(p, [at(5), fresh + MSS]) });
  assert.is(p.heard().filter((s) => s.seq === at(4)).length, 1);
  assert.is(p.count(L.CNT_TcpExtTCPTimeouts), 0);
  p.in('.', { ack: fresh + MSS });
  p.done();
});

test('a segment that is a little late is waited for: a quarter of the round trip, and then no longer', () => {
  const p = measured();
  p.write(3 * MSS);
  p.out();
  p.pass(10_000);
  p.in('.', { ack: at(4), options: sack(p, [at(5), at(6)]) });
  p.pass(2_000, 200);
  assert.equal(p.out(), [], 'not yet');
  p.in('.', { ack: at(7) });
  assert.is(p.count(L.CNT_TcpRetransSegs), 0);
  p.write(3 * MSS);
  p.out();
  p.pass(10_000);
  p.in('.', { ack: at(7), options: sack(p, [at(8), at(9)]) });
  p.pass(4_000, 200);
  assert.is(p.heard().filter((s) => s.seq === at(7)).length, 1);
  p.in('.', { ack: at(10) });
  p.done();
});

/** Ten segments in flight, of which the first has just been retransmitted by timeout. Times are the core's own. */
function timedOut(): { p: Peer; original: number; again: number; cwnd: number } {
  const p = new Peer();
  const echo = (options: Uint8Array): number => {
    let i = 0;
    while (options[i] !== 8) i += options[i] === 1 ? 1 : options[i + 1];
    return new DataView(options.buffer, options.byteOffset).getUint32(i + 2);
  };
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(1, 0)] });
  p.out();
  p.in('.', { options: timestamps(2, 0) });
  p.handle = p.m.core.accept(p.listener);
  p.write(10 * 1448);
  const original = echo(p.heard()[0].options);
  const cwnd = p.info(L.INFO_snd_cwnd);
  p.pass(1.1e6, 10_000);
  const [first] = p.heard();
  assert.is(first.seq, 1);
  return { p, original, again: echo(first.options), cwnd };
}

test('a timeout whose data had arrived is undone by the timestamp of its ACK (RFC 3522, 4015)', () => {
  const { p, original, again, cwnd } = timedOut();
  assert.ok(again > original);
  assert.ok(p.info(L.INFO_snd_cwnd) < cwnd);
  p.in('.', { ack: 1 + 1448, options: timestamps(3, original) });
  assert.is(p.count(L.CNT_TcpExtTCPSpuriousRTOs), 1);
  assert.ok(p.info(L.INFO_snd_cwnd) >= cwnd);
  assert.is(p.info(L.INFO_lost), 0);
  assert.equal(p.out(), [], 'nothing else is sent again');
  p.in('.', { ack: 1 + 10 * 1448, options: timestamps(4, original) });
  assert.is(p.count(L.CNT_TcpRetransSegs), 1);
  p.done();
});

test('a timeout whose data was lost is not undone', () => {
  const { p, again, cwnd } = timedOut();
  p.in('.', { ack: 1 + 1448, options: timestamps(3, again) });
  assert.is(p.count(L.CNT_TcpExtTCPSpuriousRTOs), 0);
  assert.ok(p.info(L.INFO_snd_cwnd) < cwnd);
  assert.ok(p.heard().length > 0, 'the rest is sent again');
  p.done();
});

test('an ACK of a retransmitted segment is no RTT sample (Karn)', () => {
  const p = new Peer().accept();
  p.write(100);
  p.out();
  p.pass(50_000);
  p.in('.', { ack: 101 });
  const rtt = p.info(L.INFO_rtt);
  p.write(100);
  p.out();
  p.pass(3e6, 10_000);
  assert.ok(p.count(L.CNT_TcpRetransSegs) > 0);
  p.in('.', { ack: 201 });
  assert.is(p.info(L.INFO_rtt), rtt);
  p.done();
});

test('the RTO follows the round-trip time and never falls below the floor', () => {
  const p = new Peer({ rtoMinUs: 4000, rtoInitUs: 20_000 }).accept();
  for (let i = 0; i < 50; i++) {
    p.write(100);
    p.out();
    p.pass(100);
    p.in('.', { ack: 1 + (i + 1) * 100 });
  }
  const rto = p.info(L.INFO_rto);
  assert.ok(rto >= 4000 && rto < 5000, `rto ${rto}`);
  for (let i = 50; i < 100; i++) {
    p.write(100);
    p.out();
    p.pass(3500);
    p.in('.', { ack: 1 + (i + 1) * 100 });
  }
  assert.ok(p.info(L.INFO_rto) > 3500);
  assert.is(p.count(L.CNT_TcpRetransSegs), 0);
  p.done();
});

test('a host that was away gives its retransmission timer a moment: what has come meanwhile is still to be read', () => {
  const p = new Peer({ rtoMinUs: 4000, rtoInitUs: 20_000 }).accept();
  p.write(MSS);
  p.out();
  p.pass(500_000);
  assert.equal(p.heard(), []);
  p.in('.', { ack: 1 + MSS });
  p.pass(500_000, 100);
  assert.is(p.count(L.CNT_TcpExtTCPTimeouts), 0, 'it was acknowledged');
  p.write(MSS);
  p.out();
  for (let i = 0; i < 4; i++) {
    assert.equal(p.heard(), []);
    p.pass(5e6);
  }
  assert.equal(
    p.heard().map((s) => s.seq),
    [1 + MSS],
    'nothing had come',
  );
  assert.is(p.count(L.CNT_TcpExtTCPTimeouts), 1);
  p.in('.', { ack: 1 + 2 * MSS });
  p.done();
});

test('out-of-order data waits by reference and is delivered when the gap fills', () => {
  const p = withSack();
  p.in('.', { seq: at(1), len: MSS });
  p.in('.', { seq: at(2), len: MSS });
  assert.equal(p.kinds(), []);
  assert.is(p.m.core.rxInUse(), 2);
  p.in('.', { seq: at(0), len: MSS });
  assert.is(p.read(0), 3 * MSS);
  assert.is(p.count(L.CNT_CopiedBytes), 0);
  assert.is(p.count(L.CNT_TcpExtTCPOFOQueue), 2);
  p.done();
});

test('each out-of-order segment is reported at once, the latest block first (RFC 2018 §4)', () => {
  const p = withSack();
  p.in('.', { seq: at(2), len: MSS });
  assert.equal(
    p.heard().map((s) => [s.ack, blocks(s.options)]),
    [[1, [[at(2), at(3)]]]],
  );
  p.in('.', { seq: at(5), len: MSS });
  assert.equal(
    p.heard().map((s) => blocks(s.options)),
    [
      [
        [at(5), at(6)],
        [at(2), at(3)],
      ],
    ],
  );
  p.in('.', { seq: at(3), len: MSS });
  assert.equal(
    p.heard().map((s) => blocks(s.options)),
    [
      [
        [at(2), at(4)],
        [at(5), at(6)],
      ],
    ],
  );
  p.done();
});

test('a duplicate is reported as DSACK (RFC 2883) and its bytes are not delivered twice', () => {
  const p = withSack();
  p.in('.', { len: MSS });
  p.heard();
  p.in('.', { len: MSS });
  const [ack] = p.heard();
  assert.equal(blocks(ack.options), [[at(0), at(1)]]);
  assert.is(ack.ack, at(1));
  assert.is(p.read(0), MSS);
  p.done();
});

test('overlapping segments of every kind give each byte once', () => {
  const p = withSack();
  for (const [seq, len] of [
    [501, 500],
    [301, 300],
    [901, 300],
    [401, 900],
    [1, 100],
    [51, 200],
    [2001, 100],
    [1, 1900],
    [1801, 300],
  ]) {
    p.in('.', { seq, len });
  }
  assert.is(p.read(0), 2100);
  p.done();
});

test('out-of-order objects are bounded; what does not fit is dropped and counted', () => {
  const p = new Peer({ oooObjects: 8, rcvBufBytes: 65535 }).accept([...mss(MSS), ...sackPermitted()]);
  for (let i = 0; i < 40; i++) p.in('.', { seq: 101 + i * 20, len: 10 });
  assert.ok(p.m.core.rxInUse() <= 8, `${p.m.core.rxInUse()} objects`);
  assert.ok(p.count(L.CNT_TcpExtTCPOFODrop) > 0);
  p.in('.', { len: 1000 });
  assert.is(p.read(0), 1000);
  p.done();
});

test('an old timestamp drops the segment with an ACK (PAWS, RFC 7323 §5)', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(1000, 0)] });
  p.out();
  p.in('.', { options: timestamps(1001, 0) });
  p.handle = p.m.core.accept(p.listener);
  p.in('P.', { len: 10, options: timestamps(1010, 0) });
  assert.is(p.read(0), 10);
  p.out();
  p.in('P.', { seq: 11, len: 10, options: timestamps(900, 0) });
  assert.is(p.read(10), 0);
  assert.equal(p.out(), ['. 1 ack 11']);
  assert.is(p.count(L.CNT_TcpExtPAWSEstab), 1);
  p.in('R', { seq: 11 });
  assert.ok(p.kinds().includes(L.EV_ERROR), 'a reset needs no timestamp');
  p.done();
});

test('the echoed timestamp is that of the oldest segment not yet acknowledged (RFC 7323 §4.3)', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(500, 0)] });
  const echo = (options: Uint8Array): number => {
    let i = 0;
    while (options[i] !== 8) i += options[i] === 1 ? 1 : options[i + 1];
    return new DataView(options.buffer, options.byteOffset).getUint32(i + 6);
  };
  assert.is(echo(p.heard()[0].options), 500);
  p.in('.', { options: timestamps(600, 0) });
  p.handle = p.m.core.accept(p.listener);
  p.in('.', { seq: at(1), len: MSS, options: timestamps(700, 0) });
  assert.is(echo(p.heard()[0].options), 600, 'out of order: not yet');
  p.in('.', { len: MSS, options: timestamps(650, 0) });
  assert.is(echo(p.heard()[0].options), 650);
  p.done();
});

test('an ACK for what was never sent is answered and otherwise ignored', () => {
  const p = new Peer().accept();
  p.write(100);
  p.out();
  p.in('.', { ack: 5000 });
  assert.is(p.info(L.INFO_unacked), 100);
  p.in('.', { ack: 101 });
  assert.is(p.info(L.INFO_unacked), 0);
  p.done();
});

test('a retransmission that was not needed does no harm: the content stays right', () => {
  const p = withSack();
  p.write(5 * MSS);
  p.out();
  p.pass(2e6, 10_000);
  for (const s of p.heard()) assertContent(s.payload, s.seq - 1);
  p.in('.', { ack: at(5) });
  p.write(100);
  const [next] = p.heard();
  assert.is(next.seq, at(5));
  assertContent(next.payload, 5 * MSS);
  p.done();
});

test.run();
