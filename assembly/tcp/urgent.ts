// The urgent mechanism (RFC 9293 §3.8.5, RFC 6093). Urgent data stays where it is in the stream, as SO_OOBINLINE has
// it; the application is told that it is coming and can ask how many bytes are left until its end. The urgent pointer
// points behind the urgent data.

import { REPORT_URGENT, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2 } from '../abi/layout';
import { TCPF_URG, setTcpFlags, setTcpUrgent, tcpFlags, tcpSeq, tcpUrgent } from '../wire/tcp';
import { segAt } from './arrival';
import { report } from './report';
import { seqGt } from './seq';
import { F2_SND_URG, Tcb, coldOf } from './tcb';

/** Bytes to read until the end of urgent data, 0 when there is none (§3.8.5 MUST-33). */
export function urgentLeft(t: Tcb): u32 {
  const c = coldOf(t);
  const read = c.bytesReceived - t.rcvQBytes;
  return c.urgentEnd > read ? <u32>(c.urgentEnd - read) : 0;
}

/**
 * Sixth check (§3.10.7.4) of a segment with URG. A pointer that does not go beyond what has been read or beyond an
 * earlier one says nothing new.
 */
export function urgentArrives(t: Tcb): void {
  const state: u32 = t.state;
  if (state != TCP_ESTABLISHED && state != TCP_FIN_WAIT1 && state != TCP_FIN_WAIT2) return;
  const c = coldOf(t);
  const end = <i64>c.bytesReceived + <i64>(<i32>(tcpSeq(segAt) + tcpUrgent(segAt) - t.rcvNxt));
  if (end <= <i64>(c.bytesReceived - t.rcvQBytes) || end <= <i64>c.urgentEnd) return;
  c.urgentEnd = end;
  report(t, REPORT_URGENT, 0);
}

/** What is queued up to here is urgent. */
export function urgentQueued(t: Tcb): void {
  const c = coldOf(t);
  c.sndUp = t.sndEnd;
  c.flags2 |= F2_SND_URG;
}

/** Sets URG and the pointer in the header at `h` of a segment from `seq` on, while urgent data is not acknowledged. */
export function urgentPut(t: Tcb, h: u32, seq: u32): void {
  const c = coldOf(t);
  if (!seqGt(c.sndUp, t.sndUna)) {
    c.flags2 &= ~F2_SND_URG;
    return;
  }
  if (!seqGt(c.sndUp, seq)) return;
  setTcpFlags(h, tcpFlags(h) | TCPF_URG);
  // Farther than the field can say: as far as it can, more comes with later segments (RFC 1122 §4.2.2.4).
  setTcpUrgent(h, min<u32>(c.sndUp - seq, 0xffff));
}
