// RACK: loss detection by time (RFC 8985 §6.2). A segment is lost if one sent later has arrived and the round trip of
// that one, with room for reordering, has passed. It finds lost retransmissions, which counting duplicates cannot,
// and a path that reorders does not make it retransmit for nothing. Needs SACK; works on the records' sentUs.
//
//   rackXmit, rackEnd   when the latest delivered segment was sent, and where it ends
//   rackRtt             its round-trip time
//   fack                highest sequence number delivered
//   reoMult             0 until reordering is seen, then the reordering window in quarters of the minimum RTT (step 4)

import { CNT_TcpExtTCPRACKLost } from '../abi/counters';
import { count, nowUs } from '../abi/runtime';
import { asLinuxReceiver } from './linux';
import { optHasTs, optTsEcr } from './options';
import { TXM_EVER, TXM_LOST, TXM_RETRANS, TXM_SACKED, TxSeg } from './records';
import { seqGt, seqLt } from './seq';
import { CA_OPEN, Cold, FL_SACK, FL_TS, Tcb, coldOf } from './tcb';
import { markLost, txSegAt, txSegSpace, unmarkRetrans } from './txseg';

/** RFC 5681 §3.2. */
const DUP_THRESH: u32 = 3;
/** RFC 8985 §6.2 step 4: the window grows a quarter of the minimum RTT for each round trip with a DSACK. */
const MULT_MAX: u32 = 16;

/** Whether a segment sent at `xmit`, ending at `end`, was sent after another (RFC 8985 §6.2's RACK_sent_after()). */
@inline
function sentAfter(xmit: u64, end: u32, otherXmit: u64, otherEnd: u32): bool {
  return xmit > otherXmit || (xmit == otherXmit && seqGt(end, otherEnd));
}

/** RACK.fack when the ACK came: for Linux, what one ACK reports in any order is not reordered by that. */
let fackBefore: u32 = 0;

/** An ACK is about to be processed. */
export function rackAckBegins(t: Tcb): void {
  const fack = coldOf(t).fack;
  fackBefore = seqLt(fack, t.sndUna) ? t.sndUna : fack;
}

/** A segment has been delivered (steps 2 and 3). */
export function rackDelivered(t: Tcb, s: TxSeg): void {
  const c = coldOf(t);
  const end = s.seq + txSegSpace(s);
  const rtt = <u32>min<u64>(nowUs - s.sentUs, 0x7fffffff);
  if (s.mark & TXM_EVER) {
    // The ACK may be for an earlier transmission: it is if it came too soon, or echoes an older timestamp.
    if (rtt < c.minRtt) return;
    if (t.flags & FL_TS && optHasTs && <i32>(optTsEcr - (<u32>(s.sentUs / 1000) + t.tsOffset)) < 0) return;
  } else if (seqLt(end, asLinuxReceiver() ? fackBefore : c.fack)) {
    if (c.reoMult == 0) c.reoMult = 1;
    c.reordSeen++;
  }
  if (seqGt(end, c.fack)) c.fack = end;
  c.rackRtt = rtt;
  if (sentAfter(s.sentUs, end, c.rackXmit, c.rackEnd)) {
    c.rackXmit = s.sentUs;
    c.rackEnd = end;
  }
}

/** The peer has received something twice: the reordering window was too small. At most once a round trip. */
export function rackDuplicate(t: Tcb): void {
  const c = coldOf(t);
  if (seqLt(t.sndUna, c.rackRound)) return;
  c.rackRound = t.sndNxt;
  if (c.reoMult < MULT_MAX) c.reoMult++;
}

/** Step 4. */
@inline
function reorderingWindow(t: Tcb, c: Cold): u32 {
  if (c.reoMult == 0) {
    if (t.caState != CA_OPEN || <u32>t.sackedSegs >= DUP_THRESH) return 0;
    return c.minRtt >> 2;
  }
  return min((c.reoMult * c.minRtt) >> 2, t.srtt >> 3);
}

/** Whether a segment was sent so recently that it need not be lost although the timer has expired. */
export function rackUnderWay(t: Tcb, s: TxSeg): bool {
  const c = coldOf(t);
  if (!(t.flags & FL_SACK) || c.rackXmit == 0) return false;
  return s.sentUs + c.rackRtt + reorderingWindow(t, c) > nowUs;
}

/** Microseconds until the next segment may have to be taken for lost; 0 = none is waiting. */
export let rackWaitUs: u64 = 0;

/** Marks what is lost by now (step 5). True when something new is. */
export function rackDetect(t: Tcb): bool {
  rackWaitUs = 0;
  const c = coldOf(t);
  if (c.rackXmit == 0) return false;
  const patience = <u64>c.rackRtt + reorderingWindow(t, c);
  let found = false;
  let at = t.txHead;
  while (at) {
    const s = txSegAt(at);
    const mark: u32 = s.mark;
    at = s.next;
    if (mark & TXM_SACKED || (mark & (TXM_LOST | TXM_RETRANS)) == TXM_LOST) continue;
    if (mark & TXM_EVER) {
      // Of two sent within the same turn a retransmission may well be the later one.
      if (c.rackXmit <= s.sentUs) continue;
    } else if (!sentAfter(c.rackXmit, c.rackEnd, s.sentUs, s.seq + txSegSpace(s))) {
      // What was never retransmitted was sent in order: all that follows is later still.
      break;
    }
    const due = s.sentUs + patience;
    if (due <= nowUs) {
      if (mark & TXM_RETRANS) unmarkRetrans(t, s);
      else markLost(t, s);
      count(CNT_TcpExtTCPRACKLost);
      found = true;
    } else if (due - nowUs > rackWaitUs) rackWaitUs = due - nowUs;
  }
  return found;
}
