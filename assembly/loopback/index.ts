// The loopback link: what the core has put into the transmit ring comes back in the receive ring. A module of its own
// beside the core in the same linear memory, so that a frame is moved by one call and a copy, as a driver does it. It
// has no static data (that is where the core's is); its state is in globals, one instance a link.
//
// Receive object, `stride` bytes, while it is the link's:
//   0      4     8        66
//   ├ next ┼ len ┼ unused ┼ frame: the IP header is at a multiple of four ─┤

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
  TXD_SIZE,
  TXF_END,
} from '../abi/layout';

/** Bytes in front of the frame in a receive object. */
@inline const ROOM: u32 = 66;
@inline const LEN: usize = 4;
/** A segment of at most this many bytes is moved by words: headers, which are short and all of one length. */
@inline const SHORT: u32 = 96;

let base: u32 = 0;
let stride: u32 = 0;
let count: u32 = 0;
/** Objects that were never used: from base + fresh × stride on. */
let fresh: u32 = 0;
let freeList: u32 = 0;
let inboxHead: u32 = 0;
let inboxTail: u32 = 0;
/** Frames moved, and those for which there was no receive object or which were too long for one. */
let moved: u32 = 0;
let noObject: u32 = 0;
let tooLong: u32 = 0;

/** The receive objects: `objects` of them, each `bytes` apart, from `at` on. */
export function attach(at: u32, bytes: u32, objects: u32): void {
  base = at;
  stride = bytes;
  count = objects;
  fresh = freeList = inboxHead = inboxTail = moved = noObject = tooLong = 0;
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
  return inboxHead != 0;
}

/** Takes back what the core has freed, moves what it has sent, and returns the number of receive descriptors written. */
export function turn(burst: u32): u32 {
  takeFreed();
  const most = min(burst, load<u32>(CTL_RX_SIZE));
  return transmit(receive(most), most);
}

function takeFreed(): void {
  const head = load<u32>(CTL_FREE_HEAD);
  let tail = load<u32>(CTL_FREE_TAIL);
  if (head == tail) return;
  const at = load<u32>(CTL_FREE_AT);
  const mask = load<u32>(CTL_FREE_SIZE) - 1;
  for (; tail != head; tail++) {
    const object = load<u32>(at + ((tail & mask) << 2));
    store<u32>(object, freeList);
    freeList = object;
  }
  store<u32>(CTL_FREE_TAIL, tail);
}

/** A receive object, 0 when there is none. */
@inline
function take(): u32 {
  const object = freeList;
  if (object != 0) {
    freeList = load<u32>(object);
    return object;
  }
  return fresh < count ? base + fresh++ * stride : 0;
}

/** Copies a segment; may write up to 15 bytes more than `len`, which are those of the next segment or nobody's. */
@inline
function copySegment(to: u32, from: u32, len: u32): void {
  if (len > SHORT) {
    memory.copy(to, from, len);
    return;
  }
  for (let i: u32 = 0; i < len; i += 16) {
    store<u64>(to + i, load<u64>(from + i));
    store<u64>(to + i, load<u64>(from + i, 8), 8);
  }
}

/**
 * Moves what the core has sent: behind the `frames` that have their descriptors already as far as there may be `most`, and
 * into the inbox beyond that. Returns how many have one now.
 */
function transmit(frames: u32, most: u32): u32 {
  const head = load<u32>(CTL_TX_HEAD);
  let tail = load<u32>(CTL_TX_TAIL);
  if (head == tail) return frames;
  const descriptors = load<u32>(CTL_RX_AT);
  const ring = load<u32>(CTL_TX_AT);
  const mask = load<u32>(CTL_TX_SIZE) - 1;
  const done = load<u32>(CTL_DONE_AT);
  const doneMask = load<u32>(CTL_DONE_SIZE) - 1;
  const doneTail = load<u32>(CTL_DONE_TAIL);
  let doneHead = load<u32>(CTL_DONE_HEAD);
  // Only while every completion is sure to have room.
  while (tail != head && doneMask + 1 - (doneHead - doneTail) >= TX_MAX_SEGS) {
    const object = take();
    let len: u32 = 0;
    let flags: u32 = 0;
    do {
      const at = ring + (tail++ & mask) * TXD_SIZE;
      const from = load<u32>(at, TXD_ADDR);
      const bytes = load<u32>(at, TXD_LEN);
      flags = load<u32>(at, TXD_FLAGS);
      if (object != 0 && ROOM + len + bytes + 16 <= stride) copySegment(object + ROOM + len, from, bytes);
      len += bytes;
      store<u32>(done + ((doneHead++ & doneMask) << 2), from);
    } while ((flags & TXF_END) == 0);
    if (object == 0) {
      noObject++;
      continue;
    }
    if (ROOM + len + 16 > stride) {
      tooLong++;
      store<u32>(object, freeList);
      freeList = object;
      continue;
    }
    moved++;
    if (frames < most) {
      describe(descriptors + frames++ * RXD_SIZE, object, len);
      continue;
    }
    store<u32>(object, 0);
    store<u32>(object, len, LEN);
    if (inboxTail != 0) store<u32>(inboxTail, object);
    else inboxHead = object;
    inboxTail = object;
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

/** Descriptors of frames that the last turn had no room for. */
function receive(most: u32): u32 {
  if (inboxHead == 0) return 0;
  let at = load<u32>(CTL_RX_AT);
  const end = at + most * RXD_SIZE;
  let frames: u32 = 0;
  let object = inboxHead;
  for (; object != 0 && at < end; at += RXD_SIZE) {
    const next = load<u32>(object);
    describe(at, object, load<u32>(object, LEN));
    object = next;
    frames++;
  }
  inboxHead = object;
  if (object == 0) inboxTail = 0;
  return frames;
}
