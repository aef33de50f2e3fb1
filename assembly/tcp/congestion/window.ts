// What the algorithms share: slow start, the window that a reduction starts from, the bounds.

import { CFGF_LINUX_CWND, CFG_FLAGS, CWND_MAX } from '../../abi/layout';
import { nowMs } from '../isn';
import { seqGe } from '../seq';
import { CA_LOSS, FL_CWND_LIMITED, Tcb, coldOf } from '../tcb';
import { inNetwork } from '../txseg';

/** RFC 3465 §2.2: L = 2 segments per ACK, §2.3: 1 while recovering from a timeout. */
const LIMIT: u32 = 2;

@inline
export function asLinux(): bool {
  return (load<u32>(CFG_FLAGS) & CFGF_LINUX_CWND) != 0;
}

/**
 * Slow start (RFC 5681 §3.1) by byte counting. Returns what is left of `acked` for congestion avoidance: all of it at
 * or above ssthresh. `flight`: outstanding before the ACK.
 */
export function slowStart(t: Tcb, acked: u32, flight: u32): u32 {
  const cwnd = t.cwnd;
  if (cwnd >= t.ssthresh) return acked;
  // RFC 7661 §4.2, RFC 5681 §4.1: a window that is not used says nothing about the path.
  if (!(t.flags & FL_CWND_LIMITED) && (asLinux() ? coldOf(t).mostFlight : flight) << 1 <= cwnd) return 0;
  let grow = acked;
  if (!asLinux()) grow = min(grow, (t.caState == CA_LOSS ? 1 : LIMIT) * t.sndMss);
  if (grow <= t.ssthresh - cwnd) {
    t.cwnd = min(cwnd + grow, CWND_MAX);
    return 0;
  }
  t.cwnd = t.ssthresh;
  return grow - (t.ssthresh - cwnd);
}

/**
 * Output has sent what it could; `limited`: until the window was full. Linux remembers for a round trip whether it was,
 * and the most that was outstanding (tcp_cwnd_validate()).
 */
export function cwndUsed(t: Tcb, limited: bool): void {
  if (!asLinux()) {
    if (limited) t.flags |= FL_CWND_LIMITED;
    else t.flags &= ~FL_CWND_LIMITED;
    return;
  }
  const c = coldOf(t);
  const out = c.txCount * t.sndMss;
  const full = limited || inNetwork(t) + t.sndMss > t.cwnd;
  if (!full && !seqGe(t.sndUna, c.usageSeq) && (t.flags & FL_CWND_LIMITED || out <= c.mostFlight)) return;
  if (full) t.flags |= FL_CWND_LIMITED;
  else t.flags &= ~FL_CWND_LIMITED;
  c.mostFlight = out;
  c.usageSeq = t.sndNxt;
}

/** What a reduction starts from: FlightSize without limited transmit (RFC 5681 §3.2 step 2), or cwnd as Linux. */
@inline
export function congestedWindow(t: Tcb, flight: u32): u32 {
  return asLinux() ? t.cwnd : min(flight, t.cwnd);
}

/** RFC 5681 §3.1 equation (4), and the least window of every algorithm. */
@inline
export function atLeastTwo(t: Tcb, window: u32): u32 {
  const mss: u32 = t.sndMss;
  // Linux counts whole segments.
  return max(asLinux() ? window - (window % mss) : window, mss << 1);
}

/** The window after an idle time: the initial one (RFC 5681 §4.1), or, as Linux, half for each RTO (RFC 2861 §3.1). */
export function restartWindow(t: Tcb, initial: u32): void {
  if (!asLinux()) {
    t.cwnd = min(t.cwnd, initial);
    return;
  }
  t.ssthresh = max(t.ssthresh, (t.cwnd >> 1) + (t.cwnd >> 2));
  let idle: i64 = <i64>(nowMs() - t.lastSendMs) * 1000 - t.rto;
  while (idle > 0 && t.cwnd > initial) {
    t.cwnd = max(t.cwnd >> 1, initial);
    idle -= t.rto;
  }
}
