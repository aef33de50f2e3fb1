// What a script sets up before its first event: option lines here, sysctls in sysctls.ts, shell commands in shell.ts.
// The core is configured once, from this.
import { isIPv4, isIPv6 } from 'node:net';
import { type CoreConfig, WITHOUT_UDP } from '../core/core.js';
import * as L from '../core/layout.js';
import { profiles } from '../profiles.js';
import { type Script, Unsupported } from './ast.js';

export type IpVersion = 'ipv4' | 'ipv6' | 'ipv4-mapped-ipv6';

export interface Settings {
  ipVersion: IpVersion;
  toleranceUs: number;
  /** Null until a script names them: the defaults depend on the version of IP. */
  localIp: string | null;
  remoteIp: string | null;
  gatewayIp: string | null;
  bindPort: number;
  connectPort: number;
  /** Microseconds of one tick of TS val; 0 leaves the values unchecked. */
  tsTickUs: number;
  /** net.ipv4.tcp_wmem: initial and largest send buffer. */
  sndMem: readonly [initial: number, most: number];
  /** net.ipv4.tcp_rmem: initial and largest receive buffer. */
  rcvMem: readonly [initial: number, most: number];
  /** net.core.wmem_max, net.core.rmem_max: bounds of SO_SNDBUF and SO_RCVBUF. */
  sndMax: number;
  rcvMax: number;
  /** net.ipv4.tcp_fastopen_key: a socket's own may be another. */
  fastOpenKey: string;
  config: Omit<CoreConfig, 'mac'>;
}

/** What scripts set up; cookies that they name are made with it. */
const FAST_OPEN_KEY = 'a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4';

/** Of memory for a receive buffer, Linux takes half for window (net.ipv4.tcp_adv_win_scale = 1). */
export function windowOf(memoryBytes: number): number {
  return Math.floor(memoryBytes / 2);
}

export function defaultSettings(): Settings {
  return {
    ipVersion: 'ipv4',
    toleranceUs: 4000,
    localIp: null,
    remoteIp: null,
    gatewayIp: null,
    bindPort: 8080,
    connectPort: 8080,
    tsTickUs: 0,
    sndMem: [16_384, 4_194_304],
    rcvMem: [131_072, profiles.linux.rcvBufMaxBytes],
    sndMax: 212_992,
    rcvMax: 212_992,
    fastOpenKey: FAST_OPEN_KEY,
    config: {
      ...profiles.linux,
      fastOpenKey: FAST_OPEN_KEY,
      seed: 1n,
      maxConnections: 64,
      maxListeners: 8,
      rxRing: 256,
      txRing: 8192,
      eventRing: 256,
      segmentRecords: 16384,
      // What may be queued is the business of the socket calls (send-buffer.ts).
      sndBufBytes: 64 * 1024 * 1024,
      rcvBufBytes: windowOf(131_072),
      portLo: 32768,
      portHi: 60999,
      ...WITHOUT_UDP,
      maxNeighbours: 16,
      maxRoutes: 16,
      oooObjects: 128,
      zones: 48,
      rxZones: 24,
      flags: L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE,
      mtu: 1500,
    },
  };
}

/** The addresses that a script does not name. */
export function addressesOf(settings: Settings): { local: string; remote: string; gateway: string } {
  const six = settings.ipVersion === 'ipv6';
  return {
    local: settings.localIp ?? (six ? 'fd3d:0a0b:17d6::1' : '192.168.0.1'),
    remote: settings.remoteIp ?? (six ? 'fd3d:fa7b:d17d::1' : '192.0.2.1'),
    gateway: settings.gatewayIp ?? (six ? 'fd3d:0a0b:17d6:8888::1' : '192.168.0.2'),
  };
}

/** Options that say something about packetdrill's own process and nothing about the stack. */
const ignoredOptions = new Set(
  (
    'code_command code_format code_sockopt speed verbose dry_run non_fatal netmask_ip strict_segments debug so_filename ' +
    'so_flags tcp_ts_ecr_scaled persistent_tun_dev no_cleanup init_scripts is_anyip send_omit_free mss ' +
    'fuzz_seed local_linklayer wire_client_dev D define check_tcp_info'
  ).split(' '),
);

/** Applies the option lines. Throws Unsupported. */
export function applyOptions(settings: Settings, options: Script['options']): void {
  for (const { name, value, line } of options) {
    const number = (): number => {
      const n = Number(value);
      if (value === '' || !Number.isFinite(n)) throw new Unsupported(line, `--${name} takes a number, not "${value}"`);
      return n;
    };
    switch (name) {
      case 'tolerance_usecs':
        settings.toleranceUs = number();
        break;
      case 'tcp_ts_tick_usecs':
        settings.tsTickUs = number();
        break;
      case 'mtu':
        settings.config.mtu = number();
        break;
      case 'bind_port':
        settings.bindPort = number();
        break;
      case 'connect_port':
        settings.connectPort = number();
        break;
      case 'local_ip':
        settings.localIp = address(value, line);
        break;
      case 'remote_ip':
        settings.remoteIp = address(value, line);
        break;
      case 'gateway_ip':
        settings.gatewayIp = address(value, line);
        break;
      case 'ip_version':
        if (value !== 'ipv4' && value !== 'ipv6' && value !== 'ipv4-mapped-ipv6') {
          throw new Unsupported(line, `--ip_version=${value}`);
        }
        settings.ipVersion = value;
        break;
      default:
        if (!ignoredOptions.has(name)) throw new Unsupported(line, `the option --${name}`);
    }
  }
}

/** An address, perhaps with a prefix length. */
function address(value: string, line: number): string {
  const [plain] = value.split('/');
  if (!isIPv4(plain) && !isIPv6(plain)) throw new Unsupported(line, `the address ${value}`);
  return plain;
}
