// 4-tuple → connection: open addressing with linear probing, load at most one half, deletion by backward shift, so
// there are no tombstones and a lookup ends at the first empty entry. Hash collisions cannot be aimed at from outside:
// the hash is keyed by the seed.
//
//   entry   0      4
//           ├ hash ┼ tcb ┤      tcb 0 = empty; of a parked connection its record | 1

import { arenaAlloc } from '../abi/arena';
import { CFG_MAX_CONNECTIONS } from '../abi/layout';
import { rand64 } from '../abi/random';
import { parkedImage, unpark } from './park';
import { FL_IN_FLOWS, Tcb, addressOf, addressesOf, tcbAt } from './tcb';

const ENTRY_BYTES: u32 = 8;

let table: u32 = 0;
let mask: u32 = 0;
let used: u32 = 0;
let key0: u64 = 0;
let key1: u64 = 0;

function capacity(): u32 {
  const want = max<u32>(load<u32>(CFG_MAX_CONNECTIONS) * 2, 16);
  return 1 << (32 - clz(want - 1));
}

export function flowArenaNeeded(): u32 {
  return capacity() * ENTRY_BYTES + 64;
}

export function flowInit(): bool {
  const entries = capacity();
  table = arenaAlloc(entries * ENTRY_BYTES, 64);
  if (!table) return false;
  mask = entries - 1;
  used = 0;
  recent = 0;
  memory.fill(expected, 0, 8 << EXPECTED_BITS);
  key0 = rand64();
  key1 = rand64() | 1;
  return true;
}

@inline
function mix(h: u64, word: u64): u64 {
  h = (h ^ word) * 0x9fb21c651e98df25;
  return h ^ (h >>> 35);
}

/** `addresses`: local 16 bytes, remote 16 bytes. `ports`: local | remote << 16. */
@inline
export function flowHash(addresses: u32, ports: u32): u32 {
  let h = mix(key0, load<u64>(addresses) ^ rotl<u64>(load<u64>(addresses, 16), 29));
  h = mix(h, load<u64>(addresses, 8));
  h = mix(h + key1, load<u64>(addresses, 24));
  h = mix(h, <u64>ports * key1);
  return <u32>(h ^ (h >>> 32));
}

@inline
function same(t: Tcb, addresses: u32, ports: u32): bool {
  const own = addressesOf(t);
  return (
    t.ports == ports &&
    load<u64>(own, 8) == load<u64>(addresses, 8) &&
    load<u64>(own, 24) == load<u64>(addresses, 24) &&
    load<u64>(own) == load<u64>(addresses) &&
    load<u64>(own, 16) == load<u64>(addresses, 16)
  );
}

/** Why flowFind() said 0: the connection is there and parked, but there is no slot for it at the moment. */
export let flowParked: bool = false;

/** The connection found last: in a burst its next segment is likely to follow. 0 = none. */
let recent: u32 = 0;

/** The connection that flowFind() has found last, while it is where it was; 0 = none. */
@inline
export function flowRecent(): u32 {
  return recent;
}

// Connections that have just sent data, by their ports. Of many connections the table is cold, and the answer is what comes:
//
//   0       4
//   ├ ports ┼ tcb ┤      whatever has become of the slot
@inline const EXPECTED_BITS: u32 = 8;
const expected: u32 = <u32>memory.data(2048, 64);

@inline
function expectedAt(ports: u32): u32 {
  return expected + (((ports * 0x9e3779b1) >>> (32 - EXPECTED_BITS)) << 3);
}

/** The connection has sent data: something is expected to come for it. */
@inline
export function flowExpect(t: Tcb): void {
  const ports = t.ports;
  const at = expectedAt(ports);
  store<u32>(at, ports);
  store<u32>(at, addressOf(t), 4);
}

/** Whether a connection with these ports has lately sent data. */
@inline
export function flowExpected(ports: u32): bool {
  return load<u32>(expectedAt(ports)) == ports;
}

/** Where the entry for this hash is, or is not far away. */
@inline
export function flowHome(hash: u32): u32 {
  return table + (hash & mask) * ENTRY_BYTES;
}

/** The slot of what may be the connection with this hash; 0: there is none, or it is parked. */
@inline
export function flowNear(hash: u32): u32 {
  let i = hash & mask;
  while (true) {
    const entry = table + i * ENTRY_BYTES;
    const tcb = load<u32>(entry, 4);
    if (tcb == 0 || load<u32>(entry) == hash) return tcb & 1 ? 0 : tcb;
    i = (i + 1) & mask;
  }
}

/** The connection with this 4-tuple, unparked; or 0, and then see flowParked. */
export function flowFind(addresses: u32, ports: u32): u32 {
  if (recent != 0 && same(tcbAt(recent), addresses, ports)) return recent;
  const at = expectedAt(ports);
  const tcb = load<u32>(at, 4);
  if (load<u32>(at) == ports && tcb != 0) {
    const t = tcbAt(tcb);
    // A slot that was given back still has its addresses, and that of a parked connection its flags.
    if (t.state != 0 && t.flags & FL_IN_FLOWS && same(t, addresses, ports)) {
      recent = tcb;
      return tcb;
    }
  }
  return flowLookUp(addresses, ports);
}

function flowLookUp(addresses: u32, ports: u32): u32 {
  const entry = flowEntry(addresses, ports);
  if (entry == 0) {
    flowParked = false;
    return 0;
  }
  let tcb = load<u32>(entry, 4);
  if (tcb & 1) {
    tcb = unpark(tcb & ~1);
    flowParked = tcb == 0;
  }
  recent = tcb;
  return tcb;
}

/** Whether there is a connection with this 4-tuple. */
export function flowTaken(addresses: u32, ports: u32): bool {
  return flowEntry(addresses, ports) != 0;
}

/** A connection moves from its slot to a parked record, or back. */
export function flowMoved(t: Tcb, from: u32, to: u32): void {
  if (recent == from) recent = 0;
  let i = flowHash(addressesOf(t), t.ports) & mask;
  while (load<u32>(table + i * ENTRY_BYTES, 4) != from) i = (i + 1) & mask;
  store<u32>(table + i * ENTRY_BYTES, to, 4);
}

@inline
function flowEntry(addresses: u32, ports: u32): u32 {
  const hash = flowHash(addresses, ports);
  let i = hash & mask;
  while (true) {
    const entry = table + i * ENTRY_BYTES;
    const tcb = load<u32>(entry, 4);
    if (tcb == 0) return 0;
    if (load<u32>(entry) == hash) {
      const t = tcb & 1 ? parkedImage(tcb & ~1) : tcbAt(tcb);
      if (same(t, addresses, ports)) return entry;
    }
    i = (i + 1) & mask;
  }
}

/** The table holds twice the connections there can be, so there is always room. The 4-tuple must not be in it. */
export function flowInsert(t: Tcb): void {
  const hash = flowHash(addressesOf(t), t.ports);
  let i = hash & mask;
  while (load<u32>(table + i * ENTRY_BYTES, 4) != 0) i = (i + 1) & mask;
  store<u32>(table + i * ENTRY_BYTES, hash);
  store<u32>(table + i * ENTRY_BYTES, addressOf(t), 4);
  t.flags |= FL_IN_FLOWS;
  used++;
}

export function flowRemove(t: Tcb): void {
  if (!(t.flags & FL_IN_FLOWS)) return;
  t.flags &= ~FL_IN_FLOWS;
  const at = addressOf(t);
  if (recent == at) recent = 0;
  let hole = flowHash(addressesOf(t), t.ports) & mask;
  while (load<u32>(table + hole * ENTRY_BYTES, 4) != at) hole = (hole + 1) & mask;
  let i = hole;
  while (true) {
    i = (i + 1) & mask;
    const entry = table + i * ENTRY_BYTES;
    if (load<u32>(entry, 4) == 0) break;
    // An entry may move back into the hole unless its home lies cyclically in (hole, i].
    const home = load<u32>(entry) & mask;
    if (((i - home) & mask) < ((i - hole) & mask)) continue;
    store<u64>(table + hole * ENTRY_BYTES, load<u64>(entry));
    hole = i;
  }
  store<u64>(table + hole * ENTRY_BYTES, 0);
  used--;
}

/** Connections in the table. */
export function flowCount(): u32 {
  return used;
}
