// DCTCP (RFC 8257): the window shrinks in proportion to the share of bytes that met a queue above the switch's
// threshold. Grows like Reno; loss halves it. Needs ECN, without which it is Reno.
//
//   cc0   Reno's bytes towards the next segment
//   cc1   DCTCP.Alpha in 2⁻²⁰                    cc3   bytes acknowledged with ECE
//   cc2   bytes acknowledged in this window      cc4   DCTCP.WindowEnd

import { seqGt } from '../seq';
import { Tcb, coldOf } from '../tcb';
import { atLeastTwo, congestedWindow } from './window';
import { renoReduced } from './newreno';

const ONE: u32 = 1 << 20;
/** §4.2: g = 1/16. */
const G_SHIFT: u32 = 4;

export function dctcpInit(t: Tcb): void {
  const c = coldOf(t);
  c.cc0 = 0;
  // §3.3: without an estimate yet, the first mark halves.
  c.cc1 = ONE;
  c.cc2 = c.cc3 = 0;
  c.cc4 = t.sndNxt;
}

/** §3.3: the estimate, once a window. `ece`: the ACK carries ECE. */
export function dctcpDelivered(t: Tcb, bytes: u32, ece: bool): void {
  const c = coldOf(t);
  c.cc2 += bytes;
  if (ece) c.cc3 += bytes;
  if (!seqGt(t.sndUna, c.cc4)) return;
  if (c.cc2 != 0) {
    const marked = <u32>(((<u64>min(c.cc3, c.cc2)) << 20) / c.cc2);
    const decay = c.cc1 >> G_SHIFT;
    // Below one step of the shift it goes all the way: an alpha that cannot reach 0 would keep on reducing.
    c.cc1 = min(c.cc1 - (decay != 0 ? decay : c.cc1) + (marked >> G_SHIFT), ONE);
  }
  c.cc2 = c.cc3 = 0;
  c.cc4 = t.sndNxt;
}

/** §3.3: cwnd × (1 − DCTCP.Alpha / 2) for marks, §3.5: half for loss. */
export function dctcpSsthresh(t: Tcb, flight: u32, marked: bool): u32 {
  const window = congestedWindow(t, flight);
  const cut = marked ? <u32>((<u64>window * coldOf(t).cc1) >> 21) : window >> 1;
  return renoReduced(t, atLeastTwo(t, window - cut));
}
