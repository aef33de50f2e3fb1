// IPv6 input (RFC 8200): the fixed header, the extension headers, then the protocol.

import {
  CNT_Ip6InAddrErrors,
  CNT_Ip6InDelivers,
  CNT_Ip6InHdrErrors,
  CNT_Ip6InMcastPkts,
  CNT_Ip6InReceives,
  CNT_Ip6InTruncatedPkts,
  CNT_Ip6InUnknownProtos,
  CNT_Ip6ReasmOKs,
  CNT_Ip6ReasmReqds,
  CNT_TcpExtCsumPartial,
  CNT_TcpInCsumErrors,
  CNT_TcpInErrs,
} from '../abi/counters';
import { CFG_FLAGS, CFGF_LOOPBACK, CFGF_RX_TRUST, RXF_L4_CSUM_OK, RXF_L4_CSUM_PARTIAL } from '../abi/layout';
import { count } from '../abi/runtime';
import { tcpInput } from '../tcp/input';
import { fold, pseudo6, sum16 } from '../wire/checksum';
import { ICMPV6_UNKNOWN_NEXT } from '../wire/icmpv6';
import { PROTO_TCP } from '../wire/ipv4';
import {
  IPV6_DST,
  IPV6_FRAGMENT_HEADER,
  IPV6_HEADER,
  IPV6_NEXT,
  IPV6_SRC,
  NEXT_FRAGMENT,
  NEXT_ICMPV6,
  NEXT_NONE,
  ipv6Class,
  ipv6IsAtomic,
  ipv6IsLoopback,
  ipv6IsMulticast,
  ipv6IsUnspecified,
  ipv6Next,
  ipv6Payload,
  ipv6Version,
} from '../wire/ipv6';
import { TCP_CHECKSUM, tcpFits } from '../wire/tcp';
import { PROTO_UDP } from '../wire/udp';
import { udpInput } from '../udp/input';
import { zbufUnref } from '../zbuf/zbuf';
import { setIpEcn } from './arrival';
import { extAnswer, extAt, extCode, extNext, extPointer, extensionsWalk } from './extension';
import { fragment6 } from './fragment';
import { icmp6Input, icmp6Problem } from './icmp6';
import { isGroup, isOurs } from './interface';

/** Addresses of the packet being processed, as 16 bytes each: local, remote. */
const ADDRS: u32 = <u32>memory.data(32, 16);

/** `room`: bytes from the header to the end of the frame, which Ethernet may have padded. `linkGroup`: sent to a group's MAC. */
export function ipv6Input(ip: u32, room: u32, flags: u32, linkGroup: bool): void {
  count(CNT_Ip6InReceives);
  if (room < IPV6_HEADER) {
    count(CNT_Ip6InTruncatedPkts);
    return;
  }
  if (ipv6Version(ip) != 6) {
    count(CNT_Ip6InHdrErrors);
    return;
  }
  // A payload length of 0 would be a jumbogram (RFC 2675), which no link of ours carries.
  const end = ip + IPV6_HEADER + ipv6Payload(ip);
  if (end > ip + room) {
    count(CNT_Ip6InTruncatedPkts);
    return;
  }
  const src = ip + IPV6_SRC;
  const dst = ip + IPV6_DST;
  const multicast = ipv6IsMulticast(dst);
  if (multicast ? !isGroup(dst) : linkGroup || !isOurs(dst)) {
    count(CNT_Ip6InAddrErrors);
    return;
  }
  if (ipv6IsMulticast(src) || ipv6IsLoopback(src) || (isOurs(src) && !(load<u32>(CFG_FLAGS) & CFGF_LOOPBACK))) {
    count(CNT_Ip6InAddrErrors);
    return;
  }
  if (multicast) count(CNT_Ip6InMcastPkts);
  memory.copy(ADDRS, dst, 16);
  memory.copy(ADDRS + 16, src, 16);
  if (!extensionsWalk(ipv6Next(ip), ip + IPV6_HEADER, end, multicast, true)) {
    count(CNT_Ip6InHdrErrors);
    if (extAnswer) icmp6Problem(ip, end - ip, extCode, extPointer - ip, ADDRS);
    return;
  }
  let next = extNext;
  let at = extAt;
  if (next == NEXT_FRAGMENT) {
    if (!ipv6IsAtomic(at)) {
      const whole = fragment6(ip, at, end, ADDRS);
      if (whole == 0) return;
      // What the link says of a fragment's checksum it cannot know.
      reassembled(whole, multicast);
      zbufUnref(whole);
      return;
    }
    // A whole packet, whatever fragments have its identification (RFC 6946 §4).
    count(CNT_Ip6ReasmReqds);
    count(CNT_Ip6ReasmOKs);
    if (!extensionsWalk(load<u8>(at), at + IPV6_FRAGMENT_HEADER, end, multicast, false) || extNext == NEXT_FRAGMENT) {
      count(CNT_Ip6InHdrErrors);
      return;
    }
    next = extNext;
    at = extAt;
  }
  deliver(ip, next, at, end, flags, multicast);
}

/** A packet that came in fragments: none of its headers may be a fragment header again. */
function reassembled(ip: u32, multicast: bool): void {
  const end = ip + IPV6_HEADER + ipv6Payload(ip);
  const fine = extensionsWalk(ipv6Next(ip), ip + IPV6_HEADER, end, multicast, true);
  if (fine && extNext != NEXT_FRAGMENT) {
    deliver(ip, extNext, extAt, end, 0, multicast);
    return;
  }
  count(CNT_Ip6InHdrErrors);
  if (!fine && extAnswer) icmp6Problem(ip, end - ip, extCode, extPointer - ip, ADDRS);
}

function deliver(ip: u32, next: u32, at: u32, end: u32, flags: u32, multicast: bool): void {
  setIpEcn(ipv6Class(ip));
  const len = end - at;
  if (next == PROTO_TCP) {
    count(CNT_Ip6InDelivers);
    // RFC 9293 §3.9.2.3: a connection is between two hosts.
    if (multicast || ipv6IsUnspecified(ADDRS + 16)) return;
    tcp6Input(ip, at, len, flags);
  } else if (next == PROTO_UDP) {
    count(CNT_Ip6InDelivers);
    udpInput(ip, at, len, flags, ADDRS, multicast);
  } else if (next == NEXT_ICMPV6) {
    count(CNT_Ip6InDelivers);
    icmp6Input(ip, at, len, ADDRS, multicast);
  } else if (next != NEXT_NONE) {
    count(CNT_Ip6InUnknownProtos);
    if (!multicast) icmp6Problem(ip, end - ip, ICMPV6_UNKNOWN_NEXT, <u32>IPV6_NEXT, ADDRS);
  }
}

function tcp6Input(ip: u32, l4: u32, l4Len: u32, flags: u32): void {
  if (!tcpFits(l4, l4Len)) {
    count(CNT_TcpInErrs);
    return;
  }
  const trusted = (flags & RXF_L4_CSUM_OK) != 0 || (load<u32>(CFG_FLAGS) & CFGF_RX_TRUST) != 0;
  if (!trusted && !sumFine(l4, l4Len, flags)) {
    count(CNT_TcpInCsumErrors);
    count(CNT_TcpInErrs);
    return;
  }
  tcpInput(ip, l4, l4Len, flags, ADDRS);
}

/** As tcpSumFine() of input.ts. */
function sumFine(l4: u32, l4Len: u32, flags: u32): bool {
  const pseudo = pseudo6(ADDRS, ADDRS + 16, PROTO_TCP, l4Len);
  if (fold(sum16(l4, l4Len, pseudo)) == 0xffff) return true;
  if ((flags & RXF_L4_CSUM_PARTIAL) == 0 || load<u16>(l4, TCP_CHECKSUM) != <u16>fold(pseudo)) return false;
  count(CNT_TcpExtCsumPartial);
  return true;
}
