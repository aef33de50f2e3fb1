// What a core is configured with: the profile's parameters, the options that were given, and what the link can do.
import { randomBytes } from 'node:crypto';
import { type CoreConfig, powerOfTwo } from './core/core.js';
import { codeError } from './core/errors.js';
import * as L from './core/layout.js';
import type { Link } from './link/link.js';
import { congestionNumber, type ProfileName, type ProfileParameters, profiles } from './profiles.js';
import type { StackOptions } from './stack.js';

const DEFAULT_PORTS: readonly [number, number] = [61440, 65535];
const MAX_CONNECTIONS = 1 << 20;
const DEFAULT_ACTIVE_CONNECTIONS = 65536;
/** RFC 9293 §3.8.6.3. */
const DELACK_LIMIT_US = 500_000;
const DEFAULT_ZONES = 48;
const DEFAULT_RX_ZONES = 8;

/** Throws ERR_OUT_OF_RANGE or ERR_INVALID_ARG_VALUE for options that cannot be. */
export function coreConfig(link: Link, options: StackOptions): CoreConfig {
  const profile = options.profile ?? profileFor(link);
  if (!Object.hasOwn(profiles, profile)) {
    throw codeError(
      'ERR_INVALID_ARG_VALUE',
      `profile must be one of ${Object.keys(profiles).join(', ')}, not "${profile}"`,
    );
  }
  const parameters = { ...profiles[profile] };
  for (const key of Object.keys(parameters) as (keyof ProfileParameters)[]) {
    if (key === 'congestion' || key === 'synCookies' || key === 'tcpFlags' || key === 'fastOpenKey') continue;
    const value = options[key];
    if (value !== undefined) parameters[key] = value;
  }
  parameters.groHoldUs = options.groHoldUs ?? link.info.groHoldUs ?? 0;
  if (options.fastOpenKey !== undefined) parameters.fastOpenKey = options.fastOpenKey;
  if (options.congestion !== undefined) parameters.congestion = congestionNumber(options.congestion);
  if (options.synCookies !== undefined) parameters.synCookies = synCookieMode(options.synCookies);
  if (options.ecn !== undefined) parameters.tcpFlags = withEcn(parameters.tcpFlags, options.ecn);
  if (!(parameters.delackUs < DELACK_LIMIT_US)) {
    throw codeError('ERR_OUT_OF_RANGE', `delackUs must be less than ${DELACK_LIMIT_US}, not ${parameters.delackUs}`);
  }
  const maxConnections = options.maxConnections ?? 16384;
  if (!Number.isInteger(maxConnections) || maxConnections < 1 || maxConnections > MAX_CONNECTIONS) {
    throw codeError('ERR_OUT_OF_RANGE', `maxConnections must be 1 to ${MAX_CONNECTIONS}, not ${maxConnections}`);
  }
  const activeConnections = options.activeConnections ?? Math.min(maxConnections, DEFAULT_ACTIVE_CONNECTIONS);
  if (!Number.isInteger(activeConnections) || activeConnections < 1 || activeConnections > maxConnections) {
    throw codeError(
      'ERR_OUT_OF_RANGE',
      `activeConnections must be 1 to maxConnections (${maxConnections}), not ${activeConnections}`,
    );
  }
  const zones = options.zones ?? DEFAULT_ZONES;
  const rxZones = options.rxZones ?? DEFAULT_RX_ZONES;
  if (!Number.isInteger(zones) || !Number.isInteger(rxZones) || rxZones < 1 || rxZones >= zones) {
    throw codeError('ERR_OUT_OF_RANGE', `rxZones (${rxZones}) must be at least 1 and less than zones (${zones})`);
  }
  const [portLo, portHi] = options.portRange ?? DEFAULT_PORTS;
  if (!(portLo >= 1 && portLo <= portHi && portHi <= 65535)) {
    throw codeError('ERR_OUT_OF_RANGE', `portRange [${portLo}, ${portHi}] must ascend within 1 to 65535`);
  }
  const { info } = link;
  const trust = options.trustLink ?? false;
  let flags = followsKernel(link, options) ? L.CFGF_NEIGH_EVENTS : L.CFGF_ARP | L.CFGF_ICMP_ECHO;
  if (info.loopback) flags |= L.CFGF_LOOPBACK;
  if (trust) flags |= L.CFGF_TX_NO_CSUM;
  else if (info.offloads.txChecksum) flags |= L.CFGF_TX_CSUM;
  if (info.offloads.tso) flags |= L.CFGF_TX_TSO;
  if (!info.offloads.gso) flags |= L.CFGF_NO_GSO;
  if (!info.offloads.gro) flags |= L.CFGF_NO_GRO;
  if (trust || info.rxChecksumTrusted) flags |= L.CFGF_RX_TRUST;
  if (options.timestamps ?? true) flags |= L.CFGF_TIMESTAMPS;
  if (options.sack ?? true) flags |= L.CFGF_SACK;
  if (options.windowScale ?? true) flags |= L.CFGF_WINDOW_SCALE;
  return {
    ...parameters,
    seed: options.seed ?? randomBytes(8).readBigUInt64LE(),
    maxConnections: powerOfTwo(maxConnections),
    maxListeners: options.maxListeners ?? 64,
    activeConnections: activeConnections === maxConnections ? 0 : activeConnections,
    rxRing: 1024,
    txRing: 4096,
    eventRing: 4096,
    segmentRecords: Math.max(65536, 2 * activeConnections),
    sndBufBytes: options.sndBufBytes ?? 256 * 1024,
    rcvBufBytes: options.rcvBufBytes ?? 256 * 1024,
    portLo,
    portHi,
    udpSockets: options.maxUdpSockets ?? 1024,
    udpDatagrams: options.udpDatagrams ?? 1024,
    udpMemBytes: options.udpMemBytes ?? 4 * 1024 * 1024,
    udpRcvBufBytes: options.udpRcvBufBytes ?? 212_992,
    udpRcvBufDatagrams: options.udpRcvBufDatagrams ?? 256,
    maxNeighbours: 1024,
    maxRoutes: 1024,
    oooObjects: options.oooObjects ?? 256,
    zones,
    rxZones,
    flags,
    mtu: info.mtu,
    mac: info.mac,
  };
}

function synCookieMode(name: 'off' | 'pressure' | 'always'): number {
  const modes = { off: L.SYN_COOKIES_OFF, pressure: L.SYN_COOKIES_PRESSURE, always: L.SYN_COOKIES_ALWAYS };
  if (!Object.hasOwn(modes, name)) {
    throw codeError('ERR_INVALID_ARG_VALUE', `synCookies must be one of off, pressure, always, not "${name}"`);
  }
  return modes[name];
}

function withEcn(flags: number, ecn: 'off' | 'accept' | 'on'): number {
  const bits = { off: 0, accept: L.CFGF_ECN_ACCEPT, on: L.CFGF_ECN_ACCEPT | L.CFGF_ECN_REQUEST };
  if (!Object.hasOwn(bits, ecn)) {
    throw codeError('ERR_INVALID_ARG_VALUE', `ecn must be one of off, accept, on, not "${ecn}"`);
  }
  return (flags & ~bits.on) | bits[ecn];
}

/** On memory both ends are lunet's and nothing is lost; elsewhere the peer may be anybody, Linux and its 40 ms delayed ACK included. */
function profileFor(link: Link): ProfileName {
  return ['memory', 'loopback', 'net_memif'].includes(link.info.driver) ? 'local' : 'internet';
}

/**
 * Whether ARP, ICMP and routes are the kernel's. Beside an address of the kernel's own, on a link that does not
 * steer ports, lunet is a host of its own.
 */
export function followsKernel(link: Link, options: StackOptions): boolean {
  if (link.info.kernelInterface === null) return false;
  return options.address === undefined || link.steer !== undefined;
}
