// Loss detection and recovery by acknowledgments: RFC 8985 (rack.ts) and RFC 6675's pipe with SACK, RFC 6582 without.
// Both work on the marks of the transmitted-segment records and on one estimate, pipe; limited transmit (RFC 3042)
// follows from it, because a duplicate ACK takes a segment out of pipe. Without SACK each duplicate ACK counts as one
// segment that has left. How cwnd comes down meanwhile is prr.ts.

import { CNT_TcpExtTCPECNReductions, CNT_TcpExtTCPRenoRecovery, CNT_TcpExtTCPSackRecovery } from '../abi/counters';
import { count, nowUs } from '../abi/runtime';
import { timerArm } from '../timer/wheel';
import { ccDelivered, ccOnAck, ccOnCongestion } from './congestion/index';
import { asLinux } from './congestion/window';
import { frtoOnAck } from './frto';
import { tcpOutput } from './output';
import { prrBegin, prrOnAck } from './prr';
import { rackDetect, rackWaitUs } from './rack';
import { TXM_LOST } from './records';
import { retransmitSegment } from './retransmit';
import { rtoArmSinceSent, rtoNow } from './rto';
import { seqGe, seqGt, seqLt } from './seq';
import {
  CA_CWR,
  CA_LOSS,
  CA_OPEN,
  CA_RECOVERY,
  F2_CWR_OWED,
  FL_PROBED,
  FL_REO,
  FL_SACK,
  Tcb,
  coldOf,
  retransmitTimer,
} from './tcb';
import { lossTimerArm } from './tlp';
import { markLost, txSegAt, txSegSpace } from './txseg';
import { undoRemember } from './undo';

/** RFC 5681 §3.2. */
const DUP_THRESH: u32 = 3;

/**
 * After the cumulative part of an ACK has been applied. `acked`: bytes it acknowledged; `duplicate`: it is a duplicate
 * ACK or brought new SACK information; `flight`: what was outstanding before it, `sackedBefore`: of that, sacked; `deliveredSegs`: segments
 * that it has delivered;
 * `ece`: it reports congestion.
 */
export function recoveryOnAck(
  t: Tcb,
  acked: u32,
  duplicate: bool,
  flight: u32,
  sackedBefore: u32,
  deliveredSegs: u32,
  ece: bool,
): void {
  const stood: u32 = t.sackedSegs;
  if (!(t.flags & FL_SACK)) countDuplicates(t, acked, duplicate, deliveredSegs);
  let delivered = <u32>max<i32>(<i32>(acked + t.sackedBytes - sackedBefore), 0);
  if (delivered != 0) ccDelivered(t, delivered, ece);
  if (asLinux()) {
    // Linux counts segments, whatever their size; without SACK each duplicate stands for one.
    if (t.flags & FL_SACK) delivered = deliveredSegs * t.sndMss;
    else if (acked) delivered = (deliveredSegs > stood ? deliveredSegs - stood : 1) * t.sndMss;
    else delivered = duplicate ? t.sndMss : 0;
  }
  step(t, acked, duplicate, flight, delivered, ece);
  if (t.flags & FL_SACK) reorderArm(t);
}

/** Has RACK look again when the reordering window of a segment that may be lost is over (RFC 8985 §6.3). */
function reorderArm(t: Tcb): void {
  const pending = t.flags & FL_REO;
  t.flags &= ~FL_REO;
  if (!t.txHead) return;
  if (t.caState != CA_OPEN || t.sackedSegs != 0) {
    if (rackDetect(t) && (t.caState == CA_OPEN || t.caState == CA_CWR)) enterRecovery(t, 0, t.sndNxt - t.sndUna);
    if (rackWaitUs != 0 && rackWaitUs < rtoNow(t)) {
      t.flags |= FL_REO;
      timerArm(retransmitTimer(t), nowUs + rackWaitUs);
      return;
    }
  }
  // The node was armed for reordering: it is the retransmission timer's again.
  if (pending) lossTimerArm(t);
}

/** The reordering timer has expired. */
export function reorderExpired(t: Tcb): void {
  t.flags &= ~FL_REO;
  reorderArm(t);
  const handle = t.handle;
  tcpOutput(t);
  if (t.handle == handle && t.txHead && !(t.flags & FL_REO)) rtoArmSinceSent(t);
}

function step(t: Tcb, acked: u32, duplicate: bool, flight: u32, delivered: u32, ece: bool): void {
  const state = t.caState;
  if (state == CA_OPEN || state == CA_CWR) {
    if (duplicate && detectLoss(t)) enterRecovery(t, delivered, flight);
    else if (state == CA_CWR) cwrStep(t, delivered, flight);
    else if (ece) enterCwr(t, delivered, flight);
    else if (acked) ccOnAck(t, delivered, flight);
    return;
  }
  if (seqGe(t.sndUna, coldOf(t).recover) && !holds(t)) {
    recovered(t);
    if (acked && t.caState == CA_OPEN) ccOnAck(t, delivered, flight);
    return;
  }
  const found = t.flags & FL_SACK ? detectLoss(t) : false;
  if (state == CA_LOSS) {
    if (seqLt(t.sndUna, coldOf(t).recover)) frtoOnAck(t, acked, duplicate);
    if (acked) ccOnAck(t, asLinux() ? delivered : acked, flight);
    return;
  }
  // Without SACK the hole that a partial ACK shows goes at once: no further duplicate ACK may come to make room.
  const hole = acked != 0 && !found && (t.flags & FL_SACK) == 0 && partialAck(t);
  prrOnAck(t, delivered, acked != 0 && !found);
  if (hole) retransmitSegment(t, t.txHead);
}

/**
 * Without SACK, Linux stays in recovery until something beyond the recovery point is acknowledged: duplicate ACKs for
 * what was sent twice must not begin another (RFC 6582 §4.1).
 */
function holds(t: Tcb): bool {
  return asLinux() && (t.flags & FL_SACK) == 0 && t.sndUna == coldOf(t).recover;
}

/** Everything outstanding when the loss was found has been acknowledged. */
function recovered(t: Tcb): void {
  if (t.caState == CA_RECOVERY) t.cwnd = t.ssthresh;
  t.caState = CA_OPEN;
  t.dupAcks = 0;
  if (!(t.flags & FL_SACK)) t.sackedBytes = t.sackedSegs = 0;
  else if (t.txHead && detectLoss(t)) enterRecovery(t, 0, t.sndNxt - t.sndUna);
}

/** Without SACK: a duplicate ACK stands for a segment that arrived out of order (RFC 5681 §3.2 steps 1 and 4). */
function countDuplicates(t: Tcb, acked: u32, duplicate: bool, ackedSegs: u32): void {
  if (acked) {
    if (t.caState == CA_OPEN || t.caState == CA_CWR) {
      t.dupAcks = 0;
      t.sackedBytes = 0;
      t.sackedSegs = 0;
    } else {
      // The ACK covers the segment that was missing; the rest of it covers what the duplicates stood for.
      const rest = acked > <u32>t.sndMss ? acked - t.sndMss : 0;
      t.sackedBytes -= min(t.sackedBytes, rest);
      t.sackedSegs -= <u16>min(<u32>t.sackedSegs, max<u32>(ackedSegs, 1) - 1);
    }
    const room = t.sndNxt - t.sndUna - t.lostBytes;
    if (t.sackedBytes > room) t.sackedBytes = room;
    return;
  }
  if (!duplicate || t.caState == CA_LOSS || !t.txHead) return;
  if (t.dupAcks < 255) t.dupAcks++;
  const head = txSegAt(t.txHead);
  const missing = head.mark & TXM_LOST ? 0 : txSegSpace(head);
  const room = t.sndNxt - t.sndUna - t.lostBytes - missing;
  t.sackedBytes = min(t.sackedBytes + t.sndMss, room);
  // One of the segments is missing, the others are what duplicates may stand for (tcp_limit_reno_sacked()).
  if (<u32>t.sackedSegs + 1 < coldOf(t).txCount) t.sackedSegs++;
}

/** Marks what is lost by now. True when something new is. */
function detectLoss(t: Tcb): bool {
  if (!t.txHead) return false;
  if (!(t.flags & FL_SACK)) {
    // RFC 6582 §3.2 step 2: not again for a window that was already repaired.
    if (<u32>t.dupAcks < DUP_THRESH || !seqGt(t.sndUna, coldOf(t).recover)) return false;
    if (asLinux() && <u32>t.sackedSegs < DUP_THRESH) return false;
    const head = txSegAt(t.txHead);
    if (head.mark & TXM_LOST) return false;
    markLost(t, head);
    return true;
  }
  return rackDetect(t);
}

/** Loss was found; the ACK that showed it delivered `delivered` bytes. */
function enterRecovery(t: Tcb, delivered: u32, flight: u32): void {
  count(t.flags & FL_SACK ? CNT_TcpExtTCPSackRecovery : CNT_TcpExtTCPRenoRecovery);
  undoRemember(t);
  // A mark in the same round trip has reduced already (RFC 3168 §6.1.2).
  if (t.caState == CA_OPEN) {
    ccOnCongestion(t, flight, false);
    prrBegin(t, flight);
  }
  t.caState = CA_RECOVERY;
  coldOf(t).recover = t.sndNxt;
  t.flags &= ~FL_PROBED;
  prrOnAck(t, delivered, false);
}

/** Without SACK: the ACK advanced, but not past the recovery point: the next hole is lost too (RFC 6582 §3.2 step 3). */
function partialAck(t: Tcb): bool {
  if (!t.txHead) return false;
  const head = txSegAt(t.txHead);
  if (head.times != 0) return false;
  markLost(t, head);
  return true;
}

/** The peer reports a mark: as for a loss, but with nothing to send again (RFC 3168 §6.1.2). */
function enterCwr(t: Tcb, delivered: u32, flight: u32): void {
  count(CNT_TcpExtTCPECNReductions);
  ccOnCongestion(t, flight, true);
  prrBegin(t, flight);
  t.caState = CA_CWR;
  coldOf(t).recover = t.sndNxt;
  t.flags &= ~FL_PROBED;
  coldOf(t).flags2 |= F2_CWR_OWED;
  prrOnAck(t, delivered, false);
}

function cwrStep(t: Tcb, delivered: u32, flight: u32): void {
  // Not before something sent after it, CWR with it, has arrived: until then the peer goes on reporting.
  if (!seqGt(t.sndUna, coldOf(t).recover)) {
    prrOnAck(t, delivered, false);
    return;
  }
  t.cwnd = t.ssthresh;
  t.caState = CA_OPEN;
  ccOnAck(t, delivered, flight);
}
