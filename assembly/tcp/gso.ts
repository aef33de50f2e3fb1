// Segmentation by the link (CFGF_TX_TSO): segments of new data that follow each other in a turn become one frame of up to
// 64 KiB. sendNew() decides on each segment, each has its record (decision 005), and the wire sees the same bytes. Where
// the link does not cut, run.ts makes the segments.
//
// A frame holds what no two of its segments may differ in: acknowledgment, window, timestamps, ECN, route and MAC. Nothing
// that could change them happens between gsoSend() and gsoEnd(). Segments with more to say (urgent data, SACK, CWR, the
// first one on a path whose MAC is not known) are sent by segmentSend(), and so is everything on a connection that does
// as Linux does.

import { CNT_TcpOutSegs } from '../abi/counters';
import { CFGF_NO_GSO, CFG_FLAGS, CTL_TX_HEAD, TX_MAX_SEGS, TX_TSO_MAX_CUTS, TX_TSO_MAX_SEGS } from '../abi/layout';
import { countAdd } from '../abi/runtime';
import {
  frameBegin,
  frameCut,
  frameExtend,
  frameL4,
  framePayload,
  framePieces,
  ipOutput,
  pathReady,
  txRoom,
} from '../ip/output';
import { IPV4_HEADER } from '../wire/ipv4';
import { TCPF_FIN, TCPF_PSH, setTcpFlags, tcpFlags } from '../wire/tcp';
import { asLinuxReceiver } from './linux';
import { sackBytes } from './options';
import { linkCuts } from './plain';
import { ackCarried, headerService, pieceCount, PROTO_TCP, segmentHeader, segmentSend } from './segment';
import { sendNodeAt } from './sendq';
import { F2_CWR_OWED, F2_SND_URG, Tcb, addressesOf, coldOf, isV4 } from './tcb';
import { txSegAt } from './txseg';

/** The total length of an IPv4 packet is 16 bits. */
const IPV4_MOST: u32 = 65535;

/** A frame for the link to cut is being built, behind the ring's head. */
export let gsoCutting: bool = false;
let l4: u32 = 0;
let mss: u32 = 0;
let tcpLen: u32 = 0;
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
  if (gsoCutting) {
    if (cutAppend(seq, node, len, flags)) return true;
    cutEnd(t);
  }
  // What nothing follows is no run.
  if (t.sndEnd - seq <= len || !linkCuts(load<u32>(CFG_FLAGS)) || !uniform(t) || !cutBegins(t)) {
    return segmentSend(t, seq, node, len, flags);
  }
  return cutBegin(t, record, seq, node, len, flags);
}

/** No more of this run comes. */
@inline
export function gsoEnd(t: Tcb): void {
  if (gsoCutting) cutEnd(t);
}

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
  gsoCutting = true;
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
  gsoCutting = false;
  if (cuts > 1) frameCut(mss);
  ipOutput(t.dst, addressesOf(t), PROTO_TCP, tcpLen, total, headerService);
  // The link takes them all at once.
  const head = load<u32>(CTL_TX_HEAD);
  for (let at = firstRecord; at; ) {
    const s = txSegAt(at);
    s.txPos = head;
    at = s.next;
  }
  const c = coldOf(t);
  c.segsOut += cuts;
  c.dataSegsOut += cuts;
  c.bytesSent += total;
  countAdd(CNT_TcpOutSegs, cuts);
}
