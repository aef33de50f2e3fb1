// Slots and handles of UDP sockets. As TCP's (tcp/handle.ts), and told from them by bit 30, which no TCP handle has:
//
//   31  30  29 ………………… indexBits ………… 0
//   ├ 0 ┼ 1 ┼── generation ─┼── index ──┤

import { UDP_SLOT_SIZE, UF_IN_EVENTS, UF_OPEN, UdpSocket, udpAddress, udpAt } from './socket';

const KIND: u32 = 1 << 30;

let base: u32 = 0;
let total: u32 = 0;
let open: u32 = 0;
let indexBits: u32 = 0;
let freeHead: u32 = 0;
let freeTail: u32 = 0;

function pushFree(s: UdpSocket): void {
  const at = udpAddress(s);
  s.evNext = 0;
  if (freeTail) udpAt(freeTail).evNext = at;
  else freeHead = at;
  freeTail = at;
}

export function udpSlotsInit(at: u32, sockets: u32): void {
  base = at;
  total = sockets;
  open = 0;
  indexBits = total > 1 ? 32 - clz(total - 1) : 1;
  freeHead = freeTail = 0;
  for (let i: u32 = 0; i < total; i++) {
    const s = udpAt(base + i * UDP_SLOT_SIZE);
    s.handle = KIND | (1 << indexBits) | i;
    pushFree(s);
  }
}

/** Sockets that are open. */
export function udpSocketsOpen(): u32 {
  return open;
}

/** A zeroed slot, open; 0 when none is left. */
export function udpSlotAlloc(): u32 {
  const at = freeHead;
  if (!at) return 0;
  const s = udpAt(at);
  freeHead = s.evNext;
  if (!freeHead) freeTail = 0;
  const handle = s.handle;
  memory.fill(at, 0, UDP_SLOT_SIZE);
  s.handle = handle;
  s.flags = UF_OPEN;
  open++;
  return at;
}

/** Ends the life of a handle. The slot is reused once it is off the list of events. */
export function udpSlotRelease(s: UdpSocket): void {
  const generations: u32 = (KIND - 1) >>> indexBits;
  const index = s.handle & ((1 << indexBits) - 1);
  let generation = ((s.handle >>> indexBits) + 1) & generations;
  if (generation == 0) generation = 1;
  s.handle = KIND | (generation << indexBits) | index;
  s.flags &= UF_IN_EVENTS;
  s.evPending = 0;
  s.writeNeed = 0;
  open--;
  udpSlotReap(s);
}

/** To be called when a slot came off the list of events: frees a released one. */
export function udpSlotReap(s: UdpSocket): void {
  if ((s.flags & (UF_OPEN | UF_IN_EVENTS)) == 0) pushFree(s);
}

/** The socket that the application knows by this handle; 0 when stale or foreign. */
export function udpFromHandle(handle: i32): u32 {
  const index = <u32>handle & ((1 << indexBits) - 1);
  if (index >= total) return 0;
  const s = udpAt(base + index * UDP_SLOT_SIZE);
  return s.handle == <u32>handle && s.flags & UF_OPEN ? udpAddress(s) : 0;
}
