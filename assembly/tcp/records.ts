// Record pools: fixed arrays of small structs with a free list through their first word. Three kinds:
//
//   SendNode  a piece of the send queue            (sendq.ts)       CFG_SEGMENT_RECORDS of them
//   TxSeg     a transmitted, unacknowledged segment (txseg.ts)       CFG_SEGMENT_RECORDS of them
//   RxPiece   a piece of received payload           (recvq, reassembly)  one per receive object
//
// Separate pools, so that queued data can never starve the records without which nothing could be transmitted.
// A receive piece exists only while it holds a reference to a receive object, and one frame makes at most one piece;
// CFG_FREE_RING is at least the number of receive objects.

import { arenaAlloc } from '../abi/arena';
import { CFG_FREE_RING, CFG_SEGMENT_RECORDS } from '../abi/layout';
import { rxObjectTotal } from '../zbuf/rxpool';

//  SendNode   0      4      8      12
//             ├ next ┼ addr ┼ len ─┼ seq ┤          seq: sequence number of the first byte
@unmanaged
export class SendNode {
  next: u32;
  addr: u32;
  len: u32;
  seq: u32;
}

//  TxSeg   0      4     8     10     11      12     16       24      28
//          ├ next ┼ seq ┼ len ┼ mark ┼ times ┼ node ┼ sentUs ┼ txPos ┼ firstMs ┤
@unmanaged
export class TxSeg {
  next: u32;
  seq: u32;
  /** Payload bytes; a FIN (TXM_FIN) occupies one sequence number more. */
  len: u16;
  /** TXM_… */
  mark: u8;
  /** Times retransmitted, saturating. */
  times: u8;
  /** The SendNode that holds seq, 0 for a bare FIN. */
  node: u32;
  /** When it was last transmitted. */
  sentUs: u64;
  /** CTL_TX_HEAD after it was last published: tells whether the link has taken it. */
  txPos: u32;
  /** When it was first transmitted, ms. */
  firstMs: u32;
}

/** Selectively acknowledged (or, without SACK, never set). */
export const TXM_SACKED: u32 = 1;
/** Deemed lost. */
export const TXM_LOST: u32 = 2;
/** Lost and retransmitted since. */
export const TXM_RETRANS: u32 = 4;
export const TXM_FIN: u32 = 8;
/** Ever retransmitted: Karn's algorithm must not sample it. */
export const TXM_EVER: u32 = 16;
/** Linux: PSH by the application's doing, which it carries when it is sent again too. */
export const TXM_PUSH: u32 = 32;
/** Linux: the last of several segments that were one packet (tso.ts). */
export const TXM_TSO: u32 = 64;

//  RxPiece   0      4      8      12
//            ├ next ┼ addr ┼ len ─┼ seq ┤
@unmanaged
export class RxPiece {
  next: u32;
  addr: u32;
  len: u32;
  seq: u32;
}

export const SEND_NODE_BYTES: u32 = 16;
export const TX_SEG_BYTES: u32 = 32;
export const RX_PIECE_BYTES: u32 = 16;

/** SEND_RECORD and SEND_PUSH of each SendNode, a byte each. Only connections with F2_MARKS look. */
let sendMarks: u32 = 0;
let sendAt: u32 = 0;
/** Ends a free list. */
const END: u32 = 1;
let sendFree: u32 = END;
let txFree: u32 = END;
let txFreeCount: u32 = 0;
let rxFree: u32 = END;
let sendNodes: u32 = 0;
let rxPieces: u32 = 0;
let rxUsed: u32 = 0;

export function recordsArenaNeeded(): u32 {
  return (
    load<u32>(CFG_SEGMENT_RECORDS) * (SEND_NODE_BYTES + TX_SEG_BYTES + 1) +
    load<u32>(CFG_FREE_RING) * RX_PIECE_BYTES +
    256
  );
}

/**
 * A free list of records that have not been touched yet: 0 in the first word, as the arena gives it, stands for the record right
 * behind. So megabytes need not be written before the first connection.
 */
function chain(at: u32, count: u32, size: u32): u32 {
  store<u32>(at + (count - 1) * size, END);
  return at;
}

/** What comes behind the first record of a free list. */
@inline
function rest(head: u32, size: u32): u32 {
  const next = load<u32>(head);
  return next ? next : head + size;
}

export function recordsInit(): bool {
  sendNodes = load<u32>(CFG_SEGMENT_RECORDS);
  rxPieces = load<u32>(CFG_FREE_RING);
  const send = arenaAlloc(sendNodes * SEND_NODE_BYTES, 64);
  const tx = arenaAlloc(sendNodes * TX_SEG_BYTES, 64);
  const rx = arenaAlloc(rxPieces * RX_PIECE_BYTES, 64);
  sendAt = send;
  sendMarks = arenaAlloc(sendNodes, 64);
  if (!send || !tx || !rx || !sendMarks) return false;
  sendFree = chain(send, sendNodes, SEND_NODE_BYTES);
  txFree = chain(tx, sendNodes, TX_SEG_BYTES);
  txFreeCount = sendNodes;
  rxFree = chain(rx, rxPieces, RX_PIECE_BYTES);
  rxUsed = 0;
  return true;
}

@inline
export function sendMarkSet(node: u32, marks: u32): void {
  store<u8>(sendMarks + (node - sendAt) / SEND_NODE_BYTES, <u8>marks);
}

@inline
export function sendMarkGet(node: u32): u32 {
  return load<u8>(sendMarks + (node - sendAt) / SEND_NODE_BYTES);
}

/** Send-queue records in all. */
export function sendNodeTotal(): u32 {
  return sendNodes;
}

/** Receive-piece records in all. */
export function rxPieceTotal(): u32 {
  return rxPieces;
}

/**
 * Eighths of all receive objects that data may hold which the application has not taken; one more for connections that are
 * being read. Another is for fragments (ip/reassembly.ts), the last for what arrives.
 */
export const RX_EIGHTHS: u32 = 5;

/** Receive pieces that there may still be before as many as `eighths` of all receive objects are in use. */
export function rxPieceRoom(eighths: u32): u32 {
  const most = (rxObjectTotal() >> 3) * eighths;
  return most > rxUsed ? most - rxUsed : 0;
}

function chainLength(head: u32, size: u32): u32 {
  let length: u32 = 0;
  for (let r = head; r != END; r = rest(r, size)) length++;
  return length;
}

/** Records of all kinds that are not free. Walks the free lists: for tests, which end with none in use. */
export function recordsInUse(): u32 {
  return (
    2 * sendNodes +
    rxPieces -
    chainLength(sendFree, SEND_NODE_BYTES) -
    chainLength(txFree, TX_SEG_BYTES) -
    chainLength(rxFree, RX_PIECE_BYTES)
  );
}

/** 0 when none is left. */
export function sendNodeAlloc(): u32 {
  const r = sendFree;
  if (r == END) return 0;
  sendFree = rest(r, SEND_NODE_BYTES);
  return r;
}

@inline
export function sendNodeFree(r: u32): void {
  store<u32>(r, sendFree);
  sendFree = r;
}

/** 0 when none is left. */
export function txSegAlloc(): u32 {
  const r = txFree;
  if (r == END) return 0;
  txFree = rest(r, TX_SEG_BYTES);
  txFreeCount--;
  return r;
}

/** Three quarters are taken: the rest is for connections that have few (output.ts). */
@inline
export function txSegScarce(): bool {
  return txFreeCount < sendNodes >> 2;
}

@inline
export function txSegFree(r: u32): void {
  store<u32>(r, txFree);
  txFree = r;
  txFreeCount++;
}

/** 0 when none is left. */
export function rxPieceAlloc(): u32 {
  const r = rxFree;
  if (r == END) return 0;
  rxFree = rest(r, RX_PIECE_BYTES);
  rxUsed++;
  return r;
}

@inline
export function rxPieceFree(r: u32): void {
  store<u32>(r, rxFree);
  rxFree = r;
  rxUsed--;
}
