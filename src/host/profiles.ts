// Sets of TCP parameters. Every number can be overridden by the option of the same name.
import type { CoreConfig } from './core/core.js';
import { codeError } from './core/errors.js';
import * as L from './core/layout.js';

export type ProfileName = 'datacenter' | 'internet' | 'linux' | 'local';

/** The parameters a profile decides. */
export type ProfileParameters = Pick<
  CoreConfig,
  | 'rtoMinUs'
  | 'rtoMaxUs'
  | 'rtoInitUs'
  | 'delackUs'
  | 'timeWaitUs'
  | 'finWait2Us'
  | 'synRetries'
  | 'synackRetries'
  | 'retries'
  | 'keepaliveTimeUs'
  | 'keepaliveIntvlUs'
  | 'keepaliveProbes'
  | 'initCwndSegments'
  | 'congestion'
  | 'rtoSteadyUs'
  | 'tlpSlackUs'
  | 'rcvBufMaxBytes'
  | 'synCookies'
  | 'challengeAcksPerSecond'
  | 'fastOpen'
  | 'fastOpenKey'
  | 'maxOrphans'
  | 'orphanRetries'
  | 'reasmDatagrams'
  | 'reasmObjects'
  | 'reasmBytes'
  | 'reasmTimeoutUs'
  | 'reasmTimeout6Us'
  | 'oooTotalObjects'
  | 'groHoldUs'
  | 'synLinear'
  | 'tcpFlags'
>;

/** Congestion control by the names that Linux gives it. */
export const congestionAlgorithms = { reno: L.CC_RENO, cubic: L.CC_CUBIC, dctcp: L.CC_DCTCP } as const;

export type CongestionName = keyof typeof congestionAlgorithms;

/** CC_… of a name. Throws ERR_INVALID_ARG_VALUE for one that is not known. */
export function congestionNumber(name: CongestionName): number {
  if (!Object.hasOwn(congestionAlgorithms, name)) {
    const known = Object.keys(congestionAlgorithms).join(', ');
    throw codeError('ERR_INVALID_ARG_VALUE', `congestion must be one of ${known}, not "${name}"`);
  }
  return congestionAlgorithms[name];
}

const SECOND_US = 1_000_000;

const internet: ProfileParameters = {
  rtoMinUs: 200_000, // Linux TCP_RTO_MIN
  rtoMaxUs: 120 * SECOND_US,
  rtoInitUs: SECOND_US, // RFC 6298 §2.1
  delackUs: 40_000,
  timeWaitUs: 60 * SECOND_US,
  finWait2Us: 60 * SECOND_US,
  synRetries: 7, // with the initial timeout 247 s: RFC 9293 §3.8.3 asks for 3 minutes
  synackRetries: 5,
  retries: 15,
  keepaliveTimeUs: 7200 * SECOND_US, // RFC 9293 §3.8.4
  keepaliveIntvlUs: 75 * SECOND_US,
  keepaliveProbes: 9,
  initCwndSegments: 10, // RFC 6928
  congestion: L.CC_CUBIC, // RFC 9438
  rtoSteadyUs: 0, // RFC 6298 §5.5: doubles each time
  tlpSlackUs: 45_000, // beyond Linux's delayed ACK
  rcvBufMaxBytes: 4 * 1024 * 1024,
  synCookies: L.SYN_COOKIES_PRESSURE, // RFC 4987 §3.6
  challengeAcksPerSecond: 1000, // RFC 5961 §7, each second a random number around it
  maxOrphans: 0, // a quarter of the connections
  orphanRetries: 8, // Linux tcp_orphan_retries
  reasmDatagrams: 256,
  reasmObjects: 1024,
  reasmBytes: 4 * 1024 * 1024, // Linux ipfrag_high_thresh
  reasmTimeoutUs: 30 * SECOND_US, // Linux ipfrag_time
  reasmTimeout6Us: 60 * SECOND_US, // RFC 8200 §4.5
  oooTotalObjects: 0, // a quarter of the receive objects
  groHoldUs: 0, // the link's
  synLinear: 0,
  fastOpen: 0,
  fastOpenKey: null, // from the seed
  tcpFlags: L.CFGF_TLP | L.CFGF_FRTO | L.CFGF_ECN_ACCEPT | L.CFGF_PMTU_BLACK_HOLE | L.CFGF_DELACK_RTT,
};

// A few switch hops, failures detected in milliseconds (LUNA, ATC'23 §9).
const datacenter: ProfileParameters = {
  ...internet,
  rtoMinUs: 4_000,
  rtoMaxUs: 2 * SECOND_US,
  rtoInitUs: 100_000,
  delackUs: 1_000,
  timeWaitUs: SECOND_US,
  finWait2Us: 10 * SECOND_US,
  synRetries: 95, // with the longest timeout 185 s: RFC 9293 §3.8.3 asks for 3 minutes
  synackRetries: 10,
  retries: 100, // with the steady timeout about 100 s, RFC 9293 §3.8.3's R2
  rtoSteadyUs: 10_000,
  orphanRetries: 40, // about a minute
  congestion: L.CC_RENO,
  rcvBufMaxBytes: 0, // a window that fits the caches is worth more than one that fits the path
  tcpFlags: L.CFGF_FRTO | L.CFGF_ECN_ACCEPT, // a probe would come hardly sooner than the timeout
};

export const profiles: Readonly<Record<ProfileName, ProfileParameters>> = {
  internet,
  // What a Linux host does without any sysctl changed: scripts written for Linux run on it.
  linux: {
    ...internet,
    delackUs: 40_000, // TCP_DELACK_MIN
    finWait2Us: 60 * SECOND_US, // tcp_fin_timeout
    initCwndSegments: 10, // TCP_INIT_CWND
    tlpSlackUs: 2_000, // TCP_TIMEOUT_MIN
    synRetries: 6, // tcp_syn_retries
    synLinear: 4, // tcp_syn_linear_timeouts
    fastOpen: L.FAST_OPEN_CLIENT, // tcp_fastopen
    rcvBufMaxBytes: 6_291_456, // net.ipv4.tcp_rmem[2]
    tcpFlags: L.CFGF_TLP | L.CFGF_FRTO | L.CFGF_ECN_ACCEPT | L.CFGF_LINUX_CWND | L.CFGF_LINUX,
  },
  datacenter,
  // Memory that two processes share: nothing is lost there, so what is late is late because the peer was off its CPU or
  // collected garbage, and a timeout of milliseconds would send for nothing.
  local: {
    ...datacenter,
    rtoMinUs: 200_000,
    rtoInitUs: 200_000,
    retries: 55, // with the longest timeout 107 s
    rtoSteadyUs: 0,
    orphanRetries: 30,
  },
};
