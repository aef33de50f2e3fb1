// Sends one datagram: into the transmit ring, or not at all. Nothing is queued here.

import { CNT_UdpOutDatagrams, CNT_UdpSndbufErrors } from '../abi/counters';
import {
  CFG_FLAGS,
  CFGF_TX_NO_CSUM,
  CTL_TX_SIZE,
  EACCES,
  EAGAIN,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
  IOV_ADDR,
  IOV_LEN,
  IOV_SIZE,
} from '../abi/layout';
import { count } from '../abi/runtime';
import { fragmentsOutput, fragmentsRoom } from '../ip/fragmentation';
import { isBroadcastRaw, linkMtu } from '../ip/interface';
import { frameBegin, frameL4, framePayload, ipOutput } from '../ip/output';
import { DST_BROADCAST, dstCurrent, dstPathMtu } from '../ip/route';
import { fold, pseudo4, pseudo6, sum16, sumAppend } from '../wire/checksum';
import { IPV4_BROADCAST, IPV4_HEADER, isMapped, mappedRaw } from '../wire/ipv4';
import { IPV6_HEADER } from '../wire/ipv6';
import { PROTO_UDP, UDP_HEADER, setUdp, setUdpChecksum } from '../wire/udp';
import { udpEnlist } from './events';
import { UF_BROADCAST, UdpSocket } from './socket';

/** Header of a datagram that goes in fragments. */
const HEADER: u32 = <u32>memory.data(8, 8);

/** Destination slot of `remote`, for which `hint` may be it, or DST_BROADCAST, or -errno. */
export function datagramDestination(s: UdpSocket, remote: u32, hint: u32): i32 {
  if (isMapped(remote)) {
    const raw = mappedRaw(remote);
    if (raw == IPV4_BROADCAST || isBroadcastRaw(raw)) return s.flags & UF_BROADCAST ? DST_BROADCAST : -EACCES;
  }
  const dst = dstCurrent(hint == DST_BROADCAST ? 0 : hint, remote);
  return dst == 0 ? -ENETUNREACH : <i32>dst;
}

/** There is no room now for `need` descriptors: EV_WRITE follows when there is. */
function later(s: UdpSocket, need: u32): i32 {
  count(CNT_UdpSndbufErrors);
  s.writeNeed = need;
  udpEnlist(s);
  return -EAGAIN;
}

/** UDP's checksum over the header at `header` and the pieces of the iov. */
function fillChecksum(header: u32, iov: u32, pieces: u32, total: u32, addrs: u32): void {
  const len = UDP_HEADER + total;
  let acc = isMapped(addrs)
    ? pseudo4(mappedRaw(addrs), mappedRaw(addrs + 16), PROTO_UDP, len)
    : pseudo6(addrs, addrs + 16, PROTO_UDP, len);
  acc = sum16(header, UDP_HEADER, acc);
  let odd = false;
  for (let i: u32 = 0; i < pieces; i++) {
    const at = iov + i * IOV_SIZE;
    const pieceLen = load<u32>(at + IOV_LEN);
    acc = sumAppend(acc, odd, load<u32>(at + IOV_ADDR), pieceLen);
    if (pieceLen & 1) odd = !odd;
  }
  setUdpChecksum(header, fold(acc));
}

function sendFragments(
  s: UdpSocket,
  ports: u32,
  iov: u32,
  pieces: u32,
  total: u32,
  addrs: u32,
  dst: u32,
  mtu: u32,
): i32 {
  const need = fragmentsRoom(isMapped(addrs), UDP_HEADER + total, pieces, mtu);
  // No waiting would help.
  if (need > load<u32>(CTL_TX_SIZE)) return -EMSGSIZE;
  setUdp(HEADER, ports, UDP_HEADER + total);
  if (!(load<u32>(CFG_FLAGS) & CFGF_TX_NO_CSUM)) fillChecksum(HEADER, iov, pieces, total, addrs);
  const service = s.tos | ((<u32>s.ttl) << 8);
  const error = fragmentsOutput(dst, addrs, PROTO_UDP, HEADER, UDP_HEADER, iov, pieces, total, mtu, service);
  if (error == -EAGAIN) return later(s, need);
  if (error == -ENOBUFS) count(CNT_UdpSndbufErrors);
  return error;
}

/**
 * Sends the `pieces` of `iov`, `total` bytes that have been checked, from and to `addrs`, to where `dst` leads. `total`, or
 * -EAGAIN and EV_WRITE later; -EMSGSIZE when the transmit ring could never hold it.
 */
export function datagramSend(s: UdpSocket, ports: u32, iov: u32, pieces: u32, total: u32, addrs: u32, dst: u32): i32 {
  const mtu = dst == DST_BROADCAST ? linkMtu : dstPathMtu(dst);
  const whole = (isMapped(addrs) ? IPV4_HEADER : IPV6_HEADER) + UDP_HEADER + total;
  if (whole > mtu) {
    const error = sendFragments(s, ports, iov, pieces, total, addrs, dst, mtu);
    if (error != 0) return error;
  } else {
    const f = frameBegin(pieces);
    if (f == 0) return later(s, pieces + 1);
    setUdp(frameL4(f), ports, UDP_HEADER + total);
    for (let i: u32 = 0; i < pieces; i++) {
      const at = iov + i * IOV_SIZE;
      if (load<u32>(at + IOV_LEN) != 0) framePayload(load<u32>(at + IOV_ADDR), load<u32>(at + IOV_LEN));
    }
    if (!ipOutput(dst, addrs, PROTO_UDP, UDP_HEADER, total, s.tos | ((<u32>s.ttl) << 8))) return -ENETUNREACH;
  }
  count(CNT_UdpOutDatagrams);
  return <i32>total;
}
