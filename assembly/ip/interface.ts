// The one interface: its MAC, its MTU and the addresses that are ours.

import { CFG_FLAGS, CFG_MAC, CFG_MTU, CFGF_LOOPBACK, EINVAL, ENOBUFS } from '../abi/layout';
import { inMemory } from '../abi/runtime';
import { macIsGroup, macLoad } from '../wire/ethernet';
import { IPV4_MIN_MTU, isMapped, mappedRaw } from '../wire/ipv4';
import { ipv6IsAllNodes, ipv6IsLinkLocal } from '../wire/ipv6';

/** Counts every change after which a destination slot must be worked out anew. 0 is never current. */
export let generation: u32 = 1;

export function bumpGeneration(): void {
  if (++generation == 0) generation = 1;
}

export let ourMac: u64 = 0;
/** Largest IP packet in bytes. */
export let linkMtu: u32 = 0;

const ADDRESSES_MAX: u32 = 16;
/** The total length of an IPv4 packet is 16 bits. */
const MTU_MAX: u32 = 65535;

// Address entry, 32 bytes. broadcast and raw are IPv4 only and 0 else.
//   0         16             20    24          28
//   ├ address ┼ prefix length ┼ raw ┼ broadcast ┼ deprecated ┤
const TABLE: usize = memory.data(512, 64);
@inline const A_PREFIX: usize = 16;
@inline const A_RAW: usize = 20;
@inline const A_BROADCAST: usize = 24;
@inline const A_DEPRECATED: usize = 28;
@inline const A_SIZE: u32 = 32;

/** End of the entries in use. */
let tableEnd: u32 = <u32>TABLE;

export function interfaceInit(): i32 {
  tableEnd = <u32>TABLE;
  return linkConfig(CFG_MAC, load<u32>(CFG_MTU), 0);
}

/**
 * MAC and MTU of the link, as they are or have become. `flags` is reserved and must be 0. -EINVAL for a group
 * MAC or an MTU below 576 (RFC 791 §3.1).
 */
export function linkConfig(mac: u32, mtu: u32, flags: u32): i32 {
  if (mac == 0 || !inMemory(mac, 6) || flags != 0 || mtu < IPV4_MIN_MTU) return -EINVAL;
  const next = macLoad(mac);
  if (macIsGroup(next)) return -EINVAL;
  ourMac = next;
  linkMtu = min(mtu, MTU_MAX);
  bumpGeneration();
  return 0;
}

/** The first `bits` (≤ 64) bits of an address word, as it is read little-endian. */
@inline
export function prefixMask(bits: u32): u64 {
  return bits == 0 ? 0 : bswap<u64>(~(<u64>0) << (64 - bits));
}

/** The address lies in the prefix of the given length that `prefix` is in. */
export function inPrefix(address: u32, prefix: u32, length: u32): bool {
  const upper = prefixMask(min(length, 64));
  const lower = prefixMask(length > 64 ? length - 64 : 0);
  return (
    ((load<u64>(address) ^ load<u64>(prefix)) & upper) == 0 &&
    ((load<u64>(address, 8) ^ load<u64>(prefix, 8)) & lower) == 0
  );
}

@inline
export function sameAddress(a: u32, b: u32): bool {
  return load<u64>(a) == load<u64>(b) && load<u64>(a, 8) == load<u64>(b, 8);
}

function find(address: u32): u32 {
  for (let at = <u32>TABLE; at < tableEnd; at += A_SIZE) if (sameAddress(at, address)) return at;
  return 0;
}

/** Adds an address of ours. -ENOBUFS when there are 16 already. Adding one again changes the rest. */
export function interfaceAdd(address: u32, prefixLength: u32, deprecated: bool): i32 {
  let at = find(address);
  if (at == 0) {
    if (tableEnd == <u32>TABLE + ADDRESSES_MAX * A_SIZE) return -ENOBUFS;
    at = tableEnd;
    tableEnd += A_SIZE;
    memory.copy(at, address, 16);
  }
  let raw: u32 = 0;
  let broadcast: u32 = 0;
  if (isMapped(address)) {
    raw = mappedRaw(address);
    // A /31 has no broadcast address (RFC 3021 §2.1), a /32 none of its own.
    if (prefixLength > 96 && prefixLength < 127) broadcast = raw | ~(<u32>(prefixMask(prefixLength - 64) >> 32));
  }
  store<u32>(at, prefixLength, A_PREFIX);
  store<u32>(at, raw, A_RAW);
  store<u32>(at, broadcast, A_BROADCAST);
  store<u32>(at, deprecated, A_DEPRECATED);
  bumpGeneration();
  return 0;
}

/** Forgets an address; false when it was not ours. */
export function interfaceDel(address: u32): bool {
  const at = find(address);
  if (at == 0) return false;
  memory.copy(at, at + A_SIZE, tableEnd - at - A_SIZE);
  tableEnd -= A_SIZE;
  bumpGeneration();
  return true;
}

/** Prefix length of an address of ours, or -1. */
export function interfacePrefix(address: u32): i32 {
  const at = find(address);
  return at == 0 ? -1 : <i32>load<u32>(at, A_PREFIX);
}

/** One of our addresses is in this prefix and has its length. */
export function hasPrefix(address: u32, prefixLength: u32): bool {
  for (let at = <u32>TABLE; at < tableEnd; at += A_SIZE) {
    if (load<u32>(at, A_PREFIX) == prefixLength && inPrefix(at, address, prefixLength)) return true;
  }
  return false;
}

export function isOurs(address: u32): bool {
  return find(address) != 0;
}

/** isOurs() for an IPv4 address as it lies in memory. */
@inline
export function isOursRaw(raw: u32): bool {
  for (let at = <u32>TABLE; at < tableEnd; at += A_SIZE) if (load<u32>(at, A_RAW) == raw) return raw != 0;
  return false;
}

/** Broadcast address of one of our subnets. */
@inline
export function isBroadcastRaw(raw: u32): bool {
  for (let at = <u32>TABLE; at < tableEnd; at += A_SIZE) if (load<u32>(at, A_BROADCAST) == raw) return raw != 0;
  return false;
}

/** What no packet to us comes from: a broadcast address of our subnets or, but on a loopback link, one of our addresses. */
@inline
export function isForgedRaw(raw: u32): bool {
  for (let at = <u32>TABLE; at < tableEnd; at += A_SIZE) {
    if (load<u32>(at, A_RAW) == raw) return raw != 0 && !(load<u32>(CFG_FLAGS) & CFGF_LOOPBACK);
    if (load<u32>(at, A_BROADCAST) == raw) return raw != 0;
  }
  return false;
}

/** A group that we listen to: all nodes of the link, or the nodes solicited for one of our addresses (RFC 4291 §2.8). */
export function isGroup(group: u32): bool {
  if (ipv6IsAllNodes(group)) return true;
  // ff02::1:ff00:0/104
  if (load<u64>(group) != 0x02ff || load<u32>(group, 8) != 0x01000000 || load<u8>(group, 12) != 0xff) return false;
  const low = load<u32>(group, 12) & 0xffffff00;
  for (let at = <u32>TABLE; at < tableEnd; at += A_SIZE) {
    if (!isMapped(at) && (load<u32>(at, 12) & 0xffffff00) == low) return true;
  }
  return false;
}

/** Bits that two addresses have in common from the left. */
function commonBits(a: u32, b: u32): u32 {
  const high = bswap<u64>(load<u64>(a) ^ load<u64>(b));
  if (high != 0) return <u32>clz<u64>(high);
  return 64 + <u32>clz<u64>(bswap<u64>(load<u64>(a, 8) ^ load<u64>(b, 8)));
}

/**
 * Our address to speak from towards this next hop; 0 when there is none of its family. IPv4: one whose prefix the next
 * hop is in, else the first. IPv6 (RFC 6724 §5, what there is to choose on one interface): the destination's scope, then one
 * that is not deprecated, then the longest prefix in common with it.
 */
export function sourceFor(nextHop: u32, remote: u32): u32 {
  const mapped = isMapped(remote);
  let best: u32 = 0;
  let merit: u32 = 0;
  for (let at = <u32>TABLE; at < tableEnd; at += A_SIZE) {
    if (isMapped(at) != mapped) continue;
    if (mapped) {
      if (inPrefix(nextHop, at, load<u32>(at, A_PREFIX))) return at;
      if (best == 0) best = at;
      continue;
    }
    const scope: u32 = ipv6IsLinkLocal(at) == ipv6IsLinkLocal(remote) ? 512 : 0;
    const preferred: u32 = load<u32>(at, A_DEPRECATED) == 0 ? 256 : 0;
    const value: u32 = 1 + scope + preferred + commonBits(at, remote);
    if (value > merit) {
      merit = value;
      best = at;
    }
  }
  return best;
}
