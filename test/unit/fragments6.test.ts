// IPv6 fragments (RFC 8200 §4.5): put together, or dropped, counted, and their sender told.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import * as L from '../../src/host/core/layout.js';
import { type Cut, cuts, fragment6 } from '../helpers/fragments.js';
import { frame6, icmp6, OWN_IP6, type Packet6, type Parsed6, PEER_IP6, parse6, tcp6 } from '../helpers/frames6.js';
import { type ManualCore, manualCore, PEER_MAC } from '../helpers/manual.js';

const PADN = [1, 4, 0, 0, 0, 0];
const GROUP = { dst: 'ff02::1', mac: [0x33, 0x33, 0, 0, 0, 1] };

function ready(config: Parameters<typeof manualCore>[0] = {}): ManualCore {
  const m = manualCore({ mtu: 9000, ...config }, undefined, OWN_IP6, 64);
  const { core } = m;
  writeAddress(core.u8, core.scratch, PEER_IP6);
  core.u8.set(PEER_MAC, core.scratch + 16);
  core.neighSet(core.scratch, core.scratch + 16);
  return m;
}

/** An echo request of 2,000 bytes; extensions stay with what is fragmented unless told otherwise. */
function echo(more: Partial<Packet6> = {}): Uint8Array {
  const data = Uint8Array.from({ length: 1992 }, (_, i) => (i * 5) & 255);
  return frame6({ next: 58, payload: icmp6(128, 0, 0x00010002, data), ...more });
}

const out = (m: ManualCore): Parsed6[] => m.take().map((frame) => parse6(frame) as Parsed6);

/** Counters of reassembly: requests, complete, failed, timed out, overlapping. */
function tally({ core }: ManualCore): number[] {
  return [
    L.CNT_Ip6ReasmReqds,
    L.CNT_Ip6ReasmOKs,
    L.CNT_Ip6ReasmFails,
    L.CNT_Ip6ReasmTimeout,
    L.CNT_Ip6ReasmOverlaps,
  ].map((index) => core.counter(index));
}

function done(m: ManualCore): void {
  m.take();
  assert.is(m.core.rxInUse(), 0, 'receive objects');
  assert.is(m.core.zbufInUse(), 0, 'Zbuf objects');
}

function expire(m: ManualCore): void {
  m.nowUs += 61e6;
  m.poll();
  done(m);
}

test('a datagram in fragments is one datagram, in any order, with headers before and behind the fragment header', () => {
  for (const [extensions, unfragmentable] of [
    [[], 0],
    [[[60, PADN]], 0],
    [[[0, PADN]], 8],
    [
      [
        [0, PADN],
        [60, PADN],
        [60, PADN],
      ],
      16,
    ],
  ] as [[number, number[]][], number][]) {
    const frame = echo({ extensions });
    const pieces = cuts(frame.length - 54 - unfragmentable, 800).map((cut) => fragment6(frame, 7, cut, unfragmentable));
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
    ]) {
      const m = ready();
      for (const i of order) m.inject(pieces[i]);
      assert.equal(tally(m), [3, 1, 0, 0, 0]);
      const [answer, ...others] = out(m);
      assert.is(others.length, 0);
      assert.is(answer.payload[0], 129);
      assert.ok(answer.sumFine);
      assert.equal(answer.payload.subarray(4), frame.subarray(frame.length - 1996));
      done(m);
    }
  }
});

test('datagrams are told by source, destination and identification, not by what the fragments say of the protocol', () => {
  const m = ready();
  const frame = echo();
  const [a, b] = cuts(2000, 1000).map((cut) => fragment6(frame, 7, cut));
  // Only the next header of the first fragment counts.
  b[54] = 6;
  m.inject(fragment6(frame, 8, { offset: 1000, len: 1000 }));
  m.inject(fragment6(echo({ src: 'fd00::9' }), 7, { offset: 1000, len: 1000 }));
  m.inject(fragment6(echo(GROUP), 7, { offset: 1000, len: 1000 }));
  m.inject(b, a);
  assert.is(out(m).length, 1);
  assert.is(tally(m)[1], 1);
  expire(m);
});

test('an atomic fragment is a packet of its own beside fragments with its identification (RFC 6946)', () => {
  const m = ready();
  m.inject(fragment6(echo(), 7, { offset: 0, len: 1000 }));
  const small = frame6({ next: 58, payload: icmp6(128, 0, 9, new Uint8Array(100)) });
  m.inject(fragment6(small, 7, { offset: 0, len: 108 }));
  assert.is(out(m).length, 1);
  m.inject(fragment6(echo(), 7, { offset: 1000, len: 1000 }));
  assert.is(out(m).length, 1);
  assert.equal(tally(m), [3, 2, 0, 0, 0]);
  done(m);
});

test('overlapping fragments: all that has come is dropped, without a word; an exact duplicate is not one (RFC 5722)', () => {
  for (const [first, second] of [
    [
      { offset: 0, len: 1000 },
      { offset: 992, len: 1008 },
    ],
    [
      { offset: 1000, len: 1000 },
      { offset: 0, len: 1008 },
    ],
  ] as [Cut, Cut][]) {
    const m = ready();
    m.inject(fragment6(echo(), 7, first), fragment6(echo(), 7, second));
    assert.equal(tally(m), [2, 0, 1, 0, 1]);
    assert.equal(out(m), []);
    done(m);
  }
  const m = ready();
  const [a, b] = cuts(2000, 1000).map((cut) => fragment6(echo(), 7, cut));
  m.inject(a, a, b);
  assert.is(out(m).length, 1);
  assert.equal(tally(m), [3, 1, 0, 0, 0]);
  done(m);
});

/** Type, code and word of the error that a fragment is answered with. */
function answerTo(frame: Uint8Array): number[] | null {
  const m = ready();
  m.inject(frame);
  assert.equal(tally(m), [1, 0, 1, 0, 0]);
  const [answer] = out(m);
  done(m);
  if (!answer) return null;
  assert.ok(answer.sumFine);
  assert.equal(answer.payload.slice(8), frame.slice(14, 14 + answer.payload.length - 8), 'quotes the packet');
  return [
    answer.payload[0],
    answer.payload[1],
    new DataView(answer.payload.buffer, answer.payload.byteOffset).getUint32(4),
  ];
}

test('parameter problems: a length that is no multiple of 8, an end beyond 65535, headers that go on (RFC 8200 §4.5)', () => {
  assert.equal(answerTo(fragment6(echo(), 7, { offset: 0, len: 1001 })), [4, 0, 4]);
  assert.equal(answerTo(fragment6(echo(), 7, { offset: 65528, len: 8, more: false })), [4, 0, 42]);
  const optioned = echo({ extensions: [[0, PADN]] });
  assert.equal(answerTo(fragment6(optioned, 7, { offset: 65520, len: 8, more: false }, 8)), [4, 0, 50]);
  const tcp = frame6({ next: 6, payload: tcp6({ srcPort: 1, dstPort: 2, seq: 3, flags: 2, options: [1, 1, 1, 1] }) });
  assert.equal(answerTo(fragment6(tcp, 7, { offset: 0, len: 16 })), [4, 3, 0]);
  const chain = echo({ extensions: [[60, [...PADN, 1, 6, 0, 0, 0, 0, 0, 0]]] });
  assert.equal(answerTo(fragment6(chain, 7, { offset: 0, len: 8 })), [4, 3, 0]);
  assert.equal(answerTo(fragment6(chain, 7, { offset: 0, len: 16 })), [4, 3, 0]);
  // Never about what went to a group.
  assert.is(answerTo(fragment6(echo(GROUP), 7, { offset: 0, len: 1001 })), null);
});

test('a fragment without payload, and one header within another, are dropped', () => {
  assert.is(answerTo(fragment6(echo(), 7, { offset: 800, len: 0 })), null);
  const m = ready();
  const nested = fragment6(echo(), 9, { offset: 0, len: 2000, more: true });
  nested[54 + 3] |= 1;
  for (const cut of cuts(2008, 1000)) m.inject(fragment6(nested, 7, cut));
  assert.is(tally(m)[1], 1);
  assert.is(m.core.counter(L.CNT_Ip6InHdrErrors), 1);
  assert.equal(out(m), []);
  done(m);
});

test('options behind the fragment header are looked at when the datagram is whole', () => {
  const m = ready();
  const frame = echo({ extensions: [[60, [0x80, 4, 0, 0, 0, 0]]] });
  const [a, b] = cuts(2008, 1000).map((cut) => fragment6(frame, 7, cut));
  m.inject(a);
  assert.equal(out(m), []);
  m.inject(b, fragment6(frame, 7, { offset: 2000, len: 8 }));
  const [answer] = out(m);
  assert.equal([answer.payload[0], answer.payload[1]], [4, 2]);
  done(m);
});

test('time is over after 60 s: the sender is told, if the first fragment is there and it went to us alone', () => {
  for (const [frame, told] of [
    [fragment6(echo(), 7, { offset: 0, len: 1000 }), 1],
    [fragment6(echo(), 7, { offset: 1000, len: 1000 }), 0],
    [fragment6(echo(GROUP), 7, { offset: 0, len: 1000 }), 0],
  ] as [Uint8Array, number][]) {
    const m = ready();
    m.inject(frame);
    m.nowUs += 59.9e6;
    m.poll();
    assert.is(m.core.rxInUse(), 1);
    m.nowUs += 0.2e6;
    m.poll();
    assert.equal(tally(m), [1, 0, 1, 1, 0]);
    const answers = out(m);
    assert.is(answers.length, told);
    for (const { payload, sumFine } of answers) {
      assert.equal([...payload.subarray(0, 2)], [3, 1]);
      assert.ok(sumFine);
      assert.equal(payload.slice(8), frame.slice(14, 14 + payload.length - 8));
    }
    assert.is(m.core.counter(L.CNT_Icmp6OutTimeExcds), told);
    done(m);
  }
});

test('congestion marks are combined (RFC 3168 §5.3)', () => {
  const marked = (fields: number[]): number => {
    const m = ready();
    const tcp = tcp6({ srcPort: 1, dstPort: 2, seq: 3, flags: 16, payload: new Uint8Array(200) });
    cuts(220, 80).forEach((cut, i) => {
      m.inject(fragment6(frame6({ next: 6, payload: tcp, trafficClass: fields[i] }), 7, cut));
    });
    done(m);
    return m.core.counter(L.CNT_TcpInSegs);
  };
  assert.is(marked([2, 3, 2]), 1);
  assert.is(marked([0, 0, 0]), 1);
  assert.is(marked([0, 3, 0]), 0);
});

test('the longest datagram has 65535 bytes behind the fixed header, as far as an object holds it', () => {
  const m = ready({ zones: 20, rxZones: 2, mtu: 65535 });
  const send = (bytes: number): void => {
    const frame = frame6({ next: 58, payload: icmp6(128, 0, 7, new Uint8Array(bytes - 8).fill(4)) });
    for (const cut of cuts(bytes, 1440)) m.inject(fragment6(frame, bytes, cut));
    done(m);
  };
  send(65496);
  assert.equal(tally(m).slice(1, 3), [1, 0]);
  assert.is(m.core.counter(L.CNT_Icmp6InEchos), 1);
  send(65497);
  assert.equal(tally(m).slice(1, 3), [1, 1]);
});

test.run();
