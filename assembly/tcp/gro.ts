// Runs on receive, what a kernel's GRO is for: segments of one connection that come one behind the other in a burst, each
// of them as the fast path predicts, are answered once. Every segment is checked and taken by itself, and an inline
// application gets each piece where the driver put it; what waits for the end of the run is the output that ACKs make
// possible and the decision about an ACK of our own. So the wire sees what a receiver does that was handed one large
// segment (RFC 5681 §4.2), and a sender's next segments leave as one run (gso.ts).
//
// A run ends with the burst, or, where the driver hands over a train of segments one by one, when nothing has come for
// CFG_GRO_HOLD_US: an ACK in the middle of a request would only delay the answer that can carry it. It ends before a segment of another connection or one that is not as predicted (a mark, a gap, a
// flag, another form of options), with PSH, and when enough waits for its ACK. What the application sends meanwhile is
// not held back.

import { CFGF_NO_GRO, CFG_FLAGS, CFG_GRO_HOLD_US, TCP_CLOSE } from '../abi/layout';
import { nowUs } from '../abi/runtime';
import { delackDecide, STRETCH } from './delack';
import { tcpOutput } from './output';
import { Tcb, addressOf, coldOf, tcbAt } from './tcb';

/** Payload that one ACK may cover, as much as one segment can be at most. */
const RUN_BYTES: u32 = 65536;
/**
 * A sender in slow start grows by no more than two segments for each ACK (RFC 3465 §2.2), so that runs would slow it
 * down: until this much has come they are as short as ACKs have always been.
 */
const SLOW_START_BYTES: u64 = 1 << 20;

/** The connection whose run is under way, and its handle; 0 = none. */
let runAt: u32 = 0;
let runHandle: u32 = 0;
let runPushed: bool = false;
/** Of a run that outlives its burst: when it is over, µs. */
let runUntilUs: u64 = 0;

/** Whether an ACK is to be decided on now. */
@inline
function full(t: Tcb): bool {
  const owed = t.rcvNxt - t.rcvWup;
  if (owed == 0) return false;
  if (t.quickAcks != 0) return true;
  const least = <u32>t.rcvMss * STRETCH;
  if (coldOf(t).bytesReceived < SLOW_START_BYTES) return owed >= least;
  return owed >= max(least, min(RUN_BYTES, t.rcvBuf >> 2));
}

/** The fast path has taken a segment of this connection: what follows, now or at the end of the run. */
@inline
export function groTaken(t: Tcb, pushed: bool): void {
  runAt = addressOf(t);
  runHandle = t.handle;
  runPushed = pushed;
  if (pushed || full(t) || load<u32>(CFG_FLAGS) & CFGF_NO_GRO) groEnd();
}

/** A segment of the connection at `at` comes (0: of none): another one's run is over. */
@inline
export function groNext(at: u32): void {
  if (runAt != at) groEnd();
}

/** The burst is over, and so is the run, or it is held. What its ACKs made possible does not wait. */
export function groBurstEnd(): void {
  if (runAt == 0) return;
  const t = tcbAt(runAt);
  // Pure ACKs owe none.
  const holdUs = t.rcvNxt == t.rcvWup ? 0 : load<u32>(CFG_GRO_HOLD_US);
  if (holdUs == 0) {
    groEnd();
    return;
  }
  runUntilUs = nowUs + holdUs;
  if (t.handle == runHandle && t.state != 0) tcpOutput(t);
}

/** A turn goes by: a run that was held is over when its time is up. */
@inline
export function groTurn(): void {
  if (runAt != 0 && nowUs >= runUntilUs) groEnd();
}

/** The end of a run that is held, if it comes before `deadline`, µs. */
@inline
export function groDeadline(deadline: f64): f64 {
  return runAt == 0 ? deadline : min(deadline, <f64>runUntilUs);
}

/** The run is over. The connection may be gone: an application that is called back may do anything. */
export function groEnd(): void {
  if (runAt == 0) return;
  const t = tcbAt(runAt);
  runAt = 0;
  if (t.handle != runHandle || t.state == 0) return;
  tcpOutput(t);
  if (t.rcvNxt != t.rcvWup && t.state != TCP_CLOSE) delackDecide(t, runPushed);
}
