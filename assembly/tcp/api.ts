// Socket calls of the application. Results ≥ 0 are fine, negative ones are -errno; arguments are checked in every
// build. Calls may come from inside an inline callback, for any handle.

import {
  CC_DCTCP,
  CFG_CONGESTION,
  CFG_KEEPALIVE_TIME_MS,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  EFAULT,
  EINVAL,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
  ENOPROTOOPT,
  ENOTCONN,
  EPIPE,
  IOV_ADDR,
  IOV_LEN,
  IOV_SIZE,
  OPT_CONGESTION,
  OPT_KEEPALIVE,
  OPT_KEEPALIVE_TIME_US,
  OPT_LINGER_US,
  OPT_NODELAY,
  OPT_QUICKACK,
  OPT_RCV_BUF_BYTES,
  OPT_REPORTS,
  OPT_SND_BUF_BYTES,
  OPT_TOS,
  OPT_TTL,
  OPT_URGENT_BYTES,
  OPT_USER_TIMEOUT_US,
  REPORT_ICMP,
  REPORT_RETRANSMISSIONS,
  REPORT_URGENT,
  SOCK_INLINE,
  SOCK_V6ONLY,
  TCP_CLOSE,
  TCP_CLOSE_WAIT,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT1,
  TCP_FIN_WAIT2,
  TCP_LISTEN,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
} from '../abi/layout';
import { INFO_SIZE } from '../abi/info';
import { isOurs } from '../ip/interface';
import { dstGet, dstSource } from '../ip/route';
import { zbufCheck } from '../zbuf/zbuf';
import { closeConnection, closeSend, connectionReset } from './close';
import { enlist } from './events';
import { flowFind } from './flow';
import { fromHandle, listenerSlotAlloc, slotAlloc, slotAt, slotRelease } from './handle';
import { connectionInit, synStart } from './handshake';
import { infoWrite } from './info';
import { keepaliveStart } from './keepalive';
import { asLinuxReceiver, linuxAckOnRead, linuxSetQuickAck } from './linux';
import { acceptTake, isAnyAddress, listenerAdd, listenerClose, listenerTaken } from './listen';
import { ackSend, tcpOutput, wantOutput } from './output';
import { portChoose } from './port';
import { rcvqTake, takenAddr, takenLen } from './recvq';
import { sendqAppend, sendqHasRoom, sendqMostPieces, sendqStarved, sendqUndo } from './sendq';
import { urgentLeft, urgentQueued } from './urgent';
import {
  F2_RCVBUF_LOCK,
  F2_V6ONLY,
  FL_ACK_NOW,
  FL_DATA_SIGNALLED,
  FL_FIN_QUEUED,
  FL_FIN_RCVD,
  FL_INLINE,
  FL_IN_EVENTS,
  FL_KEEPALIVE,
  FL_NODELAY,
  FL_QUICKACK,
  FL_WRITE_WANTED,
  Tcb,
  addressesOf,
  coldOf,
  tcbAt,
} from './tcb';
import { ccStart } from './congestion/index';

/** Bounds of the buffer options, bytes. Windows beyond 1 GiB cannot be told apart from old segments (RFC 7323 §2.3). */
const BUFFER_LEAST: f64 = 2048;
const BUFFER_MOST: f64 = 1073725440;
/** Of any option. */
const VALUE_MOST: f64 = 9007199254740992;
const REPORTS_ALL: u32 = REPORT_ICMP | REPORT_RETRANSMISSIONS | REPORT_URGENT;
/** Largest iov of one call. */
const IOV_MOST: u32 = 1024;

/** Whether [at, at + bytes) lies in the memory. */
@inline
function inMemory(at: u32, bytes: u32): bool {
  return at != 0 && <u64>at + bytes <= (<u64>memory.size()) << 16;
}

/** The connection behind a handle, 0 when it is stale or a listener. */
@inline
function connection(handle: i32): u32 {
  const at = fromHandle(handle);
  return at != 0 && tcbAt(at).state != TCP_LISTEN ? at : 0;
}

/** Starts to listen on the 16-byte address at `addr` (:: or 0.0.0.0 mapped for any) and `port`. Returns a handle. */
export function listen(addr: u32, port: u32, backlog: u32, flags: u32): i32 {
  if (!inMemory(addr, 16)) return -EFAULT;
  if (port == 0 || port > 65535) return -EINVAL;
  const high = load<u64>(addr);
  const low = load<u64>(addr, 8);
  if (!isAnyAddress(high, low) && !isOurs(addr)) return -EADDRNOTAVAIL;
  if (listenerTaken(high, low, port, (flags & SOCK_V6ONLY) != 0)) return -EADDRINUSE;
  const at = listenerSlotAlloc();
  if (!at) return -ENOBUFS;
  const l = tcbAt(at);
  l.local0 = high;
  l.local1 = low;
  l.ports = port;
  if (flags & SOCK_INLINE) l.flags |= FL_INLINE;
  if (flags & SOCK_V6ONLY) coldOf(l).flags2 |= F2_V6ONLY;
  coldOf(l).backlog = max(backlog, 1);
  coldOf(l).cc = <u8>load<u32>(CFG_CONGESTION);
  listenerAdd(l);
  return l.handle;
}

/** A handle of the next established connection, or -EAGAIN. */
export function accept(listener: i32): i32 {
  const at = fromHandle(listener);
  if (!at) return -EBADF;
  if (tcbAt(at).state != TCP_LISTEN) return -EINVAL;
  const taken = acceptTake(tcbAt(at));
  if (!taken) return -EAGAIN;
  const t = tcbAt(taken);
  if (t.evPending != 0 && !(t.flags & FL_IN_EVENTS)) enlist(t);
  return t.handle;
}

/** Opens a connection. `localAddr` 0: the route's source address; `localPort` 0: an ephemeral port. Returns a handle. */
export function connect(addr: u32, port: u32, localAddr: u32, localPort: u32, flags: u32): i32 {
  if (!inMemory(addr, 16) || (localAddr != 0 && !inMemory(localAddr, 16))) return -EFAULT;
  if (port == 0 || port > 65535 || localPort > 65535) return -EINVAL;
  if (isAnyAddress(load<u64>(addr), load<u64>(addr, 8))) return -EINVAL;
  const dst = dstGet(addr);
  if (!dst) return -ENETUNREACH;
  let source = localAddr;
  if (source == 0 || isAnyAddress(load<u64>(source), load<u64>(source, 8))) source = dstSource(dst);
  if (!source || !isOurs(source)) return -EADDRNOTAVAIL;
  // The callee may reuse the memory of its arguments.
  const local0 = load<u64>(source);
  const local1 = load<u64>(source, 8);
  const at = slotAlloc();
  if (!at) return -ENOBUFS;
  const t = tcbAt(at);
  t.local0 = local0;
  t.local1 = local1;
  t.remote0 = load<u64>(addr);
  t.remote1 = load<u64>(addr, 8);
  t.ports = localPort | (port << 16);
  if (localPort == 0 ? !portChoose(t) : flowFind(addressesOf(t), t.ports) != 0) {
    slotRelease(t);
    return localPort == 0 ? -EADDRNOTAVAIL : -EADDRINUSE;
  }
  if (flags & SOCK_INLINE) t.flags |= FL_INLINE;
  connectionInit(t);
  synStart(t);
  return t.handle;
}

/** Why nothing can be sent, or 0. */
function sendError(t: Tcb): i32 {
  const state: u32 = t.state;
  if (state == TCP_CLOSE) return coldOf(t).error ? -(<i32>coldOf(t).error) : -EPIPE;
  if (t.flags & FL_FIN_QUEUED) return -EPIPE;
  if (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_SYN_SENT || state == TCP_SYN_RECV) return 0;
  return -EPIPE;
}

/** There is no room now: EV_WRITE follows when there is. */
function writeLater(t: Tcb): i32 {
  t.flags |= FL_WRITE_WANTED;
  if (sendqStarved(t)) wantOutput(t);
  return -EAGAIN;
}

/** Checks and queues one piece: `len`, or -errno. */
@inline
function sendQueue(t: Tcb, addr: u32, len: u32): i32 {
  const checked = zbufCheck(addr, len);
  if (checked) return checked;
  if (!sendqHasRoom(t, len, 1) || !sendqAppend(t, addr, len)) return writeLater(t);
  return <i32>len;
}

/** Queues [addr, addr + len) of an object by reference. All or nothing: `len`, or -EAGAIN and EV_WRITE later. */
export function send(handle: i32, addr: u32, len: u32): i32 {
  const at = connection(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  const error = sendError(t);
  if (error) return error;
  if (len == 0) return 0;
  const queued = sendQueue(t, addr, len);
  if (queued > 0) tcpOutput(t);
  return queued;
}

/**
 * The same, and what is queued now is urgent up to its last byte (RFC 9293 §3.8.5). For old applications: middleboxes
 * clear the flag, and receivers disagree about what it means (RFC 6093 §3).
 */
export function sendUrgent(handle: i32, addr: u32, len: u32): i32 {
  const at = connection(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  const error = sendError(t);
  if (error) return error;
  if (len == 0) return -EINVAL;
  const queued = sendQueue(t, addr, len);
  if (queued < 0) return queued;
  urgentQueued(t);
  tcpOutput(t);
  // The peer learns of it even while its window keeps the data back.
  if (t.sndNxt != t.sndEnd && (t.state == TCP_ESTABLISHED || t.state == TCP_CLOSE_WAIT)) {
    t.flags |= FL_ACK_NOW;
    wantOutput(t);
  }
  return queued;
}

/** The same for the `n` pieces of the iov at `iov`. */
export function sendv(handle: i32, iov: u32, n: u32): i32 {
  const at = connection(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  const error = sendError(t);
  if (error) return error;
  if (n > IOV_MOST) return -EINVAL;
  if (!inMemory(iov, n * IOV_SIZE)) return -EFAULT;
  let total: u64 = 0;
  let pieces: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const entry = iov + i * IOV_SIZE;
    const len = load<u32>(entry + IOV_LEN);
    if (len == 0) continue;
    pieces++;
    const checked = zbufCheck(load<u32>(entry + IOV_ADDR), len);
    if (checked) return checked;
    total += len;
  }
  if (total == 0) return 0;
  if (total > 0x7fffffff) return -EINVAL;
  // More than a connection may ever have: no waiting would help.
  if (pieces > sendqMostPieces()) return -EMSGSIZE;
  const tail = t.sqTail;
  const end = t.sndEnd;
  let room = sendqHasRoom(t, <u32>total, pieces);
  for (let i: u32 = 0; room && i < n; i++) {
    const entry = iov + i * IOV_SIZE;
    const len = load<u32>(entry + IOV_LEN);
    if (len != 0 && !sendqAppend(t, load<u32>(entry + IOV_ADDR), len)) {
      sendqUndo(t, tail, end);
      room = false;
    }
  }
  if (!room) return writeLater(t);
  tcpOutput(t);
  return <i32>total;
}

/**
 * Writes up to `maxPieces` received pieces to `iov`; one reference each goes to the caller. 0 after the peer's FIN,
 * -EAGAIN when there is nothing yet. Opens the receive window.
 */
export function recv(handle: i32, iov: u32, maxPieces: u32): i32 {
  const at = connection(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  if (maxPieces == 0 || maxPieces > IOV_MOST) return -EINVAL;
  if (!inMemory(iov, maxPieces * IOV_SIZE)) return -EFAULT;
  let pieces: u32 = 0;
  while (pieces < maxPieces && rcvqTake(t)) {
    const entry = iov + pieces * IOV_SIZE;
    store<u32>(entry + IOV_ADDR, takenAddr);
    store<u32>(entry + IOV_LEN, takenLen);
    pieces++;
  }
  if (!t.rcvQHead) t.flags &= ~FL_DATA_SIGNALLED;
  if (pieces == 0) {
    if (t.flags & FL_FIN_RCVD) return 0;
    if (t.state == TCP_CLOSE) return coldOf(t).error ? -(<i32>coldOf(t).error) : 0;
    return t.state == TCP_SYN_SENT ? -ENOTCONN : -EAGAIN;
  }
  if (!asLinuxReceiver()) windowUpdate(t);
  else if (mayUpdateWindow(t) && linuxAckOnRead(t)) ackSend(t);
  return <i32>pieces;
}

/** Whether the peer may still send. */
@inline
function mayUpdateWindow(t: Tcb): bool {
  const state: u32 = t.state;
  return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2;
}

/** Tells the peer when reading has opened the window by half the buffer or two segments (RFC 9293 §3.8.6.2.2). */
function windowUpdate(t: Tcb): void {
  if (!mayUpdateWindow(t)) return;
  // What the window field can say is all that the peer would learn of.
  const free = min<u32>(t.rcvBuf > t.rcvQBytes ? t.rcvBuf - t.rcvQBytes : 0, (<u32>0xffff) << t.rcvWscale);
  const gain = <i32>(t.rcvNxt + free - t.rcvAdv);
  if (gain > 0 && <u32>gain >= min<u32>(t.rcvBuf >> 1, (<u32>t.rcvMss) << 1)) ackSend(t);
}

/** Sends a FIN behind what is queued; receiving goes on. */
export function shutdown(handle: i32): i32 {
  const at = connection(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  if (t.state == TCP_SYN_SENT || t.state == TCP_CLOSE) return -ENOTCONN;
  closeSend(t);
  return 0;
}

/** Gives up the handle. Queued data and the FIN are still sent; unread data makes it an RST. */
export function close(handle: i32): i32 {
  const at = fromHandle(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  if (t.state == TCP_LISTEN) listenerClose(t);
  else closeConnection(t);
  return 0;
}

/** Gives up the handle and the connection, with an RST. */
export function abort(handle: i32): i32 {
  const at = fromHandle(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  if (t.state == TCP_LISTEN) listenerClose(t);
  else connectionReset(t);
  return 0;
}

@inline
function setFlag(t: Tcb, flag: u32, value: f64): i32 {
  if (value != 0) t.flags |= flag;
  else t.flags &= ~flag;
  return 0;
}

/** Sets an OPT_…; a listener's options are those of its connections. */
export function setOption(handle: i32, option: u32, value: f64): i32 {
  const at = fromHandle(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  const c = coldOf(t);
  if (!(value >= 0 && value <= VALUE_MOST)) return -EINVAL;
  switch (option) {
    case OPT_NODELAY:
      setFlag(t, FL_NODELAY, value);
      if (t.state != TCP_LISTEN) tcpOutput(t);
      return 0;
    case OPT_KEEPALIVE:
      setFlag(t, FL_KEEPALIVE, value);
      keepaliveStart(t);
      return 0;
    case OPT_KEEPALIVE_TIME_US:
      c.keepTimeMs = <u32>min<f64>(max<f64>(value / 1000, 1), 0x7fffffff);
      keepaliveStart(t);
      return 0;
    case OPT_SND_BUF_BYTES:
      t.sndBuf = <u32>min(max(value, BUFFER_LEAST), BUFFER_MOST);
      return 0;
    case OPT_RCV_BUF_BYTES:
      t.rcvBuf = <u32>min(max(value, BUFFER_LEAST), BUFFER_MOST);
      c.flags2 |= F2_RCVBUF_LOCK;
      if (t.state != TCP_LISTEN) windowUpdate(t);
      return 0;
    case OPT_USER_TIMEOUT_US:
      c.userTimeoutMs = value == 0 ? 0 : <u32>min<f64>(max<f64>(value / 1000, 1), 0x7fffffff);
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
      if (t.state != TCP_LISTEN && t.state != TCP_SYN_SENT && t.state != TCP_SYN_RECV) ccStart(t);
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
      c.reportsOff = ~(<u32>value) & REPORTS_ALL;
      return 0;
    case OPT_LINGER_US:
      c.lingerMs = value == VALUE_MOST ? 0 : <u32>min<f64>(Math.ceil(value / 1000), 0x7ffffffe) + 1;
      return 0;
  }
  return -ENOPROTOOPT;
}

/** An OPT_…'s value, or -errno. */
export function getOption(handle: i32, option: u32): f64 {
  const at = fromHandle(handle);
  if (!at) return -EBADF;
  const t = tcbAt(at);
  const c = coldOf(t);
  switch (option) {
    case OPT_NODELAY:
      return t.flags & FL_NODELAY ? 1 : 0;
    case OPT_KEEPALIVE:
      return t.flags & FL_KEEPALIVE ? 1 : 0;
    case OPT_KEEPALIVE_TIME_US:
      return <f64>(c.keepTimeMs ? c.keepTimeMs : load<u32>(CFG_KEEPALIVE_TIME_MS)) * 1000;
    case OPT_SND_BUF_BYTES:
      return t.sndBuf;
    case OPT_RCV_BUF_BYTES:
      return t.rcvBuf;
    case OPT_USER_TIMEOUT_US:
      return <f64>c.userTimeoutMs * 1000;
    case OPT_QUICKACK:
      return t.flags & FL_QUICKACK ? 1 : 0;
    case OPT_CONGESTION:
      return c.cc;
    case OPT_TOS:
      return c.tos;
    case OPT_TTL:
      return c.ttl;
    case OPT_REPORTS:
      return ~c.reportsOff & REPORTS_ALL;
    case OPT_URGENT_BYTES:
      return urgentLeft(t);
    case OPT_LINGER_US:
      return c.lingerMs ? <f64>(c.lingerMs - 1) * 1000 : VALUE_MOST;
  }
  return -ENOPROTOOPT;
}

/** Writes INFO_SIZE bytes about a connection or listener to `ptr`. */
export function info(handle: i32, ptr: u32): i32 {
  const at = fromHandle(handle);
  if (!at) return -EBADF;
  if (!inMemory(ptr, INFO_SIZE)) return -EFAULT;
  infoWrite(tcbAt(at), ptr);
  return 0;
}

/** The same by slot, whoever holds it: -EBADF for an empty slot, -EINVAL past the last one. */
export function connectionAt(index: u32, ptr: u32): i32 {
  const at = slotAt(index);
  if (!at) return -EINVAL;
  if (tcbAt(at).state == 0) return -EBADF;
  if (!inMemory(ptr, INFO_SIZE)) return -EFAULT;
  infoWrite(tcbAt(at), ptr);
  return 0;
}
