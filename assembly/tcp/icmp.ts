// ICMP errors about our segments, checked as RFC 5927 §4 advises: the quoted sequence number must be in flight.

import { ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, TCP_SYN_RECV, TCP_SYN_SENT } from '../abi/layout';
import { connectionAborted } from './close';
import { deliverInline } from './events';
import { flowFind } from './flow';
import { HEADERS, mssUpdate } from './handshake';
import { tcpOutput } from './output';
import { seqGt, seqLe } from './seq';
import { FL_INLINE, Tcb, coldOf, tcbAt } from './tcb';
import { markLost, txSegAt } from './txseg';

const TYPE_UNREACHABLE: u32 = 3;
const CODE_NET: u32 = 0;
const CODE_PROTOCOL: u32 = 2;
const CODE_PORT: u32 = 3;
const CODE_FRAGMENTATION_NEEDED: u32 = 4;
/** No path's MTU is believed to be smaller (Linux: min_pmtu). */
const PMTU_LEAST: u32 = 552;

/** Local address, remote address of the quoted packet. */
const QUOTED: usize = memory.data(32, 8);

/** `innerIp`: the quoted packet, IPv4 header first, `innerLen` bytes of it. `mtu`: next-hop MTU of "fragmentation needed", else 0. */
export function tcpIcmpError(innerIp: u32, innerLen: u32, type: u32, code: u32, mtu: u32): void {
  if (type != TYPE_UNREACHABLE || innerLen < 28) return;
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
  if (code == CODE_FRAGMENTATION_NEEDED) lowerMtu(t, mtu);
  else unreachable(t, code);
  if (t.handle == handle && t.evPending != 0 && t.flags & FL_INLINE) deliverInline(t);
}

/** RFC 1122 §4.2.3.9 and RFC 5927 §5.2: an established connection takes every error as soft; opening ends with it. */
function unreachable(t: Tcb, code: u32): void {
  const state: u32 = t.state;
  if (state != TCP_SYN_SENT && state != TCP_SYN_RECV) {
    coldOf(t).error = <u32>errnoOf(code);
    return;
  }
  connectionAborted(t, errnoOf(code));
}

function errnoOf(code: u32): i32 {
  if (code == CODE_PORT || code == CODE_PROTOCOL) return ECONNREFUSED;
  return code == CODE_NET ? ENETUNREACH : EHOSTUNREACH;
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
