// Undoing a recovery that was not needed: congestion control goes back to where it was (RFC 4015). Three signs tell
// that what was retransmitted had not been lost:
//
//   the first acknowledgment since echoes a timestamp from before the retransmission (Eifel, RFC 3522)
//   the peer has reported every retransmission as a duplicate (RFC 3708)
//   after a timeout, something never retransmitted is acknowledged first (F-RTO: frto.ts)

import { CNT_TcpExtTCPDSACKUndo, CNT_TcpExtTCPFullUndo, CNT_TcpExtTCPSpuriousRTOs } from '../abi/counters';
import { count } from '../abi/runtime';
import { nowMs } from './isn';
import { optHasTs, optTsEcr } from './options';
import { CA_CWR, CA_LOSS, CA_OPEN, CA_RECOVERY, F2_FRTO, F2_FRTO_NEW, F2_UNDO, FL_TS, Tcb, coldOf } from './tcb';
import { clearLost } from './txseg';

/** A recovery or a timeout begins: everything is about to be taken for lost, for the first time. */
export function undoRemember(t: Tcb): void {
  const c = coldOf(t);
  c.undoCwnd = t.cwnd;
  c.undoSsthresh = t.ssthresh;
  c.undoTs = nowMs() + t.tsOffset;
  c.undoRetrans = 0;
  c.flags2 |= F2_UNDO;
}

/** An acceptable ACK, with sndUna advanced. Decides by its timestamp: only the first one after a retransmission can tell. */
export function undoByTimestamp(t: Tcb): void {
  const c = coldOf(t);
  if (c.undoRetrans == 0 || t.caState == CA_OPEN || t.caState == CA_CWR) return;
  if (!(t.flags & FL_TS) || !optHasTs) return;
  if (<i32>(optTsEcr - c.undoTs) >= 0) {
    // It answers the retransmission. Duplicates may still tell otherwise.
    c.undoTs = optTsEcr;
    return;
  }
  if (t.caState == CA_LOSS) count(CNT_TcpExtTCPSpuriousRTOs);
  else count(CNT_TcpExtTCPFullUndo);
  undo(t);
}

/** The peer has received something twice (RFC 2883). */
export function undoByDuplicate(t: Tcb): void {
  const c = coldOf(t);
  if (c.undoRetrans == 0 || --c.undoRetrans != 0) return;
  count(CNT_TcpExtTCPDSACKUndo);
  undo(t);
}

/** F-RTO has found the timeout to be spurious. */
export function undoTimeout(t: Tcb): void {
  if (!(coldOf(t).flags2 & F2_UNDO)) return;
  count(CNT_TcpExtTCPSpuriousRTOs);
  undo(t);
}

function undo(t: Tcb): void {
  const c = coldOf(t);
  c.flags2 &= ~(F2_UNDO | F2_FRTO | F2_FRTO_NEW);
  const repairing = t.caState == CA_LOSS || t.caState == CA_RECOVERY;
  if (repairing) clearLost(t);
  t.cwnd = max(t.cwnd, c.undoCwnd);
  t.ssthresh = max(t.ssthresh, c.undoSsthresh);
  if (!repairing) return;
  t.caState = CA_OPEN;
  // What a duplicate of the retransmission provokes is no sign of loss (RFC 6582 §3.2 step 2 would refuse it too).
  coldOf(t).recover = t.sndUna - 1;
  t.dupAcks = 0;
}
