// The send queue: pieces of the application's objects by reference, in sequence order. A piece is released when its
// last byte is acknowledged; frames in the transmit ring hold references of their own.
//
//      sqHead                sqNext                 sqTail
//   ┌──────────┐  ┌──────────┐  ┌──────────┐  ┌──────────┐
//   │ acked··  ├─▶│ in flight├─▶│ ··unsent ├─▶│ unsent   │
//   └──────────┘  └──────────┘  └──────────┘  └──────────┘
//          sndUna                   sndNxt          sndEnd

import { zbufRef, zbufUnref } from '../zbuf/zbuf';
import { EV_WRITE, TCP_CLOSE_WAIT, TCP_ESTABLISHED } from '../abi/layout';
import { eventRaise } from './events';
import { SendNode, sendMarkSet, sendNodeAlloc, sendNodeFree, sendNodeTotal } from './records';
import { seqGe, seqLe } from './seq';
import { F2_HOLD, F2_MARKS, F2_MORE, F2_PUSH_ONCE, FL_WRITE_WANTED, Tcb, coldOf } from './tcb';

@inline
export function sendNodeAt(address: u32): SendNode {
  return changetype<SendNode>(<usize>address);
}

/** Bytes queued and not acknowledged yet. */
@inline
export function sendQueued(t: Tcb): u32 {
  // After our FIN is acknowledged sndUna is one past sndEnd.
  return seqGe(t.sndUna, t.sndEnd) ? 0 : t.sndEnd - t.sndUna;
}

/** Pieces that one connection may have queued: half of all records. */
@inline
export function sendqMostPieces(): u32 {
  return sendNodeTotal() >> 1;
}

/**
 * Whether `bytes` in `pieces` pieces may be queued now. A write larger than the whole buffer is taken when the queue
 * is empty, or it could never be.
 */
export function sendqHasRoom(t: Tcb, bytes: u32, pieces: u32): bool {
  const queued = sendQueued(t);
  if (<u64>queued + bytes > <u64>coldOf(t).sndBuf && queued != 0) return false;
  return <u64>coldOf(t).sqCount + pieces <= <u64>sendqMostPieces();
}

/** Queues a piece and takes a reference to its object. False when there is no record left. */
export function sendqAppend(t: Tcb, addr: u32, len: u32): bool {
  const at = sendNodeAlloc();
  if (!at) return false;
  zbufRef(addr);
  const node = sendNodeAt(at);
  node.next = 0;
  node.addr = addr;
  node.len = len;
  node.seq = t.sndEnd;
  if (t.sqTail) sendNodeAt(t.sqTail).next = at;
  else t.sqHead = at;
  t.sqTail = at;
  if (!t.sqNext) t.sqNext = at;
  t.sndEnd += len;
  const c = coldOf(t);
  c.sqCount++;
  if (c.flags2 & (F2_MARKS | F2_PUSH_ONCE | F2_MORE | F2_HOLD)) {
    c.flags2 &= ~(F2_PUSH_ONCE | F2_MORE | F2_HOLD);
    sendMarkSet(at, 0);
  }
  return true;
}

/** Takes back the last `pieces` pieces, which have just been queued and not been looked at by output. */
export function sendqUndo(t: Tcb, tail: u32, end: u32): void {
  let at = tail ? sendNodeAt(tail).next : t.sqHead;
  while (at) {
    const node = sendNodeAt(at);
    const next = node.next;
    if (t.sqNext == at) t.sqNext = 0;
    zbufUnref(node.addr);
    sendNodeFree(at);
    coldOf(t).sqCount--;
    at = next;
  }
  if (tail) sendNodeAt(tail).next = 0;
  else t.sqHead = 0;
  t.sqTail = tail;
  t.sndEnd = end;
}

/** Records have come back since sendqStarvedServed(): connections that found none may try again. */
export let sendqGaveBack: bool = false;

export function sendqStarvedServed(): void {
  sendqGaveBack = false;
}

/**
 * Whether the connection waits for records with nothing of its own queued, so that no acknowledgement of its own can
 * bring it the event.
 */
@inline
export function sendqStarved(t: Tcb): bool {
  if (!(t.flags & FL_WRITE_WANTED) || t.sqHead != 0) return false;
  return t.state == TCP_ESTABLISHED || t.state == TCP_CLOSE_WAIT;
}

/** Releases what lies wholly below sndUna. */
@inline
export function sendqRelease(t: Tcb): void {
  const una = t.sndUna;
  let at = t.sqHead;
  let released: u32 = 0;
  while (at) {
    const node = sendNodeAt(at);
    if (!seqLe(node.seq + node.len, una)) break;
    const next = node.next;
    zbufUnref(node.addr);
    sendNodeFree(at);
    at = next;
    released++;
  }
  if (!released) return;
  sendqGaveBack = true;
  t.sqHead = at;
  if (!at) t.sqTail = 0;
  coldOf(t).sqCount -= released;
  if (t.flags & FL_WRITE_WANTED && sendQueued(t) <= coldOf(t).sndBuf >> 1) {
    t.flags &= ~FL_WRITE_WANTED;
    eventRaise(t, EV_WRITE);
  }
}

/** From now on marks of the connection's pieces count: those that it has are cleared. */
export function sendqMark(t: Tcb, marks: u32): void {
  const c = coldOf(t);
  if (!(c.flags2 & F2_MARKS)) {
    c.flags2 |= F2_MARKS;
    for (let at = t.sqHead; at; at = sendNodeAt(at).next) sendMarkSet(at, 0);
  }
  sendMarkSet(t.sqTail, marks);
}

export function sendqPurge(t: Tcb): void {
  let at = t.sqHead;
  while (at) {
    const node = sendNodeAt(at);
    const next = node.next;
    zbufUnref(node.addr);
    sendNodeFree(at);
    at = next;
    sendqGaveBack = true;
  }
  t.sqHead = t.sqTail = t.sqNext = 0;
  coldOf(t).sqCount = 0;
}
