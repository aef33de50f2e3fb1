// Segmentation as late as possible: a run of new data of one connection, which sendNew() lets go in one turn.
//
// Where the link cuts (CFGF_TX_TSO), segments that follow each other become one frame of up to 64 KiB. Elsewhere the first
// segment of a run is built by segment.ts, and what follows has its headers copied and only the sequence number, the
// flags, the lengths and the checksums made anew: sums of what stays the same are taken once. Either way sendNew()
// decides on each segment, each has its record (decision 005), and the wire sees the same bytes.
//
// A run holds what no two of its segments may differ in: acknowledgment, window, timestamps, ECN, route and MAC. Nothing
// that could change them happens between gsoSend() and gsoEnd(). Segments with more to say (urgent data, SACK, CWR, the
// first one on a path whose MAC is not known) are sent by segmentSend(), and so is everything on a connection that does
// as Linux does.

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
  TX_MAX_SEGS,
  TX_TSO_MAX_CUTS,
  TX_TSO_MAX_SEGS,
} from '../abi/layout';
import { countAdd } from '../abi/runtime';
import {
  frameBegin,
  frameCut,
  frameExtend,
  frameL4,
  framePayload,
  framePieces,
  framePut,
  ipOutput,
  pathReady,
  txRoom,
  txSlot,
} from '../ip/output';
import { fold, pseudo4, pseudo6, sum16, sumAppend } from '../wire/checksum';
import { ETH_HEADER } from '../wire/ethernet';
import { IPV4_CHECKSUM, IPV4_HEADER, IPV4_TOTAL, mappedRaw } from '../wire/ipv4';
import { IPV6_HEADER, IPV6_PAYLOAD } from '../wire/ipv6';
import {
  TCPF_FIN,
  TCPF_PSH,
  TCP_CHECKSUM,
  TCP_FLAGS,
  TCP_SEQ,
  setTcpChecksum,
  setTcpFlags,
  setTcpSeq,
  tcpFlags,
} from '../wire/tcp';
import { asLinuxReceiver } from './linux';
import { sackBytes } from './options';
import { ackCarried, headerService, payloadPut, pieceCount, PROTO_TCP, segmentHeader, segmentSend } from './segment';
import { sendNodeAt } from './sendq';
import { F2_CWR_OWED, F2_SND_URG, Tcb, addressesOf, coldOf, isV4 } from './tcb';
import { txSegAt } from './txseg';

/** The total length of an IPv4 packet is 16 bits. */
const IPV4_MOST: u32 = 65535;

/** Nothing is under way; headers are copied from `model`; a frame for the link to cut is being built. */
const IDLE: u32 = 0;
const COPY: u32 = 1;
const CUT: u32 = 2;
let run: u32 = IDLE;

// While run is COPY: the frame that headers are copied from, and what is the same in all.
let model: u32 = 0;
/** Where in a header object its Ethernet header is. */
let ethOffset: u32 = 0;
let headerLen: u32 = 0;
let offload: u32 = 0;
let frameFlags: u32 = 0;
let v4: bool = false;
/** Bytes of the TCP header. */
let tcpLen: u32 = 0;
/** Payload of the model. */
let modelLen: u32 = 0;
/** Sums without lengths: of the IPv4 header, of the pseudo-header, of it and the TCP header less sequence number and flags. */
let ipSum: u64 = 0;
let pseudoSum: u64 = 0;
let tcpSum: u64 = 0;
/** Flags that every segment of the run has. */
let commonFlags: u32 = 0;
/** Segments and payload bytes that are not counted yet. */
let segments: u32 = 0;
let bytes: u32 = 0;

// While run is CUT.
let l4: u32 = 0;
let mss: u32 = 0;
let cuts: u32 = 0;
let total: u32 = 0;
/** Pieces the frame may have, and what in the send queue the last one is of. */
let piecesMost: u32 = 0;
let lastNode: u32 = 0;
/** Record of the first segment. */
let firstRecord: u32 = 0;

/** Whether the segments of a run say the same in everything that gsoSend() copies. */
@inline
function uniform(t: Tcb): bool {
  return (
    (load<u32>(CFG_FLAGS) & CFGF_NO_GSO) == 0 &&
    (coldOf(t).flags2 & (F2_SND_URG | F2_CWR_OWED)) == 0 &&
    sackBytes(t) == 0 &&
    !asLinuxReceiver()
  );
}

/**
 * Sends a segment of new data, as segmentSend() does. `record` is its record, which the caller appends. False when there is
 * no room for it. gsoEnd() has to follow, before anything else is sent.
 */
export function gsoSend(t: Tcb, record: u32, seq: u32, node: u32, len: u32, flags: u32): bool {
  if (run == CUT) {
    if (cutAppend(seq, node, len, flags)) return true;
    cutEnd(t);
  }
  if (run == COPY && len != 0) return copySend(seq, node, len, flags);
  // What nothing follows is no run.
  if (t.sndEnd - seq <= len || !uniform(t)) return segmentSend(t, seq, node, len, flags);
  const config = load<u32>(CFG_FLAGS);
  if ((config & (CFGF_TX_TSO | CFGF_TX_CSUM | CFGF_TX_NO_CSUM)) == (CFGF_TX_TSO | CFGF_TX_CSUM) && cutBegins(t)) {
    return cutBegin(t, record, seq, node, len, flags);
  }
  const head = load<u32>(CTL_TX_HEAD);
  if (!segmentSend(t, seq, node, len, flags)) return false;
  copyBegin(t, head, len);
  return true;
}

/** No more of this run comes. */
@inline
export function gsoEnd(t: Tcb): void {
  if (run == COPY) copyEnd(t);
  else if (run == CUT) cutEnd(t);
}

// ---- headers copied ----

/** Takes the segment just sent as the model of what follows, if it has gone into the ring at `head`. */
function copyBegin(t: Tcb, head: u32, len: u32): void {
  const slot = txSlot(head - load<u32>(CTL_TX_HEAD));
  // A frame that waits for a MAC is not in the ring: there is nothing there, or a question for the MAC, of one segment.
  if (load<u32>(CTL_TX_HEAD) - head < 2) return;
  const eth = load<u32>(slot, TXD_ADDR);
  offload = load<u32>(slot, TXD_OFFLOAD);
  // Not the segment's length: payload may follow the headers in it.
  headerLen = (offload & 0xff) + ((offload >> 8) & 0xff) + ((offload >> 16) & 0xff);
  frameFlags = load<u32>(slot, TXD_FLAGS) & ~TXF_END;
  v4 = isV4(t);
  const l3Len = v4 ? IPV4_HEADER : IPV6_HEADER;
  const tcp = eth + ETH_HEADER + l3Len;
  tcpLen = headerLen - ETH_HEADER - l3Len;
  // frameL4() of the object it is in.
  model = tcp - frameL4(0);
  ethOffset = eth - model;
  modelLen = len;
  commonFlags = tcpFlags(tcp) & ~(TCPF_PSH | TCPF_FIN);
  const addresses = addressesOf(t);
  if (v4) {
    const src = mappedRaw(addresses);
    const dst = mappedRaw(addresses + 16);
    pseudoSum = pseudo4(src, dst, PROTO_TCP, 0);
    const ip = eth + ETH_HEADER;
    ipSum = sum16(ip, IPV4_HEADER, 0) - load<u16>(ip, IPV4_TOTAL) - load<u16>(ip, IPV4_CHECKSUM);
  } else pseudoSum = pseudo6(addresses, addresses + 16, PROTO_TCP, 0);
  tcpSum =
    sum16(tcp, tcpLen, pseudoSum) -
    load<u32>(tcp, TCP_SEQ) -
    ((<u64>load<u8>(tcp, TCP_FLAGS)) << 8) -
    load<u16>(tcp, TCP_CHECKSUM);
  run = COPY;
}

/** Copies the model's headers, of which TCP's has at most 32 bytes without SACK: stores of fixed size, whatever the lengths. */
@inline
function copyHeaders(f: u32): void {
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

function copySend(seq: u32, node: u32, len: u32, flags: u32): bool {
  const f = frameBegin(pieceCount(node, seq, len));
  if (!f) return false;
  copyHeaders(f);
  const tcp = frameL4(f);
  const eth = f + ethOffset;
  flags |= commonFlags;
  setTcpSeq(tcp, seq);
  setTcpFlags(tcp, flags);
  payloadPut(node, seq, len);
  const lenRaw = <u32>bswap<u16>(<u16>(tcpLen + len));
  if (len != modelLen) {
    const ip = eth + ETH_HEADER;
    if (v4) {
      const totalRaw = <u32>bswap<u16>(<u16>(IPV4_HEADER + tcpLen + len));
      store<u16>(ip, <u16>totalRaw, IPV4_TOTAL);
      store<u16>(ip, <u16>~fold(ipSum + totalRaw), IPV4_CHECKSUM);
    } else store<u16>(ip, <u16>lenRaw, IPV6_PAYLOAD);
  }
  const config = load<u32>(CFG_FLAGS);
  if (!(config & CFGF_TX_NO_CSUM)) {
    if (v4 && config & CFGF_TX_CSUM) setTcpChecksum(tcp, <u16>fold(pseudoSum + lenRaw));
    else {
      const acc = tcpSum + lenRaw + load<u32>(tcp, TCP_SEQ) + ((<u64>flags) << 8);
      setTcpChecksum(tcp, <u16>~fold(payloadSum(acc)));
    }
  }
  framePut(eth, headerLen, frameFlags, offload);
  segments++;
  bytes += len;
  return true;
}

/** Adds the payload of the frame being built to `acc`. */
@inline
function payloadSum(acc: u64): u64 {
  const pieces = framePieces();
  let odd = false;
  for (let i: u32 = 1; i <= pieces; i++) {
    const slot = txSlot(i);
    const len = load<u32>(slot, TXD_LEN);
    acc = sumAppend(acc, odd, load<u32>(slot, TXD_ADDR), len);
    if (len & 1) odd = !odd;
  }
  return acc;
}

function copyEnd(t: Tcb): void {
  run = IDLE;
  if (segments == 0) return;
  countAdd(v4 ? CNT_IpOutRequests : CNT_Ip6OutRequests, segments);
  countAdd(CNT_TxFrames, segments);
  countAdd(CNT_TxBytes, segments * headerLen + bytes);
  countSent(t);
}

/** Takes `segments` and `bytes` into the connection's account. */
function countSent(t: Tcb): void {
  const c = coldOf(t);
  c.segsOut += segments;
  c.dataSegsOut += segments;
  c.bytesSent += bytes;
  countAdd(CNT_TcpOutSegs, segments);
  segments = 0;
  bytes = 0;
}

// ---- one frame for the link to cut ----

/** Whether a frame for the link begins with this segment. */
@inline
function cutBegins(t: Tcb): bool {
  return isV4(t) && txRoom() >= TX_MAX_SEGS && pathReady(t.dst, addressesOf(t) + 16);
}

function cutBegin(t: Tcb, record: u32, seq: u32, node: u32, len: u32, flags: u32): bool {
  piecesMost = min(txRoom(), TX_TSO_MAX_SEGS) - 1;
  const f = frameBegin(piecesMost);
  if (!f) return false;
  tcpLen = segmentHeader(t, f, seq, len, flags & ~(TCPF_PSH | TCPF_FIN));
  ackCarried(t);
  l4 = frameL4(f);
  mss = len;
  cuts = 0;
  total = 0;
  lastNode = 0;
  firstRecord = record;
  run = CUT;
  return cutAppend(seq, node, len, flags);
}

/** Adds a segment to the frame. False when it has to go elsewhere. */
function cutAppend(seq: u32, node: u32, len: u32, flags: u32): bool {
  // Every segment but the last is of the same size.
  if (len == 0 || len > mss || total != cuts * mss || cuts == TX_TSO_MAX_CUTS) return false;
  if (IPV4_HEADER + tcpLen + total + len > IPV4_MOST) return false;
  if (tcpFlags(l4) & (TCPF_PSH | TCPF_FIN)) return false;
  if (framePieces() + pieceCount(node, seq, len) - <u32>(node == lastNode) > piecesMost) return false;
  let at = node;
  let from = seq;
  let left = len;
  while (left != 0) {
    const n = sendNodeAt(at);
    const skip = from - n.seq;
    const take = min(left, n.len - skip);
    if (at == lastNode) frameExtend(take);
    else framePayload(n.addr + skip, take);
    lastNode = at;
    from += take;
    left -= take;
    at = n.next;
  }
  cuts++;
  total += len;
  setTcpFlags(l4, tcpFlags(l4) | (flags & (TCPF_PSH | TCPF_FIN)));
  return true;
}

/** Sends the frame. */
function cutEnd(t: Tcb): void {
  run = IDLE;
  if (cuts > 1) frameCut(mss);
  ipOutput(t.dst, addressesOf(t), PROTO_TCP, tcpLen, total, headerService);
  // The link takes them all at once.
  const head = load<u32>(CTL_TX_HEAD);
  for (let at = firstRecord; at; ) {
    const s = txSegAt(at);
    s.txPos = head;
    at = s.next;
  }
  segments = cuts;
  bytes = total;
  countSent(t);
}
