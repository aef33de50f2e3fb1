import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileEntry } from '../helpers/compile.js';

const module = await compileEntry(`
  import * as random from './abi/random';
  export function seed(lo: u32, hi: u32): void { random.randSeed(lo, hi); }
  export function rand64(): u64 { return random.rand64(); }
  export function rand32(): u32 { return random.rand32(); }
  export function mix64(x: u64): u64 { return random.mix64(x); }
  export function siphash(k0: u64, k1: u64, p: u32, len: u32): u64 { return random.siphash24(k0, k1, p, len); }
`);
const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536 });
const core = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as {
  seed(lo: number, hi: number): void;
  rand64(): bigint;
  rand32(): number;
  mix64(x: bigint): bigint;
  siphash(k0: bigint, k1: bigint, p: number, len: number): bigint;
};
const u8 = new Uint8Array(memory.buffer);
const AT = 65536;
const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);

test('SipHash-2-4 gives the values of its authors’ paper and reference tables', () => {
  for (let i = 0; i < 64; i++) u8[AT + i] = i;
  const k0 = 0x0706050403020100n;
  const k1 = 0x0f0e0d0c0b0a0908n;
  // Appendix A of the paper (15 bytes), and the empty message.
  assert.is(u64(core.siphash(k0, k1, AT, 15)), 0xa129ca6149be45e5n);
  assert.is(u64(core.siphash(k0, k1, AT, 0)), 0x726fdb47dd0e0e31n);
  assert.is(u64(core.siphash(k0, k1, AT, 1)), 0x74f839c593dc67fdn);
  assert.is(u64(core.siphash(k0, k1, AT, 8)), 0x93f5f5799a932462n);
});

test('SplitMix64 and xoshiro256** give their published sequences', () => {
  // SplitMix64 from state 0: mix64 of the golden gamma.
  assert.is(u64(core.mix64(0x9e3779b97f4a7c15n)), 0xe220a8397b1dcdafn);
  assert.is(u64(core.mix64(0x3c6ef372fe94f82an)), 0x6e789e6aa1b965f4n);
  // xoshiro256** seeded by SplitMix64 from 0, against a plain implementation.
  const mask = (1n << 64n) - 1n;
  const rotl = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (64n - k))) & mask;
  const s = [1n, 2n, 3n, 4n].map((i) => u64(core.mix64((0x9e3779b97f4a7c15n * i) & mask)));
  core.seed(0, 0);
  for (let i = 0; i < 1000; i++) {
    const expected = (rotl((s[1] * 5n) & mask, 7n) * 9n) & mask;
    const t = (s[1] << 17n) & mask;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45n);
    assert.is(u64(core.rand64()), expected);
  }
});

test('one seed is one sequence, and every bit of the seed counts', () => {
  const first = (lo: number, hi: number): string => {
    core.seed(lo, hi);
    return `${core.rand64()} ${core.rand64()}`;
  };
  const seen = new Set<string>([first(0, 0)]);
  for (let i = 0; i < 32; i++) {
    seen.add(first((1 << i) >>> 0, 0));
    seen.add(first(0, (1 << i) >>> 0));
  }
  assert.is(seen.size, 65);
  assert.is(first(5, 6), first(5, 6));
});

test.run();
