// The native shim (native/): its types, loading it, and closing its ports when a signal ends the process.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { codeError } from '../core/errors.js';
import type { NetlinkAddon } from '../netlink/socket.js';
import type { Protocol } from './link.js';

/** Options of openPort(); see PortOptions in native/port.h. */
export interface NativePortOptions {
  driver?: string;
  args?: string;
  pci?: string;
  socketPath?: string;
  xdpInterface?: string;
  memif?: boolean;
  /** memif: frames are written past the cache; `auto`: while the peer's core shares none with this one. */
  stream?: 'on' | 'off' | 'auto';
  forceMultiSegment?: boolean;
  /** Which offloads to use where the driver has them. */
  checksums?: boolean;
  tso?: boolean;
  hugepages?: 'auto' | 'require' | 'forbid';
  /** Hugepages of 2 MiB the link will need. */
  pages?: number;
  frameBytes: number;
  driverHeadroom?: number;
  maxObjectBytes?: number;
  minObjects?: number;
  burst?: number;
  rxDescriptors?: number;
  txDescriptors?: number;
  setMtu?: number;
  /** TAP: the kernel's interface. */
  tapInterface?: string;
  rxFlags?: number;
}

export interface NativeAttachment {
  zoneBase: number;
  base: number;
  stride: number;
  count: number;
  hugepages: boolean;
}

export interface NativePort {
  readonly driver: string;
  readonly multiSegment: boolean;
  readonly txChecksum: boolean;
  readonly rxChecksum: boolean;
  /** The shim fills in and verifies TCP's checksums (IPv4) with its copies of the frames. */
  readonly sumsInCopy: boolean;
  readonly tso: boolean;
  readonly hugepages: boolean;
  readonly maxMtu: number;
  readonly mac: Uint8Array;
  attach(placement: {
    memory: WebAssembly.Memory;
    arenaEnd: number;
    zoneCount: number;
    rxZones: number;
  }): NativeAttachment;
  start(): void;
  linkUp(): boolean;
  /** memif client: tries to reach the server again. */
  reconnect(): boolean;
  /** Frames the driver has not taken yet. */
  hasBacklog(): boolean;
  burst(): number;
  armWakeup(callback: () => void): boolean;
  disarmWakeup(): void;
  /** What was armed can no longer fire: a memif peer went away, or a new one came. */
  wakeupStale(): boolean;
  stats(): Record<string, number>;
  steer(protocol: Protocol, first: number, last: number, on: boolean): void;
  close(): void;
}

export interface InterfaceInfo {
  index: number;
  mac: Uint8Array;
  mtu: number;
  up: boolean;
  /** ethtool's name of the driver; '' when unknown. */
  driver: string;
  queues: number;
}

export interface NativeAddon extends NetlinkAddon {
  readonly dpdkVersion: string;
  openPort(options: NativePortOptions): NativePort;
  /** Throws ENODEV when there is no such interface. */
  interfaceInfo(name: string): InterfaceInfo;
  /** Keeps the calling thread on one CPU. */
  pinThread(cpu: number): void;
  threadCpuSeconds(): number;
  freeHugepages(): number;
  /**
   * Asks for transparent hugepages behind a core's tables, before they are touched: connections by the thousand are then found
   * without a walk through the page tables. Links of DPDK do it themselves. Returns whether the kernel takes the advice.
   */
  adviseHugepages(memory: WebAssembly.Memory): boolean;
}

const path = fileURLToPath(new URL('../../../../native/build/Release/lunet.node', import.meta.url));
let addon: NativeAddon | null = null;

/**
 * The addon, loaded once per thread. Throws ERR_LUNET_NO_ADDON, saying what is missing and how to get it.
 */
export function loadNative(): NativeAddon {
  if (addon) return addon;
  if (!existsSync(path)) {
    throw codeError(
      'ERR_LUNET_NO_ADDON',
      'the native addon is not built. Run npm run setup (as root, it installs DPDK)',
    );
  }
  try {
    addon = createRequire(import.meta.url)(path) as NativeAddon;
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw codeError(
      'ERR_LUNET_NO_ADDON',
      `the native addon does not load: ${cause}. Install DPDK (apt install libdpdk-dev) and run npm run setup`,
    );
  }
  return addon;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const open = new Set<() => void>();

/**
 * Closes the port when SIGINT, SIGTERM or SIGHUP ends the process. Every other end, an exit or an exception, the addon
 * sees itself. Returns the function that forgets it again.
 */
export function closeOnSignal(close: () => void): () => void {
  // A worker thread gets no signals; what its ports leave behind is removed by the next start.
  if (!isMainThread) return () => {};
  if (open.size === 0) for (const signal of SIGNALS) process.on(signal, onSignal);
  open.add(close);
  return () => {
    if (!open.delete(close) || open.size > 0) return;
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
}

function onSignal(signal: NodeJS.Signals): void {
  // An application with a handler of its own decides when it ends.
  if (process.listenerCount(signal) > 1) return;
  for (const close of [...open]) close();
  for (const name of SIGNALS) process.off(name, onSignal);
  process.kill(process.pid, signal);
}
