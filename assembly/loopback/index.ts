// The loopback link: what the core has put into the transmit ring comes back in the receive ring. A module of its own
// beside the core in the same linear memory, so that a frame is moved by one call and a copy, as a driver does it. It
// has no static data (that is where the core's is); its state is in globals, one instance a link.
//
// A TCP checksum that the core leaves to it (TXF_TCP_CSUM) is summed from the bytes while they are copied, and filled in
// in the copy: the receiver verifies it by a sum of its own.
//
// What a turn has no room for stays in the transmit ring: the next one copies it, just before it is read.
//
// Receive objects, `stride` bytes each, have the frame at 66, so that the IP header is at a multiple of four. Those that are the
// link's are on a stack behind the last one: what was freed last is warm, and an object that is taken is not read.

import {
  CTL_DONE_AT,
  CTL_DONE_HEAD,
  CTL_DONE_SIZE,
  CTL_DONE_TAIL,
  CTL_FREE_AT,
  CTL_FREE_HEAD,
  CTL_FREE_SIZE,
  CTL_FREE_TAIL,
  CTL_RX_AT,
  CTL_RX_SIZE,
  CTL_TX_AT,
  CTL_TX_HEAD,
  CTL_TX_SIZE,
  CTL_TX_TAIL,
  RXD_ADDR,
  RXD_FLAGS,
  RXD_LEN,
  RXD_SIZE,
  TX_MAX_SEGS,
  TXD_ADDR,
  TXD_FLAGS,
  TXD_LEN,
  TXD_OFFLOAD,
  TXD_SIZE,
  TXF_END,
  TXF_TCP_CSUM,
} from '../abi/layout';
import { fold, sum16, sumRest } from '../wire/checksum';
import { TCP_CHECKSUM } from '../wire/tcp';

/** Bytes in front of the frame in a receive object. */
@inline const ROOM: u32 = 66;
/** A segment of at most this many bytes is moved by words: headers, which are short and all of one length. */
@inline const SHORT: u32 = 96;

let stride: u32 = 0;
/** The stack, and the end of what is on it. */
let stack: u32 = 0;
let stackTop: u32 = 0;
/** Frames moved, and those for which there was no receive object or which were too long for one. */
let moved: u32 = 0;
let noObject: u32 = 0;
let tooLong: u32 = 0;

/** The receive objects: `objects` of them, each `bytes` apart, from `at` on. Their stack, u32 each, lies behind them. */
export function attach(at: u32, bytes: u32, objects: u32): void {
  stride = bytes;
  stack = at + objects * bytes;
  stackTop = stack + (objects << 2);
  for (let i: u32 = 0; i < objects; i++) store<u32>(stackTop - (i << 2) - 4, at + i * bytes);
  moved = noObject = tooLong = 0;
}

export function framesMoved(): u32 {
  return moved;
}

export function framesWithoutObject(): u32 {
  return noObject;
}

export function framesTooLong(): u32 {
  return tooLong;
}

/** Whether frames wait that the last turn had no room for. */
export function waiting(): bool {
  return load<u32>(CTL_TX_HEAD) != load<u32>(CTL_TX_TAIL);
}

/** Takes back what the core has freed, moves what it has sent, and returns the number of receive descriptors written. */
export function turn(burst: u32): u32 {
  takeFreed();
  return transmit(min(burst, load<u32>(CTL_RX_SIZE)));
}

function takeFreed(): void {
  const head = load<u32>(CTL_FREE_HEAD);
  let tail = load<u32>(CTL_FREE_TAIL);
  if (head == tail) return;
  const at = load<u32>(CTL_FREE_AT);
  const mask = load<u32>(CTL_FREE_SIZE) - 1;
  for (; tail != head; tail++) {
    giveBack(load<u32>(at + ((tail & mask) << 2)));
  }
  store<u32>(CTL_FREE_TAIL, tail);
}

/** A receive object, 0 when there is none. */
@inline
function take(): u32 {
  if (stackTop == stack) return 0;
  stackTop -= 4;
  return load<u32>(stackTop);
}

/** Each object is the link's once: the stack has room for all. */
@inline
function giveBack(object: u32): void {
  store<u32>(stackTop, object);
  stackTop += 4;
}

/** Copies a segment; may write up to 15 bytes more than `len`, which are those of the next segment or nobody's. */
@inline
function copySegment(to: u32, from: u32, len: u32): void {
  if (len > SHORT) {
    memory.copy(to, from, len);
    return;
  }
  for (let i: u32 = 0; i < len; i += 16) v128.store(to + i, v128.load(from + i));
}

/**
 * As copySegment(), and returns the sum of the bytes as sum16() does: lanes of 64 bits add words of 64 bits modulo 2^64, and others
 * their upper halves, from which the sum of the lower halves follows.
 */
function copySum(to: u32, from: u32, len: u32): u64 {
  let a = i64x2.splat(0);
  let b = i64x2.splat(0);
  let c = i64x2.splat(0);
  let d = i64x2.splat(0);
  for (; len >= 64; len -= 64) {
    const v = v128.load(from);
    const w = v128.load(from, 16);
    const x = v128.load(from, 32);
    const y = v128.load(from, 48);
    v128.store(to, v);
    v128.store(to, w, 16);
    v128.store(to, x, 32);
    v128.store(to, y, 48);
    a = i64x2.add(a, i64x2.add(v, w));
    b = i64x2.add(b, i64x2.add(i64x2.shr_u(v, 32), i64x2.shr_u(w, 32)));
    c = i64x2.add(c, i64x2.add(x, y));
    d = i64x2.add(d, i64x2.add(i64x2.shr_u(x, 32), i64x2.shr_u(y, 32)));
    from += 64;
    to += 64;
  }
  for (; len >= 16; len -= 16) {
    const v = v128.load(from);
    v128.store(to, v);
    a = i64x2.add(a, v);
    b = i64x2.add(b, i64x2.shr_u(v, 32));
    from += 16;
    to += 16;
  }
  const all = i64x2.add(a, c);
  const upper = i64x2.add(b, d);
  const sum = i64x2.add(i64x2.sub(all, i64x2.shl(upper, 32)), upper);
  const acc = <u64>i64x2.extract_lane(sum, 0) + <u64>i64x2.extract_lane(sum, 1);
  if (len == 0) return acc;
  v128.store(to, v128.load(from));
  return sumRest(from, len, acc);
}

/** The sum of a piece behind others in a sum, of which the lowest bit of `before` says whether they were odd. */
@inline
function placed(sum: u64, before: u32): u64 {
  if ((before & 1) == 0) return sum;
  const folded = fold(sum);
  return ((folded << 8) | (folded >> 8)) & 0xffff;
}

/** Moves at most `most` frames that the core has sent, and returns how many receive descriptors it has written. */
function transmit(most: u32): u32 {
  const head = load<u32>(CTL_TX_HEAD);
  let tail = load<u32>(CTL_TX_TAIL);
  let frames: u32 = 0;
  if (head == tail) return frames;
  const descriptors = load<u32>(CTL_RX_AT);
  const ring = load<u32>(CTL_TX_AT);
  const mask = load<u32>(CTL_TX_SIZE) - 1;
  const done = load<u32>(CTL_DONE_AT);
  const doneMask = load<u32>(CTL_DONE_SIZE) - 1;
  const doneTail = load<u32>(CTL_DONE_TAIL);
  let doneHead = load<u32>(CTL_DONE_HEAD);
  // Only while every completion is sure to have room.
  while (tail != head && frames < most && doneMask + 1 - (doneHead - doneTail) >= TX_MAX_SEGS) {
    const object = take();
    const first = ring + (tail & mask) * TXD_SIZE;
    const summed = (load<u32>(first, TXD_FLAGS) & TXF_TCP_CSUM) != 0;
    /** Where in the frame its TCP header is, and the sum from there on. */
    const tcp = <u32>load<u8>(first, TXD_OFFLOAD) + <u32>load<u8>(first, TXD_OFFLOAD + 1);
    let sum: u64 = 0;
    let len: u32 = 0;
    let flags: u32 = 0;
    do {
      const at = ring + (tail++ & mask) * TXD_SIZE;
      const from = load<u32>(at, TXD_ADDR);
      const bytes = load<u32>(at, TXD_LEN);
      flags = load<u32>(at, TXD_FLAGS);
      if (object != 0 && ROOM + len + bytes + 16 <= stride) {
        const to = object + ROOM + len;
        if (!summed) copySegment(to, from, bytes);
        else if (len != 0) sum += placed(copySum(to, from, bytes), len - tcp);
        else {
          copySegment(to, from, bytes);
          sum = sum16(from + tcp, bytes - tcp, 0);
        }
      }
      len += bytes;
      store<u32>(done + ((doneHead++ & doneMask) << 2), from);
    } while ((flags & TXF_END) == 0);
    if (object == 0) {
      noObject++;
      continue;
    }
    if (ROOM + len + 16 > stride) {
      tooLong++;
      giveBack(object);
      continue;
    }
    if (summed) store<u16>(object + ROOM + tcp, <u16>~fold(sum), TCP_CHECKSUM);
    moved++;
    describe(descriptors + frames++ * RXD_SIZE, object, len);
  }
  store<u32>(CTL_TX_TAIL, tail);
  store<u32>(CTL_DONE_HEAD, doneHead);
  return frames;
}

@inline
function describe(at: u32, object: u32, len: u32): void {
  store<u32>(at, object + ROOM, RXD_ADDR);
  store<u32>(at, len, RXD_LEN);
  store<u32>(at, 0, RXD_FLAGS);
}
