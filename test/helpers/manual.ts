// A core whose link is the test itself: frames go in and come out as bytes, time is a number.
import { writeAddress } from '../../src/host/core/address.js';
import type { CoreConfig, InlineEvent } from '../../src/host/core/core.js';
import { type DrivenCore, driveCore } from '../../src/host/core/driven.js';
import * as L from '../../src/host/core/layout.js';
import { profiles } from '../../src/host/profiles.js';
import { completeFrame } from './driver.js';

export type ManualCore = DrivenCore;

export const OWN_MAC = new Uint8Array([2, 0, 0, 0, 0, 1]);
export const PEER_MAC = new Uint8Array([2, 0, 0, 0, 0, 2]);

export const testConfig: CoreConfig = {
  ...profiles.internet,
  congestion: L.CC_RENO,
  tcpFlags: 0,
  rcvBufMaxBytes: 0,
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
  udpSockets: 32,
  udpDatagrams: 256,
  udpMemBytes: 1 << 20,
  udpRcvBufBytes: 65536,
  udpRcvBufDatagrams: 64,
  maxNeighbours: 64,
  maxRoutes: 64,
  oooObjects: 64,
  zones: 14,
  rxZones: 1,
  flags: L.CFGF_ARP | L.CFGF_ICMP_ECHO | L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE,
  mtu: 1500,
  mac: OWN_MAC,
};

/** `address` is the core's own, with its prefix length in 128 bits. */
export function manualCore(
  config: Partial<CoreConfig> = {},
  onEvent: InlineEvent = () => {},
  address = '10.0.0.1',
  prefixLength = 120,
): ManualCore {
  const manual = driveCore({ ...testConfig, ...config }, { onEvent, complete: completeFrame });
  const { core } = manual;
  writeAddress(core.u8, core.scratch, address);
  core.addressAdd(core.scratch, prefixLength);
  return manual;
}
