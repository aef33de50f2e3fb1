// Undoing a retransmission timeout that was not needed: detected by timestamps (Eifel, RFC 3522), answered by going
// back to where the connection was (RFC 4015). A timeout is spurious if the first acknowledgment after it echoes a
// timestamp from before the retransmission: it answers the original. Without timestamps, or when both fall into
// one millisecond, nothing is undone.

import { CNT_TcpExtTCPSpuriousRTOs } from '../abi/counters';
import { count } from '../abi/runtime';
import { nowMs } from './isn';
import { optHasTs, optTsEcr } from './options';
import { CA_LOSS, CA_OPEN, FL_TS, FL_UNDO, Tcb, coldOf } from './tcb';
import { clearLost } from './txseg';

/** The timer has expired and everything outstanding is about to be taken for lost, for the first time. */
export function undoRemember(t: Tcb): void {
  if (!(t.flags & FL_TS)) return;
  const c = coldOf(t);
  c.undoCwnd = t.cwnd;
  c.undoSsthresh = t.ssthresh;
  c.undoTs = nowMs() + t.tsOffset;
  t.flags |= FL_UNDO;
}

/** The first acceptable ACK since; sndUna has advanced. */
export function undoDecide(t: Tcb): void {
  t.flags &= ~FL_UNDO;
  if (t.caState != CA_LOSS || !optHasTs) return;
  const c = coldOf(t);
  if (<i32>(optTsEcr - c.undoTs) >= 0) return;
  count(CNT_TcpExtTCPSpuriousRTOs);
  clearLost(t);
  t.cwnd = max(t.cwnd, c.undoCwnd);
  t.ssthresh = c.undoSsthresh;
  t.caState = CA_OPEN;
  // What a duplicate of the retransmission provokes is no sign of loss (RFC 6582 §3.2 step 2 would refuse it too).
  t.recover = t.sndUna - 1;
  t.dupAcks = 0;
}
