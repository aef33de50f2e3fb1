// Neighbours: the MAC of every next hop. A bounded hash table of entries; each entry has a timer and a short queue
// of frames that wait for its MAC.
//
//             output            reply              unused for 30 s
//   (none) ──────────▶ INCOMPLETE ─────▶ REACHABLE ───────────────▶ (none)
//                       │  ▲   ▲           │  ▲
//            3 requests │  │   │ 3 requests│  │ reply
//            unanswered ▼  │   └───────────▼  │
//                     FAILED             PROBE: used in the last 30 s; asked by unicast, its MAC in use meanwhile
//
// With CFGF_ARP the core asks by ARP or, for IPv6, by neighbour solicitation (nd.ts), once a second (RFC 1122 §2.3.2.1). With CFGF_NEIGH_EVENTS it asks the host
// (EV_NEIGH, every 100 ms) and what neighSet() says holds until the host says otherwise.

import { arenaAlloc } from '../abi/arena';
import { CNT_NeighTableFull } from '../abi/counters';
import {
  CFG_FLAGS,
  CFG_MAX_NEIGHBOURS,
  CFGF_ARP,
  CFGF_NEIGH_EVENTS,
  EBADF,
  EINVAL,
  ENOBUFS,
  ENOMEM,
  EV_NEIGH,
  NEIGH_addr,
  NEIGH_FAILED,
  NEIGH_INCOMPLETE,
  NEIGH_INFO_SIZE,
  NEIGH_mac,
  NEIGH_pending,
  NEIGH_PROBE,
  NEIGH_REACHABLE,
  NEIGH_state,
} from '../abi/layout';
import { eventPush } from '../abi/rings';
import { count, inMemory, nowUs } from '../abi/runtime';
import { timerArm, timerRemove } from '../timer/wheel';
import { MAC_BROADCAST, macIsGroup, macLoad, macStore } from '../wire/ethernet';
import { isMapped, mappedRaw } from '../wire/ipv4';
import { arpRequest } from './arp';
import { bumpGeneration, ourMac, sameAddress, sourceFor } from './interface';
import {
  PENDING_EACH,
  pendingDrop,
  pendingFail,
  pendingNext,
  pendingSend,
  pendingTake,
  setPendingNext,
} from './pending';
import { ndSolicit } from './nd';

// Entry, 64 bytes at a multiple of 64:
//   0         16      32    40      44     45     46       47       48     52     56     60
//   ├ address ┼ timer ┼ mac ┼ state ┼ host ┼ used ┼ probes ┼ queued ┼ next ┼ head ┼ tail ┼ doubted ┤
// host: set by neighSet(), not by ARP. used: has been sent to since it was last looked at. next: of its hash
// bucket, or of the free list. head, tail: frames that wait. state 0: free.
// doubted: when neighbourDoubt() last asked, ms, 0 = never.
@inline const N_TIMER: u32 = 16;
@inline const N_MAC: usize = 32;
@inline const N_STATE: usize = 40;
@inline const N_HOST: usize = 44;
@inline const N_USED: usize = 45;
@inline const N_PROBES: usize = 46;
@inline const N_QUEUED: usize = 47;
@inline const N_NEXT: usize = 48;
@inline const N_HEAD: usize = 52;
@inline const N_TAIL: usize = 56;
@inline const N_DOUBTED: usize = 60;
@inline const N_SIZE: u32 = 64;

/** Interval of ARP requests, and how many go unanswered before a neighbour is given up. */
const ARP_INTERVAL_US: u64 = 1_000_000;
const ARP_PROBES: u32 = 3;
/** Interval of EV_NEIGH, and how many go unanswered: 3 s as well. */
const EVENT_INTERVAL_US: u64 = 100_000;
const EVENT_PROBES: u32 = 30;
/** After a full event ring. */
const EVENT_RETRY_US: u64 = 1_000;
/** Between two questions that a transport's doubts cause. */
const DOUBT_INTERVAL_MS: u32 = 1000;
/** How long an ARP reply is believed: REACHABLE_TIME of RFC 4861 §10. */
const REACHABLE_US: u64 = 30_000_000;

const NEIGHBOURS_MAX: u32 = 65536;

let table: u32 = 0;
let tableEnd: u32 = 0;
let freeList: u32 = 0;
let buckets: u32 = 0;
let bucketMask: u32 = 0;
/** Entries that frames wait for. */
let waiting: u32 = 0;
/** Where eviction looks next. */
let hand: u32 = 0;

function bucketCount(): u32 {
  const n = load<u32>(CFG_MAX_NEIGHBOURS);
  return n < 2 ? 1 : (<u32>1) << (32 - clz(n - 1));
}

export function neighboursNeeded(): u32 {
  return load<u32>(CFG_MAX_NEIGHBOURS) * N_SIZE + bucketCount() * 4 + 128;
}

export function neighboursInit(): i32 {
  const n = load<u32>(CFG_MAX_NEIGHBOURS);
  if (n == 0 || n > NEIGHBOURS_MAX) return -EINVAL;
  table = arenaAlloc(n * N_SIZE, 64);
  buckets = arenaAlloc(bucketCount() * 4, 64);
  if (table == 0 || buckets == 0) return -ENOMEM;
  tableEnd = table + n * N_SIZE;
  bucketMask = bucketCount() - 1;
  hand = table;
  waiting = 0;
  freeList = 0;
  for (let at = tableEnd; at > table; ) {
    at -= N_SIZE;
    store<u32>(at, freeList, N_NEXT);
    freeList = at;
  }
  return 0;
}

/** The timer node lies in a neighbour entry. */
@inline
export function isNeighbour(node: u32): bool {
  return node >= table && node < tableEnd;
}

@inline
function bucketOf(address: u32): u32 {
  const hash = (load<u64>(address, 8) ^ load<u64>(address)) * 0x9e3779b97f4a7c15;
  return buckets + ((<u32>(hash >> 40) & bucketMask) << 2);
}

function find(address: u32): u32 {
  let at = load<u32>(bucketOf(address));
  while (at != 0 && !sameAddress(at, address)) at = load<u32>(at, N_NEXT);
  return at;
}

/** Forgets the entry; frames that wait for it are dropped. */
function release(entry: u32): void {
  timerRemove(entry + N_TIMER);
  for (let record = detach(entry); record != 0; ) {
    const next = pendingNext(record);
    pendingDrop(record);
    record = next;
  }
  let link = bucketOf(entry);
  while (load<u32>(link) != entry) link = load<u32>(link) + <u32>N_NEXT;
  store<u32>(link, load<u32>(entry, N_NEXT));
  memory.fill(entry, 0, N_SIZE);
  store<u32>(entry, freeList, N_NEXT);
  freeList = entry;
  bumpGeneration();
}

/**
 * Frees an entry for another address, going round: first those without a MAC that nothing waits for, then what was not
 * used since the last round, entries of the host only when there is no other. `waiters`: what is waited for goes instead
 * of what has a MAC. False when every entry is waited for.
 */
function evict(waiters: bool): bool {
  const n = (tableEnd - table) / N_SIZE;
  for (let step: u32 = 0; step < 4 * n; step++) {
    const entry = hand;
    hand += N_SIZE;
    if (hand == tableEnd) hand = table;
    if (load<u32>(entry, N_HEAD) != 0) {
      if (!waiters) continue;
    } else if (neighbourUsable(entry)) {
      if (waiters || step < n) continue;
      const used = load<u8>(entry, N_USED) != 0;
      store<u8>(entry, 0, N_USED);
      if (used || (load<u8>(entry, N_HOST) != 0 && step < 3 * n)) continue;
    }
    release(entry);
    return true;
  }
  return false;
}

/**
 * The entry of an address, made if need be; 0 (counted) when the table is full. Addresses that nobody has, as many as an
 * attacker likes, must not drive out neighbours that are there (RFC 6583 §7): while more than half of the table waits for
 * answers, no entry is given up for one more question, and a neighbour that shows itself takes the place of one.
 */
function entryFor(address: u32, known: bool): u32 {
  let entry = find(address);
  if (entry != 0) return entry;
  const crowded = waiting > (tableEnd - table) / N_SIZE / 2;
  if (freeList == 0 && ((crowded && !known) || !evict(crowded))) {
    count(CNT_NeighTableFull);
    return 0;
  }
  entry = freeList;
  freeList = load<u32>(entry, N_NEXT);
  memory.fill(entry, 0, N_SIZE);
  memory.copy(entry, address, 16);
  const bucket = bucketOf(address);
  store<u32>(entry, load<u32>(bucket), N_NEXT);
  store<u32>(bucket, entry);
  // Nothing is asked for before there is something to send.
  store<u32>(entry, NEIGH_FAILED, N_STATE);
  return entry;
}

/** The entry of an address that something is to be sent to; 0 when there is no room for it. */
export function neighbourGet(address: u32): u32 {
  return entryFor(address, false);
}

/** The MAC is known: REACHABLE or PROBE. */
@inline
export function neighbourUsable(entry: u32): bool {
  return (load<u32>(entry, N_STATE) & 2) != 0;
}

@inline
export function neighbourMac(entry: u32): u64 {
  store<u8>(entry, 1, N_USED);
  return load<u64>(entry, N_MAC);
}

/** Keeps a frame until the neighbour's MAC is known, and asks for it. `entry` 0: drops the frame. */
export function neighbourQueue(
  entry: u32,
  f: u32,
  pieces: u32,
  headerLen: u32,
  payloadLen: u32,
  flags: u32,
  offload: u32,
): void {
  const record = pendingTake(f, pieces, headerLen, payloadLen, flags, offload);
  if (record == 0) return;
  if (entry == 0) {
    pendingDrop(record);
    return;
  }
  const queued = load<u8>(entry, N_QUEUED);
  if (load<u32>(entry, N_HEAD) == 0) {
    store<u32>(entry, record, N_HEAD);
    waiting++;
  } else setPendingNext(load<u32>(entry, N_TAIL), record);
  store<u32>(entry, record, N_TAIL);
  if (queued < <u8>PENDING_EACH) store<u8>(entry, queued + 1, N_QUEUED);
  else {
    // The latest frames are worth most (RFC 1122 §2.3.2.2).
    const oldest = load<u32>(entry, N_HEAD);
    store<u32>(entry, pendingNext(oldest), N_HEAD);
    pendingDrop(oldest);
  }
  if (load<u32>(entry, N_STATE) == NEIGH_FAILED) {
    store<u32>(entry, NEIGH_INCOMPLETE, N_STATE);
    store<u8>(entry, 0, N_PROBES);
    ask(entry);
  }
}

/** Asks who has the address and sets the timer for asking again. */
function ask(entry: u32): void {
  store<u8>(entry, load<u8>(entry, N_PROBES) + 1, N_PROBES);
  const config = load<u32>(CFG_FLAGS);
  if (config & CFGF_NEIGH_EVENTS) {
    if (eventPush(0, EV_NEIGH, entry, 0) || load<u8>(entry, N_PROBES) > 1) {
      timerArm(entry + N_TIMER, nowUs + EVENT_INTERVAL_US);
    } else {
      // The first question must be put; of the others one more or less does not matter.
      store<u8>(entry, 0, N_PROBES);
      timerArm(entry + N_TIMER, nowUs + EVENT_RETRY_US);
    }
    return;
  }
  const source = config & CFGF_ARP ? sourceFor(entry, entry) : 0;
  if (source != 0) {
    const unicast = load<u32>(entry, N_STATE) == NEIGH_PROBE;
    const mac = load<u64>(entry, N_MAC);
    if (isMapped(entry)) arpRequest(mappedRaw(source), mappedRaw(entry), unicast ? mac : MAC_BROADCAST);
    else ndSolicit(source, entry, unicast ? mac : 0);
  }
  timerArm(entry + N_TIMER, nowUs + ARP_INTERVAL_US);
}

/**
 * A transport gets no answer by way of this neighbour: it is asked at once whether it still is there. Where the host
 * resolves, the host is told that the neighbour is wanted; what it says holds until then. `entry` may be 0.
 */
export function neighbourDoubt(entry: u32): void {
  if (entry == 0 || load<u32>(entry, N_STATE) != NEIGH_REACHABLE) return;
  const byHost = (load<u32>(CFG_FLAGS) & CFGF_NEIGH_EVENTS) != 0;
  if (!byHost && load<u8>(entry, N_HOST) != 0) return;
  // However many connections go by it (RFC 1122 §2.3.2.1).
  const nowMs = <u32>(nowUs / 1000) | 1;
  if (load<u32>(entry, N_DOUBTED) != 0 && nowMs - load<u32>(entry, N_DOUBTED) < DOUBT_INTERVAL_MS) return;
  store<u32>(entry, nowMs, N_DOUBTED);
  if (byHost) {
    eventPush(0, EV_NEIGH, entry, 0);
    return;
  }
  timerRemove(entry + N_TIMER);
  store<u32>(entry, NEIGH_PROBE, N_STATE);
  store<u8>(entry, 0, N_PROBES);
  ask(entry);
}

/** Takes the waiting frames off the entry. */
function detach(entry: u32): u32 {
  const list = load<u32>(entry, N_HEAD);
  if (list != 0) waiting--;
  store<u32>(entry, 0, N_HEAD);
  store<u32>(entry, 0, N_TAIL);
  store<u8>(entry, 0, N_QUEUED);
  return list;
}

function known(entry: u32, mac: u64, host: bool): void {
  store<u64>(entry, mac, N_MAC);
  store<u32>(entry, NEIGH_REACHABLE, N_STATE);
  store<u8>(entry, host ? 1 : 0, N_HOST);
  timerRemove(entry + N_TIMER);
  if (!host) timerArm(entry + N_TIMER, nowUs + REACHABLE_US);
  const list = detach(entry);
  if (list != 0) {
    store<u8>(entry, 1, N_USED);
    pendingSend(list, mac);
  }
}

function fail(entry: u32): void {
  store<u32>(entry, NEIGH_FAILED, N_STATE);
  store<u8>(entry, 0, N_HOST);
  timerRemove(entry + N_TIMER);
  timerArm(entry + N_TIMER, nowUs + REACHABLE_US);
  pendingFail(detach(entry));
}

/** A neighbour's timer has run out. */
export function neighbourTimer(node: u32): void {
  const entry = node - N_TIMER;
  const state = load<u32>(entry, N_STATE);
  const probes = <u32>load<u8>(entry, N_PROBES);
  const enough = load<u32>(CFG_FLAGS) & CFGF_NEIGH_EVENTS ? EVENT_PROBES : ARP_PROBES;
  if (state == NEIGH_INCOMPLETE) {
    if (probes < enough) ask(entry);
    else fail(entry);
  } else if (state == NEIGH_PROBE && probes < enough) {
    ask(entry);
  } else if (state != NEIGH_FAILED && load<u8>(entry, N_USED) != 0) {
    // Confirm a MAC in use without interrupting what goes on; when it is silent, start over.
    store<u32>(entry, state == NEIGH_REACHABLE ? NEIGH_PROBE : NEIGH_INCOMPLETE, N_STATE);
    store<u8>(entry, 0, N_PROBES);
    store<u8>(entry, 0, N_USED);
    ask(entry);
  } else {
    release(entry);
  }
}

/** The MAC of an address as far as it is known, or 0. */
export function neighbourKnows(address: u32): u64 {
  const entry = find(address);
  return entry != 0 && neighbourUsable(entry) ? load<u64>(entry, N_MAC) : 0;
}

/** An ARP or neighbour discovery packet says that `address` has this MAC. Entries of the host are not changed, new ones made only with `create`. */
export function neighbourLearn(address: u32, mac: u64, create: bool): void {
  let entry = find(address);
  if (entry == 0) {
    if (!create) return;
    entry = entryFor(address, true);
    if (entry == 0) return;
  }
  if (load<u8>(entry, N_HOST) == 0) known(entry, mac, false);
}

// ---- ABI ---------------------------------------------------------------------------------------------------

/** The host says what an address resolves to; it holds until the host says otherwise. -EINVAL for a group MAC. */
export function neighSet(address: u32, mac: u32): i32 {
  if (!inMemory(address, 16) || !inMemory(mac, 6) || macIsGroup(macLoad(mac))) return -EINVAL;
  const entry = entryFor(address, true);
  if (entry == 0) return -ENOBUFS;
  known(entry, macLoad(mac), true);
  return 0;
}

/** Entry of an address of ours, on a link that gives frames back; 0 when the table is full. */
export function neighbourSelf(address: u32): u32 {
  const entry = neighbourGet(address);
  if (entry != 0) known(entry, ourMac, true);
  return entry;
}

/** Forgets an address; the next frame to it asks again. One that is being asked for stays. */
export function neighDel(address: u32): i32 {
  if (!inMemory(address, 16)) return -EINVAL;
  const entry = find(address);
  if (entry != 0 && load<u32>(entry, N_STATE) != NEIGH_INCOMPLETE) release(entry);
  return 0;
}

/** The address cannot be resolved: frames that wait are dropped and TCP is told. */
export function neighFail(address: u32): i32 {
  if (!inMemory(address, 16)) return -EINVAL;
  const entry = find(address);
  if (entry != 0) fail(entry);
  return 0;
}

/** Writes NEIGH_INFO_SIZE bytes about a place in the table. -EBADF for an empty place or one behind the table. */
export function neighAt(index: u32, at: u32): i32 {
  if (index >= (tableEnd - table) / N_SIZE) return -EBADF;
  const entry = table + index * N_SIZE;
  const state = load<u32>(entry, N_STATE);
  if (state == 0) return -EBADF;
  if (!inMemory(at, NEIGH_INFO_SIZE)) return -EINVAL;
  memory.fill(at, 0, NEIGH_INFO_SIZE);
  memory.copy(at + NEIGH_addr, entry, 16);
  macStore(at + NEIGH_mac, load<u64>(entry, N_MAC));
  store<u32>(at + NEIGH_state, state);
  store<u32>(at + NEIGH_pending, load<u8>(entry, N_QUEUED));
  return 0;
}
