// Listeners: which one a SYN belongs to, and its two bounded queues. A listener is a slot in state LISTEN; listeners
// on one port, with different addresses, are chained.

import { arenaAlloc } from '../abi/arena';
import { CNT_TcpExtListenDrops } from '../abi/counters';
import { CFG_MAX_CONNECTIONS, TCP_LISTEN } from '../abi/layout';
import { count } from '../abi/runtime';
import { connectionReset, destroy } from './close';
import { slotRelease } from './handle';
import { listAppend, listFirst, listRemove } from './list';
import {
  Backlog,
  F2_V6ONLY,
  FL_ACCEPT_QUEUE,
  FL_HALF_OPEN,
  Tcb,
  addressOf,
  backlogOf,
  coldOf,
  localPort,
  tcbAt,
} from './tcb';

/** Slot of the first listener on each port. */
let ports: u32 = 0;

const PORT_BYTES: u32 = 65536 * 4;

/** Half-open connections of all listeners. */
let halfOpenTotal: u32 = 0;

export function listenArenaNeeded(): u32 {
  return PORT_BYTES + 64;
}

export function listenInit(): bool {
  ports = arenaAlloc(PORT_BYTES, 64);
  halfOpenTotal = 0;
  return ports != 0;
}

@inline
export function listenerOnPort(port: u32): u32 {
  return load<u32>(ports + (port & 0xffff) * 4);
}

/** ::, or 0.0.0.0 mapped. */
@inline
export function isAnyAddress(high: u64, low: u64): bool {
  return high == 0 && (low == 0 || low == 0x00000000ffff0000);
}

/** 0.0.0.0, mapped. */
const ANY_V4: u64 = 0x00000000ffff0000;

/**
 * The listener for a SYN to this address and port: an exact address is better than any of its family, and that is better
 * than ::, which takes both families unless it was told not to. 0 when there is none.
 */
export function listenerFor(local: u32, port: u32): u32 {
  const high = load<u64>(local);
  const low = load<u64>(local, 8);
  const v4 = high == 0 && <u32>low == 0xffff0000;
  let any: u32 = 0;
  let at = listenerOnPort(port);
  while (at) {
    const l = tcbAt(at);
    if (l.local0 == high && l.local1 == low) return at;
    if (l.local0 == 0) {
      if (l.local1 == ANY_V4) {
        if (v4) any = at;
      } else if (l.local1 == 0 && any == 0 && (!v4 || (coldOf(l).flags2 & F2_V6ONLY) == 0)) any = at;
    }
    at = backlogOf(l).portNext;
  }
  return any;
}

/** Whether a new listener would take what another one has: the same address, or any of the same family. */
export function listenerTaken(high: u64, low: u64, port: u32, v6Only: bool): bool {
  let at = listenerOnPort(port);
  while (at) {
    const l = tcbAt(at);
    if (l.local0 == high && l.local1 == low) return true;
    if (isAnyAddress(high, low) && isAnyAddress(l.local0, l.local1)) {
      // One is 0.0.0.0, the other ::, which has IPv4 too unless it was told not to.
      if (!(low == 0 ? v6Only : (coldOf(l).flags2 & F2_V6ONLY) != 0)) return true;
    }
    at = backlogOf(l).portNext;
  }
  return false;
}

/** Makes a filled-in slot a listener. */
export function listenerAdd(l: Tcb): void {
  const port = localPort(l);
  l.state = <u8>TCP_LISTEN;
  backlogOf(l).portNext = listenerOnPort(port);
  store<u32>(ports + port * 4, addressOf(l));
}

@inline
function halfOpen(c: Backlog): u32 {
  return <u32>changetype<usize>(c) + <u32>offsetof<Backlog>('halfHead');
}

@inline
function acceptQueue(c: Backlog): u32 {
  return <u32>changetype<usize>(c) + <u32>offsetof<Backlog>('acceptHead');
}

/** The listener gives up its port; what it has not handed to the application is reset. */
export function listenerClose(l: Tcb): void {
  const c = backlogOf(l);
  const port = localPort(l);
  const own = addressOf(l);
  let at = listenerOnPort(port);
  if (at == own) store<u32>(ports + port * 4, c.portNext);
  else {
    while (backlogOf(tcbAt(at)).portNext != own) at = backlogOf(tcbAt(at)).portNext;
    backlogOf(tcbAt(at)).portNext = c.portNext;
  }
  while (c.halfHead) destroy(tcbAt(c.halfHead));
  while (c.acceptHead) connectionReset(tcbAt(c.acceptHead));
  slotRelease(l);
}

/** The accept queue is full: no connection can be completed now. */
@inline
export function acceptFull(l: Tcb): bool {
  return backlogOf(l).acceptCount >= backlogOf(l).backlog;
}

/** As many half-open connections as the listener may have, or all of them half the table. */
@inline
export function halfOpenFull(l: Tcb): bool {
  return backlogOf(l).halfCount >= backlogOf(l).backlog || halfOpenTotal >= load<u32>(CFG_MAX_CONNECTIONS) >> 1;
}

/** Puts a new connection on the half-open list. */
export function halfOpenAdd(l: Tcb, t: Tcb): void {
  const c = backlogOf(l);
  halfOpenTotal++;
  coldOf(t).listener = addressOf(l);
  t.flags |= FL_HALF_OPEN;
  c.halfCount++;
  listAppend(halfOpen(c), t);
}

/** Drops the oldest half-open connection. False when there is none. */
export function halfOpenEvict(l: Tcb): bool {
  const oldest = listFirst(halfOpen(backlogOf(l)));
  if (!oldest) return false;
  count(CNT_TcpExtListenDrops);
  destroy(tcbAt(oldest));
  return true;
}

/** Moves an established connection to the accept queue. */
export function acceptAdd(l: Tcb, t: Tcb): void {
  const c = backlogOf(l);
  t.flags |= FL_ACCEPT_QUEUE;
  coldOf(t).listener = addressOf(l);
  c.acceptCount++;
  listAppend(acceptQueue(c), t);
}

/** Takes the oldest connection from the accept queue; 0 when empty. */
export function acceptTake(l: Tcb): u32 {
  const at = listFirst(acceptQueue(backlogOf(l)));
  if (at) leaveListener(tcbAt(at));
  return at;
}

/** Takes a connection off its listener's lists. */
export function leaveListener(t: Tcb): void {
  if (!(t.flags & (FL_HALF_OPEN | FL_ACCEPT_QUEUE))) return;
  const c = backlogOf(tcbAt(coldOf(t).listener));
  if (t.flags & FL_HALF_OPEN) {
    halfOpenTotal--;
    c.halfCount--;
    listRemove(halfOpen(c), t);
  } else {
    c.acceptCount--;
    listRemove(acceptQueue(c), t);
  }
  t.flags &= ~(FL_HALF_OPEN | FL_ACCEPT_QUEUE);
}
