// NewReno: slow start and congestion avoidance by byte counting (RFC 5681 §3.1, RFC 3465), halving on loss.
//
//   cc0   bytes acknowledged towards the next segment of congestion avoidance

import { FL_CWND_LIMITED, Tcb, coldOf } from '../tcb';
import { asLinux, atLeastTwo, congestedWindow } from './window';
import { CWND_MAX } from '../../abi/layout';

export function renoInit(t: Tcb): void {
  coldOf(t).cc0 = 0;
}

/** Congestion avoidance: a segment for each window of acknowledged bytes. */
export function renoAvoid(t: Tcb, acked: u32): void {
  if (!(t.flags & FL_CWND_LIMITED)) return;
  const c = coldOf(t);
  c.cc0 += acked;
  if (c.cc0 >= t.cwnd) {
    c.cc0 -= t.cwnd;
    t.cwnd = min(t.cwnd + t.sndMss, CWND_MAX);
  }
}

export function renoSsthresh(t: Tcb, flight: u32): u32 {
  return renoReduced(t, atLeastTwo(t, congestedWindow(t, flight) >> 1));
}

/**
 * The window will be `ssthresh`. Its part of a segment lets nothing out, but it is that much of the way to the next
 * segment (Linux, which counts windows in segments, drops it).
 */
export function renoReduced(t: Tcb, ssthresh: u32): u32 {
  const rest = ssthresh % t.sndMss;
  coldOf(t).cc0 = asLinux() ? 0 : <u32>((<u64>rest * ssthresh) / t.sndMss);
  return ssthresh;
}
