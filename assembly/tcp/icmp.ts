// ICMP errors about our segments, checked as RFC 5927 §4 advises: the quoted sequence number must be in flight.

import { REPORT_ICMP, TCP_SYN_RECV, TCP_SYN_SENT } from '../abi/layout';
import { connectionAborted } from './close';
import { deliverInline } from './events';
import { flowFind } from './flow';
import { asLinuxReceiver } from './linux';
import { tcpOutput } from './output';
import { TXM_RETRANS } from './records';
import { report } from './report';
import { seqGt, seqLe } from './seq';
import { F2_FAST_PENDING, FL_ACCEPT_QUEUE, FL_INLINE, Tcb, coldOf, headersOf, tcbAt } from './tcb';
import { markLost, txSegAt, unmarkRetrans } from './txseg';
import { pmtuLower } from './pmtu';
import { TS_BYTES } from './options';

/**
 * An error about a packet of ours. `addresses`: local and remote; `tcp`: at least 8 bytes of its TCP header; `mtu`: it was
 * too big and this is what would fit, else 0; `errno`: what the application is told; `hard`: a synchronized connection
 * might end with it.
 */
export function tcpIcmpError(addresses: u32, tcp: u32, mtu: u32, errno: i32, hard: bool): void {
  const at = flowFind(addresses, bswap<u32>(rotl<u32>(load<u32>(tcp), 16)));
  if (!at) return;
  const t = tcbAt(at);
  const seq = bswap<u32>(load<u32>(tcp, 4));
  // Fast Open: an error about the SYN-ACK counts once the application has the connection.
  const pending = (coldOf(t).flags2 & F2_FAST_PENDING) != 0;
  if (pending && t.flags & FL_ACCEPT_QUEUE) return;
  if (!seqLe(pending ? coldOf(t).iss : t.sndUna, seq) || !seqGt(t.sndNxt, seq)) return;
  const handle = t.handle;
  if (mtu != 0) lowerMtu(t, mtu);
  else failed(t, errno, hard);
  if (t.handle == handle && t.evPending != 0 && t.flags & FL_INLINE) deliverInline(t);
}

/**
 * A hard error ends an attempt to open (RFC 9293 §3.9.2.2); a synchronized connection takes it as soft (RFC 5927 §5.2).
 * Every other error is soft: the connection goes on and the application is told.
 */
function failed(t: Tcb, errno: i32, hard: bool): void {
  const opening = t.state == TCP_SYN_SENT || t.state == TCP_SYN_RECV;
  // Linux takes every error as hard while it opens a connection.
  if (opening && (hard || asLinuxReceiver())) connectionAborted(t, errno);
  else report(t, REPORT_ICMP, errno);
}

/** RFC 1191 §6.3: smaller segments from now on, and what was too big goes again without blaming congestion. */
function lowerMtu(t: Tcb, mtu: u32): void {
  if (mtu >= coldOf(t).pmtu || mtu >= <u32>t.sndMss + headersOf(t) + TS_BYTES) return;
  pmtuLower(t, mtu);
  if (t.state == TCP_SYN_SENT || t.state == TCP_SYN_RECV) return;
  let at = t.txHead;
  while (at) {
    const s = txSegAt(at);
    if (<u32>s.len > <u32>t.sndMss) {
      // Also when it was sent again for an earlier such error: a narrower hop is further on.
      if (s.mark & TXM_RETRANS) unmarkRetrans(t, s);
      markLost(t, s);
    }
    at = s.next;
  }
  tcpOutput(t);
}
