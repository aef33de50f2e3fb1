// TCP Fast Open (RFC 7413): data in the SYN, for a client that has shown before that it is at its address.
//
// Server: the cookie is a keyed hash of both addresses. A SYN that brings it back with data makes a connection that the
// application may accept, read and write at once. It stays in SYN-RECEIVED, with F2_FAST_PENDING, until an ACK comes;
// until then the retransmission timer is the SYN-ACK's, and SND.UNA stands behind the SYN.
//
// Client: the cookies of the hosts that were talked to last, one for each place of a table.
//
//   entry   0 ……………… 16       20        22       24 ……………… 40
//           ├ address ┼ length ┼ its MSS ┼ exp. ─┼ cookie ─┤      length 0 = none

import { arenaAlloc } from '../abi/arena';
import {
  CNT_TcpExtTCPFastOpenActive,
  CNT_TcpExtTCPFastOpenActiveFail,
  CNT_TcpExtTCPFastOpenCookieReqd,
  CNT_TcpExtTCPFastOpenListenOverflow,
  CNT_TcpExtTCPFastOpenPassive,
  CNT_TcpExtTCPFastOpenPassiveFail,
} from '../abi/counters';
import {
  CFG_FAST_OPEN,
  CFG_FAST_OPEN_KEY,
  CFG_FAST_OPEN_OLD_KEY,
  CFG_INIT_CWND_SEGMENTS,
  EAGAIN,
  ECONNRESET,
  EV_ACCEPT,
  FAST_OPEN_ALL,
  FAST_OPEN_CLIENT,
  FAST_OPEN_CLIENT_BARE,
  FAST_OPEN_OLD_KEY,
  FAST_OPEN_SERVER,
  FAST_OPEN_SERVER_BARE,
  TCP_CLOSE_WAIT,
  TCP_ESTABLISHED,
  TCP_LISTEN,
} from '../abi/layout';
import { rand64, siphash24 } from '../abi/random';
import { count, nowUs } from '../abi/runtime';
import { timerCancel } from '../timer/wheel';
import { TCPF_FIN } from '../wire/tcp';
import { segAck, segAddresses, segFlags, segLen, segPayload, segTrimBack, segTrimSyn, segWindow } from './arrival';
import { connectionAborted, finQueued, finReceived, setState } from './close';
import { ccInit } from './congestion/index';
import { QUICK_ACKS } from './delack';
import { deliverInline, eventData, eventRaise } from './events';
import { synSend } from './handshake';
import { fromHandle } from './handle';
import { nowMs } from './isn';
import { keepaliveStart } from './keepalive';
import { asLinuxReceiver, linuxStart } from './linux';
import { acceptAdd } from './listen';
import { OPTIONS_MAX, optCookieAt, optCookieExperiment, optCookieLen, optMss, optSynCookie } from './options';
import { rcvTuneStart } from './rcvtune';
import { rcvqAdd } from './recvq';
import { rtoArm, rttSample } from './rto';
import { PIECES_MAX, pieceCount } from './segment';
import { seqGt, seqLt } from './seq';
import { sendqRelease } from './sendq';
import {
  F2_FAST_PENDING,
  F2_SYN_DATA,
  F2_SYN_RETRANS,
  FL_ACCEPT_QUEUE,
  FL_FIN_QUEUED,
  FL_FIN_RCVD,
  FL_INLINE,
  Tcb,
  backlogOf,
  coldOf,
  isV4,
  retransmitTimer,
  tcbAt,
} from './tcb';
import { lossTimerArm } from './tlp';
import { nodeHolding } from './txseg';

/** Of the cookies that we make: what Linux's have. */
const COOKIE_BYTES: u32 = 8;
const COOKIE: u32 = <u32>memory.data(8, 8);
/** The addresses in the order that Linux hashes them: client, server. */
const ADDRESSES: u32 = <u32>memory.data(32, 8);

/** RFC 7413 §5.1: connections that an RST has ended count for this long, or an attacker's could make room for the next. */
const RESETS_COUNT_MS: u32 = 60_000;

const ENTRIES: u32 = 64;
const ENTRY_BYTES: u32 = 40;
@inline const LENGTH: usize = 16;
@inline const MSS: usize = 20;
@inline const EXPERIMENT: usize = 22;
@inline const BYTES: usize = 24;

let cache: u32 = 0;
/** Key of the table. */
let key0: u64 = 0;
let key1: u64 = 0;

export function fastOpenArenaNeeded(): u32 {
  return ENTRIES * ENTRY_BYTES + 8;
}

export function fastOpenInit(): bool {
  key0 = rand64();
  key1 = rand64();
  cache = arenaAlloc(ENTRIES * ENTRY_BYTES, 8);
  return cache != 0;
}

@inline
function configured(flags: u32): bool {
  return (load<u32>(CFG_FAST_OPEN) & flags) != 0;
}

// ---- server ----

/** The cookie for the client at the far end of `addresses`, of the key at `key`, at COOKIE. */
function cookieMake(addresses: u32, v4: bool, key: u32): void {
  let bytes: u32 = 32;
  if (v4) {
    bytes = 8;
    store<u32>(ADDRESSES, load<u32>(addresses, 28));
    store<u32>(ADDRESSES, load<u32>(addresses, 12), 4);
  } else {
    memory.copy(ADDRESSES, addresses + 16, 16);
    memory.copy(ADDRESSES + 16, addresses, 16);
  }
  store<u64>(COOKIE, siphash24(load<u64>(key), load<u64>(key, 8), ADDRESSES, bytes));
}

/** Compares all of it, whatever the first difference: how long it takes tells nothing. */
function cookieRight(): bool {
  if (optCookieLen != COOKIE_BYTES) return false;
  let different: u32 = 0;
  for (let i: u32 = 0; i < COOKIE_BYTES; i++) different |= load<u8>(COOKIE + i) ^ load<u8>(optCookieAt + i);
  return different == 0;
}

/** The listener may have no more connections that are not confirmed (RFC 7413 §5.1). */
function pendingFull(l: Tcb): bool {
  const b = backlogOf(l);
  const most = configured(FAST_OPEN_ALL) ? b.backlog : b.fastMost;
  if (most == 0) return true;
  if (b.fastResets != 0 && nowMs() - b.fastResetMs > RESETS_COUNT_MS) b.fastResets = 0;
  if (b.fastCount + b.fastResets < most) return false;
  count(CNT_TcpExtTCPFastOpenListenOverflow);
  return true;
}

/**
 * A SYN that makes the half-open connection `t`: whether its data may be taken now. If not, the SYN-ACK brings the cookie
 * where one was asked for, or a wrong one came.
 */
export function fastOpenOffered(t: Tcb, l: Tcb): bool {
  optSynCookie(-1, 0, false);
  if (!configured(FAST_OPEN_SERVER)) return false;
  if (optCookieLen == 0) count(CNT_TcpExtTCPFastOpenCookieReqd);
  const data = segLen != 0 || (segFlags & TCPF_FIN) != 0;
  if ((!data && optCookieLen < 0) || pendingFull(l)) return false;
  if (configured(FAST_OPEN_SERVER_BARE)) return true;
  if (optCookieLen < 0) return false;
  const v4 = isV4(t);
  let right = false;
  if (configured(FAST_OPEN_OLD_KEY)) {
    cookieMake(segAddresses, v4, CFG_FAST_OPEN_OLD_KEY);
    right = cookieRight();
  }
  cookieMake(segAddresses, v4, CFG_FAST_OPEN_KEY);
  if (cookieRight()) return true;
  if (optCookieLen > 0 && !right) count(CNT_TcpExtTCPFastOpenPassiveFail);
  optSynCookie(COOKIE_BYTES, COOKIE, optCookieExperiment);
  return right;
}

/** Takes the SYN's data, answers, and gives the connection to the application. False: there is no room for the data. */
export function fastOpenTake(t: Tcb, l: Tcb): bool {
  const c = coldOf(t);
  const b = backlogOf(l);
  segTrimSyn();
  if (segLen > t.rcvBuf) segTrimBack(t.rcvBuf);
  if (segLen != 0 && !rcvqAdd(t, segPayload, segLen)) return false;
  count(CNT_TcpExtTCPFastOpenPassive);
  t.rcvNxt += segLen;
  c.segsIn = 1;
  if (segLen != 0) {
    c.dataSegsIn = 1;
    c.bytesReceived = segLen;
    c.flags2 |= F2_SYN_DATA;
  }
  c.flags2 |= F2_FAST_PENDING;
  c.fastListener = l.handle;
  b.fastCount++;
  c.synSentUs = <u32>nowUs;
  t.sndUna = t.sndNxt;
  t.sndWnd = c.maxWnd = segWindow;
  if (segFlags & TCPF_FIN) finReceived(t);
  ccInit(t, load<u32>(CFG_INIT_CWND_SEGMENTS));
  rcvTuneStart(t);
  t.quickAcks = <u8>QUICK_ACKS;
  synSend(t);
  rtoArm(t);
  if (asLinuxReceiver()) linuxStart(t);
  if (t.flags & FL_INLINE) {
    c.listener = 0;
    eventRaise(t, EV_ACCEPT);
    deliverInline(t);
    return true;
  }
  acceptAdd(l, t);
  eventRaise(l, EV_ACCEPT);
  if (t.rcvQHead) eventData(t);
  return true;
}

/** The connection counts no longer as one that its listener waits for. */
export function fastOpenLeave(t: Tcb): void {
  const c = coldOf(t);
  if (!(c.flags2 & F2_FAST_PENDING)) return;
  c.flags2 &= ~F2_FAST_PENDING;
  const at = fromHandle(c.fastListener);
  if (at && tcbAt(at).state == TCP_LISTEN) backlogOf(tcbAt(at)).fastCount--;
}

/** A segment for a connection whose SYN-ACK is not acknowledged: whether it does that. The connection is established then. */
export function fastOpenAcked(t: Tcb): bool {
  if (seqLt(segAck, t.sndUna) || seqGt(segAck, t.sndNxt)) return false;
  const c = coldOf(t);
  fastOpenLeave(t);
  timerCancel(retransmitTimer(t));
  if (!(c.flags2 & F2_SYN_RETRANS)) rttSample(t, <u32>nowUs - c.synSentUs);
  t.retries = 0;
  t.backoff = 0;
  setState(t, TCP_ESTABLISHED);
  if (t.flags & FL_FIN_RCVD) setState(t, TCP_CLOSE_WAIT);
  keepaliveStart(t);
  if (t.flags & FL_FIN_QUEUED) finQueued(t);
  if (t.txHead) lossTimerArm(t);
  return true;
}

/** The peer resets it: perhaps a host at a forged address, that has sent no SYN. */
export function fastOpenReset(t: Tcb): void {
  const at = fromHandle(coldOf(t).fastListener);
  // What Linux keeps in the accept queue takes its place there.
  const queued = (t.flags & FL_ACCEPT_QUEUE) != 0 && asLinuxReceiver();
  if (at && !queued && tcbAt(at).state == TCP_LISTEN) {
    const b = backlogOf(tcbAt(at));
    b.fastResets++;
    b.fastResetMs = nowMs();
  }
  connectionAborted(t, ECONNRESET);
}

// ---- client ----

/** Where the host at `addr` has its place. */
@inline
function entryOf(addr: u32): u32 {
  return cache + (<u32>siphash24(key1, key0, addr, 16) % ENTRIES) * ENTRY_BYTES;
}

@inline
function isOf(entry: u32, addr: u32): bool {
  return load<u64>(entry) == load<u64>(addr) && load<u64>(entry, 8) == load<u64>(addr, 8);
}

/** Bytes of the cookie that the host at `addr` has given; 0: data goes without one; -EAGAIN: it must be asked for. */
export function fastOpenCookie(addr: u32): i32 {
  if (!configured(FAST_OPEN_CLIENT)) return -EAGAIN;
  const entry = entryOf(addr);
  if (isOf(entry, addr) && load<u32>(entry, LENGTH) != 0) return load<u32>(entry, LENGTH);
  return configured(FAST_OPEN_CLIENT_BARE) ? 0 : -EAGAIN;
}

/** Bytes that fit behind a SYN with all options, on a path with this MTU: in a segment of the MSS that the host gave last. */
export function fastOpenBytes(addr: u32, mtu: u32): u32 {
  const v4 = load<u64>(addr) == 0 && load<u32>(addr, 8) == 0xffff0000;
  const headers: u32 = (v4 ? 40 : 60) + OPTIONS_MAX;
  const entry = entryOf(addr);
  const path = mtu > headers ? mtu - headers : 0;
  const mss: u32 = isOf(entry, addr) ? load<u16>(entry, MSS) : 0;
  return mss == 0 ? path : min(path, mss > OPTIONS_MAX ? mss - OPTIONS_MAX : 0);
}

/** The first SYN: prepares its Fast Open option, and returns how many of the queued bytes go with it. */
export function fastOpenSyn(t: Tcb): u32 {
  const c = coldOf(t);
  const remote = <u32>changetype<usize>(t) + <u32>offsetof<Tcb>('remote0');
  const entry = entryOf(remote);
  const known = isOf(entry, remote);
  const length = fastOpenCookie(remote);
  const experiment = known && load<u8>(entry, EXPERIMENT) != 0;
  if (length < 0) {
    optSynCookie(0, 0, experiment);
    return 0;
  }
  if (length == 0) optSynCookie(-1, 0, false);
  else optSynCookie(length, entry + <u32>BYTES, experiment);
  let bytes = min(fastOpenBytes(remote, c.pmtu), t.sndEnd - t.sndNxt);
  while (bytes != 0 && pieceCount(t.sqNext, t.sndNxt, bytes) > PIECES_MAX) bytes >>= 1;
  return bytes;
}

/** The SYN-ACK of a connection that asked for Fast Open: remembers the cookie, and what of the data was taken. */
export function fastOpenAnswered(t: Tcb): void {
  const c = coldOf(t);
  const remote = <u32>changetype<usize>(t) + <u32>offsetof<Tcb>('remote0');
  const entry = entryOf(remote);
  if (!isOf(entry, remote)) {
    memory.fill(entry, 0, ENTRY_BYTES);
    memory.copy(entry, remote, 16);
  }
  store<u16>(entry, optMss != 0 ? optMss : c.peerMss, MSS);
  if (optCookieLen > 0) {
    store<u32>(entry, optCookieLen, LENGTH);
    store<u8>(entry, optCookieExperiment ? 1 : 0, EXPERIMENT);
    memory.copy(entry + <u32>BYTES, optCookieAt, optCookieLen);
  } else if (c.flags2 & F2_SYN_RETRANS && c.synData != 0 && optCookieLen < 0) {
    // The SYN with data was lost, a plain one was not: the path may not like it. Ask again (RFC 7413 §4.1.3).
    store<u32>(entry, 0, LENGTH);
  } else if (c.synData == 0 && optCookieLen < 0 && load<u32>(entry, LENGTH) == 0) {
    // No answer to the option: next time by the other number.
    store<u8>(entry, load<u8>(entry, EXPERIMENT) ^ 1, EXPERIMENT);
  }
  if (c.synData == 0) return;
  const taken = segAck - t.sndNxt;
  if (taken == 0) {
    count(CNT_TcpExtTCPFastOpenActiveFail);
    return;
  }
  count(CNT_TcpExtTCPFastOpenActive);
  c.flags2 |= F2_SYN_DATA;
  c.bytesAcked += taken;
  t.sndNxt = t.sndUna = segAck;
  t.sqNext = nodeHolding(t.sqNext, segAck);
  sendqRelease(t);
}
