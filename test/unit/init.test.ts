// init() and what comes before it: any configuration gives a core or an error, never a trap.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { coreModule, defaultBuild } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import { manualCore } from '../helpers/manual.js';
import { random } from '../helpers/random.js';

type Exports = Record<string, (...args: number[]) => number>;

const good = manualCore({ zones: 4, rxZones: 1, maxConnections: 16, maxListeners: 4, segmentRecords: 256 }).core;
const PAGES = good.memory.buffer.byteLength / 65536;

/** An instance that is not initialised, with the configuration of a good one except for some words. */
function fresh(changes: [number, number][] = []): { core: Exports; dv: DataView } {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  new Uint8Array(memory.buffer).set(good.u8.subarray(L.CFG, L.CFG + 512), L.CFG);
  const dv = new DataView(memory.buffer);
  for (const [at, value] of changes) dv.setUint32(at, value, true);
  const imports = { env: { memory }, host: { event: (): void => {} } };
  return { core: new WebAssembly.Instance(coreModule(defaultBuild()), imports).exports as unknown as Exports, dv };
}

const words = Object.entries(L).filter(
  ([name, value]) => /^CFG_/.test(name) && typeof value === 'number' && name !== 'CFG_MAC',
) as [string, number][];

test('init succeeds once', () => {
  const { core, dv } = fresh();
  assert.ok(core.arenaNeeded() + 65536 * 4 >= dv.getUint32(L.CFG_ARENA_END, true) - 1024 * 1024);
  assert.is(core.init(), 0);
  assert.is(core.init(), -L.EALREADY);
});

test('rings and zones that cannot be are refused', () => {
  const bad: [number, number][] = [
    [L.CFG_RX_RING, 0],
    [L.CFG_RX_RING, 3],
    [L.CFG_RX_RING, 1 << 21],
    [L.CFG_TX_RING, 8],
    [L.CFG_TX_RING, 1000],
    [L.CFG_EVENT_RING, 1],
    [L.CFG_FREE_RING, 0],
    [L.CFG_ZONE_COUNT, 0],
    [L.CFG_ZONE_COUNT, 4000],
    [L.CFG_RX_ZONES, 4],
    [L.CFG_ZONE_BASE, 1],
    [L.CFG_ZONE_BASE, 0],
    [L.CFG_ZONE_BASE, 0xffffffc0],
    [L.CFG_ARENA_END, 0xffffffff],
    [L.CFG_MTU, 0],
    [L.CFG_MAX_ROUTES, 0],
    [L.CFG_MAX_NEIGHBOURS, 0],
    [L.CFG_MAX_CONNECTIONS, 0],
    [L.CFG_MAX_CONNECTIONS, 1 << 28],
    [L.CFG_MAX_LISTENERS, 0],
    [L.CFG_SEGMENT_RECORDS, 0],
    [L.CFG_PORT_LO, 0],
    [L.CFG_PORT_LO, 65536],
    [L.CFG_PORT_HI, 65536],
    [L.CFG_MAC, 1],
    [L.CFG_UDP_SOCKETS, 65537],
    [L.CFG_UDP_DATAGRAMS, (1 << 20) + 1],
  ];
  for (const change of bad) assert.is(fresh([change]).core.init(), -L.EINVAL, JSON.stringify(change));
  assert.is(fresh([[L.CFG_ARENA_END, 70_000]]).core.init(), -L.ENOMEM, 'an arena too small');
});

test('no configuration traps', () => {
  const r = random(11);
  const values = (): number => r.pick([0, 1, 2, 3, 64, 1000, 65536, 0x7fffffff, 0x80000000, 0xffffffff, r.u32()]);
  for (const [name, at] of words) {
    for (const value of [0, 1, 2, 3, 7, 64, 1000, 65536, 1 << 20, 1 << 28, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const { core } = fresh([[at, value]]);
      try {
        core.arenaNeeded();
        assert.ok(core.init() <= 0);
      } catch (error) {
        assert.unreachable(`${name} = ${value}: ${(error as Error).message}`);
      }
    }
  }
  for (let round = 0; round < 300; round++) {
    const changes = Array.from({ length: 1 + r.below(6) }, () => [r.pick(words)[1], values()] as [number, number]);
    try {
      fresh(changes).core.init();
    } catch (error) {
      assert.unreachable(`${JSON.stringify(changes)}: ${(error as Error).message}`);
    }
  }
});

test('calls before init() give errors or nothing', () => {
  const { core } = fresh();
  for (const name of Object.keys(core)) {
    if (typeof core[name] !== 'function' || name === 'init') continue;
    try {
      core[name](2304, 2304, 2304, 2304, 2304);
    } catch (error) {
      assert.unreachable(`${name}: ${(error as Error).message}`);
    }
  }
});

test('every call with wild arguments is an error, not a trap', () => {
  const r = random(12);
  const { core } = fresh();
  assert.is(core.init(), 0);
  const values = (): number =>
    r.pick([0, 1, 3, 127, 1024, 65535, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, r.u32()]);
  const names = Object.keys(core).filter((name) => typeof core[name] === 'function');
  for (let i = 0; i < 200_000; i++) {
    const name = r.pick(names);
    const args = Array.from({ length: 5 }, values);
    // Structures are written where the caller says: not over the core's own memory.
    if (/info|connectionAt|routeAt|neighAt|recv/i.test(name)) for (let k = 0; k < 5; k++) args[k] |= 0xfffff000;
    // A clock that is ahead stays there.
    if (/ingest|poll|flush/.test(name)) args[0] = args[1] = i;
    try {
      core[name](...args);
    } catch (error) {
      assert.unreachable(`${name}(${args.join(', ')}): ${(error as Error).message}`);
    }
  }
});

test.run();
