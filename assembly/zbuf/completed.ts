// What the link has finished with (DONE ring): a reference less for each segment. Headers are freed by it, and mostly of the same
// zone; payload is mostly of the same object as the piece before it, and referred to by the send queue still.

import { CNT_ZbufMisuse } from '../abi/counters';
import { CTL_DONE_AT, CTL_DONE_HEAD, CTL_DONE_SIZE, CTL_DONE_TAIL } from '../abi/layout';
import { count } from '../abi/runtime';
import { CLASS_HEADERS, HEADER_BYTES, HEADER_SHIFT, give, poison, zbufCompleted, zbufGiveHeaders } from './zbuf';
import {
  CONTEXT_SHIFT,
  contextAt,
  LIVE,
  objectAt,
  objectIndex,
  ROOM,
  Z_BASE,
  Z_CONTEXTS,
  Z_FREE,
  Z_FRESH,
  Z_KIND,
  Z_STRIDE,
  zoneOfAny,
} from './zone';

/** Whether a live object without headroom has this context, and other references than one. */
@inline
function shared(context: u32): bool {
  return context - (LIVE + 2) < ROOM - 2;
}

/** Gives up the references of segments that the link has finished with. */
@inline
export function completions(): void {
  if (load<u32>(CTL_DONE_HEAD) != load<u32>(CTL_DONE_TAIL)) completed();
}

function completed(): void {
  const head = load<u32>(CTL_DONE_HEAD);
  let tail = load<u32>(CTL_DONE_TAIL);
  const ring = load<u32>(CTL_DONE_AT);
  const mask = load<u32>(CTL_DONE_SIZE) - 1;
  // No more than the ring has, whatever the link says.
  if (head - tail > mask + 1) {
    count(CNT_ZbufMisuse);
    tail = head - (mask + 1);
  }
  // The last object that was shared.
  let object: u32 = 0;
  let bytes: u32 = 0;
  let at: u32 = 0;
  // The zone of the last header, and what its free list begins with; `given` headers are in that which the zone does not know of.
  let headers: u32 = 0;
  let first: u32 = 0;
  let used: u32 = 0;
  let contexts: u32 = 0;
  let free: u32 = 0;
  let given: u32 = 0;
  for (; tail != head; tail++) {
    const addr = load<u32>(ring + ((tail & mask) << 2));
    if (addr - object < bytes) {
      const value = load<u32>(at);
      if (shared(value)) {
        store<u32>(at, value - 1);
        continue;
      }
    }
    if (addr - first < used) {
      const index = (addr - first) >> HEADER_SHIFT;
      const context = contexts + (index << CONTEXT_SHIFT);
      if (load<u32>(context) == (LIVE | 1)) {
        poison(first + (index << HEADER_SHIFT), HEADER_BYTES);
        store<u32>(context, free);
        free = index + 1;
        given++;
        continue;
      }
    }
    const zone = zoneOfAny(addr);
    const index = zone ? objectIndex(zone, addr) : 0;
    if (zone == 0 || index >= load<u32>(zone, Z_FRESH)) {
      zbufCompleted(addr);
      continue;
    }
    const context = contextAt(zone, index);
    const value = load<u32>(context);
    if (value == (LIVE | 1)) {
      const header = load<u32>(zone, Z_KIND) == CLASS_HEADERS;
      if (header && given != 0) {
        zbufGiveHeaders(headers, free, given);
        given = 0;
      }
      give(zone, index, context);
      if (header) {
        headers = zone;
        first = load<u32>(zone, Z_BASE);
        used = load<u32>(zone, Z_FRESH) << HEADER_SHIFT;
        contexts = load<u32>(zone, Z_CONTEXTS);
        free = load<u32>(zone, Z_FREE);
      }
    } else if (shared(value)) {
      store<u32>(context, value - 1);
      object = objectAt(zone, index);
      bytes = load<u32>(zone, Z_STRIDE);
      at = context;
    } else zbufCompleted(addr);
  }
  if (given != 0) zbufGiveHeaders(headers, free, given);
  store<u32>(CTL_DONE_TAIL, tail);
}
