// SYN cookies (RFC 4987 §3.6): what a half-open connection would remember, put into our initial sequence number and, when
// the peer uses timestamps, into the low bits of ours. The number must hold the MSS and prove, when the peer's ACK
// brings it back, that we made it for this 4-tuple and this SYN at most two minutes ago.
//
//   ISS = F(4-tuple) + IRS + word     word   31 ……… 27   26 … 24   23 ………………………… 0
//                                            ├ minute ─┼─ MSS ───┼─ MAC of all of it ┤
//
// F keeps the word itself out of sight, and the sum lets the numbers of one 4-tuple grow with the peer's own.
//
//   TSval   millisecond clock whose last 6 bits are      5      4      3 … 0
//                                                        ├ ECN ─┼ SACK ┼─ the peer's window scale, 15 = none
//
// The largest of those values that does not lie ahead of the clock is sent, so that our timestamps never go back.

import { arenaAlloc } from '../abi/arena';
import { rand64, siphash24 } from '../abi/random';
import { nowUs } from '../abi/runtime';
import { nowMs } from './isn';
import { FL_ECN, FL_SACK, FL_WSCALE, SLOT_SIZE, TCB_SIZE, Tcb, addressOf, tcbAt } from './tcb';

/** What the peer's MSS is rounded down to: the smallest that is used, and what common paths have. */
const MSS_TABLE = memory.data<u16>([88, 256, 536, 1220, 1360, 1440, 1460, 8960]);

const MINUTE_US: u64 = 60_000_000;
const MINUTE_SHIFT: u32 = 27;
const MSS_SHIFT: u32 = 24;
const MAC_MASK: u32 = 0xffffff;
/** A cookie is good in the minute it was made in and in the next. */
const AGE_MAX: u32 = 1;
/** The same in the clock of the timestamps. */
const AGE_MAX_MS: u32 = 120_000;

const OPTION_BITS: u32 = 6;
const OPTION_MASK: u32 = 63;
const NO_WSCALE: u32 = 15;
const SACK_BIT: u32 = 16;
const ECN_BIT: u32 = 32;

/** 4-tuple as the block has it, the peer's initial number, minute and MSS. */
const MAC_INPUT: usize = memory.data(48, 8);
const TUPLE_BYTES: u32 = 36;
const MAC_BYTES: u32 = 48;

let key0: u64 = 0;
let key1: u64 = 0;
let scratchAt: u32 = 0;

export function cookieArenaNeeded(): u32 {
  return SLOT_SIZE + TCB_SIZE;
}

export function cookieInit(): bool {
  key0 = rand64();
  key1 = rand64();
  scratchAt = arenaAlloc(SLOT_SIZE, TCB_SIZE);
  return scratchAt != 0;
}

/** A zeroed block that lives until the next call: the connection that a stateless answer speaks for. */
export function cookieScratch(): Tcb {
  memory.fill(scratchAt, 0, SLOT_SIZE);
  return tcbAt(scratchAt);
}

@inline
function minuteNow(): u64 {
  return nowUs / MINUTE_US;
}

@inline
function mssAt(index: u32): u32 {
  return load<u16>(MSS_TABLE + (index << 1));
}

/** F of the block's 4-tuple and of the peer's initial number. Leaves the tuple where mac() wants it. */
function base(t: Tcb, irs: u32): u32 {
  memory.copy(MAC_INPUT, addressOf(t) + <u32>offsetof<Tcb>('ports'), TUPLE_BYTES);
  return <u32>siphash24(key1, key0, <u32>MAC_INPUT, TUPLE_BYTES) + irs;
}

function mac(irs: u32, minute: u64, index: u32): u32 {
  store<u32>(MAC_INPUT, irs, TUPLE_BYTES);
  store<u64>(MAC_INPUT, (minute << 3) | index, TUPLE_BYTES + 4);
  return <u32>siphash24(key0, key1, <u32>MAC_INPUT, MAC_BYTES) & MAC_MASK;
}

/** The initial sequence number for the block's 4-tuple, the peer's initial number and its MSS. */
export function cookieMake(t: Tcb, irs: u32, mss: u32): u32 {
  let index: u32 = 7;
  while (index > 0 && mssAt(index) > mss) index--;
  const minute = minuteNow();
  const start = base(t, irs);
  return start + ((<u32>minute) << MINUTE_SHIFT) + (index << MSS_SHIFT) + mac(irs, minute, index);
}

/** The MSS in a cookie of ours; 0 when it is not one, or too old. */
export function cookieMss(t: Tcb, irs: u32, cookie: u32): u32 {
  const word = cookie - base(t, irs);
  const now = minuteNow();
  const age = (<u32>now - (word >>> MINUTE_SHIFT)) & 31;
  if (age > AGE_MAX || <u64>age > now) return 0;
  const index = (word >>> MSS_SHIFT) & 7;
  return (word & MAC_MASK) == mac(irs, now - age, index) ? mssAt(index) : 0;
}

/** What is added to our timestamp so that it carries the block's options. */
export function cookieStampShift(t: Tcb): u32 {
  let bits: u32 = t.flags & FL_WSCALE ? <u32>t.sndWscale : NO_WSCALE;
  if (t.flags & FL_SACK) bits |= SACK_BIT;
  if (t.flags & FL_ECN) bits |= ECN_BIT;
  const now = nowMs();
  let stamp = (now & ~OPTION_MASK) | bits;
  if (<i32>(stamp - now) > 0) stamp -= 1 << OPTION_BITS;
  return stamp - now;
}

/** Whether the echoed timestamp, taken back to our clock, can be that of a cookie. */
export function cookieStampFine(stamp: u32): bool {
  return nowMs() - stamp <= AGE_MAX_MS + OPTION_MASK;
}

/** Narrows the block's offer to the options that the timestamp says were agreed on. */
export function cookieOptions(t: Tcb, stamp: u32): void {
  const scale = stamp & NO_WSCALE;
  if (scale == NO_WSCALE) {
    t.flags &= ~FL_WSCALE;
    t.rcvWscale = 0;
  } else if (t.flags & FL_WSCALE) t.sndWscale = <u8>scale;
  if (!(stamp & SACK_BIT)) t.flags &= ~FL_SACK;
  if (stamp & ECN_BIT) t.flags |= FL_ECN;
}
