// Congestion control behind one interface. An algorithm is a file with these functions; it keeps its own state in
// Cold.cc0 … cc7 and owns cwnd and ssthresh. Recovery itself (what is lost, what is sent again) is not its business.

import { Tcb } from '../tcb';
import { renoInit, renoOnAck, renoOnCongestion, renoOnRecoveryExit, renoOnRto, renoRestart } from './newreno';

/** The connection is established; sndMss is final. `segments`: initial window. */
export function ccInit(t: Tcb, segments: u32): void {
  renoInit(t, segments);
}

/** New data was acknowledged, outside recovery or after a timeout. `flight`: outstanding before the ACK. */
@inline
export function ccOnAck(t: Tcb, acked: u32, flight: u32): void {
  renoOnAck(t, acked, flight);
}

/** Loss was found by acknowledgments: once per recovery. */
export function ccOnCongestion(t: Tcb): void {
  renoOnCongestion(t);
}

/** The retransmission timer expired; `first` for the first time on this data. */
export function ccOnRto(t: Tcb, first: bool): void {
  renoOnRto(t, first);
}

export function ccOnRecoveryExit(t: Tcb): void {
  renoOnRecoveryExit(t);
}

/** Nothing was sent for longer than the RTO (RFC 5681 §4.1). */
export function ccRestart(t: Tcb): void {
  renoRestart(t);
}
