// A core driven by hand: frames go in and come out as bytes, time is a number that the caller moves. For tests and for
// scripts; a stack has a link and a loop instead.
import { performance } from 'node:perf_hooks';
import { type Core, type CoreBuild, type CoreConfig, createCore, type InlineEvent } from './core.js';
import * as L from './layout.js';

export interface DrivenCore {
  readonly core: Core;
  /** Microseconds; the caller moves it. */
  nowUs: number;
  /** Frames put into one ingest(). Returns how many found a receive object. */
  inject(...frames: Uint8Array[]): number;
  /** Timers due by now, and what they send. */
  poll(): number;
  /** Every frame the core has sent since, gathered; completes their transmission. */
  take(): Uint8Array[];
  /** Events in the ring: [handle, kind, a, b]. */
  events(): [number, number, number, number][];
  freeRxObjects(): number;
  rxObjects: number;
  /** Nanoseconds that the core has spent in inject(). */
  busyNs: number;
}

const STRIDE = 2048;

export interface DriveOptions {
  onEvent?: InlineEvent;
  build?: CoreBuild;
  /** Instead of the build's own: an instrumented one. */
  module?: WebAssembly.Module;
  /** Bytes of a receive object, and so of the longest frame. */
  stride?: number;
  /** What a driver does to a frame with these flags and header lengths (TXD_FLAGS, TXD_OFFLOAD): the frames it sends. */
  complete?(frame: Uint8Array, flags: number, lengths: number): Uint8Array[];
}

export function driveCore(config: CoreConfig, options: DriveOptions = {}): DrivenCore {
  const { build, module, stride = STRIDE, complete = (frame: Uint8Array) => [frame] } = options;
  let pool = { base: 0, stride, count: 0 };
  const core = createCore({
    config,
    ...(build === undefined ? {} : { build }),
    ...(module === undefined ? {} : { module }),
    onEvent: options.onEvent ?? (() => {}),
    place(_memory, arenaEnd) {
      pool = { base: arenaEnd, stride, count: Math.floor((config.rxZones * L.ZONE_BYTES) / stride) };
      return { zoneBase: arenaEnd, rxPools: [pool] };
    },
  });
  const { u32, u8 } = core;
  const free: number[] = [];
  for (let i = pool.count - 1; i >= 0; i--) free.push(pool.base + i * stride);

  function takeFreed(): void {
    const at = u32[L.CTL_FREE_AT >> 2] >> 2;
    const mask = u32[L.CTL_FREE_SIZE >> 2] - 1;
    while (u32[L.CTL_FREE_TAIL >> 2] !== u32[L.CTL_FREE_HEAD >> 2]) {
      free.push(u32[at + (u32[L.CTL_FREE_TAIL >> 2]++ & mask)]);
    }
  }

  const driven: DrivenCore = {
    core,
    nowUs: 1_000_000,
    rxObjects: pool.count,
    busyNs: 0,
    inject(...frames) {
      takeFreed();
      const at = u32[L.CTL_RX_AT >> 2] >> 2;
      let count = 0;
      for (const frame of frames) {
        const object = frame.length <= stride ? free.pop() : undefined;
        if (object === undefined) continue;
        u8.set(frame, object);
        u32[at + 4 * count] = object;
        u32[at + 4 * count + 1] = frame.length;
        u32[at + 4 * count + 2] = 0;
        count++;
      }
      const started = performance.now();
      core.ingest(count, driven.nowUs);
      core.flush(driven.nowUs);
      driven.busyNs += (performance.now() - started) * 1e6;
      return count;
    },
    poll() {
      const next = core.poll(driven.nowUs);
      core.flush(driven.nowUs);
      return next;
    },
    take() {
      const frames: Uint8Array[] = [];
      const at = u32[L.CTL_TX_AT >> 2] >> 2;
      const mask = u32[L.CTL_TX_SIZE >> 2] - 1;
      const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
      const doneMask = u32[L.CTL_DONE_SIZE >> 2] - 1;
      let parts: Uint8Array[] = [];
      let first = 0;
      while (u32[L.CTL_TX_TAIL >> 2] !== u32[L.CTL_TX_HEAD >> 2]) {
        const entry = at + 4 * (u32[L.CTL_TX_TAIL >> 2]++ & mask);
        const addr = u32[entry];
        if (parts.length === 0) first = entry;
        parts.push(u8.slice(addr, addr + u32[entry + 1]));
        u32[doneAt + (u32[L.CTL_DONE_HEAD >> 2]++ & doneMask)] = addr;
        if (u32[entry + 2] & L.TXF_END) {
          frames.push(...complete(Buffer.concat(parts), u32[first + 2], u32[first + 3]));
          parts = [];
          // Never more completions outstanding than the ring holds.
          core.ingest(0, driven.nowUs);
        }
      }
      return frames;
    },
    events() {
      const list: [number, number, number, number][] = [];
      const at = u32[L.CTL_EVENT_AT >> 2] >> 2;
      const mask = u32[L.CTL_EVENT_SIZE >> 2] - 1;
      while (u32[L.CTL_EVENT_TAIL >> 2] !== u32[L.CTL_EVENT_HEAD >> 2]) {
        const entry = at + 4 * (u32[L.CTL_EVENT_TAIL >> 2]++ & mask);
        list.push([u32[entry], u32[entry + 1], u32[entry + 2], u32[entry + 3]]);
      }
      return list;
    },
    freeRxObjects() {
      takeFreed();
      return free.length;
    },
  };
  return driven;
}
