// Sends datagrams that are larger than the path takes, in fragments (RFC 791 §3.2, RFC 8200 §4.5), payload by reference.
//
// An identification is a keyed hash of the addresses and the protocol plus a counter that few destinations share (RFC 7739
// §5.3): nobody else can tell the next one, and one destination does not see the same one again before all have been used.
// Only fragments have one, all other packets are atomic (RFC 6864 §4.1).

import {
  CNT_Ip6FragCreates,
  CNT_Ip6FragFails,
  CNT_Ip6FragOKs,
  CNT_Ip6OutNoRoutes,
  CNT_Ip6OutRequests,
  CNT_IpFragCreates,
  CNT_IpFragFails,
  CNT_IpFragOKs,
  CNT_IpOutNoRoutes,
  CNT_IpOutRequests,
} from '../abi/counters';
import { EAGAIN, ENETUNREACH, ENOBUFS, IOV_ADDR, IOV_LEN, IOV_SIZE, TXF_START } from '../abi/layout';
import { rand64, siphash24 } from '../abi/random';
import { count, countAdd } from '../abi/runtime';
import { IPV4_HEADER, IPV4_TTL_DEFAULT, isMapped, mappedRaw, setIpv4, setIpv4Fragment } from '../wire/ipv4';
import {
  IPV6_FRAGMENT_HEADER,
  IPV6_HEADER,
  IPV6_HOP_LIMIT_DEFAULT,
  NEXT_FRAGMENT,
  setIpv6,
  setIpv6Fragment,
} from '../wire/ipv6';
import { frameBegin, frameIpv6, frameL3, frameL4, framePayload, frameSend, txRoom } from './output';
import { dstCurrent } from './route';

const COUNTERS: u32 = 256;
const COUNTER_TABLE: u32 = <u32>memory.data(1024, 64);
/** Local address, remote address and protocol: what is hashed. */
const KEYED: u32 = <u32>memory.data(40, 8);

let key0: u64 = 0;
/** 0: there are no keys yet. */
let key1: u64 = 0;

function identification(addrs: u32, proto: u32): u32 {
  if (key1 == 0) {
    key0 = rand64();
    key1 = rand64() | 1;
  }
  memory.copy(KEYED, addrs, 32);
  store<u64>(KEYED, proto, 32);
  const hash = siphash24(key0, key1, KEYED, 40);
  const counter = COUNTER_TABLE + (<u32>(hash >> 32) % COUNTERS) * 4;
  store<u32>(counter, load<u32>(counter) + 1);
  return <u32>hash + load<u32>(counter);
}

/** Bytes of the datagram in each fragment but the last. */
@inline
function fragmentBytes(v4: bool, mtu: u32): u32 {
  return (mtu - (v4 ? IPV4_HEADER : IPV6_HEADER + IPV6_FRAGMENT_HEADER)) & ~7;
}

/** Transmit descriptors that a datagram of `total` bytes in `pieces` may take. */
export function fragmentsRoom(v4: bool, total: u32, pieces: u32, mtu: u32): u32 {
  const each = fragmentBytes(v4, mtu);
  return 2 * ((total + each - 1) / each) + 2 * pieces + 1;
}

// Where the payload goes on: entry of the iov, and bytes of it that have been used.
let entry: u32 = 0;
let used: u32 = 0;

/** Adds the next `len` bytes of the payload to the frame. */
function addPayload(len: u32): void {
  while (len != 0) {
    const take = min(len, load<u32>(entry + IOV_LEN) - used);
    if (take != 0) framePayload(load<u32>(entry + IOV_ADDR) + used, take);
    len -= take;
    used += take;
    if (used == load<u32>(entry + IOV_LEN)) {
      entry += IOV_SIZE;
      used = 0;
    }
  }
}

/** Writes the headers of a fragment in front of `len` bytes. Returns what of them is behind the IP header. */
function putHeaders(f: u32, addrs: u32, proto: u32, len: u32, service: u32, offset: u32, more: bool, id: u32): u32 {
  const hops = service >> 8;
  if (isMapped(addrs + 16)) {
    const ttl = hops ? hops : IPV4_TTL_DEFAULT;
    const ip = frameL3(f);
    setIpv4(ip, IPV4_HEADER + len, proto, mappedRaw(addrs), mappedRaw(addrs + 16), service & 0xff, ttl);
    setIpv4Fragment(ip, id, offset, more);
    return 0;
  }
  const limit = hops ? hops : IPV6_HOP_LIMIT_DEFAULT;
  setIpv6(frameIpv6(f), IPV6_FRAGMENT_HEADER + len, NEXT_FRAGMENT, addrs, addrs + 16, service & 0xff, limit);
  setIpv6Fragment(frameL4(f), proto, offset, more, id);
  return IPV6_FRAGMENT_HEADER;
}

/**
 * Sends the L4 header at `header`, checksum filled in, and the payload of the `pieces` of `iov` in packets of at most `mtu`
 * bytes; the rest as for ipOutput(). 0, or -EAGAIN when the transmit ring has no room for all of it now. -ENOBUFS and
 * -ENETUNREACH when what could be sent of it is worth nothing.
 */
export function fragmentsOutput(
  dst: u32,
  addrs: u32,
  proto: u32,
  header: u32,
  headerLen: u32,
  iov: u32,
  pieces: u32,
  payloadLen: u32,
  mtu: u32,
  service: u32,
): i32 {
  const v4 = isMapped(addrs + 16);
  const total = headerLen + payloadLen;
  if (txRoom() < fragmentsRoom(v4, total, pieces, mtu)) return -EAGAIN;
  const each = fragmentBytes(v4, mtu);
  const id = identification(addrs, proto);
  entry = iov;
  used = 0;
  let sent: u32 = 0;
  for (let offset: u32 = 0; offset < total; offset += each) {
    const len = min(each, total - offset);
    // Building one may have changed what is known of the next hop.
    dst = dstCurrent(dst, addrs + 16);
    const f = dst == 0 ? 0 : frameBegin(pieces);
    if (f == 0) {
      count(v4 ? CNT_IpFragFails : CNT_Ip6FragFails);
      if (dst == 0) count(v4 ? CNT_IpOutNoRoutes : CNT_Ip6OutNoRoutes);
      return dst == 0 ? -ENETUNREACH : -ENOBUFS;
    }
    const own = putHeaders(f, addrs, proto, len, service, offset, offset + len < total, id);
    const head = offset == 0 ? headerLen : 0;
    if (head != 0) memory.copy(frameL4(f) + own, header, head);
    addPayload(len - head);
    frameSend(dst, v4, own + head, len - head, TXF_START);
    sent++;
  }
  count(v4 ? CNT_IpOutRequests : CNT_Ip6OutRequests);
  count(v4 ? CNT_IpFragOKs : CNT_Ip6FragOKs);
  countAdd(v4 ? CNT_IpFragCreates : CNT_Ip6FragCreates, sent);
  return 0;
}
