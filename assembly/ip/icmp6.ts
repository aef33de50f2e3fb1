// ICMPv6 (RFC 4443): echo (CFGF_ICMP_ECHO), errors about what we have sent and about what comes; neighbour discovery is nd.ts.

import {
  CNT_Icmp6InDestUnreachs,
  CNT_Icmp6InEchos,
  CNT_Icmp6InErrors,
  CNT_Icmp6InMsgs,
  CNT_Icmp6InPktTooBigs,
  CNT_Icmp6OutDestUnreachs,
  CNT_Icmp6OutEchoReplies,
  CNT_Icmp6OutParmProblems,
  CNT_Icmp6OutTimeExcds,
} from '../abi/counters';
import { CFG_FLAGS, CFGF_ICMP_ECHO, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EPROTO } from '../abi/layout';
import { count } from '../abi/runtime';
import { tcpIcmpError } from '../tcp/icmp';
import { fold, pseudo6, sum16 } from '../wire/checksum';
import {
  ICMPV6_ADDRESS_UNREACH,
  ICMPV6_DATA,
  ICMPV6_DEST_UNREACH,
  ICMPV6_ECHO,
  ICMPV6_ECHO_REPLY,
  ICMPV6_NEIGHBOUR_ADVERT,
  ICMPV6_NEIGHBOUR_SOLICIT,
  ICMPV6_NO_ROUTE,
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_PORT_UNREACH,
  ICMPV6_PROHIBITED,
  ICMPV6_TIME_EXCEEDED,
  icmpv6Code,
  icmpv6Type,
  icmpv6Word,
  setIcmpv6,
} from '../wire/icmpv6';
import { PROTO_TCP } from '../wire/ipv4';
import { PROTO_UDP } from '../wire/udp';
import {
  IPV6_DST,
  IPV6_FRAGMENT_HEADER,
  IPV6_HEADER,
  IPV6_MIN_MTU,
  IPV6_SRC,
  NEXT_FRAGMENT,
  NEXT_ICMPV6,
  ipv6FragmentOffset,
  ipv6IsUnspecified,
  ipv6Next,
  ipv6Version,
} from '../wire/ipv6';
import { udpIcmpError } from '../udp/icmp';
import { extAt, extNext, extensionsWalk } from './extension';
import { isOurs, sourceFor } from './interface';
import { mayError } from './limit';
import { ndAdvert, ndSolicited } from './nd';
import { frameBegin, frameL4, framePayload, ipOutput } from './output';
import { dstGet, dstMtu } from './route';

/** Local address (ours, when the packet was sent to a group), remote address of an answer. */
const REPLY: u32 = <u32>memory.data(32, 16);
/** Local and remote address of a quoted packet. */
const QUOTED: u32 = <u32>memory.data(32, 16);

/** A message of `len` bytes; `addrs`: local address, remote address. */
export function icmp6Input(ip: u32, p: u32, len: u32, addrs: u32, multicast: bool): void {
  count(CNT_Icmp6InMsgs);
  if (len < ICMPV6_DATA || fold(sum16(p, len, pseudo6(addrs, addrs + 16, NEXT_ICMPV6, len))) != 0xffff) {
    count(CNT_Icmp6InErrors);
    return;
  }
  const type = icmpv6Type(p);
  if (type == ICMPV6_ECHO) {
    count(CNT_Icmp6InEchos);
    if (load<u32>(CFG_FLAGS) & CFGF_ICMP_ECHO) echo(p, len, addrs, multicast);
  } else if (type == ICMPV6_NEIGHBOUR_SOLICIT) ndSolicited(ip, p, len, addrs, multicast);
  else if (type == ICMPV6_NEIGHBOUR_ADVERT) ndAdvert(ip, p, len, multicast);
  else if (type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMETER_PROBLEM) error(p, len, type);
}

/** The reply's payload is the request's, by reference. */
function echo(p: u32, len: u32, addrs: u32, multicast: bool): void {
  if (ipv6IsUnspecified(addrs + 16)) return;
  let from = addrs;
  if (multicast) {
    // RFC 4443 §4.2: not from the group.
    const source = sourceFor(addrs + 16, addrs + 16);
    if (source == 0) return;
    memory.copy(REPLY, source, 16);
    memory.copy(REPLY + 16, addrs + 16, 16);
    from = REPLY;
  }
  const dst = dstGet(from + 16);
  if (dst == 0 || IPV6_HEADER + len > dstMtu(dst)) return;
  const f = frameBegin(1);
  if (f == 0) return;
  const l4 = frameL4(f);
  setIcmpv6(l4, ICMPV6_ECHO_REPLY, 0, icmpv6Word(p));
  if (len > ICMPV6_DATA) framePayload(p + ICMPV6_DATA, len - ICMPV6_DATA);
  if (ipOutput(dst, from, NEXT_ICMPV6, ICMPV6_DATA, len - ICMPV6_DATA, 0)) count(CNT_Icmp6OutEchoReplies);
}

/** An error about a packet that we have sent, if the quotation bears that out. */
function error(p: u32, len: u32, type: u32): void {
  if (type == ICMPV6_DEST_UNREACH) count(CNT_Icmp6InDestUnreachs);
  else if (type == ICMPV6_PACKET_TOO_BIG) count(CNT_Icmp6InPktTooBigs);
  const inner = p + ICMPV6_DATA;
  const end = p + len;
  if (inner + IPV6_HEADER > end || ipv6Version(inner) != 6 || !isOurs(inner + IPV6_SRC)) {
    count(CNT_Icmp6InErrors);
    return;
  }
  if (!extensionsWalk(ipv6Next(inner), inner + IPV6_HEADER, end, false, true)) return;
  let at = extAt;
  let proto = extNext;
  if (proto == NEXT_FRAGMENT) {
    // Only the first fragment has the ports.
    if (ipv6FragmentOffset(at) != 0) return;
    proto = load<u8>(at);
    at += IPV6_FRAGMENT_HEADER;
  }
  if ((proto != PROTO_TCP && proto != PROTO_UDP) || at + 8 > end) return;
  memory.copy(QUOTED, inner + IPV6_SRC, 16);
  memory.copy(QUOTED + 16, inner + IPV6_DST, 16);
  const code = icmpv6Code(p);
  const mtu = type == ICMPV6_PACKET_TOO_BIG ? max(icmpv6Word(p), IPV6_MIN_MTU) : 0;
  if (proto == PROTO_UDP) {
    // As Linux: all that concern the destination itself.
    const fatal = type == ICMPV6_PARAMETER_PROBLEM || (type == ICMPV6_DEST_UNREACH && code != ICMPV6_NO_ROUTE);
    udpIcmpError(QUOTED, at, mtu, errnoOf(type, code), fatal);
    return;
  }
  // RFC 9293 §3.9.2.2: the others are soft, parameter problems too.
  const hard = type == ICMPV6_DEST_UNREACH && (code == ICMPV6_PORT_UNREACH || code == ICMPV6_PROHIBITED);
  tcpIcmpError(QUOTED, at, mtu, errnoOf(type, code), hard);
}

/** As Linux numbers them. */
function errnoOf(type: u32, code: u32): i32 {
  if (type == ICMPV6_PARAMETER_PROBLEM) return EPROTO;
  if (type == ICMPV6_TIME_EXCEEDED) return EHOSTUNREACH;
  if (code == ICMPV6_PORT_UNREACH) return ECONNREFUSED;
  return code == ICMPV6_NO_ROUTE ? ENETUNREACH : EHOSTUNREACH;
}

/** The neighbour that the packet at `ip`, of ours, was for does not answer (RFC 4861 §7.2.2). */
export function icmp6Unresolved(ip: u32): void {
  if (ipv6Next(ip) != PROTO_TCP) return;
  memory.copy(QUOTED, ip + IPV6_SRC, 16);
  memory.copy(QUOTED + 16, ip + IPV6_DST, 16);
  tcpIcmpError(QUOTED, ip + IPV6_HEADER, 0, errnoOf(ICMPV6_DEST_UNREACH, ICMPV6_ADDRESS_UNREACH), false);
}

/**
 * Tells the sender of the packet at `ip`, `len` bytes of it, of an error (RFC 4443 §3), if the core does ICMP and the rate
 * of errors allows it. `word`: what stands behind the checksum; `addrs`: local address, remote address.
 */
export function icmp6Error(type: u32, code: u32, word: u32, ip: u32, len: u32, addrs: u32): void {
  if (!(load<u32>(CFG_FLAGS) & CFGF_ICMP_ECHO) || ipv6IsUnspecified(addrs + 16)) return;
  const source = isOurs(addrs) ? addrs : sourceFor(addrs + 16, addrs + 16);
  const dst = dstGet(addrs + 16);
  if (source == 0 || dst == 0 || !mayError()) return;
  memory.copy(REPLY, source, 16);
  memory.copy(REPLY + 16, addrs + 16, 16);
  // As much of it as fits (§2.4 (c)).
  const quoted = min(len, IPV6_MIN_MTU - IPV6_HEADER - ICMPV6_DATA);
  const f = frameBegin(1);
  if (f == 0) return;
  setIcmpv6(frameL4(f), type, code, word);
  framePayload(ip, quoted);
  if (!ipOutput(dst, REPLY, NEXT_ICMPV6, ICMPV6_DATA, quoted, 0)) return;
  if (type == ICMPV6_PARAMETER_PROBLEM) count(CNT_Icmp6OutParmProblems);
  else if (type == ICMPV6_TIME_EXCEEDED) count(CNT_Icmp6OutTimeExcds);
  else if (type == ICMPV6_DEST_UNREACH) count(CNT_Icmp6OutDestUnreachs);
}

/** Says what is wrong with the packet at `pointer` (RFC 4443 §3.4): as icmp6Error(). */
export function icmp6Problem(ip: u32, len: u32, code: u32, pointer: u32, addrs: u32): void {
  icmp6Error(ICMPV6_PARAMETER_PROBLEM, code, pointer, ip, len, addrs);
}
