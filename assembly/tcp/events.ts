// Events to the application. Each connection keeps a bit per kind of event and is on one list while any bit is set,
// so an event can wait for room in the event ring without being lost. Inline sockets get theirs through the
// imported callback, when the segment that caused them has been dealt with.
//
// A paused inline connection (OPT_PAUSED) is a batch one to everything that receives: its data is queued, and takes from the
// window. What it is told still comes by the callback, but for data and what comes behind data.

import { eventPush } from '../abi/rings';
import {
  EV_ACCEPT,
  EV_CLOSED,
  EV_CONNECT,
  EV_DATA,
  EV_EOF,
  EV_ERROR,
  EV_REPORT,
  EV_WRITE,
  REPORT_ICMP,
} from '../abi/layout';
import { hostEvent } from '../host';
import { zbufHand } from '../zbuf/zbuf';
import { slotReap, stillHeld } from './handle';
import { rcvqTake, takenAddr, takenLen } from './recvq';
import { windowUpdate } from './sockopt';
import { urgentLeft } from './urgent';
import {
  Cold,
  F2_PAUSED,
  F2_RESUMED,
  FL_ACCEPT_QUEUE,
  FL_DATA_SIGNALLED,
  FL_INLINE,
  FL_IN_EVENTS,
  FL_ORPHAN,
  Tcb,
  addressOf,
  coldOf,
  tcbAt,
} from './tcb';

let head: u32 = 0;
let tail: u32 = 0;

/** Notes an event of this kind for the application. An application that has closed the handle gets none. */
export function eventRaise(t: Tcb, kind: u32): void {
  if (t.flags & FL_ORPHAN) return;
  t.evPending |= <u8>((<u32>1) << kind);
  // Nobody knows the handle of a connection that is not accepted yet; accept() brings it here again.
  if (t.flags & (FL_IN_EVENTS | FL_ACCEPT_QUEUE)) return;
  enlist(t);
}

/** Puts a connection with pending events on the list. */
export function enlist(t: Tcb): void {
  t.flags |= FL_IN_EVENTS;
  coldOf(t).evNext = 0;
  const at = addressOf(t);
  if (tail) coldOf(tcbAt(tail)).evNext = at;
  else head = at;
  tail = at;
}

/** Batch: data is ready; one event until recv() has drained the queue. */
@inline
export function eventData(t: Tcb): void {
  if (t.flags & FL_DATA_SIGNALLED) return;
  t.flags |= FL_DATA_SIGNALLED;
  eventRaise(t, EV_DATA);
}

/** What EV_REPORT says. */
function reported(c: Cold): u32 {
  const what: u32 = c.reports;
  return what & REPORT_ICMP ? what | (c.softError << 8) : what;
}

@inline
function argument(t: Tcb, kind: u32): u32 {
  if (kind == EV_DATA) return t.rcvQBytes;
  if (kind == EV_ERROR) return coldOf(t).error;
  if (kind == EV_REPORT) return reported(coldOf(t));
  return 0;
}

/** Order of delivery: a connection exists before it has data, what is urgent comes before data, and data before the end. */
@inline
function nextKind(pending: u32): u32 {
  if (pending & (1 << EV_ACCEPT)) return EV_ACCEPT;
  if (pending & (1 << EV_CONNECT)) return EV_CONNECT;
  if (pending & (1 << EV_REPORT)) return EV_REPORT;
  if (pending & (1 << EV_DATA)) return EV_DATA;
  if (pending & (1 << EV_WRITE)) return EV_WRITE;
  if (pending & (1 << EV_EOF)) return EV_EOF;
  if (pending & (1 << EV_ERROR)) return EV_ERROR;
  return EV_CLOSED;
}

/** What a paused connection is not told before it is resumed. */
const HELD: u32 = (1 << EV_DATA) | (1 << EV_EOF) | (1 << EV_CLOSED);

/** Whether the connection's events come by the callback. */
@inline
export function calledBack(t: Tcb): bool {
  return (t.flags & FL_INLINE) != 0 || (coldOf(t).flags2 & F2_PAUSED) != 0;
}

/** Hands over no more, before resume(). */
export function pause(t: Tcb): void {
  t.flags &= ~FL_INLINE;
  coldOf(t).flags2 |= F2_PAUSED;
}

/** What waits is handed over when the events of this turn, or the next, are. */
export function resume(t: Tcb): void {
  coldOf(t).flags2 &= ~F2_PAUSED;
  t.flags = (t.flags | FL_INLINE) & ~FL_DATA_SIGNALLED;
  t.evPending &= <u8>~((<u32>1) << EV_DATA);
  if ((t.rcvQHead | t.evPending) == 0) return;
  coldOf(t).flags2 |= F2_RESUMED;
  if (!(t.flags & FL_IN_EVENTS)) enlist(t);
}

/** Calls back for everything that an inline connection has pending. The callback may do anything, so `t` is looked at anew after each. */
export function deliverInline(t: Tcb): void {
  const handle = t.handle;
  while (true) {
    const inline = (t.flags & FL_INLINE) != 0;
    const pending: u32 = inline ? t.evPending : t.evPending & ~HELD;
    if (pending & ((1 << EV_ACCEPT) | (1 << EV_CONNECT) | (1 << EV_REPORT))) {
      const kind = nextKind(pending);
      t.evPending &= <u8>~((<u32>1) << kind);
      if (kind == EV_ACCEPT) {
        const listener = coldOf(t).listener;
        coldOf(t).listener = 0;
        hostEvent(tcbAt(listener).handle, EV_ACCEPT, handle, 0);
      } else if (kind == EV_REPORT) {
        const what = argument(t, kind);
        coldOf(t).reports = 0;
        hostEvent(handle, kind, what, urgentLeft(t));
      } else hostEvent(handle, kind, 0, 0);
    } else if (inline && rcvqTake(t)) {
      zbufHand(takenAddr);
      hostEvent(handle, EV_DATA, takenAddr, takenLen);
    } else if (pending == 0) return;
    else {
      const kind = nextKind(pending);
      t.evPending &= <u8>~((<u32>1) << kind);
      hostEvent(handle, kind, argument(t, kind), 0);
    }
    if (!stillHeld(t, handle)) return;
  }
}

/** Moves pending events into the ring as far as it has room. */
@inline
export function flushEvents(): void {
  if (head) deliverAll();
}

function deliverAll(): void {
  const last = tail;
  while (head) {
    const at = head;
    const t = tcbAt(at);
    if (calledBack(t)) {
      if (t.state != 0) deliverInline(t);
      if (coldOf(t).flags2 & F2_RESUMED) {
        coldOf(t).flags2 &= ~F2_RESUMED;
        windowUpdate(t);
      }
    } else {
      while (t.evPending != 0) {
        const kind = nextKind(t.evPending);
        if (!eventPush(t.handle, kind, argument(t, kind), kind == EV_REPORT ? urgentLeft(t) : 0)) return;
        if (kind == EV_REPORT) coldOf(t).reports = 0;
        t.evPending &= <u8>~((<u32>1) << kind);
      }
    }
    head = coldOf(t).evNext;
    if (!head) tail = 0;
    t.flags &= ~FL_IN_EVENTS;
    slotReap(t);
    if (at == last) return;
  }
}
