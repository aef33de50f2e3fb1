// Runs of plain segments (plain.ts): new data that goes in one turn. Their headers are planned once, and only sequence number,
// flags, lengths and checksums are made for each, from sums of what stays the same. What decides on them is asked once for
// all. Each segment has its record (decision 005).
//
// Nothing that the segments of a run share can change before its end: acknowledgment, window, timestamps, ECN, route and MAC.

import { CFG_FLAGS, CTL_TX_HEAD, TXF_END } from '../abi/layout';
import { nowUs } from '../abi/runtime';
import { frameL4, txRoom, txSlotAt } from '../ip/output';
import { fold, sum16, sumAppend } from '../wire/checksum';
import { TCPF_PSH, setTcpChecksum } from '../wire/tcp';
import { roomFree } from '../zbuf/headroom';
import { zbufAllocHeader, zbufRef, zbufRefMany, zbufRooms } from '../zbuf/zbuf';
import { nowMs } from './isn';
import { TxSeg, txSegAlloc, txSegFree, txSegScarce } from './records';
import { PIECES_MAX } from './segment';
import { sendNodeAt } from './sendq';
import { seqGt } from './seq';
import {
  CA_OPEN,
  F2_CORK,
  F2_HOLD,
  F2_MARKS,
  F2_MORE,
  F2_PUSH_ONCE,
  FL_FIN_QUEUED,
  FL_NODELAY,
  Tcb,
  coldOf,
  isV4,
  pipe,
} from './tcb';
import { txSegAt } from './txseg';
import {
  SUM_LINK,
  SUM_NONE,
  SUM_OURS,
  counted,
  describe,
  headersPlan,
  headersPut,
  linkCuts,
  plainBytes,
  plainFlags,
  plainFrame,
  plainPseudoSum,
  plainSays,
  plainTcpLen,
  plainTcpSum,
  plainV4,
  plainVia,
  sumWay,
} from './plain';

/** Whether the last segment of all, if it is a small one, may go, and has nothing to say but PSH (Nagle: output.ts). */
@inline
function endsPlainly(t: Tcb): bool {
  if (t.flags & FL_FIN_QUEUED || coldOf(t).flags2 & (F2_CORK | F2_HOLD | F2_MORE | F2_PUSH_ONCE)) return false;
  return (t.flags & FL_NODELAY) != 0 || !seqGt(coldOf(t).sndSml, t.sndUna);
}

// Results of acrossPieces().
let acrossNode: u32 = 0;
let acrossSkip: u32 = 0;
let acrossSum: u64 = 0;

/** Pieces that the `len` bytes lie in which begin `skip` bytes into the one at `node`; 0 = more than a frame can carry. */
function piecesOf(node: u32, skip: u32, len: u32): u32 {
  let pieces: u32 = 1;
  let have = sendNodeAt(node).len - skip;
  while (have < len) {
    if (++pieces > PIECES_MAX) return 0;
    node = sendNodeAt(node).next;
    have += sendNodeAt(node).len;
  }
  return pieces;
}

/** Describes such bytes, in several pieces, from the ring's slot number `head` on, and sums them if wanted. Takes their references. */
function acrossPieces(node: u32, skip: u32, len: u32, head: u32, summed: bool): void {
  let odd = false;
  acrossSum = 0;
  while (true) {
    const n = sendNodeAt(node);
    const from = n.addr + skip;
    const take = min(len, n.len - skip);
    describe(txSlotAt(head++), from, take, take == len ? TXF_END : 0);
    if (summed) acrossSum = sumAppend(acrossSum, odd, from, take);
    odd = odd != ((take & 1) != 0);
    zbufRef(from);
    len -= take;
    skip += take;
    if (skip == n.len) {
      node = n.next;
      skip = 0;
    }
    if (len == 0) break;
  }
  acrossNode = node;
  acrossSkip = skip;
}

/** Puts the record of `len` bytes from `seq` on behind `tail`, the last one so far. `txPos`: the head of the ring behind it. */
@inline
function recordPut(t: Tcb, tail: u32, record: u32, seq: u32, len: u32, node: u32, txPos: u32): void {
  const s = txSegAt(record);
  s.next = 0;
  s.seq = seq;
  // Neither marks nor times.
  store<u32>(record, len, offsetof<TxSeg>('len'));
  s.node = node;
  s.sentUs = nowUs;
  s.txPos = txPos;
  s.firstMs = nowMs();
  if (tail) txSegAt(tail).next = record;
  else t.txHead = record;
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
  let head = load<u32>(CTL_TX_HEAD);
  let slots = txRoom();
  let node = t.sqNext;
  let n = sendNodeAt(node);
  let skip = seq - n.seq;
  /** References to the object of `n` that the ring will have. */
  let refs: u32 = 0;
  // What the segments share, once the first one is sure to go: its window is a promise.
  let four = false;
  let way = SUM_NONE;
  let says: u64 = 0;
  let bytes: u32 = 0;
  let bits: u32 = 0;
  let base: u64 = 0;
  let headerBytes: u32 = 0;
  let segments: u32 = 0;
  let tail = t.txTail;
  let len: u32 = 0;
  while (left != 0) {
    len = min(left, mss);
    const last = seq + len == end;
    if ((last || len < mss) && !whole) break;
    const from = n.addr + skip;
    const pieces: u32 = n.len - skip >= len ? 1 : piecesOf(node, skip, len);
    if (pieces == 0 || slots <= pieces || txSegScarce()) break;
    if (zbufRooms != 0 && roomFree(from)) break;
    const record = txSegAlloc();
    if (!record) break;
    const f = zbufAllocHeader();
    if (!f) {
      txSegFree(record);
      break;
    }
    if (segments == 0) {
      headersPlan(t, neighbour, true);
      four = plainV4;
      way = sumWay(config, four);
      says = plainSays(four, way, 0);
      bytes = plainBytes(four);
      headerBytes = plainTcpLen;
      bits = plainFlags;
      base = way == SUM_OURS ? plainTcpSum : plainPseudoSum;
    }
    const l4Len = headerBytes + len;
    const flags = last ? bits | TCPF_PSH : bits;
    headersPut(f, four, l4Len, seq, flags);
    describe(txSlotAt(head), plainFrame(f, four), bytes, says);
    slots -= pieces + 1;
    let sum = base + <u32>bswap<u16>(<u16>l4Len);
    const at = node;
    if (pieces == 1) {
      describe(txSlotAt(head + 1), from, len, TXF_END);
      if (way == SUM_OURS) sum = sum16(from, len, sum);
      refs++;
      skip += len;
    } else {
      acrossPieces(node, skip, len, head + 1, way == SUM_OURS);
      sum += acrossSum;
      skip = n.len;
    }
    head += pieces + 1;
    recordPut(t, tail, record, seq, len, at, head);
    tail = record;
    if (way != SUM_NONE) {
      setTcpChecksum(
        frameL4(f),
        way == SUM_LINK ? <u16>fold(sum) : <u16>~fold(sum + bswap<u32>(seq) + ((<u64>flags) << 8)),
      );
    }
    if (skip == n.len) {
      zbufRefMany(n.addr, refs);
      refs = 0;
      skip = pieces == 1 ? 0 : acrossSkip;
      node = pieces == 1 ? n.next : acrossNode;
      n = sendNodeAt(node);
    }
    seq += len;
    left -= len;
    segments++;
  }
  if (segments == 0) return false;
  if (refs != 0) zbufRefMany(n.addr, refs);
  store<u32>(CTL_TX_HEAD, head);
  const sent = seq - t.sndNxt;
  const c = coldOf(t);
  t.txTail = tail;
  t.sndNxt = seq;
  t.sqNext = node;
  if (seq == end && len < mss) c.sndSml = seq;
  c.txCount += segments;
  c.dataSegsOut += segments;
  c.bytesSent += sent;
  counted(t, segments, sent);
  return true;
}
