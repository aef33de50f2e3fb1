// Frames in: every malformed one is dropped and counted where /proc/net/snmp would count it, and nothing leaks.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import * as F from '../helpers/frames.js';
import { type ManualCore, manualCore } from '../helpers/manual.js';

const ECHO = F.icmpEcho(new Uint8Array(64).map((_, i) => i));
const SYN = F.tcpFrame({ srcPort: 4000, dstPort: 9, seq: 1, ack: 0, flags: F.SYN, window: 1000 });

/** A copy with bytes changed: [offset, value]…; checksums right again unless told not to. */
function altered(frame: Uint8Array, changes: [number, number][], fix = true): Uint8Array {
  const copy = frame.slice();
  for (const [at, value] of changes) copy[at] = value;
  if (fix) F.fixChecksums(copy);
  return copy;
}

/** A core that knows its peer, so that answers go out at once. */
function ready(config: Parameters<typeof manualCore>[0] = {}): ManualCore {
  const manual = manualCore(config);
  manual.inject(F.arpFrame(1));
  manual.take();
  return manual;
}

/** Counters that changed. */
function changes(manual: ManualCore, frame: Uint8Array, flags = 0): Record<string, number> {
  const { core } = manual;
  const before = core.counters();
  injectWith(manual, frame, flags);
  const after = core.counters();
  const result: Record<string, number> = {};
  for (const name of Object.keys(after)) {
    if (!/^(Rx|Tx|Zbuf)/.test(name) && after[name] !== before[name]) result[name] = Number(after[name] - before[name]);
  }
  return result;
}

function injectWith(manual: ManualCore, frame: Uint8Array, flags: number): void {
  const { core } = manual;
  const { u32 } = core;
  if (flags === 0) {
    manual.inject(frame);
    return;
  }
  const zoneBase = u32[L.CFG_ZONE_BASE >> 2];
  const rx = u32[L.CTL_RX_AT >> 2] >> 2;
  // The first object of the pool is the first one given; it comes back when nothing refers to it.
  core.u8.set(frame, zoneBase);
  u32[rx] = zoneBase;
  u32[rx + 1] = frame.length;
  u32[rx + 2] = flags;
  core.ingest(1, manual.nowUs);
}

function emptied(manual: ManualCore): void {
  manual.take();
  manual.core.poll(manual.nowUs);
  assert.is(manual.core.rxInUse(), 0);
  assert.is(manual.core.zbufInUse(), 0);
  assert.is(manual.core.counter(L.CNT_ZbufMisuse), 0);
}

const dropped: [string, Uint8Array, Record<string, number>][] = [
  ['no Ethernet header', ECHO.slice(0, 13), { EthInTruncated: 1 }],
  ['an empty frame', ECHO.slice(0, 0), { EthInTruncated: 1 }],
  ['another host’s MAC', altered(ECHO, [[5, 9]]), { EthInOtherHost: 1 }],
  ['a multicast MAC', altered(ECHO, [[0, 1]]), { EthInOtherHost: 1 }],
  ['a VLAN tag', altered(ECHO, [[12, 0x81]], false), { EthInUnknownProto: 1 }],
  ['IPv4 cut in its header', ECHO.slice(0, 33), { IpInReceives: 1, IpInTruncatedPkts: 1 }],
  ['no IPv4 header at all', ECHO.slice(0, 14), { IpInReceives: 1, IpInTruncatedPkts: 1 }],
  ['IP version 5', altered(ECHO, [[14, 0x55]]), { IpInReceives: 1, IpInHdrErrors: 1 }],
  ['IP version 0', altered(ECHO, [[14, 0x05]]), { IpInReceives: 1, IpInHdrErrors: 1 }],
  ['a header shorter than 20 bytes', altered(ECHO, [[14, 0x44]], false), { IpInReceives: 1, IpInHdrErrors: 1 }],
  [
    'a total length shorter than the header',
    altered(ECHO, [
      [16, 0],
      [17, 19],
    ]),
    { IpInReceives: 1, IpInHdrErrors: 1 },
  ],
  [
    'a total length of 0',
    altered(ECHO, [
      [16, 0],
      [17, 0],
    ]),
    { IpInReceives: 1, IpInHdrErrors: 1 },
  ],
  [
    'a header longer than the packet',
    altered(
      ECHO,
      [
        [14, 0x4f],
        [16, 0],
        [17, 40],
      ],
      false,
    ),
    { IpInReceives: 1, IpInHdrErrors: 1 },
  ],
  ['a total length beyond the frame', altered(ECHO, [[17, ECHO[17] + 1]]), { IpInReceives: 1, IpInTruncatedPkts: 1 }],
  ['a frame shorter than its packet', ECHO.slice(0, 60), { IpInReceives: 1, IpInTruncatedPkts: 1 }],
  [
    'a wrong IP checksum',
    altered(ECHO, [[24, ECHO[24] ^ 1]], false),
    { IpInReceives: 1, IpInHdrErrors: 1, IpInCsumErrors: 1 },
  ],
  ['another host’s address', altered(ECHO, [[33, 3]]), { IpInReceives: 1, IpInAddrErrors: 1 }],
  ['our subnet’s broadcast address', altered(ECHO, [[33, 255]]), { IpInReceives: 1, IpInAddrErrors: 1 }],
  [
    'the limited broadcast address',
    altered(ECHO, [
      [30, 255],
      [31, 255],
      [32, 255],
      [33, 255],
    ]),
    { IpInReceives: 1, IpInAddrErrors: 1 },
  ],
  ['a multicast address', altered(ECHO, [[30, 224]]), { IpInReceives: 1, IpInAddrErrors: 1 }],
  [
    'a broadcast frame with our IP address',
    altered(SYN, [
      [0, 255],
      [1, 255],
      [2, 255],
      [3, 255],
      [4, 255],
      [5, 255],
    ]),
    { IpInReceives: 1, IpInAddrErrors: 1 },
  ],
  [
    'source 0.0.0.0',
    altered(ECHO, [
      [26, 0],
      [29, 0],
    ]),
    { IpInReceives: 1, IpInAddrErrors: 1 },
  ],
  [
    'source 127.0.0.1',
    altered(ECHO, [
      [26, 127],
      [29, 1],
    ]),
    { IpInReceives: 1, IpInAddrErrors: 1 },
  ],
  ['a multicast source', altered(ECHO, [[26, 224]]), { IpInReceives: 1, IpInAddrErrors: 1 }],
  [
    'source 255.255.255.255',
    altered(ECHO, [
      [26, 255],
      [27, 255],
      [28, 255],
      [29, 255],
    ]),
    { IpInReceives: 1, IpInAddrErrors: 1 },
  ],
  ['our subnet’s broadcast as source', altered(ECHO, [[29, 255]]), { IpInReceives: 1, IpInAddrErrors: 1 }],
  ['our own address as source', altered(SYN, [[29, 1]]), { IpInReceives: 1, IpInAddrErrors: 1 }],
  ['an unknown protocol', altered(ECHO, [[23, 132]]), { IpInReceives: 1, IpInUnknownProtos: 1 }],
  ['TCP cut in its header', F.ipFrame(6, 19), { IpInReceives: 1, IpInCsumErrors: 1, IpInHdrErrors: 1 }],
  [
    'a TCP segment shorter than a header',
    checked(F.ipFrame(6, 19)),
    { IpInReceives: 1, IpInDelivers: 1, TcpInErrs: 1 },
  ],
  ['an empty TCP segment', checked(F.ipFrame(6, 0)), { IpInReceives: 1, IpInDelivers: 1, TcpInErrs: 1 }],
  ['a TCP data offset below 5', altered(SYN, [[46, 0x40]]), { IpInReceives: 1, IpInDelivers: 1, TcpInErrs: 1 }],
  [
    'a TCP data offset beyond the segment',
    altered(SYN, [[46, 0x60]]),
    { IpInReceives: 1, IpInDelivers: 1, TcpInErrs: 1 },
  ],
  [
    'a wrong TCP checksum',
    altered(SYN, [[50, SYN[50] ^ 1]], false),
    { IpInReceives: 1, IpInDelivers: 1, TcpInErrs: 1, TcpInCsumErrors: 1 },
  ],
  [
    'a TCP segment with another sender’s checksum',
    altered(
      altered(SYN, [[29, 7]]),
      [
        [50, SYN[50]],
        [51, SYN[51]],
      ],
      false,
    ),
    { IpInReceives: 1, IpInDelivers: 1, TcpInErrs: 1, TcpInCsumErrors: 1 },
  ],
  [
    'ICMP shorter than its header',
    checked(F.ipFrame(1, 7)),
    { IpInReceives: 1, IpInDelivers: 1, IcmpInMsgs: 1, IcmpInErrors: 1 },
  ],
  [
    'a wrong ICMP checksum',
    altered(ECHO, [[36, ECHO[36] ^ 1]], false),
    { IpInReceives: 1, IpInDelivers: 1, IcmpInMsgs: 1, IcmpInErrors: 1 },
  ],
];

function checked(frame: Uint8Array): Uint8Array {
  F.fixChecksums(frame);
  return frame;
}

for (const [name, frame, expected] of dropped) {
  test(`${name} is dropped and counted`, () => {
    const manual = ready();
    assert.equal(changes(manual, frame), expected);
    assert.is(manual.take().length, 0);
    emptied(manual);
  });
}

/** An echo request with IP options. */
function withOptions(options: number[]): Uint8Array {
  const bytes = (options.length + 3) & ~3;
  const plain = F.ipFrame(1, bytes + 8);
  plain[14] = 0x45 + bytes / 4;
  plain.set(options, 34);
  plain[34 + bytes] = 8;
  F.fixChecksums(plain);
  return plain;
}

test('well-formed IP options are skipped', () => {
  for (const options of [
    [1, 1, 1, 0],
    [7, 3, 4],
    [7, 39, ...new Array(37).fill(0)],
    [1, 0, 0xff, 0xff],
    [148, 4, 0, 0],
  ]) {
    const manual = ready();
    const changed = changes(manual, withOptions(options));
    assert.is(changed.IcmpOutEchoReps, 1, JSON.stringify(options));
    assert.is(manual.take().length, 1);
    emptied(manual);
  }
});

test('source routes and malformed IP options are dropped', () => {
  for (const options of [
    [131, 7, 4, 1, 2, 3, 4, 0],
    [137, 3, 4, 0],
    [7, 0, 0, 0],
    [7, 1, 0, 0],
    [7, 5, 0, 0],
    [1, 1, 1, 7],
  ]) {
    const manual = ready();
    assert.equal(changes(manual, withOptions(options)), { IpInReceives: 1, IpInHdrErrors: 1 }, JSON.stringify(options));
    assert.is(manual.take().length, 0);
    emptied(manual);
  }
});

test('Ethernet padding is not part of the packet', () => {
  const manual = ready();
  const small = F.icmpEcho(new Uint8Array([1, 2, 3]));
  const padded = new Uint8Array(60).fill(0xee);
  padded.set(small);
  manual.inject(padded);
  const [reply] = manual.take();
  assert.is(reply.length, small.length);
  assert.equal([...reply.slice(42)], [1, 2, 3]);
  emptied(manual);
});

test('a checksum the link vouches for is not verified', () => {
  const badIp = altered(ECHO, [[24, ECHO[24] ^ 1]], false);
  const manual = ready();
  assert.is(changes(manual, badIp, L.RXF_IP_CSUM_OK).IcmpOutEchoReps, 1);
  emptied(manual);
  const badTcp = altered(SYN, [[50, SYN[50] ^ 1]], false);
  const other = ready();
  assert.is(changes(other, badTcp, L.RXF_L4_CSUM_OK).TcpInErrs, undefined);
  emptied(other);
  const trusting = ready({ flags: L.CFGF_ARP | L.CFGF_ICMP_ECHO | L.CFGF_RX_TRUST });
  assert.is(changes(trusting, badTcp).TcpInErrs, undefined);
  assert.is(changes(trusting, badIp).IcmpOutEchoReps, 1);
  emptied(trusting);
});

test('a checksum left at the pseudo-header sum is taken only where the link says it may be', () => {
  const partial = SYN.slice();
  let sum = 6 + 20;
  for (let i = 26; i < 34; i += 2) sum += (SYN[i] << 8) | SYN[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  partial[50] = sum >> 8;
  partial[51] = sum & 255;
  const manual = ready();
  assert.is(changes(manual, partial).TcpInCsumErrors, 1, 'no flag');
  const taken = changes(manual, partial, L.RXF_L4_CSUM_PARTIAL);
  assert.is(taken.TcpInCsumErrors, undefined);
  assert.is(taken.TcpExtCsumPartial, 1);
  assert.is(changes(manual, SYN, L.RXF_L4_CSUM_PARTIAL).TcpExtCsumPartial, undefined, 'a right one is no exception');
  const wrong = altered(partial, [[51, partial[51] ^ 1]], false);
  assert.is(changes(manual, wrong, L.RXF_L4_CSUM_PARTIAL).TcpInCsumErrors, 1, 'neither');
  emptied(manual);
});

test('every cut of a good frame is survived', () => {
  for (const frame of [ECHO, SYN, F.arpFrame(1), F.icmpError(3, 4, 1000, SYN.slice(14))]) {
    const manual = ready();
    for (let len = 0; len < frame.length; len++) manual.inject(frame.slice(0, len));
    emptied(manual);
  }
});

test.run();
