// Events of UDP sockets, as TCP's (tcp/events.ts): a bit for each kind that is pending and one list of the sockets that
// have any, or that wait for room in the transmit ring.

import { EV_DATAGRAM, EV_ERROR, EV_WRITE, UDPD_SIZE } from '../abi/layout';
import { eventPush } from '../abi/rings';
import { hostEvent } from '../host';
import { txRoom } from '../ip/output';
import { udpSlotReap } from './handle';
import { UDP_TAKEN, udpQueueHand } from './recvq';
import {
  UE_DATAGRAM,
  UE_ERROR,
  UE_WRITE,
  UF_INLINE,
  UF_IN_EVENTS,
  UF_SIGNALLED,
  UdpSocket,
  udpAddress,
  udpAt,
} from './socket';

let head: u32 = 0;
let tail: u32 = 0;

/** Puts a socket with something to wait for or to tell on the list. */
export function udpEnlist(s: UdpSocket): void {
  if (s.flags & UF_IN_EVENTS) return;
  s.flags |= UF_IN_EVENTS;
  s.evNext = 0;
  const at = udpAddress(s);
  if (tail) udpAt(tail).evNext = at;
  else head = at;
  tail = at;
}

/** Notes an event, UE_…, for the application. */
export function udpRaise(s: UdpSocket, event: u8): void {
  s.evPending |= event;
  udpEnlist(s);
}

/** A datagram has been queued: batch sockets are told once until udpRecv() has drained the queue. */
export function udpArrived(s: UdpSocket): void {
  if (s.flags & (UF_INLINE | UF_SIGNALLED)) return;
  s.flags |= UF_SIGNALLED;
  udpRaise(s, UE_DATAGRAM);
}

/** The most urgent of what is pending: an error is about what was sent before; as an argument of EV_…. */
@inline
function nextEvent(pending: u8): u8 {
  return pending & UE_ERROR ? UE_ERROR : pending & UE_DATAGRAM ? UE_DATAGRAM : UE_WRITE;
}

@inline
function kindOf(event: u8): u32 {
  return event == UE_ERROR ? EV_ERROR : event == UE_DATAGRAM ? EV_DATAGRAM : EV_WRITE;
}

@inline
function argumentOf(s: UdpSocket, event: u8): u32 {
  return event == UE_ERROR ? s.error : event == UE_DATAGRAM ? s.rcvQCount : 0;
}

/** Calls back for everything that an inline socket has. The callback may do anything, so `s` is looked at anew after each. */
export function udpDeliverInline(s: UdpSocket): void {
  const handle = s.handle;
  while (s.handle == handle) {
    const pending = s.evPending;
    if ((pending & UE_ERROR) == 0 && udpQueueHand(s, UDP_TAKEN)) {
      hostEvent(handle, EV_DATAGRAM, UDP_TAKEN, UDPD_SIZE);
    } else if (pending != 0) {
      const event = nextEvent(pending);
      s.evPending = pending & ~event;
      hostEvent(handle, kindOf(event), argumentOf(s, event), 0);
    } else return;
  }
}

/** Moves what is pending into the event ring. False when it is full. */
function deliverBatch(s: UdpSocket): bool {
  while (s.evPending != 0) {
    const event = nextEvent(s.evPending);
    if (!eventPush(s.handle, kindOf(event), argumentOf(s, event), 0)) return false;
    s.evPending &= ~event;
  }
  return true;
}

/** Tells the application what is pending, as far as the event ring has room. */
@inline
export function udpFlush(): void {
  if (head) deliverAll();
}

function deliverAll(): void {
  const last = tail;
  while (head) {
    const at = head;
    const s = udpAt(at);
    if (s.writeNeed != 0 && s.writeNeed <= txRoom()) {
      s.writeNeed = 0;
      s.evPending |= UE_WRITE;
    }
    if (s.flags & UF_INLINE) udpDeliverInline(s);
    else if (!deliverBatch(s)) return;
    head = s.evNext;
    if (!head) tail = 0;
    s.flags &= ~UF_IN_EVENTS;
    if (s.writeNeed != 0) udpEnlist(s);
    else udpSlotReap(s);
    if (at == last) return;
  }
}
