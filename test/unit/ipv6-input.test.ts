// IPv6 in: the fixed header, extension headers, ICMPv6, neighbour discovery. RFC 8200, 4443, 4861, 5095, 6946.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import type { CoreConfig } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import { ACK, RST, SYN } from '../helpers/frames.js';
import {
  address6,
  fixChecksum6,
  frame6,
  ICMPV6_PROTO,
  icmp6,
  OWN_IP6,
  type Packet6,
  type Parsed6,
  PEER_IP6,
  parse6,
  TCP_PROTO,
  tcp6,
} from '../helpers/frames6.js';
import { type ManualCore, manualCore, OWN_MAC, PEER_MAC } from '../helpers/manual.js';

function ready(config: Partial<CoreConfig> = {}): ManualCore {
  const manual = manualCore(config);
  const { core } = manual;
  writeAddress(core.u8, core.scratch, OWN_IP6);
  assert.is(core.addressAdd(core.scratch, 64), 0);
  writeAddress(core.u8, core.scratch, PEER_IP6);
  core.u8.set(PEER_MAC, core.scratch + 16);
  core.neighSet(core.scratch, core.scratch + 16);
  return manual;
}

function out(manual: ManualCore): Parsed6[] {
  return manual
    .take()
    .map((frame) => parse6(frame))
    .filter((packet): packet is Parsed6 => packet !== null);
}

function changes(manual: ManualCore, frame: Uint8Array): Record<string, number> {
  const before = manual.core.counters();
  manual.inject(frame);
  const after = manual.core.counters();
  const result: Record<string, number> = {};
  for (const name of Object.keys(after)) {
    if (!/^(Rx|Tx|Zbuf)/.test(name) && after[name] !== before[name]) result[name] = Number(after[name] - before[name]);
  }
  return result;
}

const syn = tcp6({ srcPort: 4000, dstPort: 9, seq: 1, flags: SYN });
const tcp = (o: Partial<Packet6> = {}): Uint8Array => frame6({ next: TCP_PROTO, payload: syn, ...o });
const message = (payload: Uint8Array, o: Partial<Packet6> = {}): Uint8Array =>
  frame6({ next: ICMPV6_PROTO, payload, ...o });

test('a SYN to a closed port is reset, over IPv6', () => {
  const manual = ready();
  manual.inject(tcp());
  const [reset] = out(manual);
  assert.is(reset.next, TCP_PROTO);
  assert.equal(reset.src, address6(OWN_IP6));
  assert.equal(reset.dst, address6(PEER_IP6));
  assert.is(reset.hopLimit, 64);
  assert.ok(reset.sumFine);
  assert.is(reset.payload[13], RST | ACK);
  manual.inject(tcp({ payload: tcp6({ srcPort: 4000, dstPort: 9, seq: 1, flags: RST }) }));
  assert.equal(out(manual), [], 'a reset is not answered');
});

function altered(frame: Uint8Array, list: [number, number][]): Uint8Array {
  const copy = frame.slice();
  for (const [at, value] of list) copy[at] = value;
  return copy;
}

const dropped: [string, Uint8Array, Record<string, number>][] = [
  ['no header', tcp().slice(0, 14), { Ip6InReceives: 1, Ip6InTruncatedPkts: 1 }],
  ['a cut header', tcp().slice(0, 53), { Ip6InReceives: 1, Ip6InTruncatedPkts: 1 }],
  ['a cut payload', tcp().slice(0, 60), { Ip6InReceives: 1, Ip6InTruncatedPkts: 1 }],
  ['another version', altered(tcp(), [[14, 0x50]]), { Ip6InReceives: 1, Ip6InHdrErrors: 1 }],
  ['another’s address', tcp({ dst: 'fd00::7' }), { Ip6InReceives: 1, Ip6InAddrErrors: 1 }],
  ['our own address as its source', tcp({ src: OWN_IP6 }), { Ip6InReceives: 1, Ip6InAddrErrors: 1 }],
  ['a group as its source', tcp({ src: 'ff02::1' }), { Ip6InReceives: 1, Ip6InAddrErrors: 1 }],
  ['loopback as its source', tcp({ src: '::1' }), { Ip6InReceives: 1, Ip6InAddrErrors: 1 }],
  ['a group that we are not in', tcp({ dst: 'ff02::2' }), { Ip6InReceives: 1, Ip6InAddrErrors: 1 }],
  ['a group’s MAC with our address', tcp({ mac: [0x33, 0x33, 0, 0, 0, 1] }), { Ip6InReceives: 1, Ip6InAddrErrors: 1 }],
  [
    'a wrong TCP checksum',
    tcp({ rawChecksum: true }),
    { Ip6InReceives: 1, Ip6InDelivers: 1, TcpInCsumErrors: 1, TcpInErrs: 1 },
  ],
  [
    'TCP to a group',
    tcp({ dst: 'ff02::1', mac: [0x33, 0x33, 0, 0, 0, 1] }),
    { Ip6InReceives: 1, Ip6InDelivers: 1, Ip6InMcastPkts: 1 },
  ],
  ['TCP from nobody', tcp({ src: '::' }), { Ip6InReceives: 1, Ip6InDelivers: 1 }],
  ['no next header', tcp({ next: 59, rawChecksum: true }), { Ip6InReceives: 1 }],
  [
    'a wrong ICMPv6 checksum',
    message(icmp6(128, 0, 7), { rawChecksum: true }),
    { Ip6InReceives: 1, Ip6InDelivers: 1, Icmp6InMsgs: 1, Icmp6InErrors: 1 },
  ],
  [
    'an ICMPv6 message of 7 bytes',
    message(icmp6(128, 0, 7).slice(0, 7)),
    { Ip6InReceives: 1, Ip6InDelivers: 1, Icmp6InMsgs: 1, Icmp6InErrors: 1 },
  ],
  [
    'a cut fragment header',
    altered(frame6({ next: 44, payload: Uint8Array.of(6, 0, 0, 0), rawChecksum: true }), []),
    { Ip6InReceives: 1, Ip6InHdrErrors: 1 },
  ],
];

for (const [name, frame, counters] of dropped) {
  test(`dropped and counted: ${name}`, () => {
    const manual = ready();
    assert.equal(changes(manual, frame), counters);
    assert.equal(out(manual), []);
    assert.is(manual.core.rxInUse(), 0);
    assert.is(manual.core.zbufInUse(), 0);
  });
}

// ---- extension headers ----

const PADN = [1, 4, 0, 0, 0, 0];

test('extension headers are skipped, an atomic fragment is a packet (RFC 6946)', () => {
  for (const extensions of [
    [[0, PADN]],
    [[60, PADN]],
    [[43, [3, 0, 0, 0, 0, 0]]],
    [[44, [0, 0, 0, 0, 0, 9]]],
    [
      [0, PADN],
      [60, PADN],
      [43, [3, 0, 0, 0, 0, 0]],
      [44, [0, 0, 0, 0, 0, 9]],
      [60, [...PADN, 1, 6, 0, 0, 0, 0, 0, 0]],
    ],
    // An unknown option that may be skipped.
    [[60, [0x1e, 4, 1, 2, 3, 4]]],
  ] as [number, number[]][][]) {
    const manual = ready();
    manual.inject(tcp({ extensions }));
    assert.is(out(manual).length, 1, JSON.stringify(extensions));
  }
});

/** Code and pointer of the parameter problem that `frame` is answered with, or null. */
function problem(frame: Uint8Array): [number, number] | null {
  const manual = ready();
  const result = changes(manual, frame);
  const [answer] = out(manual);
  assert.is(manual.core.rxInUse(), 0);
  if (!answer) return null;
  assert.is(result.Icmp6OutParmProblems, 1);
  assert.is(answer.payload[0], 4);
  assert.ok(answer.sumFine);
  assert.equal(answer.payload.slice(8), frame.slice(14, 14 + answer.payload.length - 8), 'quotes the packet');
  return [answer.payload[1], new DataView(answer.payload.buffer, answer.payload.byteOffset).getUint32(4)];
}

test('options that must not be skipped, by the two high bits of their type (RFC 8200 §4.2)', () => {
  assert.is(problem(tcp({ extensions: [[60, [0x40, 4, 0, 0, 0, 0]]] })), null);
  assert.equal(problem(tcp({ extensions: [[60, [0x80, 4, 0, 0, 0, 0]]] })), [2, 42]);
  assert.equal(problem(tcp({ extensions: [[0, [0xc0, 4, 0, 0, 0, 0]]] })), [2, 42]);
  const group = { dst: 'ff02::1', mac: [0x33, 0x33, 0, 0, 0, 1] };
  assert.is(problem(tcp({ extensions: [[60, [0xc0, 4, 0, 0, 0, 0]]], ...group })), null);
  assert.equal(problem(tcp({ extensions: [[60, [0x80, 4, 0, 0, 0, 0]]], ...group })), [2, 42]);
});

test('malformed and excessive headers end the packet without an answer', () => {
  for (const extensions of [
    // An option longer than its header, hop-by-hop not first, too many headers.
    [[60, [0x1e, 40, 0, 0, 0, 0]]],
    [
      [60, PADN],
      [0, PADN],
    ],
    Array.from({ length: 9 }, () => [60, PADN]),
  ] as [number, number[]][][]) {
    const manual = ready();
    assert.is(changes(manual, tcp({ extensions })).Ip6InHdrErrors, 1);
    assert.equal(out(manual), []);
  }
  // A length beyond the packet.
  const long = tcp({ extensions: [[60, PADN]] });
  long[55] = 200;
  const manual = ready();
  assert.is(changes(manual, long).Ip6InHdrErrors, 1);
});

test('a routing header with segments left is refused, type 0 too (RFC 5095)', () => {
  assert.equal(problem(tcp({ extensions: [[43, [0, 1, 0, 0, 0, 0]]] })), [0, 42]);
  assert.equal(problem(tcp({ extensions: [[43, [4, 2, 0, 0, 0, 0]]] })), [0, 42]);
});

test('an unknown protocol is answered, at a bounded rate (RFC 4443 §2.4, §3.4)', () => {
  const unknown = frame6({ next: 200, payload: new Uint8Array(1400), rawChecksum: true });
  assert.equal(problem(unknown), [1, 6]);
  const manual = ready();
  for (let i = 0; i < 100; i++) manual.inject(unknown);
  const answers = out(manual);
  assert.ok(answers.length > 0 && answers.length <= 11, `${answers.length} answers`);
  for (const { payload } of answers) assert.ok(payload.length + 40 <= 1280);
  manual.nowUs += 10e6;
  manual.inject(unknown);
  assert.is(out(manual).length, 1);
  const silent = ready({ flags: L.CFGF_NEIGH_EVENTS });
  silent.inject(unknown);
  assert.equal(out(silent), [], 'where a kernel answers, the core does not');
});

// ---- ICMPv6 ----

test('echo is answered, also when sent to all nodes, then from our own address', () => {
  const manual = ready();
  const data = Uint8Array.from({ length: 101 }, (_, i) => i);
  manual.inject(message(icmp6(128, 0, 0x12345678, data)));
  manual.inject(message(icmp6(128, 0, 0x12345678, data), { dst: 'ff02::1', mac: [0x33, 0x33, 0, 0, 0, 1] }));
  const answers = out(manual);
  assert.is(answers.length, 2);
  for (const { payload, sumFine, src } of answers) {
    assert.is(payload[0], 129);
    assert.ok(sumFine);
    assert.equal(payload.slice(4), icmp6(128, 0, 0x12345678, data).slice(4));
    assert.equal(src, address6(OWN_IP6));
  }
});

/** A connection over IPv6 with four segments in flight; returns its handle and the first one as sent. */
function connected(manual: ManualCore): { handle: number; segments: Parsed6[]; frame: Uint8Array } {
  const { core } = manual;
  writeAddress(core.u8, core.scratch, PEER_IP6);
  const handle = core.connect(core.scratch, 80, 0, 5000, 0);
  assert.ok(handle > 0);
  core.flush(manual.nowUs);
  const [first] = out(manual);
  assert.equal([...first.payload.slice(20, 24)], [2, 4, 5, 160], 'MSS 1440: 60 bytes of headers');
  const iss = new DataView(first.payload.buffer, first.payload.byteOffset).getUint32(4);
  manual.inject(
    tcp({
      payload: tcp6({
        srcPort: 80,
        dstPort: 5000,
        seq: 100,
        ack: iss + 1,
        flags: SYN | ACK,
        options: [2, 4, 5, 160, 1, 1, 4, 2],
      }),
    }),
  );
  manual.events();
  out(manual);
  const addr = core.alloc(8192);
  core.send(handle, addr, 4 * 1440);
  core.free(addr);
  core.flush(manual.nowUs);
  const frames = manual.take().map((frame) => Uint8Array.from(frame));
  return { handle, segments: frames.map((frame) => parse6(frame)!), frame: frames[0] };
}

test('packet too big makes the segments smaller, at least 1280 bytes (RFC 8201)', () => {
  const manual = ready();
  const { segments, frame } = connected(manual);
  assert.equal(
    segments.map(({ payload }) => payload.length - 20),
    [1440, 1440, 1440, 1440],
  );
  manual.inject(message(icmp6(2, 0, 1400, frame.slice(14, 14 + 1232))));
  const again = out(manual);
  assert.ok(again.length > 0 && again.every(({ payload }) => payload.length <= 1360), 'sent again, smaller');
  manual.inject(message(icmp6(2, 0, 600, frame.slice(14, 14 + 1232))));
  // Each of the four went again in two pieces, of which a narrower hop does not take the larger either.
  const sizes = out(manual).map(({ payload }) => payload.length + 40);
  assert.equal(sizes, [1280, 180, 1280, 180, 1280, 180, 1280, 180]);
});

test('an error that does not quote what is in flight changes nothing (RFC 5927)', () => {
  const manual = ready();
  const { handle, frame } = connected(manual);
  const inner = frame.slice(14, 14 + 1232);
  const wrongSeq = inner.slice();
  new DataView(wrongSeq.buffer).setUint32(44, 12345);
  const wrongSource = inner.slice();
  wrongSource[23] = 77;
  for (const quoted of [wrongSeq, wrongSource, inner.slice(0, 39), inner.slice(0, 47), new Uint8Array(48)]) {
    manual.inject(message(icmp6(2, 0, 1300, quoted)));
    manual.inject(message(icmp6(1, 4, 0, quoted)));
  }
  const { core } = manual;
  core.info(handle, core.scratch);
  assert.is(core.dv.getUint32(core.scratch + L.INFO_pmtu, true), 1500);
  assert.is(core.dv.getUint32(core.scratch + L.INFO_state, true), L.TCP_ESTABLISHED);
});

test('port unreachable ends an attempt to connect', () => {
  const manual = ready();
  const { core } = manual;
  writeAddress(core.u8, core.scratch, PEER_IP6);
  const handle = core.connect(core.scratch, 80, 0, 5000, 0);
  core.flush(manual.nowUs);
  const [frame] = manual.take();
  manual.inject(message(icmp6(1, 4, 0, Uint8Array.from(frame).slice(14))));
  assert.equal(
    manual.events().map(([h, kind, a]) => [h, kind, a]),
    [[handle, L.EV_ERROR, L.ECONNREFUSED]],
  );
});

// ---- neighbour discovery ----

const link = (kind: number, mac: ArrayLike<number> = PEER_MAC): number[] => [kind, 1, ...Array.from(mac)];
const solicit = (target: string, options: number[] = link(1)): Uint8Array =>
  icmp6(135, 0, 0, [...address6(target), ...options]);
const SOLICITED = { dst: 'ff02::1:ff00:1', mac: [0x33, 0x33, 0xff, 0, 0, 1], hopLimit: 255 };

test('a solicitation for our address is answered with our MAC, and teaches the asker’s', () => {
  const manual = manualCore();
  const { core } = manual;
  writeAddress(core.u8, core.scratch, OWN_IP6);
  core.addressAdd(core.scratch, 64);
  manual.inject(message(solicit(OWN_IP6), SOLICITED));
  const [advert] = out(manual);
  assert.is(advert.hopLimit, 255);
  assert.ok(advert.sumFine);
  assert.equal([...advert.payload.slice(0, 2)], [136, 0]);
  assert.is(advert.payload[4], 0x60, 'solicited, override');
  assert.equal(advert.payload.slice(8, 24), address6(OWN_IP6));
  assert.equal([...advert.payload.slice(24)], [2, 1, ...OWN_MAC]);
  assert.equal([...advert.mac], [...PEER_MAC]);
  // The asker is known now: a reset to it needs no question.
  manual.inject(tcp());
  assert.is(out(manual)[0].payload[13], RST | ACK);
});

test('a probe for duplicates of our address is answered to all nodes (RFC 4862 §5.4)', () => {
  const manual = ready();
  manual.inject(message(solicit(OWN_IP6, []), { ...SOLICITED, src: '::' }));
  const [advert] = out(manual);
  assert.equal(advert.dst, address6('ff02::1'));
  assert.is(advert.payload[4], 0x20, 'override, not solicited');
});

test('solicitations that break the rules are counted and not answered (RFC 4861 §7.1.1)', () => {
  const bad: [string, Uint8Array][] = [
    ['a hop limit below 255', message(solicit(OWN_IP6), { ...SOLICITED, hopLimit: 254 })],
    ['a code', message(Object.assign(solicit(OWN_IP6), { 1: 1 }), SOLICITED)],
    ['20 bytes', message(solicit(OWN_IP6).slice(0, 20), SOLICITED)],
    ['a group as target', message(solicit('ff02::1'), SOLICITED)],
    ['an option of no length', message(solicit(OWN_IP6, [1, 0, 0, 0, 0, 0, 0, 0]), SOLICITED)],
    ['an option longer than the message', message(solicit(OWN_IP6, [1, 2, 0, 0, 0, 0, 0, 0]), SOLICITED)],
    ['a group’s MAC', message(solicit(OWN_IP6, link(1, [1, 0, 0, 0, 0, 1])), SOLICITED)],
    ['a MAC from nobody', message(solicit(OWN_IP6), { ...SOLICITED, src: '::' })],
  ];
  for (const [name, frame] of bad) {
    const manual = ready();
    assert.is(changes(manual, frame).Icmp6InErrors, 1, name);
    assert.equal(out(manual), [], name);
  }
  const manual = ready();
  manual.inject(message(solicit('fd00::77'), SOLICITED));
  assert.equal(out(manual), [], 'another’s address');
});

/** A core that is asking for its peer. */
function asking(): ManualCore {
  const manual = manualCore();
  const { core } = manual;
  writeAddress(core.u8, core.scratch, OWN_IP6);
  core.addressAdd(core.scratch, 64);
  writeAddress(core.u8, core.scratch, PEER_IP6);
  core.connect(core.scratch, 80, 0, 5000, 0);
  core.flush(manual.nowUs);
  const [question] = out(manual);
  assert.equal([...question.mac], [0x33, 0x33, 0xff, 0, 0, 2]);
  assert.equal(question.dst, address6('ff02::1:ff00:2'));
  assert.is(question.hopLimit, 255);
  assert.ok(question.sumFine);
  assert.equal([...question.payload.slice(24)], [1, 1, ...OWN_MAC]);
  return manual;
}

const advert = (flags: number, mac: ArrayLike<number> = PEER_MAC): Uint8Array =>
  icmp6(136, 0, (flags << 24) >>> 0, [...address6(PEER_IP6), ...link(2, mac)]);

test('an advertisement resolves, and what waits is sent', () => {
  const manual = asking();
  manual.inject(message(advert(0x60), { hopLimit: 255 }));
  const [first] = out(manual);
  assert.is(first.payload[13], SYN);
  assert.equal([...first.mac], [...PEER_MAC]);
});

test('without override a known MAC stays, with it the new one is taken', () => {
  const manual = asking();
  manual.inject(message(advert(0x60), { hopLimit: 255 }));
  out(manual);
  const other = [2, 0, 0, 0, 0, 9];
  manual.inject(message(advert(0x40, other), { hopLimit: 255 }));
  manual.nowUs += 1.1e6;
  manual.poll();
  assert.equal([...out(manual)[0].mac], [...PEER_MAC]);
  manual.inject(message(advert(0x20, other), { hopLimit: 255 }));
  manual.nowUs += 2.1e6;
  manual.poll();
  assert.equal([...out(manual)[0].mac], other);
});

test('an advertisement of our own address, or from beyond a router, is ignored', () => {
  const manual = asking();
  manual.inject(message(advert(0x60), { hopLimit: 64 }));
  const own = icmp6(136, 0, 0x20000000, [...address6(OWN_IP6), ...link(2)]);
  manual.inject(message(own, { hopLimit: 255 }));
  assert.equal(out(manual), []);
  assert.is(manual.core.counter(L.CNT_Icmp6InErrors), 2);
});

test('nobody answers: asked three times, then the connection is told', () => {
  const manual = asking();
  const questions: number[] = [];
  for (let i = 0; i < 5; i++) {
    manual.nowUs += 1e6;
    manual.poll();
    questions.push(out(manual).filter(({ payload }) => payload[0] === 135).length);
  }
  assert.is(questions.reduce((a, b) => a + b, 0) >= 2, true);
  assert.is(manual.core.zbufInUse() <= 1, true);
});

test('the checksum of what is sent is right with an odd length and with a mark', () => {
  const manual = ready();
  const { handle } = connected(manual);
  const { core } = manual;
  core.setOption(handle, L.OPT_TOS, 0x28);
  core.setOption(handle, L.OPT_TTL, 7);
  const addr = core.alloc(64);
  core.send(handle, addr, 33);
  core.free(addr);
  core.setOption(handle, L.OPT_NODELAY, 1);
  core.flush(manual.nowUs);
  const last = out(manual).at(-1)!;
  assert.ok(last.sumFine);
  assert.is(last.hopLimit, 7);
  assert.is(last.trafficClass, 0x28);
});

test('fixChecksum6 is what the core verifies against', () => {
  const frame = tcp();
  fixChecksum6(frame, 54, TCP_PROTO);
  const manual = ready();
  assert.is(changes(manual, frame).TcpInSegs, 1);
});

test('a deprecated address is spoken from only when there is no other of its scope (RFC 6724 §5)', () => {
  const manual = ready();
  const { core } = manual;
  const put = (address: string): number => {
    writeAddress(core.u8, core.scratch, address);
    return core.scratch;
  };
  const source = (): Uint8Array => {
    const handle = core.connect(put(PEER_IP6), 80, 0, 0, 0);
    core.flush(manual.nowUs);
    const [{ src }] = out(manual);
    core.abort(handle);
    out(manual);
    return src;
  };
  // It has more in common with the peer's.
  core.addressAdd(put('fd00::3'), 64);
  assert.equal(source(), address6('fd00::3'));
  assert.is(core.addressAdd(put('fd00::3'), 64 + L.ADDRESS_DEPRECATED), 0);
  assert.equal(source(), address6(OWN_IP6));
  manual.inject(tcp({ dst: 'fd00::3' }));
  assert.equal(out(manual)[0]?.src, address6('fd00::3'), 'it is ours all the same');
  assert.is(core.addressDel(put(OWN_IP6), 64), 0);
  assert.equal(source(), address6('fd00::3'));
  assert.is(core.addressDel(put('fd00::3'), 64), 0);
});

test.run();
