// Transmitted, unacknowledged segments in sequence order: what loss detection works on (RFC 6675's scoreboard, and
// what RACK needs: when each was last sent). sackedBytes, lostBytes and retransBytes of the block always equal the
// sums over the marks, except that without SACK sackedBytes stands for duplicate ACKs (recovery.ts).

import { CTL_TX_HEAD, SEND_RECORD } from '../abi/layout';
import { nowUs } from '../abi/runtime';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import {
  TXM_FIN,
  TXM_LOST,
  TXM_PUSH,
  TXM_RETRANS,
  TXM_SACKED,
  TXM_TSO,
  TxSeg,
  sendMarkGet,
  txSegAlloc,
  txSegFree,
} from './records';
import { PIECES_MAX } from './segment';
import { seqLe, seqLt } from './seq';
import { sendNodeAt } from './sendq';
import { rackDelivered, rackUnderWay } from './rack';
import { CA_OPEN, F2_MARKS, FL_SACK, Tcb, coldOf, pipe } from './tcb';

@inline
export function txSegAt(address: u32): TxSeg {
  return changetype<TxSeg>(<usize>address);
}

/** Sequence numbers it occupies. */
@inline
export function txSegSpace(s: TxSeg): u32 {
  return <u32>s.len + <u32>((s.mark & TXM_FIN) != 0);
}

/** Appends the record `at` (from txSegAlloc) for a segment that was just published. */
@inline
export function txSegAppend(t: Tcb, at: u32, seq: u32, len: u32, node: u32, mark: u32): void {
  const s = txSegAt(at);
  s.next = 0;
  s.seq = seq;
  s.len = <u16>len;
  s.mark = <u8>mark;
  s.times = 0;
  s.node = node;
  s.sentUs = nowUs;
  s.txPos = load<u32>(CTL_TX_HEAD);
  s.firstMs = nowMs();
  if (t.txTail) txSegAt(t.txTail).next = at;
  else t.txHead = at;
  t.txTail = at;
  coldOf(t).txCount++;
}

/** Takes `space` sequence numbers of a segment with these marks off the block's sums. */
@inline
function forget(t: Tcb, mark: u32, space: u32, whole: bool): void {
  if (mark & TXM_SACKED) {
    t.sackedBytes -= space;
    if (whole) t.sackedSegs--;
  }
  if (mark & TXM_LOST) {
    t.lostBytes -= space;
    if (mark & TXM_RETRANS) t.retransBytes -= space;
  }
}

// Results of txSegAcked().
/** When the oldest newly acknowledged segment that was never retransmitted was sent; 0 = there is none. */
export let ackedSentUs: u64 = 0;
/** Some newly acknowledged segment had been retransmitted. */
export let ackedRetransmitted: bool = false;
/** Since ackBegin(), something below the recovery point that was never retransmitted was acknowledged or sacked. */
export let ackedOriginal: bool = false;

/** An ACK is about to be processed. */
@inline
export function ackBegin(): void {
  ackedOriginal = false;
}

/**
 * What is in the network as the congestion window counts it: bytes (RFC 6675's pipe), or, for Linux, as many full
 * segments as there are segments, however small.
 */
export function inNetwork(t: Tcb): u32 {
  // Without small ones outstanding the two are the same.
  if (!asLinuxReceiver() || seqLe(coldOf(t).sndSml, t.sndUna)) return pipe(t);
  let segments: u32 = 0;
  for (let at = t.txHead; at; at = txSegAt(at).next) {
    const mark: u32 = txSegAt(at).mark;
    if ((mark & TXM_SACKED) == 0 && (mark & (TXM_LOST | TXM_RETRANS)) != TXM_LOST) segments++;
  }
  return t.flags & FL_SACK ? segments * t.sndMss : max(segments * t.sndMss, t.sackedBytes) - t.sackedBytes;
}

/** Drops the records below `ack` and shortens the one across it. */
export function txSegAcked(t: Tcb, ack: u32): void {
  ackedSentUs = 0;
  ackedRetransmitted = false;
  // In good order the last delivered segment tells nothing that the first one out of order does not.
  const disorder = t.flags & FL_SACK ? t.caState != CA_OPEN || t.sackedSegs != 0 : false;
  let segments: u32 = 0;
  let freed: u32 = 0;
  let at = t.txHead;
  while (at) {
    const s = txSegAt(at);
    const mark: u32 = s.mark;
    const space = txSegSpace(s);
    if (!seqLe(s.seq + space, ack)) {
      if (seqLt(s.seq, ack)) shorten(t, s, ack);
      break;
    }
    if (disorder && (mark & TXM_SACKED) == 0) rackDelivered(t, s);
    if (s.times != 0) ackedRetransmitted = true;
    else if ((mark & TXM_SACKED) == 0) {
      if (ackedSentUs == 0) ackedSentUs = s.sentUs;
      if (disorder && seqLe(s.seq + space, coldOf(t).recover)) ackedOriginal = true;
    }
    if ((mark & TXM_SACKED) == 0) segments++;
    if (mark & (TXM_SACKED | TXM_LOST)) forget(t, mark, space, true);
    const next = s.next;
    txSegFree(at);
    freed++;
    at = next;
  }
  t.txHead = at;
  if (!at) t.txTail = 0;
  const c = coldOf(t);
  c.delivered += segments;
  c.txCount -= freed;
}

function shorten(t: Tcb, s: TxSeg, ack: u32): void {
  const cut = ack - s.seq;
  forget(t, s.mark, cut, false);
  s.seq = ack;
  s.len -= <u16>cut;
  s.node = nodeHolding(s.node, ack);
}

/** The send-queue piece that holds `seq`, found from an earlier one. */
export function nodeHolding(from: u32, seq: u32): u32 {
  let at = from;
  while (at) {
    const node = sendNodeAt(at);
    if (seqLt(seq, node.seq + node.len)) return at;
    at = node.next;
  }
  return 0;
}

/** Splits a segment so that its first part has `len` payload bytes. False when there is no record left. */
export function txSegSplit(t: Tcb, at: u32, len: u32): bool {
  const rest = txSegAlloc();
  if (!rest) return false;
  const s = txSegAt(at);
  const r = txSegAt(rest);
  memory.copy(rest, at, offsetof<TxSeg>());
  r.seq = s.seq + len;
  r.len = <u16>(<u32>s.len - len);
  r.node = nodeHolding(s.node, r.seq);
  s.len = <u16>len;
  s.mark &= <u8>~(TXM_FIN | TXM_PUSH | TXM_TSO);
  s.next = rest;
  if (t.txTail == at) t.txTail = rest;
  if (s.mark & TXM_SACKED) t.sackedSegs++;
  coldOf(t).txCount++;
  return true;
}

/**
 * Joins the segment after `at` to it, if their marks are the same, so that they may go as one (tcp_retrans_try_collapse()).
 * False when there is none, or a record of the application's ends between them.
 */
export function txSegJoin(t: Tcb, at: u32): bool {
  const s = txSegAt(at);
  const from = s.next;
  if (!from || s.mark & TXM_FIN) return false;
  const next = txSegAt(from);
  const state = TXM_SACKED | TXM_LOST | TXM_RETRANS;
  if ((s.mark & state) != (next.mark & state) || next.len == 0 || seqLt(s.seq + s.len, next.seq)) return false;
  if (<u32>s.len + <u32>next.len > 0xffff) return false;
  const marked = (coldOf(t).flags2 & F2_MARKS) != 0;
  const end = next.seq + next.len;
  let pieces: u32 = 1;
  for (let node = s.node; ; node = sendNodeAt(node).next) {
    const stop = sendNodeAt(node).seq + sendNodeAt(node).len;
    if (seqLe(end, stop)) break;
    if ((marked && stop == next.seq && sendMarkGet(node) & SEND_RECORD) || pieces++ == PIECES_MAX) return false;
  }
  s.len += next.len;
  s.mark = (s.mark & <u8>~(TXM_PUSH | TXM_TSO)) | (next.mark & <u8>(TXM_FIN | TXM_PUSH | TXM_TSO));
  s.next = next.next;
  if (t.txTail == from) t.txTail = at;
  txSegFree(from);
  return true;
}

/** Marks a segment lost, unless it is sacked or already so. */
export function markLost(t: Tcb, s: TxSeg): void {
  if (s.mark & (TXM_SACKED | TXM_LOST)) return;
  s.mark |= <u8>TXM_LOST;
  const space = txSegSpace(s);
  t.lostBytes += space;
  // Without SACK, sackedBytes are a guess that must not outgrow what is left.
  if (!(t.flags & FL_SACK)) {
    const left = t.sndNxt - t.sndUna - t.lostBytes;
    if (t.sackedBytes > left) t.sackedBytes = left;
  }
}

/** A retransmission was lost as well: the segment waits to be sent again. */
export function unmarkRetrans(t: Tcb, s: TxSeg): void {
  s.mark &= <u8>~TXM_RETRANS;
  t.retransBytes -= txSegSpace(s);
}

/** Marks a segment selectively acknowledged. True when it was not yet. */
export function markSacked(t: Tcb, s: TxSeg): bool {
  const mark: u32 = s.mark;
  if (mark & TXM_SACKED) return false;
  const space = txSegSpace(s);
  if (mark & TXM_LOST) forget(t, mark, space, false);
  s.mark = <u8>((mark & ~(TXM_LOST | TXM_RETRANS)) | TXM_SACKED);
  t.sackedBytes += space;
  t.sackedSegs++;
  coldOf(t).delivered++;
  if (s.times == 0 && seqLe(s.seq + space, coldOf(t).recover)) ackedOriginal = true;
  return true;
}

/**
 * The timer has expired: marks what is outstanding lost (RFC 6298 §5.4 and RFC 6675 §5.1), but not what RACK takes to
 * be still under way (RFC 8985 §6.3). `reneged` forgets SACK information first.
 */
export function markTimedOut(t: Tcb, reneged: bool): void {
  t.lostBytes = t.retransBytes = 0;
  if (reneged || !(t.flags & FL_SACK)) {
    t.sackedBytes = 0;
    t.sackedSegs = 0;
  }
  let at = t.txHead;
  while (at) {
    const s = txSegAt(at);
    let mark: u32 = s.mark & ~(TXM_LOST | TXM_RETRANS);
    if (reneged) mark &= ~TXM_SACKED;
    if (!(mark & TXM_SACKED) && (at == t.txHead || reneged || !rackUnderWay(t, s))) {
      mark |= TXM_LOST;
      t.lostBytes += txSegSpace(s);
    }
    s.mark = <u8>mark;
    at = s.next;
  }
}

/** Nothing outstanding is lost after all. */
export function clearLost(t: Tcb): void {
  let at = t.txHead;
  while (at) {
    const s = txSegAt(at);
    s.mark &= <u8>~(TXM_LOST | TXM_RETRANS);
    at = s.next;
  }
  t.lostBytes = t.retransBytes = 0;
}

export function txSegPurge(t: Tcb): void {
  let at = t.txHead;
  while (at) {
    const next = txSegAt(at).next;
    txSegFree(at);
    at = next;
  }
  t.txHead = t.txTail = 0;
  coldOf(t).txCount = 0;
  t.sackedBytes = t.lostBytes = t.retransBytes = 0;
  t.sackedSegs = 0;
}
