// ICMP, RFC 792: answers echo requests (CFGF_ICMP_ECHO) and hands errors about TCP segments to TCP.

import {
  CNT_IcmpInDestUnreachs,
  CNT_IcmpInEchos,
  CNT_IcmpInErrors,
  CNT_IcmpInMsgs,
  CNT_IcmpOutEchoReps,
} from '../abi/counters';
import { CFG_FLAGS, CFGF_ICMP_ECHO } from '../abi/layout';
import { count } from '../abi/runtime';
import { fold, sum16 } from '../wire/checksum';
import {
  ICMP_CHECKSUM,
  ICMP_DATA,
  ICMP_DEST_UNREACH,
  ICMP_ECHO,
  ICMP_ECHO_REPLY,
  ICMP_FRAG_NEEDED,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  icmpCode,
  icmpFits,
  icmpNextMtu,
  icmpType,
} from '../wire/icmp';
import {
  IPV4_HEADER,
  ipv4HeaderBytes,
  ipv4IsFragment,
  ipv4Proto,
  ipv4SrcRaw,
  ipv4Version,
  PROTO_ICMP,
  PROTO_TCP,
} from '../wire/ipv4';
import { tcpIcmpError } from '../tcp/icmp';
import { isOursRaw } from './interface';
import { frameBegin, frameL4, framePayload, ipOutput } from './output';
import { dstGet, dstMtu } from './route';

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
  if (ipv4Proto(inner) != PROTO_TCP || ipv4IsFragment(inner)) return;
  const code = icmpCode(p);
  const mtu = type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED ? icmpNextMtu(p) : 0;
  tcpIcmpError(inner, innerLen, type, code, mtu);
}
