// Sysctls of scripts, as far as they mean something to the core.
import * as L from '../core/layout.js';
import { type CongestionName, congestionAlgorithms } from '../profiles.js';
import { Unsupported } from './ast.js';
import { type Settings, windowOf } from './settings.js';

const SECOND_US = 1_000_000;
const FAST_OPEN_BITS =
  L.FAST_OPEN_CLIENT | L.FAST_OPEN_SERVER | L.FAST_OPEN_CLIENT_BARE | L.FAST_OPEN_SERVER_BARE | L.FAST_OPEN_ALL;

/** False for a value that the core cannot follow. */
type Apply = (settings: Settings, value: string) => boolean;

type Config = Settings['config'];

function flag(field: 'flags' | 'tcpFlags', bit: number): Apply {
  return ({ config }, value) => {
    config[field] = Number(value) === 0 ? config[field] & ~bit : config[field] | bit;
    return true;
  };
}

type NumberField = { [K in keyof Config]-?: Config[K] extends number ? K : never }[keyof Config];

function numberOf(field: NumberField, factor = 1): Apply {
  return ({ config }, value) => {
    config[field] = Number(value) * factor;
    return Number.isFinite(config[field]);
  };
}

/** Least, initial and largest memory of a buffer. */
function memory(value: string): [number, number] | null {
  const [, initial, most] = value
    .trim()
    .split(/[\s,]+/)
    .map(Number);
  return initial > 0 && most > 0 ? [Math.min(initial, 0x3fffffff), Math.min(most, 0x3fffffff)] : null;
}

const receiveMemory: Apply = (settings, value) => {
  const bytes = memory(value);
  if (bytes === null) return false;
  settings.config.rcvBufBytes = windowOf(bytes[0]);
  settings.rcvMem = bytes;
  receiveMost(settings);
  return true;
};

/** What the window scale is for: as much as autotuning or the application may make of the buffer. */
function receiveMost(settings: Settings): void {
  settings.config.rcvBufMaxBytes = Math.max(...settings.rcvMem, settings.rcvMax);
}

const sendMemory: Apply = (settings, value) => {
  const bytes = memory(value);
  if (bytes !== null) settings.sndMem = bytes;
  return bytes !== null;
};

function limit(field: 'sndMax' | 'rcvMax'): Apply {
  return (settings, value) => {
    settings[field] = Number(value);
    receiveMost(settings);
    return settings[field] > 0;
  };
}

const ECN_BITS: Readonly<Record<string, number>> = {
  0: 0,
  1: L.CFGF_ECN_ACCEPT | L.CFGF_ECN_REQUEST,
  2: L.CFGF_ECN_ACCEPT,
};

const ecn: Apply = ({ config }, value) => {
  const bits = ECN_BITS[value.trim()];
  if (bits === undefined) return false;
  config.tcpFlags = (config.tcpFlags & ~(L.CFGF_ECN_ACCEPT | L.CFGF_ECN_REQUEST)) | bits;
  return true;
};

const congestion: Apply = ({ config }, value) => {
  const name = value.trim();
  if (!Object.hasOwn(congestionAlgorithms, name)) return false;
  config.congestion = congestionAlgorithms[name as CongestionName];
  return true;
};

const idleWindow: Apply = ({ config }, value) => {
  config.tcpFlags = Number(value) === 0 ? config.tcpFlags | L.CFGF_IDLE_WINDOW : config.tcpFlags & ~L.CFGF_IDLE_WINDOW;
  return true;
};

const fastOpen: Apply = ({ config }, value) => {
  // Higher bits say nothing that a packet would show.
  config.fastOpen = Number(value) & FAST_OPEN_BITS;
  return Number.isInteger(Number(value));
};

const fastOpenKey: Apply = (settings, value) => {
  if (!/^[\da-f]{1,8}(-[\da-f]{1,8}){3}(,[\da-f]{1,8}(-[\da-f]{1,8}){3})?$/i.test(value)) return false;
  settings.fastOpenKey = value;
  settings.config.fastOpenKey = value;
  return true;
};

const oneOf =
  (...values: string[]): Apply =>
  (_settings, value) =>
    values.includes(value.trim());

const table: Readonly<Record<string, Apply>> = {
  'net.ipv4.tcp_timestamps': flag('flags', L.CFGF_TIMESTAMPS),
  'net.ipv4.tcp_sack': flag('flags', L.CFGF_SACK),
  'net.ipv4.tcp_window_scaling': flag('flags', L.CFGF_WINDOW_SCALE),
  'net.ipv4.tcp_early_retrans': flag('tcpFlags', L.CFGF_TLP),
  'net.ipv4.tcp_frto': flag('tcpFlags', L.CFGF_FRTO),
  'net.ipv4.tcp_rmem': receiveMemory,
  'net.ipv4.tcp_wmem': sendMemory,
  'net.core.wmem_max': limit('sndMax'),
  'net.core.rmem_max': limit('rcvMax'),
  'net.ipv4.tcp_syn_retries': numberOf('synRetries'),
  'net.ipv4.tcp_syn_linear_timeouts': numberOf('synLinear'),
  'net.ipv4.tcp_synack_retries': numberOf('synackRetries'),
  'net.ipv4.tcp_retries2': numberOf('retries'),
  'net.ipv4.tcp_fin_timeout': numberOf('finWait2Us', SECOND_US),
  'net.ipv4.tcp_keepalive_time': numberOf('keepaliveTimeUs', SECOND_US),
  'net.ipv4.tcp_keepalive_intvl': numberOf('keepaliveIntvlUs', SECOND_US),
  'net.ipv4.tcp_keepalive_probes': numberOf('keepaliveProbes'),
  'net.ipv4.tcp_rto_min_us': numberOf('rtoMinUs'),
  'net.ipv4.tcp_rto_max_ms': numberOf('rtoMaxUs', 1000),
  'net.ipv4.tcp_ecn': ecn,
  'net.ipv4.tcp_congestion_control': congestion,
  'net.ipv4.tcp_slow_start_after_idle': idleWindow,
  'net.ipv4.tcp_fastopen': fastOpen,
  'net.ipv4.tcp_fastopen_key': fastOpenKey,
  'net.ipv4.tcp_mtu_probing': oneOf('0'),
  'net.ipv4.tcp_dsack': oneOf('1'),
  'net.ipv4.tcp_reordering': oneOf('3'),
  'net.ipv4.tcp_syncookies': numberOf('synCookies'),
  'net.ipv4.tcp_abort_on_overflow': oneOf('0'),
  'net.ipv4.tcp_stdurg': oneOf('0'),
  'net.ipv4.tcp_thin_linear_timeouts': oneOf('0'),
  'net.ipv4.tcp_shrink_window': oneOf('0'),
  'net.ipv4.tcp_adv_win_scale': oneOf('1'),
  'net.ipv4.tcp_workaround_signed_windows': oneOf('0'),
  'net.ipv4.tcp_recovery': oneOf('1'),
  'net.ipv4.tcp_migrate_req': oneOf('0'),
  'net.ipv4.ip_no_pmtu_disc': oneOf('0'),
  'net.ipv4.ip_default_ttl': oneOf('64'),
  'net.ipv4.ip_nonlocal_bind': oneOf('0', '1'),
};

/** About things that this stack does not do in the first place, or whose effect no packet shows. */
const ignored = new Set(
  (
    'no_metrics_save no_ssthresh_metrics_save autocorking limit_output_bytes min_tso_segs fack tso_win_divisor ' +
    'tso_rtt_log pacing_ss_ratio pacing_ca_ratio moderate_rcvbuf fastopen_blackhole_timeout_sec ' +
    'probe_interval probe_threshold base_mss min_snd_mss mtu_probe_floor ecn_fallback challenge_ack_limit ' +
    'invalid_ratelimit mem max_syn_backlog retries1 orphan_retries comp_sack_nr comp_sack_delay_ns ' +
    'comp_sack_slack_ns min_rtt_wlen early_demux backlog_ack_defer max_tw_buckets tw_reuse tw_reuse_delay ' +
    'available_congestion_control allowed_congestion_control notsent_lowat max_reordering max_orphans max_ssthresh ' +
    'plb_enabled ehash_entries child_ehash_entries reflect_tos l3mdev_accept rfc1337 app_win fwmark_accept ' +
    'pingpong_thresh rto_init_ms tcp_ecn_option_beacon ecn_option ecn_option_beacon'
  )
    .split(' ')
    .map((name) => `net.ipv4.tcp_${name}`)
    .concat(
      'rmem_default wmem_default somaxconn default_qdisc optmem_max netdev_max_backlog busy_poll busy_read tstamp_allow_data'
        .split(' ')
        .map((name) => `net.core.${name}`),
    ),
);

/** Whatever stands below these concerns the host: routes, neighbours, filters, the kernel itself. */
const ignoredBranches =
  /^(?:kernel|vm|fs|net\.ipv[46]\.(?:conf|neigh|route)|net\.netfilter|net\.mptcp|net\.ipv4\.(?:ping|icmp|ip_local_(?:port_range|reserved_ports))|net\.ipv6\.(?:ip6frag|auto_flowlabels|flowlabel))/;

/** Throws Unsupported. */
export function applySysctl(settings: Settings, name: string, value: string, line: number): void {
  if (ignored.has(name) || ignoredBranches.test(name)) return;
  const apply = Object.hasOwn(table, name) ? table[name] : undefined;
  if (apply === undefined) throw new Unsupported(line, `the sysctl ${name}`);
  if (!apply(settings, value)) throw new Unsupported(line, `the sysctl ${name} set to ${value}`);
}
