// CUBIC (RFC 9438): the window is a cubic function of the time since the last reduction, never below what Reno's
// would be. Windows are bytes here, so the RFC's segments are multiplied by the MSS; times are milliseconds.
//
//   cc0   W_max                                  cc4   cwnd's remainder: fractions of a byte × cwnd
//   cc1   start of the epoch, ms; 0 = none       cc5   W_est's remainder
//   cc2   K, ms                                  cc6   cwnd before the reduction (cwnd_prior)
//   cc3   W_est

import { nowMs } from '../isn';
import { Cold, FL_CWND_LIMITED, Tcb, coldOf } from '../tcb';
import { atLeastTwo, congestedWindow } from './window';
import { CWND_MAX } from '../../abi/layout';

/** §4.1, §5: segments per cubic second. */
const C: f64 = 0.4;
/** §4.6: β_cubic as a fraction of 10. */
const BETA_TENTHS: u64 = 7;
/** §4.3: α_cubic = 3 (1 − β) / (1 + β) = 9 / 17, until W_est has caught up. */
const ALPHA_NUMERATOR: u64 = 9;
const ALPHA_DENOMINATOR: u64 = 17;

export function cubicInit(t: Tcb): void {
  const c = coldOf(t);
  c.cc0 = c.cc1 = c.cc2 = c.cc3 = c.cc4 = c.cc5 = c.cc6 = 0;
}

function beginEpoch(t: Tcb, c: Cold): void {
  c.cc1 = nowMs() | 1;
  c.cc3 = t.cwnd;
  c.cc4 = c.cc5 = 0;
  if (t.cwnd < c.cc0) c.cc2 = <u32>(Math.cbrt(<f64>(c.cc0 - t.cwnd) / (C * <f64>t.sndMss)) * 1000);
  else {
    // §4.2: without a larger window before, the plateau is here.
    c.cc2 = 0;
    c.cc0 = t.cwnd;
  }
}

/** §4.2 equation (1), `ms` after the epoch's start. */
@inline
function wCubic(t: Tcb, c: Cold, ms: u32): f64 {
  const s = <f64>(<i32>(ms - c.cc2)) / 1000;
  return C * <f64>t.sndMss * s * s * s + <f64>c.cc0;
}

export function cubicAvoid(t: Tcb, acked: u32): void {
  const c = coldOf(t);
  if (!(t.flags & FL_CWND_LIMITED)) return;
  if (c.cc1 == 0) beginEpoch(t, c);
  const cwnd = t.cwnd;
  const elapsed = nowMs() - c.cc1;
  // §4.3: W_est += α · SMSS · acked / cwnd.
  let gain: u64 = <u64>acked * t.sndMss;
  if (c.cc3 < c.cc6) gain = (gain * ALPHA_NUMERATOR) / ALPHA_DENOMINATOR;
  gain += c.cc5;
  c.cc3 = min<u32>(c.cc3 + <u32>(gain / cwnd), CWND_MAX);
  c.cc5 = <u32>(gain % cwnd);
  if (wCubic(t, c, elapsed) < <f64>c.cc3) {
    if (c.cc3 > cwnd) t.cwnd = c.cc3;
    return;
  }
  // §4.4, §4.5: towards where the curve will be in a round trip, at most half as much again.
  const ahead = min(wCubic(t, c, elapsed + (t.srtt >> 3) / 1000), <f64>cwnd * 1.5);
  if (ahead <= <f64>cwnd) return;
  const grow: u64 = <u64>(ahead - <f64>cwnd) * acked + c.cc4;
  t.cwnd = min(cwnd + <u32>(grow / cwnd), CWND_MAX);
  c.cc4 = <u32>(grow % cwnd);
}

/** §4.6 and §4.7, fast convergence. */
export function cubicSsthresh(t: Tcb, flight: u32): u32 {
  const c = coldOf(t);
  const window = congestedWindow(t, flight);
  c.cc1 = 0;
  c.cc6 = t.cwnd;
  c.cc0 = t.cwnd < c.cc0 ? <u32>((<u64>t.cwnd * (10 + BETA_TENTHS)) / 20) : t.cwnd;
  return atLeastTwo(t, <u32>((<u64>window * BETA_TENTHS) / 10));
}

/** §5.8: time in which the application sent nothing does not count. */
export function cubicIdle(t: Tcb, idleMs: u32): void {
  const c = coldOf(t);
  if (c.cc1 != 0) c.cc1 = (c.cc1 + idleMs) | 1;
}
