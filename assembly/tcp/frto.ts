// F-RTO (RFC 5682 §3.1, with SACK): whether a timeout was spurious, told without timestamps by what the first
// acknowledgments after it cover.
//
//   F2_FRTO       the question is open
//   F2_FRTO_NEW   step 2b: the next output sends new data and leaves the segments deemed lost alone

import { CFGF_FRTO, CFG_FLAGS } from '../abi/layout';
import { seqGe, seqGt } from './seq';
import { F2_FRTO, F2_FRTO_NEW, FL_SACK, Tcb, coldOf } from './tcb';
import { ackedOriginal } from './txseg';
import { undoTimeout } from './undo';

/** The timer has expired; `recover` is set. `asks`: whether the timeout may have been spurious. */
export function frtoBegin(t: Tcb, asks: bool): void {
  const c = coldOf(t);
  c.flags2 &= ~(F2_FRTO | F2_FRTO_NEW);
  if (asks && load<u32>(CFG_FLAGS) & CFGF_FRTO && t.flags & FL_SACK) c.flags2 |= F2_FRTO;
}

/** An ACK after the timeout, below the recovery point. `duplicate`: it brought new SACK information. */
export function frtoOnAck(t: Tcb, acked: u32, duplicate: bool): void {
  const c = coldOf(t);
  if (!(c.flags2 & F2_FRTO)) return;
  // Something sent before the timeout and not since has arrived: it had only been late.
  if (ackedOriginal) {
    undoTimeout(t);
    return;
  }
  if (seqGt(t.sndNxt, coldOf(t).recover)) {
    // Step 3a: new data was sent, and the ACK does not cover more than the retransmission: the loss was real.
    if (duplicate) c.flags2 &= ~F2_FRTO;
    return;
  }
  if (!acked) return;
  // Step 2b: two new segments, if there is anything to send in the window; else the conventional way.
  coldOf(t).recover = t.sndNxt;
  if (seqGt(t.sndEnd, t.sndNxt) && seqGt(t.sndUna + t.sndWnd, t.sndNxt)) c.flags2 |= F2_FRTO_NEW;
  else c.flags2 &= ~F2_FRTO;
}

/** Whether the segments deemed lost wait, this time, for new data. */
@inline
export function frtoHolds(t: Tcb): bool {
  return (coldOf(t).flags2 & F2_FRTO_NEW) != 0;
}

/** Output has sent what it could. */
@inline
export function frtoSent(t: Tcb): void {
  coldOf(t).flags2 &= ~F2_FRTO_NEW;
}

/** The recovery after the timeout is over. */
export function frtoEnd(t: Tcb): void {
  if (seqGe(t.sndUna, coldOf(t).recover)) coldOf(t).flags2 &= ~(F2_FRTO | F2_FRTO_NEW);
}
