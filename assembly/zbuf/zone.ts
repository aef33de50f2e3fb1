// Zones: who owns each 2 MiB of object memory, and from any address to its object.
//
// A zone of Zbuf objects describes itself:
//
//   0        64                    objects at a multiple of 64                      2 MiB
//   ├ header ┼ contexts, 8 B each ┼ object 0 ┼ object 1 ┼ …                ┼ unused ┤
//
// A receive pool lies in memory that the link laid out (its objects may cross 2 MiB borders), so its header and
// contexts are in the arena and every zone it touches points at the one header. Header, 64 bytes:
//
//   0      4          8              16       20      24     28      32     36      40     44     48     52
//   ├ base ┼ contexts ┼ recip (u64) ─┼ stride ┼ count ┼ kind ┼ fresh ┼ free ┼ nfree ┼ next ┼ prev ┼ zone ┼ shift …
//
// base: object 0. stride: bytes from object to object. recip, shift: see objectIndex(). kind: size class, or
// KIND_RX. fresh: objects from here on were never handed out since the zone took its class; their contexts hold
// nothing. free: 1 + index of the first free object below `fresh`, 0 for none. nfree: all free objects. next,
// prev: list of the class's zones with free objects (zbuf.ts). zone: index of the zone.
//
// Context: two u32. The first: LIVE | ROOM… | references while the object is in use; 1 + index of the next free object (0:
// none) when free; 0 for a receive object that the link has. The second, C_HELD: those of the references that are the
// application's, of which alone it can give any up; without meaning when free.

import { arenaAlloc } from '../abi/arena';
import {
  CFG_ARENA_END,
  CFG_RX_ZONES,
  CFG_ZONE_BASE,
  CFG_ZONE_COUNT,
  CONTEXT_BYTES,
  EINVAL,
  ENOMEM,
  ZONE_BYTES,
  ZONE_SHIFT,
} from '../abi/layout';

@inline export const Z_BASE: usize = 0;
@inline export const Z_CONTEXTS: usize = 4;
@inline export const Z_RECIP: usize = 8;
@inline export const Z_STRIDE: usize = 16;
@inline export const Z_COUNT: usize = 20;
@inline export const Z_KIND: usize = 24;
@inline export const Z_FRESH: usize = 28;
@inline export const Z_FREE: usize = 32;
@inline export const Z_NFREE: usize = 36;
@inline export const Z_NEXT: usize = 40;
@inline export const Z_PREV: usize = 44;
@inline export const Z_ZONE: usize = 48;
@inline export const Z_SHIFT: usize = 52;
export const ZONE_HEADER: u32 = 64;

@inline export const C_HELD: usize = 4;
@inline export const CONTEXT_SHIFT: u32 = 3;

/** Kinds of zone: a size class 0 … CLASS_HEADERS, or this. */
export const KIND_RX: u32 = 0x80;

export const LIVE: u32 = 0x80000000;
/** The object begins with room for a frame's headers (headroom.ts). */
export const ROOM: u32 = 0x40000000;
/** That room holds the headers of a frame which the link has not finished with. */
export const ROOM_BUSY: u32 = 0x20000000;
export const REFS: u32 = 0x1fffffff;

/** Linear address of zone 0. */
export let zoneBase: u32 = 0;
/** Bytes of all zones. */
let zonesBytes: u32 = 0;
/** Header of each zone, u32 each, 0 for a zone nobody has. */
export let zoneTable: u32 = 0;
/** I/O address of each zone, u64 each. */
let iovaTable: u32 = 0;
/** Stack of the zones nobody has. */
let idle: u32 = 0;
let idleCount: u32 = 0;

export function zonesNeeded(): u32 {
  return load<u32>(CFG_ZONE_COUNT) * 16 + 3 * 64;
}

export function zonesInit(): i32 {
  const zones = load<u32>(CFG_ZONE_COUNT);
  const rxZones = load<u32>(CFG_RX_ZONES);
  zoneBase = load<u32>(CFG_ZONE_BASE);
  if (zones == 0 || zones > 2047 || rxZones >= zones || (zoneBase & 63) != 0) return -EINVAL;
  const end = <u64>zoneBase + ((<u64>zones) << ZONE_SHIFT);
  if (end > (<u64>memory.size()) << 16 || zoneBase < load<u32>(CFG_ARENA_END)) return -EINVAL;
  zonesBytes = zones << ZONE_SHIFT;
  zoneTable = arenaAlloc(zones * 4, 64);
  iovaTable = arenaAlloc(zones * 8, 64);
  idle = arenaAlloc(zones * 4, 64);
  if (zoneTable == 0 || iovaTable == 0 || idle == 0) return -ENOMEM;
  idleCount = 0;
  for (let zone = zones; zone > rxZones; ) {
    zone--;
    store<u32>(idle + (idleCount++ << 2), zone);
  }
  return 0;
}

/** Header of the zone that holds `addr`, which must lie in a zone that somebody has. */
@inline
export function zoneOf(addr: u32): u32 {
  return load<u32>(zoneTable + (((addr - zoneBase) >> ZONE_SHIFT) << 2));
}

/** As zoneOf() for any u32: 0 when nobody has a zone there. */
@inline
export function zoneOfAny(addr: u32): u32 {
  return addr - zoneBase < zonesBytes ? zoneOf(addr) : 0;
}

/**
 * Index of the object that holds `addr`. With c = ceil(log2 stride) and N = 31 + c, recip = floor(2^N / stride) + 1,
 * so recip × stride = 2^N + e with 0 < e ≤ stride. For an offset x = q × stride + r,
 *   x × recip / 2^N = x / stride + x × e / (stride × 2^N),
 * and the error is below 1 / stride, too little to reach q + 1, when x × e < 2^N: true for every x < 2^31, as
 * e ≤ stride ≤ 2^c. Beyond 2^31 the result is never too small, so an address before `base` (whose offset wraps)
 * gives an index past the end. recip ≤ 2^32, so the product stays below 2^64.
 */
@inline
export function objectIndex(zone: u32, addr: u32): u32 {
  return <u32>((<u64>(addr - load<u32>(zone, Z_BASE)) * load<u64>(zone, Z_RECIP)) >> load<u32>(zone, Z_SHIFT));
}

@inline
export function contextAt(zone: u32, index: u32): u32 {
  return load<u32>(zone, Z_CONTEXTS) + (index << CONTEXT_SHIFT);
}

@inline
export function objectAt(zone: u32, index: u32): u32 {
  return load<u32>(zone, Z_BASE) + index * load<u32>(zone, Z_STRIDE);
}

/** Writes the fields of a header that follow from its place and object size. */
export function describe(zone: u32, base: u32, contexts: u32, stride: u32, objects: u32, kind: u32): void {
  const log = stride <= 1 ? 0 : 32 - clz(stride - 1);
  const shift = 31 + log;
  store<u32>(zone, base, Z_BASE);
  store<u32>(zone, contexts, Z_CONTEXTS);
  store<u64>(zone, ((<u64>1) << shift) / stride + 1, Z_RECIP);
  store<u32>(zone, shift, Z_SHIFT);
  store<u32>(zone, stride, Z_STRIDE);
  store<u32>(zone, objects, Z_COUNT);
  store<u32>(zone, kind, Z_KIND);
}

/** Takes an idle zone for Zbuf objects of `size` bytes; 0 when there is none. */
export function zoneTake(kind: u32, size: u32): u32 {
  if (idleCount == 0) return 0;
  const index = load<u32>(idle + (--idleCount << 2));
  const zone = zoneBase + (index << ZONE_SHIFT);
  // As many objects as fit with their contexts, then those lost to the alignment taken off.
  let objects = (ZONE_BYTES - ZONE_HEADER) / (size + CONTEXT_BYTES);
  let first = (ZONE_HEADER + objects * CONTEXT_BYTES + 63) & ~63;
  while (first + objects * size > ZONE_BYTES) {
    objects--;
    first = (ZONE_HEADER + objects * CONTEXT_BYTES + 63) & ~63;
  }
  describe(zone, zone + first, zone + ZONE_HEADER, size, objects, kind);
  store<u32>(zone, 0, Z_FRESH);
  store<u32>(zone, 0, Z_FREE);
  store<u32>(zone, objects, Z_NFREE);
  store<u32>(zone, 0, Z_NEXT);
  store<u32>(zone, 0, Z_PREV);
  store<u32>(zone, index, Z_ZONE);
  store<u32>(zoneTable + (index << 2), zone);
  return zone;
}

/** Gives a zone back whose objects are all free. */
export function zoneGiveBack(zone: u32): void {
  const index = load<u32>(zone, Z_ZONE);
  store<u32>(zoneTable + (index << 2), 0);
  store<u32>(idle + (idleCount++ << 2), index);
}

/** Where a device sees the first byte of a zone. -EINVAL for a zone that is not there. */
export function zoneSetIova(zone: u32, lo: u32, hi: u32): i32 {
  if (zone >= load<u32>(CFG_ZONE_COUNT)) return -EINVAL;
  store<u64>(iovaTable + (zone << 3), ((<u64>hi) << 32) | lo);
  return 0;
}

/** Where a device sees `addr`, any address in a zone; 0 outside the zones and in zones without an I/O address. */
export function iovaOf(addr: u32): u64 {
  const offset = addr - zoneBase;
  if (offset >= zonesBytes) return 0;
  const base = load<u64>(iovaTable + ((offset >> ZONE_SHIFT) << 3));
  return base == 0 ? 0 : base + (offset & (ZONE_BYTES - 1));
}
