// Zbuf: allocation, reference counts, address to object; called by an application (each call crosses from JavaScript into
// WebAssembly) and by the core itself.
import { begin, bench, type Case } from './harness.js';
import { hotCore } from './hot.js';

const { core } = hotCore();
const OPERATIONS = 1000;

const cases: Case[] = [64, 2048, 16384, 65536].map((size) => ({
  name: `alloc + free, ${size} B`,
  operations: OPERATIONS,
  run() {
    for (let i = 0; i < OPERATIONS; i++) core.free(core.alloc(size));
  },
}));

const burst = new Uint32Array(256);
cases.push({
  name: 'alloc 256, then free 256, 2048 B',
  operations: burst.length,
  run() {
    for (let i = 0; i < burst.length; i++) burst[i] = core.alloc(2048);
    for (let i = 0; i < burst.length; i++) core.free(burst[i]);
  },
});

const object = core.alloc(2048);
cases.push(
  {
    name: 'dup + free of an interior pointer',
    operations: OPERATIONS,
    run() {
      for (let i = 0; i < OPERATIONS; i++) {
        core.dup(object + i);
        core.free(object + i);
      }
    },
  },
  {
    name: 'objectEnd of an interior pointer',
    operations: OPERATIONS,
    run() {
      for (let i = 0; i < OPERATIONS; i++) core.objectEnd(object + i);
    },
  },
  {
    name: 'alloc + free in the core, 2048 B',
    operations: OPERATIONS,
    run: () => core.hotAllocFree(OPERATIONS, 2048),
  },
  {
    name: 'dup + free in the core',
    operations: OPERATIONS,
    run: () => core.hotDupFree(OPERATIONS, object),
  },
  {
    name: 'address → object in the core',
    operations: OPERATIONS,
    run() {
      core.hotObject(OPERATIONS, object);
    },
  },
);

bench(begin({ what: 'Zbuf, by JavaScript and in the core', link: 'none', offloads: 'none' }), cases);
