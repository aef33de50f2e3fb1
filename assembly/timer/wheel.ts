// Hierarchical timing wheel. Time is counted in ticks of 128 µs. Four levels of 256 slots; a node due at tick d
// is filed at the level of the highest byte in which d differs from the wheel's own tick:
//
//   level 3 │ byte 3 │  slots of 2^24 ticks (36 min)
//   level 2 │ byte 2 │  slots of 2^16 ticks (8.4 s)
//   level 1 │ byte 1 │  slots of 256 ticks  (33 ms)
//   level 0 │ byte 0 │  slots of one tick   (128 µs)
//
// So everything in a level is due before everything in the level above, a slot's start is exact from its index,
// and the next slot in time is the first set bit after the wheel's own index (the top level is cyclic). A slot
// reached above level 0 spreads its nodes to lower levels. Ticks are u32 and wrap; nodes are due less than 2^31
// ticks (76 h) ahead, a later one is held at that.
//
// A node is intrusive, 16 bytes, all zero when new:
//   0      4      8     12
//   ├ next ┼ prev ┼ due ┼ queued ┤
// next, prev: circular list with the slot's head, 0 when the node is not in the wheel. due: tick at which to
// fire, or NEVER when cancelled but still filed. queued: tick it is filed under; queued ≤ due. Moving a timer
// later (what TCP does for every segment) stores `due` and nothing else: the node is filed anew when it is met.
//
// A node that is armed again and again is left where it is when it is cancelled: to be armed again is then to store `due`.
// One that is armed once in a while is taken out at once, when its neighbours are as warm as they were at arming; when the
// wheel met it, in its time, each would be a cache miss that the next one waits for. A node is of the first kind when it is
// armed before its last deadline is past, and is filed a tick early then; cancelling looks at that.

import { nowUs } from '../abi/runtime';
import { dispatch } from './dispatch';

@inline const NEXT: usize = 0;
@inline const PREV: usize = 4;
@inline const DUE: usize = 8;
@inline const QUEUED: usize = 12;

/** Bytes of a timer node. */
export const TIMER_NODE: u32 = 16;
/** log2 of the tick in microseconds. */
export const TICK_SHIFT: u64 = 7;
/** 4 ms: what is used again within that is not cold. */
const OFTEN: u32 = 32;
const NEVER: u32 = 0xffffffff;
const FAR: u64 = 0x7f000000;
const HALF: u64 = 0x7fffffff;

// Slot heads: {next, prev}, 8 bytes each, 4 × 256 of them. Occupancy: one bit a slot, four u64 a level.
// Slot 1024 is the shelf: a timer armed inside a run that still has 76 hours of ticks to walk cannot be told by
// wrapping comparison from the past, so it is kept aside and filed when the run is over.
const SLOTS: usize = memory.data(8200, 64);
const BITS: usize = memory.data(136, 64);
const SHELF: u32 = 1024;

/** Every node due at or before this tick has fired. Only its low 32 bits meet a node's tick. */
let wheel: u64 = 0;
/** A host that lets this much time pass, and comes this much after a timer was due, has been away: it had no CPU. */
const AWAY_US: u64 = 1000;
const LATE_US: u64 = 256;
/** Many turns of a loop, and a delayed ACK of the shortest kind. */
const GRACE_US: u64 = 2000;
/** Before this time silence says nothing about the peer. */
export let backUs: u64 = 0;

/** Ticks at or before this one are out of reach for timerArm: a timer armed for the past fires in the next run. */
let floor: u64 = 0;

export function timersInit(): void {
  for (let i: usize = 0; i <= SHELF; i++) {
    const head = SLOTS + (i << 3);
    store<u32>(head, <u32>head, NEXT);
    store<u32>(head, <u32>head, PREV);
  }
  memory.fill(BITS, 0, 136);
  wheel = nowUs >> TICK_SHIFT;
  floor = wheel;
  backUs = 0;
}

function file(node: u32, tick: u32): void {
  const diff = tick ^ <u32>wheel;
  const level = (31 - clz(diff | 1)) >> 3;
  link(node, tick, (level << 8) | ((tick >> (level << 3)) & 255));
}

@inline
function link(node: u32, tick: u32, slot: u32): void {
  const head = <u32>SLOTS + (slot << 3);
  const last = load<u32>(head, PREV);
  store<u32>(node, head, NEXT);
  store<u32>(node, last, PREV);
  store<u32>(node, tick, QUEUED);
  store<u32>(last, node, NEXT);
  store<u32>(head, node, PREV);
  const word = BITS + ((slot >> 6) << 3);
  store<u64>(word, load<u64>(word) | ((<u64>1) << (slot & 63)));
}

function unlink(node: u32): void {
  const next = load<u32>(node, NEXT);
  const prev = load<u32>(node, PREV);
  store<u32>(prev, next, NEXT);
  store<u32>(next, prev, PREV);
  store<u32>(node, 0, NEXT);
  if (next == prev) {
    // Both neighbours are the slot's head: nothing is left in the slot.
    const slot = (next - <u32>SLOTS) >> 3;
    const word = BITS + ((slot >> 6) << 3);
    store<u64>(word, load<u64>(word) & ~((<u64>1) << (slot & 63)));
  }
}

/** Arms the node for `dueUs` (absolute). Never fires before it, and at most a tick after it given the chance. */
export function timerArm(node: u32, dueUs: u64): void {
  let tick = (dueUs + 127) >> TICK_SHIFT;
  const base = floor;
  if (tick <= base) tick = base + 1;
  else if (tick - base > FAR) tick = base + FAR;
  let due = <u32>tick;
  if (due == NEVER) due = 0;
  const far = tick - wheel > HALF;
  if (load<u32>(node, NEXT) != 0 && !far && <i32>(load<u32>(node, QUEUED) - due) <= 0) store<u32>(node, due, DUE);
  else fileAnew(node, due, far, tick - base);
}

function fileAnew(node: u32, due: u32, far: bool, ticks: u64): void {
  if (load<u32>(node, NEXT) != 0) unlink(node);
  const often = due - load<u32>(node, DUE) + OFTEN <= 2 * OFTEN && ticks > 1;
  store<u32>(node, due, DUE);
  if (far) link(node, due, SHELF);
  else file(node, often ? due - 1 : due);
}

/** Disarms the node. One that is armed often stays filed until its slot comes. */
@inline
export function timerCancel(node: u32): void {
  if (load<u32>(node, QUEUED) != load<u32>(node, DUE)) store<u32>(node, NEVER, DUE);
  else if (load<u32>(node, NEXT) != 0) unlink(node);
}

/** Disarms the node and takes it out of the wheel: to be called before its memory is used for anything else. */
export function timerRemove(node: u32): void {
  if (load<u32>(node, NEXT) != 0) unlink(node);
}

/** A node that may be filed goes to another address; what is at the old one is no node any more. */
export function timerMove(from: u32, to: u32): void {
  const next = load<u32>(from, NEXT);
  const prev = load<u32>(from, PREV);
  store<u64>(to, load<u64>(from));
  store<u64>(to, load<u64>(from, 8), 8);
  if (next == 0) return;
  store<u32>(next, to, PREV);
  store<u32>(prev, to, NEXT);
  store<u32>(from, 0, NEXT);
}

@inline
export function timerArmed(node: u32): bool {
  return load<u32>(node, NEXT) != 0 && load<u32>(node, DUE) != NEVER;
}

/**
 * The host calls at this time, `gapUs` after it did before: was it away while timers were due? What came meanwhile is still to
 * be read, and where the peer shares the thread it has been away as well, so what has not been answered by now may be
 * answered in a moment.
 */
@inline
export function noticeAbsence(gapUs: u64): void {
  if (gapUs > AWAY_US && <f64>nowUs > timersNext() + <f64>LATE_US) backUs = nowUs + GRACE_US;
}

/** First set bit of a level at or after `from`, or -1. */
function firstAt(level: u32, from: u32): i32 {
  if (from > 255) return -1;
  const row = BITS + (level << 5);
  let word = from >> 6;
  let bits = load<u64>(row + (word << 3)) & (~(<u64>0) << (from & 63));
  while (bits == 0) {
    if (++word == 4) return -1;
    bits = load<u64>(row + (word << 3));
  }
  return <i32>((word << 6) + <u32>ctz(bits));
}

// Result of nextSlot().
let slotLevel: u32 = 0;
let slotIndex: u32 = 0;

/** Ticks from the wheel's own tick to the start of the next occupied slot, or -1 when there is none. */
function nextSlot(): i64 {
  const tick = <u32>wheel;
  let index = firstAt(0, tick & 255);
  if (index >= 0) {
    slotLevel = 0;
    slotIndex = <u32>index;
    return <i64>(<u32>index - (tick & 255));
  }
  for (let level: u32 = 1; level < 4; level++) {
    const shift = level << 3;
    const own = (tick >> shift) & 255;
    index = firstAt(level, own + 1);
    if (index < 0 && level == 3) index = firstAt(3, 0);
    if (index >= 0) {
      slotLevel = level;
      slotIndex = <u32>index;
      // Within a turn of the level; u32 arithmetic wraps at the top level as ticks do.
      const mask: u32 = level == 3 ? 0 : ~(((<u32>1) << (shift + 8)) - 1);
      return <i64>(<u32>(((tick & mask) | ((<u32>index) << shift)) - tick));
    }
  }
  return -1;
}

/** Fires every node due by now. Timers armed by the callbacks for now or the past fire in the next run. */
export function timersRun(): void {
  const target = nowUs >> TICK_SHIFT;
  if (target <= wheel) return;
  floor = target;
  for (;;) {
    const delta = nextSlot();
    if (delta < 0 || <u64>delta > target - wheel) break;
    wheel += <u64>delta;
    const tick = <u32>wheel;
    const head = <u32>SLOTS + (((slotLevel << 8) | slotIndex) << 3);
    const level = slotLevel;
    for (;;) {
      const node = load<u32>(head, NEXT);
      if (node == head) break;
      unlink(node);
      const due = load<u32>(node, DUE);
      if (due == NEVER) continue;
      if (<i32>(due - tick) > 0) file(node, due);
      else if (level == 0) dispatch(node);
      else file(node, tick);
    }
  }
  wheel = target;
  const shelf = <u32>SLOTS + (SHELF << 3);
  for (;;) {
    const node = load<u32>(shelf, NEXT);
    if (node == shelf) break;
    unlink(node);
    const due = load<u32>(node, DUE);
    if (due != NEVER) file(node, due);
  }
}

/** Microseconds at which timersRun() has something to do next (never later than the next node is due); Infinity when nothing is armed. */
export function timersNext(): f64 {
  const delta = nextSlot();
  return delta < 0 ? Infinity : <f64>((wheel + <u64>delta) << TICK_SHIFT);
}
