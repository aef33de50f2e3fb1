// ICMP, RFC 792: answers echo requests and tells senders of errors (CFGF_ICMP_ECHO), hands errors about what we have sent
// to TCP and UDP.

import {
  CNT_IcmpInDestUnreachs,
  CNT_IcmpInEchos,
  CNT_IcmpInErrors,
  CNT_IcmpInMsgs,
  CNT_IcmpOutDestUnreachs,
  CNT_IcmpOutEchoReps,
  CNT_IcmpOutTimeExcds,
} from '../abi/counters';
import { CFGF_ICMP_ECHO, CFG_FLAGS, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EPROTO } from '../abi/layout';
import { count } from '../abi/runtime';
import { fold, sum16 } from '../wire/checksum';
import {
  ICMP_CHECKSUM,
  ICMP_DATA,
  ICMP_DEST_UNREACH,
  ICMP_ECHO,
  ICMP_ECHO_REPLY,
  ICMP_FRAG_NEEDED,
  ICMP_HOST_UNREACH,
  ICMP_PARAMETER_PROBLEM,
  ICMP_PORT_UNREACH,
  ICMP_PROTOCOL_UNREACH,
  ICMP_TIME_EXCEEDED,
  icmpCode,
  icmpFits,
  icmpNextMtu,
  icmpType,
} from '../wire/icmp';
import {
  IPV4_HEADER,
  PROTO_ICMP,
  PROTO_TCP,
  ipv4DstRaw,
  ipv4HeaderBytes,
  ipv4IsFragment,
  ipv4IsLaterFragment,
  ipv4Proto,
  ipv4SrcRaw,
  ipv4Version,
  mappedStore,
} from '../wire/ipv4';
import { tcpIcmpError } from '../tcp/icmp';
import { udpIcmpError } from '../udp/icmp';
import { PROTO_UDP } from '../wire/udp';
import { isOursRaw } from './interface';
import { mayError } from './limit';
import { frameBegin, frameL4, framePayload, ipOutput } from './output';
import { dstGet, dstMtu } from './route';

/** No path's MTU is believed to be smaller (Linux: min_pmtu). */
const PMTU_LEAST: u32 = 552;

/** Local address, remote address of a quoted packet. */
const QUOTED: u32 = <u32>memory.data(32, 16);

/** An error with its quotation is not longer (RFC 1812 §4.3.2.3). */
const ERROR_BYTES_MAX: u32 = 576;

/** Bytes of the transport header that an error must quote (RFC 792): ports and sequence number. */
const QUOTED_L4: u32 = 8;

/** An ICMP message of `len` bytes; `addrs`: local address, remote address. */
export function icmpInput(p: u32, len: u32, addrs: u32): void {
  count(CNT_IcmpInMsgs);
  if (!icmpFits(len) || fold(sum16(p, len, 0)) != 0xffff) {
    count(CNT_IcmpInErrors);
    return;
  }
  const type = icmpType(p);
  if (type == ICMP_ECHO) {
    count(CNT_IcmpInEchos);
    if (load<u32>(CFG_FLAGS) & CFGF_ICMP_ECHO) echo(p, len, addrs);
  } else if (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM) {
    if (type == ICMP_DEST_UNREACH) count(CNT_IcmpInDestUnreachs);
    error(p, len, type);
  }
  // Redirects and source quench are ignored (RFC 6633; routes come from the host), the rest is not for a host.
}

/** The reply's payload is the request's, by reference. */
function echo(p: u32, len: u32, addrs: u32): void {
  const dst = dstGet(addrs + 16);
  if (dst == 0 || IPV4_HEADER + len > dstMtu(dst)) return;
  const f = frameBegin(1);
  if (f == 0) return;
  const l4 = frameL4(f);
  store<u64>(l4, load<u64>(p));
  store<u16>(l4, ICMP_ECHO_REPLY | (icmpCode(p) << 8));
  // RFC 1624 eqn. 3: type 8 becomes 0, the first byte of its word. A message of zeros only must not end at the sum
  // of zero, and for any other the two zeros of one's complement are the same.
  const sum = <u16>~fold(<u64>(<u16>~load<u16>(p, ICMP_CHECKSUM)) + <u16>~(<u16>ICMP_ECHO));
  store<u16>(l4, sum == 0 ? 0xffff : sum, ICMP_CHECKSUM);
  if (len > ICMP_DATA) framePayload(p + ICMP_DATA, len - ICMP_DATA);
  if (ipOutput(dst, addrs, PROTO_ICMP, ICMP_DATA, len - ICMP_DATA, 0)) count(CNT_IcmpOutEchoReps);
}

/** An error about a packet that we have sent, if the quotation bears that out. */
function error(p: u32, len: u32, type: u32): void {
  const inner = p + ICMP_DATA;
  const innerLen = len - ICMP_DATA;
  if (innerLen < IPV4_HEADER + QUOTED_L4 || ipv4Version(inner) != 4) {
    count(CNT_IcmpInErrors);
    return;
  }
  const header = ipv4HeaderBytes(inner);
  if (header < IPV4_HEADER || innerLen < header + QUOTED_L4 || !isOursRaw(ipv4SrcRaw(inner))) {
    count(CNT_IcmpInErrors);
    return;
  }
  if (ipv4IsLaterFragment(inner)) return;
  const code = icmpCode(p);
  const tooBig = type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED;
  const mtu = tooBig ? max(icmpNextMtu(p), PMTU_LEAST) : 0;
  const proto = ipv4Proto(inner);
  if (proto == PROTO_TCP && !ipv4IsFragment(inner)) report(inner, inner + header, type, code, mtu);
  else if (proto == PROTO_UDP) {
    quote(inner);
    udpIcmpError(QUOTED, inner + header, mtu, errnoOf(type, code), isFatal(type, code));
  }
}

/** The addresses of a quoted packet, of ours: its source is our address. */
function quote(ip: u32): void {
  mappedStore(QUOTED, ipv4SrcRaw(ip));
  mappedStore(QUOTED + 16, ipv4DstRaw(ip));
}

/** Codes that Linux tells a connected UDP socket of: not a network or host out of reach for now, nor a failed source route. */
const FATAL_CODES: u32 =
  (1 << 2) | (1 << 3) | (1 << 6) | (1 << 7) | (1 << 8) | (1 << 9) | (1 << 10) | (1 << 13) | (1 << 14) | (1 << 15);

function isFatal(type: u32, code: u32): bool {
  return type == ICMP_PARAMETER_PROBLEM || (type == ICMP_DEST_UNREACH && code < 16 && ((FATAL_CODES >> code) & 1) != 0);
}

/** Tells TCP of an error about the packet at `ip`, whose TCP header is at `tcp`. `mtu`: it was too big, this is not. */
function report(ip: u32, tcp: u32, type: u32, code: u32, mtu: u32): void {
  quote(ip);
  const hard = type == ICMP_DEST_UNREACH && (code == ICMP_PROTOCOL_UNREACH || code == ICMP_PORT_UNREACH);
  tcpIcmpError(QUOTED, tcp, mtu, errnoOf(type, code), hard);
}

/** As Linux numbers them. */
function errnoOf(type: u32, code: u32): i32 {
  if (type == ICMP_PARAMETER_PROBLEM) return EPROTO;
  if (type != ICMP_DEST_UNREACH) return EHOSTUNREACH;
  if (code == ICMP_PROTOCOL_UNREACH || code == ICMP_PORT_UNREACH) return ECONNREFUSED;
  // Network unreachable, unknown, prohibited, unreachable for this service (RFC 1122 §3.2.2.1).
  return code == 0 || code == 6 || code == 9 || code == 11 ? ENETUNREACH : EHOSTUNREACH;
}

/**
 * Tells the sender of the packet at `ip`, `len` bytes of it, of an error (RFC 792), if the core does ICMP and the rate of
 * errors allows it. `addrs`: local address, remote address.
 */
export function icmpError(type: u32, code: u32, ip: u32, len: u32, addrs: u32): void {
  if (!(load<u32>(CFG_FLAGS) & CFGF_ICMP_ECHO)) return;
  const dst = dstGet(addrs + 16);
  if (dst == 0 || !mayError()) return;
  const quoted = min(len, ERROR_BYTES_MAX - IPV4_HEADER - ICMP_DATA);
  const f = frameBegin(1);
  if (f == 0) return;
  const l4 = frameL4(f);
  store<u64>(l4, type | (code << 8));
  store<u16>(l4, <u16>~fold(sum16(ip, quoted, type | (code << 8))), ICMP_CHECKSUM);
  framePayload(ip, quoted);
  if (!ipOutput(dst, addrs, PROTO_ICMP, ICMP_DATA, quoted, 0)) return;
  if (type == ICMP_TIME_EXCEEDED) count(CNT_IcmpOutTimeExcds);
  else if (type == ICMP_DEST_UNREACH) count(CNT_IcmpOutDestUnreachs);
}

/** The neighbour that the packet at `ip`, of ours, was for does not answer: what a router would say (RFC 1122 §2.4). */
export function icmpUnresolved(ip: u32): void {
  if (ipv4Proto(ip) == PROTO_TCP) report(ip, ip + IPV4_HEADER, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0);
}
