// A core with the entries of bench/assembly/hot.ts, driven by hand.
import { readFileSync } from 'node:fs';
import type { Core, CoreConfig } from '../src/host/core/core.js';
import { type DrivenCore, driveCore } from '../src/host/core/driven.js';
import { testConfig } from '../test/helpers/manual.js';

export interface HotExports {
  hotAllocFree(times: number, sizeBytes: number): void;
  hotDupFree(times: number, addr: number): void;
  hotObject(times: number, addr: number): number;
  hotChecksum(times: number, at: number, len: number): number;
  hotCopy(times: number, to: number, from: number, len: number): void;
  hotHeaders(times: number, frames: number, stride: number, len: number): number;
  hotFlowFill(connections: number): number;
  hotFlowFind(times: number, connections: number): number;
  hotTimerArm(timers: number, fromUs: number, stepUs: number): void;
  hotTimerCancel(timers: number): void;
  hotTimerRemove(timers: number): void;
}

export type HotCore = Core & HotExports;

const module = new WebAssembly.Module(
  readFileSync(new URL('../../build/bench/hot.wasm', import.meta.url)) as Uint8Array<ArrayBuffer>,
);

/** createCore() hands on every export of the module it is given. */
export function hotCore(config: Partial<CoreConfig> = {}): { driven: DrivenCore; core: HotCore } {
  const driven = driveCore({ ...testConfig, ...config }, { module });
  return { driven, core: driven.core as HotCore };
}
