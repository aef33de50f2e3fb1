// IPv4 header view, RFC 791 §3.1, and the IPv4-mapped form of its addresses (RFC 4291 §2.5.5.2).
//
//   0                   1                   2                   3
//   ├ ver ──┼─ ihl ─┼───── tos ─────┼───────── total length ────────┤  0
//   ├──────── identification ───────┼ flags ┼─── fragment offset ───┤  4
//   ├───── ttl ─────┼── protocol ───┼───────── checksum ────────────┤  8
//   ├──────────────────────── source ───────────────────────────────┤ 12
//   ├────────────────────── destination ────────────────────────────┤ 16
//   ├ options …                                                       20
//
// An address "raw" is the four bytes as they lie in memory, read little-endian.

import { fold } from './checksum';

@inline export const IPV4_VERSION_IHL: usize = 0;
@inline export const IPV4_TOS: usize = 1;
@inline export const IPV4_TOTAL: usize = 2;
@inline export const IPV4_ID: usize = 4;
@inline export const IPV4_FRAGMENT: usize = 6;
@inline export const IPV4_TTL: usize = 8;
@inline export const IPV4_PROTO: usize = 9;
@inline export const IPV4_CHECKSUM: usize = 10;
@inline export const IPV4_SRC: usize = 12;
@inline export const IPV4_DST: usize = 16;
@inline export const IPV4_OPTIONS: u32 = 20;

/** Header without options. */
export const IPV4_HEADER: u32 = 20;
/** Every host must take a packet of this size (RFC 791 §3.1), so it is the least MTU lunet uses. */
export const IPV4_MIN_MTU: u32 = 576;
export const IPV4_TTL_DEFAULT: u32 = 64;
/** 255.255.255.255, raw. */
export const IPV4_BROADCAST: u32 = 0xffffffff;

export const PROTO_ICMP: u32 = 1;
export const PROTO_TCP: u32 = 6;
export const PROTO_UDP: u32 = 17;

/** More-fragments flag and fragment offset, as they lie in memory. */
const FRAGMENT_RAW: u32 = 0xff3f;
/** Fragment offset alone. */
const OFFSET_RAW: u32 = 0xff1f;
/** Don't-fragment flag, as it lies in memory. */
export const DF_RAW: u32 = 0x0040;

// Options that need a look: RFC 791 §3.1.
export const IPOPT_EOL: u32 = 0;
export const IPOPT_NOP: u32 = 1;
export const IPOPT_LSRR: u32 = 131;
export const IPOPT_SSRR: u32 = 137;

/** `len` bytes at `p` hold a whole header of version 4, options included, whose total length covers it. */
@inline
export function ipv4Fits(p: u32, len: u32): bool {
  if (len < IPV4_HEADER) return false;
  const bytes = ipv4HeaderBytes(p);
  return ipv4Version(p) == 4 && bytes >= IPV4_HEADER && bytes <= len && ipv4Total(p) >= bytes;
}

@inline
export function ipv4Version(p: u32): u32 {
  return <u32>load<u8>(p, IPV4_VERSION_IHL) >> 4;
}

@inline
export function ipv4HeaderBytes(p: u32): u32 {
  return (<u32>load<u8>(p, IPV4_VERSION_IHL) & 15) << 2;
}

/** Header and payload in bytes. */
@inline
export function ipv4Total(p: u32): u32 {
  return bswap<u16>(load<u16>(p, IPV4_TOTAL));
}

/** DSCP in the upper six bits, ECN in the lower two (RFC 3168 §5). */
@inline
export function ipv4Tos(p: u32): u32 {
  return load<u8>(p, IPV4_TOS);
}

@inline
export function ipv4IsFragment(p: u32): bool {
  return (load<u16>(p, IPV4_FRAGMENT) & FRAGMENT_RAW) != 0;
}

/** A fragment that does not begin with the L4 header. */
@inline
export function ipv4IsLaterFragment(p: u32): bool {
  return (load<u16>(p, IPV4_FRAGMENT) & OFFSET_RAW) != 0;
}

@inline
export function ipv4MoreFragments(p: u32): bool {
  return (load<u8>(p, IPV4_FRAGMENT) & 0x20) != 0;
}

/** Where a fragment's payload belongs, bytes. */
@inline
export function ipv4FragmentOffset(p: u32): u32 {
  return (<u32>bswap<u16>(load<u16>(p, IPV4_FRAGMENT)) & 0x1fff) << 3;
}

@inline
export function ipv4Proto(p: u32): u32 {
  return load<u8>(p, IPV4_PROTO);
}

@inline
export function ipv4SrcRaw(p: u32): u32 {
  return load<u32>(p, IPV4_SRC);
}

@inline
export function ipv4DstRaw(p: u32): u32 {
  return load<u32>(p, IPV4_DST);
}

/**
 * Writes a header without options, checksum included. Don't-fragment is set, so the identification means nothing
 * and is zero (RFC 6864 §4.1). `tos`: DSCP and ECN.
 */
@inline
export function setIpv4(p: u32, total: u32, proto: u32, srcRaw: u32, dstRaw: u32, tos: u32, ttl: u32): void {
  const totalRaw = <u32>bswap<u16>(<u16>total);
  const versionTos = 0x45 | (tos << 8);
  store<u32>(p, versionTos | (totalRaw << 16));
  store<u32>(p, DF_RAW << 16, 4);
  store<u32>(p, srcRaw, IPV4_SRC);
  store<u32>(p, dstRaw, IPV4_DST);
  const ttlProto = ttl | (proto << 8);
  // At most 8 × 0xffff: two folds end below 2^16.
  let sum =
    versionTos + totalRaw + DF_RAW + ttlProto + (srcRaw & 0xffff) + (srcRaw >> 16) + (dstRaw & 0xffff) + (dstRaw >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store<u32>(p, ttlProto | (~sum << 16), IPV4_TTL);
}

/** Makes the packet with this header a fragment: `offset` bytes of the datagram come before it, DF is clear (RFC 6864 §4). */
export function setIpv4Fragment(p: u32, id: u32, offset: u32, more: bool): void {
  const field = (offset >> 3) | (more ? 0x2000 : 0);
  store<u16>(p, bswap<u16>(<u16>id), IPV4_ID);
  store<u16>(p, bswap<u16>(<u16>field), IPV4_FRAGMENT);
  store<u16>(p, 0, IPV4_CHECKSUM);
  store<u16>(p, <u16>~ipv4Sum(p), IPV4_CHECKSUM);
}

/** Sum of a header without options; 0xffff when its checksum is right. */
@inline
export function ipv4Sum(p: u32): u32 {
  let sum = <u64>load<u32>(p);
  sum += load<u32>(p, 4);
  sum += load<u32>(p, 8);
  sum += load<u32>(p, 12);
  sum += load<u32>(p, 16);
  return fold(sum);
}

/** Never right on a wire as the source of what a host may answer: 0/8, 127/8 and groups (RFC 1122 §3.2.1.3). */
@inline
export function ipv4IsMartian(raw: u32): bool {
  const net = raw & 0xff;
  return net == 0 || net == 127 || net >= 224;
}

/** The upper 8 … 11 bytes of ::ffff:a.b.c.d, read little-endian. */
const MAPPED: u32 = 0xffff0000;

/** Writes ::ffff:a.b.c.d. */
@inline
export function mappedStore(p: u32, raw: u32): void {
  store<u64>(p, 0);
  store<u64>(p, <u64>MAPPED | ((<u64>raw) << 32), 8);
}

@inline
export function isMapped(p: u32): bool {
  return load<u64>(p) == 0 && load<u32>(p, 8) == MAPPED;
}

/** The IPv4 address inside a mapped one. */
@inline
export function mappedRaw(p: u32): u32 {
  return load<u32>(p, 12);
}
