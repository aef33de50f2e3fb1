// Explicit congestion notification: RFC 3168 §6.1, and DCTCP's two sides, RFC 8257.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { MSS, mss, Peer, sackPermitted } from '../../helpers/peer.js';

const ECT0 = 2;
const CE = 3;
const OPTIONS = [...mss(MSS), ...sackPermitted()];

/** A connection that the peer asked ECN for, and got it. */
function withEcn(config: Partial<CoreConfig> = {}): Peer {
  const p = new Peer({ tcpFlags: L.CFGF_ECN_ACCEPT, ...config });
  p.listen();
  p.in('SEW', { seq: 0, options: OPTIONS });
  const [synAck] = p.heard();
  assert.is(synAck.flags, 'S.E');
  p.in('.');
  p.handle = p.m.core.accept(p.listener);
  p.m.events();
  return p;
}

const at = (segments: number): number => 1 + segments * MSS;

test('a SYN that asks is agreed to by ECE alone, one that does not, or half, is not', () => {
  withEcn().done();
  for (const flags of ['S', 'SE', 'SW']) {
    const p = new Peer({ tcpFlags: L.CFGF_ECN_ACCEPT });
    p.listen();
    p.in(flags, { seq: 0, options: OPTIONS });
    assert.is(p.heard()[0].flags, 'S.');
    p.done();
  }
});

test('without CFGF_ECN_ACCEPT, and for a SYN that is itself marked capable, nothing is agreed', () => {
  for (const [tcpFlags, ecn] of [
    [0, 0],
    [L.CFGF_ECN_ACCEPT, ECT0],
  ]) {
    const p = new Peer({ tcpFlags });
    p.listen();
    p.in('SEW', { seq: 0, options: OPTIONS, ecn });
    assert.is(p.heard()[0].flags, 'S.');
    p.done();
  }
});

test('an active open asks once: the retransmitted SYN does not (RFC 3168 §6.1.1.1)', () => {
  const p = new Peer({ tcpFlags: L.CFGF_ECN_REQUEST });
  p.connect();
  assert.is(p.heard()[0].flags, 'SEW');
  p.pass(1e6);
  assert.is(p.heard()[0].flags, 'S');
  p.in('S.E', { seq: 0, options: OPTIONS });
  p.m.core.flush(p.m.nowUs);
  p.out();
  p.write(100);
  assert.is(p.heard()[0].tos & 3, 0, 'an answer to a SYN that did not ask agrees to nothing');
  p.done();
});

test('new data is ECT(0), pure ACKs and retransmissions are not (RFC 3168 §6.1.4, §6.1.5)', () => {
  const p = withEcn();
  p.write(3 * MSS);
  assert.equal(
    p.heard().map((s) => s.tos & 3),
    [ECT0, ECT0, ECT0],
  );
  p.in('.', { len: 100 });
  p.in('.', { seq: 101, len: 2000 });
  p.pass(50_000);
  assert.ok(
    p.heard().every((s) => (s.tos & 3) === 0),
    'ACKs',
  );
  p.pass(2e6, 1000);
  const [again] = p.heard();
  assert.is(again.seq, 1);
  assert.is(again.tos & 3, 0, 'a retransmission');
  p.done();
});

test('a CE mark puts ECE on every ACK until CWR arrives', () => {
  const p = withEcn();
  p.in('.', { len: 100, ecn: CE });
  p.pass(50_000);
  assert.equal(
    p.heard().map((s) => s.flags),
    ['.E'],
  );
  p.in('P.', { seq: 101, len: 100, ecn: ECT0 });
  p.pass(50_000);
  assert.is(p.heard()[0].flags, '.E');
  p.in('P.W', { seq: 201, len: 100, ecn: ECT0 });
  p.pass(50_000);
  assert.is(p.heard()[0].flags, '.');
  assert.is(p.count(L.CNT_IpInCEPkts), 1);
  p.done();
});

test('ECE halves the window once a round trip, and CWR answers it on new data', () => {
  const p = withEcn();
  p.write(40 * MSS);
  p.heard();
  const before = p.info(L.INFO_snd_cwnd);
  p.in('.E', { ack: at(2) });
  assert.is(p.info(L.INFO_ca_state), 2, 'CWR');
  assert.is(p.info(L.INFO_snd_ssthresh), before / 2);
  for (let i = 3; i <= 10; i++) p.in('.E', { ack: at(i) });
  const heard = p.heard();
  assert.ok(heard.length > 0);
  assert.is(heard.filter((s) => s.flags.includes('W')).length, 1, 'CWR once');
  assert.ok(heard[0].flags.includes('W'), 'on the first new segment');
  assert.is(p.info(L.INFO_snd_ssthresh), before / 2, 'not again in the same window');
  assert.is(p.count(L.CNT_TcpRetransSegs), 0);
  assert.is(p.count(L.CNT_TcpExtTCPECNReductions), 1);
  // Everything sent since is acknowledged: open again, at ssthresh.
  const end = p.info(L.INFO_unacked) + at(10);
  p.in('.', { ack: end });
  assert.is(p.info(L.INFO_ca_state), 0);
  assert.ok(p.info(L.INFO_snd_cwnd) >= before / 2 && p.info(L.INFO_snd_cwnd) <= before / 2 + MSS);
  p.done();
});

test('ECE on a connection that agreed on nothing means nothing', () => {
  const p = new Peer().accept(OPTIONS);
  p.write(20 * MSS);
  p.in('.E', { ack: at(2) });
  assert.is(p.info(L.INFO_ca_state), 0);
  p.done();
});

// ---- DCTCP ----

const dctcp: Partial<CoreConfig> = { congestion: L.CC_DCTCP };

test('DCTCP: ECE says exactly which data was marked, a change is acknowledged at once (RFC 8257 §3.2)', () => {
  const p = withEcn(dctcp);
  p.in('.', { len: MSS, ecn: ECT0 });
  p.in('.', { seq: at(1), len: MSS, ecn: ECT0 });
  p.pass(50_000);
  p.heard();
  p.in('.', { seq: at(2), len: MSS, ecn: ECT0 });
  p.in('.', { seq: at(3), len: MSS, ecn: CE });
  p.pass(50_000);
  const acks = p.heard();
  assert.equal(
    acks.map((s) => [s.flags, s.ack]),
    [
      ['.', at(3)],
      ['.E', at(4)],
    ],
  );
  p.in('.', { seq: at(4), len: MSS, ecn: ECT0 });
  p.pass(50_000);
  const last = p.heard().at(-1)!;
  assert.is(last.flags, '.', 'no CWR is needed to end it');
  p.done();
});

test('DCTCP: pure ACKs and retransmissions are ECT too', () => {
  const p = withEcn(dctcp);
  p.in('P.', { len: 100, ecn: ECT0 });
  p.pass(50_000);
  assert.is(p.heard()[0].tos & 3, ECT0);
  p.write(MSS);
  p.heard();
  p.pass(2e6, 1000);
  assert.is(p.heard()[0].tos & 3, ECT0);
  p.done();
});

/** Sends windows of ten segments, of each of which `marked` segments are acknowledged with ECE; returns cwnd at the end. */
function windows(p: Peer, rounds: number, marked: number): number {
  let acked = 0;
  for (let round = 0; round < rounds; round++) {
    p.write(10 * MSS);
    p.heard();
    for (let i = 1; i <= 10; i++) {
      p.pass(10);
      p.in(i <= marked ? '.E' : '.', { ack: at(acked + i) });
      p.heard();
    }
    acked += 10;
    p.pass(1000);
  }
  return p.info(L.INFO_snd_cwnd);
}

test('DCTCP: the window shrinks with the share of marks, not by half (RFC 8257 §3.3)', () => {
  const light = withEcn({ ...dctcp, sndBufBytes: 1 << 20 });
  // The estimate begins at 1 and learns first.
  windows(light, 40, 0);
  const before = light.info(L.INFO_snd_cwnd);
  const after = windows(light, 1, 1);
  assert.ok(after > before * 0.9, `${before} → ${after} after one mark in ten, with an estimate near 0`);
  light.done();
  const heavy = withEcn({ ...dctcp, sndBufBytes: 1 << 20 });
  windows(heavy, 40, 10);
  assert.ok(heavy.info(L.INFO_snd_cwnd) <= 4 * MSS, 'every byte marked: as small as Reno would make it');
  heavy.done();
});

test('DCTCP: loss halves (RFC 8257 §3.5)', () => {
  const p = withEcn(dctcp);
  p.write(10 * MSS);
  p.heard();
  const { iss } = p;
  const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
  for (let i = 2; i <= 4; i++) {
    p.in('.', { options: [1, 1, 5, 10, ...word((iss + at(1)) >>> 0), ...word((iss + at(i)) >>> 0)] });
  }
  assert.is(p.info(L.INFO_snd_ssthresh), 5 * MSS);
  p.done();
});

test.run();
