// Fragments in (RFC 791 §3.2, RFC 8200 §4.5): what is wrong with one by itself, and what a whole datagram's header is.

import { CNT_Ip6ReasmFails, CNT_Ip6ReasmReqds, CNT_IpReasmFails, CNT_IpReasmReqds } from '../abi/counters';
import { count } from '../abi/runtime';
import { fold, sum16 } from '../wire/checksum';
import { ICMP_DATA, ICMP_REASSEMBLY_TIME, ICMP_TIME_EXCEEDED } from '../wire/icmp';
import {
  ICMPV6_BAD_HEADER,
  ICMPV6_DATA,
  ICMPV6_INCOMPLETE_CHAIN,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_REASSEMBLY_TIME,
  ICMPV6_TIME_EXCEEDED,
} from '../wire/icmpv6';
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_ID,
  IPV4_TOS,
  IPV4_TOTAL,
  PROTO_ICMP,
  PROTO_TCP,
  PROTO_UDP,
  ipv4FragmentOffset,
  ipv4HeaderBytes,
  ipv4MoreFragments,
  ipv4Proto,
  ipv4Tos,
  ipv4Total,
  ipv4Version,
} from '../wire/ipv4';
import {
  IPV6_FRAGMENT_HEADER,
  IPV6_FRAGMENT_WORD,
  IPV6_HEADER,
  IPV6_NEXT,
  IPV6_PAYLOAD,
  IPV6_PAYLOAD_MAX,
  NEXT_ICMPV6,
  ipv6Class,
  ipv6FragmentId,
  ipv6FragmentOffset,
  ipv6IsMulticast,
  ipv6MoreFragments,
  ipv6Payload,
} from '../wire/ipv6';
import { tcpFits } from '../wire/tcp';
import { zbufUnref } from '../zbuf/zbuf';
import { extAt, extCut, extNext, extensionsWalk } from './extension';
import { icmpError } from './icmp';
import { icmp6Error } from './icmp6';
import { fragmentKeep, wholeEcn, wholeHeader, wholeNext, wholeTotal } from './reassembly';

const IPV4_TOTAL_MAX: u32 = 65535;
const UDP_HEADER: u32 = 8;

// ECN field of a packet, and sets of them, bit n for the field n (RFC 3168 §5).
const ECN_CE: u32 = 3;
const ECN_MASK: u32 = 3;
const SET_NOT_ECT: u32 = 1;
const SET_CE: u32 = 8;

/** [at, at + len) holds the header of the protocol whole, as far as we know the protocol. */
function headerWhole(proto: u32, at: u32, len: u32): bool {
  if (proto == PROTO_TCP) return tcpFits(at, len);
  if (proto == PROTO_UDP) return len >= UDP_HEADER;
  if (proto == PROTO_ICMP) return len >= ICMP_DATA;
  if (proto == NEXT_ICMPV6) return len >= ICMPV6_DATA;
  return true;
}

/**
 * RFC 3168 §5.3: a mark of one fragment is the datagram's, unless another says that its sender would not understand;
 * then the datagram is lost, which it does. The ECN field of the datagram whose first fragment had `ecn`, or -1.
 */
function combinedEcn(ecn: u32): i32 {
  if (!(wholeEcn & SET_CE)) return <i32>ecn;
  return wholeEcn & SET_NOT_ECT ? -1 : <i32>ECN_CE;
}

/** A whole datagram that cannot be: too long, or marked and not capable. */
function refuse(whole: u32, fails: u32): u32 {
  count(fails);
  zbufUnref(whole);
  return 0;
}

/**
 * A fragment whose header has been checked; `addrs`: local address, remote address. The IPv4 packet that it completes,
 * a reference to which is the caller's, or 0.
 */
export function fragment4(ip: u32, addrs: u32): u32 {
  count(CNT_IpReasmReqds);
  const header = ipv4HeaderBytes(ip);
  const at = ip + header;
  const len = ipv4Total(ip) - header;
  const offset = ipv4FragmentOffset(ip);
  const more = ipv4MoreFragments(ip);
  const proto = ipv4Proto(ip);
  const wrong =
    len == 0 ||
    (more && (len & 7) != 0) ||
    header + offset + len > IPV4_TOTAL_MAX ||
    // RFC 1858 §3, RFC 3128: what filters look at lies in the first fragment, and no other may overwrite it.
    (offset == 0 && !headerWhole(proto, at, len));
  if (wrong) {
    count(CNT_IpReasmFails);
    return 0;
  }
  const key = <u32>load<u16>(ip, IPV4_ID) | (proto << 16);
  const ecn = ipv4Tos(ip) & ECN_MASK;
  const whole = fragmentKeep(addrs, key, ip, header, at, len, offset, more, ecn);
  if (whole == 0) return 0;
  const bytes = wholeHeader + wholeTotal;
  const tos = ipv4Tos(whole);
  const mark = combinedEcn(tos & ECN_MASK);
  if (bytes > IPV4_TOTAL_MAX || mark < 0) return refuse(whole, CNT_IpReasmFails);
  store<u16>(whole, bswap<u16>(<u16>bytes), IPV4_TOTAL);
  store<u16>(whole, 0, IPV4_FRAGMENT);
  store<u8>(whole, <u8>((tos & ~ECN_MASK) | <u32>mark), IPV4_TOS);
  store<u16>(whole, 0, IPV4_CHECKSUM);
  store<u16>(whole, <u16>~fold(sum16(whole, wholeHeader, 0)), IPV4_CHECKSUM);
  return whole;
}

/**
 * As fragment4() for IPv6: the fragment header is at `at`, the packet ends at `end`. RFC 8200 §4.5 says what its sender
 * is told.
 */
export function fragment6(ip: u32, at: u32, end: u32, addrs: u32): u32 {
  count(CNT_Ip6ReasmReqds);
  const multicast = ipv6IsMulticast(addrs);
  const payload = at + IPV6_FRAGMENT_HEADER;
  const len = end - payload;
  const offset = ipv6FragmentOffset(at);
  const more = ipv6MoreFragments(at);
  let code = ICMPV6_BAD_HEADER;
  let pointer: u32 = 0;
  let wrong = true;
  if (more && (len & 7) != 0) pointer = <u32>IPV6_PAYLOAD;
  else if (at - ip - IPV6_HEADER + offset + len > IPV6_PAYLOAD_MAX) pointer = at + IPV6_FRAGMENT_WORD - ip;
  else if (offset == 0 && !chainWhole(load<u8>(at), payload, end, multicast)) code = ICMPV6_INCOMPLETE_CHAIN;
  else wrong = false;
  if (wrong || len == 0) {
    count(CNT_Ip6ReasmFails);
    if (wrong && !multicast) icmp6Error(ICMPV6_PARAMETER_PROBLEM, code, pointer, ip, end - ip, addrs);
    return 0;
  }
  const ecn = ipv6Class(ip) & ECN_MASK;
  const whole = fragmentKeep(addrs, ipv6FragmentId(at), ip, at - ip, payload, len, offset, more, ecn);
  if (whole == 0) return 0;
  const bytes = wholeHeader + wholeTotal - IPV6_HEADER;
  const first = ipv6Class(whole) & ECN_MASK;
  const mark = combinedEcn(first);
  if (bytes > IPV6_PAYLOAD_MAX || mark < 0) return refuse(whole, CNT_Ip6ReasmFails);
  store<u16>(whole, bswap<u16>(<u16>bytes), IPV6_PAYLOAD);
  // Whoever said that a fragment header follows says what followed that.
  let said = whole + <u32>IPV6_NEXT;
  for (let p = whole + IPV6_HEADER; p < whole + wholeHeader; p += (<u32>load<u8>(p, 1) + 1) << 3) said = p;
  store<u8>(said, <u8>wholeNext);
  // The traffic class is in the bits 4 to 11.
  store<u8>(whole, <u8>((<u32>load<u8>(whole, 1) & 0xcf) | ((<u32>mark) << 4)), 1);
  return whole;
}

/** The header chain behind a fragment header ends in this fragment, upper layer included (RFC 8200 §4.5, RFC 7112). */
function chainWhole(next: u32, at: u32, end: u32, multicast: bool): bool {
  if (!extensionsWalk(next, at, end, multicast, false)) return !extCut;
  return headerWhole(extNext, extAt, end - extAt);
}

/** The sender of the first fragment at `ip` learns that the others have not come. */
export function fragmentTimeout(ip: u32, addrs: u32): void {
  if (ipv4Version(ip) == 4) icmpError(ICMP_TIME_EXCEEDED, ICMP_REASSEMBLY_TIME, ip, ipv4Total(ip), addrs);
  else if (!ipv6IsMulticast(addrs)) {
    icmp6Error(ICMPV6_TIME_EXCEEDED, ICMPV6_REASSEMBLY_TIME, 0, ip, IPV6_HEADER + ipv6Payload(ip), addrs);
  }
}
