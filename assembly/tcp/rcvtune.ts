// Receive autotuning: the buffer, and with it the window, grows to twice what the application has read in a round trip
// (Dynamic Right-Sizing, Fisk and Feng 2001, as Linux does it), so that a long path is filled and a short one keeps the
// small window that fits the caches. Bounded by CFG_RCV_BUF_MAX_BYTES and by a share of the receive pool. Times are
// microseconds modulo 2³².
//
//   rcvRttSeq, rcvRttStart   right edge that was offered, and when: data beyond it takes a round trip at least
//   rcvRtt                   the smallest such time; until there is one, the sender's estimate
//   rcvSpace                 most bytes read in a round trip; rcvSpaceRead, rcvSpaceStart: where this one began

import { CNT_TcpExtTCPRcvAutotuned } from '../abi/counters';
import { CFG_RCV_BUF_MAX_BYTES } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { asLinuxReceiver } from './linux';
import { rxPieceTotal } from './records';
import { seqGe } from './seq';
import { F2_RCVBUF_LOCK, Tcb, coldOf } from './tcb';

/** Segments on top of what was read, for a sender in slow start. */
const AHEAD_SEGMENTS: u32 = 16;
/** Bytes of window for each receive object that there is: a connection gets at most about a quarter of the pool. */
const BYTES_PER_OBJECT_SHIFT: u32 = 8;

/** How much longer than its smallest the round trip may have become. */
const QUEUED: u32 = 8;

/** What the buffer may grow to. */
export let rcvBufMost: u32 = 0;

export function rcvTuneInit(): void {
  const most = load<u32>(CFG_RCV_BUF_MAX_BYTES);
  rcvBufMost = asLinuxReceiver() ? most : min(most, rxPieceTotal() << BYTES_PER_OBJECT_SHIFT);
}

/** Bytes the application has read so far. */
@inline
function readSoFar(t: Tcb): u32 {
  return <u32>coldOf(t).bytesReceived - t.rcvQBytes;
}

/** The connection is established. */
export function rcvTuneStart(t: Tcb): void {
  const c = coldOf(t);
  c.rcvSpaceStart = c.rcvRttStart = <u32>nowUs;
  c.rcvRttSeq = t.rcvAdv;
  c.rcvSpaceRead = readSoFar(t);
}

/** A window is about to be offered, and the buffer may still grow. */
export function rcvTune(t: Tcb): void {
  const c = coldOf(t);
  if (c.flags2 & F2_RCVBUF_LOCK) return;
  const now = <u32>nowUs;
  if (seqGe(t.rcvNxt, c.rcvRttSeq)) {
    const sample = max<u32>(now - c.rcvRttStart, 1);
    if (c.rcvRtt == 0 || sample < c.rcvRtt) c.rcvRtt = sample;
    c.rcvRttSeq = t.rcvAdv;
    c.rcvRttStart = now;
  }
  // A sender that does not fill the window makes the first of them too long; queues make the second too short.
  const srtt = t.srtt >> 3;
  const rtt = c.rcvRtt == 0 ? srtt : srtt == 0 ? c.rcvRtt : min(c.rcvRtt, srtt * QUEUED);
  if (rtt == 0 || now - c.rcvSpaceStart < rtt) return;
  const read = readSoFar(t);
  const copied = read - c.rcvSpaceRead;
  c.rcvSpaceRead = read;
  c.rcvSpaceStart = now;
  if (copied <= c.rcvSpace) return;
  c.rcvSpace = copied;
  const want = min<u64>(2 * <u64>copied + AHEAD_SEGMENTS * <u32>t.rcvMss, rcvBufMost);
  if (want <= <u64>t.rcvBuf) return;
  t.rcvBuf = <u32>want;
  count(CNT_TcpExtTCPRcvAutotuned);
}
