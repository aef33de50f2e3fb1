// IPv6 header view, RFC 8200 §3.
//
//   0                   1                   2                   3
//   ├ ver ──┼─ traffic class ─┼──────────── flow label ─────────────┤  0
//   ├──────── payload length ───────┼─ next header ─┼── hop limit ──┤  4
//   ├────────────────────── source (16 bytes) ──────────────────────┤  8
//   ├─────────────────── destination (16 bytes) ────────────────────┤ 24

@inline export const IPV6_PAYLOAD: usize = 4;
@inline export const IPV6_NEXT: usize = 6;
@inline export const IPV6_HOP_LIMIT: usize = 7;
@inline export const IPV6_SRC: u32 = 8;
@inline export const IPV6_DST: u32 = 24;

export const IPV6_HEADER: u32 = 40;
/** RFC 8200 §5: every link carries packets of this size. */
export const IPV6_MIN_MTU: u32 = 1280;
export const IPV6_HOP_LIMIT_DEFAULT: u32 = 64;
/** Most bytes behind the fixed header. */
export const IPV6_PAYLOAD_MAX: u32 = 65535;

// Next header values (RFC 8200 §4, RFC 4443, RFC 7045).
export const NEXT_HOP_BY_HOP: u32 = 0;
export const NEXT_ROUTING: u32 = 43;
export const NEXT_FRAGMENT: u32 = 44;
export const NEXT_ICMPV6: u32 = 58;
export const NEXT_NONE: u32 = 59;
export const NEXT_DESTINATION: u32 = 60;

// Fragment header (RFC 8200 §4.5): next header (1), reserved (1), offset and more-fragments (2), identification (4).
export const IPV6_FRAGMENT_HEADER: u32 = 8;
export const IPV6_FRAGMENT_WORD: u32 = 2;

/** The fragment header at `p` is of a packet in one piece (RFC 6946). */
@inline
export function ipv6IsAtomic(p: u32): bool {
  return (load<u16>(p, IPV6_FRAGMENT_WORD) & 0xf9ff) == 0;
}

@inline
export function ipv6MoreFragments(p: u32): bool {
  return (load<u8>(p, 3) & 1) != 0;
}

/** Where the payload of the fragment belongs, bytes. */
@inline
export function ipv6FragmentOffset(p: u32): u32 {
  return <u32>bswap<u16>(load<u16>(p, IPV6_FRAGMENT_WORD)) & 0xfff8;
}

@inline
export function ipv6FragmentId(p: u32): u32 {
  return load<u32>(p, 4);
}

@inline
export function ipv6Version(p: u32): u32 {
  return <u32>load<u8>(p) >> 4;
}

/** Traffic class: DSCP and ECN. */
@inline
export function ipv6Class(p: u32): u32 {
  return (<u32>bswap<u16>(load<u16>(p)) >> 4) & 0xff;
}

/** Bytes behind the fixed header. */
@inline
export function ipv6Payload(p: u32): u32 {
  return bswap<u16>(load<u16>(p, IPV6_PAYLOAD));
}

@inline
export function ipv6Next(p: u32): u32 {
  return load<u8>(p, IPV6_NEXT);
}

@inline
export function ipv6HopLimit(p: u32): u32 {
  return load<u8>(p, IPV6_HOP_LIMIT);
}

/** Writes a header without extensions. `src`, `dst`: addresses of 16 bytes. */
export function setIpv6(p: u32, payload: u32, next: u32, src: u32, dst: u32, trafficClass: u32, hopLimit: u32): void {
  store<u32>(p, bswap<u32>(0x60000000 | (trafficClass << 20)));
  store<u32>(p, <u32>bswap<u16>(<u16>payload) | (next << 16) | (hopLimit << 24), IPV6_PAYLOAD);
  memory.copy(p + IPV6_SRC, src, 16);
  memory.copy(p + IPV6_DST, dst, 16);
}

/** Writes a fragment header: `offset` bytes of the datagram come before this fragment. */
@inline
export function setIpv6Fragment(p: u32, next: u32, offset: u32, more: bool, id: u32): void {
  store<u16>(p, <u16>next);
  store<u16>(p, bswap<u16>(<u16>(offset | (more ? 1 : 0))), 2);
  store<u32>(p, bswap<u32>(id), 4);
}

// Addresses are 16 bytes in network order; their words are read little-endian.

@inline
export function ipv6IsMulticast(address: u32): bool {
  return load<u8>(address) == 0xff;
}

@inline
export function ipv6IsUnspecified(address: u32): bool {
  return (load<u64>(address) | load<u64>(address, 8)) == 0;
}

@inline
export function ipv6IsLoopback(address: u32): bool {
  return load<u64>(address) == 0 && load<u64>(address, 8) == 0x0100000000000000;
}

/** fe80::/10. */
@inline
export function ipv6IsLinkLocal(address: u32): bool {
  return (load<u16>(address) & 0xc0ff) == 0x80fe;
}

/** Writes the solicited-node group of an address: ff02::1:ffXX:XXXX (RFC 4291 §2.7.1). */
export function setSolicitedNode(p: u32, address: u32): void {
  store<u64>(p, 0x02ff);
  store<u32>(p, 0x01000000, 8);
  store<u32>(p, load<u32>(address, 12) | 0xff, 12);
}

/** The group of all nodes on the link, ff02::1. */
@inline
export function ipv6IsAllNodes(address: u32): bool {
  return load<u64>(address) == 0x02ff && load<u64>(address, 8) == 0x0100000000000000;
}

/** Ethernet address of a group: 33:33 and its last four bytes (RFC 2464 §7). */
@inline
export function ipv6GroupMac(group: u32): u64 {
  return 0x3333 | ((<u64>load<u32>(group, 12)) << 16);
}

/** A group's Ethernet address. */
@inline
export function macIsIpv6Group(mac: u64): bool {
  return (mac & 0xffff) == 0x3333;
}
