// Round-trip time and retransmission timeout (RFC 6298), in microseconds.
//
// The floor is put under the variance term, not under the sum: RTO = SRTT + max(4·RTTVAR, CFG_RTO_MIN_US). That is
// never below the RFC's value, and a connection whose samples have all been equal does not time out on the first
// acknowledgment that is a little late.

import {
  CNT_TcpExtTCPAbortOnTimeout,
  CNT_TcpExtTCPSACKReneging,
  CNT_TcpExtTCPSpuriousRtxHostQueues,
  CNT_TcpExtTCPTimeouts,
} from '../abi/counters';
import { CFG_RTO_INIT_US, CFG_RTO_MAX_US, CFG_RTO_MIN_US, CFG_RTO_STEADY_US, CTL_TX_TAIL } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { backUs, timerArm } from '../timer/wheel';
import { connectionAborted, retriesMost } from './close';
import { ccOnRto } from './congestion/index';
import { asLinux } from './congestion/window';
import { nowMs } from './isn';
import { tcpOutput } from './output';
import { TXM_SACKED } from './records';
import { seqGt } from './seq';
import { R1, pathDoubted, silenceErrno } from './report';
import { CA_LOSS, CA_OPEN, FL_ORPHAN, FL_PROBED, FL_TLP, Tcb, coldOf, pipe, retransmitTimer } from './tcb';
import { markTimedOut, txSegAt } from './txseg';
import { undoRemember } from './undo';
import { frtoBegin } from './frto';
import { pmtuAges, pmtuSuspect } from './pmtu';

/** A sample above this says nothing about the path. */
const SAMPLE_MAX_US: u64 = 60_000_000;

/** Times in a row that a timer may be put off because the host was away: one that is always late comes to no harm. */
const GRACES_MOST: u8 = 3;

export function rtoInit(t: Tcb): void {
  t.srtt = t.rttvar = 0;
  t.rto = load<u32>(CFG_RTO_INIT_US);
  t.backoff = 0;
  coldOf(t).minRtt = 0;
}

/** Takes an RTT sample (RFC 6298 §2) and ends the backoff (§5.7, Karn). */
export function rttSample(t: Tcb, us: u64): void {
  const r = <u32>min<u64>(max<u64>(us, 1), SAMPLE_MAX_US);
  const c = coldOf(t);
  c.graces = 0;
  if (c.minRtt == 0 || r < c.minRtt) c.minRtt = r;
  if (t.srtt == 0) {
    t.srtt = r << 3;
    t.rttvar = r << 1;
  } else {
    // SRTT += (R − SRTT)/8, RTTVAR += (|SRTT − R| − RTTVAR)/4, on the scaled values.
    const error = <i32>r - <i32>(t.srtt >> 3);
    t.srtt = max<i32>(<i32>t.srtt + error, 8);
    t.rttvar = <u32>(<i32>t.rttvar + (abs<i32>(error) - <i32>(t.rttvar >> 2)));
  }
  t.rto = min((t.srtt >> 3) + max(t.rttvar, load<u32>(CFG_RTO_MIN_US)), load<u32>(CFG_RTO_MAX_US));
  t.backoff = 0;
  pmtuAges(t);
}

/**
 * The timeout with its backoff (RFC 6298 §5.5), at most CFG_RTO_MAX_US. With CFG_RTO_STEADY_US a path that comes back
 * is noticed after an eighth of the time that it was gone, which is still a geometric backoff.
 */
export function rtoNow(t: Tcb): u64 {
  if (t.backoff == 0) return t.rto;
  const backedOff = min<u64>((<u64>t.rto) << min<u32>(t.backoff, 16), load<u32>(CFG_RTO_MAX_US));
  const steady = load<u32>(CFG_RTO_STEADY_US);
  if (steady == 0 || !t.txHead) return backedOff;
  const outage = <u64>(nowMs() - txSegAt(t.txHead).firstMs) * 1000;
  return min<u64>(backedOff, max<u64>(max<u64>(t.rto, steady), outage >> 3));
}

@inline
export function rtoArm(t: Tcb): void {
  t.flags &= ~FL_TLP;
  timerArm(retransmitTimer(t), nowUs + rtoNow(t));
}

/** The same, counted from when the oldest segment was last sent: the timer's node was lent out meanwhile. */
export function rtoArmSinceSent(t: Tcb): void {
  t.flags &= ~FL_TLP;
  const sent = t.txHead ? txSegAt(t.txHead).sentUs : nowUs;
  timerArm(retransmitTimer(t), max(sent + rtoNow(t), nowUs + 1));
}

/** The same, but not later than the user's timeout ends, which has run since then (RFC 5482 §3). */
export function rtoArmWithin(t: Tcb, sinceMs: u32): void {
  t.flags &= ~FL_TLP;
  const limitMs = coldOf(t).userTimeoutMs;
  const leftUs = limitMs ? <u64>max<i32>(<i32>(sinceMs + limitMs - nowMs()), 1) * 1000 : u64.MAX_VALUE;
  timerArm(retransmitTimer(t), nowUs + min(rtoNow(t), leftUs));
}

/** Whether data has gone unacknowledged for longer than the user allows (RFC 9293 §3.8.3, RFC 5482). */
export function userTimedOut(t: Tcb, sinceMs: u32): bool {
  const limit = coldOf(t).userTimeoutMs;
  return limit != 0 && nowMs() - sinceMs >= limit;
}

/** Puts the timer off when the host has only just come back (noticeAbsence()). */
export function putOff(t: Tcb): bool {
  const c = coldOf(t);
  if (nowUs >= backUs || c.graces == GRACES_MOST) {
    c.graces = 0;
    return false;
  }
  c.graces++;
  timerArm(retransmitTimer(t), backUs);
  return true;
}

/** Linux sets it once for a window, in recovery too, and anew for a timeout after which something was acknowledged. */
function linuxReduces(t: Tcb): bool {
  return t.caState == CA_OPEN || !seqGt(coldOf(t).recover, t.sndUna) || (t.caState == CA_LOSS && t.retries <= 1);
}

/** The retransmission timer has expired with data outstanding (RFC 6298 §5.4–5.6, RFC 5681 §3.1). */
export function rtoExpired(t: Tcb): void {
  if (!t.txHead) return;
  const head = txSegAt(t.txHead);
  if (<i32>(head.txPos - load<u32>(CTL_TX_TAIL)) > 0) {
    // The link has not taken the segment yet: another copy behind it would help nobody.
    count(CNT_TcpExtTCPSpuriousRtxHostQueues);
    rtoArm(t);
    return;
  }
  if (putOff(t)) return;
  const c = coldOf(t);
  // A peer that answers, but has no window for the segment, is alive (RFC 9293 §3.8.6 SHLD-17): no expiry that counts.
  const orphan = (t.flags & FL_ORPHAN) != 0;
  const alive = !orphan && <u32>head.len > t.sndWnd && t.retries != 0 && <i32>(t.lastRecvMs - c.probeSentMs) >= 0;
  if (!alive) {
    if (t.retries != 255) t.retries++;
    if (<u32>t.retries >= R1) pathDoubted(t);
  }
  // R2 of §3.8.3: the user's timeout, for all data to be delivered (§3.9.1.1), else a number of retransmissions.
  if (c.userTimeoutMs ? userTimedOut(t, head.firstMs) : !alive && <u32>t.retries > retriesMost(t)) {
    count(CNT_TcpExtTCPAbortOnTimeout);
    connectionAborted(t, silenceErrno(t));
    return;
  }
  count(CNT_TcpExtTCPTimeouts);
  const reneged = (head.mark & TXM_SACKED) != 0;
  if (reneged) count(CNT_TcpExtTCPSACKReneging);
  // RFC 5681 §3.1: ssthresh is set once for a loss, not again for each backed-off retransmission of it.
  const reduces = asLinux() ? linuxReduces(t) : t.caState != CA_LOSS;
  // RFC 5682 §2.1 step 1: not when the repair after a timeout itself runs into one. One of the same segment again, without
  // progress, may be as spurious as the first, in an outage (as Linux has it).
  const maybeSpurious = t.caState != CA_LOSS || t.retries > 1;
  if (reduces) undoRemember(t);
  ccOnRto(t, reduces);
  t.caState = CA_LOSS;
  coldOf(t).recover = t.sndNxt;
  t.dupAcks = 0;
  markTimedOut(t, reneged);
  // RFC 5681 §3.1: the loss window is one segment, beyond what RACK still takes to be under way.
  t.cwnd = pipe(t) + t.sndMss;
  frtoBegin(t, maybeSpurious);
  pmtuSuspect(t);
  t.flags &= ~FL_PROBED;
  c.probeSentMs = nowMs();
  if (t.backoff < 16) t.backoff++;
  rtoArmWithin(t, head.firstMs);
  tcpOutput(t);
}

/** Nothing is outstanding any more. */
@inline
export function rtoQuiet(t: Tcb): void {
  t.retries = 0;
  if (t.caState == CA_OPEN) t.dupAcks = 0;
}
