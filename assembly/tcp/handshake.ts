// Opening a connection: passive (LISTEN → SYN-RECEIVED), active (SYN-SENT), simultaneous; negotiation of options;
// retransmission of SYN and SYN-ACK; the step to ESTABLISHED.
//
//   Cold.cc0, cc1   while opening: when the SYN or SYN-ACK was first sent, µs (u64)

import {
  CNT_TcpActiveOpens,
  CNT_TcpExtListenOverflows,
  CNT_TcpExtTCPSynRetrans,
  CNT_TcpRetransSegs,
} from '../abi/counters';
import {
  CFGF_SACK,
  CFGF_TIMESTAMPS,
  CFGF_WINDOW_SCALE,
  CFG_CONGESTION,
  CFG_FLAGS,
  CFG_INIT_CWND_SEGMENTS,
  CFG_KEEPALIVE_INTVL_MS,
  CFG_KEEPALIVE_TIME_MS,
  CFG_RCV_BUF_BYTES,
  CFG_RTO_INIT_US,
  CFG_SND_BUF_BYTES,
  CFG_SYNACK_RETRIES,
  CFG_SYN_LINEAR,
  CFG_SYN_RETRIES,
  CFG_TLP_SLACK_US,
  CWND_MAX,
  ECONNREFUSED,
  EV_ACCEPT,
  EV_CONNECT,
  EV_WRITE,
  TCP_ESTABLISHED,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
} from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { dstGet, dstMtu } from '../ip/route';
import { timerArm, timerArmed, timerCancel } from '../timer/wheel';
import { TCPF_ACK, TCPF_FIN, TCPF_RST, TCPF_SYN, TCPF_URG } from '../wire/tcp';
import { segAck, segAddresses, segAt, segFlags, segLen, segSeq, segTrimSyn, segWindow } from './arrival';
import { connectionAborted, finQueued, setState } from './close';
import { ccInit } from './congestion/index';
import { asLinux } from './congestion/window';
import { dataProcess, finProcess } from './data';
import { QUICK_ACKS } from './delack';
import { eventRaise } from './events';
import { fastOpenAnswered } from './fastopen';
import { flowInsert } from './flow';
import { isnFor, nowMs } from './isn';
import { keepaliveStart } from './keepalive';
import { asLinuxReceiver, linuxStart } from './linux';
import { acceptAdd, acceptFull, leaveListener } from './listen';
import { TS_BYTES, WSCALE_MAX, optHasTs, optMss, optSackPermitted, optTsEcr, optTsVal, optWscale } from './options';
import { wantOutput } from './output';
import { R1, pathDoubted, silenceErrno } from './report';
import { resetAnswer } from './reset';
import { rtoArm, rtoInit, rttSample, userTimedOut } from './rto';
import { segmentSyn } from './segment';
import {
  Cold,
  F2_CORK,
  F2_DEFERRED,
  F2_FAST_OPEN,
  F2_PASSIVE,
  F2_RCVBUF_LOCK,
  F2_SYN_RETRANS,
  FL_ACK_NOW,
  FL_FIN_QUEUED,
  FL_INLINE,
  FL_KEEPALIVE,
  FL_NODELAY,
  FL_QUICKACK,
  FL_SACK,
  FL_SYN_OWED,
  FL_TS,
  FL_WRITE_WANTED,
  FL_WSCALE,
  Tcb,
  addressesOf,
  coldOf,
  headersOf,
  isV4,
  retransmitTimer,
  tcbAt,
} from './tcb';
import { ecnOnSyn, ecnOnSynAck } from './ecn';
import { urgentArrives } from './urgent';
import { rcvBufMost, rcvTuneStart } from './rcvtune';

/** RFC 9293 §3.7.1: the defaults for IPv4 and IPv6. */
const MSS_DEFAULT: u32 = 536;
const MSS_DEFAULT_V6: u32 = 1220;
/** Below this a segment would be more header than payload (Linux: TCP_MIN_MSS). */
export const MSS_LEAST: u32 = 88;
/** net.ipv4.tcp_min_snd_mss */
const MSS_LEAST_LINUX: u32 = 48;
/** RFC 6298 §5.7: the RTO after a retransmitted SYN, in units of the initial RTO (3 s : 1 s). */
const RTO_AFTER_SYN_LOSS: u32 = 3;

@inline
function configured(flag: u32): bool {
  return (load<u32>(CFG_FLAGS) & flag) != 0;
}

/** Fills in what every new connection starts with. Addresses and ports are set. */
export function connectionInit(t: Tcb): void {
  const c = coldOf(t);
  t.rcvBuf = load<u32>(CFG_RCV_BUF_BYTES);
  coldOf(t).sndBuf = load<u32>(CFG_SND_BUF_BYTES);
  t.dst = dstGet(addressesOf(t) + 16);
  c.pmtu = dstMtu(t.dst);
  const headers = headersOf(t);
  c.ownMss = <u16>min<u32>(max<u32>(c.pmtu, MSS_LEAST + headers) - headers, 65495);
  c.cc = <u8>load<u32>(CFG_CONGESTION);
  c.keepTimeMs = max<u32>(load<u32>(CFG_KEEPALIVE_TIME_MS), 1);
  c.keepIntvlMs = max<u32>(load<u32>(CFG_KEEPALIVE_INTVL_MS), 1);
  t.rcvMss = <u16>MSS_DEFAULT;
  rtoInit(t);
  const iss = isnFor(t);
  c.iss = iss;
  t.sndUna = iss;
  t.sndNxt = t.sndEnd = c.sndSml = iss + 1;
  coldOf(t).recover = c.fack = c.rackRound = iss; // RFC 6582 §3.2 step 1
  t.lastRecvMs = t.lastSendMs = nowMs();
  setSynSent(t);
}

/** In Cold.cc0, cc1: a SYN cookie does not say when it was sent. */
const SENT_UNKNOWN: u64 = u64.MAX_VALUE;

/** The connection is made from a SYN cookie. */
export function setSynSentUnknown(t: Tcb): void {
  store<u64>(changetype<usize>(coldOf(t)), SENT_UNKNOWN, offsetof<Cold>('cc0'));
}

@inline
function setSynSent(t: Tcb): void {
  store<u64>(changetype<usize>(coldOf(t)), nowUs, offsetof<Cold>('cc0'));
}

/** Smallest shift that lets the window field say `bytes` (RFC 7323 §2.3). */
function shiftFor(bytes: u32): u32 {
  let shift: u32 = 0;
  while (shift < WSCALE_MAX && (<u32>0xffff) << shift < bytes) shift++;
  return shift;
}

/** The options that we offer or accept. */
export function offerOptions(t: Tcb): void {
  if (configured(CFGF_TIMESTAMPS)) t.flags |= FL_TS;
  if (configured(CFGF_SACK)) t.flags |= FL_SACK;
  if (configured(CFGF_WINDOW_SCALE)) t.flags |= FL_WSCALE;
  windowScaleOffer(t);
}

/** The shift that we announce: for what the buffer may grow to, or for what the application has made of it. */
export function windowScaleOffer(t: Tcb): void {
  if (t.flags & FL_WSCALE) {
    const most = coldOf(t).flags2 & F2_RCVBUF_LOCK ? t.rcvBuf : max(t.rcvBuf, rcvBufMost);
    const clamp = coldOf(t).rcvClamp;
    t.rcvWscale = <u8>shiftFor(clamp != 0 ? min(most, clamp) : most);
  }
}

/** Narrows the offer to what the peer's SYN has: each option holds only when both sides sent it. */
export function agreeOptions(t: Tcb): void {
  const c = coldOf(t);
  if (!optHasTs) t.flags &= ~FL_TS;
  else if (t.flags & FL_TS) {
    t.tsRecent = optTsVal;
    t.tsRecentMs = nowMs();
  }
  if (!optSackPermitted) t.flags &= ~FL_SACK;
  if (optWscale < 0) {
    t.flags &= ~FL_WSCALE;
    t.rcvWscale = 0;
  } else if (t.flags & FL_WSCALE) t.sndWscale = <u8>optWscale;
  const unsaid = isV4(t) ? MSS_DEFAULT : MSS_DEFAULT_V6;
  c.peerMss = <u16>max(optMss == 0 ? unsaid : optMss, asLinux() ? MSS_LEAST_LINUX : MSS_LEAST);
  if (c.userMss != 0) c.peerMss = min(c.peerMss, c.userMss);
  mssUpdate(t);
}

/** Payload per segment from the peer's MSS and the path's MTU (RFC 9293 §3.7.1, RFC 6691). */
export function mssUpdate(t: Tcb): void {
  const c = coldOf(t);
  const headers = headersOf(t);
  const path = max<u32>(c.pmtu, MSS_LEAST + headers) - headers;
  const before: u32 = t.sndMss;
  let mss = min<u32>(c.peerMss, path) - (t.flags & FL_TS ? TS_BYTES : 0);
  if (asLinux() && c.maxWnd != 0) {
    // tcp_bound_to_half_wnd(): two segments fit into any window of a peer that offers more than small ones.
    mss = min(mss, max<u32>(c.maxWnd > MSS_DEFAULT ? c.maxWnd >> 1 : c.maxWnd, MSS_LEAST_LINUX));
  }
  t.sndMss = <u16>mss;
  if (before != 0 && before != <u32>t.sndMss && asLinux()) {
    // Linux counts segments: as many of the new size.
    t.cwnd = (t.cwnd / before) * t.sndMss;
    if (t.ssthresh < CWND_MAX) t.ssthresh = (t.ssthresh / before) * t.sndMss;
  }
}

// ---- SYN and SYN-ACK out ----

/** Sends, or has sent when there is room, the SYN or SYN-ACK of this state. */
export function synSend(t: Tcb): void {
  if (segmentSyn(t, coldOf(t).iss, t.state == TCP_SYN_RECV)) t.flags &= ~FL_SYN_OWED;
  else {
    t.flags |= FL_SYN_OWED;
    wantOutput(t);
  }
}

/** The active open: everything about the connection is set but its state. */
export function synStart(t: Tcb): void {
  offerOptions(t);
  setState(t, TCP_SYN_SENT);
  flowInsert(t);
  count(CNT_TcpActiveOpens);
  // Not sent from here: connect() may be called long after the last turn, and that time would be measured from.
  t.flags |= FL_SYN_OWED;
  wantOutput(t);
}

/** Sends a SYN or SYN-ACK that waited. An active open is timed from here on. */
export function synOwed(t: Tcb): void {
  if (!timerArmed(retransmitTimer(t))) {
    setSynSent(t);
    rtoArm(t);
  }
  synSend(t);
}

/** Since the first SYN. */
@inline
function synElapsedUs(t: Tcb): u64 {
  return nowUs - load<u64>(changetype<usize>(coldOf(t)), offsetof<Cold>('cc0'));
}

/** No answer to the SYN or SYN-ACK yet. */
export function synExpired(t: Tcb): void {
  const c = coldOf(t);
  let limit = load<u32>(t.state == TCP_SYN_SENT ? CFG_SYN_RETRIES : CFG_SYNACK_RETRIES);
  let linear: u32 = 0;
  if (t.state == TCP_SYN_SENT) {
    if (c.synRetries != 0) limit = c.synRetries;
    linear = load<u32>(CFG_SYN_LINEAR);
    // Linux gives up when the retransmissions would be over, had each timeout doubled.
    if (linear != 0 && synElapsedUs(t) >= <u64>load<u32>(CFG_RTO_INIT_US) * ((2 << min<u32>(limit, 30)) - 1)) limit = 0;
    else limit += linear;
  }
  // The peer has answered and sends nothing: it is asked again only when it could be accepted without data.
  const deferred = (c.flags2 & F2_DEFERRED) != 0;
  if (deferred) limit = max<u32>(limit, c.deferAccept);
  if (<u32>t.retries >= limit || userTimedOut(t, t.lastSendMs)) {
    connectionAborted(t, silenceErrno(t));
    return;
  }
  t.retries++;
  if (<u32>t.retries >= R1) pathDoubted(t);
  if (<u32>t.retries > linear && t.backoff < 16) t.backoff++;
  if (deferred && <u32>t.retries < <u32>c.deferAccept) {
    rtoArm(t);
    return;
  }
  coldOf(t).flags2 |= F2_SYN_RETRANS;
  count(CNT_TcpExtTCPSynRetrans);
  count(CNT_TcpRetransSegs);
  coldOf(t).totalRetrans++;
  synSend(t);
  rtoArm(t);
}

// ---- LISTEN: passive.ts ----

/** Options that connections take over from their listener. */
export function inherit(t: Tcb, l: Tcb): void {
  t.flags |= l.flags & (FL_INLINE | FL_NODELAY | FL_KEEPALIVE | FL_QUICKACK);
  if (l.rcvBuf) {
    t.rcvBuf = l.rcvBuf;
    coldOf(t).flags2 |= F2_RCVBUF_LOCK;
  }
  if (coldOf(l).sndBuf) coldOf(t).sndBuf = coldOf(l).sndBuf;
  const from = coldOf(l);
  const c = coldOf(t);
  if (from.keepTimeMs) c.keepTimeMs = from.keepTimeMs;
  c.userTimeoutMs = from.userTimeoutMs;
  c.cc = from.cc;
  c.tos = from.tos;
  c.ttl = from.ttl;
  c.reportsOff = from.reportsOff;
  c.lingerMs = from.lingerMs;
  c.rcvClamp = from.rcvClamp;
  c.finWait2Ms = from.finWait2Ms;
  c.keepProbes = from.keepProbes;
  if (from.keepIntvlMs) c.keepIntvlMs = from.keepIntvlMs;
  c.flags2 |= from.flags2 & F2_CORK;
  c.deferAccept = from.deferAccept;
  c.userMss = from.userMss;
  if (c.userMss != 0) c.ownMss = min(c.ownMss, c.userMss);
}

export function takeSyn(t: Tcb): void {
  const c = coldOf(t);
  c.irs = segSeq;
  t.rcvNxt = t.rcvWup = t.rcvAdv = segSeq + 1;
  t.sndWnd = c.maxWnd = segWindow;
  t.sndWl1 = segSeq;
}

// ---- SYN-SENT (RFC 9293 §3.10.7.3) ----

/** The options have been parsed. */
export function synSentSegment(t: Tcb): void {
  const acks = (segFlags & TCPF_ACK) != 0;
  // Of the data in a Fast Open SYN the peer may have taken any part.
  if (acks && segAck - t.sndNxt > <u32>coldOf(t).synData) {
    // Linux asks again at once: what was answered is the peer's old connection, which the RST ends.
    if (asLinuxReceiver() && t.retries == 0) timerArm(retransmitTimer(t), nowUs + load<u32>(CFG_TLP_SLACK_US));
    resetAnswer(segAt, segLen, segAddresses);
    return;
  }
  if (acks && t.flags & FL_TS && optHasTs && optTsEcr != 0 && <i32>(nowMs() + t.tsOffset - optTsEcr) < 0) {
    // RFC 7323 §3.2: an echo of a time we have not had yet belongs to another connection.
    resetAnswer(segAt, segLen, segAddresses);
    return;
  }
  if (segFlags & TCPF_RST) {
    if (acks) connectionAborted(t, ECONNREFUSED);
    return;
  }
  if (!(segFlags & TCPF_SYN)) return;
  takeSyn(t);
  agreeOptions(t);
  t.lastRecvMs = nowMs();
  if (acks) {
    ecnOnSynAck(t);
    t.sndUna = t.sndNxt;
    const fast = (coldOf(t).flags2 & F2_FAST_OPEN) != 0;
    if (fast) fastOpenAnswered(t);
    establish(t);
    t.flags |= FL_ACK_NOW;
    if ((fast || !asLinuxReceiver()) && (segLen != 0 || segFlags & (TCPF_FIN | TCPF_URG))) textOfSynAck(t);
    return;
  }
  // Both sides opened at once: answer with our SYN, now acknowledging theirs.
  ecnOnSyn(t);
  setState(t, TCP_SYN_RECV);
  t.retries = 0;
  synSend(t);
  rtoArm(t);
}

/**
 * What comes with a SYN-ACK is processed from the sixth check on (§3.10.7.3), as far as our SYN has offered a window.
 * Linux drops it, unless the SYN was one of Fast Open.
 */
function textOfSynAck(t: Tcb): void {
  t.rcvAdv = t.rcvNxt + min<u32>(t.rcvBuf, 0xffff);
  segTrimSyn();
  if (segFlags & TCPF_URG) urgentArrives(t);
  if (dataProcess(t)) finProcess(t);
}

// ---- to ESTABLISHED ----

/** An acceptable ACK of our SYN in SYN-RECEIVED (§3.10.7.4, fifth check). False when it cannot be completed now. */
export function synAcked(t: Tcb): bool {
  const c = coldOf(t);
  if (c.deferAccept != 0 && <u32>t.retries < <u32>c.deferAccept && segLen == 0 && !(segFlags & TCPF_FIN)) {
    // OPT_DEFER_ACCEPT: the application is not told before there is something to read.
    c.flags2 |= F2_DEFERRED;
    return false;
  }
  if (c.flags2 & F2_PASSIVE && (t.flags & FL_INLINE) == 0 && acceptFull(tcbAt(c.listener))) {
    // The SYN-ACK's retransmission gives the application time to accept.
    count(CNT_TcpExtListenOverflows);
    return false;
  }
  t.sndUna = segAck;
  t.sndWnd = segWindow << t.sndWscale;
  // Linux does not count the window of a SYN.
  if (asLinux() || t.sndWnd > c.maxWnd) c.maxWnd = t.sndWnd;
  if (asLinux()) mssUpdate(t);
  t.sndWl1 = segSeq;
  establish(t);
  return true;
}

function establish(t: Tcb): void {
  const c = coldOf(t);
  timerCancel(retransmitTimer(t));
  const sentUs = load<u64>(changetype<usize>(c), offsetof<Cold>('cc0'));
  let segments = load<u32>(CFG_INIT_CWND_SEGMENTS);
  if (sentUs == SENT_UNKNOWN) rtoInit(t);
  else if (!(c.flags2 & F2_SYN_RETRANS)) rttSample(t, nowUs - sentUs);
  else {
    t.rto = load<u32>(CFG_RTO_INIT_US) * RTO_AFTER_SYN_LOSS;
    t.backoff = 0;
    // RFC 6928 §2: one lost SYN is no sign of congestion, more are.
    if (t.retries > 1) segments = 1;
  }
  t.retries = 0;
  ccInit(t, segments);
  rcvTuneStart(t);
  t.quickAcks = <u8>QUICK_ACKS;
  if (asLinuxReceiver()) linuxStart(t);
  t.lastRecvMs = t.lastSendMs = nowMs();
  setState(t, TCP_ESTABLISHED);
  if (c.flags2 & F2_PASSIVE) {
    const l = tcbAt(c.listener);
    leaveListener(t);
    if (t.flags & FL_INLINE) eventRaise(t, EV_ACCEPT);
    else {
      acceptAdd(l, t);
      eventRaise(l, EV_ACCEPT);
    }
  } else {
    eventRaise(t, EV_CONNECT);
    if (t.flags & FL_WRITE_WANTED) {
      t.flags &= ~FL_WRITE_WANTED;
      eventRaise(t, EV_WRITE);
    }
  }
  keepaliveStart(t);
  if (t.flags & FL_FIN_QUEUED) finQueued(t);
}
