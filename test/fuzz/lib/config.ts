// Configurations that the fuzz targets run cores with: all kinds of what may differ, and little room everywhere.
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import type { Random } from '../../helpers/random.js';

/** What timeouts are short for: an input that ends in silence is over within minutes of virtual time. */
const SHORT: Partial<CoreConfig> = {
  timeWaitUs: 1_000_000,
  finWait2Us: 5_000_000,
  synRetries: 3,
  synackRetries: 3,
  retries: 5,
  rtoMaxUs: 10_000_000,
  keepaliveIntvlUs: 2_000_000,
  keepaliveProbes: 3,
};

/** Room for UDP. Not part of someConfig(): tapes that are kept would mean something else. */
export function someUdpConfig(r: Random): Partial<CoreConfig> {
  return {
    udpSockets: r.pick([32, 32, 4]),
    udpDatagrams: r.pick([256, 8, 2]),
    udpMemBytes: r.pick([1 << 20, 2000]),
    udpRcvBufBytes: r.pick([65536, 65536, 2048]),
    udpRcvBufDatagrams: r.pick([64, 4, 1]),
  };
}
/** Who segments, who fills in checksums, and whether segments are received in runs. */
const OFFLOADS: readonly number[] = [
  0,
  L.CFGF_NO_GSO,
  L.CFGF_NO_GRO,
  L.CFGF_NO_GSO | L.CFGF_NO_GRO,
  L.CFGF_TX_CSUM,
  L.CFGF_TX_CSUM | L.CFGF_TX_TSO,
  L.CFGF_TX_CSUM | L.CFGF_TX_TSO | L.CFGF_NO_GRO,
];
/** A ring with room for two frames to be cut. */
const TSO_RING = 64;

export function someConfig(r: Random): Partial<CoreConfig> {
  const seed = r.u32();
  const flag = (bit: number, n: number): number => (r.oneIn(n) ? 0 : bit);
  const offloads = OFFLOADS[seed % OFFLOADS.length];
  const config: Partial<CoreConfig> = {
    ...SHORT,
    seed: BigInt(seed),
    congestion: r.pick([L.CC_RENO, L.CC_CUBIC, L.CC_DCTCP]),
    flags:
      offloads |
      L.CFGF_ARP |
      L.CFGF_ICMP_ECHO |
      flag(L.CFGF_TIMESTAMPS, 3) |
      flag(L.CFGF_SACK, 4) |
      flag(L.CFGF_WINDOW_SCALE, 4),
    tcpFlags:
      flag(L.CFGF_TLP, 3) |
      flag(L.CFGF_FRTO, 3) |
      flag(L.CFGF_ECN_REQUEST, 2) |
      flag(L.CFGF_ECN_ACCEPT, 3) |
      flag(L.CFGF_LINUX_CWND, 2) |
      flag(L.CFGF_PMTU_BLACK_HOLE, 2),
    rtoSteadyUs: r.pick([0, 0, 10_000]),
    rcvBufMaxBytes: r.pick([0, 0, 1 << 20]),
    rcvBufBytes: r.pick([65536, 65536, 4096, 1 << 20]),
    sndBufBytes: r.pick([65536, 65536, 4096, 1 << 20]),
    mtu: r.pick([1500, 1500, 1500, 576, 2000]),
    txRing: r.pick([1024, 64, 32]),
    eventRing: r.pick([256, 8]),
    segmentRecords: r.pick([1024, 1024, 64]),
    oooObjects: r.pick([64, 64, 4]),
    oooTotalObjects: seed & 1 ? 8 : 0,
    groHoldUs: seed & 8 ? 1000 : 0,
    reasmDatagrams: seed & 2 ? 4 : 256,
    reasmObjects: seed & 4 ? 16 : 1024,
    zones: r.pick([14, 5]),
    maxConnections: r.pick([32, 32, 4]),
  };
  if (offloads & L.CFGF_TX_TSO) config.txRing = Math.max(config.txRing as number, TSO_RING);
  return config;
}
