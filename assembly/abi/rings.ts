// The rings of the control block: who allocates them and how the event ring is filled.

import { arenaAlloc } from './arena';
import {
  CFG_EVENT_RING,
  CFG_FREE_RING,
  CFG_RX_RING,
  CFG_TX_RING,
  CTL,
  CTL_COUNTERS_AT,
  CTL_DONE_AT,
  CTL_DONE_SIZE,
  CTL_EVENT_AT,
  CTL_EVENT_HEAD,
  CTL_EVENT_SIZE,
  CTL_EVENT_TAIL,
  CTL_FREE_AT,
  CTL_FREE_SIZE,
  CTL_RX_AT,
  CTL_RX_SIZE,
  CTL_SCRATCH_AT,
  CTL_TX_AT,
  CTL_TX_SIZE,
  EINVAL,
  ENOMEM,
  EVENT_A,
  EVENT_B,
  EVENT_HANDLE,
  EVENT_KIND,
  EVENT_SIZE,
  RXD_SIZE,
  SCRATCH_SIZE,
  CFGF_TX_TSO,
  CFG_FLAGS,
  TX_MAX_SEGS,
  TX_TSO_MAX_SEGS,
  TXD_SIZE,
} from './layout';
import { COUNTERS } from './runtime';

/** Completions a link may have outstanding: room for a full transmit ring in flight and one behind it. */
@inline
function doneSize(): u32 {
  return load<u32>(CFG_TX_RING) << 1;
}

const RING_MAX: u32 = 1 << 20;

@inline
function badRing(size: u32, least: u32): bool {
  return size < least || size > RING_MAX || (size & (size - 1)) != 0;
}

export function ringsNeeded(): u32 {
  return (
    load<u32>(CFG_RX_RING) * RXD_SIZE +
    load<u32>(CFG_TX_RING) * TXD_SIZE +
    doneSize() * 4 +
    load<u32>(CFG_FREE_RING) * 4 +
    load<u32>(CFG_EVENT_RING) * EVENT_SIZE +
    SCRATCH_SIZE +
    6 * 64
  );
}

export function ringsInit(): i32 {
  const rx = load<u32>(CFG_RX_RING);
  const tx = load<u32>(CFG_TX_RING);
  const free = load<u32>(CFG_FREE_RING);
  const event = load<u32>(CFG_EVENT_RING);
  const most = load<u32>(CFG_FLAGS) & CFGF_TX_TSO ? TX_TSO_MAX_SEGS : TX_MAX_SEGS;
  const leastTx = 2 * most - 2;
  if (badRing(rx, 1) || badRing(tx, leastTx) || badRing(free, 1) || badRing(event, 2)) return -EINVAL;
  const rxAt = arenaAlloc(rx * RXD_SIZE, 64);
  const txAt = arenaAlloc(tx * TXD_SIZE, 64);
  const doneAt = arenaAlloc(doneSize() * 4, 64);
  const freeAt = arenaAlloc(free * 4, 64);
  const eventAt = arenaAlloc(event * EVENT_SIZE, 64);
  const scratchAt = arenaAlloc(SCRATCH_SIZE, 64);
  if (rxAt == 0 || txAt == 0 || doneAt == 0 || freeAt == 0 || eventAt == 0 || scratchAt == 0) return -ENOMEM;
  memory.fill(CTL, 0, CTL_SCRATCH_AT + 4 - CTL);
  store<u32>(CTL_RX_AT, rxAt);
  store<u32>(CTL_RX_SIZE, rx);
  store<u32>(CTL_TX_AT, txAt);
  store<u32>(CTL_TX_SIZE, tx);
  store<u32>(CTL_DONE_AT, doneAt);
  store<u32>(CTL_DONE_SIZE, doneSize());
  store<u32>(CTL_FREE_AT, freeAt);
  store<u32>(CTL_FREE_SIZE, free);
  store<u32>(CTL_EVENT_AT, eventAt);
  store<u32>(CTL_EVENT_SIZE, event);
  store<u32>(CTL_SCRATCH_AT, scratchAt);
  store<u32>(CTL_COUNTERS_AT, <u32>COUNTERS);
  return 0;
}

/** Puts an event into the ring; false when the host has not made room yet. */
export function eventPush(handle: u32, kind: u32, a: u32, b: u32): bool {
  const head = load<u32>(CTL_EVENT_HEAD);
  const size = load<u32>(CTL_EVENT_SIZE);
  if (head - load<u32>(CTL_EVENT_TAIL) >= size) return false;
  const at = load<u32>(CTL_EVENT_AT) + (head & (size - 1)) * EVENT_SIZE;
  store<u32>(at + EVENT_HANDLE, handle);
  store<u32>(at + EVENT_KIND, kind);
  store<u32>(at + EVENT_A, a);
  store<u32>(at + EVENT_B, b);
  store<u32>(CTL_EVENT_HEAD, head + 1);
  return true;
}
