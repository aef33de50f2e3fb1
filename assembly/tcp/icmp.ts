// ICMP errors about our segments, checked as RFC 5927 §4 advises: the quoted sequence number must be in flight.

import {
  ECONNREFUSED,
  EHOSTUNREACH,
  ENETUNREACH,
  EPROTO,
  REPORT_ICMP,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
} from '../abi/layout';
import { ICMP_DEST_UNREACH, ICMP_PARAMETER_PROBLEM } from '../wire/icmp';
import { connectionAborted } from './close';
import { deliverInline } from './events';
import { flowFind } from './flow';
import { HEADERS, mssUpdate } from './handshake';
import { tcpOutput } from './output';
import { report } from './report';
import { seqGt, seqLe } from './seq';
import { FL_INLINE, Tcb, coldOf, tcbAt } from './tcb';
import { markLost, txSegAt } from './txseg';

const CODE_PROTOCOL: u32 = 2;
const CODE_PORT: u32 = 3;
const CODE_FRAGMENTATION_NEEDED: u32 = 4;
/** No path's MTU is believed to be smaller (Linux: min_pmtu). */
const PMTU_LEAST: u32 = 552;

/** Local address, remote address of the quoted packet. */
const QUOTED: usize = memory.data(32, 8);

/** `innerIp`: the quoted packet, IPv4 header first, `innerLen` bytes of it. `mtu`: next-hop MTU of "fragmentation needed", else 0. */
export function tcpIcmpError(innerIp: u32, innerLen: u32, type: u32, code: u32, mtu: u32): void {
  if (innerLen < 28) return;
  const header = (<u32>load<u8>(innerIp) & 15) << 2;
  if (<u32>load<u8>(innerIp) >> 4 != 4 || header < 20 || innerLen < header + 8) return;
  // The quoted packet is ours: its source is our address.
  store<u64>(QUOTED, 0);
  store<u32>(QUOTED, 0xffff0000, 8);
  store<u32>(QUOTED, load<u32>(innerIp, 12), 12);
  store<u64>(QUOTED, 0, 16);
  store<u32>(QUOTED, 0xffff0000, 24);
  store<u32>(QUOTED, load<u32>(innerIp, 16), 28);
  const tcp = innerIp + header;
  const at = flowFind(<u32>QUOTED, bswap<u32>(rotl<u32>(load<u32>(tcp), 16)));
  if (!at) return;
  const t = tcbAt(at);
  const seq = bswap<u32>(load<u32>(tcp, 4));
  if (!seqLe(t.sndUna, seq) || !seqGt(t.sndNxt, seq)) return;
  const handle = t.handle;
  if (type == ICMP_DEST_UNREACH && code == CODE_FRAGMENTATION_NEEDED) lowerMtu(t, mtu);
  else failed(t, type, code);
  if (t.handle == handle && t.evPending != 0 && t.flags & FL_INLINE) deliverInline(t);
}

/**
 * Protocol or port unreachable ends an attempt to open (RFC 9293 §3.9.2.2, hard errors); a synchronized connection
 * takes it as soft (RFC 5927 §5.2). Every other error is soft: the connection goes on and the application is told.
 */
function failed(t: Tcb, type: u32, code: u32): void {
  const opening = t.state == TCP_SYN_SENT || t.state == TCP_SYN_RECV;
  const hard = type == ICMP_DEST_UNREACH && (code == CODE_PROTOCOL || code == CODE_PORT);
  const errno = errnoOf(type, code);
  if (hard && opening) connectionAborted(t, errno);
  else report(t, REPORT_ICMP, errno);
}

/** As Linux numbers them. */
function errnoOf(type: u32, code: u32): i32 {
  if (type == ICMP_PARAMETER_PROBLEM) return EPROTO;
  if (type != ICMP_DEST_UNREACH) return EHOSTUNREACH;
  if (code == CODE_PROTOCOL || code == CODE_PORT) return ECONNREFUSED;
  // Network unreachable, unknown, prohibited, unreachable for this service (RFC 1122 §3.2.2.1).
  return code == 0 || code == 6 || code == 9 || code == 11 ? ENETUNREACH : EHOSTUNREACH;
}

/** RFC 1191 §6.3: smaller segments from now on, and what was too big goes again without blaming congestion. */
function lowerMtu(t: Tcb, mtu: u32): void {
  const c = coldOf(t);
  const next = max(mtu, PMTU_LEAST);
  if (next >= c.pmtu || next >= <u32>t.sndMss + HEADERS + 12) return;
  c.pmtu = next;
  mssUpdate(t);
  if (t.state == TCP_SYN_SENT || t.state == TCP_SYN_RECV) return;
  let at = t.txHead;
  while (at) {
    const s = txSegAt(at);
    if (<u32>s.len > <u32>t.sndMss) markLost(t, s);
    at = s.next;
  }
  tcpOutput(t);
}
