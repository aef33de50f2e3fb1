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
  contextAt,
  KIND_RX,
  LIVE,
  objectAt,
  objectIndex,
  REFS,
  Z_COUNT,
  Z_KIND,
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

export function rxObjectsInit(): void {
  rxLive = 0;
  object = bytes = context = 0;
}

/** Receive objects in use. */
export function rxInUse(): u32 {
  return rxLive;
}

/** A frame of `len` bytes has arrived at `addr`: count 1 when that lies in one receive object that the link had. */
@inline
export function rxTake(addr: u32, len: u32): bool {
  const zone = zoneOfAny(addr);
  if (zone == 0 || load<u32>(zone, Z_KIND) != KIND_RX) return false;
  const index = objectIndex(zone, addr);
  if (index >= load<u32>(zone, Z_COUNT)) return false;
  const at = contextAt(zone, index);
  const begins = objectAt(zone, index);
  const stride = load<u32>(zone, Z_STRIDE);
  if (load<u32>(at) != 0 || len > begins + stride - addr) return false;
  store<u64>(at, LIVE | 1);
  rxLive++;
  object = begins;
  bytes = stride;
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
