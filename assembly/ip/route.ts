// Routes and destinations.
//
// The route table is sorted by prefix length, longest first, so the first match is the longest. It is walked once
// for each destination and change: what was found is kept in a direct-mapped cache of destination slots. A slot
// is current while its generation is; every change of routes, addresses, link or the neighbour table's entries
// starts a new one. TCP keeps the slot's address as a hint, and ipOutput() checks that it still is what it was.

import { arenaAlloc } from '../abi/arena';
import {
  CFG_FLAGS,
  ADDRESS_DEPRECATED,
  CFG_MAX_NEIGHBOURS,
  CFG_MAX_ROUTES,
  CFGF_LOOPBACK,
  EBADF,
  EINVAL,
  ENOBUFS,
  ENOMEM,
  ROUTE_dst,
  ROUTE_flags,
  ROUTE_gateway,
  ROUTE_INFO_SIZE,
  ROUTE_mtu,
  ROUTE_prefix_length,
  ROUTEF_ADDED,
  ROUTEF_CONNECTED,
  ROUTEF_GATEWAY,
} from '../abi/layout';
import { inMemory, nowUs } from '../abi/runtime';
import { IPV4_MIN_MTU, ipv4IsMartian, isMapped, mappedRaw } from '../wire/ipv4';
import {
  bumpGeneration,
  generation,
  hasPrefix,
  interfaceAdd,
  interfaceDel,
  interfacePrefix,
  isBroadcastRaw,
  isOurs,
  linkMtu,
  prefixMask,
  sameAddress,
  sourceFor,
} from './interface';
import { neighbourDoubt, neighbourGet, neighbourSelf } from './neighbour';
import { IPV6_MIN_MTU, ipv6IsLoopback, ipv6IsMulticast, ipv6IsUnspecified } from '../wire/ipv6';

// Route, 64 bytes. dst has its host bits cleared.
//   0     16     32        48              52    56      60
//   ├ dst ┼ mask ┼ gateway ┼ prefix length ┼ mtu ┼ flags ┼ unused ┤
@inline const R_DST: usize = 0;
@inline const R_MASK: usize = 16;
@inline const R_GATEWAY: u32 = 32;
@inline const R_LENGTH: usize = 48;
@inline const R_MTU: usize = 52;
@inline const R_FLAGS: usize = 56;
@inline const R_SIZE: u32 = 64;

let routes: u32 = 0;
let routesEnd: u32 = 0;
let routesLimit: u32 = 0;

// Destination slot, 64 bytes. path mtu: what a router has told, 0 = nothing; at: when, ms.
//   0         16           20          24    28       32         36   40
//   ├ address ┼ generation ┼ neighbour ┼ mtu ┼ source ┼ path mtu ┼ at ┼ unused ┤
@inline const D_GENERATION: usize = 16;
@inline const D_NEIGHBOUR: usize = 20;
@inline const D_MTU: usize = 24;
@inline const D_SOURCE: usize = 28;
@inline const D_PATH_MTU: usize = 32;
@inline const D_PATH_MTU_MS: usize = 36;
@inline const D_SHIFT: u32 = 6;

/** RFC 1191 §6.3: after this a larger path is tried. */
const PATH_MTU_MS: u32 = 600_000;

let slots: u32 = 0;
let slotMask: u32 = 0;

@inline const ROUTES_MAX: u32 = 65536;

/** Four slots for each neighbour there may be, a power of two. */
function slotCount(): u32 {
  const wanted = min<u32>(max<u32>(load<u32>(CFG_MAX_NEIGHBOURS), 16), 16384) * 4;
  return (<u32>1) << (32 - clz(wanted - 1));
}

export function routesNeeded(): u32 {
  return load<u32>(CFG_MAX_ROUTES) * R_SIZE + (slotCount() << D_SHIFT) + 128;
}

export function routesInit(): i32 {
  const limit = load<u32>(CFG_MAX_ROUTES);
  if (limit == 0 || limit > ROUTES_MAX) return -EINVAL;
  routes = arenaAlloc(limit * R_SIZE, 64);
  slots = arenaAlloc(slotCount() << D_SHIFT, 64);
  if (routes == 0 || slots == 0) return -ENOMEM;
  routesEnd = routes;
  routesLimit = routes + limit * R_SIZE;
  slotMask = slotCount() - 1;
  return 0;
}

// ---- routes ------------------------------------------------------------------------------------------------

// The prefix being looked for, host bits cleared, and its mask.
let keyHi: u64 = 0;
let keyLo: u64 = 0;
let maskHi: u64 = 0;
let maskLo: u64 = 0;

function setKey(dst: u32, prefixLength: u32): void {
  maskHi = prefixMask(min(prefixLength, 64));
  maskLo = prefixMask(prefixLength > 64 ? prefixLength - 64 : 0);
  keyHi = load<u64>(dst) & maskHi;
  keyLo = load<u64>(dst, 8) & maskLo;
}

function find(prefixLength: u32, gateway: u32): u32 {
  for (let at = routes; at < routesEnd; at += R_SIZE) {
    if (load<u32>(at, R_LENGTH) != prefixLength || load<u64>(at) != keyHi || load<u64>(at, 8) != keyLo) continue;
    const viaGateway = (load<u32>(at, R_FLAGS) & ROUTEF_GATEWAY) != 0;
    if (viaGateway ? gateway != 0 && sameAddress(at + R_GATEWAY, gateway) : gateway == 0) return at;
  }
  return 0;
}

function insert(dst: u32, prefixLength: u32, gateway: u32, mtu: u32, flag: u32): i32 {
  setKey(dst, prefixLength);
  let at = find(prefixLength, gateway);
  if (at == 0) {
    if (routesEnd == routesLimit) return -ENOBUFS;
    at = routes;
    while (at < routesEnd && load<u32>(at, R_LENGTH) >= prefixLength) at += R_SIZE;
    memory.copy(at + R_SIZE, at, routesEnd - at);
    routesEnd += R_SIZE;
    memory.fill(at, 0, R_SIZE);
    store<u64>(at, keyHi, R_DST);
    store<u64>(at, keyLo, R_DST + 8);
    store<u64>(at, maskHi, R_MASK);
    store<u64>(at, maskLo, R_MASK + 8);
    store<u32>(at, prefixLength, R_LENGTH);
    if (gateway != 0) {
      memory.copy(at + R_GATEWAY, gateway, 16);
      store<u32>(at, ROUTEF_GATEWAY, R_FLAGS);
    }
  }
  store<u32>(at, load<u32>(at, R_FLAGS) | flag, R_FLAGS);
  if (flag == ROUTEF_ADDED) store<u32>(at, mtu, R_MTU);
  bumpGeneration();
  return 0;
}

/** Takes one reason for a route to exist; the last one takes the route. */
function drop(at: u32, flag: u32): void {
  const flags = load<u32>(at, R_FLAGS) & ~flag;
  store<u32>(at, flags, R_FLAGS);
  if ((flags & (ROUTEF_ADDED | ROUTEF_CONNECTED)) == 0) {
    memory.copy(at, at + R_SIZE, routesEnd - at - R_SIZE);
    routesEnd -= R_SIZE;
  }
  bumpGeneration();
}

/** Adds an address of ours and the route to its prefix. `prefixLength`: ADDRESS_DEPRECATED may be added to it. */
export function addressAdd(address: u32, prefixLength: u32): i32 {
  const deprecated = (prefixLength & ADDRESS_DEPRECATED) != 0;
  prefixLength &= ~ADDRESS_DEPRECATED;
  if (!inMemory(address, 16) || prefixLength > 128) return -EINVAL;
  if (isMapped(address)) {
    if (prefixLength < 96 || ipv4IsMartian(mappedRaw(address))) return -EINVAL;
  } else if (ipv6IsMulticast(address) || ipv6IsUnspecified(address) || ipv6IsLoopback(address)) return -EINVAL;
  const earlier = interfacePrefix(address);
  if (earlier >= 0 && <u32>earlier != prefixLength) addressDel(address, <u32>earlier);
  let error = interfaceAdd(address, prefixLength, deprecated);
  if (error != 0) return error;
  error = insert(address, prefixLength, 0, 0, ROUTEF_CONNECTED);
  if (error != 0) interfaceDel(address);
  return error;
}

/** Takes an address back. -EINVAL when it was not ours with this prefix length. */
export function addressDel(address: u32, prefixLength: u32): i32 {
  if (!inMemory(address, 16) || interfacePrefix(address) != <i32>prefixLength) return -EINVAL;
  interfaceDel(address);
  setKey(address, prefixLength);
  // Another address of the same prefix keeps the route.
  const at = find(prefixLength, 0);
  if (at != 0 && !hasPrefix(address, prefixLength)) drop(at, ROUTEF_CONNECTED);
  return 0;
}

/** Adds a route, or changes the MTU of one that is there. `gateway` 0: on the link itself. `mtu` 0: the link's. */
export function routeAdd(dst: u32, prefixLength: u32, gateway: u32, mtu: u32): i32 {
  if (!inMemory(dst, 16) || !inMemory(gateway, 16) || prefixLength > 128) return -EINVAL;
  return insert(dst, prefixLength, gateway, mtu, ROUTEF_ADDED);
}

/** -EINVAL when there is no such route. */
export function routeDel(dst: u32, prefixLength: u32, gateway: u32): i32 {
  if (!inMemory(dst, 16) || !inMemory(gateway, 16) || prefixLength > 128) return -EINVAL;
  setKey(dst, prefixLength);
  const at = find(prefixLength, gateway);
  if (at == 0 || (load<u32>(at, R_FLAGS) & ROUTEF_ADDED) == 0) return -EINVAL;
  drop(at, ROUTEF_ADDED);
  return 0;
}

/** Forgets every route that routeAdd() made. */
export function routeClear(): i32 {
  for (let at = routesEnd; at > routes; ) {
    at -= R_SIZE;
    drop(at, ROUTEF_ADDED);
  }
  return 0;
}

/** Writes ROUTE_INFO_SIZE bytes about the route at a place in the table. -EBADF behind the last one. */
export function routeAt(index: u32, at: u32): i32 {
  if (index >= (routesEnd - routes) / R_SIZE) return -EBADF;
  if (!inMemory(at, ROUTE_INFO_SIZE)) return -EINVAL;
  const route = routes + index * R_SIZE;
  memory.copy(at + ROUTE_dst, route, 16);
  memory.copy(at + ROUTE_gateway, route + R_GATEWAY, 16);
  store<u32>(at + ROUTE_prefix_length, load<u32>(route, R_LENGTH));
  store<u32>(at + ROUTE_mtu, load<u32>(route, R_MTU));
  store<u32>(at + ROUTE_flags, load<u32>(route, R_FLAGS));
  return 0;
}

/** The route with the longest prefix that `address` is in; 0 when there is none. */
export function routeLookup(address: u32): u32 {
  const hi = load<u64>(address);
  const lo = load<u64>(address, 8);
  for (let at = routes; at < routesEnd; at += R_SIZE) {
    if (
      (hi & load<u64>(at, R_MASK)) == load<u64>(at, R_DST) &&
      (lo & load<u64>(at, R_MASK + 8)) == load<u64>(at, R_DST + 8)
    ) {
      return at;
    }
  }
  return 0;
}

// ---- destinations ------------------------------------------------------------------------------------------

/** The slot holds this address and nothing has changed since it was filled. */
@inline
export function dstIs(dst: u32, remote: u32): bool {
  return (
    dst != 0 &&
    load<u32>(dst, D_GENERATION) == generation &&
    load<u64>(dst, 8) == load<u64>(remote, 8) &&
    load<u64>(dst) == load<u64>(remote)
  );
}

/** Nothing has changed since the slot was filled; whose it is now is another question. */
@inline
export function dstValid(dst: u32): bool {
  return dst != 0 && load<u32>(dst, D_GENERATION) == generation;
}

/** In place of a destination slot: every host of the link. */
export const DST_BROADCAST: u32 = 1;

/** `dst` itself while it is the remote address's, else what dstGet() gives. */
@inline
export function dstCurrent(dst: u32, remote: u32): u32 {
  return dst == DST_BROADCAST || dstIs(dst, remote) ? dst : dstGet(remote);
}

/**
 * Destination slot of a remote address; 0 when it cannot be reached: no route, an address of ours or a group.
 * Read the slot at once: the next dstGet() may give it to another address.
 */
export function dstGet(remote: u32): u32 {
  const hash = (load<u64>(remote, 8) ^ load<u64>(remote)) * 0x9e3779b97f4a7c15;
  const dst = slots + ((<u32>(hash >> 40) & slotMask) << D_SHIFT);
  if (dstIs(dst, remote)) return dst;
  return fill(dst, remote);
}

function fill(dst: u32, remote: u32): u32 {
  const mapped = isMapped(remote);
  if (mapped) {
    const raw = mappedRaw(remote);
    if (ipv4IsMartian(raw) || isBroadcastRaw(raw)) return 0;
  } else if (ipv6IsMulticast(remote) || ipv6IsUnspecified(remote) || ipv6IsLoopback(remote)) return 0;
  const own = isOurs(remote);
  if (own && !(load<u32>(CFG_FLAGS) & CFGF_LOOPBACK)) return 0;
  const route = routeLookup(remote);
  if (route == 0) return 0;
  const nextHop = (load<u32>(route, R_FLAGS) & ROUTEF_GATEWAY) != 0 ? route + R_GATEWAY : remote;
  // May start a new generation by evicting an entry, so it comes before the slot is stamped.
  const neighbour = own ? neighbourSelf(remote) : neighbourGet(nextHop);
  // What is known of the path outlives a change of routes.
  if (!sameAddress(dst, remote)) store<u32>(dst, 0, D_PATH_MTU);
  store<u64>(dst, load<u64>(remote));
  store<u64>(dst, load<u64>(remote, 8), 8);
  store<u32>(dst, generation, D_GENERATION);
  store<u32>(dst, neighbour, D_NEIGHBOUR);
  const mtu = load<u32>(route, R_MTU);
  store<u32>(dst, mtu == 0 ? linkMtu : max(min(mtu, linkMtu), mapped ? IPV4_MIN_MTU : IPV6_MIN_MTU), D_MTU);
  store<u32>(dst, sourceFor(nextHop, remote), D_SOURCE);
  return dst;
}

/** Negative advice about the way to `remote` (RFC 1122 §3.3.1.4): nothing sent there is answered. */
export function dstDoubt(dst: u32, remote: u32): void {
  if (dstIs(dst, remote)) neighbourDoubt(load<u32>(dst, D_NEIGHBOUR));
}

/** Bytes of the largest IP packet to this destination. */
@inline
export function dstMtu(dst: u32): u32 {
  return load<u32>(dst, D_MTU);
}

@inline
function nowMs(): u32 {
  return <u32>(nowUs / 1000);
}

/** The same, and no more than a router has said that the path takes: for datagrams. TCP knows by connection. */
export function dstPathMtu(dst: u32): u32 {
  const mtu = load<u32>(dst, D_MTU);
  const path = load<u32>(dst, D_PATH_MTU);
  if (path == 0) return mtu;
  if (nowMs() - load<u32>(dst, D_PATH_MTU_MS) >= PATH_MTU_MS) {
    store<u32>(dst, 0, D_PATH_MTU);
    return mtu;
  }
  return min(mtu, path);
}

/** A router says that packets to `remote` may have `mtu` bytes (RFC 1191, RFC 8201). It cannot make the path larger. */
export function dstPathMtuLower(remote: u32, mtu: u32): void {
  const dst = dstGet(remote);
  if (dst == 0 || mtu >= dstPathMtu(dst)) return;
  store<u32>(dst, mtu, D_PATH_MTU);
  store<u32>(dst, nowMs(), D_PATH_MTU_MS);
}

/** Address of our 16-byte address to speak from towards this destination, 0 when there is none. */
@inline
export function dstSource(dst: u32): u32 {
  return load<u32>(dst, D_SOURCE);
}

/** Neighbour entry of the next hop; 0 when the neighbour table was full. */
@inline
export function dstNeighbour(dst: u32): u32 {
  const neighbour = load<u32>(dst, D_NEIGHBOUR);
  // A slot filled while the table was full looks again each time.
  if (neighbour == 0) store<u32>(dst, 0, D_GENERATION);
  return neighbour;
}
