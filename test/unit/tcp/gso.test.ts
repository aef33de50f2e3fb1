// Late segmentation: in the core (run.ts), and by the link (gso.ts, TXF_TSO). The wire sees the same bytes whoever does it.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { type ExchangeOptions, exchange, total } from '../../helpers/exchange.js';
import { testConfig } from '../../helpers/manual.js';
import { MSS, mss, Peer, sackPermitted, timestamps } from '../../helpers/peer.js';
import { random } from '../../helpers/random.js';
import { IPV4_ADDRESSES, IPV6_ADDRESSES } from '../../helpers/wire.js';

const SEEDS = Number(process.env.LUNET_WIRE_SEEDS ?? 6);
const TSO = L.CFGF_TX_CSUM | L.CFGF_TX_TSO;

/** Every frame of an exchange, and the cores' counters afterwards. */
function frames(
  seed: number,
  options: ExchangeOptions,
  config: Partial<CoreConfig>,
): [string[], Record<string, bigint>] {
  const list: string[] = [];
  const sees = (from: number, frame: Uint8Array): void => {
    list.push(`${from} ${Buffer.from(frame).toString('hex')}`);
  };
  const wire = exchange(seed, { ...options, sees }, 60_000, config);
  return [list, wire.ends[0].core.counters()];
}

/** Anything a wire and two configurations may be. */
function scenario(seed: number, v6: boolean): [ExchangeOptions, Partial<CoreConfig>] {
  const r = random(seed);
  const flag = (bit: number): number => (r.oneIn(2) ? 0 : bit);
  return [
    {
      addresses: v6 ? IPV6_ADDRESSES : IPV4_ADDRESSES,
      anyWrites: true,
      delayUs: r.pick([50, 1000, 20_000]),
      loss: r.pick([0, 0, 10, 40]),
      reorder: r.pick([0, 0, 30]),
      corrupt: r.pick([0, 10]),
    },
    {
      congestion: r.pick([L.CC_RENO, L.CC_CUBIC, L.CC_DCTCP]),
      flags:
        L.CFGF_ARP |
        L.CFGF_ICMP_ECHO |
        flag(L.CFGF_TIMESTAMPS) |
        flag(L.CFGF_SACK) |
        flag(L.CFGF_WINDOW_SCALE) |
        flag(L.CFGF_NO_GRO),
      tcpFlags: flag(L.CFGF_TLP) | flag(L.CFGF_ECN_REQUEST) | L.CFGF_ECN_ACCEPT | flag(L.CFGF_LINUX_CWND),
      rcvBufBytes: r.pick([65536, 300_000]),
      mtu: r.pick([1500, 1500, 1280, 2000]),
    },
  ];
}

function same(
  seed: number,
  v6: boolean,
  flags: number,
  other: number,
  harm: Partial<ExchangeOptions> = {},
): Record<string, bigint>[] {
  const [any, config] = scenario(seed, v6);
  const options = { ...any, ...harm };
  const plain = config.flags ?? 0;
  const [late, lateCounters] = frames(seed, options, { ...config, flags: plain | flags });
  const [each, eachCounters] = frames(seed, options, { ...config, flags: plain | other });
  const name = `seed ${seed}${v6 ? ', IPv6' : ''}`;
  const differs = late.findIndex((frame, i) => frame !== each[i]);
  assert.is(differs, -1, `${name}: frame ${differs}:\n${late[differs]}\n${each[differs]}`);
  assert.is(late.length, each.length, name);
  return [lateCounters, eachCounters];
}

test('headers copied are headers built, byte by byte, and everything is counted the same', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    for (const v6 of [false, true]) {
      const [late, each] = same(seed, v6, 0, L.CFGF_NO_GSO);
      assert.equal(late, each, `seed ${seed}`);
    }
  }
});

test('with checksums left to the link, or to nobody', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    same(seed, false, L.CFGF_TX_CSUM, L.CFGF_NO_GSO);
    const none = L.CFGF_TX_NO_CSUM | L.CFGF_RX_TRUST;
    same(seed, seed % 2 === 0, none, none | L.CFGF_NO_GSO, { corrupt: 0 });
  }
});

test('a link that cuts frames itself puts the same segments on the wire', () => {
  let frames = 0n;
  let segments = 0n;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const [counters] = same(seed, false, TSO, 0);
    frames += counters.TxFrames;
    segments += counters.TcpOutSegs;
    same(seed, true, TSO, 0);
  }
  assert.ok(frames < segments, `${frames} frames for ${segments} segments`);
});

test('a transmit ring that is nearly full, with and without a link that cuts', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    for (const flags of [0, TSO]) {
      exchange(seed, { delayUs: 300, loss: 10, anyWrites: true }, 60_000, {
        txRing: flags ? 64 : 16,
        segmentRecords: 64,
        flags: testConfig.flags | flags,
      });
    }
  }
});

// ---- what is in a frame for the link to cut ----

interface Sent {
  flags: number;
  mss: number;
  pieces: number;
  bytes: number;
}

/** Frames in the transmit ring as the link finds them. */
function ring(p: Peer): Sent[] {
  const { u32 } = p.m.core;
  const at = u32[L.CTL_TX_AT >> 2] >> 2;
  const mask = u32[L.CTL_TX_SIZE >> 2] - 1;
  const sent: Sent[] = [];
  for (let i = u32[L.CTL_TX_TAIL >> 2]; i !== u32[L.CTL_TX_HEAD >> 2]; i++) {
    const entry = at + 4 * (i & mask);
    const flags = u32[entry + 2];
    if (flags & L.TXF_START) sent.push({ flags: flags & 0xffff, mss: flags >>> 16, pieces: -1, bytes: 0 });
    const frame = sent[sent.length - 1];
    frame.pieces++;
    if (!(flags & L.TXF_START)) frame.bytes += u32[entry + 1];
  }
  return sent;
}

const WHOLE = L.TXF_START | L.TXF_TCP_CSUM;
const CUT = WHOLE | L.TXF_TSO;
const taking = (more: Partial<CoreConfig> = {}): Partial<CoreConfig> => ({
  flags: testConfig.flags | TSO,
  initCwndSegments: 100,
  ...more,
});

/** Queues writes of these sizes and lets them out together. */
function queue(p: Peer, ...sizes: number[]): void {
  const { core } = p.m;
  const addr = core.alloc(65_536);
  for (const size of sizes) assert.ok(core.send(p.handle, addr, size) > 0);
  core.free(addr);
  core.flush(p.m.nowUs);
}

test('a large write is one frame of one piece, with its last segment shorter than the others', () => {
  const p = new Peer(taking()).accept();
  p.write(10_000);
  assert.equal(ring(p), [{ flags: CUT, mss: MSS, pieces: 1, bytes: 10_000 }]);
  assert.equal(p.out().slice(-2), ['. 7301:8761 ack 1', 'P. 8761:10001 ack 1']);
  p.in('.', { ack: 10_001 });
  assert.is(p.m.core.zbufInUse(), 0);
  p.done();
});

test('what is one segment anyway is not cut', () => {
  const p = new Peer(taking()).accept();
  p.write(MSS);
  assert.equal(ring(p), [{ flags: WHOLE, mss: 0, pieces: 1, bytes: MSS }]);
  p.done();
});

test('a frame holds no more than an IPv4 packet can', () => {
  const p = new Peer(taking({ rcvBufBytes: 1 << 20 }));
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), 1, 3, 3, 7] });
  p.out();
  p.in('.', { win: 4096 });
  p.handle = p.m.core.accept(p.listener);
  queue(p, 65_536, 20_000);
  const [first, second, ...rest] = ring(p);
  assert.equal(rest, []);
  assert.is(first.bytes % MSS, 0);
  assert.ok(first.bytes + 40 <= 65_535 && first.bytes + MSS + 40 > 65_535, `${first.bytes}`);
  assert.is(first.bytes + second.bytes, 85_536);
  p.done();
});

test('many pieces: a frame has at most 17, each of which continues where it can', () => {
  const p = new Peer(taking()).accept();
  queue(p, ...new Array<number>(40).fill(MSS / 2));
  const frames = ring(p);
  assert.ok(frames.every(({ pieces }) => pieces < L.TX_TSO_MAX_SEGS));
  assert.is(frames[0].pieces, 16, 'two to a segment');
  assert.is(
    frames.reduce((sum, { bytes }) => sum + bytes, 0),
    (40 * MSS) / 2,
  );
  p.done();
});

test('a frame is cut into 64 segments at most', () => {
  const p = new Peer(taking()).accept(mss(536));
  p.write(40_000);
  assert.equal(
    ring(p).map(({ bytes }) => bytes),
    [536 * L.TX_TSO_MAX_CUTS, 40_000 - 536 * L.TX_TSO_MAX_CUTS],
  );
  p.done();
});

test('a lost segment of a frame is sent again alone', () => {
  const p = new Peer(taking()).accept([...mss(MSS), ...sackPermitted()]);
  p.write(10 * MSS);
  assert.is(ring(p).length, 1);
  p.out();
  const block = (from: number, to: number): number[] => {
    const edge = (seq: number): number[] => [24, 16, 8, 0].map((shift) => ((p.iss + seq) >>> shift) & 255);
    return [1, 1, 5, 10, ...edge(from), ...edge(to)];
  };
  p.pass(10_000);
  p.in('.', { options: block(1 + MSS, 1 + 10 * MSS) });
  assert.equal(ring(p), [{ flags: WHOLE, mss: 0, pieces: 1, bytes: MSS }]);
  assert.equal(p.out(), [`. 1:${1 + MSS} ack 1`]);
  assert.is(p.count(L.CNT_TcpRetransSegs), 1);
  p.done();
});

test('PSH ends a frame, so that it stays where it was', () => {
  const p = new Peer(taking()).accept();
  const { core } = p.m;
  const addr = core.alloc(8 * MSS);
  core.u8.fill(7, addr, addr + 8 * MSS);
  assert.ok(core.sendWith(p.handle, addr, 4 * MSS, L.SEND_PUSH) > 0);
  assert.ok(core.sendWith(p.handle, addr + 4 * MSS, 4 * MSS, 0) > 0);
  core.free(addr);
  core.flush(p.m.nowUs);
  const pushed = p.heard().map(({ flags }) => flags);
  assert.equal(pushed, ['.', '.', '.', 'P.', '.', '.', '.', 'P.']);
  p.done();
});

test('SACK blocks, urgent data and a MAC that is not known go the ordinary way', () => {
  const p = new Peer(taking()).accept([...mss(MSS), ...sackPermitted(), ...timestamps(1, 0)]);
  p.in('.', { seq: 1001, len: 10, options: timestamps(2, 0) });
  p.out();
  p.write(4 * MSS);
  assert.ok(ring(p).every(({ flags }) => flags === WHOLE));
  p.out();
  const q = new Peer(taking()).accept();
  q.m.core.neighDel(q.address([10, 0, 0, 2]));
  q.write(10 * MSS);
  assert.ok(ring(q).every(({ flags }) => !(flags & L.TXF_TSO)));
  p.done();
  q.done();
});

test('a ring too small for a frame to be cut is refused', () => {
  assert.throws(() => new Peer(taking({ txRing: 16 })), /ERR_LUNET_CORE|EINVAL|22/);
});

test('the exchange counts nothing twice', () => {
  const wire = exchange(3, { delayUs: 500 }, 100_000, { flags: testConfig.flags | TSO });
  assert.is(total(wire, L.CNT_TcpRetransSegs), 0);
  assert.is(total(wire, L.CNT_TcpOutSegs), total(wire, L.CNT_TcpInSegs));
});

test.run();
