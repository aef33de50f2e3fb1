// Congestion control behind one interface. An algorithm is a file; it keeps its own state in Cold.cc0 … cc7 and decides
// how cwnd grows and where ssthresh is. Recovery itself (what is lost, what is sent again, how cwnd comes down to
// ssthresh) is not its business: recovery.ts, prr.ts.
//
// Per-ACK telemetry: ccDelivered() is called for every ACK that delivers something while the segment being processed
// is still there (arrival.ts, options.ts), so an algorithm that reads what switches wrote into it (HPCC) needs no
// other way in.

import { CC_CUBIC, CC_DCTCP, CFG_INIT_CWND_SEGMENTS, CWND_MAX } from '../../abi/layout';
import { nowMs } from '../isn';
import { Tcb, coldOf } from '../tcb';
import { cubicAvoid, cubicIdle, cubicInit, cubicSsthresh } from './cubic';
import { dctcpDelivered, dctcpInit, dctcpSsthresh } from './dctcp';
import { renoAvoid, renoInit, renoSsthresh } from './newreno';
import { restartWindow, slowStart } from './window';

/** The connection is established; sndMss is final. `segments`: initial window. */
export function ccInit(t: Tcb, segments: u32): void {
  t.cwnd = segments * t.sndMss;
  t.ssthresh = CWND_MAX;
  coldOf(t).mostFlight = 0;
  coldOf(t).usageSeq = t.sndUna;
  ccStart(t);
}

/** The algorithm begins with the window that there is. */
export function ccStart(t: Tcb): void {
  const algorithm: u32 = coldOf(t).cc;
  if (algorithm == CC_CUBIC) cubicInit(t);
  else if (algorithm == CC_DCTCP) dctcpInit(t);
  else renoInit(t);
}

/** New data was acknowledged, outside recovery or after a timeout. `flight`: outstanding before the ACK. */
@inline
export function ccOnAck(t: Tcb, acked: u32, flight: u32): void {
  const rest = slowStart(t, acked, flight);
  if (rest == 0) return;
  if (coldOf(t).cc == CC_CUBIC) cubicAvoid(t, rest);
  else renoAvoid(t, rest);
}

/** An ACK has delivered `bytes`, cumulatively or selectively. `ece`: with ECE. */
@inline
export function ccDelivered(t: Tcb, bytes: u32, ece: bool): void {
  if (coldOf(t).cc == CC_DCTCP) dctcpDelivered(t, bytes, ece);
}

/** Congestion was found, by loss or (`marked`) by ECE, with `flight` bytes outstanding: once per round trip. Sets ssthresh. */
export function ccOnCongestion(t: Tcb, flight: u32, marked: bool): void {
  const algorithm: u32 = coldOf(t).cc;
  if (algorithm == CC_CUBIC) t.ssthresh = cubicSsthresh(t, flight);
  else if (algorithm == CC_DCTCP) t.ssthresh = dctcpSsthresh(t, flight, marked);
  else t.ssthresh = renoSsthresh(t, flight);
}

/** The retransmission timer expired; `first` for the first time on this data (RFC 5681 §3.1). */
export function ccOnRto(t: Tcb, first: bool): void {
  if (first) ccOnCongestion(t, t.sndNxt - t.sndUna, false);
}

/** Nothing was sent for longer than the RTO (RFC 5681 §4.1). */
export function ccRestart(t: Tcb): void {
  restartWindow(t, load<u32>(CFG_INIT_CWND_SEGMENTS) * t.sndMss);
  if (coldOf(t).cc == CC_CUBIC) cubicIdle(t, nowMs() - t.lastSendMs);
}
