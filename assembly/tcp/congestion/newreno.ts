// NewReno: slow start and congestion avoidance by byte counting (RFC 5681 §3.1, RFC 3465), halving on loss.
//
//   cc0   bytes acknowledged towards the next segment of congestion avoidance

import { CFG_INIT_CWND_SEGMENTS } from '../../abi/layout';
import { CA_LOSS, FL_CWND_LIMITED, Tcb, coldOf } from '../tcb';

/** RFC 3465 §2.2: L = 2 segments per ACK, §2.3: 1 while recovering from a timeout. */
const LIMIT: u32 = 2;
const CWND_MAX: u32 = 1 << 30;

export function renoInit(t: Tcb, segments: u32): void {
  t.cwnd = segments * t.sndMss;
  t.ssthresh = CWND_MAX;
  coldOf(t).cc0 = 0;
}

export function renoOnAck(t: Tcb, acked: u32, flight: u32): void {
  const cwnd = t.cwnd;
  if (cwnd < t.ssthresh) {
    // RFC 7661 §4.2, RFC 9293 via RFC 5681 §4.1: a window that is not used says nothing about the path.
    if (!(t.flags & FL_CWND_LIMITED) && flight << 1 <= cwnd) return;
    const limit: u32 = t.caState == CA_LOSS ? 1 : LIMIT;
    t.cwnd = min(cwnd + min(acked, limit * t.sndMss), CWND_MAX);
    return;
  }
  if (!(t.flags & FL_CWND_LIMITED)) return;
  const c = coldOf(t);
  c.cc0 += acked;
  if (c.cc0 >= cwnd) {
    c.cc0 -= cwnd;
    t.cwnd = min(cwnd + t.sndMss, CWND_MAX);
  }
}

/** RFC 5681 §3.1 equation (4). */
@inline
function halved(t: Tcb): u32 {
  return max((t.sndNxt - t.sndUna) >> 1, (<u32>t.sndMss) << 1);
}

export function renoOnCongestion(t: Tcb): void {
  t.ssthresh = halved(t);
  t.cwnd = t.ssthresh;
  coldOf(t).cc0 = 0;
}

export function renoOnRto(t: Tcb, first: bool): void {
  if (first) t.ssthresh = halved(t);
  t.cwnd = t.sndMss;
  coldOf(t).cc0 = 0;
}

export function renoOnRecoveryExit(t: Tcb): void {
  t.cwnd = t.ssthresh;
}

export function renoRestart(t: Tcb): void {
  t.cwnd = min(t.cwnd, load<u32>(CFG_INIT_CWND_SEGMENTS) * t.sndMss);
}
