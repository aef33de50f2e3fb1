// Acknowledgments in: RFC 9293 §3.10.7.4 fifth check, with RFC 5961 §5 on what to accept.

import { CNT_TcpExtTCPACKSkippedChallenge, CNT_TcpExtTCPChallengeACK, CNT_TcpExtTCPPureAcks } from '../abi/counters';
import { CFG_CHALLENGE_ACKS, CFG_RTO_MIN_US, CTL_TX_TAIL, TCP_CLOSE } from '../abi/layout';
import { rand32 } from '../abi/random';
import { count, nowUs } from '../abi/runtime';
import { timerArm, timerCancel } from '../timer/wheel';
import { segAck, segLen, segSeq, segWindow } from './arrival';
import { finAcked } from './close';
import { mssUpdate } from './handshake';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import { optHasTs, optSackCount, optTsEcr } from './options';
import { ackSend } from './output';
import { rackAckBegins } from './rack';
import { TXM_SACKED } from './records';
import { recoveryOnAck } from './recovery';
import { rttSample } from './rto';
import { sackApply, sackDuplicate } from './sack';
import { sendqRelease } from './sendq';
import { seqGt, seqLe, seqLt } from './seq';
import { F2_HOLD, F2_UNDO, FL_FIN_SENT, FL_PROBED, FL_SACK, FL_TLP, FL_TS, Tcb, coldOf, retransmitTimer } from './tcb';
import { ackBegin, ackedRetransmitted, ackedSentUs, txSegAcked, txSegAt } from './txseg';
import { undoByDuplicate, undoByTimestamp } from './undo';
import { lossTimerArm, tlpOnAck } from './tlp';
import { ecnEcho } from './ecn';

/** Longest interval between two answers to invalid segments, ms (Linux: tcp_invalid_ratelimit). */
const INVALID_INTERVAL_MS: u32 = 500;

/** Least wait for a peer that seems to have dropped what it has sacked. */
const RENEGED_LEAST_US: u64 = 10_000;

/** Whether a segment that only provokes an ACK may get one: not more often than a prober with our timers would ask. */
export function mayAnswer(t: Tcb): bool {
  const c = coldOf(t);
  const now = nowMs();
  const interval = min(INVALID_INTERVAL_MS, load<u32>(CFG_RTO_MIN_US) / 2000);
  // 0 stands for never; a true 0 costs one extra answer in 49 days.
  if (c.lastOowMs != 0 && now - c.lastOowMs < interval) return false;
  c.lastOowMs = now;
  return true;
}

const SECOND_US: u64 = 1_000_000;

/** Challenge ACKs that are left of this second's, and when it ends. */
let challengesLeft: u32 = 0;
let challengesUntilUs: u64 = 0;

/**
 * The limit of all connections together (RFC 5961 §7). How many there are is drawn anew each second, between half and
 * one and a half times CFG_CHALLENGE_ACKS: a number that is known could be counted down by a connection of the attacker's
 * own, and what is missing of it would be those that a forged segment has drawn elsewhere (CVE-2016-5696).
 */
function challengesAllow(): bool {
  const limit = load<u32>(CFG_CHALLENGE_ACKS);
  if (limit == 0) return true;
  if (nowUs >= challengesUntilUs) {
    challengesUntilUs = nowUs + SECOND_US;
    challengesLeft = ((limit + 1) >> 1) + (rand32() % limit);
  }
  if (challengesLeft == 0) return false;
  challengesLeft--;
  return true;
}

/** RFC 5961: asks the peer to prove that it meant it, at a limited rate (§7). */
export function challengeAck(t: Tcb): void {
  if (!mayAnswer(t)) return;
  if (!challengesAllow()) {
    count(CNT_TcpExtTCPACKSkippedChallenge);
    return;
  }
  count(CNT_TcpExtTCPChallengeACK);
  ackSend(t);
}

/** What was sacked is not acknowledged: Linux waits half a round trip for the peer to remember it. */
function renegedArm(t: Tcb): void {
  t.flags &= ~FL_TLP;
  timerArm(retransmitTimer(t), nowUs + max<u64>(t.srtt >> 4, RENEGED_LEAST_US));
}

/** Applies a cumulative acknowledgment in (sndUna, sndNxt]. */
export function ackAdvance(t: Tcb, ack: u32): void {
  const c = coldOf(t);
  c.bytesAcked += ack - t.sndUna;
  // What waits is what has not been sent; the next piece that is queued ends it too (sendq.ts).
  if (t.sndNxt != t.sndEnd) t.flags2 &= ~F2_HOLD;
  t.sndUna = ack;
  t.retries = 0;
  txSegAcked(t, ack);
  sendqRelease(t);
  if (!ackedRetransmitted) {
    if (ackedSentUs != 0) rttSample(t, nowUs - ackedSentUs);
  } else if (t.flags & FL_TS && optHasTs) {
    // Karn's algorithm forbids the record; the echoed timestamp says which transmission it was (RFC 7323 §4).
    const elapsed = <i32>(nowMs() + t.tsOffset - optTsEcr);
    if (elapsed >= 0) rttSample(t, max<u64>(<u64>elapsed, 1) * 1000);
  }
  if (t.txHead) {
    lossTimerArm(t);
    if (asLinuxReceiver() && txSegAt(t.txHead).mark & TXM_SACKED) renegedArm(t);
  } else timerCancel(retransmitTimer(t));
}

/** The link has taken the oldest segment: an ACK that comes before that says nothing about it. */
@inline
function sentEarlier(t: Tcb): bool {
  return <i32>(txSegAt(t.txHead).txPos - load<u32>(CTL_TX_TAIL)) <= 0;
}

/** Processes SEG.ACK and the window. False: the segment has been answered or ended the connection. */
export function ackProcess(t: Tcb): bool {
  const ack = segAck;
  const una = t.sndUna;
  // RFC 5961 §5.2: an ACK of something not sent, or older than any window, is answered and dropped.
  if (seqGt(ack, t.sndNxt) || seqLt(ack, una - coldOf(t).maxWnd)) {
    challengeAck(t);
    return false;
  }
  const flight = t.sndNxt - una;
  const sackedBefore = t.sackedBytes;
  const echo = ecnEcho(t);
  const deliveredBefore = coldOf(t).delivered;
  ackBegin();
  rackAckBegins(t);
  const sacked = (t.flags & FL_SACK) != 0 && optSackCount != 0 ? sackApply(t, ack) : false;
  if (seqLt(ack, una)) {
    if (sacked) recoveryOnAck(t, 0, true, flight, sackedBefore, coldOf(t).delivered - deliveredBefore, false);
    return true;
  }
  const window = segWindow << t.sndWscale;
  const before = t.sndWnd;
  // SND.WL2 ≤ SEG.ACK holds here always: window updates are taken from ACKs ≤ sndUna only.
  if (seqLe(t.sndWl1, segSeq)) {
    t.sndWnd = window;
    t.sndWl1 = segSeq;
    if (window > coldOf(t).maxWnd) {
      coldOf(t).maxWnd = window;
      if (asLinuxReceiver()) mssUpdate(t);
    }
  }
  const acked = ack - una;
  let duplicate = sacked;
  if (!(t.flags & FL_SACK))
    duplicate = acked == 0 && segLen == 0 && t.txHead != 0 && window == before && sentEarlier(t);
  if (segLen == 0) count(CNT_TcpExtTCPPureAcks);
  if (acked) {
    ackAdvance(t, ack);
    if (coldOf(t).flags2 & F2_UNDO) undoByTimestamp(t);
  }
  const reported = (t.flags & FL_SACK) != 0 && optSackCount != 0 && sackDuplicate;
  if (reported && coldOf(t).flags2 & F2_UNDO) undoByDuplicate(t);
  if (t.flags & FL_PROBED) tlpOnAck(t, ack, acked != 0, sacked || segLen != 0 || t.sndWnd != before, reported);
  if (echo) coldOf(t).deliveredCe += coldOf(t).delivered - deliveredBefore;
  const segments = coldOf(t).delivered - deliveredBefore;
  if (acked || duplicate || echo) recoveryOnAck(t, acked, duplicate, flight, sackedBefore, segments, echo);
  if (acked && t.flags & FL_FIN_SENT && ack == t.sndNxt) {
    const handle = t.handle;
    finAcked(t);
    return t.handle == handle && t.state != TCP_CLOSE;
  }
  return true;
}
