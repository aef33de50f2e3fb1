// The in-order receive queue: pieces of receive objects by reference, waiting for recv() (batch sockets) or for the
// end of segment processing (inline sockets). The bytes in it are what the receive window has lost.

import { CNT_CopiedBytes, CNT_TcpExtTCPRcvCoalesce } from '../abi/counters';
import { count, countAdd } from '../abi/runtime';
import { rxObjectTotal } from '../zbuf/rxpool';
import { zbufCount, zbufEnd, zbufRef, zbufUnref } from '../zbuf/zbuf';
import { RxPiece, rxPieceAlloc, rxPieceFree, rxPieceRoom, RX_EIGHTHS } from './records';
import { Tcb, coldOf } from './tcb';

/** A segment of at most this many bytes may be copied behind the last piece when pieces are many. */
const COALESCE_BYTES: u32 = 512;
/** Pieces from which on a connection is not crowded. */
const PIECES_LEAST: u32 = 32;
/** A connection whose queue is shorter is being read. */
const PIECES_READ: u32 = 2;

@inline
export function rxPieceAt(address: u32): RxPiece {
  return changetype<RxPiece>(<usize>address);
}

/** Pieces from which on small segments are copied together: about a piece per 1 KiB of buffer, and a fair share of all. */
@inline
function crowd(t: Tcb): u32 {
  return max(PIECES_LEAST, min(t.rcvBuf >> 10, rxObjectTotal() >> 3));
}

/** Copies a small segment behind the last piece, if that piece's object is ours alone and has room. */
function coalesce(t: Tcb, addr: u32, len: u32): bool {
  if (len > COALESCE_BYTES || !t.rcvQTail) return false;
  const last = rxPieceAt(t.rcvQTail);
  const end = last.addr + last.len;
  if (zbufCount(last.addr) != 1 || zbufEnd(last.addr) - end < len) return false;
  memory.copy(end, addr, len);
  last.len += len;
  t.rcvQBytes += len;
  count(CNT_TcpExtTCPRcvCoalesce);
  countAdd(CNT_CopiedBytes, len);
  return true;
}

/**
 * Whether there may be one more piece. A connection may have twice what is left, so that those which nobody reads leave
 * something for others; one that is being read goes on beyond that.
 */
function mayQueue(t: Tcb): bool {
  const pieces = <u32>coldOf(t).rcvQCount;
  return (
    pieces < min(crowd(t) * 4, rxPieceRoom(RX_EIGHTHS) << 1) ||
    (pieces < PIECES_READ && rxPieceRoom(RX_EIGHTHS + 1) != 0)
  );
}

/** Queues [addr, addr + len) and takes a reference, or copies it. False when there is no room for it. */
export function rcvqAdd(t: Tcb, addr: u32, len: u32): bool {
  const crowded = <u32>coldOf(t).rcvQCount >= crowd(t);
  if (crowded && coalesce(t, addr, len)) return true;
  const at = mayQueue(t) ? rxPieceAlloc() : 0;
  if (!at) return false;
  zbufRef(addr);
  const piece = rxPieceAt(at);
  piece.addr = addr;
  piece.len = len;
  rcvqLink(t, at);
  return true;
}

/** Appends a piece that already holds its reference. */
export function rcvqLink(t: Tcb, at: u32): void {
  const piece = rxPieceAt(at);
  piece.next = 0;
  if (t.rcvQTail) rxPieceAt(t.rcvQTail).next = at;
  else t.rcvQHead = at;
  t.rcvQTail = at;
  t.rcvQBytes += piece.len;
  coldOf(t).rcvQCount++;
}

// Result of rcvqTake(); the reference goes to the caller.
export let takenAddr: u32 = 0;
export let takenLen: u32 = 0;

/** Takes the first piece. False when there is none. */
export function rcvqTake(t: Tcb): bool {
  const at = t.rcvQHead;
  if (!at) return false;
  const piece = rxPieceAt(at);
  takenAddr = piece.addr;
  takenLen = piece.len;
  t.rcvQHead = piece.next;
  if (!piece.next) t.rcvQTail = 0;
  t.rcvQBytes -= piece.len;
  coldOf(t).rcvQCount--;
  rxPieceFree(at);
  return true;
}

export function rcvqPurge(t: Tcb): void {
  while (rcvqTake(t)) zbufUnref(takenAddr);
}
