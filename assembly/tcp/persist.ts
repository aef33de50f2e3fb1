// Zero-window probing (RFC 9293 §3.8.6.1). While the peer's window is too small to send into and nothing is
// outstanding, the retransmission timer's node runs as the persist timer, with the RTO's backoff. A probe is an
// old sequence number, which the peer must answer with its window (§3.10.7.4, first check); if the window has room for
// less than silly-window avoidance waits for, the timer overrides it and sends what fits (§3.8.6.2.1 case 4).

import { CNT_TcpExtTCPAbortOnTimeout, CNT_TcpExtTCPZeroWindowProbe } from '../abi/counters';
import { TCP_SYN_RECV } from '../abi/layout';
import { count } from '../abi/runtime';
import { timerArmed } from '../timer/wheel';
import { TCPF_ACK } from '../wire/tcp';
import { connectionAborted, connectionReset, retriesMost } from './close';
import { nowMs } from './isn';
import { sendForced, wantOutput } from './output';
import { silenceErrno } from './report';
import { rtoArm, rtoArmWithin, userTimedOut } from './rto';
import { segmentSend } from './segment';
import { FL_ORPHAN, FL_PERSIST, Tcb, coldOf, retransmitTimer } from './tcb';

/** Starts probing, unless it is going on. */
export function persistArm(t: Tcb): void {
  // Fast Open: the timer is the SYN-ACK's, whose ACK brings the window.
  if (t.state == TCP_SYN_RECV) return;
  if (t.flags & FL_PERSIST && timerArmed(retransmitTimer(t))) return;
  t.flags |= FL_PERSIST;
  t.backoff = 0;
  t.probes = 0;
  coldOf(t).probeSentMs = nowMs();
  coldOf(t).persistMs = 0;
  rtoArm(t);
}

export function persistExpired(t: Tcb): void {
  const c = coldOf(t);
  // A peer that answers keeps the connection, however long its window stays shut (§3.8.6.1); the user's timeout is for
  // all data to be delivered, and ends it nevertheless (§3.9.1.1).
  const orphan = (t.flags & FL_ORPHAN) != 0;
  if (!orphan && <i32>(t.lastRecvMs - c.probeSentMs) >= 0) t.probes = 0;
  if (c.persistMs == 0) c.persistMs = max<u32>(nowMs(), 1);
  if (c.userTimeoutMs ? userTimedOut(t, c.persistMs) : <u32>t.probes >= retriesMost(t)) {
    count(CNT_TcpExtTCPAbortOnTimeout);
    // The peer of an orphan is alive as likely as not, and should know.
    if (orphan) return connectionReset(t);
    connectionAborted(t, silenceErrno(t));
    return;
  }
  if (sendForced(t)) return;
  c.probeSentMs = nowMs();
  if (t.probes != 255) t.probes++;
  count(CNT_TcpExtTCPZeroWindowProbe);
  if (!segmentSend(t, t.sndUna - 1, 0, 0, TCPF_ACK)) wantOutput(t);
  if (t.backoff < 16) t.backoff++;
  rtoArmWithin(t, c.persistMs);
}
