// Internet checksum, RFC 1071. Sums are of little-endian 16-bit words: one's complement addition does not care
// (RFC 1071 §2 (B)), so a folded sum is stored to memory as it is, unswapped. An accumulator is a u64 to which
// 32-bit words are added: it has room for 2^32 of them.

/**
 * Sum of the 16-bit words of [p, p + len), `len` a multiple of 64 and at most 1 MiB, 16 bytes at a time: a multiplication
 * by ones that adds neighbours. It takes words as signed, so each is made signed by turning its top bit, which takes
 * 0x8000 from it and is given back at the end. A pair is within ±2^16, so lanes of 32 bits hold 2^14 pairs and more.
 */
@inline
function sumVectors(p: u32, len: u32): u64 {
  const sign = i16x8.splat(-0x8000);
  const ones = i16x8.splat(1);
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  const end = p + len;
  do {
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.xor(v128.load(p), sign), ones));
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.xor(v128.load(p, 16), sign), ones));
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.xor(v128.load(p, 32), sign), ones));
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.xor(v128.load(p, 48), sign), ones));
    p += 64;
  } while (p < end);
  a = i32x4.add(a, b);
  const lanes =
    <i64>i32x4.extract_lane(a, 0) +
    <i64>i32x4.extract_lane(a, 1) +
    <i64>i32x4.extract_lane(a, 2) +
    <i64>i32x4.extract_lane(a, 3);
  return <u64>(lanes + ((<i64>len) << 14));
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

/** Bytes from which sumVectors() is the faster one, and what it may be given at once. */
@inline const VECTORS_LEAST: u32 = 256;
@inline const VECTORS_MOST: u32 = 1 << 20;

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
