// Datagrams that are incomplete: their fragments, by reference, in the order of their offsets (RFC 815's holes are the
// gaps between them), until the datagram is whole or its time is over. What a fragment must be to come here is
// fragment.ts's concern.
//
// Everything is bounded: datagrams, fragments of one, receive objects and bytes of all. Who needs room where there is
// none takes it from the oldest datagram: of its own source, if that holds more than its share, else of all. So a flood
// of fragments displaces itself, and what is whole within the time that a flood takes to go round gets through.
//
// Datagram, 128 bytes at a multiple of 64:
//   0       16      32       48    52      56      60      64      68     72      76      80      84   88       92
//   ├ timer ┼ local ┼ remote ┼ key ┼ chain ┼ older ┼ newer ┼ first ┼ last ┼ count ┼ bytes ┼ total ┼ ip ┼ header ┼ ecn …
// chain: next of the hash bucket, or of the free list. first, last: fragments. count: of fragments. bytes: of payload
// that is here; total: of all payload, 0 while the last fragment is not here. ip: IP header in the fragment at offset 0,
// 0 while that is not here; header: bytes from there to what is fragmented, without a fragment header. ecn: bit n is set
// when a fragment with the ECN field n is here.
//
// Fragment, 16 bytes:
//   0      4        8     12
//   ├ next ┼ offset ┼ at ─┼ len ┤
// at: its payload, which lies in the receive object that it holds.

import { arenaAlloc } from '../abi/arena';
import {
  CNT_CopiedBytes,
  CNT_Ip6ReasmFails,
  CNT_Ip6ReasmOKs,
  CNT_Ip6ReasmOverlaps,
  CNT_Ip6ReasmTimeout,
  CNT_IpExtReasmOverlaps,
  CNT_IpReasmFails,
  CNT_IpReasmOKs,
  CNT_IpReasmTimeout,
} from '../abi/counters';
import {
  CFG_REASM_BYTES,
  CFG_REASM_DATAGRAMS,
  CFG_REASM_OBJECTS,
  CFG_REASM_TIMEOUT6_US,
  CFG_REASM_TIMEOUT_US,
  CFG_SEED_HI,
  CFG_SEED_LO,
  EINVAL,
  ENOMEM,
} from '../abi/layout';
import { mix64 } from '../abi/random';
import { count, countAdd, nowUs } from '../abi/runtime';
import { timerArm, timerRemove } from '../timer/wheel';
import { isMapped } from '../wire/ipv4';
import { rxObjectTotal } from '../zbuf/rxpool';
import { zbufAlloc, zbufRef, zbufUnref } from '../zbuf/zbuf';
import { fragmentTimeout } from './fragment';
import { sameAddress } from './interface';

@inline const D_ADDRS: u32 = 16;
@inline const D_REMOTE: u32 = 32;
@inline const D_KEY: usize = 48;
@inline const D_CHAIN: u32 = 52;
@inline const D_OLDER: usize = 56;
@inline const D_NEWER: usize = 60;
@inline const D_FIRST: usize = 64;
@inline const D_LAST: usize = 68;
@inline const D_COUNT: usize = 72;
@inline const D_BYTES: usize = 76;
@inline const D_TOTAL: usize = 80;
@inline const D_IP: usize = 84;
@inline const D_HEADER: usize = 88;
@inline const D_ECN: usize = 92;
@inline const D_SIZE: u32 = 128;

@inline const F_NEXT: usize = 0;
@inline const F_OFFSET: usize = 4;
@inline const F_AT: usize = 8;
@inline const F_LEN: usize = 12;
@inline const F_SIZE: u32 = 16;

const DATAGRAMS_MAX: u32 = 65536;
const FRAGMENTS_MAX: u32 = 1 << 20;
/** Fragments of one datagram: 64 KiB in packets of 576 bytes are 119. */
const FRAGMENTS_EACH: u32 = 128;
/** log2 of the part of all room that is one source's share. */
const SHARE_SHIFT: u32 = 2;
/** log2 of the part of all receive objects that fragments may hold. */
const OBJECTS_SHIFT: u32 = 3;

let datagrams: u32 = 0;
let datagramsEnd: u32 = 0;
let freeDatagrams: u32 = 0;
let freeFragments: u32 = 0;
let buckets: u32 = 0;
let bucketMask: u32 = 0;
let secret: u64 = 0;
/** By age. */
let oldest: u32 = 0;
let newest: u32 = 0;
let heldFragments: u32 = 0;
let heldBytes: u32 = 0;

function bucketCount(): u32 {
  const n = load<u32>(CFG_REASM_DATAGRAMS);
  return n < 2 ? 1 : (<u32>1) << (32 - clz(n - 1));
}

/** 0 when the configuration is not one that reassemblyInit() takes. */
export function reassemblyNeeded(): u32 {
  const n = load<u32>(CFG_REASM_DATAGRAMS);
  const fragments = load<u32>(CFG_REASM_OBJECTS);
  if (n > DATAGRAMS_MAX || fragments > FRAGMENTS_MAX) return 0;
  return n * D_SIZE + fragments * F_SIZE + bucketCount() * 4 + 3 * 64;
}

export function reassemblyInit(): i32 {
  const n = load<u32>(CFG_REASM_DATAGRAMS);
  const fragments = load<u32>(CFG_REASM_OBJECTS);
  if (n > DATAGRAMS_MAX || fragments > FRAGMENTS_MAX) return -EINVAL;
  datagrams = arenaAlloc(n * D_SIZE, 64);
  const records = arenaAlloc(fragments * F_SIZE, 64);
  buckets = arenaAlloc(bucketCount() * 4, 64);
  if (datagrams == 0 || records == 0 || buckets == 0) return -ENOMEM;
  datagramsEnd = datagrams + n * D_SIZE;
  bucketMask = bucketCount() - 1;
  secret = mix64(((<u64>load<u32>(CFG_SEED_HI)) << 32) | load<u32>(CFG_SEED_LO));
  freeDatagrams = 0;
  for (let d = datagramsEnd; d > datagrams; ) {
    d -= D_SIZE;
    store<u32>(d, freeDatagrams, D_CHAIN);
    freeDatagrams = d;
  }
  freeFragments = 0;
  for (let f = records + fragments * F_SIZE; f > records; ) {
    f -= F_SIZE;
    store<u32>(f, freeFragments, F_NEXT);
    freeFragments = f;
  }
  oldest = newest = 0;
  heldFragments = heldBytes = 0;
  return 0;
}

// ---- datagrams ---------------------------------------------------------------------------------------------

/** Address of the bucket's head. Keyed, so that nobody can aim at one. */
function bucketOf(addrs: u32, key: u32): u32 {
  const remote = load<u64>(addrs, 16) * 0x9e3779b97f4a7c15 + load<u64>(addrs, 24);
  return buckets + ((<u32>mix64(mix64(remote ^ secret) + load<u64>(addrs, 8) + key) & bucketMask) << 2);
}

function find(addrs: u32, key: u32): u32 {
  let d = load<u32>(bucketOf(addrs, key));
  while (
    d != 0 &&
    !(load<u32>(d, D_KEY) == key && sameAddress(d + D_REMOTE, addrs + 16) && sameAddress(d + D_ADDRS, addrs))
  ) {
    d = load<u32>(d, D_CHAIN);
  }
  return d;
}

/** Gives up everything that a datagram holds. */
function release(d: u32): void {
  let f = load<u32>(d, D_FIRST);
  while (f != 0) {
    const next = load<u32>(f, F_NEXT);
    zbufUnref(load<u32>(f, F_AT));
    store<u32>(f, freeFragments, F_NEXT);
    freeFragments = f;
    f = next;
  }
  heldFragments -= load<u32>(d, D_COUNT);
  heldBytes -= load<u32>(d, D_BYTES);
  timerRemove(d);
  const older = load<u32>(d, D_OLDER);
  const newer = load<u32>(d, D_NEWER);
  if (older != 0) store<u32>(older, newer, D_NEWER);
  else oldest = newer;
  if (newer != 0) store<u32>(newer, older, D_OLDER);
  else newest = older;
  let link = bucketOf(d + D_ADDRS, load<u32>(d, D_KEY));
  while (load<u32>(link) != d) link = load<u32>(link) + D_CHAIN;
  store<u32>(link, load<u32>(d, D_CHAIN));
  store<u32>(d, freeDatagrams, D_CHAIN);
  freeDatagrams = d;
}

function abandon(d: u32): void {
  count(isMapped(d + D_REMOTE) ? CNT_IpReasmFails : CNT_Ip6ReasmFails);
  release(d);
}

/** Receive objects that fragments may hold. */
@inline
function objectsLimit(): u32 {
  return min(load<u32>(CFG_REASM_OBJECTS), rxObjectTotal() >> OBJECTS_SHIFT);
}

/** Abandons a datagram for one of `source`: see the top of this file. Not `spare`; false when there is no other. */
function evict(source: u32, spare: u32): bool {
  let victim = oldest;
  if (victim != 0 && victim == spare) victim = load<u32>(victim, D_NEWER);
  let own: u32 = 0;
  let ownDatagrams: u32 = 0;
  let ownFragments: u32 = 0;
  for (let d = oldest; d != 0; d = load<u32>(d, D_NEWER)) {
    if (d == spare || !sameAddress(d + D_REMOTE, source)) continue;
    if (own == 0) own = d;
    ownDatagrams++;
    ownFragments += load<u32>(d, D_COUNT);
  }
  const share = load<u32>(CFG_REASM_DATAGRAMS) >> SHARE_SHIFT;
  if (own != 0 && (ownDatagrams > share || ownFragments > objectsLimit() >> SHARE_SHIFT)) victim = own;
  if (victim == 0) return false;
  abandon(victim);
  return true;
}

/** A new datagram; 0 when there may be none. */
function begin(addrs: u32, key: u32): u32 {
  if (freeDatagrams == 0 && !evict(addrs + 16, 0)) return 0;
  const d = freeDatagrams;
  freeDatagrams = load<u32>(d, D_CHAIN);
  memory.fill(d, 0, D_SIZE);
  memory.copy(d + D_ADDRS, addrs, 32);
  store<u32>(d, key, D_KEY);
  const bucket = bucketOf(addrs, key);
  store<u32>(d, load<u32>(bucket), D_CHAIN);
  store<u32>(bucket, d);
  store<u32>(d, newest, D_OLDER);
  if (newest != 0) store<u32>(newest, d, D_NEWER);
  else oldest = d;
  newest = d;
  timerArm(d, nowUs + load<u32>(isMapped(addrs + 16) ? CFG_REASM_TIMEOUT_US : CFG_REASM_TIMEOUT6_US));
  return d;
}

// ---- fragments ---------------------------------------------------------------------------------------------

@inline
function endOf(f: u32): u32 {
  return load<u32>(f, F_OFFSET) + load<u32>(f, F_LEN);
}

const DUPLICATE: i32 = 0;
const KEPT: i32 = 1;
const CONFLICT: i32 = 2;

/** Puts [at, at + len) in its place among the datagram's fragments. */
function insert(d: u32, at: u32, len: u32, offset: u32, more: bool): i32 {
  const end = offset + len;
  let before: u32 = load<u32>(d, D_LAST);
  let after: u32 = 0;
  // Mostly they come in order.
  if (before != 0 && endOf(before) > offset) {
    before = 0;
    after = load<u32>(d, D_FIRST);
    while (after != 0 && load<u32>(after, F_OFFSET) <= offset) {
      before = after;
      after = load<u32>(after, F_NEXT);
    }
  }
  const total = load<u32>(d, D_TOTAL);
  if (before != 0 && endOf(before) > offset) {
    // RFC 8200 §4.5: an exact duplicate is not an overlap.
    const same =
      load<u32>(before, F_OFFSET) == offset &&
      load<u32>(before, F_LEN) == len &&
      more == (total != end) &&
      memory.compare(load<u32>(before, F_AT), at, len) == 0;
    if (same) return DUPLICATE;
    count(isMapped(d + D_REMOTE) ? CNT_IpExtReasmOverlaps : CNT_Ip6ReasmOverlaps);
    return CONFLICT;
  }
  if (after != 0 && load<u32>(after, F_OFFSET) < end) {
    count(isMapped(d + D_REMOTE) ? CNT_IpExtReasmOverlaps : CNT_Ip6ReasmOverlaps);
    return CONFLICT;
  }
  // Two ends, or something behind the end.
  if (more ? total != 0 && end >= total : total != 0 || after != 0) return CONFLICT;
  if (load<u32>(d, D_COUNT) == FRAGMENTS_EACH) return CONFLICT;
  if (!more) store<u32>(d, end, D_TOTAL);
  const f = freeFragments;
  freeFragments = load<u32>(f, F_NEXT);
  zbufRef(at);
  store<u32>(f, after, F_NEXT);
  store<u32>(f, offset, F_OFFSET);
  store<u32>(f, at, F_AT);
  store<u32>(f, len, F_LEN);
  if (before != 0) store<u32>(before, f, F_NEXT);
  else store<u32>(d, f, D_FIRST);
  if (after == 0) store<u32>(d, f, D_LAST);
  store<u32>(d, load<u32>(d, D_COUNT) + 1, D_COUNT);
  store<u32>(d, load<u32>(d, D_BYTES) + len, D_BYTES);
  heldFragments++;
  heldBytes += len;
  return KEPT;
}

// Result of fragmentKeep() when the datagram is whole.
/** Bytes of its headers and behind them; ECN fields of its fragments, as in D_ECN. */
export let wholeHeader: u32 = 0;
export let wholeTotal: u32 = 0;
export let wholeEcn: u32 = 0;
/** First byte behind those headers in the fragment that they are of: of IPv6, the next header of the fragment header. */
export let wholeNext: u32 = 0;

/**
 * Takes a fragment of the datagram between `addrs` with this key: `len` bytes at `at`, which belong at `offset`. `header`:
 * bytes of headers in front of them, from `ip` on; `ecn`: of this fragment. When the datagram is whole, an object is
 * returned that holds headers and payload in one piece, and a reference to it is the caller's; else 0.
 */
export function fragmentKeep(
  addrs: u32,
  key: u32,
  ip: u32,
  header: u32,
  at: u32,
  len: u32,
  offset: u32,
  more: bool,
  ecn: u32,
): u32 {
  let d = find(addrs, key);
  if (d == 0) {
    d = begin(addrs, key);
    if (d == 0) {
      count(isMapped(addrs + 16) ? CNT_IpReasmFails : CNT_Ip6ReasmFails);
      return 0;
    }
  }
  while (heldFragments >= objectsLimit() || heldBytes + len > load<u32>(CFG_REASM_BYTES)) {
    if (evict(addrs + 16, d)) continue;
    abandon(d);
    return 0;
  }
  const result = insert(d, at, len, offset, more);
  if (result == CONFLICT) abandon(d);
  if (result != KEPT) return 0;
  store<u32>(d, load<u32>(d, D_ECN) | (1 << ecn), D_ECN);
  if (offset == 0) {
    store<u32>(d, ip, D_IP);
    store<u32>(d, header, D_HEADER);
  }
  return load<u32>(d, D_BYTES) == load<u32>(d, D_TOTAL) ? assemble(d) : 0;
}

/** Copies a datagram that is whole into one object; 0, and the datagram is lost, when there is none. */
function assemble(d: u32): u32 {
  wholeHeader = load<u32>(d, D_HEADER);
  wholeTotal = load<u32>(d, D_TOTAL);
  wholeEcn = load<u32>(d, D_ECN);
  wholeNext = load<u8>(load<u32>(d, D_IP) + wholeHeader);
  const whole = zbufAlloc(wholeHeader + wholeTotal);
  if (whole == 0) {
    abandon(d);
    return 0;
  }
  memory.copy(whole, load<u32>(d, D_IP), wholeHeader);
  for (let f = load<u32>(d, D_FIRST); f != 0; f = load<u32>(f, F_NEXT)) {
    memory.copy(whole + wholeHeader + load<u32>(f, F_OFFSET), load<u32>(f, F_AT), load<u32>(f, F_LEN));
  }
  countAdd(CNT_CopiedBytes, wholeTotal);
  count(isMapped(d + D_REMOTE) ? CNT_IpReasmOKs : CNT_Ip6ReasmOKs);
  release(d);
  return whole;
}

// ---- time --------------------------------------------------------------------------------------------------

/** The timer node is a datagram's. */
@inline
export function isReassembly(node: u32): bool {
  return node - datagrams < datagramsEnd - datagrams;
}

/** The time of the datagram is over. */
export function reassemblyTimer(d: u32): void {
  const ip = load<u32>(d, D_IP);
  count(isMapped(d + D_REMOTE) ? CNT_IpReasmTimeout : CNT_Ip6ReasmTimeout);
  // Its sender is told if it may know by it which it was (RFC 792, RFC 8200 §4.5).
  if (ip != 0) fragmentTimeout(ip, d + D_ADDRS);
  abandon(d);
}
