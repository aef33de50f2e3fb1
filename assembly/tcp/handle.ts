// Slots and handles. A handle is the slot's index in its low bits and a generation above, 30 bits in all and never 0 (bit
// 30 marks those of UDP sockets, udp/handle.ts); the generation moves on when a slot is released, and the free list is first in, first out, so that a stale handle
// stays stale for as long as the table allows.
//
//   31  30  29 ………………… indexBits ………… 0
//   ├ 0 ┼ 0 ┼── generation ─┼── index ──┤

import {
  FL_ACCEPT_QUEUE,
  FL_HALF_OPEN,
  FL_IN_EVENTS,
  FL_ORPHAN,
  FL_WANT_OUT,
  FL_ZOMBIE,
  SLOT_SIZE,
  Tcb,
  addressOf,
  tcbAt,
} from './tcb';
import { evictTimeWait } from './close';

let base: u32 = 0;
let total: u32 = 0;
let connections: u32 = 0;
let indexBits: u32 = 0;
let freeHead: u32 = 0;
let freeTail: u32 = 0;
let listenerFreeHead: u32 = 0;
let listenerFreeTail: u32 = 0;

function pushFree(t: Tcb): void {
  const at = addressOf(t);
  t.outNext = 0;
  if ((at - base) / SLOT_SIZE < connections) {
    if (freeTail) tcbAt(freeTail).outNext = at;
    else freeHead = at;
    freeTail = at;
  } else {
    if (listenerFreeTail) tcbAt(listenerFreeTail).outNext = at;
    else listenerFreeHead = at;
    listenerFreeTail = at;
  }
}

export function slotsInit(at: u32, maxConnections: u32, maxListeners: u32): void {
  base = at;
  connections = maxConnections;
  total = maxConnections + maxListeners;
  indexBits = 32 - clz(total - 1);
  freeHead = freeTail = listenerFreeHead = listenerFreeTail = 0;
  for (let i: u32 = 0; i < total; i++) {
    const t = tcbAt(base + i * SLOT_SIZE);
    t.handle = (1 << indexBits) | i;
    pushFree(t);
  }
}

export function slotTotal(): u32 {
  return total;
}

/** The slot with this index, whatever it holds; 0 when out of range. */
export function slotAt(index: u32): u32 {
  return index < total ? base + index * SLOT_SIZE : 0;
}

function clean(t: Tcb): void {
  const handle = t.handle;
  memory.fill(addressOf(t), 0, SLOT_SIZE);
  t.handle = handle;
}

/** A zeroed slot for a connection, 0 when none is left. The oldest connection in TIME-WAIT makes room if need be. */
export function slotAlloc(): u32 {
  if (!freeHead && !evictTimeWait()) return 0;
  const at = freeHead;
  if (!at) return 0;
  freeHead = tcbAt(at).outNext;
  if (!freeHead) freeTail = 0;
  clean(tcbAt(at));
  return at;
}

/** A zeroed slot for a listener, 0 when none is left. */
export function listenerSlotAlloc(): u32 {
  const at = listenerFreeHead;
  if (!at) return 0;
  listenerFreeHead = tcbAt(at).outNext;
  if (!listenerFreeHead) listenerFreeTail = 0;
  clean(tcbAt(at));
  return at;
}

/** Ends the life of a handle. The slot is reused once it is on none of the output and event lists. */
export function slotRelease(t: Tcb): void {
  const generations: u32 = <u32>0x3fffffff >>> indexBits;
  const index = t.handle & ((1 << indexBits) - 1);
  let generation = ((t.handle >>> indexBits) + 1) & generations;
  if (generation == 0) generation = 1;
  t.handle = (generation << indexBits) | index;
  t.state = 0;
  t.evPending = 0;
  t.flags = (t.flags & (FL_WANT_OUT | FL_IN_EVENTS)) | FL_ZOMBIE;
  slotReap(t);
}

/** To be called when a slot came off a list: frees a released one that is on no other. */
export function slotReap(t: Tcb): void {
  if ((t.flags & (FL_ZOMBIE | FL_WANT_OUT | FL_IN_EVENTS)) != FL_ZOMBIE) return;
  t.flags = 0;
  pushFree(t);
}

/** The connection or listener that the application knows by this handle; 0 when stale or foreign. */
export function fromHandle(handle: i32): u32 {
  const index = <u32>handle & ((1 << indexBits) - 1);
  if (index >= total) return 0;
  const t = tcbAt(base + index * SLOT_SIZE);
  if (t.handle != <u32>handle || t.state == 0) return 0;
  if (t.flags & (FL_ORPHAN | FL_HALF_OPEN | FL_ACCEPT_QUEUE | FL_ZOMBIE)) return 0;
  return addressOf(t);
}

/** True while `t` is the connection that had this handle and the application still holds it. */
@inline
export function stillHeld(t: Tcb, handle: u32): bool {
  return t.handle == handle && (t.flags & FL_ORPHAN) == 0;
}
