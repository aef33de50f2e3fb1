// Options of a socket, by the OPT_… of abi/layout. A listener's are those of its connections.

import {
  CC_DCTCP,
  CFG_FIN_WAIT2_US,
  CFG_KEEPALIVE_INTVL_MS,
  CFG_KEEPALIVE_PROBES,
  CFG_KEEPALIVE_TIME_MS,
  CFG_SYN_RETRIES,
  EBADF,
  ENOBUFS,
  EINVAL,
  ENOPROTOOPT,
  OPT_CONGESTION,
  OPT_CORK,
  OPT_DEFER_ACCEPT,
  OPT_FAST_OPEN,
  OPT_FIN_WAIT2_US,
  OPT_KEEPALIVE,
  OPT_KEEPALIVE_INTVL_US,
  OPT_KEEPALIVE_PROBES,
  OPT_KEEPALIVE_TIME_US,
  OPT_LINGER_US,
  OPT_MAXSEG,
  OPT_NODELAY,
  OPT_PAUSED,
  OPT_QUICKACK,
  OPT_RCV_BUF_BYTES,
  OPT_REPORTS,
  OPT_SND_BUF_BYTES,
  OPT_SYN_RETRIES,
  OPT_TOS,
  OPT_TTL,
  OPT_URGENT_BYTES,
  OPT_USER_TIMEOUT_US,
  OPT_WINDOW_CLAMP,
  REPORT_ICMP,
  REPORT_RETRANSMISSIONS,
  REPORT_URGENT,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT1,
  TCP_FIN_WAIT2,
  TCP_LISTEN,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
} from '../abi/layout';
import { ccStart } from './congestion/index';
import { calledBack, pause, resume } from './events';
import { fromHandle, slotMissing } from './handle';
import { MSS_LEAST, windowScaleOffer } from './handshake';
import { keepaliveStart } from './keepalive';
import { asLinuxReceiver, linuxAckOnRead, linuxSetQuickAck } from './linux';
import { ackSend, tcpOutput } from './output';
import {
  Cold,
  F2_CORK,
  F2_PAUSED,
  F2_PUSH_ONCE,
  F2_RCVBUF_LOCK,
  FL_KEEPALIVE,
  FL_NODELAY,
  FL_QUICKACK,
  Tcb,
  backlogOf,
  coldOf,
  tcbAt,
} from './tcb';
import { urgentLeft } from './urgent';

/** Bounds of the buffer options, bytes. Windows beyond 1 GiB cannot be told apart from old segments (RFC 7323 §2.3). */
const BUFFER_LEAST: f64 = 2048;
const BUFFER_MOST: f64 = 1073725440;
/** Of any option. */
const VALUE_MOST: f64 = 9007199254740992;
const REPORTS_ALL: u32 = REPORT_ICMP | REPORT_RETRANSMISSIONS | REPORT_URGENT;
/** As Linux bounds them: MAX_TCP_WINDOW, MAX_TCP_SYNCNT, MAX_TCP_KEEPCNT. */
const MAXSEG_MOST: f64 = 32767;
const SYN_RETRIES_MOST: f64 = 127;
const PROBES_MOST: f64 = 127;

@inline
function setFlag(t: Tcb, flag: u32, value: f64): i32 {
  if (value != 0) t.flags |= flag;
  else t.flags &= ~flag;
  return 0;
}

@inline
function milliseconds(value: f64): u32 {
  return <u32>min<f64>(max<f64>(value / 1000, 1), 0x7fffffff);
}

/** Whether the connection is open: its options act at once. */
@inline
function synchronized(t: Tcb): bool {
  return t.state != TCP_LISTEN && t.state != TCP_SYN_SENT && t.state != TCP_SYN_RECV;
}

/** Sets an OPT_…: 0, or -errno. */
export function setOption(handle: i32, option: u32, value: f64): i32 {
  const at = fromHandle(handle);
  if (!at) return slotMissing ? -ENOBUFS : -EBADF;
  const t = tcbAt(at);
  const c = coldOf(t);
  if (!(value >= 0 && value <= VALUE_MOST)) return -EINVAL;
  switch (option) {
    case OPT_NODELAY:
      setFlag(t, FL_NODELAY, value);
      // What a cork holds back goes once, too.
      if (value != 0) c.flags2 |= F2_PUSH_ONCE;
      if (t.state != TCP_LISTEN) tcpOutput(t);
      return 0;
    case OPT_CORK:
      c.flags2 = value != 0 ? c.flags2 | F2_CORK : c.flags2 & ~F2_CORK;
      if (t.state != TCP_LISTEN && value == 0) tcpOutput(t);
      return 0;
    case OPT_KEEPALIVE:
      setFlag(t, FL_KEEPALIVE, value);
      keepaliveStart(t);
      return 0;
    case OPT_KEEPALIVE_TIME_US:
      c.keepTimeMs = milliseconds(value);
      keepaliveStart(t);
      return 0;
    case OPT_KEEPALIVE_INTVL_US:
      c.keepIntvlMs = milliseconds(value);
      return 0;
    case OPT_KEEPALIVE_PROBES:
      if (value < 1 || value > PROBES_MOST) return -EINVAL;
      c.keepProbes = <u8>value;
      return 0;
    case OPT_SYN_RETRIES:
      if (value < 1 || value > SYN_RETRIES_MOST) return -EINVAL;
      c.synRetries = <u8>value;
      return 0;
    case OPT_SND_BUF_BYTES:
      coldOf(t).sndBuf = <u32>min(max(value, BUFFER_LEAST), BUFFER_MOST);
      return 0;
    case OPT_RCV_BUF_BYTES:
      t.rcvBuf = <u32>min(max(value, BUFFER_LEAST), BUFFER_MOST);
      c.flags2 |= F2_RCVBUF_LOCK;
      if (t.state == TCP_SYN_SENT && t.retries == 0) windowScaleOffer(t);
      else if (t.state != TCP_LISTEN) windowUpdate(t);
      return 0;
    case OPT_WINDOW_CLAMP:
      c.rcvClamp = value == 0 ? 0 : <u32>min(max(value, BUFFER_LEAST / 2), BUFFER_MOST);
      if (c.rcvClamp != 0) c.rcvSsthresh = min(c.rcvSsthresh, c.rcvClamp);
      return 0;
    case OPT_USER_TIMEOUT_US:
      c.userTimeoutMs = value == 0 ? 0 : milliseconds(value);
      return 0;
    case OPT_FIN_WAIT2_US:
      c.finWait2Ms = <u32>min<f64>(Math.ceil(value / 1000), 0x7ffffffe) + 1;
      return 0;
    case OPT_MAXSEG:
      if (value != 0 && (value < MSS_LEAST || value > MAXSEG_MOST)) return -EINVAL;
      setMaxSeg(t, c, <u16>value);
      return 0;
    case OPT_DEFER_ACCEPT:
      if (t.state != TCP_LISTEN) return -EINVAL;
      c.deferAccept = <u8>retransmissionsIn(value / 1000000);
      return 0;
    case OPT_FAST_OPEN:
      if (t.state != TCP_LISTEN) return -EINVAL;
      backlogOf(t).fastMost = <u32>min<f64>(value, 0xffffffff);
      return 0;
    case OPT_PAUSED:
      // A batch connection is not read by not calling recv().
      if (t.state == TCP_LISTEN || !calledBack(t)) return -EINVAL;
      if (value != 0) pause(t);
      else if (c.flags2 & F2_PAUSED) resume(t);
      return 0;
    case OPT_QUICKACK:
      if (t.state != TCP_LISTEN && asLinuxReceiver()) {
        if (linuxSetQuickAck(t, value != 0)) ackSend(t);
      }
      return setFlag(t, FL_QUICKACK, value);
    case OPT_CONGESTION:
      if (value > CC_DCTCP) return -EINVAL;
      c.cc = <u8>value;
      // Until it is established the words belong to the handshake, and ccInit() starts it.
      if (synchronized(t)) ccStart(t);
      return 0;
    case OPT_TOS:
      if (value > 255) return -EINVAL;
      c.tos = <u8>value & 0xfc;
      return 0;
    case OPT_TTL:
      if (value > 255) return -EINVAL;
      c.ttl = <u8>value;
      return 0;
    case OPT_REPORTS:
      if (value > REPORTS_ALL) return -EINVAL;
      c.reportsOff = <u8>(~(<u32>value) & REPORTS_ALL);
      return 0;
    case OPT_LINGER_US:
      c.lingerMs = value == VALUE_MOST ? 0 : <u32>min<f64>(Math.ceil(value / 1000), 0x7ffffffe) + 1;
      return 0;
  }
  return -ENOPROTOOPT;
}

/** Bounds the segments that are announced and sent. What the peer has been told already stays. */
function setMaxSeg(t: Tcb, c: Cold, bytes: u16): void {
  c.userMss = bytes;
  if (bytes != 0 && t.state == TCP_SYN_SENT && t.retries == 0) c.ownMss = min(c.ownMss, bytes);
}

/** SYN-ACKs that are retransmitted within this many seconds, the interval doubling from one second on. */
function retransmissionsIn(seconds: f64): u32 {
  let count: u32 = 0;
  let interval: f64 = 1;
  for (let end: f64 = 0; end < seconds && count < 255; count++) {
    end += interval;
    interval = min<f64>(interval * 2, 120);
  }
  return count;
}

function secondsFor(retransmissions: u32): f64 {
  let end: f64 = 0;
  let interval: f64 = 1;
  for (let i: u32 = 0; i < retransmissions; i++) {
    end += interval;
    interval = min<f64>(interval * 2, 120);
  }
  return end;
}

/** An OPT_…'s value, or -errno. */
export function getOption(handle: i32, option: u32): f64 {
  const at = fromHandle(handle);
  if (!at) return slotMissing ? -ENOBUFS : -EBADF;
  const t = tcbAt(at);
  const c = coldOf(t);
  switch (option) {
    case OPT_NODELAY:
      return t.flags & FL_NODELAY ? 1 : 0;
    case OPT_CORK:
      return c.flags2 & F2_CORK ? 1 : 0;
    case OPT_KEEPALIVE:
      return t.flags & FL_KEEPALIVE ? 1 : 0;
    case OPT_KEEPALIVE_TIME_US:
      return <f64>(c.keepTimeMs ? c.keepTimeMs : load<u32>(CFG_KEEPALIVE_TIME_MS)) * 1000;
    case OPT_KEEPALIVE_INTVL_US:
      return <f64>(c.keepIntvlMs ? c.keepIntvlMs : load<u32>(CFG_KEEPALIVE_INTVL_MS)) * 1000;
    case OPT_KEEPALIVE_PROBES:
      return c.keepProbes ? c.keepProbes : load<u32>(CFG_KEEPALIVE_PROBES);
    case OPT_SYN_RETRIES:
      return c.synRetries ? c.synRetries : load<u32>(CFG_SYN_RETRIES);
    case OPT_SND_BUF_BYTES:
      return coldOf(t).sndBuf;
    case OPT_RCV_BUF_BYTES:
      return t.rcvBuf;
    case OPT_WINDOW_CLAMP:
      return c.rcvClamp;
    case OPT_USER_TIMEOUT_US:
      return <f64>c.userTimeoutMs * 1000;
    case OPT_FIN_WAIT2_US:
      return c.finWait2Ms ? <f64>(c.finWait2Ms - 1) * 1000 : <f64>load<u32>(CFG_FIN_WAIT2_US);
    case OPT_MAXSEG:
      return synchronized(t) ? t.sndMss : c.userMss;
    case OPT_FAST_OPEN:
      return t.state == TCP_LISTEN ? backlogOf(t).fastMost : 0;
    case OPT_DEFER_ACCEPT:
      return t.state == TCP_LISTEN ? secondsFor(c.deferAccept) * 1000000 : 0;
    case OPT_PAUSED:
      return c.flags2 & F2_PAUSED ? 1 : 0;
    case OPT_QUICKACK:
      return t.flags & FL_QUICKACK ? 1 : 0;
    case OPT_CONGESTION:
      return c.cc;
    case OPT_TOS:
      return c.tos;
    case OPT_TTL:
      return c.ttl;
    case OPT_REPORTS:
      return ~(<u32>c.reportsOff) & REPORTS_ALL;
    case OPT_URGENT_BYTES:
      return urgentLeft(t);
    case OPT_LINGER_US:
      return c.lingerMs ? <f64>(c.lingerMs - 1) * 1000 : VALUE_MOST;
  }
  return -ENOPROTOOPT;
}

/** Tells the peer when reading has opened the window by half the buffer or two segments (RFC 9293 §3.8.6.2.2). */
export function windowUpdate(t: Tcb): void {
  const state: u32 = t.state;
  if (state != TCP_ESTABLISHED && state != TCP_FIN_WAIT1 && state != TCP_FIN_WAIT2) return;
  if (asLinuxReceiver()) {
    if (linuxAckOnRead(t)) ackSend(t);
    return;
  }
  // What the window field can say is all that the peer would learn of.
  const free = min<u32>(t.rcvBuf > t.rcvQBytes ? t.rcvBuf - t.rcvQBytes : 0, (<u32>0xffff) << t.rcvWscale);
  const gain = <i32>(t.rcvNxt + free - t.rcvAdv);
  if (gain > 0 && <u32>gain >= min<u32>(t.rcvBuf >> 1, (<u32>t.rcvMss) << 1)) ackSend(t);
}
