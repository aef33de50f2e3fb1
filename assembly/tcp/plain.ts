// Plain segments, what most are: new data in good order, or an ACK, of a connection whose peer's MAC is known, with nothing to
// say but what every segment says. Their headers are written at one go, from Ethernet to the timestamps, here. ACKs are
// sent from here, and data by run.ts.
//
// Whatever is not plain (urgent data, SACK, CWR, marks, retransmissions, a connection that does as Linux does) goes through
// output.ts, segment.ts and ip/output.ts, which do the same and more: the wire sees the same bytes.

import { CNT_Ip6OutRequests, CNT_IpOutRequests, CNT_TcpOutSegs, CNT_TxBytes, CNT_TxFrames } from '../abi/counters';
import {
  CFGF_NO_GSO,
  CFGF_TX_CSUM,
  CFGF_TX_NO_CSUM,
  CFGF_TX_TSO,
  CFG_FLAGS,
  CTL_TX_HEAD,
  TXD_ADDR,
  TXD_FLAGS,
  TXD_LEN,
  TXF_END,
  TXF_START,
  TXF_TCP_CSUM,
} from '../abi/layout';
import { countAdd } from '../abi/runtime';
import { generation, ourMac } from '../ip/interface';
import { neighbourMac, neighbourUsable } from '../ip/neighbour';
import { frameL3, frameL4, frameIpv6, txRoom, txSlotAt } from '../ip/output';
import { dstIs, dstNeighbour } from '../ip/route';
import { fold, pseudo4, pseudo6 } from '../wire/checksum';
import { ETHERTYPE_IPV4_RAW, ETHERTYPE_IPV6_RAW, ETH_HEADER, setEth } from '../wire/ethernet';
import {
  DF_RAW,
  IPV4_CHECKSUM,
  IPV4_DST,
  IPV4_HEADER,
  IPV4_SRC,
  IPV4_TOTAL,
  IPV4_TTL,
  IPV4_TTL_DEFAULT,
  mappedRaw,
} from '../wire/ipv4';
import { IPV6_DST, IPV6_HEADER, IPV6_HOP_LIMIT_DEFAULT, IPV6_PAYLOAD, IPV6_SRC } from '../wire/ipv6';
import { TCPF_ACK, TCP_HEADER, setTcpChecksum, setTcpSeq } from '../wire/tcp';
import { zbufAllocHeader } from '../zbuf/zbuf';
import { ecnFlags, ecnMark } from './ecn';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import { TS_BYTES, TS_WORD, sackBytes } from './options';
import { PROTO_TCP, ackCarried, windowToOffer } from './segment';
import { F2_CWR_OWED, F2_SND_URG, FL_ECN, FL_PERSIST, FL_TS, Tcb, addressOf, addressesOf, coldOf, isV4 } from './tcb';

/** Whether the link is to cut large frames into segments (gso.ts). */
@inline
export function linkCuts(config: u32): bool {
  return (config & (CFGF_TX_TSO | CFGF_TX_CSUM | CFGF_TX_NO_CSUM)) == (CFGF_TX_TSO | CFGF_TX_CSUM);
}

// A template for each of the connections that sent last, with all of their headers that stays the same. Taken from there the headers of
// a segment are written by few stores, none of which has to wait for another.
//
//   0     4        8     16        20           24       28       32           36        40    128
//   ├ tcb ┼ handle ┼ MAC ┼ service ┼ generation ┼ IP sum ┼ pseudo ┼ TCP sum ─┼ unused ─┼ headers ─┤
//
// The headers lie as in a header object (ip/output.ts) whose first byte were at 32. Sums are folded: of the IPv4 header without
// total length, of the pseudo-header without length, and of it with ports and options' fixed words.
@inline const HANDLE: usize = 4;
@inline const MAC: usize = 8;
@inline const SERVICE: usize = 16;
@inline const GENERATION: usize = 20;
@inline const IP_SUM: usize = 24;
@inline const PSEUDO_SUM: usize = 28;
@inline const TCP_SUM: usize = 32;
@inline const AS_OBJECT: u32 = 32;
@inline const TEMPLATE_SHIFT: u32 = 7;
@inline const TEMPLATE_BITS: u32 = 4;

const templates: u32 = <u32>memory.data(2048, 64);

// Of the segments that headersPlan() was called for: what they share.
export let plainV4: bool = false;
/** Flags of TCP, without PSH. */
export let plainFlags: u32 = 0;
/** Bytes of the TCP header. */
export let plainTcpLen: u32 = 0;
/** Header object to copy from. */
export let plainModel: u32 = 0;
/** Acknowledgment number; data offset, no flags and the window; timestamps: as they lie in memory. */
export let plainAckRaw: u32 = 0;
export let plainOffsetRaw: u32 = 0;
export let plainStamps: u64 = 0;
/** Sums without lengths, sequence number and flags: of the IPv4 header, of the pseudo-header, of it and the TCP header. */
export let plainIpSum: u64 = 0;
export let plainPseudoSum: u64 = 0;
export let plainTcpSum: u64 = 0;

/** The neighbour that plain segments of the connection go to now; 0: there are none to be sent. */
@inline
export function plainVia(t: Tcb, config: u32): u32 {
  if (config & CFGF_NO_GSO || asLinuxReceiver() || t.flags & FL_PERSIST) return 0;
  if (coldOf(t).flags2 & (F2_SND_URG | F2_CWR_OWED) || sackBytes(t) != 0) return 0;
  if (!dstIs(t.dst, addressesOf(t) + 16)) return 0;
  const neighbour = dstNeighbour(t.dst);
  return neighbour != 0 && neighbourUsable(neighbour) ? neighbour : 0;
}

/** Writes the template `m`. */
function templateMake(m: u32, t: Tcb, mac: u64, service: u32): void {
  store<u32>(m, addressOf(t));
  store<u32>(m, t.handle, HANDLE);
  store<u64>(m, mac, MAC);
  store<u32>(m, service, SERVICE);
  store<u32>(m, generation, GENERATION);
  const f = m + AS_OBJECT;
  const addresses = addressesOf(t);
  const ttl = service >> 8;
  let pseudo: u64;
  if (isV4(t)) {
    setEth(frameL3(f) - ETH_HEADER, mac, ourMac, ETHERTYPE_IPV4_RAW);
    const ip = frameL3(f);
    const src = mappedRaw(addresses);
    const dst = mappedRaw(addresses + 16);
    const first = 0x45 | ((service & 0xff) << 8);
    const life = (ttl ? ttl : IPV4_TTL_DEFAULT) | (PROTO_TCP << 8);
    store<u32>(ip, first);
    store<u32>(ip, DF_RAW << 16, 4);
    store<u32>(ip, life, IPV4_TTL);
    store<u32>(ip, src, IPV4_SRC);
    store<u32>(ip, dst, IPV4_DST);
    store<u32>(m, fold(<u64>src + <u64>dst + (first + DF_RAW + life)), IP_SUM);
    pseudo = pseudo4(src, dst, PROTO_TCP, 0);
  } else {
    setEth(frameIpv6(f) - ETH_HEADER, mac, ourMac, ETHERTYPE_IPV6_RAW);
    const ip = frameIpv6(f);
    const hopLimit = ttl ? ttl : IPV6_HOP_LIMIT_DEFAULT;
    store<u32>(ip, bswap<u32>(0x60000000 | ((service & 0xff) << 20)));
    store<u32>(ip, (PROTO_TCP << 16) | (hopLimit << 24), IPV6_PAYLOAD);
    store<u64>(ip, load<u64>(addresses), IPV6_SRC);
    store<u64>(ip, load<u64>(addresses, 8), IPV6_SRC + 8);
    store<u64>(ip, load<u64>(addresses, 16), IPV6_DST);
    store<u64>(ip, load<u64>(addresses, 24), IPV6_DST + 8);
    pseudo = pseudo6(addresses, addresses + 16, PROTO_TCP, 0);
  }
  const tcp = frameL4(f);
  const ports = bswap<u32>(rotl<u32>(t.ports, 16));
  store<u32>(tcp, ports);
  store<u32>(tcp, 0, 16);
  store<u32>(tcp, TS_WORD, 20);
  store<u32>(m, fold(pseudo), PSEUDO_SUM);
  store<u32>(m, fold(pseudo + ports + (t.flags & FL_TS ? <u64>TS_WORD : 0)), TCP_SUM);
}

/** Of the plain segments that the connection sends now: all but lengths, sequence numbers, PSH and checksums. `data`: new data. */
export function headersPlan(t: Tcb, neighbour: u32, data: bool): void {
  const c = coldOf(t);
  let service: u32 = load<u16>(addressOf(t), offsetof<Tcb>('tos'));
  plainFlags = TCPF_ACK;
  if (t.flags & FL_ECN) {
    plainFlags |= ecnFlags(t, data);
    service |= ecnMark(t, data);
  }
  const mac = neighbourMac(neighbour);
  const m = templates + (((addressOf(t) * 0x9e3779b1) >>> (32 - TEMPLATE_BITS)) << TEMPLATE_SHIFT);
  if (
    load<u32>(m) != addressOf(t) ||
    load<u32>(m, HANDLE) != c.handle ||
    load<u64>(m, MAC) != mac ||
    load<u32>(m, SERVICE) != service ||
    load<u32>(m, GENERATION) != generation
  )
    templateMake(m, t, mac, service);
  plainModel = m + AS_OBJECT;
  plainV4 = isV4(t);
  plainIpSum = load<u32>(m, IP_SUM);
  plainPseudoSum = load<u32>(m, PSEUDO_SUM);
  plainAckRaw = bswap<u32>(t.rcvNxt);
  plainTcpLen = TCP_HEADER;
  let sum = <u64>load<u32>(m, TCP_SUM) + plainAckRaw;
  if (t.flags & FL_TS) {
    const stamp = bswap<u32>(nowMs() + t.tsOffset);
    const echo = bswap<u32>(t.tsRecent);
    plainStamps = <u64>stamp | ((<u64>echo) << 32);
    sum += <u64>stamp + <u64>echo;
    plainTcpLen = TCP_HEADER + TS_BYTES;
  }
  plainOffsetRaw = (plainTcpLen << 2) | ((<u32>bswap<u16>(<u16>windowToOffer(t))) << 16);
  plainTcpSum = sum + plainOffsetRaw;
}

/** Copies from a header object: stores of fixed size, whatever the lengths. */
@inline
function headersCopy(f: u32, model: u32, four: bool): void {
  if (ASC_FEATURE_SIMD) {
    v128.store(f, v128.load(model, 24), 24);
    v128.store(f, v128.load(model, 40), 40);
    v128.store(f, v128.load(model, 56), 56);
    v128.store(f, v128.load(model, 72), 72);
  } else {
    store<u64>(f, load<u64>(model, 24), 24);
    store<u64>(f, load<u64>(model, 32), 32);
    store<u64>(f, load<u64>(model, 40), 40);
    store<u64>(f, load<u64>(model, 48), 48);
    store<u64>(f, load<u64>(model, 56), 56);
    store<u64>(f, load<u64>(model, 64), 64);
    store<u64>(f, load<u64>(model, 72), 72);
    store<u64>(f, load<u64>(model, 80), 80);
  }
  if (four) return;
  store<u64>(f, load<u64>(model, 8), 8);
  store<u64>(f, load<u64>(model, 16), 16);
}

/** Writes the planned headers at `f`, with everything but TCP's checksum. `l4Len`: bytes of TCP header and payload. */
@inline
export function headersPut(f: u32, four: bool, l4Len: u32, seq: u32, flags: u32): void {
  headersCopy(f, plainModel, four);
  if (four) {
    const totalRaw = <u32>bswap<u16>(<u16>(IPV4_HEADER + l4Len));
    store<u16>(frameL3(f), <u16>totalRaw, IPV4_TOTAL);
    store<u16>(frameL3(f), <u16>~fold(plainIpSum + totalRaw), IPV4_CHECKSUM);
  } else store<u16>(frameIpv6(f), bswap<u16>(<u16>l4Len), IPV6_PAYLOAD);
  const tcp = frameL4(f);
  setTcpSeq(tcp, seq);
  store<u32>(tcp, plainAckRaw, 8);
  store<u32>(tcp, plainOffsetRaw | (flags << 8), 12);
  store<u64>(tcp, plainStamps, 24);
}

/** What is to be done about TCP's checksum: it is not made, left to the link (which is asked for IPv4 only), or made. */
@inline export const SUM_NONE: u32 = 0;
@inline export const SUM_LINK: u32 = 1;
@inline export const SUM_OURS: u32 = 2;

@inline
export function sumWay(config: u32, four: bool): u32 {
  if (config & CFGF_TX_NO_CSUM) return SUM_NONE;
  return four && config & CFGF_TX_CSUM ? SUM_LINK : SUM_OURS;
}

/** Flags and offload word of the headers' descriptor, with `last` if nothing follows. */
@inline
export function plainSays(four: bool, way: u32, last: u32): u64 {
  const offload = ETH_HEADER | ((four ? IPV4_HEADER : IPV6_HEADER) << 8) | (plainTcpLen << 16);
  return ((<u64>offload) << 32) | (way == SUM_LINK ? TXF_START | TXF_TCP_CSUM : TXF_START) | last;
}

/** Bytes of all headers. */
@inline
export function plainBytes(four: bool): u32 {
  return ETH_HEADER + (four ? IPV4_HEADER : IPV6_HEADER) + plainTcpLen;
}

/** Describes `len` bytes at `addr` in the ring's slot at `at`. */
@inline
export function describe(at: u32, addr: u32, len: u32, says: u64): void {
  store<u32>(at, addr, TXD_ADDR);
  store<u32>(at, len, TXD_LEN);
  store<u64>(at, says, TXD_FLAGS);
}

/** Where the frame begins whose header object is at `f`. */
@inline
export function plainFrame(f: u32, four: bool): u32 {
  return (four ? frameL3(f) : frameIpv6(f)) - ETH_HEADER;
}

/** Counts segments that have gone, with `bytes` of payload in all. */
@inline
export function counted(t: Tcb, segments: u32, bytes: u32): void {
  countAdd(plainV4 ? CNT_IpOutRequests : CNT_Ip6OutRequests, segments);
  countAdd(CNT_TxFrames, segments);
  countAdd(CNT_TxBytes, segments * plainBytes(plainV4) + bytes);
  countAdd(CNT_TcpOutSegs, segments);
  ackCarried(t);
  coldOf(t).segsOut += segments;
}

/** Sends a bare ACK. False, and nothing has happened, when it is not plain or there is no room. */
export function plainAck(t: Tcb): bool {
  const config = load<u32>(CFG_FLAGS);
  const neighbour = plainVia(t, config);
  if (neighbour == 0 || txRoom() == 0) return false;
  const f = zbufAllocHeader();
  if (!f) return false;
  headersPlan(t, neighbour, false);
  const four = plainV4;
  const way = sumWay(config, four);
  headersPut(f, four, plainTcpLen, t.sndNxt, plainFlags);
  const lenRaw = <u32>bswap<u16>(<u16>plainTcpLen);
  if (way == SUM_LINK) setTcpChecksum(frameL4(f), <u16>fold(plainPseudoSum + lenRaw));
  else if (way == SUM_OURS) {
    const sum = plainTcpSum + lenRaw + bswap<u32>(t.sndNxt) + ((<u64>plainFlags) << 8);
    setTcpChecksum(frameL4(f), <u16>~fold(sum));
  }
  const head = load<u32>(CTL_TX_HEAD);
  describe(txSlotAt(head), plainFrame(f, four), plainBytes(four), plainSays(four, way, TXF_END));
  store<u32>(CTL_TX_HEAD, head + 1);
  counted(t, 1, 0);
  return true;
}
