// Zbuf through the ABI: classes, reference counts, misuse, zones, receive objects. Every test ends with no object in use.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Core, defaultBuild } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import { compileEntry } from '../helpers/compile.js';
import { arpFrame, icmpEcho } from '../helpers/frames.js';
import { manualCore } from '../helpers/manual.js';
import { random } from '../helpers/random.js';

const SIZES = [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
const ZONES = 5;
/** One for receiving, one kept for frame headers. */
const FREE_ZONES = ZONES - 2;

function zbufCore(): { core: Core; zoneBase: number; zonesEnd: number } {
  const { core } = manualCore({ zones: ZONES, rxZones: 1 });
  const zoneBase = core.dv.getUint32(L.CFG_ZONE_BASE, true);
  return { core, zoneBase, zonesEnd: zoneBase + ZONES * L.ZONE_BYTES };
}

const misuse = (core: Core): number => core.counter(L.CNT_ZbufMisuse);

/** Objects until there are none. */
function exhaust(core: Core, size: number): number[] {
  const list: number[] = [];
  for (let addr = core.alloc(size); addr !== 0; addr = core.alloc(size)) list.push(addr);
  return list;
}

function freeAll(core: Core, list: number[]): void {
  for (const addr of list) assert.is(core.free(addr), 0);
}

test('every address of a zone belongs to the object around it and to no other', () => {
  for (const size of SIZES) {
    const { core, zoneBase, zonesEnd } = zbufCore();
    const list = exhaust(core, size);
    assert.ok(list.length * size > FREE_ZONES * L.ZONE_BYTES * 0.93, `${size}: ${list.length} objects`);
    const ends = new Map<number, number>();
    for (const addr of list) {
      assert.is(addr % 64, 0, `${size}: alignment`);
      assert.ok(addr >= zoneBase + L.ZONE_BYTES && addr + size <= zonesEnd);
      assert.not.ok(ends.has(addr), `${size}: ${addr} given twice`);
      ends.set(addr, addr + size);
    }
    let end = 0;
    for (let addr = zoneBase - 64; addr < zonesEnd + 64; addr++) {
      end = ends.get(addr) ?? (addr < end ? end : 0);
      if (core.objectEnd(addr) !== end) assert.unreachable(`${size}: objectEnd(${addr}) is not ${end}`);
    }
    freeAll(core, list);
    assert.is(core.zbufInUse(), 0);
    assert.is(misuse(core), 0);
  }
});

test('the object of an address is exact for every stride a receive pool may have', async () => {
  const module = await compileEntry(`
    import { describe, objectIndex } from './zbuf/zone';
    /** First offset below 2^31, among the ends of every object, whose index is wrong; -1 when there is none. */
    export function wrong(stride: u32, first: u32): i64 {
      const header: u32 = 65536;
      describe(header, first, 0, stride, 1, 0);
      const last: u32 = 0x7fffffff / stride;
      const step: u32 = last > 40000 ? last / 40000 : 1;
      for (let q: u32 = 0; q <= last; q += q < 1000 || q + 1000 > last ? 1 : step) {
        const offset = q * stride;
        if (objectIndex(header, first + offset) != q) return offset;
        if (<u64>offset + stride - 1 < 0x80000000 && objectIndex(header, first + offset + stride - 1) != q) return offset;
      }
      return -1;
    }
    export function index(stride: u32, base: u32, addr: u32): u32 {
      describe(65536, base, 0, stride, 1, 0);
      return objectIndex(65536, addr);
    }
  `);
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536 });
  const { wrong, index } = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as {
    wrong(stride: number, first: number): bigint;
    index(stride: number, base: number, addr: number): number;
  };
  const strides = [
    64,
    65,
    127,
    128,
    129,
    1000,
    1024,
    1025,
    2047,
    2048,
    2049,
    2176,
    2304,
    2432,
    3072,
    4095,
    4096,
    9216,
    65535,
    65536,
    65537,
    1 << 20,
  ];
  const r = random(7);
  while (strides.length < 120) strides.push(64 + r.below(20_000));
  for (const stride of strides) {
    assert.is(wrong(stride, 0), -1n, `stride ${stride}`);
    assert.is(wrong(stride, 0x7fffff00), -1n, `stride ${stride} from a high base`);
    // An address before the pool must not look like one of its objects.
    for (const before of [1, 64, stride, L.ZONE_BYTES]) {
      assert.ok(index(stride, 0x10000000, 0x10000000 - before) >>> 0 > Math.floor(0x7fffffff / stride));
    }
  }
});

test('a size takes the smallest class that holds it, and none beyond 64 KiB', () => {
  const { core } = zbufCore();
  for (const [size, expected] of [
    [0, 128],
    [1, 128],
    [128, 128],
    [129, 256],
    [1460, 2048],
    [4096, 4096],
    [4097, 8192],
    [65536, 65536],
  ]) {
    const addr = core.alloc(size);
    assert.is(core.objectEnd(addr) - addr, expected, `${size} bytes`);
    assert.is(core.free(addr), 0);
  }
  const fails = core.counter(L.CNT_ZbufAllocFails);
  assert.is(core.alloc(65537), 0);
  assert.is(core.alloc(0xffffffff), 0);
  assert.is(core.counter(L.CNT_ZbufAllocFails), fails + 2);
  assert.is(core.zbufInUse(), 0);
});

test('the object used last is the one given next', () => {
  const { core } = zbufCore();
  const list = Array.from({ length: 10 }, () => core.alloc(4096));
  freeAll(core, list);
  for (const addr of [...list].reverse()) assert.is(core.alloc(4096), addr);
  freeAll(core, list);
  assert.is(core.zbufInUse(), 0);
});

test('an object lives until its last reference is given up, by any address in it', () => {
  const { core } = zbufCore();
  const addr = core.alloc(1024);
  const holders = 1000;
  for (let i = 0; i < holders; i++) assert.is(core.dup(addr + (i % 1024)), 0);
  assert.is(core.refCount(addr), holders + 1);
  for (let i = 0; i < holders; i++) {
    assert.is(core.free(addr + 1023 - (i % 1024)), 0);
    assert.is(core.zbufInUse(), 1);
  }
  assert.is(core.refCount(addr + 5), 1);
  assert.is(core.free(addr), 0);
  assert.is(core.zbufInUse(), 0);
  assert.is(core.refCount(addr), 0);
  assert.is(core.objectEnd(addr), 0);
});

test('a count that has reached its limit refuses another reference', () => {
  const { core } = zbufCore();
  const addr = core.alloc(128);
  const limit = 0xffffff;
  for (let i = 1; i < limit; i++) core.dup(addr);
  assert.is(core.refCount(addr), limit);
  assert.is(core.dup(addr), -L.ENOBUFS);
  assert.is(core.refCount(addr), limit);
  assert.is(misuse(core), 1);
  for (let i = 0; i < limit; i++) core.free(addr);
  assert.is(core.zbufInUse(), 0);
});

test('misuse is an error, is counted, and changes nothing', () => {
  const { core, zoneBase, zonesEnd } = zbufCore();
  const addr = core.alloc(2048);
  const freed = core.alloc(2048);
  core.free(freed);
  const zone = addr - ((addr - zoneBase) % L.ZONE_BYTES);
  const places: [string, number, number][] = [
    ['null', 0, -L.EFAULT],
    ['the control block', L.CTL, -L.EFAULT],
    ['the byte before the zones', zoneBase - 1, -L.EFAULT],
    ['the end of the zones', zonesEnd, -L.EFAULT],
    ['the last address', 0xffffffff, -L.EFAULT],
    ['a zone nobody has', zonesEnd - 1, -L.EFAULT],
    ['the header of a zone', zone, -L.EFAULT],
    ['the context array', zone + 64, -L.EFAULT],
    ['a freed object', freed, -L.EINVAL],
    ['the middle of a freed object', freed + 77, -L.EINVAL],
    ['an object never given', Math.max(addr, freed) + 3 * 2048, -L.EINVAL],
    ['a receive object the link has', zoneBase + 5, -L.EINVAL],
  ];
  let count = 0;
  for (const [name, at, error] of places) {
    for (const call of [core.free, core.dup]) {
      assert.is(call(at), error, name);
      assert.is(misuse(core), ++count, name);
    }
    assert.is(core.objectEnd(at), 0, name);
    assert.is(core.refCount(at), error === -L.EFAULT ? -L.EFAULT : 0, name);
  }
  assert.is(core.refCount(addr), 1);
  assert.is(core.free(addr), 0);
  assert.is(core.free(addr), -L.EINVAL, 'double free');
  assert.is(core.zbufInUse(), 0);
  const again = [core.alloc(2048), core.alloc(2048)];
  assert.is.not(again[0], again[1]);
  freeAll(core, again);
});

test('zones move between classes: all memory is there for each size in turn', () => {
  const { core } = zbufCore();
  for (const size of [...SIZES, ...[...SIZES].reverse()]) {
    const list = exhaust(core, size);
    assert.ok(list.length * size > FREE_ZONES * L.ZONE_BYTES * 0.93, `${size}: only ${list.length}`);
    if (size === 512) list.reverse();
    freeAll(core, list);
    assert.is(core.zbufInUse(), 0);
  }
});

test('a class that uses nothing of its zone gives it up to one that has none', () => {
  const { core } = zbufCore();
  for (const size of SIZES) freeAll(core, [core.alloc(size)]);
  for (const size of SIZES) {
    const addr = core.alloc(size);
    assert.is.not(addr, 0, `${size}`);
    core.free(addr);
  }
  assert.is(core.zbufInUse(), 0);
});

test('objects written to the last byte do not disturb each other or the zone', () => {
  const { core } = zbufCore();
  const r = random(8);
  const lists = SIZES.slice(0, FREE_ZONES).map((size) => exhaustSome(core, size, 100));
  const all = lists.flat();
  for (const { addr, size } of all) core.u8.fill(r.below(256), addr, addr + size);
  for (const { addr } of all) assert.is(core.refCount(addr), 1);
  for (const { addr } of all) assert.is(core.free(addr), 0);
  assert.is(core.zbufInUse(), 0);
});

function exhaustSome(core: Core, size: number, most: number): { addr: number; size: number }[] {
  return Array.from({ length: most }, () => ({ addr: core.alloc(size), size })).filter(({ addr }) => addr !== 0);
}

test('an application that has taken all memory can still be answered', () => {
  const manual = manualCore({ zones: ZONES, rxZones: 1 });
  const { core } = manual;
  const list = exhaust(core, 128);
  const small = exhaust(core, 65536);
  manual.inject(arpFrame(1));
  manual.inject(icmpEcho(new Uint8Array(100)));
  assert.is(manual.take().length, 2);
  freeAll(core, [...list, ...small]);
  assert.is(core.zbufInUse(), 0);
  assert.is(core.rxInUse(), 0);
  assert.is(manual.freeRxObjects(), manual.rxObjects);
});

test('a received object that is sent on is the link’s again when it is transmitted', () => {
  const manual = manualCore();
  const { core } = manual;
  manual.inject(arpFrame(1));
  manual.take();
  manual.inject(icmpEcho(new Uint8Array(500).fill(7)));
  assert.is(core.rxInUse(), 1, 'the reply refers to it');
  assert.is(manual.freeRxObjects(), manual.rxObjects - 1);
  const [reply] = manual.take();
  assert.ok(Buffer.alloc(500, 7).equals(reply.subarray(42)));
  core.poll(manual.nowUs);
  assert.is(core.rxInUse(), 0);
  assert.is(manual.freeRxObjects(), manual.rxObjects);
  assert.is(core.zbufInUse(), 0);
});

test('descriptors and completions that make no sense are counted and change nothing', () => {
  const manual = manualCore();
  const { core } = manual;
  const { u32 } = core;
  const rx = u32[L.CTL_RX_AT >> 2] >> 2;
  const zoneBase = u32[L.CFG_ZONE_BASE >> 2];
  const own = core.alloc(2048);
  const bad: [number, number][] = [
    [0, 60],
    [0xffffffff, 60],
    [own, 60],
    [zoneBase, 2049],
    [zoneBase + 2000, 100],
    [zoneBase, 0xffffffff],
    [zoneBase + L.ZONE_BYTES, 60],
  ];
  for (const [addr, len] of bad) {
    const before = misuse(core);
    u32[rx] = addr;
    u32[rx + 1] = len;
    core.ingest(1, manual.nowUs);
    assert.is(misuse(core), before + 1, `${addr} ${len}`);
  }
  assert.is(core.counter(L.CNT_RxFrames), 0);
  assert.is(core.rxInUse(), 0);
  const done = u32[L.CTL_DONE_AT >> 2] >> 2;
  const mask = u32[L.CTL_DONE_SIZE >> 2] - 1;
  for (const addr of [0, 5, 0xffffffff, zoneBase, own + 2048]) {
    const before = misuse(core);
    u32[done + (u32[L.CTL_DONE_HEAD >> 2]++ & mask)] = addr;
    core.poll(manual.nowUs);
    assert.is(misuse(core), before + 1, `completion of ${addr}`);
  }
  u32[L.CTL_DONE_HEAD >> 2] += 0x70000000;
  core.poll(manual.nowUs);
  assert.is(u32[L.CTL_DONE_TAIL >> 2], u32[L.CTL_DONE_HEAD >> 2]);
  core.ingest(0xffffffff, manual.nowUs);
  assert.is(core.refCount(own), 1);
  core.free(own);
  assert.is(core.zbufInUse(), 0);
});

test('receive pools that do not fit are refused', () => {
  const { core } = manualCore({ rxZones: 2, zones: 5 });
  const add = (core as unknown as { rxPoolAdd(base: number, stride: number, count: number): number }).rxPoolAdd;
  const zoneBase = core.dv.getUint32(L.CFG_ZONE_BASE, true);
  assert.is(add(zoneBase, 2048, 1), -L.EBUSY, 'zones of the first pool');
  assert.is(add(zoneBase - 2048, 2048, 1), -L.EINVAL, 'before the zones');
  assert.is(add(zoneBase + 2 * L.ZONE_BYTES, 2048, 1), -L.EINVAL, 'in a Zbuf zone');
  assert.is(add(zoneBase + L.ZONE_BYTES, 2048, 1025), -L.EINVAL, 'into a Zbuf zone');
  assert.is(add(zoneBase, 0, 1), -L.EINVAL);
  assert.is(add(zoneBase, 2048, 0), -L.EINVAL);
  assert.is(add(zoneBase, 0xffffffff, 0xffffffff), -L.EINVAL);
});

test('I/O addresses follow the zone', () => {
  const { core, zoneBase } = zbufCore();
  const iovaOf = (core as unknown as { iovaOf(addr: number): bigint }).iovaOf;
  assert.is(core.zoneSetIova(2, 0x80000000, 0x12), 0);
  assert.is(core.zoneSetIova(ZONES, 1, 0), -L.EINVAL);
  const at = zoneBase + 2 * L.ZONE_BYTES;
  assert.is(iovaOf(at + 12345), 0x12_8000_0000n + 12345n);
  assert.is(iovaOf(at + L.ZONE_BYTES - 1), 0x12_8000_0000n + BigInt(L.ZONE_BYTES - 1));
  assert.is(iovaOf(at - 1), 0n);
  assert.is(iovaOf(at + L.ZONE_BYTES), 0n);
  assert.is(iovaOf(0), 0n);
});

test('random use equals the model', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const r = random(seed);
    const { core } = zbufCore();
    const live = new Map<number, { size: number; count: number; tag: number }>();
    const freed: number[] = [];
    let errors = 0;
    for (let i = 0; i < 20_000; i++) {
      const where = `seed ${seed}, step ${i}`;
      const what = r.below(12);
      const owners = [...live.keys()];
      const pick = owners.length > 0 ? r.pick(owners) : 0;
      if (what < 5 || pick === 0) {
        const size = r.oneIn(20) ? r.below(65537) : r.below(3000);
        const addr = core.alloc(size);
        if (addr === 0) continue;
        assert.not.ok(live.has(addr), where);
        const end = core.objectEnd(addr);
        assert.ok(end - addr >= size, where);
        const tag = r.u32();
        core.dv.setUint32(addr, tag, true);
        core.dv.setUint32(end - 4, tag, true);
        live.set(addr, { size: end - addr, count: 1, tag });
      } else if (what < 7) {
        const object = live.get(pick)!;
        assert.is(core.dup(pick + r.below(object.size)), 0, where);
        object.count++;
      } else if (what < 11 || live.size > 300) {
        const object = live.get(pick)!;
        assert.is(core.refCount(pick), object.count, where);
        assert.is(core.dv.getUint32(pick, true), object.tag, `${where}: overwritten`);
        assert.is(core.dv.getUint32(pick + object.size - 4, true), object.tag, `${where}: overwritten`);
        assert.is(core.free(pick + r.below(object.size)), 0, where);
        if (--object.count === 0) {
          live.delete(pick);
          freed.push(pick);
        }
      } else if (freed.length > 0) {
        const addr = r.pick(freed);
        let inside = false;
        for (const [at, { size }] of live) inside ||= addr >= at && addr < at + size;
        if (inside) continue;
        assert.ok(core.free(addr) < 0, `${where}: freed twice`);
        errors++;
      }
      assert.is(core.zbufInUse(), live.size, where);
    }
    assert.is(misuse(core), errors);
    for (const [addr, { count }] of live) for (let i = 0; i < count; i++) assert.is(core.free(addr), 0);
    assert.is(core.zbufInUse(), 0);
    assert.is(core.counter(L.CNT_ZbufAllocs), core.counter(L.CNT_ZbufFrees));
  }
});

if (defaultBuild() === 'debug') {
  test('debug builds notice a write to a freed object', () => {
    const { core } = zbufCore();
    const addr = core.alloc(256);
    core.free(addr);
    assert.is(core.u8[addr], 0xdb);
    core.u8[addr + 200] = 1;
    assert.throws(
      () => core.alloc(256),
      (error: unknown) => error instanceof WebAssembly.RuntimeError,
    );
  });
}

test.run();
