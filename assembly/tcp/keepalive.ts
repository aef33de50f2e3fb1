// Keepalive (RFC 9293 §3.8.4), off unless asked for: after keepTime without anything from the peer, probes every
// keepIntvl with an old sequence number, which a living peer answers.

import { CNT_TcpExtTCPAbortOnTimeout, CNT_TcpExtTCPKeepAlive } from '../abi/counters';
import { CFG_KEEPALIVE_PROBES, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2 } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { timerArm } from '../timer/wheel';
import { TCPF_ACK } from '../wire/tcp';
import { connectionAborted } from './close';
import { nowMs } from './isn';
import { silenceErrno } from './report';
import { segmentReset, segmentSend } from './segment';
import { FL_KEEPALIVE, FL_ORPHAN, FL_PERSIST, Tcb, coldOf, longTimer } from './tcb';

@inline
function arm(t: Tcb, ms: u32): void {
  timerArm(longTimer(t), nowUs + <u64>ms * 1000);
}

/** Whether the long timer is keepalive's in this state. */
@inline
export function keepaliveRuns(t: Tcb): bool {
  if ((t.flags & (FL_KEEPALIVE | FL_ORPHAN)) != FL_KEEPALIVE) return false;
  const state: u32 = t.state;
  return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2;
}

export function keepaliveStart(t: Tcb): void {
  if (keepaliveRuns(t)) arm(t, coldOf(t).keepTimeMs);
}

export function keepaliveExpired(t: Tcb): void {
  if (!keepaliveRuns(t)) return;
  const c = coldOf(t);
  // The retransmission or persist timer watches the peer already.
  if (t.sndNxt != t.sndUna || t.flags & FL_PERSIST) return arm(t, c.keepTimeMs);
  const idle = nowMs() - t.lastRecvMs;
  if (idle < c.keepTimeMs) {
    t.probes = 0;
    return arm(t, c.keepTimeMs - idle);
  }
  // As on Linux, a user timeout takes the place of the number of probes.
  const most = c.keepProbes != 0 ? <u32>c.keepProbes : load<u32>(CFG_KEEPALIVE_PROBES);
  if (c.userTimeoutMs ? t.probes != 0 && idle >= c.userTimeoutMs : <u32>t.probes >= most) {
    count(CNT_TcpExtTCPAbortOnTimeout);
    segmentReset(t);
    connectionAborted(t, silenceErrno(t));
    return;
  }
  // Not counted when the ring is full: it was not sent.
  if (segmentSend(t, t.sndUna - 1, 0, 0, TCPF_ACK)) {
    if (t.probes != 255) t.probes++;
    count(CNT_TcpExtTCPKeepAlive);
  }
  arm(t, c.keepIntvlMs);
}
