// Headroom: objects that begin with room for the headers of a frame, so that a message in front of which nothing lies
// leaves as one segment.
//
//   0                                   HEADROOM
//   ├ unused ┼ ethernet ┼ IP ┼ TCP, options ┼ the application's bytes …  ┤
//
// The room is the stack's alone: the application never has an address in it. Only one frame at a time may have its
// headers there, for the link reads them until it says that it has finished; whatever else sends the same bytes
// meanwhile (another connection, a retransmission, the same object queued twice) has a header object of its own. A frame
// in the room holds one reference to the object, under the address of its first byte; a completion below the
// application's bytes is therefore that frame's.

import { HEADROOM } from '../abi/layout';
import { zbufUnref } from './zbuf';
import { contextAt, objectAt, objectIndex, REFS, ROOM, ROOM_BUSY, zoneOf } from './zone';

/** Takes the room in front of `addr`, and a reference: false when there is none there or a frame is in it. */
export function roomTake(addr: u32): bool {
  const zone = zoneOf(addr);
  const index = objectIndex(zone, addr);
  const context = contextAt(zone, index);
  if (!roomFree(addr)) return false;
  const value = load<u32>(context);
  assert((value & REFS) != 0, 'room of a free object');
  store<u32>(context, (value | ROOM_BUSY) + 1);
  return true;
}

/** Whether roomTake() would take the room in front of `addr`. */
export function roomFree(addr: u32): bool {
  const zone = zoneOf(addr);
  const index = objectIndex(zone, addr);
  const value = load<u32>(contextAt(zone, index));
  return (value & (ROOM | ROOM_BUSY)) == ROOM && addr - objectAt(zone, index) == HEADROOM;
}

/** A segment at `addr`, in an object with room, is done with: if it was in the room, that is free again. */
export function roomLeft(addr: u32, context: u32): void {
  const zone = zoneOf(addr);
  if (addr - objectAt(zone, objectIndex(zone, addr)) < HEADROOM) {
    store<u32>(context, load<u32>(context) & ~ROOM_BUSY);
  }
}

/** Gives up a frame's header, wherever it is: an address in a header object or in an object's room. */
export function headerRelease(addr: u32): void {
  const zone = zoneOf(addr);
  const context = contextAt(zone, objectIndex(zone, addr));
  store<u32>(context, load<u32>(context) & ~ROOM_BUSY);
  zbufUnref(addr);
}
