// What a link is to the rest of the host: something that moves frames between rings in linear memory and a wire.
// The rings are described in assembly/abi/layout.ts.
import type { LinkOffloads } from './offloads.js';

/** Where a link may put its zones. */
export interface LinkPlacement {
  memory: WebAssembly.Memory;
  /** Address of the control block. */
  ctl: number;
  /** Lowest linear address zones may begin at. */
  arenaEnd: number;
  /** Zones of 2 MiB, receive zones included. */
  zoneCount: number;
  /** Zones, from zone 0 on, that hold receive objects. */
  rxZones: number;
}

/** A run of equally spaced receive objects. FREE ring entries are `base + i * stride`. */
export interface RxPool {
  base: number;
  stride: number;
  count: number;
}

export interface LinkAttachment {
  /** Linear address of zone 0. */
  zoneBase: number;
  rxPools: readonly RxPool[];
  /** Whether the zones are hugepages shared with the driver. */
  hugepages: boolean;
}

export interface LinkInfo {
  uri: string;
  /** The driver's name as reports show it: `net_memif`, `memory`, … */
  driver: string;
  mac: Uint8Array;
  /** Largest IP packet in bytes. */
  mtu: number;
  /** Whether receive checksums need no verification. */
  rxChecksumTrusted: boolean;
  /** Whether it gives back what it is given: packets between addresses of one stack. */
  loopback: boolean;
  /** In words: offloadsText(). */
  offloads: Readonly<LinkOffloads>;
  /** For how long after a received frame the next one of a train may still be on its way, µs; 0 where trains come whole. */
  groHoldUs?: number;
  /** Name of the kernel interface that shares this link, null where lunet is alone on it. */
  kernelInterface: string | null;
  description: string;
  /** What the driver itself copies, for reports: e.g. "1 on transmit, 1 on receive (shared-memory rings)". */
  copiesPerPayloadByte: string;
}

/** Protocols with ports, of each its own. */
export type Protocol = 'tcp' | 'udp';

export interface Link {
  readonly info: LinkInfo;
  /** Place zones and receive pool in the memory; called once, before the core is initialised. */
  attach(placement: LinkPlacement): LinkAttachment;
  /** The core is initialised, its rings exist. */
  start(): void | Promise<void>;
  /**
   * One turn: take back freed receive objects, transmit, complete, receive, stamp the clock.
   * Returns the number of receive descriptors written from entry 0 of the receive ring on.
   */
  burst(): number;
  /** The clock that bursts stamp, nanoseconds, read now. */
  clockNs(): number;
  /** Calls back once when frames may be waiting. Returns false where the link cannot tell. */
  armWakeup(callback: () => void): boolean;
  disarmWakeup(): void;
  stats(): Record<string, number>;
  /** Bifurcated links: steer a destination port to lunet, or back to the kernel. */
  steer?(protocol: Protocol, port: number, on: boolean): void;
  /** 'any': alone on the link; 'dynamic': who listens or binds steers its port; else exactly these ranges. */
  steeredPorts?(protocol: Protocol): 'any' | 'dynamic' | readonly (readonly [number, number])[];
  close(): void;
}
