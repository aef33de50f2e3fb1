// What the counted cores run with: the configuration of the benchmarks in one thread.
import { createCore } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import { defaultConfig } from '../pair.js';

const PAGE_BYTES = 65536;

/** As bench/count/runtime.cc reads it: pages of memory, then an address and a value in each line. */
export function configuration(): string {
  const core = createCore({
    config: { ...defaultConfig, mtu: 1500, mac: Uint8Array.of(2, 0, 0, 0, 0, 1) },
    build: 'release',
    onEvent() {},
    place: (_, arenaEnd) => ({ zoneBase: arenaEnd, rxPools: [] }),
  });
  const words = Object.entries(L)
    .filter(([name]) => name.startsWith('CFG_') && name !== 'CFG_MAC')
    .map(([, at]) => `${at} ${core.dv.getUint32(at as number, true)}\n`);
  return `${core.memory.buffer.byteLength / PAGE_BYTES}\n${words.join('')}`;
}
