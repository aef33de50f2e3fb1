// What the links that need nothing but WebAssembly have in common: memory and loopback.
import { parseMac } from '../core/address.js';
import { codeError } from '../core/errors.js';
import type { OffloadSwitches } from './offloads.js';

/**
 * By default a hub of memory links is a wire: checksums are filled in, and a frame has at most an MTU. With `csum` and `tso`,
 * as over Linux's veth, neither is: every link of the hub must be told so. A loopback always is a wire; with `csum`, its
 * default, it fills the checksums in itself.
 */
export interface MemoryLinkOptions extends Partial<OffloadSwitches> {
  /** Largest IP packet in bytes. */
  mtu?: number;
  mac?: string;
  /** Frames received in one burst at most. */
  burstFrames?: number;
  /** Monotonic nanoseconds. */
  clockNs?: () => number;
}

export const ETHERNET_BYTES = 14;
const DEFAULT_MTU = 1500;
const MIN_MTU = 576;
const MAX_MTU = 65535 - ETHERNET_BYTES;

/** The MTU asked for, or 1500. Throws ERR_LUNET_URI for one that cannot be. */
export function linkMtu(uri: string, mtu: number = DEFAULT_MTU): number {
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU) {
    throw codeError('ERR_LUNET_URI', `${uri}: mtu must be ${MIN_MTU} to ${MAX_MTU}, not ${mtu}`);
  }
  return mtu;
}

let macs = 1;

/** The MAC asked for, or a locally administered one that no other link of this process has. */
export function nextMac(mac?: string): Uint8Array {
  return mac ? parseMac(mac) : new Uint8Array([2, 0, 0, 0, macs >> 8, macs++ & 0xff]);
}
