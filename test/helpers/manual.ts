// A core whose link is the test itself: frames go in and come out as bytes, time is a number.
import { writeAddress } from '../../src/host/core/address.js';
import { type Core, type CoreConfig, createCore, type InlineEvent } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import { profiles } from '../../src/host/profiles.js';

export interface ManualCore {
  readonly core: Core;
  /** Microseconds; the test moves it. */
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
}

export const OWN_MAC = new Uint8Array([2, 0, 0, 0, 0, 1]);
export const PEER_MAC = new Uint8Array([2, 0, 0, 0, 0, 2]);

export const testConfig: CoreConfig = {
  ...profiles.internet,
  seed: 1n,
  maxConnections: 256,
  maxListeners: 16,
  rxRing: 256,
  txRing: 1024,
  eventRing: 256,
  segmentRecords: 8192,
  sndBufBytes: 65536,
  rcvBufBytes: 65536,
  portLo: 61440,
  portHi: 65535,
  maxNeighbours: 64,
  maxRoutes: 64,
  oooObjects: 64,
  zones: 14,
  rxZones: 1,
  flags: L.CFGF_ARP | L.CFGF_ICMP_ECHO | L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE,
  mtu: 1500,
  mac: OWN_MAC,
};

const STRIDE = 2048;

/** `address` is the core's own, with its prefix length in 128 bits. */
export function manualCore(
  config: Partial<CoreConfig> = {},
  onEvent: InlineEvent = () => {},
  address = '10.0.0.1',
  prefixLength = 120,
): ManualCore {
  const full = { ...testConfig, ...config };
  let pool = { base: 0, stride: STRIDE, count: 0 };
  const core = createCore({
    config: full,
    onEvent,
    place(_memory, arenaEnd) {
      pool = { base: arenaEnd, stride: STRIDE, count: (full.rxZones * L.ZONE_BYTES) / STRIDE };
      return { zoneBase: arenaEnd, rxPools: [pool] };
    },
  });
  writeAddress(core.u8, core.scratch, address);
  core.addressAdd(core.scratch, prefixLength);
  const { u32, u8 } = core;
  const free: number[] = [];
  for (let i = pool.count - 1; i >= 0; i--) free.push(pool.base + i * STRIDE);

  function takeFreed(): void {
    const at = u32[L.CTL_FREE_AT >> 2] >> 2;
    const mask = u32[L.CTL_FREE_SIZE >> 2] - 1;
    while (u32[L.CTL_FREE_TAIL >> 2] !== u32[L.CTL_FREE_HEAD >> 2]) {
      free.push(u32[at + (u32[L.CTL_FREE_TAIL >> 2]++ & mask)]);
    }
  }

  const manual: ManualCore = {
    core,
    nowUs: 1_000_000,
    rxObjects: pool.count,
    inject(...frames) {
      takeFreed();
      const at = u32[L.CTL_RX_AT >> 2] >> 2;
      let count = 0;
      for (const frame of frames) {
        const object = frame.length <= STRIDE ? free.pop() : undefined;
        if (object === undefined) continue;
        u8.set(frame, object);
        u32[at + 4 * count] = object;
        u32[at + 4 * count + 1] = frame.length;
        u32[at + 4 * count + 2] = 0;
        count++;
      }
      core.ingest(count, manual.nowUs);
      core.flush(manual.nowUs);
      return count;
    },
    poll() {
      const next = core.poll(manual.nowUs);
      core.flush(manual.nowUs);
      return next;
    },
    take() {
      const frames: Uint8Array[] = [];
      const at = u32[L.CTL_TX_AT >> 2] >> 2;
      const mask = u32[L.CTL_TX_SIZE >> 2] - 1;
      const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
      const doneMask = u32[L.CTL_DONE_SIZE >> 2] - 1;
      let parts: Uint8Array[] = [];
      while (u32[L.CTL_TX_TAIL >> 2] !== u32[L.CTL_TX_HEAD >> 2]) {
        const entry = at + 4 * (u32[L.CTL_TX_TAIL >> 2]++ & mask);
        const addr = u32[entry];
        parts.push(u8.slice(addr, addr + u32[entry + 1]));
        u32[doneAt + (u32[L.CTL_DONE_HEAD >> 2]++ & doneMask)] = addr;
        if (u32[entry + 2] & L.TXF_END) {
          frames.push(Buffer.concat(parts));
          parts = [];
          // Never more completions outstanding than the ring holds.
          core.ingest(0, manual.nowUs);
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
  return manual;
}
