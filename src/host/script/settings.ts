// What a script sets up before its first event: option lines and sysctls. The core is configured once, from this.
import type { CoreConfig } from '../core/core.js';
import * as L from '../core/layout.js';
import { type CongestionName, congestionAlgorithms, profiles } from '../profiles.js';
import { type Script, Unsupported } from './ast.js';

export interface Settings {
  toleranceUs: number;
  localIp: string;
  remoteIp: string;
  gatewayIp: string;
  bindPort: number;
  connectPort: number;
  /** Microseconds of one tick of TS val; 0 leaves the values unchecked. */
  tsTickUs: number;
  config: Omit<CoreConfig, 'mac'>;
}

/** Linux's defaults: net.ipv4.tcp_rmem[2] and tcp_wmem[2]. */
const RCV_BUF_BYTES = 6_291_456;
const SND_BUF_BYTES = 4_194_304;
/** What the defaults.sh that scripts run first makes of tcp_rmem[2]: a window scale of 8. */
const SCRIPT_RCV_BUF_BYTES = 15_728_640;

export function defaultSettings(): Settings {
  return {
    toleranceUs: 4000,
    localIp: '192.168.0.1',
    remoteIp: '192.0.2.1',
    gatewayIp: '192.168.0.2',
    bindPort: 8080,
    connectPort: 8080,
    tsTickUs: 0,
    config: {
      ...profiles.linux,
      seed: 1n,
      maxConnections: 64,
      maxListeners: 8,
      rxRing: 256,
      txRing: 4096,
      eventRing: 256,
      segmentRecords: 8192,
      sndBufBytes: SND_BUF_BYTES,
      rcvBufBytes: RCV_BUF_BYTES,
      portLo: 32768,
      portHi: 60999,
      maxNeighbours: 16,
      maxRoutes: 16,
      oooObjects: 128,
      zones: 20,
      rxZones: 8,
      flags: L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE,
      mtu: 1500,
    },
  };
}

/** Options that say something about packetdrill's own process and nothing about the stack. */
const ignoredOptions = new Set(
  (
    'code_command code_format code_sockopt speed verbose dry_run non_fatal netmask_ip strict_segments debug so_filename ' +
    'so_flags tcp_ts_ecr_scaled persistent_tun_dev no_cleanup init_scripts is_anyip send_omit_free'
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
        settings.localIp = ipv4(value, line);
        break;
      case 'remote_ip':
        settings.remoteIp = ipv4(value, line);
        break;
      case 'gateway_ip':
        settings.gatewayIp = ipv4(value, line);
        break;
      case 'ip_version':
        if (value !== 'ipv4') throw new Unsupported(line, `--ip_version=${value}: the core speaks IPv4 only`);
        break;
      default:
        if (!ignoredOptions.has(name)) throw new Unsupported(line, `the option --${name}`);
    }
  }
}

function ipv4(value: string, line: number): string {
  if (!/^\d+(\.\d+){3}$/.test(value)) throw new Unsupported(line, `the address ${value}: the core speaks IPv4 only`);
  return value;
}

const SECOND_US = 1_000_000;

type Apply = (config: Settings['config'], value: string) => boolean;

function flag(bit: number): Apply {
  return (config, value) => {
    const field = bit & (L.CFGF_TLP | L.CFGF_FRTO) ? 'tcpFlags' : 'flags';
    config[field] = Number(value) === 0 ? config[field] & ~bit : config[field] | bit;
    return true;
  };
}

type NumberField = {
  [K in keyof Settings['config']]: Settings['config'][K] extends number ? K : never;
}[keyof Settings['config']];

function numberOf(field: NumberField, factor = 1): Apply {
  return (config, value) => {
    config[field] = Number(value) * factor;
    return Number.isFinite(config[field]);
  };
}

/** The last of three numbers: the limit that the buffer grows to. */
function limitOf(field: 'rcvBufBytes' | 'sndBufBytes'): Apply {
  return (config, value) => {
    const limit = Number(value.trim().split(/\s+/)[2]);
    if (!(limit >= 2048)) return false;
    config[field] = limit;
    if (field === 'rcvBufBytes') config.rcvBufMaxBytes = limit;
    return true;
  };
}

const oneOf =
  (...values: string[]): Apply =>
  (_config, value) =>
    values.includes(value.trim());

const ecn: Apply = (config, value) => {
  const bits: Record<string, number> = { 0: 0, 1: L.CFGF_ECN_ACCEPT | L.CFGF_ECN_REQUEST, 2: L.CFGF_ECN_ACCEPT };
  const chosen = bits[value.trim()];
  config.tcpFlags = (config.tcpFlags & ~bits[1]) | (chosen ?? 0);
  return chosen !== undefined;
};

const congestion: Apply = (config, value) => {
  const name = value.trim();
  if (!Object.hasOwn(congestionAlgorithms, name)) return false;
  config.congestion = congestionAlgorithms[name as CongestionName];
  return true;
};

/** Values that change nothing here, and those that mean something. A false result is an unsupported value. */
const sysctls: Readonly<Record<string, Apply>> = {
  'net.ipv4.tcp_timestamps': flag(L.CFGF_TIMESTAMPS),
  'net.ipv4.tcp_sack': flag(L.CFGF_SACK),
  'net.ipv4.tcp_window_scaling': flag(L.CFGF_WINDOW_SCALE),
  'net.ipv4.tcp_rmem': limitOf('rcvBufBytes'),
  'net.ipv4.tcp_wmem': limitOf('sndBufBytes'),
  'net.ipv4.tcp_syn_retries': numberOf('synRetries'),
  'net.ipv4.tcp_synack_retries': numberOf('synackRetries'),
  'net.ipv4.tcp_retries2': numberOf('retries'),
  'net.ipv4.tcp_fin_timeout': numberOf('finWait2Us', SECOND_US),
  'net.ipv4.tcp_keepalive_time': numberOf('keepaliveTimeUs', SECOND_US),
  'net.ipv4.tcp_keepalive_intvl': numberOf('keepaliveIntvlUs', SECOND_US),
  'net.ipv4.tcp_keepalive_probes': numberOf('keepaliveProbes'),
  'net.ipv4.tcp_rto_min_us': numberOf('rtoMinUs'),
  'net.ipv4.tcp_rto_max_ms': numberOf('rtoMaxUs', 1000),
  'net.ipv4.tcp_ecn': ecn,
  'net.ipv4.tcp_early_retrans': flag(L.CFGF_TLP),
  'net.ipv4.tcp_frto': flag(L.CFGF_FRTO),
  'net.ipv4.tcp_dsack': oneOf('1'),
  'net.ipv4.tcp_congestion_control': congestion,
  'net.ipv4.tcp_fastopen': oneOf('0'),
  'net.ipv4.tcp_mtu_probing': oneOf('0'),
  'net.ipv4.tcp_reordering': oneOf('3'),
  'net.ipv4.tcp_syncookies': oneOf('0', '1'),
  'net.ipv4.tcp_slow_start_after_idle': oneOf('1'),
  'net.ipv4.tcp_abort_on_overflow': oneOf('0'),
  'net.ipv4.tcp_stdurg': oneOf('0'),
};

/** Sysctls about things that this stack does not do in the first place, or whose effect no packet shows. */
const ignoredSysctls = new Set(
  (
    'tcp_no_metrics_save tcp_no_ssthresh_metrics_save tcp_autocorking tcp_limit_output_bytes tcp_min_tso_segs tcp_fack ' +
    'tcp_tso_win_divisor tcp_tso_rtt_log tcp_pacing_ss_ratio tcp_pacing_ca_ratio tcp_moderate_rcvbuf ' +
    'tcp_fastopen_key tcp_fastopen_blackhole_timeout_sec tcp_probe_interval tcp_probe_threshold tcp_base_mss tcp_ecn_fallback ' +
    'tcp_adv_win_scale tcp_recovery tcp_challenge_ack_limit tcp_invalid_ratelimit tcp_mem ' +
    'tcp_max_syn_backlog tcp_retries1 tcp_orphan_retries tcp_comp_sack_nr tcp_comp_sack_delay_ns tcp_comp_sack_slack_ns tcp_min_rtt_wlen tcp_thin_linear_timeouts tcp_early_demux tcp_backlog_ack_defer tcp_pingpong_thresh tcp_max_tw_buckets tcp_tw_reuse tcp_workaround_signed_windows tcp_shrink_window tcp_available_congestion_control'
  )
    .split(' ')
    .map((name) => `net.ipv4.${name}`)
    .concat([
      'net.core.rmem_max',
      'net.core.wmem_max',
      'net.core.somaxconn',
      'net.core.default_qdisc',
      'net.core.optmem_max',
    ]),
);

/** Runs one shell block. Returns the microseconds it sleeps. Throws Unsupported for what has no meaning here. */
export function applyShell(settings: Settings, text: string, line: number, fixed: boolean): number {
  let sleepUs = 0;
  for (const command of products(text)
    .split(/\n|;|&&/)
    .map((part) => part.trim())) {
    if (command === '' || command.startsWith('#')) continue;
    const sleep = /^sleep\s+([\d.]+)$/.exec(command);
    if (sleep !== null) {
      sleepUs += Number(sleep[1]) * SECOND_US;
      continue;
    }
    if (/^(?:source\s+|\.\s+)?\S*\bdefaults\.sh$/.test(command)) {
      if (!fixed) settings.config.rcvBufBytes = SCRIPT_RCV_BUF_BYTES;
      continue;
    }
    const set = assignments(command);
    if (set !== null) for (const [name, value] of set) applySysctl(settings, name, value, line, fixed);
    else if (!harmless(command) && !applyRoute(settings, command, fixed)) {
      throw new Unsupported(line, `the shell command "${command.slice(0, 60)}"`);
    }
  }
  return sleepUs;
}

/** `$((15*1024*1024))` by its value. */
function products(text: string): string {
  return text.replace(/\$\(\(([\d*\s]+)\)\)/g, (_all, factors: string) =>
    String(factors.split('*').reduce((product, factor) => product * Number(factor), 1)),
  );
}

/** `sysctl -w name=value …`, `echo value > /proc/sys/name`, and programs that take /proc/sys/name=value. */
function assignments(command: string): [string, string][] | null {
  const dotted = (path: string): string => path.replace(/^\/proc\/sys\//, '').replaceAll('/', '.');
  const echo = /^echo\s+(?:-n\s+)?(.*?)\s*>\s*(\/proc\/sys\/\S+)$/.exec(command);
  if (echo !== null) return [[dotted(echo[2]), echo[1].replace(/^["']|["']$/g, '')]];
  if (!/^(?:sysctl\b|\S*set_sysctls\.py\b)/.test(command)) return null;
  const pairs = command.matchAll(/([\w./-]*[\w])\s*=\s*("[^"]*"|'[^']*'|\S+)/g);
  return [...pairs].map((pair) => [dotted(pair[1]), pair[2].replace(/^["']|["']$/g, '')]);
}

/** Commands that prepare or clean up a Linux host. */
function harmless(command: string): boolean {
  return (
    /^(?:\S*\/)?(?:sysctl_restore\S*|set_sysctls\.py)\s*$/.test(command) ||
    /^(?:ethtool -K|tc qdisc (?:add|replace|change|del) dev \S+ root(?:$| (?:fq|pfifo|pfifo_fast|fq_codel)\b)|ip tcp_metrics|true$)/.test(
      command,
    )
  );
}

/** `ip route change … rto_min 4ms initcwnd 20`. */
function applyRoute(settings: Settings, command: string, fixed: boolean): boolean {
  if (!/^ip (?:-4 )?route (?:change|replace|add)\b/.test(command)) return false;
  const { config } = settings;
  const known = command
    .replace(/\brto_min (\d+)(ms|s)?/, (_all, value: string, unit?: string) => {
      config.rtoMinUs = Number(value) * (unit === 's' ? SECOND_US : 1000);
      return '';
    })
    .replace(/\binitcwnd (\d+)/, (_all, value: string) => {
      config.initCwndSegments = Number(value);
      return '';
    });
  return (
    known !== command &&
    !fixed &&
    !/\b(?:mtu|initrwnd|advmss|quickack|cwnd|ssthresh|rtt|features|congctl)\b/.test(known)
  );
}

function applySysctl(settings: Settings, name: string, value: string, line: number, fixed: boolean): void {
  if (ignoredSysctls.has(name)) return;
  const apply = Object.hasOwn(sysctls, name) ? sysctls[name] : undefined;
  if (apply === undefined) throw new Unsupported(line, `the sysctl ${name}`);
  const before = { ...settings.config };
  if (!apply(settings.config, value)) throw new Unsupported(line, `the sysctl ${name} set to ${value}`);
  const changed = Object.entries(before).some(([key, old]) => settings.config[key as keyof typeof before] !== old);
  if (fixed && changed) throw new Unsupported(line, `changing the sysctl ${name} while the script runs`);
}
