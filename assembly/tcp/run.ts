// Plain segments, what most are: new data in good order, or an ACK, of a connection whose peer's MAC is known, with nothing to
// say but what every segment says. Their headers are written at one go, from Ethernet to the timestamps. What follows
// the first segment in a turn has its headers copied from it, and only the sequence number, the flags, the lengths and
// the checksums are made anew, from sums of what stays the same. What decides on them is asked once for all.
//
// Whatever is not plain (urgent data, SACK, CWR, marks, retransmissions, a connection that does as Linux does) goes through
// output.ts, segment.ts and ip/output.ts, which do the same and more: the wire sees the same bytes. Each segment has its
// record either way (decision 005).
//
// Nothing that the segments of a run share can change before its end: acknowledgment, window, timestamps, ECN, route and MAC.

import {
  CNT_Ip6OutRequests,
  CNT_IpOutRequests,
  CNT_TcpOutSegs,
  CNT_TxBytes,
  CNT_TxFrames,
} from '../abi/counters';
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
import { countAdd, nowUs } from '../abi/runtime';
import { ourMac } from '../ip/interface';
import { neighbourMac, neighbourUsable } from '../ip/neighbour';
import { frameL3, frameL4, frameIpv6, txRoom, txSlotAt } from '../ip/output';
import { dstIs, dstNeighbour } from '../ip/route';
import { fold, pseudo4, pseudo6, sum16, sumAppend } from '../wire/checksum';
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
import { TCPF_ACK, TCPF_PSH, TCP_HEADER, setTcpChecksum, setTcpFlags, setTcpSeq } from '../wire/tcp';
import { roomFree } from '../zbuf/headroom';
import { zbufAllocHeader, zbufRefMany, zbufRooms } from '../zbuf/zbuf';
import { ecnFlags, ecnMark } from './ecn';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import { TS_BYTES, TS_WORD, sackBytes } from './options';
import { TxSeg, txSegAlloc, txSegFree, txSegScarce } from './records';
import { PIECES_MAX, PROTO_TCP, ackCarried, windowToOffer } from './segment';
import { sendNodeAt } from './sendq';
import { seqGt } from './seq';
import {
  CA_OPEN,
  F2_CORK,
  F2_CWR_OWED,
  F2_HOLD,
  F2_MARKS,
  F2_MORE,
  F2_PUSH_ONCE,
  F2_SND_URG,
  FL_ECN,
  FL_FIN_QUEUED,
  FL_NODELAY,
  FL_PERSIST,
  FL_TS,
  Tcb,
  addressesOf,
  coldOf,
  isV4,
  pipe,
} from './tcb';
import { txSegAt } from './txseg';

/** Whether the link is to cut large frames into segments (gso.ts). */
@inline
export function linkCuts(config: u32): bool {
  return (config & (CFGF_TX_TSO | CFGF_TX_CSUM | CFGF_TX_NO_CSUM)) == (CFGF_TX_TSO | CFGF_TX_CSUM);
}

// Of the headers that headersPut() has written: what is the same in all segments of a run.
let v4: bool = false;
/** Flags of TCP, without PSH. */
let flags: u32 = 0;
/** Bytes of the TCP header. */
let tcpLen: u32 = 0;
/** Sums without lengths, sequence number and flags: of the IPv4 header, of the pseudo-header, of it and the TCP header. */
let ipSum: u64 = 0;
let pseudoSum: u64 = 0;
let tcpSum: u64 = 0;

/** The neighbour that plain segments of the connection go to now; 0: there are none to be sent. */
@inline
function plainVia(t: Tcb, config: u32): u32 {
  if (config & CFGF_NO_GSO || asLinuxReceiver() || t.flags & FL_PERSIST) return 0;
  if (coldOf(t).flags2 & (F2_SND_URG | F2_CWR_OWED) || sackBytes(t) != 0) return 0;
  if (!dstIs(t.dst, addressesOf(t) + 16)) return 0;
  const neighbour = dstNeighbour(t.dst);
  return neighbour != 0 && neighbourUsable(neighbour) ? neighbour : 0;
}

/** Writes the headers of a segment at `f`, but for its lengths, sequence number, flags and checksums. `data`: it is new data. */
@inline
function headersPut(t: Tcb, f: u32, neighbour: u32, data: bool): void {
  const c = coldOf(t);
  const addresses = addressesOf(t);
  let service: u32 = c.tos;
  flags = TCPF_ACK;
  if (t.flags & FL_ECN) {
    flags |= ecnFlags(t, data);
    service |= ecnMark(t, data);
  }
  v4 = isV4(t);
  if (v4) {
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
    ipSum = <u64>src + <u64>dst + (first + DF_RAW + ttl);
    pseudoSum = pseudo4(src, dst, PROTO_TCP, 0);
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
    pseudoSum = pseudo6(addresses, addresses + 16, PROTO_TCP, 0);
  }
  const tcp = frameL4(f);
  const ports = bswap<u32>(rotl<u32>(t.ports, 16));
  const ack = bswap<u32>(t.rcvNxt);
  const window = (<u32>bswap<u16>(<u16>windowToOffer(t))) << 16;
  store<u32>(tcp, ports);
  store<u32>(tcp, ack, 8);
  let sum = pseudoSum + ports + ack + window;
  tcpLen = TCP_HEADER;
  if (t.flags & FL_TS) {
    const stamp = bswap<u32>(nowMs() + t.tsOffset);
    const echo = bswap<u32>(t.tsRecent);
    store<u32>(tcp, TS_WORD, 20);
    store<u32>(tcp, stamp, 24);
    store<u32>(tcp, echo, 28);
    sum += <u64>TS_WORD + <u64>stamp + <u64>echo;
    tcpLen = TCP_HEADER + TS_BYTES;
  }
  const offset = tcpLen << 2;
  store<u32>(tcp, offset | window, 12);
  store<u32>(tcp, 0, 16);
  tcpSum = sum + offset;
}

/** Copies the headers from `model`: stores of fixed size, whatever the lengths. */
@inline
function headersCopy(f: u32, model: u32): void {
  store<u64>(f, load<u64>(model, 24), 24);
  store<u64>(f, load<u64>(model, 32), 32);
  store<u64>(f, load<u64>(model, 40), 40);
  store<u64>(f, load<u64>(model, 48), 48);
  store<u64>(f, load<u64>(model, 56), 56);
  store<u64>(f, load<u64>(model, 64), 64);
  store<u64>(f, load<u64>(model, 72), 72);
  store<u64>(f, load<u64>(model, 80), 80);
  store<u64>(f, load<u64>(model, 88), 88);
  if (v4) return;
  store<u64>(f, load<u64>(model, 8), 8);
  store<u64>(f, load<u64>(model, 16), 16);
}

/** Fills in what differs between the segments of a run. `payload`: sum of the payload, if the checksum is ours to make. */
@inline
function headersFinish(f: u32, seq: u32, len: u32, push: u32, config: u32, payload: u64): void {
  const tcp = frameL4(f);
  const says = flags | push;
  setTcpSeq(tcp, seq);
  setTcpFlags(tcp, says);
  const lenRaw = <u32>bswap<u16>(<u16>(tcpLen + len));
  if (v4) {
    const ip = frameL3(f);
    const totalRaw = <u32>bswap<u16>(<u16>(IPV4_HEADER + tcpLen + len));
    store<u16>(ip, <u16>totalRaw, IPV4_TOTAL);
    store<u16>(ip, <u16>~fold(ipSum + totalRaw), IPV4_CHECKSUM);
  } else store<u16>(frameIpv6(f), <u16>lenRaw, IPV6_PAYLOAD);
  if (config & CFGF_TX_NO_CSUM) return;
  if (byLink(config)) setTcpChecksum(tcp, <u16>fold(pseudoSum + lenRaw));
  else setTcpChecksum(tcp, <u16>~fold(payload + tcpSum + lenRaw + bswap<u32>(seq) + ((<u64>says) << 8)));
}

/** Whether the link makes the checksum: links are asked to do it for IPv4 only. */
@inline
function byLink(config: u32): bool {
  return v4 && (config & (CFGF_TX_CSUM | CFGF_TX_NO_CSUM)) == CFGF_TX_CSUM;
}

/** Writes the descriptor of the headers at `f` into the ring's slot at `head`, with `last` if nothing follows. */
@inline
function descriptorPut(f: u32, head: u32, config: u32, last: u32): void {
  const ipLen = v4 ? IPV4_HEADER : IPV6_HEADER;
  const at = txSlotAt(head);
  store<u32>(at, (v4 ? frameL3(f) : frameIpv6(f)) - ETH_HEADER, TXD_ADDR);
  store<u32>(at, ETH_HEADER + ipLen + tcpLen, TXD_LEN);
  store<u32>(at, (byLink(config) ? TXF_START | TXF_TCP_CSUM : TXF_START) | last, TXD_FLAGS);
  store<u32>(at, ETH_HEADER | (ipLen << 8) | (tcpLen << 16), TXD_OFFLOAD);
}

/** Counts segments that have gone, with `bytes` of payload in all. */
@inline
function counted(t: Tcb, segments: u32, bytes: u32): void {
  countAdd(v4 ? CNT_IpOutRequests : CNT_Ip6OutRequests, segments);
  countAdd(CNT_TxFrames, segments);
  countAdd(CNT_TxBytes, segments * (ETH_HEADER + (v4 ? IPV4_HEADER : IPV6_HEADER) + tcpLen) + bytes);
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
  headersFinish(f, t.sndNxt, 0, 0, config, 0);
  const head = load<u32>(CTL_TX_HEAD);
  descriptorPut(f, head, config, TXF_END);
  store<u32>(CTL_TX_HEAD, head + 1);
  counted(t, 1, 0);
  return true;
}

/** Whether the last segment of all, if it is a small one, may go, and has nothing to say but PSH (Nagle: output.ts). */
@inline
function endsPlainly(t: Tcb): bool {
  if (t.flags & FL_FIN_QUEUED || coldOf(t).flags2 & (F2_CORK | F2_HOLD | F2_MORE | F2_PUSH_ONCE)) return false;
  return (t.flags & FL_NODELAY) != 0 || !seqGt(coldOf(t).sndSml, t.sndUna);
}

/** Payload pieces of a segment that begins with the last `have` bytes of the piece at `node` and needs more; 0 = too many. */
@inline
function piecesFrom(node: u32, have: u32, len: u32): u32 {
  let pieces: u32 = 1;
  while (have < len) {
    if (++pieces > PIECES_MAX) return 0;
    node = sendNodeAt(node).next;
    have += sendNodeAt(node).len;
  }
  return pieces;
}

/**
 * Sends new data as far as it is plain and both windows, the ring and the records let it go, each segment as output.ts would.
 * What is left then is for that to decide on. False when nothing was sent.
 */
export function runSend(t: Tcb): bool {
  const end = t.sndEnd;
  let seq = t.sndNxt;
  const config = load<u32>(CFG_FLAGS);
  const mss: u32 = t.sndMss;
  if (end == seq || t.caState != CA_OPEN || coldOf(t).flags2 & F2_MARKS) return false;
  if (linkCuts(config) && end - seq > mss && isV4(t)) return false;
  const room = <i32>(t.sndUna + t.sndWnd - seq);
  const free = <i32>(t.cwnd - pipe(t));
  if (room <= 0 || free <= 0) return false;
  let left = min(end - seq, <u32>min(room, free));
  // A part of a segment goes only as the end of all, and the end only if it has no more to say.
  const whole = left == end - seq && endsPlainly(t);
  if (!whole && left <= mss && (left < mss || seq + left == end)) return false;
  const neighbour = plainVia(t, config);
  if (neighbour == 0) return false;
  const sums: bool = !(config & CFGF_TX_NO_CSUM);
  let head = load<u32>(CTL_TX_HEAD);
  let slots = txRoom();
  let node = t.sqNext;
  let n = sendNodeAt(node);
  let skip = seq - n.seq;
  /** References to the object of `n` that the ring will have. */
  let refs: u32 = 0;
  let model: u32 = 0;
  let segments: u32 = 0;
  let tail = t.txTail;
  let len: u32 = 0;
  while (left != 0) {
    len = min(left, mss);
    const last = seq + len == end;
    if ((last || len < mss) && !whole) break;
    const addr = n.addr + skip;
    const have = n.len - skip;
    const pieces: u32 = have >= len ? 1 : piecesFrom(node, have, len);
    if (pieces == 0 || slots <= pieces || txSegScarce()) break;
    if (zbufRooms != 0 && roomFree(addr)) break;
    const record = txSegAlloc();
    if (!record) break;
    const f = zbufAllocHeader();
    if (!f) {
      txSegFree(record);
      break;
    }
    if (model == 0) {
      headersPut(t, f, neighbour, true);
      model = f;
    } else headersCopy(f, model);
    const s = txSegAt(record);
    s.next = 0;
    s.seq = seq;
    // Neither marks nor times.
    store<u32>(record, len, offsetof<TxSeg>('len'));
    s.node = node;
    s.sentUs = nowUs;
    s.txPos = head + pieces + 1;
    s.firstMs = nowMs();
    if (tail) txSegAt(tail).next = record;
    else t.txHead = record;
    tail = record;

    descriptorPut(f, head++, config, 0);
    let sum: u64 = 0;
    let rest = len;
    let odd = false;
    let at: u32 = 0;
    while (true) {
      const from = n.addr + skip;
      const take = min(rest, n.len - skip);
      at = txSlotAt(head++);
      store<u32>(at, from, TXD_ADDR);
      store<u32>(at, take, TXD_LEN);
      store<u32>(at, 0, TXD_FLAGS);
      store<u32>(at, 0, TXD_OFFLOAD);
      if (sums && !byLink(config)) {
        sum = sumAppend(sum, odd, from, take);
        odd = odd != ((take & 1) != 0);
      }
      refs++;
      skip += take;
      rest -= take;
      if (skip == n.len) {
        zbufRefMany(n.addr, refs);
        refs = 0;
        skip = 0;
        node = n.next;
        n = sendNodeAt(node);
      }
      if (rest == 0) break;
    }
    store<u32>(at, TXF_END, TXD_FLAGS);
    headersFinish(f, seq, len, last ? TCPF_PSH : 0, config, sum);
    slots -= pieces + 1;
    seq += len;
    left -= len;
    segments++;
  }
  if (segments == 0) return false;
  if (refs != 0) zbufRefMany(n.addr, refs);
  store<u32>(CTL_TX_HEAD, head);
  const bytes = seq - t.sndNxt;
  const c = coldOf(t);
  t.txTail = tail;
  t.sndNxt = seq;
  t.sqNext = node;
  if (seq == end && len < mss) c.sndSml = seq;
  c.txCount += segments;
  c.dataSegsOut += segments;
  c.bytesSent += bytes;
  counted(t, segments, bytes);
  return true;
}
