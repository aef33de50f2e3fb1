// Loss detection and recovery by acknowledgments: RFC 8985 (rack.ts) and RFC 6675's pipe with SACK, RFC 6582 without. Both work on the marks of the
// transmitted-segment records and on one estimate, pipe; limited transmit (RFC 3042) follows from it, because a
// duplicate ACK takes a segment out of pipe. Without SACK each duplicate ACK counts as one segment that has left.

import { CNT_TcpExtTCPFastRetrans, CNT_TcpExtTCPRenoRecovery, CNT_TcpExtTCPSackRecovery } from '../abi/counters';
import { count, nowUs } from '../abi/runtime';
import { timerArm } from '../timer/wheel';
import { ccOnAck, ccOnCongestion, ccOnRecoveryExit } from './congestion/index';
import { TXM_LOST } from './records';
import { tcpOutput } from './output';
import { rackDetect, rackWaitUs } from './rack';
import { retransmitSegment } from './retransmit';
import { rtoArm, rtoNow } from './rto';
import { seqGe, seqGt } from './seq';
import { CA_LOSS, CA_OPEN, CA_RECOVERY, FL_REO, FL_SACK, Tcb, retransmitTimer } from './tcb';
import { markLost, txSegAt, txSegSpace } from './txseg';

/** RFC 5681 §3.2. */
const DUP_THRESH: u32 = 3;

/**
 * After the cumulative part of an ACK has been applied. `acked`: bytes it acknowledged; `duplicate`: it is a
 * duplicate ACK or brought new SACK information; `flight`: what was outstanding before it.
 */
export function recoveryOnAck(t: Tcb, acked: u32, duplicate: bool, flight: u32): void {
  recoveryStep(t, acked, duplicate, flight);
  if (t.flags & FL_SACK) reorderArm(t);
}

/** Has RACK look again when the reordering window of a segment that may be lost is over (RFC 8985 §6.3). */
function reorderArm(t: Tcb): void {
  const pending = t.flags & FL_REO;
  t.flags &= ~FL_REO;
  if (!t.txHead) return;
  if (t.caState != CA_OPEN || t.sackedSegs != 0) {
    if (rackDetect(t) && t.caState == CA_OPEN) enterRecovery(t);
    if (rackWaitUs != 0 && rackWaitUs < rtoNow(t)) {
      t.flags |= FL_REO;
      timerArm(retransmitTimer(t), nowUs + rackWaitUs);
      return;
    }
  }
  // The node was armed for reordering: it is the retransmission timer's again.
  if (pending) rtoArm(t);
}

/** The reordering timer has expired. */
export function reorderExpired(t: Tcb): void {
  t.flags &= ~FL_REO;
  rtoArm(t);
  reorderArm(t);
  tcpOutput(t);
}

function recoveryStep(t: Tcb, acked: u32, duplicate: bool, flight: u32): void {
  if (!(t.flags & FL_SACK)) countDuplicates(t, acked, duplicate);
  if (t.caState == CA_OPEN) {
    if (duplicate && detectLoss(t)) enterRecovery(t);
    else if (acked) ccOnAck(t, acked, flight);
    return;
  }
  if (seqGe(t.sndUna, t.recover)) {
    if (t.caState == CA_RECOVERY) ccOnRecoveryExit(t);
    t.caState = CA_OPEN;
    t.dupAcks = 0;
    if (!(t.flags & FL_SACK)) t.sackedBytes = 0;
    if (t.txHead && t.flags & FL_SACK && detectLoss(t)) enterRecovery(t);
    return;
  }
  if (t.caState == CA_LOSS) {
    if (acked) ccOnAck(t, acked, flight);
    if (t.flags & FL_SACK) detectLoss(t);
    return;
  }
  const found = t.flags & FL_SACK ? detectLoss(t) : false;
  if (acked && !found) partialAck(t);
}

/** Without SACK: a duplicate ACK stands for a segment that arrived out of order (RFC 5681 §3.2 steps 1 and 4). */
function countDuplicates(t: Tcb, acked: u32, duplicate: bool): void {
  if (acked) {
    if (t.caState == CA_OPEN) {
      t.dupAcks = 0;
      t.sackedBytes = 0;
    } else {
      // The ACK covers the segment that was missing; the rest of it covers what the duplicates stood for.
      const rest = acked > <u32>t.sndMss ? acked - t.sndMss : 0;
      t.sackedBytes -= min(t.sackedBytes, rest);
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
}

/** Marks what is lost by now. True when something new is. */
function detectLoss(t: Tcb): bool {
  if (!t.txHead) return false;
  if (!(t.flags & FL_SACK)) {
    // RFC 6582 §3.2 step 2: not again for a window that was already repaired.
    if (<u32>t.dupAcks < DUP_THRESH || !seqGt(t.sndUna, t.recover)) return false;
    const head = txSegAt(t.txHead);
    if (head.mark & TXM_LOST) return false;
    markLost(t, head);
    return true;
  }
  return rackDetect(t);
}

function enterRecovery(t: Tcb): void {
  count(t.flags & FL_SACK ? CNT_TcpExtTCPSackRecovery : CNT_TcpExtTCPRenoRecovery);
  t.caState = CA_RECOVERY;
  t.recover = t.sndNxt;
  ccOnCongestion(t);
  // RFC 6675 §5 step 4.3: the first segment goes at once, whatever pipe says.
  let at = t.txHead;
  while (at && !(txSegAt(at).mark & TXM_LOST)) at = txSegAt(at).next;
  if (at && retransmitSegment(t, at)) count(CNT_TcpExtTCPFastRetrans);
}

/** The ACK advanced, but not past the recovery point: the next hole is lost too (RFC 6582 §3.2 step 3). */
function partialAck(t: Tcb): void {
  // With SACK, time decides.
  if (!t.txHead || t.flags & FL_SACK) return;
  const head = txSegAt(t.txHead);
  if (head.times != 0) return;
  markLost(t, head);
  // Without SACK it goes at once, whatever pipe says: no further duplicate ACK may come that would make room.
  if (!(t.flags & FL_SACK)) retransmitSegment(t, t.txHead);
}
