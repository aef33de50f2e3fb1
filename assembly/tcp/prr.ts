// Proportional rate reduction (RFC 6937, with the slow-start reduction bound of RFC 9937): while a loss is repaired, or
// a mark is answered, cwnd follows what is delivered, so that by the end exactly ssthresh is in flight, and no ACK
// lets out a burst.
//
//   prrDelivered, prrOut   bytes delivered and sent since the reduction began
//   recoverFlight          what was outstanding then (RecoverFS)

import { asLinux } from './congestion/window';
import { CA_OPEN, Tcb, coldOf, pipe } from './tcb';
import { inNetwork } from './txseg';

/** A reduction towards ssthresh, just set, begins with `flight` bytes outstanding. */
export function prrBegin(t: Tcb, flight: u32): void {
  const c = coldOf(t);
  c.prrDelivered = c.prrOut = 0;
  c.recoverFlight = asLinux() ? t.cwnd : max(max(t.ssthresh, min(t.cwnd, flight)), 1);
}

/** `bytes` have been sent. */
@inline
export function prrSent(t: Tcb, bytes: u32): void {
  if (t.caState == CA_OPEN) return;
  // Linux counts segments, whatever their size.
  coldOf(t).prrOut += asLinux() ? t.sndMss : bytes;
}

/**
 * An ACK has delivered `delivered` bytes. `safe`: it advanced and found nothing more to be lost, so the window may grow
 * again as in slow start.
 */
export function prrOnAck(t: Tcb, delivered: u32, safe: bool): void {
  const c = coldOf(t);
  c.prrDelivered += delivered;
  const inPipe = asLinux() ? inNetwork(t) : pipe(t);
  const ssthresh = t.ssthresh;
  let send: i64;
  if (inPipe > ssthresh) {
    let target = (<u64>c.prrDelivered * ssthresh + c.recoverFlight - 1) / c.recoverFlight;
    // Linux counts segments, of which a fraction rounds up.
    if (asLinux()) target = ((target + t.sndMss - 1) / t.sndMss) * t.sndMss;
    send = <i64>target - c.prrOut;
  } else {
    let limit: i64 = max<i64>(<i64>c.prrDelivered - c.prrOut, delivered);
    if (safe) limit += t.sndMss;
    send = min<i64>(ssthresh - inPipe, limit);
  }
  // The first retransmission goes at once (RFC 6937 §3).
  send = max<i64>(send, c.prrOut == 0 ? t.sndMss : 0);
  t.cwnd = inPipe + <u32>send;
}
