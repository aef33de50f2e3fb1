// IPv4 fragments: put together, or dropped, counted and forgotten, and never more held than may be.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import * as L from '../../src/host/core/layout.js';
import { type Cut, cuts, fragment4 } from '../helpers/fragments.js';
import * as F from '../helpers/frames.js';
import { type ManualCore, manualCore, PEER_MAC } from '../helpers/manual.js';
import { random } from '../helpers/random.js';

const BIG = F.icmpEcho(Uint8Array.from({ length: 2992 }, (_, i) => (i * 7) & 255));
/** ICMP message of BIG: 3000 bytes. */
const TOTAL = 3000;

function ready(config: Parameters<typeof manualCore>[0] = {}): ManualCore {
  const manual = manualCore({ mtu: 9000, ...config });
  const { core } = manual;
  writeAddress(core.u8, core.scratch, F.PEER_IP.join('.'));
  core.u8.set(PEER_MAC, core.scratch + 16);
  core.neighSet(core.scratch, core.scratch + 16);
  return manual;
}

const count = (m: ManualCore, index: number): number => m.core.counter(index);

/** Counters of reassembly: requests, complete, failed, timed out, overlapping. */
function tally(m: ManualCore): number[] {
  return [L.CNT_IpReasmReqds, L.CNT_IpReasmOKs, L.CNT_IpReasmFails, L.CNT_IpReasmTimeout, L.CNT_IpExtReasmOverlaps].map(
    (index) => count(m, index),
  );
}

/** Nothing is held, and nothing is due. */
function done(m: ManualCore): void {
  m.take();
  assert.is(m.core.rxInUse(), 0, 'receive objects');
  assert.is(m.core.zbufInUse(), 0, 'Zbuf objects');
  assert.is(m.freeRxObjects(), m.rxObjects);
}

/** The same when time has passed. */
function expire(m: ManualCore): void {
  m.nowUs += 31e6;
  m.poll();
  done(m);
}

function same(a: Uint8Array, b: Uint8Array, what: string): void {
  assert.is(Buffer.compare(a, b), 0, what);
}

function echoed(m: ManualCore, request: Uint8Array): void {
  const frames = m.take();
  assert.is(frames.length, 1, 'one answer');
  const reply = request.slice(34);
  reply[0] = 0;
  same(frames[0].subarray(38), reply.subarray(4), 'its payload');
}

test('a datagram in fragments is one datagram, in any order', () => {
  const pieces = cuts(TOTAL, 1000).map((cut) => fragment4(BIG, 77, cut));
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [0, 2, 1],
  ]) {
    const m = ready();
    for (const i of order) m.inject(pieces[i]);
    assert.equal(tally(m), [3, 1, 0, 0, 0]);
    assert.is(count(m, L.CNT_IpInDelivers), 1);
    assert.is(count(m, L.CNT_CopiedBytes), TOTAL);
    echoed(m, BIG);
    done(m);
  }
});

test('fragments of two datagrams with one identification are told by protocol and source', () => {
  const m = ready();
  const other = F.icmpEcho(new Uint8Array(992).fill(9));
  other.set([10, 0, 0, 3], 26);
  F.fixChecksums(other);
  const udp = BIG.slice();
  udp[23] = 17;
  m.inject(fragment4(BIG, 5, { offset: 0, len: 1000 }));
  m.inject(fragment4(other, 5, { offset: 504, len: 496 }));
  m.inject(fragment4(udp, 5, { offset: 1000, len: 1000, more: true }));
  m.inject(fragment4(BIG, 5, { offset: 1000, len: 2000 }));
  echoed(m, BIG);
  assert.is(count(m, L.CNT_IpReasmOKs), 1);
  expire(m);
});

test('a TCP segment in fragments reaches its connection, its checksum taken over the whole', () => {
  const segment = F.tcpFrame({
    srcPort: 4000,
    dstPort: 9,
    seq: 1,
    ack: 7,
    flags: F.ACK,
    window: 1000,
    payload: new Uint8Array(2000).fill(5),
  });
  const m = ready();
  for (const cut of cuts(2020, 800)) m.inject(fragment4(segment, 1, cut));
  assert.is(count(m, L.CNT_TcpInSegs), 1);
  assert.is(count(m, L.CNT_TcpOutRsts), 1);
  const wrong = segment.slice();
  wrong[1500] ^= 1;
  for (const cut of cuts(2020, 800)) m.inject(fragment4(wrong, 2, cut));
  assert.is(count(m, L.CNT_TcpInCsumErrors), 1);
  assert.is(count(m, L.CNT_TcpInSegs), 1);
  done(m);
});

test('what a link says of the checksum of a fragment is not believed', () => {
  const segment = F.tcpFrame({
    srcPort: 4,
    dstPort: 9,
    seq: 1,
    ack: 7,
    flags: F.ACK,
    window: 1,
    payload: new Uint8Array(200),
  });
  segment[150] ^= 1;
  const m = ready();
  m.inject(fragment4(segment, 1, { offset: 0, len: 104 }));
  const { core } = m;
  const { u32 } = core;
  const last = fragment4(segment, 1, { offset: 104, len: 116 });
  // The last object of the pool is the last one given.
  const object = u32[L.CFG_ZONE_BASE >> 2] + (m.rxObjects - 1) * 2048;
  const rx = u32[L.CTL_RX_AT >> 2] >> 2;
  core.u8.set(last, object);
  u32.set([object, last.length, L.RXF_IP_CSUM_OK | L.RXF_L4_CSUM_OK], rx);
  core.ingest(1, m.nowUs);
  assert.is(count(m, L.CNT_TcpInCsumErrors), 1);
});

test('received data that came in fragments can be kept, read and freed', () => {
  const m = ready();
  const { core } = m;
  core.u8.fill(0, core.scratch, core.scratch + 16);
  const listener = core.listen(core.scratch, 80, 4, 0);
  const base = { srcPort: 4000, dstPort: 80, window: 65535 };
  m.inject(F.tcpFrame({ ...base, seq: 99, ack: 0, flags: F.SYN, options: Uint8Array.of(2, 4, 0x20, 0) }));
  const iss = F.parseTcp(m.take()[0])?.seq ?? 0;
  m.inject(F.tcpFrame({ ...base, seq: 100, ack: iss + 1, flags: F.ACK }));
  const handle = core.accept(listener);
  const payload = Uint8Array.from({ length: 3000 }, (_, i) => i & 255);
  const segment = F.tcpFrame({ ...base, seq: 100, ack: iss + 1, flags: F.ACK | F.PSH, payload });
  for (const cut of cuts(3020, 1400)) m.inject(fragment4(segment, 3, cut));
  assert.is(core.rxInUse(), 0, 'the fragments are free again');
  assert.is(core.recv(handle, core.scratch, 8), 1);
  const [addr, len] = core.u32.subarray(core.scratch >> 2, (core.scratch >> 2) + 2);
  same(core.u8.subarray(addr, addr + len), payload, 'the data');
  core.free(addr);
  core.abort(handle);
  core.close(listener);
  done(m);
});

test('an exact duplicate changes nothing', () => {
  const m = ready();
  const [a, b, c] = cuts(TOTAL, 1000).map((cut) => fragment4(BIG, 8, cut));
  m.inject(a, a, b, b, a, c);
  assert.equal(tally(m), [6, 1, 0, 0, 0]);
  echoed(m, BIG);
  done(m);
});

const overlapping: [string, Cut[], ((bytes: Uint8Array, i: number) => void)?][] = [
  [
    'the end of another',
    [
      { offset: 0, len: 1000 },
      { offset: 992, len: 1000 },
    ],
  ],
  [
    'the beginning of another',
    [
      { offset: 1000, len: 1000 },
      { offset: 8, len: 1000 },
    ],
  ],
  [
    'all of another',
    [
      { offset: 1000, len: 8 },
      { offset: 0, len: 2000 },
    ],
  ],
  [
    'a part of another',
    [
      { offset: 0, len: 2000 },
      { offset: 1000, len: 8 },
    ],
  ],
  [
    'the same with less',
    [
      { offset: 0, len: 1000 },
      { offset: 0, len: 800 },
    ],
  ],
  [
    'a duplicate that ends the datagram',
    [
      { offset: 1000, len: 1000 },
      { offset: 1000, len: 1000, more: false },
    ],
  ],
  [
    'a duplicate with other bytes',
    [
      { offset: 0, len: 1000 },
      { offset: 0, len: 1000 },
    ],
    (bytes, i) => {
      bytes[900] ^= i;
    },
  ],
];

for (const [name, list, change] of overlapping) {
  test(`a fragment that overlaps another ends the datagram: ${name}`, () => {
    const m = ready();
    list.forEach((cut, i) => {
      const bytes = fragment4(BIG, 8, cut);
      change?.(bytes, i);
      m.inject(bytes);
    });
    assert.equal(tally(m), [2, 0, 1, 0, 1]);
    assert.is(m.core.rxInUse(), 0, 'it is forgotten at once');
    done(m);
  });
}

const contradicting: [string, Cut[]][] = [
  [
    'two ends',
    [
      { offset: 2000, len: 1000 },
      { offset: 1000, len: 1000, more: false },
    ],
  ],
  [
    'something behind the end',
    [
      { offset: 1000, len: 1000, more: false },
      { offset: 2000, len: 800 },
    ],
  ],
  [
    'an end before what is there',
    [
      { offset: 2000, len: 800 },
      { offset: 1000, len: 504, more: false },
    ],
  ],
];

for (const [name, list] of contradicting) {
  test(`fragments that contradict each other end the datagram: ${name}`, () => {
    const m = ready();
    for (const cut of list) m.inject(fragment4(BIG, 8, cut));
    assert.equal(tally(m), [2, 0, 1, 0, 0]);
    done(m);
  });
}

const impossible: [string, Uint8Array][] = [
  ['nothing in it', fragment4(BIG, 1, { offset: 800, len: 0 })],
  ['a length that is not a multiple of 8', fragment4(BIG, 1, { offset: 0, len: 1001 })],
  ['an end beyond 65535', fragment4(BIG, 1, { offset: 65528, len: 8, more: false })],
  ['an end just beyond 65535', fragment4(BIG, 1, { offset: 65504, len: 12, more: false })],
];

for (const [name, frame] of impossible) {
  test(`dropped and counted: a fragment with ${name}`, () => {
    const m = ready();
    m.inject(frame);
    assert.equal(tally(m), [1, 0, 1, 0, 0]);
    assert.is(m.take().length, 0);
    done(m);
  });
}

test('a first fragment must hold the whole header of its protocol (RFC 1858, RFC 3128)', () => {
  const options = new Uint8Array(12);
  const tcp = F.tcpFrame({ srcPort: 1, dstPort: 9, seq: 1, ack: 0, flags: F.SYN, window: 1, options, payload: BIG });
  const udp = BIG.slice();
  udp[23] = 17;
  for (const [frame, least] of [
    [tcp, 32],
    [udp, 8],
    [BIG, 8],
  ] as [Uint8Array, number][]) {
    const m = ready();
    for (let len = 8; len < least; len += 8) m.inject(fragment4(frame, 1, { offset: 0, len }));
    assert.is(m.core.rxInUse(), 0);
    assert.is(count(m, L.CNT_IpReasmFails), least / 8 - 1);
    m.inject(fragment4(frame, 1, { offset: 0, len: least }));
    assert.is(m.core.rxInUse(), 1);
    // Nothing may lie over it.
    m.inject(fragment4(frame, 1, { offset: 8, len: 24 }));
    assert.is(m.core.rxInUse(), least > 8 ? 0 : 2);
    expire(m);
  }
});

test('65535 bytes are a datagram', () => {
  const m = ready({ zones: 20, rxZones: 2, mtu: 65535, reasmObjects: 64 });
  const echo = F.icmpEcho(new Uint8Array(65535 - 28).fill(3));
  for (const cut of cuts(65515, 1480)) m.inject(fragment4(echo, 1, cut));
  assert.is(count(m, L.CNT_IpReasmOKs), 1);
  assert.is(count(m, L.CNT_IcmpOutEchoReps), 1);
  done(m);
});

test('headers of the first fragment count, and with them it may be too long', () => {
  const m = ready();
  const echo = F.icmpEcho(new Uint8Array(4));
  const optioned = new Uint8Array(34 + 4 + 2000);
  optioned.set(echo.subarray(0, 34));
  optioned.fill(1, 34, 38);
  optioned.set(echo.subarray(34), 38);
  optioned[14] = 0x46;
  const list = cuts(65512 - 504, 1504);
  for (const cut of list) m.inject(fragment4(cut.offset === 0 ? optioned : BIG, 1, { ...cut, more: true }));
  assert.is(m.core.rxInUse(), list.length);
  m.inject(fragment4(BIG, 1, { offset: 65008, len: 507, more: false }));
  assert.is(count(m, L.CNT_IpReasmFails), 1);
  done(m);
});

test('no object for the whole: it is lost and counted', () => {
  const m = ready();
  const { core } = m;
  const all: number[] = [];
  for (let at = core.alloc(65536); at !== 0; at = core.alloc(65536)) all.push(at);
  for (let at = core.alloc(4096); at !== 0; at = core.alloc(4096)) all.push(at);
  for (const cut of cuts(TOTAL, 1000)) m.inject(fragment4(BIG, 1, cut));
  assert.equal(tally(m), [3, 0, 1, 0, 0]);
  for (const at of all) core.free(at);
  done(m);
});

test('time is over: forgotten after 30 s, and its sender told if the first fragment is there', () => {
  const m = ready();
  m.inject(fragment4(BIG, 1, { offset: 0, len: 1000 }));
  m.nowUs += 29.9e6;
  m.inject(fragment4(BIG, 1, { offset: 1000, len: 1000 }));
  m.poll();
  assert.is(m.core.rxInUse(), 2);
  m.nowUs += 0.2e6;
  m.poll();
  assert.equal(tally(m), [2, 0, 1, 1, 0]);
  const [error, ...others] = m.take();
  assert.is(others.length, 0);
  assert.equal([...error.subarray(34, 36)], [11, 1], 'time exceeded, fragment reassembly');
  assert.equal([...error.subarray(30, 34)], [...F.PEER_IP]);
  const copy = error.slice();
  F.fixChecksums(copy);
  same(copy, error, 'its checksums');
  assert.is(error.length, 14 + 576);
  same(error.subarray(42), fragment4(BIG, 1, { offset: 0, len: 1000 }).subarray(14, 14 + 548), 'quotes it');
  assert.is(count(m, L.CNT_IcmpOutTimeExcds), 1);
  done(m);
});

test('time is over: nobody is told without the first fragment, or when the kernel does ICMP', () => {
  for (const [cut, flags] of [
    [{ offset: 1000, len: 1000 }, L.CFGF_ARP | L.CFGF_ICMP_ECHO],
    [{ offset: 0, len: 1000 }, L.CFGF_ARP],
  ] as [Cut, number][]) {
    const m = ready({ flags });
    m.inject(fragment4(BIG, 1, cut));
    m.nowUs += 31e6;
    m.poll();
    assert.is(count(m, L.CNT_IpReasmTimeout), 1);
    assert.is(m.take().length, 0);
    done(m);
  }
});

test('errors about fragments are limited in number', () => {
  const m = ready();
  for (let id = 0; id < 30; id++) m.inject(fragment4(BIG, id, { offset: 0, len: 1000 }));
  m.nowUs += 31e6;
  m.poll();
  assert.is(m.take().length, 10);
  assert.is(count(m, L.CNT_IpReasmTimeout), 30);
  done(m);
});

test('congestion marks are combined (RFC 3168 §5.3)', () => {
  const segment = F.tcpFrame({
    srcPort: 4,
    dstPort: 9,
    seq: 1,
    ack: 7,
    flags: F.ACK,
    window: 1,
    payload: new Uint8Array(200),
  });
  const marked = (fields: number[]): [number, number] => {
    const m = ready();
    cuts(220, 80).forEach((cut, i) => {
      const bytes = segment.slice();
      bytes[15] = fields[i];
      m.inject(fragment4(bytes, 1, cut));
    });
    done(m);
    return [count(m, L.CNT_IpReasmOKs) - count(m, L.CNT_IpReasmFails), count(m, L.CNT_TcpInSegs)];
  };
  assert.equal(marked([2, 2, 2]), [1, 1]);
  assert.equal(marked([0, 0, 0]), [1, 1]);
  assert.equal(marked([2, 3, 2]), [1, 1]);
  assert.equal(marked([1, 2, 1]), [1, 1]);
  // Marked, and not capable: lost.
  assert.equal(marked([0, 3, 0]), [0, 0]);
  assert.equal(marked([3, 3, 0]), [0, 0]);
});

// ---- floods ----

/** A fragment that nobody completes, from a source of its own. */
function orphan(source: number, id: number, cut: Cut): Uint8Array {
  const frame = BIG.slice();
  frame.set([10, 0, 1 + (source >> 8), source & 255], 26);
  return fragment4(frame, id, cut);
}

test('a flood holds no more than may be held, and a datagram gets through it', () => {
  for (const sources of [1, 40_000]) {
    const m = ready({ reasmDatagrams: 64, reasmObjects: 96 });
    const own = cuts(TOTAL, 1000);
    for (let i = 0; i < 4000; i++) {
      m.inject(orphan(i % sources, i & 0xffff, { offset: 1000, len: 1000, more: true }));
      assert.ok(m.core.rxInUse() <= 96);
      // Its fragments come within 30 of the flood's.
      if (i % 200 < 30 && i % 10 === 0) m.inject(fragment4(BIG, i / 200, own[(i % 200) / 10]));
      m.nowUs += 100;
    }
    assert.is(m.take().length, 20, `${sources} sources`);
    assert.is(count(m, L.CNT_IpReasmOKs), 20);
    expire(m);
  }
});

test('one source that holds more than its share makes room for itself; the others stay', () => {
  const m = ready({ reasmDatagrams: 16 });
  m.inject(fragment4(BIG, 1, { offset: 0, len: 1000 }));
  for (let id = 0; id < 1000; id++) m.inject(orphan(9, id, { offset: 0, len: 1000 }));
  m.inject(fragment4(BIG, 1, { offset: 1000, len: 2000 }));
  echoed(m, BIG);
  expire(m);
});

test('bytes are bounded, and so are the fragments of one datagram', () => {
  const m = ready({ reasmBytes: 10_000 });
  for (let id = 0; id < 50; id++) m.inject(orphan(id, 1, { offset: 0, len: 1000 }));
  assert.is(m.core.rxInUse(), 10);
  expire(m);
  const one = ready({ zones: 20, rxZones: 8 });
  for (let i = 0; i < 129; i++) one.inject(fragment4(BIG, 1, { offset: 1000 + i * 8, len: 8, more: true }));
  assert.is(one.core.rxInUse(), 0);
  assert.is(count(one, L.CNT_IpReasmFails), 1);
  done(one);
});

test('fragments never hold more than an eighth of the receive objects', () => {
  const m = ready({ reasmObjects: 100_000, reasmDatagrams: 4096 });
  for (let id = 0; id < 600; id++) m.inject(orphan(id, 1, { offset: 0, len: 1000 }));
  assert.is(m.core.rxInUse(), m.rxObjects >> 3);
  expire(m);
});

test('reassembly can be switched off', () => {
  const m = ready({ reasmDatagrams: 0 });
  for (const cut of cuts(TOTAL, 1000)) m.inject(fragment4(BIG, 1, cut));
  assert.equal(tally(m), [3, 0, 3, 0, 0]);
  done(m);
});

test('random overlaps, offsets and identifications: nothing is held in the end', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const r = random(seed);
    const m = ready({ reasmDatagrams: r.pick([1, 4, 64]), reasmObjects: r.pick([1, 8, 64]) });
    for (let i = 0; i < 600; i++) {
      const cut = {
        offset: r.pick([0, 8, 1000, 8 * r.below(8192)]),
        len: r.pick([8, 1000, r.below(1500)]),
        more: !r.oneIn(4),
      };
      m.inject(orphan(r.below(3), r.below(4), cut));
      m.nowUs += r.pick([1, 1000, r.oneIn(100) ? 31e6 : 10]);
      if (r.oneIn(10)) m.poll();
    }
    expire(m);
  }
});

test.run();
