// Doubly linked lists of slots through Cold.listNext and listPrev: the half-open connections and the accept queue of
// a listener, the orphans, and the connections in TIME-WAIT. A connection is on one of them at most. A list is two words, head
// and tail, somewhere in memory.

import { Tcb, addressOf, coldOf, tcbAt } from './tcb';

/** Appends `t` to the list whose head word is at `list` and whose tail word follows it. */
export function listAppend(list: u32, t: Tcb): void {
  const at = addressOf(t);
  const last = load<u32>(list, 4);
  const c = coldOf(t);
  c.listPrev = last;
  c.listNext = 0;
  if (last) coldOf(tcbAt(last)).listNext = at;
  else store<u32>(list, at);
  store<u32>(list, at, 4);
}

/** Takes `t` off the list. */
export function listRemove(list: u32, t: Tcb): void {
  const c = coldOf(t);
  if (c.listPrev) coldOf(tcbAt(c.listPrev)).listNext = c.listNext;
  else store<u32>(list, c.listNext);
  if (c.listNext) coldOf(tcbAt(c.listNext)).listPrev = c.listPrev;
  else store<u32>(list, c.listPrev, 4);
  c.listNext = c.listPrev = 0;
}

/** First slot of the list, 0 when empty. */
@inline
export function listFirst(list: u32): u32 {
  return load<u32>(list);
}
