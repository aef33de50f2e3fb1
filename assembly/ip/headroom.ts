// Frames that begin in the room in front of their payload (zbuf/headroom.ts): headers and payload are one segment.

import { roomTake } from '../zbuf/headroom';
import { frameAdopt, frameAttach, frameL4, txRoom } from './output';

/**
 * frameBegin() for a frame whose first `len` bytes of payload, at `payload`, have room in front of them for headers, the
 * L4 header's part of which is `l4Len` bytes; `maxPieces` pieces may follow. 0 when there is no such room: the frame
 * then needs a header of its own.
 */
export function frameBeginInRoom(payload: u32, len: u32, l4Len: u32, maxPieces: u32): u32 {
  if (txRoom() <= maxPieces || !roomTake(payload)) return 0;
  const f = payload - l4Len - frameL4(0);
  frameAdopt(f);
  frameAttach(len);
  return f;
}
