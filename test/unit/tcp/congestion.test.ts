// Congestion control by algorithm: growth, reduction, choice per socket. RFC 5681, 6937, 9438.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { MSS, mss, Peer, sackPermitted } from '../../helpers/peer.js';

const OPTIONS = [...mss(MSS), ...sackPermitted(), 1, 3, 3, 7];
const at = (segments: number): number => 1 + segments * MSS;
const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

function sack(p: Peer, from: number, to: number): number[] {
  return [1, 1, 5, 10, ...word((p.iss + at(from)) >>> 0), ...word((p.iss + at(to)) >>> 0)];
}

/** A bulk sender whose peer acknowledges every segment a round trip of `rttUs` after it was sent. */
class Flow {
  readonly p: Peer;
  acked = 0;
  constructor(
    config: Partial<CoreConfig>,
    readonly rttUs: number,
  ) {
    this.p = new Peer({ sndBufBytes: 8 << 20, zones: 24, ...config }).accept(OPTIONS, { win: 65535 });
  }

  /** What is in flight now, in segments. */
  flight(): number {
    return this.p.info(L.INFO_unacked) / MSS;
  }

  /** One round trip: everything sent in the last one is acknowledged, spread evenly. */
  round(): void {
    while (this.p.info(L.INFO_notsent_bytes) < 1 << 20) this.p.write(32 * 1024);
    this.p.heard();
    const count = Math.floor(this.flight());
    for (let i = 1; i <= count; i++) {
      this.p.pass(this.rttUs / count);
      this.acked++;
      this.p.in('.', { ack: at(this.acked) });
      this.p.heard();
    }
  }

  /** The first segment in flight is lost, and repaired within the round. */
  lose(): void {
    const count = Math.floor(this.flight());
    for (let i = 1; i < count; i++) {
      this.p.pass(this.rttUs / count);
      this.p.in('.', { ack: at(this.acked), options: sack(this.p, this.acked + 1, this.acked + 1 + i) });
    }
    this.p.pass(this.rttUs / count);
    this.p.heard();
    this.acked += count;
    this.p.in('.', { ack: at(this.acked) });
    this.p.heard();
    // What was sent in recovery ends it.
    this.round();
  }

  cwnd(): number {
    return this.p.info(L.INFO_snd_cwnd) / MSS;
  }
}

test('slow start doubles the window each round trip, with every algorithm', () => {
  for (const congestion of [L.CC_RENO, L.CC_CUBIC, L.CC_DCTCP]) {
    const flow = new Flow({ congestion }, 10_000);
    flow.round();
    assert.is(flow.cwnd(), 20);
    flow.round();
    assert.is(flow.cwnd(), 40);
    flow.p.done();
  }
});

test('NewReno: a segment a round trip after a loss that halved', () => {
  const flow = new Flow({ congestion: L.CC_RENO }, 10_000);
  flow.round();
  flow.round();
  flow.lose();
  const begin = flow.cwnd();
  assert.ok(begin >= 19 && begin <= 22, `${begin}`);
  for (let i = 0; i < 5; i++) flow.round();
  assert.ok(Math.abs(flow.cwnd() - begin - 5) <= 1, `${begin} → ${flow.cwnd()}`);
  flow.p.done();
});

test('CUBIC: seven tenths after a loss, then the cubic curve to the old window and beyond (RFC 9438 §4.2, §4.6)', () => {
  const rtt = 200_000;
  const flow = new Flow({ congestion: L.CC_CUBIC, sndBufBytes: 16 << 20 }, rtt);
  flow.round();
  flow.round();
  flow.round();
  const wMax = flow.cwnd();
  const startUs = flow.p.m.nowUs;
  flow.lose();
  assert.ok(Math.abs(flow.p.info(L.INFO_snd_ssthresh) / MSS - wMax * 0.7) < 1.5, 'β = 0.7');
  // K = ∛(W_max (1 − β) / C), seconds.
  const k = Math.cbrt((wMax * 0.3) / 0.4);
  const samples: [number, number][] = [];
  while ((flow.p.m.nowUs - startUs) / 1e6 < 1.5 * k) {
    flow.round();
    samples.push([(flow.p.m.nowUs - startUs) / 1e6, flow.cwnd()]);
  }
  const near = (t: number): number => samples.reduce((a, b) => (Math.abs(b[0] - t) < Math.abs(a[0] - t) ? b : a))[1];
  assert.ok(Math.abs(near(k) - wMax) < wMax * 0.06, `at K ${near(k)}, W_max ${wMax}`);
  // Concave before K, convex after: slow around it.
  const slopeEarly = near(0.4 * k) - near(0.2 * k);
  const slopeMiddle = near(1.05 * k) - near(0.85 * k);
  const slopeLate = near(1.45 * k) - near(1.25 * k);
  assert.ok(slopeEarly > 2 * slopeMiddle, `${slopeEarly} ${slopeMiddle}`);
  assert.ok(slopeLate > 2 * slopeMiddle, `${slopeLate} ${slopeMiddle}`);
  flow.p.done();
});

test('CUBIC is never slower than Reno on a short path (RFC 9438 §4.3)', () => {
  const after = (congestion: number): number => {
    const flow = new Flow({ congestion }, 1000);
    flow.round();
    flow.round();
    flow.lose();
    for (let i = 0; i < 40; i++) flow.round();
    const cwnd = flow.cwnd();
    flow.p.done();
    return cwnd;
  };
  const cubic = after(L.CC_CUBIC);
  const reno = after(L.CC_RENO);
  assert.ok(cubic >= reno * 0.9, `cubic ${cubic}, reno ${reno}`);
});

test('during recovery one segment leaves for every two that arrive, and ssthresh is left in flight (RFC 6937)', () => {
  const p = new Peer({ sndBufBytes: 1 << 20, initCwndSegments: 20 }).accept(OPTIONS);
  for (let i = 0; i < 3; i++) p.write(20 * MSS);
  assert.is(p.heard().length, 20);
  let sent = 0;
  for (let i = 2; i <= 20; i++) {
    p.pass(100);
    p.in('.', { options: sack(p, 1, i) });
    sent += p.heard().length;
    if (i === 4) assert.is(p.info(L.INFO_ca_state), 3, 'recovery');
  }
  assert.is(p.info(L.INFO_snd_ssthresh), 10 * MSS);
  // Two by limited transmit before, then ssthresh / flight of what is delivered: the retransmission and eight more.
  assert.ok(sent >= 10 && sent <= 12, `${sent} sent`);
  p.in('.', { ack: at(22) });
  assert.is(p.info(L.INFO_ca_state), 0);
  assert.is(p.info(L.INFO_snd_cwnd), 10 * MSS);
  p.done();
});

test('the algorithm is chosen per socket, taken over from the listener, and refused when unknown', () => {
  const p = new Peer({ congestion: L.CC_RENO });
  p.listen();
  const { core } = p.m;
  assert.is(core.getOption(p.listener, L.OPT_CONGESTION), L.CC_RENO);
  assert.is(core.setOption(p.listener, L.OPT_CONGESTION, L.CC_CUBIC), 0);
  p.accept(OPTIONS);
  assert.is(p.info(L.INFO_congestion), L.CC_CUBIC);
  assert.is(core.setOption(p.handle, L.OPT_CONGESTION, L.CC_DCTCP), 0);
  assert.is(core.getOption(p.handle, L.OPT_CONGESTION), L.CC_DCTCP);
  assert.is(core.setOption(p.handle, L.OPT_CONGESTION, 17), -L.EINVAL);
  p.write(20 * MSS);
  p.heard();
  p.in('.', { ack: at(10) });
  assert.is(p.info(L.INFO_snd_cwnd), 12 * MSS);
  p.done();
});

test("traffic class and TTL are the socket's", () => {
  const p = new Peer().accept(OPTIONS);
  const { core } = p.m;
  assert.is(core.setOption(p.handle, L.OPT_TOS, 0xb9), 0);
  assert.is(core.getOption(p.handle, L.OPT_TOS), 0xb8, "the ECN bits are not the application's");
  assert.is(core.setOption(p.handle, L.OPT_TTL, 3), 0);
  assert.is(core.setOption(p.handle, L.OPT_TTL, 256), -L.EINVAL);
  p.write(10);
  const [frame] = p.m.take();
  assert.is(frame[15], 0xb8);
  assert.is(frame[22], 3);
  p.done();
});

test.run();
