// Builds one outgoing segment of a connection: header, options, payload by reference.

import {
  CNT_TcpExtTCPFromZeroWindowAdv,
  CNT_TcpExtTCPToZeroWindowAdv,
  CNT_TcpOutRsts,
  CNT_TcpOutSegs,
} from '../abi/counters';
import { TX_MAX_SEGS } from '../abi/layout';
import { count } from '../abi/runtime';
import { frameBeginInRoom } from '../ip/headroom';
import { frameBegin, frameL4, framePayload, ipOutput } from '../ip/output';
import {
  TCPF_ACK,
  TCPF_ECE,
  TCPF_RST,
  TCPF_SYN,
  TCP_HEADER,
  setTcpChecksum,
  setTcpDataOffset,
  setTcpFlags,
  setTcpUrgent,
  setTcpWindow,
} from '../wire/tcp';
import { zbufRooms } from '../zbuf/zbuf';
import { fastOpenSyn } from './fastopen';
import { optBytes, optWrite, optWriteSyn, sackBytes } from './options';
import { asLinuxReceiver, linuxInitialWindow, linuxSent, linuxWindow } from './linux';
import { seqGt } from './seq';
import { sendNodeAt } from './sendq';
import {
  Cold,
  F2_FAST_OPEN,
  F2_PASSIVE,
  F2_SND_URG,
  FL_ACK_DELAYED,
  FL_ACK_NOW,
  FL_ECN,
  FL_TS,
  FL_ZERO_WND_SENT,
  Tcb,
  addressesOf,
  coldOf,
} from './tcb';
import { ecnFlags, ecnMark, ecnSynFlags, ecnSynMark } from './ecn';
import { rcvBufMost, rcvTune } from './rcvtune';
import { urgentPut } from './urgent';

export const PROTO_TCP: u32 = 6;
/** Payload pieces a segment may have: the header takes one descriptor of the frame. */
export const PIECES_MAX: u32 = TX_MAX_SEGS - 1;

/**
 * The window field of the next segment. The right edge never moves left (RFC 9293 §3.8.6.2.2) and moves right only
 * by a full segment or half the buffer (silly-window avoidance at the receiver, §3.8.6.2.2 too). Rounding to the window scale is
 * upwards where it would otherwise take back what was offered (RFC 7323 §2.4).
 */
export function windowToOffer(t: Tcb): u32 {
  if (t.rcvBuf < rcvBufMost) rcvTune(t);
  if (asLinuxReceiver()) return windowOffered(t, linuxWindow(t));
  const free = t.rcvBuf > t.rcvQBytes ? t.rcvBuf - t.rcvQBytes : 0;
  const offered = <i32>(t.rcvAdv - t.rcvNxt);
  const window: u32 = offered > 0 ? <u32>offered : 0;
  const scale: u32 = t.rcvWscale;
  const gain = <i32>(free - window);
  let field: u32;
  if (gain > 0 && <u32>gain >= min<u32>(t.rcvBuf >> 1, t.rcvMss)) {
    field = free >> scale;
    if (field << scale < window) field++;
  } else field = (window + (1 << scale) - 1) >> scale;
  return windowOffered(t, min<u32>(field, 0xffff));
}

/** The field says this: notes the right edge. */
function windowOffered(t: Tcb, field: u32): u32 {
  const window = field << (<u32>t.rcvWscale);
  if (seqGt(t.rcvNxt + window, t.rcvAdv)) t.rcvAdv = t.rcvNxt + window;
  if (field == 0) {
    if (!(t.flags & FL_ZERO_WND_SENT)) {
      t.flags |= FL_ZERO_WND_SENT;
      count(CNT_TcpExtTCPToZeroWindowAdv);
    }
  } else if (t.flags & FL_ZERO_WND_SENT) {
    t.flags &= ~FL_ZERO_WND_SENT;
    count(CNT_TcpExtTCPFromZeroWindowAdv);
  }
  return field;
}

/** Traffic class and TTL, as ipOutput() takes them. */
@inline
function serviceOf(c: Cold): u32 {
  return c.tos | ((<u32>c.ttl) << 8);
}

@inline
function putHeader(t: Tcb, h: u32, seq: u32, ack: u32, length: u32, flags: u32, window: u32): void {
  store<u32>(h, bswap<u32>(rotl<u32>(t.ports, 16)));
  store<u32>(h, bswap<u32>(seq), 4);
  store<u32>(h, bswap<u32>(ack), 8);
  setTcpDataOffset(h, length);
  setTcpFlags(h, flags);
  setTcpWindow(h, window);
  setTcpChecksum(h, 0);
  setTcpUrgent(h, 0);
}

/** Number of pieces that [seq, seq + len) spans from `node` on. */
@inline
export function pieceCount(node: u32, seq: u32, len: u32): u32 {
  let pieces: u32 = 0;
  const end = seq + len;
  let at = node;
  while (len != 0 && at != 0) {
    pieces++;
    const n = sendNodeAt(at);
    if (<i32>(n.seq + n.len - end) >= 0) break;
    at = n.next;
  }
  return pieces;
}

/** Adds `len` bytes from `seq` on, which `node` holds, to the frame being built. */
@inline
export function payloadPut(node: u32, seq: u32, len: u32): void {
  let at = node;
  let from = seq;
  let left = len;
  while (left != 0) {
    const n = sendNodeAt(at);
    const skip = from - n.seq;
    const take = min(left, n.len - skip);
    framePayload(n.addr + skip, take);
    from += take;
    left -= take;
    at = n.next;
  }
}

/** Bytes of SACK option of a segment with `len` bytes of payload: none where they would not fit. */
@inline
function sackBeside(t: Tcb, len: u32): u32 {
  const sack = sackBytes(t);
  return sack != 0 && len + sack > <u32>t.sndMss ? 0 : sack;
}

// Result of segmentHeader(): what ipOutput() takes as `service`.
export let headerService: u32 = 0;

/** Writes the header of a segment into the frame `f` and returns its length. */
export function segmentHeader(t: Tcb, f: u32, seq: u32, len: u32, flags: u32): u32 {
  const h = frameL4(f);
  const length = TCP_HEADER + optWrite(t, h + TCP_HEADER, sackBeside(t, len));
  const c = coldOf(t);
  let service = serviceOf(c);
  if (t.flags & FL_ECN) {
    const fresh = len != 0 && seq == t.sndNxt;
    flags |= ecnFlags(t, fresh);
    service |= ecnMark(t, fresh);
  }
  putHeader(t, h, seq, t.rcvNxt, length, flags, windowToOffer(t));
  if (c.flags2 & F2_SND_URG) urgentPut(t, h, seq);
  headerService = service;
  return length;
}

/** A segment has taken the acknowledgment with it: none is owed. */
@inline
export function ackCarried(t: Tcb): void {
  t.rcvWup = t.rcvNxt;
  t.flags &= ~(FL_ACK_NOW | FL_ACK_DELAYED);
}

/**
 * Sends a segment of a synchronized connection: `len` bytes from `seq` on, which `node` holds. It carries the
 * acknowledgment and the window of this moment, so no ACK is owed afterwards. False when there is no room.
 */
export function segmentSend(t: Tcb, seq: u32, node: u32, len: u32, flags: u32): bool {
  const pieces = pieceCount(node, seq, len);
  let f: u32 = 0;
  // The first piece may have room for headers in front of it, and goes with them in one segment.
  let attached: u32 = 0;
  let rest = node;
  if (zbufRooms != 0 && len != 0) {
    const n = sendNodeAt(node);
    const skip = seq - n.seq;
    const first = min(len, n.len - skip);
    f = frameBeginInRoom(n.addr + skip, first, TCP_HEADER + optBytes(t, sackBeside(t, len)), pieces - 1);
    if (f) {
      attached = first;
      rest = n.next;
    }
  }
  if (!f) f = frameBegin(pieces);
  if (!f) return false;
  const length = segmentHeader(t, f, seq, len, flags);
  payloadPut(rest, seq + attached, len - attached);
  ipOutput(t.dst, addressesOf(t), PROTO_TCP, length, len, headerService);
  if (asLinuxReceiver()) linuxSent(t, len);
  ackCarried(t);
  const c = coldOf(t);
  c.segsOut++;
  if (len) {
    c.dataSegsOut++;
    c.bytesSent += len;
  }
  count(CNT_TcpOutSegs);
  return true;
}

/** Sends an RST for a connection that has exchanged sequence numbers. False when there is no room. */
export function segmentReset(t: Tcb): bool {
  const f = frameBegin(0);
  if (!f) return false;
  const h = frameL4(f);
  let length = TCP_HEADER;
  if (t.flags & FL_TS) length += optWrite(t, h + TCP_HEADER, 0);
  putHeader(t, h, t.sndNxt, t.rcvNxt, length, TCPF_RST | TCPF_ACK, 0);
  ipOutput(t.dst, addressesOf(t), PROTO_TCP, length, 0, serviceOf(coldOf(t)));
  count(CNT_TcpOutSegs);
  count(CNT_TcpOutRsts);
  return true;
}

/** Window of a SYN or SYN-ACK. */
export function synWindow(t: Tcb, ack: bool): u32 {
  return asLinuxReceiver() ? linuxInitialWindow(t, ack) : min<u32>(t.rcvBuf, 0xffff);
}

/** Sends SYN (`ack` false) or SYN-ACK. Their window is never scaled (RFC 7323 §2.2). False when there is no room. */
export function segmentSyn(t: Tcb, iss: u32, ack: bool): bool {
  const c = coldOf(t);
  // Only the first SYN has data and a cookie (RFC 7413 §4.2.1).
  const data = !ack && c.flags2 & F2_FAST_OPEN && t.retries == 0 ? fastOpenSyn(t) : 0;
  const f = frameBegin(pieceCount(t.sqNext, iss + 1, data));
  if (!f) return false;
  const h = frameL4(f);
  const length = TCP_HEADER + optWriteSyn(t, h + TCP_HEADER, ack ? t.tsRecent : 0);
  const window = synWindow(t, ack);
  let flags = TCPF_SYN;
  if (!ack) flags |= ecnSynFlags(t);
  else flags |= t.flags & FL_ECN ? TCPF_ACK | TCPF_ECE : TCPF_ACK;
  putHeader(t, h, iss, ack ? t.rcvNxt : 0, length, flags, window);
  // As Linux, a listener's answer is not the connection's yet.
  if (!(c.flags2 & F2_PASSIVE)) c.segsOut++;
  if (ack) {
    t.rcvAdv = t.rcvNxt + window;
    t.rcvWup = t.rcvNxt;
  }
  if (data) {
    payloadPut(t.sqNext, iss + 1, data);
    c.synData = <u16>data;
    c.dataSegsOut++;
    c.bytesSent += data;
  }
  ipOutput(t.dst, addressesOf(t), PROTO_TCP, length, data, serviceOf(c) | ecnSynMark(t));
  count(CNT_TcpOutSegs);
  return true;
}
