// Receive objects: the link's until a frame has arrived in one, and the link's again, through the FREE ring, when its
// last reference is given up.
//
// The frame being processed has one reference, which is its own until the fast path hands it to an inline application
// (rxHandOver()): what is delivered at once costs no reference of its own. Where the object of the last frame is and
// where its references are counted stays known, so that giving it back needs no search.

import { CTL_FREE_AT, CTL_FREE_HEAD, CTL_FREE_SIZE } from '../abi/layout';
import { zbufHand, zbufRef } from './zbuf';
import {
  C_HELD,
  CONTEXT_SHIFT,
  KIND_RX,
  LIVE,
  REFS,
  Z_BASE,
  Z_CONTEXTS,
  Z_COUNT,
  Z_KIND,
  Z_RECIP,
  Z_SHIFT,
  Z_STRIDE,
  zoneOfAny,
} from './zone';

/** Context of an object with one reference, the application's. */
const HELD_ONCE: u64 = ((<u64>1) << 32) | LIVE | 1;

let rxLive: u32 = 0;

/** Object of the last frame, its bytes, and its context. */
let object: u32 = 0;
let bytes: u32 = 0;
let context: u32 = 0;
let handedOver: bool = false;

/** Of the pool that it is in, what the zones' header says (zone.ts). */
let poolBase: u32 = 0;
let poolBytes: u32 = 0;
let poolStride: u32 = 0;
let poolContexts: u32 = 0;
let poolRecip: u64 = 0;
let poolShift: u64 = 0;

export function rxObjectsInit(): void {
  rxLive = 0;
  object = bytes = context = 0;
  poolBytes = 0;
}

/** Makes the pool with `addr` the one that is known. False when it is in none. */
function poolFind(addr: u32): bool {
  const zone = zoneOfAny(addr);
  if (zone == 0 || load<u32>(zone, Z_KIND) != KIND_RX) return false;
  const base = load<u32>(zone, Z_BASE);
  const stride = load<u32>(zone, Z_STRIDE);
  const size = load<u32>(zone, Z_COUNT) * stride;
  if (addr - base >= size) return false;
  poolBase = base;
  poolBytes = size;
  poolStride = stride;
  poolContexts = load<u32>(zone, Z_CONTEXTS);
  poolRecip = load<u64>(zone, Z_RECIP);
  poolShift = load<u32>(zone, Z_SHIFT);
  return true;
}

/** Receive objects in use. */
export function rxInUse(): u32 {
  return rxLive;
}

/** A frame of `len` bytes has arrived at `addr`: count 1 when that lies in one receive object that the link had. */
@inline
export function rxTake(addr: u32, len: u32): bool {
  if (addr - poolBase >= poolBytes && !poolFind(addr)) return false;
  // objectIndex() of zone.ts.
  const index = <u32>((<u64>(addr - poolBase) * poolRecip) >> poolShift);
  const at = poolContexts + (index << CONTEXT_SHIFT);
  const begins = poolBase + index * poolStride;
  if (load<u32>(at) != 0 || len > begins + poolStride - addr) return false;
  store<u64>(at, LIVE | 1);
  rxLive++;
  object = begins;
  bytes = poolStride;
  context = at;
  handedOver = false;
  return true;
}

/**
 * The application gets a reference to the object that holds `addr`: the frame's own, if that is where it is, and not in what
 * fragments have been put together in.
 */
@inline
export function rxHandOver(addr: u32): void {
  if (addr - object < bytes) {
    handedOver = true;
    store<u32>(context, 1, C_HELD);
  } else {
    zbufRef(addr);
    zbufHand(addr);
  }
}

/** The frame has been processed: its reference is given up, if it still has one. */
@inline
export function rxDone(): void {
  if (handedOver) return;
  const left = load<u32>(context) - 1;
  if ((left & REFS) == 0) rxGive(context, object);
  else store<u32>(context, left);
}

/** Gives up the only reference to the object of the last frame, which is the application's. False when it is not like that. */
@inline
export function rxFree(addr: u32): bool {
  if (addr - object >= bytes || load<u64>(context) != HELD_ONCE) return false;
  rxGive(context, object);
  return true;
}

/** The last reference is gone. */
@inline
export function rxGive(at: u32, begins: u32): void {
  store<u32>(at, 0);
  rxLive--;
  const head = load<u32>(CTL_FREE_HEAD);
  store<u32>(load<u32>(CTL_FREE_AT) + ((head & (load<u32>(CTL_FREE_SIZE) - 1)) << 2), begins);
  store<u32>(CTL_FREE_HEAD, head + 1);
}
