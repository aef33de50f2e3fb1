// Receiving as Linux does, where it chooses within what the RFCs allow (CFGF_LINUX): which window is offered, and
// when data is acknowledged. Scripts written for Linux expect exactly this; delack.ts and segment.ts have lunet's own.
//
//   Cold.rcvRatio      how much of a packet's memory is payload, as the largest segment has shown
//   Cold.rcvFull       the window that the whole buffer would be: that share of its memory
//   Cold.rcvSsthresh   the window goes no further than this; it grows as segments arrive
//   Cold.atoMs         how long an ACK waits; 0 until data arrives. Cold.lastDataMs: when data arrived last
//   Tcb.quickAcks      ACKs still to be sent at once; F2_PINGPONG: none of them, since each answer carries an ACK
//   F2_ACK_PUSHED      a small segment, or one with PSH, waits for its ACK: reading sends it; F2_ACK_PUSHED_TWICE: two

import { CNT_TcpExtDelayedACKs } from '../abi/counters';
import { CFGF_LINUX, CFG_FLAGS, CFG_INIT_CWND_SEGMENTS } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { timerArm } from '../timer/wheel';
import { nowMs } from './isn';
import { TS_BYTES } from './options';
import { ackSend } from './output';
import { rcvBufMost } from './rcvtune';
import { RxPiece } from './records';
import {
  F2_ACK_PUSHED,
  F2_ACK_PUSHED_TWICE,
  F2_PINGPONG,
  FL_ACK_DELAYED,
  FL_SACK,
  FL_TS,
  FL_WSCALE,
  Tcb,
  coldOf,
  delackTimer,
  headersOf,
} from './tcb';

/** TCP_MAX_QUICKACKS */
export const QUICK_ACKS_MOST: u32 = 16;
/** TCP_ATO_MIN and TCP_DELACK_MIN, TCP_DELACK_MAX */
const ATO_MIN_MS: u32 = 40;
const ATO_MAX_MS: u32 = 200;
/** TCP_DEFAULT_SCALING_RATIO: half of the memory of a buffer is for headers and rounding. */
const RATIO: u32 = 128;
/** What a packet from a tun device takes beside its bytes, and how much of it lies in one piece. */
const SKB: u32 = 256;
const SHARED_INFO: u32 = 320;
const HEADROOM: u32 = 64;
const PAGE: u32 = 4096;
const LINEAR_MOST: u32 = PAGE - HEADROOM - SHARED_INFO;
/** TCP_MSS_DEFAULT, TCP_MIN_MSS */
const MSS_DEFAULT: u32 = 536;
const MSS_LEAST: u32 = 88;
/** Segments below this do not make the window grow. */
const GROW_LEAST: u32 = 128;

@inline
export function asLinuxReceiver(): bool {
  return (load<u32>(CFG_FLAGS) & CFGF_LINUX) != 0;
}

/** Window of a SYN or SYN-ACK: whole segments, as far as the unscaled field can say. */
export function linuxInitialWindow(t: Tcb, ack: bool): u32 {
  const c = coldOf(t);
  const mss = <u32>c.ownMss - (ack && t.flags & FL_TS ? TS_BYTES : 0);
  const space = clamped(t, t.rcvBuf);
  c.rcvSsthresh = space > mss ? space - (space % mss) : space;
  return min<u32>(c.rcvSsthresh, 0xffff);
}

@inline
function clamped(t: Tcb, window: u32): u32 {
  const clamp = coldOf(t).rcvClamp;
  return clamp != 0 ? min(window, clamp) : window;
}

/** Memory of the receive buffer: twice what it is taken to hold before anything has arrived. */
@inline
function memoryBytes(t: Tcb): u32 {
  return t.rcvBuf << 1;
}

/** Payload that `memory` bytes hold (tcp_win_from_space()). */
@inline
function windowFrom(t: Tcb, memory: u32): u32 {
  return <u32>((<u64>memory * coldOf(t).rcvRatio) >> 8);
}

/** What the window may grow to: a segment less than the buffer (tcp_init_buffer_space()), until segments arrive. */
@inline
function fullSpace(t: Tcb): u32 {
  return min(coldOf(t).rcvFull, windowFrom(t, memoryBytes(t)));
}

/** Rest of the linear part of a packet's buffer. */
let tailRoom: u32 = 0;

/** Memory of a received packet with `len` bytes: a power of two with the descriptor, or pages for a large one. */
function truesize(t: Tcb, len: u32): u32 {
  const packet = len + headersOf(t) + (t.flags & FL_TS ? TS_BYTES : 0);
  tailRoom = 0;
  if (packet > LINEAR_MOST) return PAGE + SKB + ((packet - LINEAR_MOST + PAGE - 1) & ~(PAGE - 1));
  let size: u32 = 512;
  while (size < packet + HEADROOM + SHARED_INFO) size <<= 1;
  tailRoom = size - HEADROOM - SHARED_INFO - packet;
  return size + SKB;
}

/** Memory of pieces that wait, the small ones within the buffer of the one before. */
function memoryOf(t: Tcb, head: u32): u32 {
  let sum: u32 = 0;
  let room: u32 = 0;
  for (let at = head; at; at = changetype<RxPiece>(<usize>at).next) {
    const len = changetype<RxPiece>(<usize>at).len;
    if (len <= room) {
      room -= len;
      continue;
    }
    sum += truesize(t, len);
    room = tailRoom;
  }
  return sum;
}

/**
 * The segment size that the peer uses (tcp_measure_rcv_mss()): the largest so far, or a smaller one that comes twice in a row
 * and is no remnant.
 */
export function linuxMeasure(t: Tcb, len: u32, remnant: bool): void {
  const c = coldOf(t);
  const last: u32 = c.lastSegSize;
  c.lastSegSize = 0;
  if (len >= <u32>t.rcvMss) {
    if (len > <u32>t.rcvMss) measureMemory(t, len);
    t.rcvMss = <u16>min<u32>(len, c.ownMss - (t.flags & FL_TS ? TS_BYTES : 0));
    return;
  }
  if (len + (t.flags & FL_TS ? TS_BYTES : 0) < MSS_DEFAULT && (remnant || len < MSS_LEAST)) return;
  c.lastSegSize = <u16>len;
  if (len == last) t.rcvMss = <u16>len;
}

/** A segment larger than any before tells how well payload uses memory. */
function measureMemory(t: Tcb, len: u32): void {
  const c = coldOf(t);
  const ratio = max<u32>(min<u32>((len << 8) / truesize(t, len), 255), 1);
  if (ratio == <u32>c.rcvRatio) return;
  c.rcvRatio = <u8>ratio;
  const full = windowFrom(t, memoryBytes(t));
  if (full < c.rcvFull) c.rcvSsthresh = min(c.rcvSsthresh, full);
  else c.rcvSsthresh = max(c.rcvSsthresh, min(lastOffer(t), full));
  c.rcvFull = full;
  c.rcvSpace = min(c.rcvSpace, full);
}

/** The window as it was last offered. */
@inline
function lastOffer(t: Tcb): u32 {
  return t.rcvAdv - t.rcvWup;
}

@inline
function freeSpace(t: Tcb): u32 {
  const used = memoryOf(t, t.rcvQHead) + memoryOf(t, t.oooHead);
  const memory = memoryBytes(t);
  return memory > used ? windowFrom(t, memory - used) : 0;
}

@inline
function offeredNow(t: Tcb): u32 {
  const offered = <i32>(t.rcvAdv - t.rcvNxt);
  return offered > 0 ? <u32>offered : 0;
}

/** What the buffer would let us offer (__tcp_select_window()). */
function selectWindow(t: Tcb): u32 {
  const full = fullSpace(t);
  const mss = min<u32>(t.rcvMss, full);
  let free = freeSpace(t);
  if (free < full >> 1) {
    t.quickAcks = 0;
    free = free & ~(((<u32>1) << t.rcvWscale) - 1);
    if (free < windowFrom(t, memoryBytes(t)) >> 4 || free < mss) return 0;
  }
  free = min(free, coldOf(t).rcvSsthresh);
  if (t.rcvWscale != 0) return scaledUp(t, free);
  // Without a scale, changes below a segment are not worth telling.
  const window = lastOffer(t);
  if (mss != 0 && (window + mss <= free || window > free)) return free - (free % mss);
  return window;
}

@inline
function scaledUp(t: Tcb, window: u32): u32 {
  const mask = ((<u32>1) << t.rcvWscale) - 1;
  return (window + mask) & ~mask;
}

/** The window field of the next segment. The right edge never moves left. */
export function linuxWindow(t: Tcb): u32 {
  const offered = offeredNow(t);
  let window = selectWindow(t);
  if (window < offered) window = scaledUp(t, offered);
  return min<u32>(window >> t.rcvWscale, 0xffff);
}

/** Makes the window grow by what a segment has shown to be held cheaply (tcp_grow_window()). */
function grow(t: Tcb, len: u32): void {
  const c = coldOf(t);
  const room = <i32>(min(fullSpace(t), freeSpace(t)) - c.rcvSsthresh);
  if (room <= 0) return;
  let step: u32 = 0;
  let cost = windowFrom(t, truesize(t, len));
  if (cost <= len) step = 2 * <u32>c.ownMss;
  else {
    // A packet that wastes memory is let pass while the window is a small part of what it may become.
    let window = windowFrom(t, rcvBufMost) >> 1;
    for (cost >>= 1; c.rcvSsthresh <= window && step == 0; window >>= 1, cost >>= 1) {
      if (cost <= len) step = 2 * <u32>t.rcvMss;
    }
  }
  if (step == 0) return;
  c.rcvSsthresh += min<u32>(room, max(step, 2 * len));
  t.quickAcks |= 1;
}

function quicken(t: Tcb, most: u32): void {
  const fitting = lastOffer(t) / (2 * <u32>t.rcvMss);
  const acks = min<u32>(fitting != 0 ? fitting : 2, most);
  if (acks > <u32>t.quickAcks) t.quickAcks = <u8>acks;
}

/** The peer seems to have missed ACKs: the next ones go at once. */
export function linuxQuickAck(t: Tcb, most: u32): void {
  const c = coldOf(t);
  quicken(t, most);
  c.flags2 &= ~F2_PINGPONG;
  c.atoMs = <u16>ATO_MIN_MS;
}

/** The connection is established. */
export function linuxStart(t: Tcb): void {
  const c = coldOf(t);
  t.quickAcks = 0;
  c.atoMs = 0;
  c.lastDataMs = nowMs();
  // More was meant than the SYN could say.
  t.rcvAdv = t.rcvNxt + c.rcvSsthresh;
  c.rcvRatio = <u8>RATIO;
  const most = windowFrom(t, memoryBytes(t));
  const mss: u32 = c.ownMss;
  let full = min(clamped(t, most), t.flags & FL_WSCALE ? <u32>u32.MAX_VALUE : 0xffff);
  if (full > 2 * mss && full + mss > most) full = max(2 * mss, most - mss);
  c.rcvFull = full;
  c.rcvSsthresh = min(c.rcvSsthresh, full);
  c.rcvSpace = min(min(c.rcvSsthresh, t.rcvAdv - t.rcvNxt), load<u32>(CFG_INIT_CWND_SEGMENTS) * mss);
}

/** `len` bytes have arrived in order (tcp_event_data_recv()). */
export function linuxDataReceived(t: Tcb, len: u32, pushed: bool): void {
  const c = coldOf(t);
  if (len >= <u32>t.rcvMss) {
    if (pushed) c.flags2 |= F2_ACK_PUSHED;
  } else c.flags2 |= c.flags2 & F2_ACK_PUSHED ? F2_ACK_PUSHED_TWICE : F2_ACK_PUSHED;
  const now = nowMs();
  const gap = now - c.lastDataMs;
  const ato: u32 = c.atoMs;
  const rtoMs = t.rto / 1000;
  if (ato == 0) {
    quicken(t, QUICK_ACKS_MOST);
    c.atoMs = <u16>ATO_MIN_MS;
  } else if (gap <= ATO_MIN_MS >> 1) c.atoMs = <u16>((ato >> 1) + (ATO_MIN_MS >> 1));
  else if (gap < ato) c.atoMs = <u16>min((ato >> 1) + gap, rtoMs);
  else if (gap > rtoMs) quicken(t, QUICK_ACKS_MOST);
  c.lastDataMs = now;
  if (len >= GROW_LEAST) grow(t, len);
}

/** Out of order: the window grows all the same, but not so that duplicate ACKs, which are all there is, differ. */
export function linuxDataQueued(t: Tcb, len: u32): void {
  if (t.flags & FL_SACK) grow(t, len);
}

/** The peer's FIN, while we may still send: the ACK waits for our own. */
export function linuxFinReceived(t: Tcb): void {
  coldOf(t).flags2 |= F2_PINGPONG;
}

/** Whether what has arrived is to be acknowledged at once (__tcp_ack_snd_check()); arms the timer if not. */
export function linuxAckNow(t: Tcb): bool {
  const c = coldOf(t);
  if (t.rcvNxt - t.rcvWup > <u32>t.rcvMss && selectWindow(t) >= lastOffer(t)) return true;
  if (t.quickAcks != 0 && !(c.flags2 & F2_PINGPONG)) return true;
  let ato: u32 = c.atoMs;
  if (ato > ATO_MIN_MS) {
    let most: u32 = c.flags2 & (F2_PINGPONG | F2_ACK_PUSHED) ? ATO_MAX_MS : 500;
    if (t.srtt != 0) most = min(most, max((t.srtt >> 3) / 1000, ATO_MIN_MS));
    ato = min(ato, most);
  }
  // Never later than an ACK that waits already.
  if (!(t.flags & FL_ACK_DELAYED)) timerArm(delackTimer(t), nowUs + max<u64>(<u64>ato * 1000, 1));
  t.flags |= FL_ACK_DELAYED;
  return false;
}

export function linuxDelackExpired(t: Tcb): void {
  const c = coldOf(t);
  if (!(c.flags2 & F2_PINGPONG)) c.atoMs = <u16>min<u32>((<u32>c.atoMs) << 1, min<u32>(t.rto / 1000, 0xffff));
  else {
    c.flags2 &= ~F2_PINGPONG;
    c.atoMs = <u16>ATO_MIN_MS;
  }
  count(CNT_TcpExtDelayedACKs);
  ackSend(t);
}

/** A segment with `len` bytes and an ACK has been sent. Called before rcvWup follows. */
export function linuxSent(t: Tcb, len: u32): void {
  const c = coldOf(t);
  if (len != 0 && nowMs() - c.lastDataMs < <u32>c.atoMs) c.flags2 |= F2_PINGPONG;
  c.flags2 &= ~(F2_ACK_PUSHED | F2_ACK_PUSHED_TWICE);
  if (t.quickAcks == 0 || t.rcvNxt == t.rcvWup) return;
  t.quickAcks--;
  if (t.quickAcks == 0) c.atoMs = <u16>ATO_MIN_MS;
}

/** Whether what the application has read makes an ACK due (tcp_cleanup_rbuf()). */
export function linuxAckOnRead(t: Tcb): bool {
  const c = coldOf(t);
  if (t.rcvNxt != t.rcvWup) {
    if (t.rcvNxt - t.rcvWup > <u32>t.rcvMss) return true;
    const pushed = c.flags2 & F2_ACK_PUSHED_TWICE ? true : (c.flags2 & (F2_ACK_PUSHED | F2_PINGPONG)) == F2_ACK_PUSHED;
    if (pushed && t.rcvQBytes == 0 && t.oooHead == 0) return true;
  }
  const offered = offeredNow(t);
  if (<u64>offered * 2 > <u64>fullSpace(t)) return false;
  const window = selectWindow(t);
  return window != 0 && <u64>window >= <u64>offered * 2;
}

/** TCP_QUICKACK: leaves (or enters) the mode in which answers carry the ACKs. True when an ACK is due now. */
export function linuxSetQuickAck(t: Tcb, on: bool): bool {
  const c = coldOf(t);
  if (!on) {
    c.flags2 |= F2_PINGPONG;
    return false;
  }
  c.flags2 &= ~F2_PINGPONG;
  if (t.rcvNxt == t.rcvWup) return false;
  c.flags2 |= F2_ACK_PUSHED;
  return linuxAckOnRead(t);
}
