// UDP calls of the application. Results ≥ 0 are fine, negative ones are -errno; arguments are checked in every build. Calls
// may come from inside an inline callback, for any handle.

import {
  CFG_UDP_RCV_BUF_BYTES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  EDESTADDRREQ,
  EFAULT,
  EINVAL,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
  ENOTCONN,
  IOV_ADDR,
  IOV_LEN,
  IOV_SIZE,
  SOCK_INLINE,
  SOCK_REUSE,
  SOCK_V6ONLY,
  UDPD_SIZE,
  UDPI_SIZE,
  UDPI_drops,
  UDPI_local,
  UDPI_local_port,
  UDPI_rcv_bytes,
  UDPI_rcv_datagrams,
  UDPI_remote,
  UDPI_remote_port,
  UDP_MAX_PAYLOAD4,
  UDP_MAX_PAYLOAD6,
  UDP_MAX_PIECES,
} from '../abi/layout';
import { inMemory } from '../abi/runtime';
import { isOurs, sourceFor } from '../ip/interface';
import { DST_BROADCAST, dstSource } from '../ip/route';
import { isAnyAddress } from '../tcp/listen';
import { isMapped } from '../wire/ipv4';
import { zbufCheck } from '../zbuf/zbuf';
import { udpFromHandle, udpSlotAlloc, udpSlotRelease } from './handle';
import { datagramDestination, datagramSend } from './output';
import { udpQueueHand, udpQueuePurge } from './recvq';
import {
  UF_ANY,
  UF_ANY_V4,
  UF_INLINE,
  UF_REUSE,
  UF_SIGNALLED,
  UF_V6ONLY,
  UdpSocket,
  isConnected,
  udpAddresses,
  udpAt,
  udpPort,
} from './socket';
import {
  udpFlowFind,
  udpFlowInsert,
  udpFlowRemove,
  udpPortChoose,
  udpPortInsert,
  udpPortRemove,
  udpTaken,
} from './table';

/** Datagrams of one udpRecv(). */
const RECV_MOST: u32 = 1024;

/** 0.0.0.0, mapped. */
const ANY_V4: u64 = 0x00000000ffff0000;

/** From and to. */
const ADDRS: u32 = <u32>memory.data(32, 16);

/** Opens a socket, which is not bound. SOCK_… flags. Returns a handle, -ENOBUFS when there are as many as may be. */
export function udpOpen(flags: u32): i32 {
  const at = udpSlotAlloc();
  if (!at) return -ENOBUFS;
  const s = udpAt(at);
  if (flags & SOCK_INLINE) s.flags |= UF_INLINE;
  if (flags & SOCK_V6ONLY) s.flags |= UF_V6ONLY;
  if (flags & SOCK_REUSE) s.flags |= UF_REUSE;
  s.rcvBuf = load<u32>(CFG_UDP_RCV_BUF_BYTES);
  return s.handle;
}

/** Gives the socket a local address and port, any port with 0. */
function bind(s: UdpSocket, high: u64, low: u64, port: u32): i32 {
  const v6Only = (s.flags & UF_V6ONLY) != 0;
  if (port == 0) {
    port = udpPortChoose(high, low, v6Only);
    if (port == 0) return -EADDRINUSE;
  } else if (udpTaken(high, low, port, v6Only, (s.flags & UF_REUSE) != 0)) return -EADDRINUSE;
  s.local0 = high;
  s.local1 = low;
  s.ports = port;
  if (isAnyAddress(high, low)) s.flags |= low == 0 ? UF_ANY : UF_ANY | UF_ANY_V4;
  udpPortInsert(s);
  return 0;
}

/**
 * Binds to the 16-byte address at `addr` (:: or 0.0.0.0 mapped for any) and `port`, 0 for a free one of [CFG_PORT_LO,
 * CFG_PORT_HI]. :: takes IPv4 too, without SOCK_V6ONLY. -EINVAL when it is bound, -EADDRINUSE, -EADDRNOTAVAIL.
 */
export function udpBind(handle: i32, addr: u32, port: u32): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  if (!inMemory(addr, 16)) return -EFAULT;
  const s = udpAt(at);
  if (port > 65535 || s.ports != 0) return -EINVAL;
  const high = load<u64>(addr);
  const low = load<u64>(addr, 8);
  if (!isAnyAddress(high, low) && !isOurs(addr)) return -EADDRNOTAVAIL;
  return bind(s, high, low, port);
}

/** What a socket that was not bound is bound to when it is first used. */
@inline
function bindAny(s: UdpSocket): i32 {
  return s.ports != 0 ? 0 : bind(s, 0, 0, 0);
}

/** Why a socket cannot talk to an address of this family, or 0. */
function familyError(s: UdpSocket, v4: bool): i32 {
  if (s.ports == 0 || (s.flags & (UF_ANY | UF_ANY_V4)) == UF_ANY) return v4 && s.flags & UF_V6ONLY ? -ENETUNREACH : 0;
  return isMapped(udpAddresses(s)) == v4 ? 0 : -EINVAL;
}

/**
 * Puts where a datagram to the address at `remote` comes from and goes to into ADDRS. Returns its destination slot, for
 * which `hint` may be it, or -errno. `choose`: IP chooses the local address.
 */
function prepare(s: UdpSocket, remote: u32, hint: u32, choose: bool): i32 {
  if (isAnyAddress(load<u64>(remote), load<u64>(remote, 8))) return -EINVAL;
  const error = familyError(s, isMapped(remote));
  if (error) return error;
  const dst = datagramDestination(s, remote, hint);
  if (dst < 0) return dst;
  let source = udpAddresses(s);
  if (choose) {
    source = <u32>dst == DST_BROADCAST ? sourceFor(remote, remote) : dstSource(<u32>dst);
  }
  // An address that was taken back is no address to send from.
  if (!source || !isOurs(source)) return -EADDRNOTAVAIL;
  // One that connect() has chosen for a peer of the other family.
  if (isMapped(source) != isMapped(remote)) return -EINVAL;
  memory.copy(ADDRS + 16, remote, 16);
  memory.copy(ADDRS, source, 16);
  return dst;
}

/**
 * From now on the socket talks to this address and port alone, and is told of ICMP errors. It is bound before, if need be,
 * and keeps the local address that the route chooses. May be called again for another peer.
 */
export function udpConnect(handle: i32, addr: u32, port: u32): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  if (!inMemory(addr, 16)) return -EFAULT;
  if (port == 0 || port > 65535) return -EINVAL;
  const s = udpAt(at);
  // What was chosen for another peer does not bind this choice.
  const dst = prepare(s, addr, 0, s.ports == 0 || (s.flags & UF_ANY) != 0);
  if (dst < 0) return dst;
  const error = bindAny(s);
  if (error) return error;
  const ports = udpPort(s) | (port << 16);
  const other = udpFlowFind(ADDRS, ports);
  if (other != 0 && other != at) return -EADDRINUSE;
  udpFlowRemove(s);
  memory.copy(udpAddresses(s), ADDRS, 32);
  s.ports = ports;
  s.dst = dst;
  udpFlowInsert(s);
  return 0;
}

/** Ends the association with a peer; the socket stays bound. -ENOTCONN without one. */
export function udpDisconnect(handle: i32): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  const s = udpAt(at);
  if (!isConnected(s)) return -ENOTCONN;
  udpFlowRemove(s);
  s.ports = udpPort(s);
  s.remote0 = s.remote1 = 0;
  s.dst = 0;
  if (s.flags & UF_ANY) {
    s.local0 = 0;
    s.local1 = s.flags & UF_ANY_V4 ? ANY_V4 : 0;
  }
  return 0;
}

/**
 * Sends one datagram of the `n` pieces of the iov at `iov`, by reference, to the 16-byte address at `addr` and `port`, or to
 * the connected peer with `addr` 0. Its bytes, or -EAGAIN and EV_WRITE when there is room; nothing is queued. Larger than
 * the path takes, it goes in fragments; -EMSGSIZE above 65,507 bytes over IPv4 and 65,527 over IPv6.
 */
export function udpSend(handle: i32, iov: u32, n: u32, addr: u32, port: u32): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  const s = udpAt(at);
  if (n > UDP_MAX_PIECES) return -EINVAL;
  if (!inMemory(iov, n * IOV_SIZE)) return -EFAULT;
  let remote = addr;
  if (addr == 0) {
    if (!isConnected(s)) return -EDESTADDRREQ;
    remote = udpAddresses(s) + 16;
    port = s.ports >> 16;
  } else if (!inMemory(addr, 16)) return -EFAULT;
  else if (port == 0 || port > 65535) return -EINVAL;
  let total: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const entry = iov + i * IOV_SIZE;
    const len = load<u32>(entry + IOV_LEN);
    if (len == 0) continue;
    const checked = zbufCheck(load<u32>(entry + IOV_ADDR), len);
    if (checked) return checked;
    total += len;
  }
  if (total > (isMapped(remote) ? UDP_MAX_PAYLOAD4 : UDP_MAX_PAYLOAD6)) return -EMSGSIZE;
  const dst = prepare(s, remote, addr == 0 ? s.dst : 0, s.ports == 0 || isAnyAddress(s.local0, s.local1));
  if (dst < 0) return dst;
  const error = bindAny(s);
  if (error) return error;
  if (addr == 0) s.dst = dst;
  return datagramSend(s, udpPort(s) | (port << 16), iov, n, <u32>total, ADDRS, dst);
}

/** Writes descriptors, UDPD_…, of up to `most` received datagrams to `to`; one reference each goes to the caller. -EAGAIN without any. */
export function udpRecv(handle: i32, to: u32, most: u32): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  const s = udpAt(at);
  if (most == 0 || most > RECV_MOST) return -EINVAL;
  if (to == 0 || !inMemory(to, most * UDPD_SIZE)) return -EFAULT;
  let taken: u32 = 0;
  while (taken < most && udpQueueHand(s, to + taken * UDPD_SIZE)) taken++;
  if (!s.rcvQHead) s.flags &= ~UF_SIGNALLED;
  return taken == 0 ? -EAGAIN : <i32>taken;
}

/** Writes UDPI_SIZE bytes about the socket to `to`. */
export function udpInfo(handle: i32, to: u32): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  if (to == 0 || !inMemory(to, UDPI_SIZE)) return -EFAULT;
  const s = udpAt(at);
  memory.copy(to + UDPI_local, udpAddresses(s), 16);
  memory.copy(to + UDPI_remote, udpAddresses(s) + 16, 16);
  store<u32>(to + UDPI_local_port, udpPort(s));
  store<u32>(to + UDPI_remote_port, s.ports >> 16);
  store<u32>(to + UDPI_rcv_bytes, s.rcvQBytes);
  store<u32>(to + UDPI_rcv_datagrams, s.rcvQCount);
  store<u32>(to + UDPI_drops, s.drops);
  return 0;
}

/** Closes the socket; what it has not given to the application is dropped. */
export function udpClose(handle: i32): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  const s = udpAt(at);
  udpFlowRemove(s);
  udpPortRemove(s);
  udpQueuePurge(s);
  udpSlotRelease(s);
  return 0;
}
