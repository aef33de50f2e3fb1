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
  TXD_OFFLOAD,
  TXF_END,
  TXF_START,
  TXF_TCP_CSUM,
} from '../abi/layout';
import { countAdd } from '../abi/runtime';
import { ourMac } from '../ip/interface';
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
import { TCPF_ACK, TCP_HEADER, setTcpChecksum, setTcpFlags, setTcpSeq } from '../wire/tcp';
import { zbufAllocHeader } from '../zbuf/zbuf';
import { ecnFlags, ecnMark } from './ecn';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import { TS_BYTES, TS_WORD, sackBytes } from './options';
import { PROTO_TCP, ackCarried, windowToOffer } from './segment';
import { F2_CWR_OWED, F2_SND_URG, FL_ECN, FL_PERSIST, FL_TS, Tcb, addressesOf, coldOf, isV4 } from './tcb';

/** Whether the link is to cut large frames into segments (gso.ts). */
@inline
export function linkCuts(config: u32): bool {
  return (config & (CFGF_TX_TSO | CFGF_TX_CSUM | CFGF_TX_NO_CSUM)) == (CFGF_TX_TSO | CFGF_TX_CSUM);
}

// Of the headers that headersPut() has written: what is the same in all segments of a run.
export let plainV4: bool = false;
/** Flags of TCP, without PSH. */
export let plainFlags: u32 = 0;
/** Bytes of the TCP header. */
export let plainTcpLen: u32 = 0;
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

/** Writes the headers of a segment at `f`, but for its lengths, sequence number, flags and checksums. `data`: it is new data. */
@inline
export function headersPut(t: Tcb, f: u32, neighbour: u32, data: bool): void {
  const c = coldOf(t);
  const addresses = addressesOf(t);
  let service: u32 = c.tos;
  plainFlags = TCPF_ACK;
  if (t.flags & FL_ECN) {
    plainFlags |= ecnFlags(t, data);
    service |= ecnMark(t, data);
  }
  plainV4 = isV4(t);
  if (plainV4) {
    setEth(frameL3(f) - ETH_HEADER, neighbourMac(neighbour), ourMac, ETHERTYPE_IPV4_RAW);
    const ip = frameL3(f);
    const src = mappedRaw(addresses);
    const dst = mappedRaw(addresses + 16);
    const first = 0x45 | (service << 8);
    const ttl = (c.ttl ? <u32>c.ttl : IPV4_TTL_DEFAULT) | (PROTO_TCP << 8);
    store<u32>(ip, first);
    store<u32>(ip, DF_RAW << 16, 4);
    store<u32>(ip, ttl, IPV4_TTL);
    store<u32>(ip, src, IPV4_SRC);
    store<u32>(ip, dst, IPV4_DST);
    plainIpSum = <u64>src + <u64>dst + (first + DF_RAW + ttl);
    plainPseudoSum = pseudo4(src, dst, PROTO_TCP, 0);
  } else {
    setEth(frameIpv6(f) - ETH_HEADER, neighbourMac(neighbour), ourMac, ETHERTYPE_IPV6_RAW);
    const ip = frameIpv6(f);
    const hopLimit: u32 = c.ttl ? <u32>c.ttl : IPV6_HOP_LIMIT_DEFAULT;
    store<u32>(ip, bswap<u32>(0x60000000 | (service << 20)));
    store<u32>(ip, (PROTO_TCP << 16) | (hopLimit << 24), IPV6_PAYLOAD);
    store<u64>(ip, load<u64>(addresses), IPV6_SRC);
    store<u64>(ip, load<u64>(addresses, 8), IPV6_SRC + 8);
    store<u64>(ip, load<u64>(addresses, 16), IPV6_DST);
    store<u64>(ip, load<u64>(addresses, 24), IPV6_DST + 8);
    plainPseudoSum = pseudo6(addresses, addresses + 16, PROTO_TCP, 0);
  }
  const tcp = frameL4(f);
  const ports = bswap<u32>(rotl<u32>(t.ports, 16));
  const ack = bswap<u32>(t.rcvNxt);
  const window = (<u32>bswap<u16>(<u16>windowToOffer(t))) << 16;
  store<u32>(tcp, ports);
  store<u32>(tcp, ack, 8);
  let sum = plainPseudoSum + ports + ack + window;
  plainTcpLen = TCP_HEADER;
  if (t.flags & FL_TS) {
    const stamp = bswap<u32>(nowMs() + t.tsOffset);
    const echo = bswap<u32>(t.tsRecent);
    store<u32>(tcp, TS_WORD, 20);
    store<u32>(tcp, stamp, 24);
    store<u32>(tcp, echo, 28);
    sum += <u64>TS_WORD + <u64>stamp + <u64>echo;
    plainTcpLen = TCP_HEADER + TS_BYTES;
  }
  const offset = plainTcpLen << 2;
  store<u32>(tcp, offset | window, 12);
  store<u32>(tcp, 0, 16);
  plainTcpSum = sum + offset;
}

/** Copies the headers from `model`: stores of fixed size, whatever the lengths. */
@inline
export function headersCopy(f: u32, model: u32, four: bool): void {
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
  store<u64>(f, load<u64>(model, 88), 88);
  if (four) return;
  store<u64>(f, load<u64>(model, 8), 8);
  store<u64>(f, load<u64>(model, 16), 16);
}

/** Fills in the IPv4 header's lengths and checksum, or the IPv6 header's. `sum`: of the IPv4 header without them. */
@inline
export function lengthPut(f: u32, four: bool, l4Len: u32, sum: u64): void {
  if (!four) {
    store<u16>(frameIpv6(f), bswap<u16>(<u16>l4Len), IPV6_PAYLOAD);
    return;
  }
  const totalRaw = <u32>bswap<u16>(<u16>(IPV4_HEADER + l4Len));
  store<u16>(frameL3(f), <u16>totalRaw, IPV4_TOTAL);
  store<u16>(frameL3(f), <u16>~fold(sum + totalRaw), IPV4_CHECKSUM);
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

/** Writes the descriptor of the headers at `f` into the ring's slot at `head`, with `last` if nothing follows. Returns the slot. */
@inline
export function descriptorPut(f: u32, head: u32, four: bool, headerBytes: u32, way: u32, last: u32): u32 {
  const ipLen = four ? IPV4_HEADER : IPV6_HEADER;
  const at = txSlotAt(head);
  store<u32>(at, (four ? frameL3(f) : frameIpv6(f)) - ETH_HEADER, TXD_ADDR);
  store<u32>(at, ETH_HEADER + ipLen + headerBytes, TXD_LEN);
  store<u32>(at, (way == SUM_LINK ? TXF_START | TXF_TCP_CSUM : TXF_START) | last, TXD_FLAGS);
  store<u32>(at, ETH_HEADER | (ipLen << 8) | (headerBytes << 16), TXD_OFFLOAD);
  return at;
}

/** Counts segments that have gone, with `bytes` of payload in all. */
@inline
export function counted(t: Tcb, segments: u32, bytes: u32): void {
  countAdd(plainV4 ? CNT_IpOutRequests : CNT_Ip6OutRequests, segments);
  countAdd(CNT_TxFrames, segments);
  countAdd(CNT_TxBytes, segments * (ETH_HEADER + (plainV4 ? IPV4_HEADER : IPV6_HEADER) + plainTcpLen) + bytes);
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
  headersPut(t, f, neighbour, false);
  lengthPut(f, plainV4, plainTcpLen, plainIpSum);
  const tcp = frameL4(f);
  const lenRaw = <u32>bswap<u16>(<u16>plainTcpLen);
  setTcpSeq(tcp, t.sndNxt);
  setTcpFlags(tcp, plainFlags);
  const way = sumWay(config, plainV4);
  if (way == SUM_LINK) setTcpChecksum(tcp, <u16>fold(plainPseudoSum + lenRaw));
  else if (way == SUM_OURS) {
    setTcpChecksum(tcp, <u16>~fold(plainTcpSum + lenRaw + bswap<u32>(t.sndNxt) + ((<u64>plainFlags) << 8)));
  }
  const head = load<u32>(CTL_TX_HEAD);
  descriptorPut(f, head, plainV4, plainTcpLen, way, TXF_END);
  store<u32>(CTL_TX_HEAD, head + 1);
  counted(t, 1, 0);
  return true;
}
