// Zbuf: reference-counted objects in zones (DESIGN: Zbuf). alloc sets the count to 1, a reference adds one, giving
// it up takes one, at 0 the object goes back to its zone's free list (last in, first out: what was used last is
// warm), or, for a receive object, to the link through the FREE ring. An address anywhere in an object stands
// for the object. Of the references some are the application's: it can give up those, and no other.
//
// Zones belong to a size class while they hold objects of it. Each class lists its zones that have free objects.
// A zone whose objects are all free goes back to the idle ones when its class has free objects elsewhere, so a
// class whose use moves around a zone's capacity does not take and give one each time; an idle class keeps one
// zone until another class needs it. Headers of outgoing frames have a class of their own that always keeps a
// zone: an application that has used up every zone can still be acknowledged, and so get memory back.

import { CNT_ZbufAllocFails, CNT_ZbufAllocs, CNT_ZbufFrees, CNT_ZbufMisuse } from '../abi/counters';
import { CFG_ZONE_COUNT, EFAULT, EINVAL, ENOBUFS, ENOMEM, HEADROOM } from '../abi/layout';
import { count, countAdd } from '../abi/runtime';
import {
  C_HELD,
  CONTEXT_SHIFT,
  contextAt,
  KIND_RX,
  LIVE,
  objectAt,
  objectIndex,
  REFS,
  ROOM,
  Z_BASE,
  Z_CONTEXTS,
  Z_COUNT,
  Z_FREE,
  Z_FRESH,
  Z_KIND,
  Z_NEXT,
  Z_NFREE,
  Z_PREV,
  Z_STRIDE,
  zoneGiveBack,
  zoneOf,
  zoneOfAny,
  zonesInit,
  zoneTable,
  zoneTake,
} from './zone';
import { roomLeft } from './headroom';
import { rxFree, rxGive, rxObjectsInit } from './rx';

/** log2 of the smallest object. */
const MIN_SHIFT: u32 = 7;
/** Largest object. */
export const ZBUF_MAX: u32 = 65536;
/** Classes 0 … 9 hold objects of 128 << class bytes; this one holds frame headers. */
export const CLASS_HEADERS: u32 = 10;
export const HEADER_SHIFT: u32 = 7;
export const HEADER_BYTES: u32 = 1 << HEADER_SHIFT;
/** References the application may hold of one object. The core adds at most one per record, far below 2^29. */
const API_REFS_MAX: u32 = 0xffffff;

/** First zone with free objects of each class. */
const PARTIAL: usize = memory.data(64, 64);

let zbufLive: u32 = 0;
/** Objects in use that have headroom: while there are none, output need not look for any. */
export let zbufRooms: u32 = 0;

export function zbufInit(): i32 {
  const error = zonesInit();
  if (error != 0) return error;
  memory.fill(PARTIAL, 0, 64);
  zbufLive = 0;
  rxObjectsInit();
  zbufRooms = 0;
  return growClass(CLASS_HEADERS) ? 0 : -ENOMEM;
}

/** Zbuf objects in use. */
export function zbufInUse(): u32 {
  return zbufLive;
}

// ---- zones of a class --------------------------------------------------------------------------------------

@inline
function classBytes(kind: u32): u32 {
  return kind == CLASS_HEADERS ? HEADER_BYTES : (<u32>1) << (MIN_SHIFT + kind);
}

function listZone(zone: u32, kind: u32): void {
  const at = PARTIAL + (kind << 2);
  const first = load<u32>(at);
  store<u32>(zone, first, Z_NEXT);
  store<u32>(zone, 0, Z_PREV);
  if (first != 0) store<u32>(first, zone, Z_PREV);
  store<u32>(at, zone);
}

function unlistZone(zone: u32, kind: u32): void {
  const next = load<u32>(zone, Z_NEXT);
  const prev = load<u32>(zone, Z_PREV);
  if (next != 0) store<u32>(next, prev, Z_PREV);
  if (prev != 0) store<u32>(prev, next, Z_NEXT);
  else store<u32>(PARTIAL + (kind << 2), next);
}

/** Gives the class one more zone: an idle one, or one that another class keeps without using it. */
function growClass(kind: u32): bool {
  let zone = zoneTake(kind, classBytes(kind));
  if (zone == 0) {
    const zones = load<u32>(CFG_ZONE_COUNT);
    for (let i: u32 = 0; i < zones; i++) {
      const other = load<u32>(zoneTable + (i << 2));
      if (other == 0) continue;
      const owner = load<u32>(other, Z_KIND);
      if (owner >= CLASS_HEADERS || load<u32>(other, Z_NFREE) != load<u32>(other, Z_COUNT)) continue;
      unlistZone(other, owner);
      zoneGiveBack(other);
      zone = zoneTake(kind, classBytes(kind));
      break;
    }
    if (zone == 0) return false;
  }
  listZone(zone, kind);
  return true;
}

// ---- take and give -----------------------------------------------------------------------------------------

/** `held`: whether the one reference is the application's, 1 or 0. */
@inline
function take(kind: u32, held: u32): u32 {
  const list = PARTIAL + (kind << 2);
  let zone = load<u32>(list);
  if (zone == 0) {
    if (!growClass(kind)) {
      count(CNT_ZbufAllocFails);
      return 0;
    }
    zone = load<u32>(list);
  }
  const free = load<u32>(zone, Z_FREE);
  let index: u32;
  let context: u32;
  if (free != 0) {
    index = free - 1;
    context = contextAt(zone, index);
    store<u32>(zone, load<u32>(context), Z_FREE);
    if (!ASC_NO_ASSERT) checkPoison(objectAt(zone, index), load<u32>(zone, Z_STRIDE));
  } else {
    index = load<u32>(zone, Z_FRESH);
    context = contextAt(zone, index);
    store<u32>(zone, index + 1, Z_FRESH);
  }
  store<u64>(context, ((<u64>held) << 32) | LIVE | 1);
  const left = load<u32>(zone, Z_NFREE) - 1;
  store<u32>(zone, left, Z_NFREE);
  if (left == 0) unlistZone(zone, kind);
  zbufLive++;
  count(CNT_ZbufAllocs);
  return objectAt(zone, index);
}

@inline
function takeSize(size: u32, held: u32): u32 {
  if (size > ZBUF_MAX) {
    count(CNT_ZbufAllocFails);
    return 0;
  }
  return take(size <= 128 ? 0 : 32 - MIN_SHIFT - clz(size - 1), held);
}

/** Takes a free object of at least `size` bytes, count 1, for the core itself; 0 when there is none. */
export function zbufAlloc(size: u32): u32 {
  return takeSize(size, 0);
}

/** Takes an object for a frame's headers, HEADER_BYTES long; 0 when there is none. */
export function zbufAllocHeader(): u32 {
  const zone = load<u32>(PARTIAL + (CLASS_HEADERS << 2));
  const free = zone != 0 ? load<u32>(zone, Z_FREE) : 0;
  const left = free != 0 ? load<u32>(zone, Z_NFREE) - 1 : 0;
  // The zone's last one, or one that was never used: as any other object.
  if (left == 0) return take(CLASS_HEADERS, 0);
  const context = contextAt(zone, free - 1);
  const object = load<u32>(zone, Z_BASE) + ((free - 1) << HEADER_SHIFT);
  store<u32>(zone, load<u32>(context), Z_FREE);
  store<u32>(zone, left, Z_NFREE);
  store<u64>(context, LIVE | 1);
  if (!ASC_NO_ASSERT) checkPoison(object, HEADER_BYTES);
  zbufLive++;
  count(CNT_ZbufAllocs);
  return object;
}

/**
 * Gives back `n` headers of a zone, whose contexts lead from one to the next and to what the zone's free list was: it begins with
 * `free` now.
 */
export function zbufGiveHeaders(zone: u32, free: u32, n: u32): void {
  store<u32>(zone, free, Z_FREE);
  zbufLive -= n;
  countAdd(CNT_ZbufFrees, n);
  const left = load<u32>(zone, Z_NFREE) + n;
  store<u32>(zone, left, Z_NFREE);
  if (left == n) listZone(zone, CLASS_HEADERS);
  else giveBackUnused(zone, CLASS_HEADERS, left);
}

/** The last reference is gone. */
export function give(zone: u32, index: u32, context: u32): void {
  const kind = load<u32>(zone, Z_KIND);
  if (kind == KIND_RX) {
    rxGive(context, objectAt(zone, index));
    return;
  }
  if (load<u32>(context) & ROOM) zbufRooms--;
  poison(objectAt(zone, index), load<u32>(zone, Z_STRIDE));
  store<u32>(context, load<u32>(zone, Z_FREE));
  store<u32>(zone, index + 1, Z_FREE);
  const free = load<u32>(zone, Z_NFREE) + 1;
  store<u32>(zone, free, Z_NFREE);
  zbufLive--;
  count(CNT_ZbufFrees);
  if (free == 1) listZone(zone, kind);
  else giveBackUnused(zone, kind, free);
}

/** Gives the zone back if all its objects are free, and others of its class are listed. */
@inline
function giveBackUnused(zone: u32, kind: u32, free: u32): void {
  if (free != load<u32>(zone, Z_COUNT) || (load<u32>(zone, Z_NEXT) | load<u32>(zone, Z_PREV)) == 0) return;
  unlistZone(zone, kind);
  zoneGiveBack(zone);
}

/** Debug builds: nobody is to use the bytes of a freed object. */
@inline
export function poison(object: u32, bytes: u32): void {
  if (!ASC_NO_ASSERT) memory.fill(object, 0xdb, bytes);
}

/** Debug builds: a freed object must still be as poison() left it. */
function checkPoison(at: u32, len: u32): void {
  for (let p = at; p < at + len; p += 8) assert(load<u64>(p) == 0xdbdbdbdbdbdbdbdb, 'a freed object was written to');
}

// ---- unchecked: references the core itself holds -----------------------------------------------------------

/** Adds a reference to the object that holds `addr`. */
@inline
export function zbufRef(addr: u32): void {
  const zone = zoneOf(addr);
  const context = contextAt(zone, objectIndex(zone, addr));
  assert(load<u32>(context) > LIVE, 'reference to a free object');
  store<u32>(context, load<u32>(context) + 1);
}

/** Adds `n` references to the object that holds `addr`. */
@inline
export function zbufRefMany(addr: u32, n: u32): void {
  const zone = zoneOf(addr);
  const context = contextAt(zone, objectIndex(zone, addr));
  assert(load<u32>(context) > LIVE, 'reference to a free object');
  store<u32>(context, load<u32>(context) + n);
}

/** One of the core's references to the object that holds `addr` becomes the application's. */
@inline
export function zbufHand(addr: u32): void {
  const zone = zoneOf(addr);
  const context = contextAt(zone, objectIndex(zone, addr));
  store<u32>(context, load<u32>(context, C_HELD) + 1, C_HELD);
}

/** Gives up one reference of the core's to the object that holds `addr`. */
export function zbufUnref(addr: u32): void {
  const zone = zoneOf(addr);
  const index = objectIndex(zone, addr);
  const context = contextAt(zone, index);
  const left = load<u32>(context) - 1;
  assert(left >= LIVE + load<u32>(context, C_HELD), 'unreference of a free object, or of what the application holds');
  if ((left & REFS) == 0) give(zone, index, context);
  else store<u32>(context, left);
}

/** References to the object that holds `addr`. */
@inline
export function zbufCount(addr: u32): u32 {
  const zone = zoneOf(addr);
  return load<u32>(contextAt(zone, objectIndex(zone, addr))) & REFS;
}

/** End of the object that holds `addr`. */
@inline
export function zbufEnd(addr: u32): u32 {
  const zone = zoneOf(addr);
  return objectAt(zone, objectIndex(zone, addr) + 1);
}

// ---- checked: anything may come ----------------------------------------------------------------------------

function misuse(error: i32): i32 {
  count(CNT_ZbufMisuse);
  return error;
}

/** Address of the context of the live object that holds `addr`, headroom included, or 0. */
export function heldContext(addr: u32): u32 {
  const zone = zoneOfAny(addr);
  if (zone == 0) return 0;
  const index = objectIndex(zone, addr);
  if (index >= load<u32>(zone, Z_FRESH)) return 0;
  const context = contextAt(zone, index);
  return load<u32>(context) > LIVE ? context : 0;
}

/** Whether `addr`, in a live object with this context, is in its headroom. */
@inline
function inRoom(addr: u32, context: u32): bool {
  if (!(load<u32>(context) & ROOM)) return false;
  const zone = zoneOf(addr);
  return addr - objectAt(zone, objectIndex(zone, addr)) < HEADROOM;
}

/** The same where the application holds a reference, and the address is not in headroom, which is none of its own. */
function liveContext(addr: u32): u32 {
  const context = heldContext(addr);
  if (context == 0 || load<u32>(context, C_HELD) == 0) return 0;
  return inRoom(addr, context) ? 0 : context;
}

/**
 * Why liveContext() said 0: -EFAULT for an address in no object at all or in headroom, -EINVAL for an object that is free,
 * or is to the application: what it has given up may be queued still.
 */
function misuseAt(addr: u32): i32 {
  const zone = zoneOfAny(addr);
  if (zone == 0 || objectIndex(zone, addr) >= load<u32>(zone, Z_COUNT)) return misuse(-EFAULT);
  const context = heldContext(addr);
  return misuse(context != 0 && inRoom(addr, context) ? -EFAULT : -EINVAL);
}

/**
 * 0 when [addr, addr + len) lies in one object that the application holds; -EFAULT for an address in no object, -EINVAL for
 * one that it does not hold or a range that leaves it. Errors are counted (CNT_ZbufMisuse).
 */
export function zbufCheck(addr: u32, len: u32): i32 {
  if (liveContext(addr) == 0) return misuseAt(addr);
  return len > zbufEnd(addr) - addr ? misuse(-EINVAL) : 0;
}

/** Gives up one reference to the live object that holds `addr` and has this context. */
@inline
function drop(addr: u32, context: u32): void {
  const left = load<u32>(context) - 1;
  if ((left & REFS) == 0) {
    const zone = zoneOf(addr);
    give(zone, (context - load<u32>(zone, Z_CONTEXTS)) >> CONTEXT_SHIFT, context);
  } else store<u32>(context, left);
}

/** The link says that it has finished with the segment at `addr`: a reference less. */
export function zbufCompleted(addr: u32): void {
  const context = heldContext(addr);
  if (context == 0) {
    misuseAt(addr);
    return;
  }
  if (load<u32>(context) & ROOM) roomLeft(addr, context);
  drop(addr, context);
}

/** alloc() of the ABI: a free object of at least `size` bytes, count 1; 0 when there is none. */
export function apiAlloc(size: u32): u32 {
  return takeSize(size, 1);
}

/** allocMessage() of the ABI: the same, with HEADROOM for a frame's headers in front of the address that it returns. */
export function apiAllocMessage(size: u32): u32 {
  if (size > ZBUF_MAX - HEADROOM) {
    count(CNT_ZbufAllocFails);
    return 0;
  }
  const object = apiAlloc(max<u32>(size, 1) + HEADROOM);
  if (object == 0) return 0;
  const zone = zoneOf(object);
  store<u32>(contextAt(zone, objectIndex(zone, object)), LIVE | ROOM | 1);
  zbufRooms++;
  return object + HEADROOM;
}

/** dup() of the ABI: one more reference. -ENOBUFS when the object has all the references it may have. */
export function apiDup(addr: u32): i32 {
  const context = liveContext(addr);
  if (context == 0) return misuseAt(addr);
  const held = load<u32>(context, C_HELD);
  if (held >= API_REFS_MAX) return misuse(-ENOBUFS);
  store<u32>(context, load<u32>(context) + 1);
  store<u32>(context, held + 1, C_HELD);
  return 0;
}

/** free() of the ABI: one of the application's references less. */
export function apiFree(addr: u32): i32 {
  if (rxFree(addr)) return 0;
  const context = liveContext(addr);
  if (context == 0) return misuseAt(addr);
  store<u32>(context, load<u32>(context, C_HELD) - 1, C_HELD);
  drop(addr, context);
  return 0;
}

/** objectEnd() of the ABI: end of the object that holds `addr`, 0 when there is none that the application holds. */
export function apiObjectEnd(addr: u32): u32 {
  return liveContext(addr) == 0 ? 0 : zbufEnd(addr);
}

/** refCount() of the ABI: all references, by any address in the object; 0 for a free object, -EFAULT for a foreign address. */
export function apiRefCount(addr: u32): i32 {
  const context = heldContext(addr);
  if (context != 0) return <i32>(load<u32>(context) & REFS);
  const zone = zoneOfAny(addr);
  return zone == 0 || objectIndex(zone, addr) >= load<u32>(zone, Z_COUNT) ? -EFAULT : 0;
}
