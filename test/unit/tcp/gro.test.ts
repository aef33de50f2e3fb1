// Runs of received segments (gro.ts): each is taken by itself, all are answered once.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Core, CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { exchange, total } from '../../helpers/exchange.js';
import { testConfig } from '../../helpers/manual.js';
import { assertContent, MSS, Peer } from '../../helpers/peer.js';

const SEEDS = Number(process.env.LUNET_WIRE_SEEDS ?? 4);
const OFF = { flags: testConfig.flags | L.CFGF_NO_GRO };
const BURST = 32;
const HOLD_US = 8;

/** An inline application: what it does with a piece, once it is asked to do anything but read. */
interface App {
  piece?(core: Core, handle: number, bytes: Uint8Array): void;
}

/** A connection on which the core has received more than a slow start's worth. */
function settled(config: Partial<CoreConfig> = {}, app?: App): { p: Peer; seq: number } {
  const p: Peer = new Peer({ rcvBufBytes: 1 << 20, rxZones: 2, zones: 16, ...config }, (handle, kind, a, b) => {
    const { core } = p.m;
    if (kind === L.EV_ACCEPT) p.handle = a;
    if (kind !== L.EV_DATA) return;
    app?.piece?.(core, handle, core.u8.subarray(a, a + b));
    core.free(a);
  });
  p.accept([2, 4, MSS >> 8, MSS & 255, 1, 3, 3, 7], { flags: app ? L.SOCK_INLINE : 0 });
  let seq = 1;
  while (seq < 1.2e6) {
    p.m.inject(...burst(p, seq));
    if (!app) p.read(seq - 1);
    seq += BURST * MSS;
    p.out();
  }
  p.pass(1e6);
  p.out();
  return { p, seq };
}

const burst = (p: Peer, seq: number, flags = '.'): Uint8Array[] =>
  Array.from({ length: BURST }, (_, i) => p.frame(i === BURST - 1 ? flags : '.', { seq: seq + i * MSS, len: MSS }));

test('a burst of segments of one connection gets one ACK', () => {
  const { p, seq } = settled();
  p.m.inject(...burst(p, seq));
  assert.equal(p.out(), [`. 1 ack ${seq + BURST * MSS}`]);
  p.done();
});

test('with runs off, every third segment gets one', () => {
  const { p, seq } = settled(OFF);
  p.m.inject(...burst(p, seq));
  assert.is(p.out().length, Math.ceil(BURST / 3));
  p.done();
});

test('while the sender may be in slow start, ACKs come as often as without', () => {
  const acks = (config = {}): number => {
    const p = new Peer({ rcvBufBytes: 1 << 20, ...config }).accept([2, 4, MSS >> 8, MSS & 255, 1, 3, 3, 7]);
    p.m.inject(...burst(p, 1));
    const { length } = p.out();
    p.done();
    return length;
  };
  assert.is(acks(), acks(OFF));
});

test('an ACK covers at most 64 KiB, and a quarter of the receive buffer', () => {
  const { p, seq } = settled();
  p.m.inject(...burst(p, seq), ...burst(p, seq + BURST * MSS));
  assert.equal(p.out(), [`. 1 ack ${seq + 45 * MSS}`, `. 1 ack ${seq + 64 * MSS}`]);
  p.done();
  const small = settled({ rcvBufBytes: 65_535 });
  small.p.m.inject(...burst(small.p, small.seq));
  assert.is(small.p.out().length, 3, 'twelve segments each');
  small.p.done();
});

test('PSH ends a run: its ACK does not wait for what comes behind it', () => {
  const { p, seq } = settled();
  p.m.inject(...burst(p, seq, 'P.'), p.frame('.', { seq: seq + BURST * MSS, len: 10 }));
  assert.is(p.out()[0], `. 1 ack ${seq + BURST * MSS}`);
  p.done();
});

test('a gap ends a run, and is reported with every segment above it', () => {
  const { p, seq } = settled();
  const frames = burst(p, seq);
  frames.splice(10, 1);
  p.m.inject(...frames);
  const heard = p.out();
  assert.is(heard[0], `. 1 ack ${seq + 10 * MSS}`);
  assert.is(new Set(heard).size, 1, 'duplicates of one ACK');
  p.done();
});

test('segments of two connections in turns: each gets its ACK', () => {
  const { p, seq } = settled();
  p.in('S', { seq: 0, from: 40001, options: [2, 4, MSS >> 8, MSS & 255] });
  const iss = p.iss;
  const [syn] = p.heard();
  const second = p.iss;
  assert.is(syn.dstPort, 40001);
  p.in('.', { from: 40001 });
  const other = p.m.core.accept(p.listener);
  assert.ok(other > 0);
  const frames: Uint8Array[] = [];
  for (let i = 0; i < 8; i++) {
    p.iss = second;
    frames.push(p.frame('.', { from: 40001, seq: 1 + i * MSS, len: MSS }));
    p.iss = iss;
    frames.push(p.frame('.', { seq: seq + i * MSS, len: MSS }));
  }
  p.m.inject(...frames);
  const last = new Map(p.heard().map((s) => [s.dstPort, s.ack]));
  assert.is(last.get(40001), 1 + 8 * MSS);
  assert.is(last.get(40000), seq + 8 * MSS);
  p.m.core.abort(other);
  p.done();
});

test('an inline application gets each piece where it is, and its answer does not wait for the end of the run', () => {
  const app: App = {};
  const { p, seq } = settled({}, app);
  let got = seq - 1;
  app.piece = (core, handle, bytes) => {
    assert.is(bytes.length, MSS);
    assertContent(bytes, got);
    if (got === seq - 1) {
      const addr = core.alloc(10);
      core.u8.fill(1, addr, addr + 10);
      core.send(handle, addr, 10);
      core.free(addr);
    }
    got += bytes.length;
  };
  p.m.inject(...burst(p, seq));
  assert.is(got, seq - 1 + BURST * MSS);
  assert.is(p.count(L.CNT_CopiedBytes), 0);
  const heard = p.heard();
  assert.is(heard[0].payload.length, 10);
  assert.is(heard[0].ack, seq + MSS, 'the answer to the first piece leaves before the second is looked at');
  assert.is(heard[heard.length - 1].ack, seq + BURST * MSS);
  p.done();
});

test('an application may abort the connection in the middle of a run', () => {
  const app: App = {};
  const { p, seq } = settled({}, app);
  let pieces = 0;
  app.piece = (core, handle) => {
    if (++pieces === 5) core.abort(handle);
  };
  p.m.inject(...burst(p, seq));
  assert.is(pieces, 5);
  assert.match(p.out()[0], /^R/);
  p.done();
});

/** Two segments of a train whose third is on its way. */
function begun(app?: App): { p: Peer; seq: number } {
  const { p, seq } = settled({ groHoldUs: HOLD_US }, app);
  p.m.inject(p.frame('.', { seq, len: MSS }), p.frame('.', { seq: seq + MSS, len: MSS }));
  return { p, seq };
}

/** A turn in which nothing arrives, `us` later. */
function turn(p: Peer, us: number): void {
  p.m.nowUs += us;
  p.m.core.flush(p.m.nowUs);
}

test('a burst that is part of a train is not acknowledged by itself', () => {
  const { p, seq } = begun();
  turn(p, HOLD_US - 1);
  assert.equal(p.out(), []);
  p.m.inject(p.frame('P.', { seq: seq + 2 * MSS, len: MSS }));
  assert.equal(p.out(), [`. 1 ack ${seq + 3 * MSS}`]);
  p.done();
});

test('without a hold the same burst is acknowledged when it ends', () => {
  const { p, seq } = settled();
  p.m.inject(p.frame('.', { seq, len: MSS }), p.frame('.', { seq: seq + MSS, len: MSS }));
  assert.equal(p.out(), [`. 1 ack ${seq + 2 * MSS}`]);
  p.done();
});

test('when nothing more comes, the ACK goes as soon as the hold is over, in a turn or a poll', () => {
  for (const poll of [false, true]) {
    const { p, seq } = begun();
    if (poll) {
      p.m.nowUs += HOLD_US;
      p.m.core.poll(p.m.nowUs);
    } else turn(p, HOLD_US);
    assert.equal(p.out(), [`. 1 ack ${seq + 2 * MSS}`]);
    p.done();
  }
});

test('a loop that goes to sleep is told when the hold is over', () => {
  const { p } = begun();
  const end = p.m.nowUs + HOLD_US;
  p.m.nowUs++;
  assert.is(p.m.core.poll(p.m.nowUs), end);
  assert.equal(p.out(), []);
  p.m.nowUs = end;
  assert.ok(p.m.core.poll(p.m.nowUs) > end);
  assert.is(p.out().length, 1);
  p.done();
});

test('every burst of a train begins the hold anew, and enough of them get their ACK', () => {
  const { p, seq } = begun();
  let at = seq + 2 * MSS;
  for (let i = 0; i < 10; i++) {
    turn(p, HOLD_US - 1);
    p.m.inject(p.frame('.', { seq: at, len: MSS }));
    at += MSS;
  }
  assert.equal(p.out(), []);
  p.m.inject(...burst(p, at), ...burst(p, at + BURST * MSS));
  assert.is(p.out()[0], `. 1 ack ${seq + 45 * MSS}`, '64 KiB');
  p.done();
});

test('a request of three segments, one burst each, is acknowledged by the answer alone', () => {
  const app: App = {};
  const { p, seq } = settled({ groHoldUs: HOLD_US }, app);
  let got = 0;
  app.piece = (core, handle, bytes) => {
    got += bytes.length;
    if (got < 3 * MSS) return;
    const addr = core.alloc(100);
    core.u8.fill(1, addr, addr + 100);
    core.send(handle, addr, 100);
    core.free(addr);
  };
  for (let i = 0; i < 3; i++) {
    p.m.inject(p.frame(i === 2 ? 'P.' : '.', { seq: seq + i * MSS, len: MSS }));
    turn(p, 2);
  }
  const heard = p.heard();
  assert.equal(
    heard.map((s) => [s.payload.length, s.ack]),
    [[100, seq + 3 * MSS]],
  );
  turn(p, HOLD_US);
  assert.equal(p.out(), []);
  p.done();
});

test('another connection ends a run that is held', () => {
  const { p, seq } = begun();
  p.in('S', { seq: 0, from: 40001, options: [2, 4, MSS >> 8, MSS & 255] });
  const acks = p.heard().filter((s) => s.dstPort === 40000);
  assert.equal(
    acks.map((s) => s.ack),
    [seq + 2 * MSS],
  );
  p.in('R', { seq: 1, from: 40001 });
  p.done();
});

test('new data that a held run has made room for does not wait', () => {
  const { p, seq } = settled({ groHoldUs: HOLD_US });
  p.in('.', { seq, win: 0 });
  p.write(1000);
  assert.equal(p.out(), []);
  p.m.inject(p.frame('.', { seq, len: MSS, win: 500 }));
  const [sent] = p.heard();
  assert.is(sent.payload.length, 1000);
  assert.is(sent.ack, seq + MSS);
  p.done();
});

test('a connection that ends while its run is held is not acknowledged afterwards', () => {
  const { p } = begun();
  p.m.core.abort(p.handle);
  turn(p, HOLD_US);
  const heard = p.out();
  assert.is(heard.length, 1);
  assert.match(heard[0], /^R/);
  p.done();
});

test('ACKs that come together let the next segments out as one run', () => {
  const p = new Peer({ flags: testConfig.flags | L.CFGF_TX_CSUM | L.CFGF_TX_TSO, initCwndSegments: 8 }).accept();
  p.write(60_000);
  p.out();
  const before = p.count(L.CNT_TxFrames);
  p.m.inject(...[2, 4, 6, 8].map((n) => p.frame('.', { ack: 1 + n * MSS })));
  assert.is(p.count(L.CNT_TxFrames) - before, 1);
  assert.is(p.heard().length, 16, 'eight acknowledged, two more for each ACK');
  p.done();
});

test('what arrives is the same with runs and without, and takes fewer ACKs with them', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const options = { delayUs: 500, loss: seed % 2 ? 5 : 0, reorder: seed % 3 ? 0 : 10, anyWrites: true };
    const config = { rcvBufBytes: 300_000, sndBufBytes: 300_000 };
    const once = exchange(seed, options, 150_000, config);
    const each = exchange(seed, options, 150_000, { ...config, ...OFF });
    const held = exchange(seed, options, 150_000, { ...config, groHoldUs: 600 });
    for (const wire of [once, each, held]) assert.is(total(wire, L.CNT_CopiedBytes), 0);
  }
  const quiet = { delayUs: 500 };
  const config = { rcvBufBytes: 300_000, sndBufBytes: 300_000 };
  const segments = (more = {}): number => total(exchange(1, quiet, 3e6, { ...config, ...more }), L.CNT_TcpOutSegs);
  assert.ok(segments() < segments(OFF));
});

test.run();
