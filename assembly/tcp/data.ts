// Text and FIN in (RFC 9293 §3.10.7.4 seventh and eighth check).

import { CNT_TcpExtTCPAbortOnData, CNT_TcpExtTCPRcvQDrop } from '../abi/counters';
import { TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2 } from '../abi/layout';
import { count } from '../abi/runtime';
import { TCPF_FIN, TCPF_PSH, TCPF_URG } from '../wire/tcp';
import { segAddresses, segAt, segFlags, segLen, segPayload, segSeq, segTrimBack, segTrimFront } from './arrival';
import { destroy, finReceived } from './close';
import { QUICK_ACKS } from './delack';
import { eventData } from './events';
import { asLinuxReceiver, linuxDataQueued, linuxDataReceived, linuxMeasure } from './linux';
import { dsackSet, reassemblyAdd, reassemblyCut, reassemblySplice, sackNote } from './reassembly';
import { rcvqAdd } from './recvq';
import { resetAnswer } from './reset';
import { seqGt, seqLt } from './seq';
import { FL_ACK_NOW, FL_FIN_OOO, FL_FIN_RCVD, FL_INLINE, FL_ORPHAN, FL_SACK, Tcb, coldOf } from './tcb';

/** States in which the peer may still send (RFC 9293 §3.3.2). */
@inline
function receives(state: u32): bool {
  return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2;
}

/** Takes the payload. False when the connection was reset over it. */
export function dataProcess(t: Tcb): bool {
  if (segLen == 0 || !receives(t.state)) return true;
  if (t.flags & FL_ORPHAN && seqGt(segSeq + segLen, t.rcvNxt)) {
    // Nobody is left to read it (RFC 9293 §3.6.1, RFC 2525 §2.17).
    count(CNT_TcpExtTCPAbortOnData);
    resetAnswer(segAt, segLen, segAddresses);
    destroy(t);
    return false;
  }
  if (asLinuxReceiver()) linuxMeasure(t, segLen, (segFlags & (TCPF_FIN | TCPF_URG | TCPF_PSH)) != 0);
  else if (segLen > <u32>t.rcvMss) t.rcvMss = <u16>min<u32>(segLen, coldOf(t).ownMss);
  trim(t);
  if (segLen == 0) {
    t.flags |= FL_ACK_NOW;
    return true;
  }
  if (segSeq == t.rcvNxt) inOrder(t);
  else {
    coldOf(t).rcvOooPack++;
    reassemblyAdd(t, segSeq, segPayload, segLen);
    // RFC 5681 §4.2: a duplicate ACK for every segment above a gap.
    t.flags |= FL_ACK_NOW;
    if (asLinuxReceiver()) linuxDataQueued(t, segLen);
    else t.quickAcks = <u8>QUICK_ACKS;
  }
  return true;
}

/** Cuts what was received before, what lies beyond the window, and what lies beyond a FIN. */
function trim(t: Tcb): void {
  if (seqLt(segSeq, t.rcvNxt)) {
    dsackSet(t, segSeq, t.rcvNxt);
    segTrimFront(t.rcvNxt);
    t.flags |= FL_ACK_NOW;
  }
  let limit = seqGt(t.rcvAdv, t.rcvNxt) ? t.rcvAdv : t.rcvNxt;
  if (t.flags & FL_FIN_OOO && seqLt(coldOf(t).finSeq, limit)) limit = coldOf(t).finSeq;
  if (seqGt(segSeq + segLen, limit)) segTrimBack(seqGt(limit, segSeq) ? limit - segSeq : 0);
}

function inOrder(t: Tcb): void {
  const len = segLen;
  if (!rcvqAdd(t, segPayload, len)) {
    // Not acknowledged: the peer sends it again, and the FIN with it.
    count(CNT_TcpExtTCPRcvQDrop);
    segTrimBack(0);
    return;
  }
  t.rcvNxt += len;
  coldOf(t).bytesReceived += len;
  if (t.oooHead) {
    reassemblySplice(t);
    // RFC 5681 §4.2: the ACK for a filled gap goes at once.
    t.flags |= FL_ACK_NOW;
  }
  if (asLinuxReceiver()) linuxDataReceived(t, len, (segFlags & TCPF_PSH) != 0);
  if (!(t.flags & FL_INLINE)) eventData(t);
}

/** Takes the FIN when it is next in sequence; remembers one that is not. */
export function finProcess(t: Tcb): void {
  if (t.flags & FL_FIN_RCVD || !receives(t.state)) return;
  if (segFlags & TCPF_FIN) {
    const at = segSeq + segLen;
    if (at != t.rcvNxt) {
      if (seqGt(at, t.rcvNxt) && !(t.flags & FL_FIN_OOO)) {
        t.flags |= FL_FIN_OOO;
        coldOf(t).finSeq = at;
        reassemblyCut(t, at);
        if (asLinuxReceiver() && t.flags & FL_SACK) sackNote(coldOf(t), segSeq, at + 1);
      }
      t.flags |= FL_ACK_NOW;
      return;
    }
  } else if (!(t.flags & FL_FIN_OOO) || coldOf(t).finSeq != t.rcvNxt) return;
  finReceived(t);
}
