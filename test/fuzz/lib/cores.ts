// The cores that a fuzz target runs on: of which build, with what they have in common, and what is asked of every one of
// them at the end.
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../src/host/core/address.js';
import type { Core, CoreConfig, InlineEvent } from '../../../src/host/core/core.js';
import { type DrivenCore, driveCore } from '../../../src/host/core/driven.js';
import * as L from '../../../src/host/core/layout.js';
import { completeFrame } from '../../helpers/driver.js';
import { testConfig } from '../../helpers/manual.js';

/** `coverage` is an instrumented core with assertions (scripts/lib/coverage.mjs). */
export type FuzzBuild = 'debug' | 'release' | 'coverage';

const COVERAGE_AT = 8192;
const FUEL_AT = COVERAGE_AT + 65536 - 4;
/** Calls and turns of loops that one input may take: hundreds of times what it needs. */
const FUEL = 200_000_000;

export interface Cores {
  readonly build: FuzzBuild;
  open(config: Partial<CoreConfig>, onEvent: InlineEvent, address: string): DrivenCore;
  /** Everything that a core sent, and what it said: two runs of one tape must come to the same. */
  note(bytes: Uint8Array | number): void;
  digest(): number;
  /** Sums over all cores of this run. */
  counters(): Map<string, bigint>;
  /** Adds the visits of every instrumented place to `sums`. */
  visits(sums: Uint32Array): void;
}

let instrumented: WebAssembly.Module | null = null;

function coverageModule(): WebAssembly.Module {
  const at = new URL('../../../../build/core.coverage.wasm', import.meta.url);
  instrumented ??= new WebAssembly.Module(readFileSync(at) as Uint8Array<ArrayBuffer>);
  return instrumented;
}

/** The function of every instrumented place. */
export function coverageSites(): string[] {
  const at = new URL('../../../../build/core.coverage.json', import.meta.url);
  return JSON.parse(readFileSync(at, 'utf8')) as string[];
}

export function openCores(build: FuzzBuild): Cores {
  const all: Core[] = [];
  let digest = 0x811c9dc5;
  return {
    build,
    open(config, onEvent, address) {
      const full: CoreConfig = { ...testConfig, maxConnections: 32, maxListeners: 8, segmentRecords: 1024, ...config };
      const which = build === 'coverage' ? { module: coverageModule() } : { build };
      const driven = driveCore(full, { ...which, onEvent, complete: completeFrame });
      const { core } = driven;
      if (build === 'coverage') core.dv.setUint32(FUEL_AT, FUEL, true);
      writeAddress(core.u8, core.scratch, address);
      assert.ok(core.addressAdd(core.scratch, 120) >= 0);
      all.push(core);
      return driven;
    },
    note(what) {
      if (typeof what === 'number') digest = Math.imul(digest ^ what, 0x01000193) >>> 0;
      else for (let i = 0; i < what.length; i++) digest = Math.imul(digest ^ what[i], 0x01000193) >>> 0;
    },
    digest: () => digest,
    counters() {
      const sums = new Map<string, bigint>();
      for (const core of all) {
        for (const [name, value] of Object.entries(core.counters())) sums.set(name, (sums.get(name) ?? 0n) + value);
      }
      return sums;
    },
    visits(sums) {
      for (const core of all) {
        const at = COVERAGE_AT >> 2;
        for (let i = 0; i < sums.length; i++) sums[i] += core.u32[at + i];
      }
    },
  };
}

/** Tells a core the MAC address of a peer. */
export function introduce(core: Core, address: string, mac: Uint8Array): void {
  writeAddress(core.u8, core.scratch, address);
  core.u8.set(mac, core.scratch + 16);
  assert.ok(core.neighSet(core.scratch, core.scratch + 16) >= 0);
}

/** Handles of all slots in use, whoever holds them. */
export function slotsInUse(core: Core): number[] {
  const handles: number[] = [];
  for (let index = 0; index < core.config.maxConnections; index++) {
    if (core.connectionAt(index, core.scratch) >= 0)
      handles.push(core.dv.getUint32(core.scratch + L.INFO_handle, true));
  }
  return handles;
}

/** The application has let go of everything and time has passed: nothing may be left, and nothing may be due. */
export function assertEmpty(end: DrivenCore): void {
  const { core } = end;
  assert.is(core.zbufInUse(), 0, 'Zbuf objects in use at the end');
  assert.is(core.rxInUse(), 0, 'receive objects in use at the end');
  assert.is(end.freeRxObjects(), end.rxObjects, 'receive objects that came back to the link');
  assert.is(core.recordsInUse(), 0, 'records in use at the end');
  assert.is(core.udpQueued(), 0, 'datagrams that wait at the end');
  assert.is(core.udpSocketsOpen(), 0, 'UDP sockets at the end');
  assert.equal(slotsInUse(core), [], 'connections at the end');
}
