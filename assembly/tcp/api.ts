// Socket calls of the application. Results ≥ 0 are fine, negative ones are -errno; arguments are checked in every
// build. Calls may come from inside an inline callback, for any handle.

import {
  CFG_CONGESTION,
  CFG_FAST_OPEN,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  EFAULT,
  EINVAL,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
  ENOTCONN,
  EPIPE,
  FAST_OPEN_CLIENT,
  IOV_ADDR,
  IOV_LEN,
  IOV_SIZE,
  SEND_MORE,
  SEND_OPEN,
  SEND_PUSH,
  SEND_RECORD,
  SOCK_FAST_OPEN,
  SOCK_INLINE,
  SOCK_V6ONLY,
  TCP_CLOSE,
  TCP_CLOSE_WAIT,
  TCP_ESTABLISHED,
  TCP_LISTEN,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
} from '../abi/layout';
import { INFO_SIZE } from '../abi/info';
import { isOurs } from '../ip/interface';
import { dstGet, dstMtu, dstSource } from '../ip/route';
import { zbufCheck, zbufHand } from '../zbuf/zbuf';
import { closeConnection, closeSend, connectionReset } from './close';
import { enlist } from './events';
import { fastOpenBytes, fastOpenCookie } from './fastopen';
import { flowTaken } from './flow';
import { fromHandle, listenerSlotAlloc, placeOf, slotAlloc, slotMissing, slotRelease, slotTotal } from './handle';
import { parkedImage } from './park';
import { connectionInit, synStart } from './handshake';
import { infoWrite } from './info';
import { acceptTake, isAnyAddress, listenerAdd, listenerClose, listenerTaken } from './listen';
import { tcpOutput, wantOutput } from './output';
import { portChoose } from './port';
import { rcvqTake, takenAddr, takenLen } from './recvq';
import { sendqAppend, sendqHasRoom, sendqMark, sendqMostPieces, sendqStarved, sendqUndo } from './sendq';
import { urgentQueued } from './urgent';
import { windowUpdate } from './sockopt';
import {
  F2_FAST_OPEN,
  F2_HOLD,
  F2_MORE,
  F2_V6ONLY,
  FL_ACK_NOW,
  FL_DATA_SIGNALLED,
  FL_FIN_QUEUED,
  FL_FIN_RCVD,
  FL_INLINE,
  FL_IN_EVENTS,
  FL_WRITE_WANTED,
  Tcb,
  addressesOf,
  backlogOf,
  coldOf,
  tcbAt,
} from './tcb';

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

/** Why there is nothing behind a handle. -ENOBUFS: its connection is parked, and every slot is busy at the moment. */
@inline
function badHandle(): i32 {
  return slotMissing ? -ENOBUFS : -EBADF;
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
  backlogOf(l).backlog = max(backlog, 1);
  coldOf(l).cc = <u8>load<u32>(CFG_CONGESTION);
  listenerAdd(l);
  return l.handle;
}

/** A handle of the next established connection, or -EAGAIN. */
export function accept(listener: i32): i32 {
  const at = fromHandle(listener);
  if (!at) return badHandle();
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
  if (localPort == 0 ? !portChoose(t) : flowTaken(addressesOf(t), t.ports)) {
    slotRelease(t);
    return localPort == 0 ? -EADDRNOTAVAIL : -EADDRINUSE;
  }
  if (flags & SOCK_INLINE) t.flags |= FL_INLINE;
  if (flags & SOCK_FAST_OPEN && load<u32>(CFG_FAST_OPEN) & FAST_OPEN_CLIENT) coldOf(t).flags2 |= F2_FAST_OPEN;
  connectionInit(t);
  synStart(t);
  return t.handle;
}

/** Bytes of data that a SYN to the host at `addr` may carry (SOCK_FAST_OPEN); -EAGAIN: its cookie must be asked for first. */
export function fastOpenRoom(addr: u32): i32 {
  if (!inMemory(addr, 16)) return -EFAULT;
  const dst = dstGet(addr);
  if (!dst) return -ENETUNREACH;
  return fastOpenCookie(addr) < 0 ? -EAGAIN : <i32>fastOpenBytes(addr, dstMtu(dst));
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
  if (!at) return badHandle();
  const t = tcbAt(at);
  const error = sendError(t);
  if (error) return error;
  if (len == 0) return 0;
  const queued = sendQueue(t, addr, len);
  if (queued > 0) tcpOutput(t);
  return queued;
}

/** The same with SEND_… flags. */
export function sendWith(handle: i32, addr: u32, len: u32, flags: u32): i32 {
  const at = connection(handle);
  if (!at) return badHandle();
  const t = tcbAt(at);
  const error = sendError(t);
  if (error) return error;
  if (len == 0) return 0;
  const queued = sendQueue(t, addr, len);
  if (queued <= 0) return queued;
  if (flags & (SEND_MORE | SEND_OPEN)) coldOf(t).flags2 |= flags & SEND_MORE ? F2_MORE | F2_HOLD : F2_MORE;
  if (flags & (SEND_RECORD | SEND_PUSH)) sendqMark(t, flags);
  tcpOutput(t);
  return queued;
}

/**
 * The same, and what is queued now is urgent up to its last byte (RFC 9293 §3.8.5). For old applications: middleboxes
 * clear the flag, and receivers disagree about what it means (RFC 6093 §3).
 */
export function sendUrgent(handle: i32, addr: u32, len: u32): i32 {
  const at = connection(handle);
  if (!at) return badHandle();
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
  if (!at) return badHandle();
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
  if (!at) return badHandle();
  const t = tcbAt(at);
  if (maxPieces == 0 || maxPieces > IOV_MOST) return -EINVAL;
  if (!inMemory(iov, maxPieces * IOV_SIZE)) return -EFAULT;
  let pieces: u32 = 0;
  while (pieces < maxPieces && rcvqTake(t)) {
    zbufHand(takenAddr);
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
  windowUpdate(t);
  return <i32>pieces;
}

/** Sends a FIN behind what is queued; receiving goes on. */
export function shutdown(handle: i32): i32 {
  const at = connection(handle);
  if (!at) return badHandle();
  const t = tcbAt(at);
  if (t.state == TCP_SYN_SENT || t.state == TCP_CLOSE) return -ENOTCONN;
  closeSend(t);
  return 0;
}

/** Gives up the handle. Queued data and the FIN are still sent; unread data makes it an RST. */
export function close(handle: i32): i32 {
  const at = fromHandle(handle);
  if (!at) return badHandle();
  const t = tcbAt(at);
  if (t.state == TCP_LISTEN) listenerClose(t);
  else closeConnection(t);
  return 0;
}

/** Gives up the handle and the connection, with an RST. */
export function abort(handle: i32): i32 {
  const at = fromHandle(handle);
  if (!at) return badHandle();
  const t = tcbAt(at);
  if (t.state == TCP_LISTEN) listenerClose(t);
  else connectionReset(t);
  return 0;
}

/** Writes INFO_SIZE bytes about a connection or listener to `ptr`. */
export function info(handle: i32, ptr: u32): i32 {
  const at = fromHandle(handle);
  if (!at) return badHandle();
  if (!inMemory(ptr, INFO_SIZE)) return -EFAULT;
  infoWrite(tcbAt(at), ptr);
  return 0;
}

/** The same by index, whoever holds it: -EBADF where there is nothing, -EINVAL past the last one. */
export function connectionAt(index: u32, ptr: u32): i32 {
  if (index >= slotTotal()) return -EINVAL;
  const where = placeOf(index);
  if (where == 0) return -EBADF;
  const t = where & 1 ? parkedImage(where & ~1) : tcbAt(where);
  if (t.state == 0) return -EBADF;
  if (!inMemory(ptr, INFO_SIZE)) return -EFAULT;
  infoWrite(t, ptr);
  return 0;
}
