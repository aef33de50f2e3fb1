// Parked connections. A slot is large, because it has everything that loss, disorder and every option may need; a
// connection that does nothing needs little of it. With fewer slots than connections (CFG_ACTIVE_CONNECTIONS), idle
// ones are packed into records of PARKED_BYTES and unpacked when a segment, a call or their timer wants them. Nothing is
// lost by it: what is not in the record is the same in every connection, or nothing.
//
//   record   0       16       20     44
//            ├ timer ┼ handle ┼ bits ┼ words ┤
//
// Of a slot's words the record holds those that differ from the pattern's: the words of the first connection that was
// parked. `bits` says which. Sequence numbers are first taken relative to one another, which makes most of them equal.
// The timer is the long one's node, at the record's start, so that its address leads to the record.
//
// Parking is done between turns only, when nobody holds a pointer to a slot: it keeps RESERVE slots free for what the
// next turn may unpark.

import { arenaAlloc } from '../abi/arena';
import { CNT_TcpExtTCPParked, CNT_TcpExtTCPSlotsMissing, CNT_TcpExtTCPUnparked } from '../abi/counters';
import { CFG_ACTIVE_CONNECTIONS, CFG_MAX_CONNECTIONS, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_ESTABLISHED } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { TIMER_NODE, timerArm, timerArmed, timerMove, timerRemove } from '../timer/wheel';
import { flowMoved } from './flow';
import { placeSet, slotGive, slotTake, slotsLeft } from './handle';
import {
  CA_OPEN,
  Cold,
  FL_AT_REST,
  FL_IN_FLOWS,
  NODE_DELACK,
  NODE_LONG,
  NODE_RETRANSMIT,
  SLOT_SIZE,
  Tcb,
  addressOf,
  coldOf,
  delackTimer,
  longTimer,
  retransmitTimer,
  tcbAt,
  tcbTableAt,
  tcbTableEnd,
} from './tcb';

export const PARKED_BYTES: u32 = 240;
@inline const HANDLE: usize = 16;
@inline const BITS: usize = 20;
@inline const WORDS: u32 = 44;
@inline const WORDS_MOST: u32 = (PARKED_BYTES - WORDS) >> 2;
/** SLOT_SIZE in words. */
@inline const SLOT_WORDS: u32 = 192;

/** Slots kept free between turns, at most a quarter of all: a turn takes at most as many as it has frames. */
const RESERVE: u32 = 1024;
/** Slots looked at between two turns. */
const LOOKS: u32 = 256;

let records: u32 = 0;
let recordsEnd: u32 = 0;
let free: u32 = 0;
/** 0: every connection may have a slot, and none is parked. */
let reserve: u32 = 0;
/** Slot that parkIdle() looks at next. */
let hand: u32 = 0;

/** The words that need not be stored, once `patternKnown`. */
const PATTERN: u32 = <u32>memory.data(768, 16);
let patternKnown: bool = false;
/** A slot's words on their way in or out. */
const IMAGE: u32 = <u32>memory.data(768, 16);

/** Slots for connections: all that there may be, or fewer. */
export function activeSlots(): u32 {
  const most = load<u32>(CFG_MAX_CONNECTIONS);
  const active = load<u32>(CFG_ACTIVE_CONNECTIONS);
  return active == 0 ? most : min(active, most);
}

function reserveOf(active: u32): u32 {
  return active == load<u32>(CFG_MAX_CONNECTIONS) ? 0 : min(RESERVE, (active + 3) >> 2);
}

function recordCount(): u32 {
  const active = activeSlots();
  const kept = reserveOf(active);
  return kept == 0 ? 0 : load<u32>(CFG_MAX_CONNECTIONS) - active + kept;
}

export function parkArenaNeeded(): u32 {
  return recordCount() * PARKED_BYTES + 64;
}

export function parkInit(): bool {
  assert(SLOT_SIZE == SLOT_WORDS << 2);
  const n = recordCount();
  reserve = reserveOf(activeSlots());
  patternKnown = false;
  free = 0;
  records = recordsEnd = 0;
  hand = tcbTableAt();
  if (n == 0) return true;
  records = arenaAlloc(n * PARKED_BYTES, 16);
  if (!records) return false;
  recordsEnd = records + n * PARKED_BYTES;
  for (let at = recordsEnd; at > records; ) {
    at -= PARKED_BYTES;
    store<u32>(at, free);
    free = at;
  }
  return true;
}

/** Whether a timer's node is that of a parked connection. */
@inline
export function isParked(node: u32): bool {
  return node - records < recordsEnd - records;
}

/** Whether nothing is queued, unread, in flight, owed, marked or armed but the long timer. */
function atRest(t: Tcb): bool {
  const state: u32 = t.state;
  return (
    (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_CLOSE) &&
    (t.flags & ~FL_AT_REST) == 0 &&
    t.evPending == 0 &&
    t.caState == CA_OPEN &&
    (t.txHead | t.sqHead | t.rcvQHead | t.oooHead) == 0 &&
    t.rcvNxt == t.rcvWup &&
    t.sndNxt == t.sndEnd &&
    t.sackedBytes == 0 &&
    !timerArmed(retransmitTimer(t)) &&
    !timerArmed(delackTimer(t))
  );
}

@inline
function relative(at: u32, base: u32, sign: i32): void {
  store<u32>(IMAGE + at, sign < 0 ? load<u32>(IMAGE + at) - base : load<u32>(IMAGE + at) + base);
}

/** Takes sequence numbers relative to SND.UNA and RCV.NXT, which stay, or makes them absolute again. */
function relate(sign: i32): void {
  const una = changetype<Tcb>(<usize>IMAGE).sndUna;
  const nxt = changetype<Tcb>(<usize>IMAGE).rcvNxt;
  relative(<u32>offsetof<Tcb>('sndNxt'), una, sign);
  relative(<u32>offsetof<Tcb>('sndEnd'), una, sign);
  relative(<u32>offsetof<Cold>('recover'), una, sign);
  relative(<u32>offsetof<Tcb>('rcvAdv'), nxt, sign);
  relative(<u32>offsetof<Tcb>('rcvWup'), nxt, sign);
  relative(<u32>offsetof<Tcb>('sndWl1'), nxt, sign);
  relative(<u32>offsetof<Cold>('rackEnd'), una, sign);
  relative(<u32>offsetof<Cold>('fack'), una, sign);
  relative(<u32>offsetof<Cold>('sndSml'), una, sign);
  relative(<u32>offsetof<Cold>('rcvRttSeq'), nxt, sign);
}

/** Packs the connection into a record and gives its slot back. False when it does not fit or there is no record. */
function park(t: Tcb): bool {
  const record = free;
  if (record == 0) return false;
  const slot = addressOf(t);
  memory.copy(IMAGE, slot, SLOT_SIZE);
  // Timers are nodes of a list and not to be copied; the links of lists that it is on no more say nothing.
  memory.fill(IMAGE + NODE_RETRANSMIT, 0, TIMER_NODE);
  memory.fill(IMAGE + NODE_DELACK, 0, TIMER_NODE);
  memory.fill(IMAGE + NODE_LONG, 0, TIMER_NODE);
  const image = changetype<Tcb>(<usize>IMAGE);
  image.outNext = coldOf(image).evNext = 0;
  relate(-1);
  if (!patternKnown) {
    memory.copy(PATTERN, IMAGE, SLOT_SIZE);
    patternKnown = true;
  }
  const next = load<u32>(record);
  let words: u32 = 0;
  for (let group: u32 = 0; group < SLOT_WORDS / 32; group++) {
    let bits: u32 = 0;
    for (let i: u32 = 0; i < 32; i++) {
      const at = ((group << 5) + i) << 2;
      const word = load<u32>(IMAGE + at);
      if (word == load<u32>(PATTERN + at)) continue;
      if (words == WORDS_MOST) {
        store<u32>(record, next);
        return false;
      }
      bits |= (<u32>1) << i;
      store<u32>(record + WORDS + (words++ << 2), word);
    }
    store<u32>(record + (group << 2), bits, BITS);
  }
  free = next;
  store<u64>(record, 0);
  store<u64>(record, 0, 8);
  store<u32>(record, t.handle, HANDLE);
  timerRemove(retransmitTimer(t));
  timerRemove(delackTimer(t));
  timerMove(longTimer(t), record);
  placeSet(t.handle, record | 1);
  if (t.flags & FL_IN_FLOWS) flowMoved(t, slot, record | 1);
  t.state = 0;
  slotGive(t);
  count(CNT_TcpExtTCPParked);
  return true;
}

/** Unpacks into IMAGE. */
function unpack(record: u32): void {
  let words: u32 = record + WORDS;
  for (let group: u32 = 0; group < SLOT_WORDS / 32; group++) {
    let bits = load<u32>(record + (group << 2), BITS);
    memory.copy(IMAGE + (group << 7), PATTERN + (group << 7), 128);
    while (bits != 0) {
      store<u32>(IMAGE + (((group << 5) + ctz(bits)) << 2), load<u32>(words));
      words += 4;
      bits &= bits - 1;
    }
  }
  relate(1);
}

@inline
export function parkedHandle(record: u32): u32 {
  return load<u32>(record, HANDLE);
}

/** Gives a parked connection a slot again and returns it; 0 when there is none, counted. */
export function unpark(record: u32): u32 {
  const slot = slotTake();
  if (slot == 0) {
    count(CNT_TcpExtTCPSlotsMissing);
    return 0;
  }
  unpack(record);
  memory.copy(slot, IMAGE, SLOT_SIZE);
  const t = tcbAt(slot);
  placeSet(t.handle, slot);
  timerMove(record, longTimer(t));
  if (t.flags & FL_IN_FLOWS) flowMoved(t, record | 1, slot);
  store<u32>(record, free);
  free = record;
  count(CNT_TcpExtTCPUnparked);
  return slot;
}

/** The slot of a parked connection as it would be, to look at: valid until the next call of this file. */
export function parkedImage(record: u32): Tcb {
  unpack(record);
  return changetype<Tcb>(<usize>IMAGE);
}

/** The timer of a parked connection has expired: its slot, or 0, and it expires again in a moment. */
export function unparkForTimer(record: u32): u32 {
  const slot = unpark(record);
  if (slot == 0) timerArm(record, nowUs + 10_000);
  return slot;
}

/** Between turns: parks what is at rest until enough slots are free, going around the table. */
export function parkIdle(): void {
  if (reserve == 0 || slotsLeft() >= reserve) return;
  const end = tcbTableEnd();
  for (let looks: u32 = 0; looks < LOOKS && slotsLeft() < reserve; looks++) {
    const t = tcbAt(hand);
    hand += SLOT_SIZE;
    if (hand == end) hand = tcbTableAt();
    if (atRest(t)) park(t);
  }
}
