// The zones and the rings: what the core writes is what the driver sends, what the driver receives is what the core
// reads, and nothing a broken core puts into a ring makes the shim touch memory outside the zones.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { openStack, type Stack } from '../../src/host/index.js';
import { openDpdkLink } from '../../src/host/link/dpdk.js';
import { loadNative } from '../../src/host/link/native.js';
import { type DpdkUri, parseLinkUri } from '../../src/host/link/uri.js';
import { readPcap, writePcap } from './pcap.js';
import { ARENA_END, openEnd } from './ring-end.js';

const folder = mkdtempSync(join(tmpdir(), 'lunet-native-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const freePages = (): number =>
  Number(readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 'utf8'));

/** Bytes that differ in every place and every frame. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13 + (i >> 8)) & 0xff);
}

// First of all: no memory of another test is collected meanwhile.
test('the tables in front of the zones are advised to lie on transparent hugepages', async () => {
  // VmFlags of the mappings that MADV_HUGEPAGE was said of (proc_pid_smaps(5)).
  const advised = (): number => readFileSync('/proc/self/smaps', 'utf8').match(/^VmFlags:.* hg\b/gm)?.length ?? 0;
  const native = loadNative();
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64 });
  const atFirst = advised();
  assert.is(native.adviseHugepages(memory), true);
  const byHand = advised();
  assert.ok(byHand > atFirst);
  const end = await openEnd('null:');
  // The zones lie in between: in front of them, and perhaps behind.
  assert.ok(advised() > byHand);
  end.close();
  assert.is(native.adviseHugepages(memory), true);
  assert.throws(
    () => native.adviseHugepages({} as WebAssembly.Memory),
    (error: { code?: string }) => error.code === 'ERR_INVALID_ARG_TYPE',
  );
});

test('hugepages lie in the Wasm memory at a 2 MiB boundary after the arena', async () => {
  const end = await openEnd('null:');
  const { zoneBase, rxPools, hugepages } = end.attachment;
  assert.is(hugepages, true);
  assert.ok(zoneBase >= ARENA_END && zoneBase < ARENA_END + L.ZONE_BYTES);
  const [pool] = rxPools;
  assert.ok(pool.base >= zoneBase);
  assert.ok(pool.base + pool.stride * pool.count <= zoneBase + 4 * L.ZONE_BYTES);
  const maps = readFileSync('/proc/self/maps', 'utf8');
  assert.match(maps, /hugepage|memfd/);
  end.close();
});

test('a frame of several segments in Wasm memory is what the driver sends', async () => {
  const file = join(folder, 'tx.pcap');
  const end = await openEnd(`pcap:?tx=${file}`);
  const parts = [pattern(54, 1), pattern(700, 2), pattern(646, 3)];
  const addresses = end.send(...parts);
  const single = pattern(60, 4);
  addresses.push(...end.send(single));
  end.turn();
  await end.until('completions', () => {
    end.turn();
    return end.completed.length === 4;
  });
  assert.equal([...end.completed].sort(), [...addresses].sort());
  assert.is(end.linkCopiedBytes(), 0);
  end.close();
  const frames = readPcap(file).map((frame) => Buffer.from(frame).toString('hex'));
  assert.equal(frames, [Buffer.concat(parts).toString('hex'), Buffer.from(single).toString('hex')]);
});

test('what the driver receives is read in Wasm memory, and its objects come back', async () => {
  const file = join(folder, 'rx.pcap');
  const sent = Array.from({ length: 100 }, (_, i) => pattern(60 + 14 * i, i));
  writePcap(file, sent);
  const end = await openEnd(`pcap:${file}`);
  const before = end.link.stats().rxFreeObjects;
  const got: Uint8Array[] = [];
  await end.until('frames', () => {
    for (const { bytes } of end.turn()) got.push(bytes);
    return got.length === sent.length;
  });
  assert.equal(
    got.map((frame) => Buffer.from(frame).toString('hex')),
    sent.map((frame) => Buffer.from(frame).toString('hex')),
  );
  end.turn();
  assert.is(end.link.stats().rxLent, 0);
  assert.is(end.link.stats().rxFreeObjects, before);
  assert.is(end.link.stats().freeInvalid, 0);
  end.close();
});

test('received objects are those of the pool that was declared', async () => {
  const end = await openEnd('null:?rx=1');
  const [pool] = end.attachment.rxPools;
  const count = end.link.burst();
  assert.is(count, 32);
  const at = end.u32[L.CTL_RX_AT >> 2] >> 2;
  const seen = new Set<number>();
  for (let i = 0; i < count; i++) {
    const addr = end.u32[at + 4 * i];
    const index = Math.floor((addr - pool.base) / pool.stride);
    assert.ok(addr > pool.base && index < pool.count);
    seen.add(index);
  }
  assert.is(seen.size, count);
  end.close();
});

test('descriptors that point outside the zones, or are no frames, are counted and completed, never read', async () => {
  const end = await openEnd('null:');
  const { zoneBase } = end.attachment;
  const zoneEnd = zoneBase + 8 * L.ZONE_BYTES;
  const whole = L.TXF_START | L.TXF_END;
  const bad: (readonly [number, number, number])[] = [
    [0, 64, whole],
    [zoneBase - 1, 64, whole],
    [zoneEnd - 63, 64, whole],
    [zoneEnd, 64, whole],
    [0xffffffff, 64, whole],
    [zoneBase, 0xffffffff, whole],
    [end.scratch, 0, whole],
    [end.scratch, 4096, whole],
    [end.scratch, 64, L.TXF_END],
    // What the driver is to do needs lengths of headers, and a driver that does it.
    [end.scratch, 64, whole | L.TXF_TCP_CSUM],
    [end.scratch, 64, whole | L.TXF_TCP_CSUM | L.TXF_TSO | (1000 << L.TXF_TSO_MSS_SHIFT)],
    [end.scratch, 40_000, whole | L.TXF_TCP_CSUM | L.TXF_TSO | (1000 << L.TXF_TSO_MSS_SHIFT)],
  ];
  end.sendRaw(...bad);
  // No end within the number of segments a frame may have.
  end.sendRaw(
    ...Array.from({ length: L.TX_MAX_SEGS + 1 }, (_, i): [number, number, number] => [end.scratch, 1, i === 0 ? 1 : 0]),
  );
  end.send(pattern(64, 1));
  end.turn();
  end.turn();
  const { txInvalid, txFrames } = end.link.stats();
  assert.is(txInvalid, bad.length + 1);
  assert.is(txFrames, 1);
  assert.is(end.completed.length, bad.length + L.TX_MAX_SEGS + 2);
  end.close();
});

test('an incomplete frame waits for its end', async () => {
  const end = await openEnd('null:');
  end.sendRaw([end.scratch, 54, L.TXF_START]);
  end.turn();
  assert.is(end.u32[L.CTL_TX_TAIL >> 2], 0);
  end.sendRaw([end.scratch + 2048, 100, L.TXF_END]);
  end.turn();
  assert.is(end.u32[L.CTL_TX_TAIL >> 2], 2);
  assert.is(end.link.stats().txFrames, 1);
  end.close();
});

test('no more segments are taken than the completion ring can hold', async () => {
  const end = await openEnd('null:', { doneEntries: 8 });
  for (let i = 0; i < 6; i++) end.send(pattern(54, i), pattern(10, i));
  end.link.burst();
  assert.is(end.u32[L.CTL_DONE_HEAD >> 2], 8);
  assert.is(end.u32[L.CTL_TX_TAIL >> 2], 8);
  end.turn();
  end.turn();
  assert.is(end.u32[L.CTL_TX_TAIL >> 2], 12);
  assert.is(end.completed.length, 12);
  end.close();
});

test('objects the core does not hold are not taken back', async () => {
  const end = await openEnd('null:?rx=1');
  const [pool] = end.attachment.rxPools;
  end.turn();
  end.turn();
  const before = end.link.stats();
  const at = end.u32[L.CTL_FREE_AT >> 2] >> 2;
  const junk = [0, 0xffffffff, pool.base - 1, pool.base + 1, pool.base + pool.stride * pool.count, pool.base];
  let head = end.u32[L.CTL_FREE_HEAD >> 2];
  for (const addr of junk) end.u32[at + (head++ & 16383)] = addr;
  end.u32[L.CTL_FREE_HEAD >> 2] = head;
  end.turn();
  assert.ok(end.link.stats().freeInvalid - before.freeInvalid >= junk.length - 1);
  assert.ok(end.link.stats().rxFreeObjects <= pool.count);
  end.close();
});

test('the clock is process.hrtime’s', async () => {
  const end = await openEnd('null:');
  let last = 0;
  for (let i = 0; i < 100; i++) {
    const before = Number(process.hrtime.bigint());
    end.link.burst();
    const now = end.dv.getFloat64(L.CTL_CLOCK_NS, true);
    assert.ok(now >= before && now <= Number(process.hrtime.bigint()));
    assert.ok(now >= last);
    last = now;
  }
  end.close();
});

test('close() returns every hugepage, leaves ordinary memory in place, and a burst then does nothing', async () => {
  const before = freePages();
  const end = await openEnd('null:?rx=1', { zones: 12 });
  end.turn();
  assert.ok(freePages() <= before - 12);
  end.close();
  assert.is(freePages(), before);
  assert.is(end.link.burst(), 0);
  end.u8.fill(0xa5, end.attachment.zoneBase, end.attachment.zoneBase + 12 * L.ZONE_BYTES);
  assert.is(end.u8[end.scratch + 100], 0xa5);
  assert.is(freePages(), before);
  end.close();
});

test('links are opened and closed again and again without a loss', async () => {
  const before = freePages();
  for (let i = 0; i < 30; i++) {
    const end = await openEnd('null:?rx=1');
    for (let k = 0; k < 10; k++) end.turn();
    end.close();
  }
  assert.is(freePages(), before);
});

test('two links of one thread have memories of their own', async () => {
  const first = await openEnd('null:?rx=1');
  const second = await openEnd('null:?rx=1');
  first.u8.fill(1, first.scratch, first.scratch + 4096);
  second.u8.fill(2, second.scratch, second.scratch + 4096);
  assert.is(first.u8[first.scratch], 1);
  first.turn();
  second.turn();
  first.close();
  assert.is(second.turn().length, 32);
  second.close();
});

test('a memory nobody in JavaScript refers to stays as long as its link', async () => {
  const kept = await (async () => {
    const end = await openEnd('null:?rx=1');
    return { burst: end.link.burst, close: end.close };
  })();
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < 5; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
    kept.burst();
  }
  kept.close();
});

test('memory without room for the zones is refused', () => {
  const link = openDpdkLink(parseLinkUri('null:') as DpdkUri);
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64 });
  assert.throws(
    () => link.attach({ memory, ctl: L.CTL, arenaEnd: 65536, zoneCount: 2, rxZones: 1 }),
    (error: { code?: string }) => error.code === 'ERR_LUNET_MEMORY_TOO_SMALL',
  );
  link.close();
});

test('zones beyond the free hugepages are refused, naming how many there are', async () => {
  const free = freePages();
  if (free > 900) return;
  try {
    const end = await openEnd('null:', { zones: free + 1 });
    end.close();
    assert.unreachable();
  } catch (error) {
    assert.is((error as { code?: string }).code, 'ERR_LUNET_NO_HUGEPAGES');
    assert.match((error as Error).message, /nr_hugepages/);
  }
  assert.is(freePages(), free);
});

test('the calling thread keeps its CPUs, and is pinned when asked', async () => {
  const allowed = (): string =>
    /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1] ?? '';
  const before = allowed();
  const end = await openEnd('null:');
  assert.is(allowed(), before);
  end.close();
  const open = (cpu: number): Promise<Stack> =>
    openStack({ link: 'null:', address: '10.0.0.1/24', zones: 8, rxZones: 4, cpu });
  for (const none of [100_000, -1]) {
    const code = await open(none).then(
      () => '',
      (error: { code?: string }) => error.code,
    );
    assert.is(code, 'EINVAL');
    assert.is(allowed(), before);
  }
  const cpu = Number(/^\d+/.exec(before)?.[0]);
  const stack = await open(cpu);
  assert.is(allowed(), `${cpu}`);
  await stack.close();
});

test.run();
