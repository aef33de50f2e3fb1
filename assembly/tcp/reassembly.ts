// Out-of-order data: pieces of receive objects by reference, sorted and disjoint, and the ranges to report in SACK
// options (RFC 2018 §4: the block with the newest segment first, then the most recently reported ones; RFC 2883:
// duplicates once, in front). Bounded per connection (CFG_OOO_OBJECTS) and in total (CFG_OOO_TOTAL_OBJECTS), so that
// what is kept can never exhaust the pool that the missing segments must arrive in. A connection that may not have more
// gives up what is furthest from rcvNxt for what is nearer; when the total is used up, one that has more than the
// connection in need gives it up (RFC 2018 §8 allows it; the SACK ranges say so from then on).

import {
  CNT_TcpExtOfoPruned,
  CNT_TcpExtTCPDSACKOldSent,
  CNT_TcpExtTCPOFODrop,
  CNT_TcpExtTCPOFOMerge,
  CNT_TcpExtTCPOFOQueue,
} from '../abi/counters';
import { CFG_OOO_OBJECTS, CFG_OOO_TOTAL_OBJECTS } from '../abi/layout';
import { count } from '../abi/runtime';
import { rxObjectTotal } from '../zbuf/rxpool';
import { zbufRef, zbufUnref } from '../zbuf/zbuf';
import { RxPiece, rxPieceAlloc, rxPieceFree, rxPieceRoom, RX_EIGHTHS } from './records';
import { rcvqLink, rxPieceAt } from './recvq';
import { seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from './seq';
import { F2_DSACK, Cold, FL_SACK, SLOT_SIZE, Tcb, addressOf, coldOf, tcbAt, tcbTableAt, tcbTableEnd } from './tcb';

/** Pieces of all connections together. */
let held: u32 = 0;
/** A connection with many of them, 0 when none is known. */
let hoarder: u32 = 0;
/** The slot after which another is looked for when that has given up what it had too much, a few at a time. */
let hand: u32 = 0;
const LOOKS: u32 = 16;

@inline
function pieceEnd(piece: RxPiece): u32 {
  return piece.seq + piece.len;
}

/** Notes a duplicate range for the next ACK. */
export function dsackSet(t: Tcb, start: u32, end: u32): void {
  if (!(t.flags & FL_SACK) || start == end) return;
  const c = coldOf(t);
  c.dsackStart = start;
  c.dsackEnd = end;
  c.flags2 |= F2_DSACK;
  count(CNT_TcpExtTCPDSACKOldSent);
}

/** The same of a further range: joined where the two touch, else the first one stays. */
function dsackExtend(t: Tcb, start: u32, end: u32): void {
  const c = coldOf(t);
  if (c.dsackStart == c.dsackEnd) dsackSet(t, start, end);
  else if (seqLe(start, c.dsackEnd) && seqLe(c.dsackStart, end)) {
    c.dsackStart = seqMin(c.dsackStart, start);
    c.dsackEnd = seqMax(c.dsackEnd, end);
  }
}

function drop(at: u32): void {
  zbufUnref(rxPieceAt(at).addr);
  rxPieceFree(at);
  held--;
}

/** Gives up the piece that is furthest from rcvNxt. */
function prune(t: Tcb): void {
  count(CNT_TcpExtOfoPruned);
  reassemblyCut(t, rxPieceAt(coldOf(t).oooTail).seq);
}

/** There is room for a piece more of all connections' data, or a connection with more than `pieces` has given one up. */
function roomOfAll(pieces: u32): bool {
  const set = load<u32>(CFG_OOO_TOTAL_OBJECTS);
  if (held < (set != 0 ? set : rxObjectTotal() >> 2) && rxPieceRoom(RX_EIGHTHS) != 0) return true;
  if (hoarder == 0 || <u32>coldOf(tcbAt(hoarder)).oooCount <= pieces) {
    let most = pieces;
    for (let i: u32 = 0; i < LOOKS; i++) {
      hand = hand != 0 && hand + SLOT_SIZE < tcbTableEnd() ? hand + SLOT_SIZE : tcbTableAt();
      if (<u32>coldOf(tcbAt(hand)).oooCount <= most) continue;
      most = coldOf(tcbAt(hand)).oooCount;
      hoarder = hand;
    }
    if (most == pieces) return false;
  }
  prune(tcbAt(hoarder));
  return true;
}

/** Room for a piece of `t` that ends at `end`. */
function makeRoom(t: Tcb, end: u32): bool {
  if (<u32>coldOf(t).oooCount < load<u32>(CFG_OOO_OBJECTS) && roomOfAll(<u32>coldOf(t).oooCount + 1)) return true;
  if (t.oooHead == 0 || seqLt(rxPieceAt(coldOf(t).oooTail).seq, end)) return false;
  prune(t);
  return true;
}

/** Keeps [seq, seq + len), which lies inside the window and above rcvNxt, at `addr`. Takes a reference if it does. */
export function reassemblyAdd(t: Tcb, seq: u32, addr: u32, len: u32): void {
  const c = coldOf(t);
  let end = seq + len;
  let before: u32 = 0;
  // Mostly the new piece belongs at the end.
  if (t.oooHead && seqGe(seq, pieceEnd(rxPieceAt(c.oooTail)))) before = c.oooTail;
  else {
    let at = t.oooHead;
    while (at && seqLe(rxPieceAt(at).seq, seq)) {
      before = at;
      at = rxPieceAt(at).next;
    }
    if (before) {
      const stop = pieceEnd(rxPieceAt(before));
      if (seqGt(stop, seq)) {
        dsackSet(t, seq, seqMin(stop, end));
        count(CNT_TcpExtTCPOFOMerge);
        if (seqGe(stop, end)) {
          sackNote(c, seq, end);
          return;
        }
        addr += stop - seq;
        seq = stop;
      }
    }
  }
  const made = makeRoom(t, end) ? rxPieceAlloc() : 0;
  if (!made) {
    count(CNT_TcpExtTCPOFODrop);
    return;
  }
  // What the new piece covers goes; what reaches beyond it shortens it.
  let after = before ? rxPieceAt(before).next : t.oooHead;
  while (after) {
    const next = rxPieceAt(after);
    if (!seqLt(next.seq, end)) break;
    dsackExtend(t, next.seq, seqMin(end, pieceEnd(next)));
    count(CNT_TcpExtTCPOFOMerge);
    if (seqGt(pieceEnd(next), end)) {
      end = next.seq;
      break;
    }
    const skip = next.next;
    drop(after);
    coldOf(t).oooCount--;
    after = skip;
  }
  if (seq == end) {
    rxPieceFree(made);
    return;
  }
  zbufRef(addr);
  const piece = rxPieceAt(made);
  piece.next = after;
  piece.addr = addr;
  piece.len = end - seq;
  piece.seq = seq;
  if (before) rxPieceAt(before).next = made;
  else t.oooHead = made;
  if (!after) c.oooTail = made;
  coldOf(t).oooCount++;
  held++;
  if (hoarder == 0 || coldOf(t).oooCount > coldOf(tcbAt(hoarder)).oooCount) hoarder = addressOf(t);
  count(CNT_TcpExtTCPOFOQueue);
  sackNote(c, seq, end);
}

/** Moves what has become in order to the receive queue and advances rcvNxt. */
export function reassemblySplice(t: Tcb): void {
  let at = t.oooHead;
  while (at) {
    const piece = rxPieceAt(at);
    if (seqGt(piece.seq, t.rcvNxt)) break;
    const next = piece.next;
    const end = pieceEnd(piece);
    coldOf(t).oooCount--;
    if (seqLe(end, t.rcvNxt)) {
      dsackExtend(t, piece.seq, end);
      drop(at);
    } else {
      const skip = t.rcvNxt - piece.seq;
      if (skip) dsackExtend(t, piece.seq, t.rcvNxt);
      piece.addr += skip;
      piece.len -= skip;
      coldOf(t).bytesReceived += piece.len;
      t.rcvNxt = end;
      held--;
      rcvqLink(t, at);
    }
    at = next;
  }
  t.oooHead = at;
  const c = coldOf(t);
  if (!at) {
    c.oooTail = 0;
    sackClear(c);
  } else sackTrim(c, t.rcvNxt);
}

/** Drops what lies at or above `limit`. */
export function reassemblyCut(t: Tcb, limit: u32): void {
  let before: u32 = 0;
  let at = t.oooHead;
  while (at && seqLt(rxPieceAt(at).seq, limit)) {
    before = at;
    at = rxPieceAt(at).next;
  }
  if (before) {
    const last = rxPieceAt(before);
    last.next = 0;
    if (seqGt(pieceEnd(last), limit)) last.len = limit - last.seq;
  } else t.oooHead = 0;
  coldOf(t).oooTail = before;
  while (at) {
    const next = rxPieceAt(at).next;
    drop(at);
    coldOf(t).oooCount--;
    at = next;
  }
  sackCut(coldOf(t), limit);
}

export function reassemblyPurge(t: Tcb): void {
  let at = t.oooHead;
  while (at) {
    const next = rxPieceAt(at).next;
    drop(at);
    at = next;
  }
  t.oooHead = 0;
  coldOf(t).oooCount = 0;
  coldOf(t).oooTail = 0;
  sackClear(coldOf(t));
}

function sackClear(c: Cold): void {
  c.sack0Start = c.sack0End = c.sack1Start = c.sack1End = 0;
  c.sack2Start = c.sack2End = c.sack3Start = c.sack3End = 0;
}

/** Address of range i of 4: start, then end. */
@inline
function range(c: Cold, i: u32): u32 {
  return <u32>changetype<usize>(c) + <u32>offsetof<Cold>('sack0Start') + i * 8;
}

/** Puts the range with this data in front, joined with every range that it touches. */
export function sackNote(c: Cold, start: u32, end: u32): void {
  let kept: u32 = 0;
  // A range found later may touch what an earlier one added, so look until nothing joins: at most 4 rounds.
  for (let round = 0, joined = true; joined && round < 4; round++) {
    joined = false;
    kept = 0;
    for (let i: u32 = 0; i < 4; i++) {
      const s = load<u32>(range(c, i));
      const e = load<u32>(range(c, i), 4);
      if (s == e) continue;
      if (seqLe(s, end) && seqGe(e, start)) {
        start = seqMin(s, start);
        end = seqMax(e, end);
        joined = true;
        continue;
      }
      store<u32>(range(c, kept), s);
      store<u32>(range(c, kept), e, 4);
      kept++;
    }
    for (let i = kept; i < 4; i++) store<u64>(range(c, i), 0);
  }
  for (let i = min<u32>(kept, 3); i > 0; i--) store<u64>(range(c, i), load<u64>(range(c, i - 1)));
  store<u32>(range(c, 0), start);
  store<u32>(range(c, 0), end, 4);
}

/** Forgets what lies at or above `limit`. */
function sackCut(c: Cold, limit: u32): void {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const s = load<u32>(range(c, i));
    const e = load<u32>(range(c, i), 4);
    if (s == e || seqGe(s, limit)) continue;
    store<u32>(range(c, kept), s);
    store<u32>(range(c, kept), seqMin(e, limit), 4);
    kept++;
  }
  for (let i = kept; i < 4; i++) store<u64>(range(c, i), 0);
}

/** Forgets what the cumulative acknowledgment covers. */
function sackTrim(c: Cold, upTo: u32): void {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const s = load<u32>(range(c, i));
    const e = load<u32>(range(c, i), 4);
    if (s == e || seqLe(e, upTo)) continue;
    store<u32>(range(c, kept), seqMax(s, upTo));
    store<u32>(range(c, kept), e, 4);
    kept++;
  }
  for (let i = kept; i < 4; i++) store<u64>(range(c, i), 0);
}
