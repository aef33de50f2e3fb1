// Seeded randomness: every run with one seed is the same run. Not for secrets that outlive a connection.

/** One step of splitmix64's finaliser: a bijection on u64 in which every input bit reaches every output bit. */
export function mix64(x: u64): u64 {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// xoshiro256** state
let s0: u64 = 1;
let s1: u64 = 2;
let s2: u64 = 3;
let s3: u64 = 4;

export function randSeed(lo: u32, hi: u32): void {
  const seed = ((<u64>hi) << 32) | lo;
  s0 = mix64(seed + 0x9e3779b97f4a7c15);
  s1 = mix64(seed + 0x9e3779b97f4a7c15 * 2);
  s2 = mix64(seed + 0x9e3779b97f4a7c15 * 3);
  s3 = mix64(seed + 0x9e3779b97f4a7c15 * 4);
}

export function rand64(): u64 {
  const result = rotl<u64>(s1 * 5, 7) * 9;
  const t = s1 << 17;
  s2 ^= s0;
  s3 ^= s1;
  s1 ^= s2;
  s0 ^= s3;
  s2 ^= t;
  s3 = rotl<u64>(s3, 45);
  return result;
}

@inline
export function rand32(): u32 {
  return <u32>(rand64() >> 32);
}

let v0: u64 = 0;
let v1: u64 = 0;
let v2: u64 = 0;
let v3: u64 = 0;

function sipRound(): void {
  v0 += v1;
  v1 = rotl<u64>(v1, 13) ^ v0;
  v0 = rotl<u64>(v0, 32);
  v2 += v3;
  v3 = rotl<u64>(v3, 16) ^ v2;
  v0 += v3;
  v3 = rotl<u64>(v3, 21) ^ v0;
  v2 += v1;
  v1 = rotl<u64>(v1, 17) ^ v2;
  v2 = rotl<u64>(v2, 32);
}

/** SipHash-2-4 of [p, p + len): the keyed function F() of RFC 6528 §3 for initial sequence numbers. */
export function siphash24(k0: u64, k1: u64, p: u32, len: u32): u64 {
  v0 = k0 ^ 0x736f6d6570736575;
  v1 = k1 ^ 0x646f72616e646f6d;
  v2 = k0 ^ 0x6c7967656e657261;
  v3 = k1 ^ 0x7465646279746573;
  const whole = p + (len & ~7);
  let at = p;
  while (at < whole) {
    const m = load<u64>(at);
    v3 ^= m;
    sipRound();
    sipRound();
    v0 ^= m;
    at += 8;
  }
  let last = (<u64>len) << 56;
  for (let i: u32 = 0; i < (len & 7); i++) last |= (<u64>load<u8>(at + i)) << (i << 3);
  v3 ^= last;
  sipRound();
  sipRound();
  v0 ^= last;
  v2 ^= 0xff;
  sipRound();
  sipRound();
  sipRound();
  sipRound();
  return v0 ^ v1 ^ v2 ^ v3;
}
