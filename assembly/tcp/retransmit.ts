// Retransmission of segments marked lost.

import { CNT_TcpExtTCPSlowStartRetrans, CNT_TcpRetransSegs } from '../abi/counters';
import { CTL_TX_HEAD } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { wantOutput } from './output';
import { TXM_EVER, TXM_FIN, TXM_LOST, TXM_RETRANS } from './records';
import { segmentSend } from './segment';
import { seqGe } from './seq';
import { CA_LOSS, Tcb, coldOf, pipe } from './tcb';
import { txSegAt, txSegSpace, txSegSplit } from './txseg';
import { TCPF_ACK, TCPF_FIN, TCPF_PSH } from '../wire/tcp';

/** Sends a segment again, cut to today's MSS. False when it has to wait for the transmit ring or for a record. */
export function retransmitSegment(t: Tcb, at: u32): bool {
  const s = txSegAt(at);
  if (<u32>s.len > <u32>t.sndMss && !txSegSplit(t, at, t.sndMss)) {
    wantOutput(t);
    return false;
  }
  let flags = TCPF_ACK;
  if (s.mark & TXM_FIN) flags |= TCPF_FIN;
  if (s.len != 0 && seqGe(s.seq + s.len, t.sndEnd)) flags |= TCPF_PSH;
  if (!segmentSend(t, s.seq, s.node, s.len, flags)) {
    wantOutput(t);
    return false;
  }
  const space = txSegSpace(s);
  if (!(s.mark & TXM_LOST)) t.lostBytes += space;
  if (!(s.mark & TXM_RETRANS)) t.retransBytes += space;
  s.mark |= <u8>(TXM_LOST | TXM_RETRANS | TXM_EVER);
  if (s.times < 255) s.times++;
  s.sentUs = nowUs;
  s.txPos = load<u32>(CTL_TX_HEAD);
  coldOf(t).totalRetrans++;
  count(CNT_TcpRetransSegs);
  if (t.caState == CA_LOSS) count(CNT_TcpExtTCPSlowStartRetrans);
  return true;
}

/** Retransmits lost segments in order while pipe has room. False when the transmit ring is full. */
export function retransmitLost(t: Tcb): bool {
  let at = t.txHead;
  while (at && t.lostBytes != t.retransBytes) {
    const s = txSegAt(at);
    if ((s.mark & (TXM_LOST | TXM_RETRANS)) == TXM_LOST) {
      const inPipe = pipe(t);
      if (inPipe != 0 && inPipe + txSegSpace(s) > t.cwnd) return true;
      if (!retransmitSegment(t, at)) return false;
    }
    at = txSegAt(at).next;
  }
  return true;
}
