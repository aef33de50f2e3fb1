import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileEntry } from '../helpers/compile.js';
import { random } from '../helpers/random.js';

const module = await compileEntry(`
  import { fold, pseudo4, sum16, sumAppend } from './wire/checksum';
  export function sum(p: u32, len: u32): u32 { return fold(sum16(p, len, 0)); }
  export function sumFrom(p: u32, len: u32, start: u64): u32 { return fold(sum16(p, len, start)); }
  export function chain(list: u32, n: u32): u32 {
    let acc: u64 = 0;
    let odd = false;
    for (let i: u32 = 0; i < n; i++) {
      const len = load<u32>(list + i * 8, 4);
      acc = sumAppend(acc, odd, load<u32>(list + i * 8), len);
      if (len & 1) odd = !odd;
    }
    return fold(acc);
  }
  export function pseudo(src: u32, dst: u32, proto: u32, len: u32): u32 { return fold(pseudo4(src, dst, proto, len)); }
`);
const memory = new WebAssembly.Memory({ initial: 4, maximum: 65536 });
const core = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as {
  sum(p: number, len: number): number;
  sumFrom(p: number, len: number, start: bigint): number;
  chain(list: number, n: number): number;
  pseudo(src: number, dst: number, proto: number, len: number): number;
};
const u8 = new Uint8Array(memory.buffer);
const dv = new DataView(memory.buffer);
const AT = 65536;

/** RFC 1071 as written: big-endian words, carries added at the end; bytes swapped to what lies in memory. */
function naive(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (i + 1 < bytes.length ? bytes[i + 1] : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ((sum & 0xff) << 8) | (sum >>> 8);
}

test('the sum of every length from 0 to 800 at every alignment equals the naive one', () => {
  const r = random(1);
  for (let align = 0; align < 16; align++) {
    for (let len = 0; len <= 800; len++) {
      const bytes = r.bytes(len);
      u8.fill(0xa5, AT, AT + 2048);
      u8.set(bytes, AT + align);
      assert.is(core.sum(AT + align, len) & 0xffff, naive(bytes), `align ${align}, length ${len}`);
    }
  }
});

test('the sum of 64 KiB of ones does not lose a carry', () => {
  u8.fill(0xff, AT, AT + 65536);
  for (const len of [65536, 65535, 65534, 1460]) assert.is(core.sum(AT, len), naive(u8.slice(AT, AT + len)));
});

test('words whose means are rounded most, up and down, sum as the naive ones, in blocks of any length', () => {
  const words = new Uint16Array(u8.buffer, AT, 4096);
  const patterns = [
    [0x00ff],
    [0xffff],
    [0xff00],
    [0x0100, 0x00ff],
    [...Array<number>(8).fill(0x0100), ...Array<number>(24).fill(0x00ff)],
    [...Array<number>(8).fill(0x00ff), ...Array<number>(8).fill(0)],
  ];
  for (const pattern of patterns) {
    for (let i = 0; i < words.length; i++) words[i] = pattern[i % pattern.length];
    for (const len of [256, 1472, 3968, 4031, 4032, 4033, 4096, 8064, 8192]) {
      assert.is(core.sum(AT, len), naive(u8.slice(AT, AT + len)), `${pattern}, length ${len}`);
    }
  }
});

test('an accumulator may start anywhere below 2^48', () => {
  u8.fill(0xff, AT, AT + 64);
  for (const start of [0n, 0xffffn, 0x10000n, 0xffffffffn, 0xffffffffffffn]) {
    const expected = (BigInt(naive(u8.slice(AT, AT + 64))) + start) % 0xffffn;
    assert.is(BigInt(core.sumFrom(AT, 64, start)) % 0xffffn, expected);
  }
});

test('a stream cut into pieces of any length, odd ones included, sums as the whole', () => {
  const r = random(2);
  for (let round = 0; round < 3000; round++) {
    const count = 1 + r.below(8);
    const parts = Array.from({ length: count }, () => r.bytes(r.oneIn(4) ? r.below(4) : r.below(200)));
    const whole = new Uint8Array(Buffer.concat(parts));
    let at = AT + r.below(8);
    parts.forEach((part, i) => {
      u8.set(part, at);
      dv.setUint32(1024 + 8 * i, at, true);
      dv.setUint32(1028 + 8 * i, part.length, true);
      at += part.length + r.below(9);
    });
    assert.is(core.chain(1024, count), naive(whole), `round ${round}`);
  }
});

test('the pseudo-header sums as its twelve bytes', () => {
  const r = random(3);
  for (let round = 0; round < 2000; round++) {
    const bytes = r.bytes(12);
    bytes[8] = 0;
    const view = new DataView(bytes.buffer);
    const sum = core.pseudo(view.getUint32(0, true), view.getUint32(4, true), bytes[9], view.getUint16(10));
    assert.is(sum, naive(bytes), `round ${round}`);
  }
});

test.run();
