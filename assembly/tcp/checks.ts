// The checks a segment passes before its ACK and data are looked at: RFC 7323 §5 (PAWS), RFC 9293 §3.10.7.4 first to
// fourth check with the rules of RFC 5961. Each returns false when the segment has been dealt with.

import { CNT_TcpExtOutOfWindow, CNT_TcpExtPAWSEstab, CNT_TcpExtTCPSYNChallenge } from '../abi/counters';
import { ECONNREFUSED, ECONNRESET, TCP_CLOSING, TCP_LAST_ACK, TCP_SYN_RECV } from '../abi/layout';
import { count } from '../abi/runtime';
import { TCPF_ACK, TCPF_RST, TCPF_SYN } from '../wire/tcp';
import { challengeAck, mayAnswer } from './ack';
import { segAck, segFlags, segLen, segSeq, segSpace, segTrimSyn } from './arrival';
import { connectionAborted, connectionDone, destroy } from './close';
import { fastOpenReset } from './fastopen';
import { synSend } from './handshake';
import { nowMs } from './isn';
import { QUICK_ACKS_MOST, asLinuxReceiver, linuxQuickAck } from './linux';
import { optHasTs, optTsVal } from './options';
import { ackSend } from './output';
import { dsackSet } from './reassembly';
import { seqGt, seqLe, seqLt } from './seq';
import { F2_FAST_PENDING, F2_PASSIVE, FL_ACK_NOW, FL_TS, Tcb, coldOf } from './tcb';

/** RFC 7323 §5.5: a timestamp this old is no longer a bound. */
const TS_RECENT_VALID_MS: u32 = 24 * 86_400_000;

/** Whether the segment's timestamp is older than the connection's (RFC 7323 §5.3 R1). */
export function pawsOld(t: Tcb): bool {
  return <i32>(optTsVal - t.tsRecent) < 0 && nowMs() - t.tsRecentMs < TS_RECENT_VALID_MS;
}

/** Old duplicates by timestamp; a segment without the agreed option is dropped (RFC 7323 §3.2). Not for RST. */
export function checkTimestamp(t: Tcb): bool {
  if (!(t.flags & FL_TS) || segFlags & TCPF_RST) return true;
  // Linux takes it as it is.
  if (!optHasTs) return asLinuxReceiver();
  if (!pawsOld(t)) return true;
  count(CNT_TcpExtPAWSEstab);
  if (segLen != 0 || mayAnswer(t)) ackSend(t);
  return false;
}

/** TS.Recent follows segments at the left edge of what we acknowledged (RFC 7323 §4.3). */
export function updateTimestamp(t: Tcb): void {
  if (!(t.flags & FL_TS) || !optHasTs) return;
  if (<i32>(optTsVal - t.tsRecent) < 0 && !(nowMs() - t.tsRecentMs >= TS_RECENT_VALID_MS)) return;
  if (seqLe(segSeq, t.rcvWup)) {
    t.tsRecent = optTsVal;
    t.tsRecentMs = nowMs();
  }
}

/**
 * First check: does any of it lie in the window? A segment that begins at rcvNxt passes even when the window is 0, so
 * that its ACK counts; its data is cut later.
 */
export function checkSequence(t: Tcb): bool {
  if (t.state == TCP_SYN_RECV && (segFlags & (TCPF_SYN | TCPF_ACK)) == (TCPF_SYN | TCPF_ACK)) {
    // Simultaneous open (RFC 9293 figure 8): the peer's SYN again, with the ACK of ours that we wait for.
    if (segSeq == coldOf(t).irs && segAck == t.sndNxt) {
      if (asLinuxReceiver()) {
        // Linux reports the SYN as the duplicate that it is.
        dsackSet(t, segSeq, segSeq + 1);
        t.flags |= FL_ACK_NOW;
      }
      segTrimSyn();
    }
  }
  const space = segSpace();
  const end = segSeq + space;
  const edge = seqGt(t.rcvAdv, t.rcvNxt) ? t.rcvAdv : t.rcvNxt;
  if (space == 0) {
    if (!seqLt(segSeq, t.rcvNxt) && seqLe(segSeq, edge)) return true;
  } else if (seqGt(end, t.rcvNxt) && (seqLt(segSeq, edge) || segSeq == t.rcvNxt)) return true;
  if (segFlags & TCPF_RST) return false;
  count(CNT_TcpExtOutOfWindow);
  if (t.state == TCP_SYN_RECV && segFlags & TCPF_SYN && segSeq == coldOf(t).irs) {
    // The peer's SYN again: our SYN-ACK was lost.
    synSend(t);
    return false;
  }
  if (segFlags & TCPF_SYN && t.state != TCP_SYN_RECV) return checkSyn(t);
  if (segLen != 0) {
    if (seqLe(end, t.rcvNxt)) {
      dsackSet(t, segSeq, segSeq + segLen);
      if (asLinuxReceiver()) linuxQuickAck(t, QUICK_ACKS_MOST);
    }
    ackSend(t);
  } else if (mayAnswer(t)) ackSend(t);
  return false;
}

/** Second check: RST. Only the exact next number resets; any other in the window is challenged (RFC 5961 §3.2). */
export function checkReset(t: Tcb): bool {
  if (!(segFlags & TCPF_RST)) return true;
  if (segSeq != t.rcvNxt) challengeAck(t);
  else if (t.state == TCP_SYN_RECV) {
    if (coldOf(t).flags2 & F2_FAST_PENDING) fastOpenReset(t);
    else if (coldOf(t).flags2 & F2_PASSIVE) destroy(t);
    else connectionAborted(t, ECONNREFUSED);
  } else if (t.state == TCP_CLOSING || t.state == TCP_LAST_ACK) connectionDone(t, 0);
  else connectionAborted(t, ECONNRESET);
  return false;
}

/**
 * Fourth check: a SYN in a synchronized state is challenged wherever it lies (RFC 5961 §4.2). One in the window of a
 * half-open connection is of another attempt: back to LISTEN, where its retransmission opens anew (§3.10.7.4).
 */
export function checkSyn(t: Tcb): bool {
  if (!(segFlags & TCPF_SYN)) return true;
  if (t.state == TCP_SYN_RECV && (coldOf(t).flags2 & (F2_PASSIVE | F2_FAST_PENDING)) == F2_PASSIVE) {
    destroy(t);
    return false;
  }
  count(CNT_TcpExtTCPSYNChallenge);
  challengeAck(t);
  return false;
}
