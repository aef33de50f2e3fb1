// Receive pools: memory the link fills. The core holds nothing of it but a reference count for each object.

import { arenaAlloc } from '../abi/arena';
import { CFG_FREE_RING, CFG_RX_ZONES, CONTEXT_BYTES, EBUSY, EINVAL, ENOMEM, ZONE_SHIFT } from '../abi/layout';
import { describe, KIND_RX, Z_FRESH, ZONE_HEADER, zoneBase, zoneTable } from './zone';

const POOLS_MAX: u32 = 4;
const STRIDE_MIN: u32 = 64;

let pools: u32 = 0;
let objects: u32 = 0;

export function rxPoolsInit(): void {
  pools = 0;
  objects = 0;
}

/** Receive objects of all pools. */
@inline
export function rxObjectTotal(): u32 {
  return objects;
}

/**
 * Declares `objectCount` receive objects, `stride` bytes from one to the next, the first at `base`; all of them in
 * the zones before CFG_RX_ZONES. Object i is given back as base + i × stride. -EINVAL for a pool that does not
 * fit (or more objects than the FREE ring holds), -EBUSY when it shares a zone with an earlier pool.
 */
export function rxPoolAdd(base: u32, stride: u32, objectCount: u32): i32 {
  if (pools == POOLS_MAX || stride < STRIDE_MIN || objectCount == 0 || base < zoneBase) return -EINVAL;
  const bytes = <u64>stride * objectCount;
  const offset = <u64>(base - zoneBase);
  // objectIndex() is exact below 2^31.
  if (bytes > 0x7fffffff || offset + bytes > (<u64>load<u32>(CFG_RX_ZONES)) << ZONE_SHIFT) return -EINVAL;
  if (<u64>objects + objectCount > load<u32>(CFG_FREE_RING)) return -EINVAL;
  const first = <u32>(offset >> ZONE_SHIFT);
  const last = <u32>((offset + bytes - 1) >> ZONE_SHIFT);
  for (let zone = first; zone <= last; zone++) {
    if (load<u32>(zoneTable + (zone << 2)) != 0) return -EBUSY;
  }
  const header = arenaAlloc(ZONE_HEADER + objectCount * CONTEXT_BYTES, 64);
  if (header == 0) return -ENOMEM;
  describe(header, base, header + ZONE_HEADER, stride, objectCount, KIND_RX);
  store<u32>(header, objectCount, Z_FRESH);
  for (let zone = first; zone <= last; zone++) store<u32>(zoneTable + (zone << 2), header);
  pools++;
  objects += objectCount;
  return 0;
}
