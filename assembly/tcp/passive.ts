// A segment for a listener (RFC 9293 §3.10.7.2). A SYN makes a half-open connection; when there is no room for one it is
// answered by a SYN cookie (cookie.ts), of which nothing is kept, and the ACK that brings the cookie back makes the connection.

import {
  CNT_TcpExtListenDrops,
  CNT_TcpExtListenOverflows,
  CNT_TcpExtSyncookiesFailed,
  CNT_TcpExtSyncookiesRecv,
  CNT_TcpExtSyncookiesSent,
  CNT_TcpPassiveOpens,
} from '../abi/counters';
import { CFG_SYN_COOKIES, SYN_COOKIES_ALWAYS, SYN_COOKIES_OFF, TCP_SYN_RECV } from '../abi/layout';
import { count } from '../abi/runtime';
import { TCPF_ACK, TCPF_FIN, TCPF_RST, TCPF_SYN } from '../wire/tcp';
import { segAck, segAddresses, segAt, segFlags, segLen, segSeq } from './arrival';
import { setState } from './close';
import { cookieMake, cookieMss, cookieOptions, cookieScratch, cookieStampFine, cookieStampShift } from './cookie';
import { ecnOnSyn } from './ecn';
import { fastOpenOffered, fastOpenTake } from './fastopen';
import { flowInsert } from './flow';
import { slotAlloc } from './handle';
import {
  agreeOptions,
  connectionInit,
  inherit,
  mssUpdate,
  offerOptions,
  setSynSentUnknown,
  synSend,
  takeSyn,
} from './handshake';
import { nowMs } from './isn';
import { acceptFull, halfOpenAdd, halfOpenEvict, halfOpenFull } from './listen';
import { optHasTs, optTsEcr, optTsVal } from './options';
import { resetAnswer } from './reset';
import { rtoArm } from './rto';
import { segmentSyn, synWindow } from './segment';
import { seqLe } from './seq';
import {
  Cold,
  F2_PASSIVE,
  FL_ECN,
  FL_SACK,
  FL_TS,
  FL_WSCALE,
  Tcb,
  addressOf,
  addressesOf,
  backlogOf,
  coldOf,
  tcbAt,
} from './tcb';

/** An ACK can bring a cookie back only this long after one was sent: what comes at other times is not even looked at. */
const COOKIES_OUT_MS: u32 = 120_000;

/**
 * A segment for a listener. The options have been parsed. `floor`: our number space up to here is used up (RFC 6191),
 * 0 = none. Returns a connection in SYN-RECEIVED whose first segment this one is, or 0.
 */
export function listenSegment(l: Tcb, ports: u32, floor: u32): u32 {
  if (segFlags & TCPF_RST) return 0;
  if (segFlags & TCPF_ACK) return ackArrives(l, ports);
  if ((segFlags & (TCPF_SYN | TCPF_FIN)) != TCPF_SYN) return 0;
  if (acceptFull(l)) {
    count(CNT_TcpExtListenOverflows);
    count(CNT_TcpExtListenDrops);
    return 0;
  }
  const cookies = load<u32>(CFG_SYN_COOKIES);
  const full = halfOpenFull(l);
  // A cookie cannot begin above a floor; the connection in TIME-WAIT that set it has given its slot for this one.
  if (floor == 0 && (cookies == SYN_COOKIES_ALWAYS || (full && cookies != SYN_COOKIES_OFF))) {
    cookieAnswer(l, ports);
    return 0;
  }
  if (full && cookies == SYN_COOKIES_OFF) halfOpenEvict(l);
  let at = slotAlloc();
  if (!at && cookies == SYN_COOKIES_OFF && halfOpenEvict(l)) at = slotAlloc();
  if (!at) {
    if (cookies != SYN_COOKIES_OFF) cookieAnswer(l, ports);
    else count(CNT_TcpExtListenDrops);
    return 0;
  }
  const t = tcbAt(at);
  const c = coldOf(t);
  begin(t, l, ports);
  if (floor != 0 && seqLe(c.iss, floor)) setIss(t, c, floor + 1);
  takeSyn(t);
  offerOptions(t);
  agreeOptions(t);
  ecnOnSyn(t);
  count(CNT_TcpPassiveOpens);
  const fast = fastOpenOffered(t, l);
  setState(t, TCP_SYN_RECV);
  flowInsert(t);
  if (fast && fastOpenTake(t, l)) return 0;
  halfOpenAdd(l, t);
  synSend(t);
  rtoArm(t);
  return 0;
}

/** What every connection of a listener begins with. */
function begin(t: Tcb, l: Tcb, ports: u32): void {
  t.ports = ports;
  memory.copy(addressesOf(t), segAddresses, 32);
  connectionInit(t);
  inherit(t, l);
  coldOf(t).flags2 |= F2_PASSIVE;
}

function setIss(t: Tcb, c: Cold, iss: u32): void {
  c.iss = t.sndUna = iss;
  t.sndNxt = t.sndEnd = c.sndSml = iss + 1;
  coldOf(t).recover = c.fack = c.rackRound = iss;
}

/** Answers a SYN by a cookie. Nothing of the block outlives this. */
function cookieAnswer(l: Tcb, ports: u32): void {
  const t = cookieScratch();
  const c = coldOf(t);
  begin(t, l, ports);
  takeSyn(t);
  offerOptions(t);
  agreeOptions(t);
  ecnOnSyn(t);
  // Without timestamps there is no place to remember these.
  if (t.flags & FL_TS) t.tsOffset += cookieStampShift(t);
  else {
    t.flags &= ~(FL_SACK | FL_WSCALE | FL_ECN);
    t.rcvWscale = 0;
  }
  setIss(t, c, cookieMake(t, c.irs, c.peerMss));
  if (!segmentSyn(t, c.iss, true)) {
    count(CNT_TcpExtListenDrops);
    return;
  }
  backlogOf(l).cookieMs = max<u32>(nowMs(), 1);
  count(CNT_TcpExtSyncookiesSent);
}

/** An ACK: that of a cookie, or one of a connection that is not there. */
function ackArrives(l: Tcb, ports: u32): u32 {
  const sent = backlogOf(l).cookieMs;
  const at = sent != 0 && nowMs() - sent <= COOKIES_OUT_MS && !(segFlags & TCPF_SYN) ? cookieBack(l, ports) : 0;
  if (at == NOT_OURS) resetAnswer(segAt, segLen, segAddresses);
  return at == NOT_NOW ? 0 : at;
}

/** Results of cookieBack() beside the address of a block. */
const NOT_OURS: u32 = 0;
const NOT_NOW: u32 = 1;

/** Makes the connection that the cookie in SEG.ACK is about, as it would be in SYN-RECEIVED. */
function cookieBack(l: Tcb, ports: u32): u32 {
  const scratch = cookieScratch();
  begin(scratch, l, ports);
  const mss = cookieMss(scratch, segSeq - 1, segAck - 1);
  const stamp = optTsEcr - scratch.tsOffset;
  offerOptions(scratch);
  const stamped = (scratch.flags & FL_TS) != 0 && optHasTs;
  if (mss == 0 || (stamped && !cookieStampFine(stamp))) {
    count(CNT_TcpExtSyncookiesFailed);
    return NOT_OURS;
  }
  count(CNT_TcpExtSyncookiesRecv);
  if (acceptFull(l)) {
    // The peer takes itself to be connected: what it sends, and sends again, carries the cookie too.
    count(CNT_TcpExtListenOverflows);
    count(CNT_TcpExtListenDrops);
    return NOT_NOW;
  }
  const at = slotAlloc();
  if (!at) {
    count(CNT_TcpExtListenDrops);
    return NOT_NOW;
  }
  const t = tcbAt(at);
  const c = coldOf(t);
  begin(t, l, ports);
  setIss(t, c, segAck - 1);
  setSynSentUnknown(t);
  c.irs = segSeq - 1;
  t.sndWl1 = segSeq - 1;
  t.rcvNxt = t.rcvWup = segSeq;
  offerOptions(t);
  if (stamped) {
    cookieOptions(t, stamp);
    t.tsRecent = optTsVal;
    t.tsRecentMs = nowMs();
  } else {
    t.flags &= ~(FL_TS | FL_SACK | FL_WSCALE);
    t.rcvWscale = 0;
  }
  c.peerMss = c.userMss != 0 ? min(<u16>mss, c.userMss) : <u16>mss;
  mssUpdate(t);
  t.rcvAdv = segSeq + synWindow(t, true);
  c.listener = addressOf(l);
  // OPT_DEFER_ACCEPT needs a half-open connection to wait in.
  c.deferAccept = 0;
  count(CNT_TcpPassiveOpens);
  setState(t, TCP_SYN_RECV);
  flowInsert(t);
  return at;
}
