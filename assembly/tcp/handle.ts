// Slots and handles. A handle is an index in its low bits and a generation above, 30 bits in all and never 0 (bit 30 marks
// those of UDP sockets, udp/handle.ts); the generation moves on when a connection is released, and free indices are taken
// first in, first out, so that a stale handle stays stale for as long as the table allows.
//
//   31  30  29 ………………… indexBits ………… 0
//   ├ 0 ┼ 0 ┼── generation ─┼── index ──┤
//
// A connection that does something has a slot; there may be fewer slots than connections, and those that do nothing
// are parked (park.ts). The place of an index, 4 bytes, says where its connection is: a slot's address, a parked record's | 1,
// or of a free index the next one << 2 | 2. Slot and record say which handle it has; that of a free index, which is the
// next connection's, is kept apart, so that twice as many places are in a cache.

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
import { flowRecent } from './flow';
import { parkedHandle, unpark } from './park';

/** Of a place, and of a handle kept for later. */
export const PLACE_BYTES: u32 = 8;
@inline const PARKED: u32 = 1;
@inline const FREE: u32 = 2;
/** No index. */
const NONE: u32 = 0x3fffffff;

let places: u32 = 0;
/** The handle that each free index has for the next connection, 4 bytes each. */
let nextHandles: u32 = 0;
let total: u32 = 0;
let connections: u32 = 0;
let indexBits: u32 = 0;
/** Free indices of connections, and of listeners, which come behind them. */
let freeHead: u32 = NONE;
let freeTail: u32 = NONE;
let listenerFreeHead: u32 = NONE;
let listenerFreeTail: u32 = NONE;
/** Listeners that there may still be: each is sure of a slot. */
let listenersLeft: u32 = 0;
/** Free slots, through outNext, which is 0 in one that was never used: the next is right behind. And their number. */
let slotFree: u32 = 0;
let slotsFree: u32 = 0;

@inline
function placeAt(index: u32): u32 {
  return places + (index << 2);
}

@inline
function nextHandleAt(index: u32): u32 {
  return nextHandles + (index << 2);
}

function indexFree(index: u32): void {
  store<u32>(placeAt(index), (NONE << 2) | FREE);
  const next = (index << 2) | FREE;
  if (index < connections) {
    if (freeTail != NONE) store<u32>(placeAt(freeTail), next);
    else freeHead = index;
    freeTail = index;
  } else {
    if (listenerFreeTail != NONE) store<u32>(placeAt(listenerFreeTail), next);
    else listenerFreeHead = index;
    listenerFreeTail = index;
    listenersLeft++;
  }
}

/** `slots` of them from `slotsAt` on, as many for connections as are not for listeners; an index for each that there may be. */
export function slotsInit(slotsAt: u32, slots: u32, placesAt: u32, maxConnections: u32, maxListeners: u32): void {
  places = placesAt;
  nextHandles = placesAt + ((maxConnections + maxListeners) << 2);
  connections = maxConnections;
  total = maxConnections + maxListeners;
  indexBits = 32 - clz(total - 1);
  freeHead = freeTail = listenerFreeHead = listenerFreeTail = NONE;
  for (let i: u32 = 0; i < total; i++) {
    store<u32>(nextHandleAt(i), (1 << indexBits) | i);
    indexFree(i);
  }
  listenersLeft = maxListeners;
  slotFree = slotsAt;
  slotsFree = slots;
}

@inline
export function slotGive(t: Tcb): void {
  t.outNext = slotFree;
  slotFree = addressOf(t);
  slotsFree++;
}

@inline
function take(): u32 {
  const at = slotFree;
  const next = tcbAt(at).outNext;
  slotFree = next ? next : at + SLOT_SIZE;
  slotsFree--;
  return at;
}

/** Slots that connections may still take. */
@inline
export function slotsLeft(): u32 {
  return slotsFree - listenersLeft;
}

/** A slot for a connection, with anything in it; 0 when there is none. */
export function slotTake(): u32 {
  return slotsFree > listenersLeft ? take() : 0;
}

export function slotTotal(): u32 {
  return total;
}

/** Where the index's connection or listener is: a slot, a parked record | 1, or 0 for nowhere. */
export function placeOf(index: u32): u32 {
  const where = load<u32>(placeAt(index));
  return where & FREE ? 0 : where;
}

@inline
function indexOf(handle: u32): u32 {
  return handle & ((1 << indexBits) - 1);
}

/** The connection is now in this slot, or in a parked record. */
@inline
export function placeSet(handle: u32, where: u32): void {
  store<u32>(placeAt(indexOf(handle)), where);
}

/** Zeroes a slot and gives it the handle at the head of the list that begins at `index`, which is not NONE. */
function occupy(at: u32, index: u32): u32 {
  const place = placeAt(index);
  const next = load<u32>(place) >>> 2;
  if (index < connections) {
    freeHead = next;
    if (next == NONE) freeTail = NONE;
  } else {
    listenerFreeHead = next;
    if (next == NONE) listenerFreeTail = NONE;
    listenersLeft--;
  }
  memory.fill(at, 0, SLOT_SIZE);
  tcbAt(at).handle = load<u32>(nextHandleAt(index));
  store<u32>(place, at);
  return at;
}

/** A zeroed slot for a connection, 0 when none is left. The oldest connection in TIME-WAIT makes room if need be. */
export function slotAlloc(): u32 {
  if ((freeHead == NONE || slotsFree <= listenersLeft) && !evictTimeWait()) return 0;
  const at = freeHead == NONE ? 0 : slotTake();
  return at ? occupy(at, freeHead) : 0;
}

/** A zeroed slot for a listener, 0 when none is left. */
export function listenerSlotAlloc(): u32 {
  return listenerFreeHead == NONE ? 0 : occupy(take(), listenerFreeHead);
}

/** Ends the life of a handle. The slot is reused once it is on none of the output and event lists. */
export function slotRelease(t: Tcb): void {
  const generations: u32 = <u32>0x3fffffff >>> indexBits;
  const index = indexOf(t.handle);
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
  const index = indexOf(t.handle);
  store<u32>(nextHandleAt(index), t.handle);
  indexFree(index);
  slotGive(t);
}

/** Why fromHandle() said 0: the connection is there and parked, but there is no slot for it at the moment. */
export let slotMissing: bool = false;

/** The connection or listener that the application knows by this handle; 0 when stale or foreign, or slotMissing. */
export function fromHandle(handle: i32): u32 {
  slotMissing = false;
  // An inline application mostly answers where it is asked: no need to look into its place, which may be cold.
  const recent = flowRecent();
  if (recent != 0 && tcbAt(recent).handle == <u32>handle && tcbAt(recent).state != 0) return held(tcbAt(recent));
  const index = indexOf(<u32>handle);
  if (index >= total) return 0;
  let where = load<u32>(placeAt(index));
  if (where & (PARKED | FREE)) {
    if (where & FREE || parkedHandle(where & ~PARKED) != <u32>handle) return 0;
    where = unpark(where & ~PARKED);
    slotMissing = where == 0;
    return where;
  }
  const t = tcbAt(where);
  return t.handle == <u32>handle && t.state != 0 ? held(t) : 0;
}

/** Its slot, 0 when the application has not got the connection yet, or has closed it. */
@inline
function held(t: Tcb): u32 {
  return t.flags & (FL_ORPHAN | FL_HALF_OPEN | FL_ACCEPT_QUEUE | FL_ZOMBIE) ? 0 : addressOf(t);
}

/** True while `t` is the connection that had this handle and the application still holds it. */
@inline
export function stillHeld(t: Tcb, handle: u32): bool {
  return t.handle == handle && (t.flags & FL_ORPHAN) == 0;
}
