// Internet checksum, RFC 1071. Sums are of little-endian 16-bit words: one's complement addition does not care
// (RFC 1071 §2 (B)), so a folded sum is stored to memory as it is, unswapped. An accumulator is a u64 to which
// 32-bit words are added: it has room for 2^32 of them.

/** Adds the bytes [p, p + len), taken to start at an even offset, to `acc`. */
export function sum16(p: u32, len: u32, acc: u64): u64 {
  let a: u64 = 0;
  let b: u64 = 0;
  let c: u64 = 0;
  const end = p + len;
  while (p + 32 <= end) {
    acc += load<u32>(p);
    a += load<u32>(p, 4);
    b += load<u32>(p, 8);
    c += load<u32>(p, 12);
    acc += load<u32>(p, 16);
    a += load<u32>(p, 20);
    b += load<u32>(p, 24);
    c += load<u32>(p, 28);
    p += 32;
  }
  acc += a + b + c;
  while (p + 4 <= end) {
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
