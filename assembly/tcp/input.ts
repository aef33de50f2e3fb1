// A segment arrives: RFC 9293 §3.10.7. The list of calls in `synchronized` is the RFC's list of checks.

import { CNT_TcpExtTCPMD5Unexpected, CNT_TcpInErrs, CNT_TcpInSegs } from '../abi/counters';
import { TCP_CLOSE, TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT } from '../abi/layout';
import { count } from '../abi/runtime';
import { TCPF_ACK, TCPF_FIN, TCPF_PSH, TCPF_RST, TCPF_SYN, TCPF_URG, tcpFits } from '../wire/tcp';
import { ackProcess, mayAnswer } from './ack';
import { segAck, segAddresses, segAt, segFlags, segLen, segPayload, segRead, segSeq, segSpace } from './arrival';
import { checkReset, checkSequence, checkSyn, checkTimestamp, pawsOld, updateTimestamp } from './checks';
import { timeWaitExpired, timeWaitRestart } from './close';
import { dataProcess, finProcess } from './data';
import { delackDecide } from './delack';
import { deliverInline } from './events';
import { fastPath } from './fastpath';
import { fastOpenAcked } from './fastopen';
import { flowFind, flowParked } from './flow';
import { groEnd, groNext } from './gro';
import { synAcked, synSentSegment } from './handshake';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import { listenerFor } from './listen';
import { optHasTs, optParse, optSigned, optTsVal } from './options';
import { ackSend, tcpOutput } from './output';
import { listenSegment } from './passive';
import { resetAnswer } from './reset';
import { seqGt } from './seq';
import { F2_FAST_PENDING, FL_ECN, FL_INLINE, FL_TS, Tcb, coldOf, isV4, tcbAt } from './tcb';
import { repeatRemember } from '../ip/repeat';
import { ecnOnData } from './ecn';
import { urgentArrives } from './urgent';

/**
 * Takes a segment of `l4Len` bytes at `tcp`, checksum verified. `addresses`: 32 bytes, local and remote address. The
 * receive object stays the caller's; what is kept gets references of its own.
 */
export function tcpInput(ip: u32, tcp: u32, l4Len: u32, flags: u32, addresses: u32): void {
  count(CNT_TcpInSegs);
  if (!tcpFits(tcp, l4Len)) {
    count(CNT_TcpInErrs);
    return;
  }
  const ports = bswap<u32>(load<u32>(tcp));
  const at = flowFind(addresses, ports);
  groNext(at);
  if (at) {
    const t = tcbAt(at);
    if (t.state == TCP_ESTABLISHED) {
      // Remembered before an inline application can give the frame back.
      if (isV4(t)) repeatRemember(ip, at);
      if (fastPath(t, tcp, l4Len)) return;
    }
    groEnd();
    segRead(tcp, l4Len, addresses);
    optParse(tcp + 20, segPayload);
    if (signedForOthers()) return;
    const handle = t.handle;
    arrives(t, ports);
    if (t.handle == handle) finish(t);
    return;
  }
  // There is a connection, but no slot to unpark it into: as if the segment had been lost.
  if (flowParked) return;
  segRead(tcp, l4Len, addresses);
  if (ports & 0xffff) {
    const listener = listenerFor(addresses, ports & 0xffff);
    if (listener) {
      optParse(tcp + 20, segPayload);
      if (signedForOthers()) return;
      const opened = listenSegment(tcbAt(listener), ports, 0);
      if (opened) opens(tcbAt(opened), ports);
      return;
    }
  }
  resetAnswer(tcp, segLen, addresses);
}

/** Linux: a segment with a signature that nobody expects is dropped (tcp_inbound_hash()). */
function signedForOthers(): bool {
  if (!optSigned || !asLinuxReceiver()) return false;
  count(CNT_TcpExtTCPMD5Unexpected);
  return true;
}

/** The segment has brought a connection with it, by a SYN cookie, and is its first. */
function opens(t: Tcb, ports: u32): void {
  const handle = t.handle;
  arrives(t, ports);
  if (t.handle == handle) finish(t);
}

/** What follows every segment: events to an inline application, output, the decision about an ACK. */
function finish(t: Tcb): void {
  const handle = t.handle;
  if (t.flags & FL_INLINE && (t.rcvQHead != 0 || t.evPending != 0)) {
    deliverInline(t);
    if (t.handle != handle) return;
  }
  tcpOutput(t);
  if (t.rcvNxt != t.rcvWup && t.state != TCP_CLOSE && t.state != TCP_SYN_SENT) {
    delackDecide(t, (segFlags & TCPF_PSH) != 0);
  }
}

function arrives(t: Tcb, ports: u32): void {
  const c = coldOf(t);
  c.segsIn++;
  if (segLen != 0) c.dataSegsIn++;
  if (t.state == TCP_SYN_SENT) synSentSegment(t);
  else if (t.state == TCP_TIME_WAIT) timeWait(t, ports);
  else synchronized(t);
}

function synchronized(t: Tcb): void {
  if (!checkTimestamp(t)) return;
  if (!checkSequence(t)) return;
  if (!checkReset(t)) return;
  if (!checkSyn(t)) return;
  if (!(segFlags & TCPF_ACK)) return;
  t.lastRecvMs = nowMs();
  updateTimestamp(t);
  if (t.flags & FL_ECN) ecnOnData(t);
  if (t.state == TCP_SYN_RECV && !openingAck(t)) return;
  if (!ackProcess(t)) return;
  if (segFlags & TCPF_URG) urgentArrives(t);
  if (!dataProcess(t)) return;
  finProcess(t);
}

/** Fifth check in SYN-RECEIVED: the ACK must be of our SYN. */
function openingAck(t: Tcb): bool {
  if (coldOf(t).flags2 & F2_FAST_PENDING) {
    if (fastOpenAcked(t)) return true;
  } else if (segAck == t.sndNxt) return synAcked(t);
  resetAnswer(segAt, segLen, segAddresses);
  return false;
}

/**
 * TIME-WAIT. An acceptable SYN opens a new connection (RFC 6191, RFC 9293 §3.10.7.4 MAY-2); a retransmitted FIN is
 * acknowledged again and restarts the wait; an RST is ignored (RFC 1337 §3, fix F1).
 */
function timeWait(t: Tcb, ports: u32): void {
  if (segFlags & TCPF_RST) {
    // Linux without tcp_rfc1337 follows RFC 9293 §3.10.7.4.
    if (asLinuxReceiver() && segSeq == t.rcvNxt) timeWaitExpired(t);
    return;
  }
  if ((segFlags & (TCPF_SYN | TCPF_ACK | TCPF_FIN)) == TCPF_SYN) {
    const newer = t.flags & FL_TS && optHasTs ? <i32>(optTsVal - t.tsRecent) > 0 : seqGt(segSeq, t.rcvNxt);
    const listener = newer ? listenerFor(segAddresses, ports & 0xffff) : 0;
    if (listener) {
      const used = t.sndNxt;
      // The application may still have something to read, and always its handle to close.
      timeWaitExpired(t);
      // RFC 9293 §3.4.1 and RFC 1122: the new numbers begin above the old ones.
      listenSegment(tcbAt(listener), ports, used + 0xffff);
      return;
    }
  }
  if (segFlags & TCPF_FIN && segSeq + segSpace() == t.rcvNxt) {
    const old = t.flags & FL_TS && optHasTs && pawsOld(t);
    if (!old) timeWaitRestart(t);
    ackSend(t);
    return;
  }
  if ((segSeq != t.rcvNxt || segSpace() != 0) && (segLen != 0 || mayAnswer(t))) ackSend(t);
}
