// Explicit congestion notification (RFC 3168 §6.1; the receiver's side of DCTCP, RFC 8257 §3.2).
//
//   sender     ECT(0) on new data; ECE in an ACK is answered like a loss, once a round trip, and CWR says so
//   receiver   a CE mark puts ECE on every ACK until CWR arrives; DCTCP: ECE says exactly whether the last data had CE
//
// With DCTCP all segments carry ECT, pure ACKs and retransmissions too: in its network a packet without is dropped
// where others are marked (RFC 8257 §3.5).

import { CNT_IpInCEPkts } from '../abi/counters';
import { CC_DCTCP, CFGF_ECN_ACCEPT, CFGF_ECN_REQUEST, CFG_FLAGS } from '../abi/layout';
import { count } from '../abi/runtime';
import { TCPF_ACK, TCPF_CWR, TCPF_ECE } from '../wire/tcp';
import { segFlags, segLen } from './arrival';
import { QUICK_ACKS } from './delack';
import { ackSend } from './output';
import {
  F2_CWR_OWED,
  F2_ECE,
  F2_ECN_SEEN,
  F2_SYN_RETRANS,
  FL_ACK_DELAYED,
  FL_ACK_NOW,
  FL_ECN,
  Tcb,
  coldOf,
} from './tcb';
import { ipEcn } from '../ip/arrival';

const ECT0: u32 = 2;
const CE: u32 = 3;

@inline
function isDctcp(t: Tcb): bool {
  return coldOf(t).cc == CC_DCTCP;
}

/** Flags that a SYN carries: both bits ask for ECN, at most in the first one (RFC 3168 §6.1.1.1). */
export function ecnSynFlags(t: Tcb): u32 {
  const c = coldOf(t);
  if (c.flags2 & F2_SYN_RETRANS) return 0;
  return load<u32>(CFG_FLAGS) & CFGF_ECN_REQUEST || isDctcp(t) ? TCPF_ECE | TCPF_CWR : 0;
}

/** The peer's SYN: whether it asks, and we agree. A SYN that is itself ECT has passed a box that does not know ECN. */
export function ecnOnSyn(t: Tcb): void {
  if ((segFlags & (TCPF_ECE | TCPF_CWR)) != (TCPF_ECE | TCPF_CWR)) return;
  if (isDctcp(t) || (ipEcn == 0 && load<u32>(CFG_FLAGS) & CFGF_ECN_ACCEPT)) t.flags |= FL_ECN;
}

/** The peer's SYN-ACK to a SYN of ours that asked. */
export function ecnOnSynAck(t: Tcb): void {
  if ((segFlags & (TCPF_ECE | TCPF_CWR)) == TCPF_ECE && ecnSynFlags(t) != 0) t.flags |= FL_ECN;
}

/** Flags of an outgoing segment of a connection with ECN. `fresh`: it carries new data. */
export function ecnFlags(t: Tcb, fresh: bool): u32 {
  const c = coldOf(t);
  let flags: u32 = c.flags2 & F2_ECE ? TCPF_ECE : 0;
  if (fresh && c.flags2 & F2_CWR_OWED) {
    c.flags2 &= ~F2_CWR_OWED;
    flags |= TCPF_CWR;
  }
  return flags;
}

/** ECN field of an outgoing segment of a connection with ECN. */
@inline
export function ecnMark(t: Tcb, fresh: bool): u32 {
  return fresh || isDctcp(t) ? ECT0 : 0;
}

/** ECN field of a SYN or SYN-ACK. */
@inline
export function ecnSynMark(t: Tcb): u32 {
  return isDctcp(t) ? ECT0 : 0;
}

/** Whether a segment of a connection with ECN needs more than the fast path does. */
@inline
export function ecnNeedsAttention(t: Tcb): bool {
  const c = coldOf(t);
  if (ipEcn != 0) c.flags2 |= F2_ECN_SEEN;
  return ipEcn == CE || (c.flags2 & F2_ECE) != 0;
}

/** An acceptable segment has arrived on a connection with ECN, before its data is taken. */
export function ecnOnData(t: Tcb): void {
  const c = coldOf(t);
  if (ipEcn != 0) c.flags2 |= F2_ECN_SEEN;
  const marked = ipEcn == CE;
  if (marked) count(CNT_IpInCEPkts);
  if (isDctcp(t)) {
    if (segLen == 0 || marked == ((c.flags2 & F2_ECE) != 0)) return;
    // RFC 8257 §3.2: what is acknowledged so far is acknowledged with the state it had.
    if (t.flags & (FL_ACK_DELAYED | FL_ACK_NOW) && t.rcvNxt != t.rcvWup) ackSend(t);
    c.flags2 ^= F2_ECE;
    t.flags |= FL_ACK_NOW;
    return;
  }
  if (segFlags & TCPF_CWR) {
    c.flags2 &= ~F2_ECE;
    // A peer that reduces needs our ACKs soon to go on.
    if (segLen != 0) t.flags |= FL_ACK_NOW;
  }
  if (!marked || segLen == 0) return;
  if (!(c.flags2 & F2_ECE)) t.quickAcks = <u8>QUICK_ACKS;
  c.flags2 |= F2_ECE;
}

/** Whether the segment being processed is an ACK that reports congestion. */
@inline
export function ecnEcho(t: Tcb): bool {
  return (t.flags & FL_ECN) != 0 && (segFlags & (TCPF_ECE | TCPF_ACK)) == (TCPF_ECE | TCPF_ACK);
}
