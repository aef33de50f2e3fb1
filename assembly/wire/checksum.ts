// Internet checksum, RFC 1071. Sums are of little-endian 16-bit words: one's complement addition does not care
// (RFC 1071 §2 (B)), so a folded sum is stored to memory as it is, unswapped. An accumulator is a u64 to which
// 32-bit words are added: it has room for 2^32 of them.

/**
 * Sum of the 16-bit words of [p, p + len), `len` a multiple of 64 and at most VECTORS_MOST. Eight sums side by side, each in two
 * lanes of 16 bits: `s` + `u` is the sum modulo 2^16, and `h` says what it is about, so that no carry need be kept.
 *
 * For four words v, w, x, y the mean of means q, each rounded up, is above (v + w + x + y) / 4 by at most 1, and its upper byte
 * below q / 256 by less than 1. So with g groups 1024 h − 4 g ≤ sum ≤ 1024 h + 1020 g: while 1024 g < 2^16 one number
 * there has the lower 16 bits that `s` + `u` has.
 */
@inline
function sumVectors(p: u32, len: u32): u64 {
  let s = i16x8.splat(0);
  let u = i16x8.splat(0);
  let h = i16x8.splat(0);
  const end = p + len;
  do {
    const v = v128.load(p);
    const w = v128.load(p, 16);
    const x = v128.load(p, 32);
    const y = v128.load(p, 48);
    s = i16x8.add(s, i16x8.add(v, w));
    u = i16x8.add(u, i16x8.add(x, y));
    h = i16x8.add(h, i16x8.shr_u(i16x8.avgr_u(i16x8.avgr_u(v, w), i16x8.avgr_u(x, y)), 8));
    p += 64;
  } while (p < end);
  s = i16x8.add(s, u);
  const slack = i32x4.splat(<i32>(len >> 4));
  const low = exactSums(i32x4.extend_low_i16x8_u(s), i32x4.extend_low_i16x8_u(h), slack);
  const high = exactSums(i32x4.extend_high_i16x8_u(s), i32x4.extend_high_i16x8_u(h), slack);
  const lanes = i32x4.add(low, high);
  return (
    <u64>(<u32>i32x4.extract_lane(lanes, 0)) +
    <u32>i32x4.extract_lane(lanes, 1) +
    <u32>i32x4.extract_lane(lanes, 2) +
    <u32>i32x4.extract_lane(lanes, 3)
  );
}

/** The numbers from 1024 h − slack on whose lower 16 bits are s. */
@inline
function exactSums(s: v128, h: v128, slack: v128): v128 {
  const least = i32x4.sub(i32x4.shl(h, 10), slack);
  return i32x4.add(least, v128.and(i32x4.sub(s, least), i32x4.splat(0xffff)));
}

/**
 * Sum of the 32-bit words of [p, p + len), `len` a multiple of 32 and not 0. Eight bytes are one load and three operations:
 * `a` sums whole u64 words modulo 2^64 and `b` their upper halves, so a − 2^32 b is the sum of the lower halves. Two
 * such pairs keep the adders busy.
 */
@inline
function sumWords(p: u32, len: u32): u64 {
  let a: u64 = 0;
  let b: u64 = 0;
  let c: u64 = 0;
  let d: u64 = 0;
  const end = p + len;
  do {
    const v = load<u64>(p);
    const w = load<u64>(p, 8);
    const x = load<u64>(p, 16);
    const y = load<u64>(p, 24);
    a += v;
    b += v >> 32;
    c += w;
    d += w >> 32;
    a += x;
    b += x >> 32;
    c += y;
    d += y >> 32;
    p += 32;
  } while (p < end);
  return a - (b << 32) + b + (c - (d << 32)) + d;
}

/** Bytes from which sumVectors() is the faster one, and what it may be given at once: 63 groups. */
@inline const VECTORS_LEAST: u32 = 256;
@inline const VECTORS_MOST: u32 = 63 * 64;

/** Adds the bytes [p, p + len), taken to start at an even offset, to `acc` (below 2^63). */
export function sum16(p: u32, len: u32, acc: u64): u64 {
  if (ASC_FEATURE_SIMD) {
    while (len >= VECTORS_LEAST) {
      const whole = min(len & ~63, VECTORS_MOST);
      acc += sumVectors(p, whole);
      p += whole;
      len -= whole;
    }
  }
  if (len >= 32) {
    const whole = len & ~31;
    acc += sumWords(p, whole);
    p += whole;
  }
  return sumRest(p, len & 31, acc);
}

/** As sum16() for less than 32 bytes. */
@inline
export function sumRest(p: u32, len: u32, acc: u64): u64 {
  if (len & 16) {
    acc += <u64>load<u32>(p) + load<u32>(p, 4) + load<u32>(p, 8) + load<u32>(p, 12);
    p += 16;
  }
  if (len & 8) {
    acc += <u64>load<u32>(p) + load<u32>(p, 4);
    p += 8;
  }
  if (len & 4) {
    acc += load<u32>(p);
    p += 4;
  }
  if (len & 2) {
    acc += load<u16>(p);
    p += 2;
  }
  if (len & 1) acc += load<u8>(p);
  return acc;
}

/** Folds an accumulator to 16 bits, not complemented. */
@inline
export function fold(acc: u64): u32 {
  acc = (acc >> 32) + (acc & 0xffffffff);
  acc = (acc >> 32) + (acc & 0xffffffff);
  let sum = <u32>acc;
  sum = (sum >> 16) + (sum & 0xffff);
  return (sum >> 16) + (sum & 0xffff);
}

/** As sum16, for a piece that continues a byte stream: `odd` says that an odd number of bytes came before it. */
@inline
export function sumAppend(acc: u64, odd: bool, p: u32, len: u32): u64 {
  if (!odd) return sum16(p, len, acc);
  const sum = fold(sum16(p, len, 0));
  return acc + (((sum << 8) | (sum >> 8)) & 0xffff);
}

/** Pseudo-header of RFC 9293 §3.1 for IPv4: addresses as they lie in memory, `len` = L4 header and payload. */
@inline
export function pseudo4(src: u32, dst: u32, proto: u32, len: u32): u64 {
  return <u64>src + <u64>dst + (proto << 8) + <u32>bswap<u16>(<u16>len);
}

/** Pseudo-header of RFC 8200 §8.1: addresses of 16 bytes, `len` = L4 header and payload. */
export function pseudo6(a: u32, b: u32, proto: u32, len: u32): u64 {
  return sum16(a, 16, sum16(b, 16, <u64>bswap<u32>(len) + ((<u64>proto) << 24)));
}
