// Header prediction: an ESTABLISHED connection, nothing lost or out of order in either direction, and the next
// segment is the next data, the next ACK, or both. Everything else goes the long way (input.ts), which does the same
// and more; this file only does it in fewer instructions.

import { CNT_TcpExtTCPHPAcks, CNT_TcpExtTCPHPHits } from '../abi/counters';
import { EV_DATA } from '../abi/layout';
import { count } from '../abi/runtime';
import { hostEvent } from '../host';
import { TCPF_ACK, TCPF_PSH } from '../wire/tcp';
import { rxHandOver } from '../zbuf/rx';
import { ackAdvance } from './ack';
import { ccDelivered, ccOnAck } from './congestion/index';
import { deliverInline, eventData } from './events';
import { groTaken } from './gro';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import { TS_WORD, optSetTs } from './options';
import { rcvqAdd } from './recvq';
import { seqLe } from './seq';
import { CA_OPEN, FL_ECN, FL_FIN_OOO, FL_INLINE, FL_PERSIST, FL_PROBED, FL_REO, FL_TS, Tcb, coldOf } from './tcb';
import { ecnNeedsAttention } from './ecn';

/** Data offset and flags of a header with 20 bytes and of one with 32, PSH masked out. */
const PLAIN: u32 = 0x50 | (TCPF_ACK << 8);
const STAMPED: u32 = 0x80 | (TCPF_ACK << 8);

/** Processes the segment if it is as predicted. False leaves everything untouched. */
export function fastPath(t: Tcb, tcp: u32, l4Len: u32): bool {
  const flags = t.flags;
  if (asLinuxReceiver()) return false;
  if (t.caState != CA_OPEN || t.oooHead != 0 || flags & (FL_PERSIST | FL_FIN_OOO | FL_REO | FL_PROBED)) return false;
  if (flags & FL_ECN && ecnNeedsAttention(t)) return false;
  const form = <u32>load<u16>(tcp, 12) & ~(TCPF_PSH << 8);
  let header: u32 = 20;
  let stamp: u32 = 0;
  if (flags & FL_TS) {
    if (form != STAMPED || load<u32>(tcp, 20) != TS_WORD) return false;
    stamp = bswap<u32>(load<u32>(tcp, 24));
    if (<i32>(stamp - t.tsRecent) < 0) return false;
    header = 32;
  } else if (form != PLAIN) return false;
  const len = l4Len - header;
  if (bswap<u32>(load<u32>(tcp, 4)) != t.rcvNxt) return false;
  const ack = bswap<u32>(load<u32>(tcp, 8));
  const acked = ack - t.sndUna;
  const flight = t.sndNxt - t.sndUna;
  if (acked > flight || t.sackedBytes != 0) return false;
  const window = (<u32>bswap<u16>(load<u16>(tcp, 14))) << t.sndWscale;
  if (window == 0 || (len | acked) == 0) return false;
  if (len != 0 && <i32>(t.rcvAdv - t.rcvNxt - len) < 0) return false;
  if (flags & FL_INLINE ? t.rcvQHead != 0 : len != 0 && !rcvqAdd(t, tcp + header, len)) return false;

  // As predicted. An inline application may have given the frame back when the ACK is decided on.
  const pushed = (load<u8>(tcp, 13) & TCPF_PSH) != 0;
  const now = nowMs();
  coldOf(t).segsIn++;
  t.lastRecvMs = now;
  if (flags & FL_TS) {
    optSetTs(stamp, bswap<u32>(load<u32>(tcp, 28)));
    if (seqLe(t.rcvNxt, t.rcvWup)) {
      t.tsRecent = stamp;
      t.tsRecentMs = now;
    }
  }
  t.sndWl1 = t.rcvNxt;
  if (window != t.sndWnd) {
    t.sndWnd = window;
    if (window > coldOf(t).maxWnd) coldOf(t).maxWnd = window;
  }
  if (acked) {
    t.dupAcks = 0;
    ackAdvance(t, ack);
    if (flags & FL_ECN) ccDelivered(t, acked, false);
    ccOnAck(t, acked, flight);
  }
  const handle = t.handle;
  if (len) {
    count(CNT_TcpExtTCPHPHits);
    t.rcvNxt += len;
    coldOf(t).dataSegsIn++;
    coldOf(t).bytesReceived += len;
    if (len > <u32>t.rcvMss) t.rcvMss = <u16>min<u32>(len, coldOf(t).ownMss);
    if (flags & FL_INLINE) {
      const payload = tcp + header;
      rxHandOver(payload);
      hostEvent(handle, EV_DATA, payload, len);
      if (t.handle != handle) return true;
    } else eventData(t);
  } else count(CNT_TcpExtTCPHPAcks);
  if (t.evPending != 0 && t.flags & FL_INLINE) {
    deliverInline(t);
    if (t.handle != handle) return true;
  }
  groTaken(t, pushed);
  return true;
}
