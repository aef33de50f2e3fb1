// The end of a flight, and timeouts: tail loss probes (RFC 8985 §7), F-RTO (RFC 5682), undoing (RFC 3522, 3708, 4015),
// outages, black holes of the path's MTU (RFC 4821 §7.7).
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { profiles } from '../../../src/host/profiles.js';
import { MSS, mss, Peer, sackPermitted, timestamps } from '../../helpers/peer.js';

const OPTIONS = [...mss(MSS), ...sackPermitted()];
const RTT = 20_000;
const at = (segments: number): number => 1 + segments * MSS;
const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

/** SACK blocks in units of segments. */
function sack(p: Peer, ...ranges: [number, number][]): number[] {
  const edges = ranges.flatMap(([from, to]) => [...word((p.iss + at(from)) >>> 0), ...word((p.iss + at(to)) >>> 0)]);
  return [1, 1, 5, 2 + edges.length, ...edges];
}

/** A connection with an RTT sample of 20 ms. */
function open(config: Partial<CoreConfig> = {}, options: readonly number[] = OPTIONS, ack: number[] = []): Peer {
  const p = new Peer({ tcpFlags: L.CFGF_TLP | L.CFGF_FRTO, tlpSlackUs: 2000, ...config });
  p.listen();
  p.in('S', { seq: 0, options });
  p.heard();
  p.pass(RTT);
  p.in('.', { options: ack });
  p.handle = p.m.core.accept(p.listener);
  p.m.events();
  return p;
}

const seqs = (p: Peer): number[] => p.heard().map((s) => (s.seq - 1) / MSS);

test('the last segment is sent again after two round trips, long before the timeout', () => {
  const p = open();
  p.write(5 * MSS);
  assert.is(p.heard().length, 5);
  p.pass(RTT);
  p.in('.', { ack: at(2) });
  p.pass(2 * RTT, 1000);
  assert.equal(seqs(p), []);
  p.pass(4000, 1000);
  assert.equal(seqs(p), [4], 'the probe');
  assert.is(p.count(L.CNT_TcpExtTCPLossProbes), 1);
  assert.is(p.count(L.CNT_TcpExtTCPTimeouts), 0);
  // The probe is answered: 2 and 3 were lost, and RACK finds them.
  p.pass(RTT, 1000);
  p.in('.', { ack: at(2), options: sack(p, [4, 5]) });
  p.pass(RTT, 1000);
  assert.equal(seqs(p), [2], 'one for the one that arrived (RFC 6937)');
  p.in('.', { ack: at(3), options: sack(p, [4, 5]) });
  assert.equal(seqs(p), [3]);
  assert.is(p.count(L.CNT_TcpExtTCPTimeouts), 0);
  p.done();
});

test('new data is the probe where there is any that the window admits', () => {
  const p = open({ initCwndSegments: 2 });
  p.write(4 * MSS);
  assert.equal(seqs(p), [0, 1]);
  p.pass(2 * RTT + 4000, 1000);
  assert.equal(seqs(p), [2]);
  assert.is(p.count(L.CNT_TcpRetransSegs), 0);
  p.in('.', { ack: at(3) });
  assert.is(p.info(L.INFO_ca_state), 0);
  p.done();
});

test('a single segment waits for the delayed ACK of the peer, at most for the timeout', () => {
  const p = open();
  p.write(100);
  p.heard();
  p.pass(2 * RTT + 100_000, 1000);
  assert.equal(p.heard(), []);
  p.pass(120_000, 1000);
  assert.is(p.heard().length, 1);
  p.done();
});

test('one probe at a time: after it comes the timeout', () => {
  const p = open();
  p.write(3 * MSS);
  p.heard();
  p.pass(2 * RTT + 4000, 1000);
  assert.equal(seqs(p), [2]);
  p.pass(150_000, 1000);
  assert.equal(seqs(p), []);
  p.pass(100_000, 1000);
  assert.equal(seqs(p), [0], 'the timeout');
  assert.is(p.count(L.CNT_TcpExtTCPLossProbes), 1);
  p.done();
});

test('a loss that only the probe repaired still costs a reduction (RFC 8985 §7.4)', () => {
  const p = open();
  p.write(10 * MSS);
  p.heard();
  p.in('.', { ack: at(9) });
  const before = p.info(L.INFO_snd_ssthresh);
  p.pass(2 * RTT + 250_000, 1000);
  assert.equal(seqs(p).slice(0, 1), [9]);
  p.in('.', { ack: at(10) });
  assert.is(p.info(L.INFO_snd_ssthresh), before, 'undecided: the original may still arrive');
  p.write(MSS);
  p.in('.', { ack: at(11) });
  assert.is(p.count(L.CNT_TcpExtTCPLossProbeRecovery), 1);
  assert.ok(p.info(L.INFO_snd_ssthresh) < before);
  p.done();
});

test('a probe that was a duplicate costs nothing', () => {
  const p = open();
  p.write(10 * MSS);
  p.heard();
  p.in('.', { ack: at(9) });
  p.pass(2 * RTT + 250_000, 1000);
  p.heard();
  p.in('.', { ack: at(10) });
  p.in('.', { ack: at(10), options: sack(p, [9, 10]) });
  const before = p.info(L.INFO_snd_ssthresh);
  p.write(MSS);
  p.in('.', { ack: at(11) });
  assert.is(p.count(L.CNT_TcpExtTCPLossProbeRecovery), 0);
  assert.is(p.info(L.INFO_snd_ssthresh), before);
  p.done();
});

test('without SACK there is no probe', () => {
  const p = open({}, mss(MSS));
  p.write(3 * MSS);
  p.heard();
  p.pass(150_000, 1000);
  assert.equal(p.heard(), []);
  p.done();
});

// ---- spurious timeouts and retransmissions ----

/** Ten segments of which none is acknowledged until the timeout, the first one retransmitted. */
function timedOut(config: Partial<CoreConfig> = {}, more = 0): Peer {
  const p = open({ tcpFlags: L.CFGF_FRTO, ...config });
  p.write(10 * MSS);
  if (more) p.write(more * MSS);
  p.heard();
  for (let i = 0; i < 400 && p.count(L.CNT_TcpExtTCPTimeouts) === 0; i++) p.pass(1000);
  assert.equal(seqs(p), [0]);
  assert.is(p.info(L.INFO_ca_state), 4);
  return p;
}

test('F-RTO: an ACK of what was never retransmitted shows the timeout to be spurious (RFC 5682)', () => {
  const p = timedOut();
  p.in('.', { ack: at(4) });
  assert.is(p.count(L.CNT_TcpExtTCPSpuriousRTOs), 1);
  assert.is(p.info(L.INFO_ca_state), 0);
  assert.is(p.info(L.INFO_snd_cwnd) >= 10 * MSS, true);
  p.pass(1000);
  assert.equal(seqs(p), [], 'nothing more is sent again');
  p.done();
});

test('F-RTO: after an ACK of the retransmission alone new data is sent, and an ACK beyond decides', () => {
  const p = timedOut({}, 10);
  p.in('.', { ack: at(1) });
  assert.equal(seqs(p), [10, 11], 'two new segments');
  p.in('.', { ack: at(3) });
  assert.is(p.count(L.CNT_TcpExtTCPSpuriousRTOs), 1);
  assert.is(p.info(L.INFO_ca_state), 0);
  p.done();
});

test('F-RTO: a duplicate after the new data means that the loss was real', () => {
  const p = timedOut({}, 10);
  p.in('.', { ack: at(1) });
  p.heard();
  p.in('.', { ack: at(1), options: sack(p, [10, 11]) });
  p.in('.', { ack: at(1), options: sack(p, [10, 12]) });
  p.pass(RTT, 1000);
  assert.ok(seqs(p).includes(1), 'the next hole is sent again');
  assert.is(p.count(L.CNT_TcpExtTCPSpuriousRTOs), 0);
  assert.is(p.info(L.INFO_ca_state), 4);
  p.done();
});

test('F-RTO: a timeout of the repair after a timeout goes on with the repair (RFC 5682 §2.1)', () => {
  const p = timedOut({}, 10);
  p.in('.', { ack: at(1) });
  assert.equal(seqs(p), [10, 11], 'two new segments, which are lost too');
  for (let i = 0; i < 3000 && p.count(L.CNT_TcpExtTCPTimeouts) === 1; i++) p.pass(1000);
  assert.equal(seqs(p), [1]);
  p.in('.', { ack: at(2) });
  assert.equal(seqs(p), [2, 3], 'no new data while there is something to repair');
  p.done();
});

test('a recovery of which every retransmission is reported as a duplicate is undone (RFC 3708)', () => {
  const p = open();
  p.write(10 * MSS);
  p.heard();
  for (let i = 2; i <= 4; i++) p.in('.', { options: sack(p, [1, i]) });
  assert.is(p.info(L.INFO_ca_state), 3);
  assert.equal(seqs(p).slice(0, 1), [0]);
  // The original arrives after all, then the retransmission.
  p.in('.', { ack: at(10) });
  assert.is(p.info(L.INFO_snd_ssthresh), 5 * MSS);
  p.in('.', { ack: at(10), options: sack(p, [0, 1]) });
  assert.is(p.count(L.CNT_TcpExtTCPDSACKUndo), 1);
  assert.ok(p.info(L.INFO_snd_cwnd) >= 10 * MSS);
  assert.ok(p.info(L.INFO_snd_ssthresh) > 5 * MSS);
  p.done();
});

test('a fast retransmission that timestamps show to be needless is undone (RFC 3522)', () => {
  const p = open({}, [...OPTIONS, ...timestamps(1000, 0)], timestamps(1001, 0));
  const heard = (): { seq: number; val: number }[] =>
    p.heard().map((s) => ({ seq: s.seq, val: new DataView(s.options.buffer, s.options.byteOffset).getUint32(4) }));
  p.pass(1000);
  const len = MSS - 12;
  p.write(10 * len);
  const originals = heard();
  p.pass(5000);
  const edge = (i: number): number[] => word((p.iss + 1 + i * len) >>> 0);
  for (let i = 2; i <= 4; i++) {
    p.in('.', { options: [...timestamps(1010, originals[i - 1].val), 1, 1, 5, 10, ...edge(1), ...edge(i)] });
  }
  assert.is(p.info(L.INFO_ca_state), 3);
  p.pass(1000);
  p.heard();
  p.in('.', { ack: 1 + 10 * len, options: timestamps(1011, originals[0].val) });
  assert.is(p.count(L.CNT_TcpExtTCPFullUndo), 1);
  assert.is(p.info(L.INFO_ca_state), 0);
  assert.ok(p.info(L.INFO_snd_cwnd) >= 10 * len);
  p.done();
});

test('after a timeout what was sent within the last round trip is not taken for lost (RFC 8985 §6.3)', () => {
  const p = open({ tcpFlags: 0, rtoMinUs: 10_000, initCwndSegments: 4 });
  p.write(4 * MSS);
  p.heard();
  p.pass(5000);
  p.in('.', { options: sack(p, [1, 2]) });
  p.write(4 * MSS);
  p.pass(12_000, 500);
  p.heard();
  for (let i = 0; i < 40 && p.count(L.CNT_TcpExtTCPTimeouts) === 0; i++) p.pass(500);
  const lost = p.info(L.INFO_lost);
  assert.ok(lost < p.info(L.INFO_unacked), 'not all of it');
  p.done();
});

// ---- outages ----

test('with a steady timeout an outage is noticed to be over after an eighth of it at most', () => {
  const { rtoSteadyUs, rtoMinUs, rtoMaxUs, retries } = profiles.datacenter;
  const p = new Peer({ rtoSteadyUs, rtoMinUs, rtoMaxUs, retries, tcpFlags: 0 });
  p.listen();
  p.in('S', { seq: 0, options: OPTIONS });
  p.heard();
  p.pass(50);
  p.in('.');
  p.handle = p.m.core.accept(p.listener);
  p.write(MSS);
  const begin = p.m.nowUs;
  let last = begin;
  const gaps: [number, number][] = [];
  p.heard();
  while (p.state() === L.TCP_ESTABLISHED && p.m.nowUs - begin < 200e6) {
    p.pass(1000);
    if (p.heard().length === 0) continue;
    gaps.push([last - begin, p.m.nowUs - last]);
    last = p.m.nowUs;
  }
  for (const [outage, gap] of gaps) {
    assert.ok(gap <= Math.max(rtoSteadyUs, outage / 8) + 8000, `${gap} µs after ${outage} µs`);
  }
  assert.ok(last - begin > 90e6, `R2: gives up after ${(last - begin) / 1e6} s`);
  p.done();
});

test('a path that swallows large packets is found out, and tried again after ten minutes', () => {
  const p = open({ tcpFlags: L.CFGF_PMTU_BLACK_HOLE });
  p.write(4 * MSS);
  p.heard();
  const lengths = new Set<number>();
  for (let i = 0; i < 400 && ![...lengths].some((length) => length === 536); i++) {
    p.pass(100_000);
    for (const s of p.heard()) lengths.add(s.payload.length);
  }
  assert.ok(lengths.has(1240) && lengths.has(536), [...lengths].join());
  assert.ok(p.count(L.CNT_TcpExtTCPMTUPFail) >= 2);
  // Small segments get through.
  p.in('.', { ack: at(4) });
  p.pass(601e6);
  p.write(2 * MSS);
  const [small] = p.heard();
  p.pass(20_000);
  p.in('.', { ack: small.seq + small.payload.length });
  p.heard();
  p.in('.', { ack: at(6) });
  p.write(2 * MSS);
  assert.is(p.heard()[0].payload.length, MSS);
  p.done();
});

test('a lost segment of ordinary size does not accuse the path', () => {
  const p = open({ tcpFlags: L.CFGF_PMTU_BLACK_HOLE });
  p.write(500);
  p.pass(20e6, 100_000);
  assert.is(p.count(L.CNT_TcpExtTCPMTUPFail), 0);
  p.done();
});

// ---- receive autotuning ----

/** A peer that fills every window it is offered, a round trip later; the application reads at once. Returns the last window. */
function fill(p: Peer, rounds: number, rttUs: number): number {
  let sent = 0;
  let win = 0;
  let edge = p.info(L.INFO_rcv_wnd);
  for (let i = 0; i < rounds; i++) {
    while (sent < edge) {
      const len = Math.min(MSS, edge - sent);
      p.in('.', { seq: 1 + sent, len });
      sent += len;
      p.read(sent - len);
    }
    p.pass(rttUs, rttUs);
    const heard = p.heard().at(-1);
    if (heard) {
      win = heard.win << p.info(L.INFO_rcv_wscale);
      edge = heard.ack - 1 + win;
    }
  }
  return win;
}

const scaled = [...mss(MSS), 1, 3, 3, 7];

test('the receive buffer grows with what the application reads in a round trip, up to its bound', () => {
  const p = open({ rcvBufBytes: 65536, rcvBufMaxBytes: 400_000, rxZones: 4 }, scaled);
  const win = fill(p, 8, RTT);
  assert.ok(win > 300_000, `window ${win}`);
  assert.ok(p.info(L.INFO_rcv_ssthresh) <= 400_000);
  assert.ok(p.count(L.CNT_TcpExtTCPRcvAutotuned) > 0);
  p.done();
});

test('a buffer that the application has set stays as it is, and so does one without a bound above it', () => {
  for (const [rcvBufMaxBytes, set] of [
    [400_000, 65536],
    [0, 0],
  ]) {
    const p = open({ rcvBufBytes: 65536, rcvBufMaxBytes }, scaled);
    if (set) assert.is(p.m.core.setOption(p.handle, L.OPT_RCV_BUF_BYTES, set), 0);
    assert.ok(fill(p, 6, RTT) <= 65536);
    p.done();
  }
});

test('a slow sender does not make the buffer grow', () => {
  const p = open({ rcvBufBytes: 65536, rcvBufMaxBytes: 400_000 }, scaled);
  for (let i = 0; i < 200; i++) {
    p.in('.', { seq: 1 + i * MSS, len: MSS });
    p.pass(RTT);
    p.read(i * MSS);
    p.heard();
  }
  assert.is(p.info(L.INFO_rcv_ssthresh), 65536);
  p.done();
});

test.run();
