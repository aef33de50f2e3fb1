// Sending again: segments marked lost, and the last one as a tail loss probe.

import { CNT_TcpExtTCPFastRetrans, CNT_TcpExtTCPSlowStartRetrans, CNT_TcpRetransSegs } from '../abi/counters';
import { CTL_TX_HEAD } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { TCPF_ACK, TCPF_FIN, TCPF_PSH } from '../wire/tcp';
import { asLinuxReceiver } from './linux';
import { sackBytes } from './options';
import { wantOutput } from './output';
import { prrSent } from './prr';
import { TXM_EVER, TXM_FIN, TXM_LOST, TXM_PUSH, TXM_RETRANS, TXM_SACKED, TXM_TSO, TxSeg } from './records';
import { rtoArm } from './rto';
import { segmentSend } from './segment';
import { seqGe } from './seq';
import { CA_LOSS, CA_RECOVERY, FL_REO, Tcb, coldOf } from './tcb';
import { inNetwork, txSegAt, txSegJoin, txSegSpace, txSegSplit } from './txseg';

// Linux: where the segment ends that was sent again last, while its packet goes on (TXM_TSO); whether there is one.
let packetEnd: u32 = 0;
let packetOpen: bool = false;

/** Sends what a record stands for once more. False when the transmit ring is full. */
function sendAgain(t: Tcb, s: TxSeg): bool {
  let flags = TCPF_ACK;
  if (s.mark & TXM_FIN) flags |= TCPF_FIN;
  if (s.mark & TXM_PUSH || (s.len != 0 && seqGe(s.seq + s.len, t.sndEnd))) flags |= TCPF_PSH;
  if (packetOpen && packetEnd == s.seq && s.mark & TXM_TSO) flags |= TCPF_PSH;
  if (!segmentSend(t, s.seq, s.node, s.len, flags)) return false;
  packetOpen = asLinuxReceiver() && (s.mark & (TXM_TSO | TXM_PUSH)) == 0;
  packetEnd = s.seq + s.len;
  s.mark |= <u8>TXM_EVER;
  if (s.times < 255) s.times++;
  s.sentUs = nowUs;
  s.txPos = load<u32>(CTL_TX_HEAD);
  const c = coldOf(t);
  c.totalRetrans++;
  c.bytesRetrans += s.len;
  count(CNT_TcpRetransSegs);
  return true;
}

/** Sends a segment again, cut to today's MSS. False when it has to wait for the transmit ring or for a record. */
export function retransmitSegment(t: Tcb, at: u32): bool {
  const s = txSegAt(at);
  // Linux: what the SACK option leaves of it.
  const mss = asLinuxReceiver() ? <u32>t.sndMss - sackBytes(t) : <u32>t.sndMss;
  if (asLinuxReceiver()) while (<u32>s.len < mss && txSegJoin(t, at));
  if ((<u32>s.len > mss && !txSegSplit(t, at, mss)) || !sendAgain(t, s)) {
    wantOutput(t);
    return false;
  }
  const space = txSegSpace(s);
  if (!(s.mark & TXM_LOST)) t.lostBytes += space;
  if (!(s.mark & TXM_RETRANS)) t.retransBytes += space;
  s.mark |= <u8>(TXM_LOST | TXM_RETRANS);
  coldOf(t).undoRetrans++;
  prrSent(t, space);
  if (t.caState == CA_LOSS) count(CNT_TcpExtTCPSlowStartRetrans);
  else if (t.caState == CA_RECOVERY) count(CNT_TcpExtTCPFastRetrans);
  return true;
}

/** Retransmits lost segments in order while pipe has room. False when the transmit ring is full. */
export function retransmitLost(t: Tcb): bool {
  packetOpen = false;
  let at = t.txHead;
  while (at && t.lostBytes != t.retransBytes) {
    const s = txSegAt(at);
    if ((s.mark & (TXM_LOST | TXM_RETRANS)) == TXM_LOST) {
      const inPipe = inNetwork(t);
      if (inPipe != 0 && inPipe + (asLinuxReceiver() ? t.sndMss : txSegSpace(s)) > t.cwnd) return true;
      if (!retransmitSegment(t, at)) return false;
      // Linux: the first segment has got a new start, and the timeout with it.
      if (at == t.txHead && t.caState == CA_RECOVERY && !(t.flags & FL_REO) && asLinuxReceiver()) rtoArm(t);
    }
    at = txSegAt(at).next;
  }
  return true;
}

/** Sends the last segment again, at most an MSS of it, without taking it for lost. False when it cannot be. */
export function retransmitProbe(t: Tcb): bool {
  const last = txSegAt(t.txTail);
  if (last.mark & TXM_SACKED) return false;
  if (<u32>last.len > <u32>t.sndMss && !txSegSplit(t, t.txTail, <u32>last.len - t.sndMss)) return false;
  return sendAgain(t, txSegAt(t.txTail));
}
