// TCP options (RFC 9293 §3.2): one bounded pass over what a segment carries, results in the globals below, and the
// options of our own segments. A malformed option ends the parse and is counted; nothing from the wire can trap.

import { count } from '../abi/runtime';
import { CNT_TcpExtTCPBadOptions } from '../abi/counters';
import { nowMs } from './isn';
import { Cold, F2_DSACK, FL_FIN_OOO, FL_SACK, FL_TS, FL_WSCALE, Tcb, coldOf } from './tcb';

const KIND_END: u32 = 0;
const KIND_NOP: u32 = 1;
const KIND_MSS: u32 = 2;
const KIND_WSCALE: u32 = 3;
const KIND_SACK_PERMITTED: u32 = 4;
const KIND_SACK: u32 = 5;
const KIND_TIMESTAMPS: u32 = 8;
/** RFC 2385 */
const KIND_MD5: u32 = 19;
const KIND_FAST_OPEN: u32 = 34;
/** RFC 6994: what Fast Open used before it had a number. */
const KIND_EXPERIMENT: u32 = 254;
const FAST_OPEN_MAGIC: u16 = 0x89f9;

/** Largest shift (RFC 7323 §2.3). */
export const WSCALE_MAX: u32 = 14;
/** Bytes of the timestamps option with its two NOPs (RFC 7323 appendix A). */
export const TS_BYTES: u32 = 12;
/** NOP, NOP, kind 8, length 10, as a little-endian word. */
export const TS_WORD: u32 = 0x0a080101;
/** Memory of the largest options block. */
export const OPTIONS_MAX: u32 = 40;

/** 0 = not there. */
export let optMss: u32 = 0;
/** -1 = not there. */
export let optWscale: i32 = -1;
export let optSackPermitted: bool = false;
export let optHasTs: bool = false;
export let optTsVal: u32 = 0;
export let optTsEcr: u32 = 0;
/** SACK blocks in the segment, and where the first one is (network order). */
export let optSackCount: u32 = 0;
export let optSackAt: u32 = 0;

/** Bytes of the Fast Open cookie, 0 = asked for, -1 = no such option; where it is; whether as an experiment. */
export let optCookieLen: i32 = -1;
export let optCookieAt: u32 = 0;
export let optCookieExperiment: bool = false;

/** The segment is signed with a key that we do not have. */
export let optSigned: bool = false;

/** For the fast path, which reads the aligned timestamps option itself. */
@inline
export function optSetTs(val: u32, ecr: u32): void {
  optHasTs = true;
  optTsVal = val;
  optTsEcr = ecr;
}

/** Reads the options in [at, end). */
export function optParse(at: u32, end: u32): void {
  optMss = 0;
  optWscale = -1;
  optSackPermitted = false;
  optHasTs = false;
  optSackCount = 0;
  optCookieLen = -1;
  optSigned = false;
  while (at < end) {
    const kind: u32 = load<u8>(at);
    if (kind == KIND_END) return;
    if (kind == KIND_NOP) {
      at++;
      continue;
    }
    if (at + 1 >= end) return count(CNT_TcpExtTCPBadOptions);
    const len: u32 = load<u8>(at, 1);
    if (len < 2 || at + len > end) return count(CNT_TcpExtTCPBadOptions);
    if (kind == KIND_TIMESTAMPS && len == 10) {
      optSetTs(bswap<u32>(load<u32>(at, 2)), bswap<u32>(load<u32>(at, 6)));
    } else if (kind == KIND_SACK && len >= 10 && (len - 2) % 8 == 0) {
      optSackCount = (len - 2) / 8;
      optSackAt = at + 2;
    } else if (kind == KIND_MSS && len == 4) {
      optMss = bswap<u16>(load<u16>(at, 2));
    } else if (kind == KIND_WSCALE && len == 3) {
      // RFC 7323 §2.3: a shift above 14 is used as 14.
      optWscale = min<i32>(load<u8>(at, 2), WSCALE_MAX);
    } else if (kind == KIND_SACK_PERMITTED && len == 2) {
      optSackPermitted = true;
    } else if (kind == KIND_MD5) {
      optSigned = true;
    } else if (kind == KIND_FAST_OPEN) {
      cookieSeen(at + 2, len - 2, false);
    } else if (kind == KIND_EXPERIMENT && len >= 4 && load<u16>(at, 2) == FAST_OPEN_MAGIC) {
      cookieSeen(at + 4, len - 4, true);
    } else if (kind >= KIND_MSS && kind <= KIND_TIMESTAMPS && kind != 6 && kind != 7) {
      count(CNT_TcpExtTCPBadOptions);
    }
    at += len;
  }
}

/** RFC 7413 §4.1.1: 4 to 16 bytes, an even number; none: a cookie is asked for. */
function cookieSeen(at: u32, len: u32, experiment: bool): void {
  if (len & 1 || len > 16 || (len != 0 && len < 4)) return count(CNT_TcpExtTCPBadOptions);
  optCookieLen = len;
  optCookieAt = at;
  optCookieExperiment = experiment;
}

/** Bytes of SACK option that the next segment should carry, padding included. */
@inline
export function sackBytes(t: Tcb): u32 {
  if (!(t.flags & FL_SACK)) return 0;
  const c = coldOf(t);
  let blocks: u32 = t.flags2 & F2_DSACK ? 1 : 0;
  if (t.oooHead != 0 || t.flags & FL_FIN_OOO) blocks += sackRanges(c);
  if (blocks == 0) return 0;
  return 4 + 8 * min<u32>(blocks, t.flags & FL_TS ? 3 : 4);
}

@inline
function sackRanges(c: Cold): u32 {
  return (
    <u32>(c.sack0Start != c.sack0End) +
    <u32>(c.sack1Start != c.sack1End) +
    <u32>(c.sack2Start != c.sack2End) +
    <u32>(c.sack3Start != c.sack3End)
  );
}

@inline
function putBlock(at: u32, start: u32, end: u32): u32 {
  if (start == end) return at;
  store<u32>(at, bswap<u32>(start));
  store<u32>(at, bswap<u32>(end), 4);
  return at + 8;
}

/** Bytes that optWrite() will write. */
@inline
export function optBytes(t: Tcb, sack: u32): u32 {
  return (t.flags & FL_TS ? TS_BYTES : 0) + sack;
}

/** Writes timestamps and SACK options of a synchronized segment; `sack` from sackBytes(). Returns their length. */
@inline
export function optWrite(t: Tcb, at: u32, sack: u32): u32 {
  let len: u32 = 0;
  if (t.flags & FL_TS) {
    store<u32>(at, TS_WORD);
    store<u32>(at, bswap<u32>(nowMs() + t.tsOffset), 4);
    store<u32>(at, bswap<u32>(t.tsRecent), 8);
    len = TS_BYTES;
  }
  if (sack) {
    writeSack(coldOf(t), at + len, sack);
    len += sack;
  }
  return len;
}

function writeSack(c: Cold, at: u32, bytes: u32): void {
  const end = at + bytes;
  store<u32>(at, 0x00050101 | ((bytes - 2) << 24));
  // RFC 2883 §4: the duplicate comes first, once.
  let p = putBlock(at + 4, c.dsackStart, c.dsackEnd);
  c.dsackStart = c.dsackEnd = 0;
  c.flags2 &= ~F2_DSACK;
  if (p < end) p = putBlock(p, c.sack0Start, c.sack0End);
  if (p < end) p = putBlock(p, c.sack1Start, c.sack1End);
  if (p < end) p = putBlock(p, c.sack2Start, c.sack2End);
  if (p < end) putBlock(p, c.sack3Start, c.sack3End);
}

// The Fast Open option of the next SYN or SYN-ACK.
let synCookieLen: i32 = -1;
let synCookieAt: u32 = 0;
let synCookieExperiment: bool = false;

/** The next SYN or SYN-ACK carries a Fast Open option with these bytes; a length of -1: it carries none. */
export function optSynCookie(len: i32, at: u32, experiment: bool): void {
  synCookieLen = len;
  synCookieAt = at;
  synCookieExperiment = experiment;
}

function writeCookie(at: u32): u32 {
  let len: u32 = 2;
  if (synCookieExperiment) {
    len = 4;
    store<u16>(at, FAST_OPEN_MAGIC, 2);
  }
  for (let i: i32 = 0; i < synCookieLen; i++) store<u8>(at + len + i, load<u8>(synCookieAt + i));
  len += synCookieLen;
  store<u8>(at, synCookieExperiment ? KIND_EXPERIMENT : KIND_FAST_OPEN);
  store<u8>(at, len, 1);
  for (; len & 3; len++) store<u8>(at + len, KIND_NOP);
  return len;
}

/**
 * Writes the options of a SYN or SYN-ACK: those whose FL_ bits are set on the block. Returns their length.
 * The timestamp echo is 0 in a SYN without ACK (RFC 7323 §3.2).
 */
export function optWriteSyn(t: Tcb, at: u32, echo: u32): u32 {
  const c = coldOf(t);
  const flags = t.flags;
  store<u32>(at, 0x00000402 | ((<u32>bswap<u16>(c.ownMss)) << 16));
  let len: u32 = 4;
  if (flags & FL_TS) {
    // SACK-permitted (4, 2) takes the place of the two NOPs.
    store<u32>(at + len, flags & FL_SACK ? 0x0a080204 : TS_WORD);
    store<u32>(at + len, bswap<u32>(nowMs() + t.tsOffset), 4);
    store<u32>(at + len, bswap<u32>(echo), 8);
    len += 12;
  } else if (flags & FL_SACK) {
    store<u32>(at + len, 0x02040101);
    len += 4;
  }
  if (flags & FL_WSCALE) {
    store<u32>(at + len, 0x00030301 | ((<u32>t.rcvWscale) << 24));
    len += 4;
  }
  if (synCookieLen >= 0) {
    len += writeCookie(at + len);
    synCookieLen = -1;
  }
  return len;
}
