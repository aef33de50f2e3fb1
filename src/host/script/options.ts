// setsockopt() and getsockopt() under Linux's names.
import * as L from '../core/layout.js';
import { type CongestionName, congestionAlgorithms } from '../profiles.js';
import { Mismatch, Unsupported, type Value } from './ast.js';
import type { Socket } from './socket.js';
import type { CallContext, SocketView } from './sockets.js';
import { named, namesOf } from './symbols.js';
import { OPT_ID_TCP, stampsSet } from './timestamping.js';
import { fieldOf, member, scalar, textBytes } from './values.js';

const ENOENT = 2;
/** SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF */
const SND_LEAST = 4608;
const RCV_LEAST = 2304;
const NO_LIMIT = 0xffffffff;

function key(level: string, name: string): string {
  return `${named(level)} ${named(name)}`;
}

interface CoreOption {
  readonly option: number;
  /** What one unit of Linux's value is in the core's. */
  readonly factor: number;
  readonly least?: number;
  readonly most?: number;
  /** What Linux says before anything is set, where the core has no handle to ask. */
  readonly initial?: number;
}

/** Options that the core has. */
const coreOptions: ReadonlyMap<string, CoreOption> = new Map([
  [key('SOL_TCP', 'TCP_NODELAY'), { option: L.OPT_NODELAY, factor: 1 }],
  [key('SOL_TCP', 'TCP_CORK'), { option: L.OPT_CORK, factor: 1 }],
  [key('SOL_TCP', 'TCP_QUICKACK'), { option: L.OPT_QUICKACK, factor: 1, initial: 1 }],
  [key('SOL_TCP', 'TCP_KEEPIDLE'), { option: L.OPT_KEEPALIVE_TIME_US, factor: 1e6, least: 1, most: 32767 }],
  [key('SOL_TCP', 'TCP_KEEPINTVL'), { option: L.OPT_KEEPALIVE_INTVL_US, factor: 1e6, least: 1, most: 32767 }],
  [key('SOL_TCP', 'TCP_KEEPCNT'), { option: L.OPT_KEEPALIVE_PROBES, factor: 1, least: 1, most: 127 }],
  [key('SOL_TCP', 'TCP_SYNCNT'), { option: L.OPT_SYN_RETRIES, factor: 1, least: 1, most: 127 }],
  [key('SOL_TCP', 'TCP_USER_TIMEOUT'), { option: L.OPT_USER_TIMEOUT_US, factor: 1000, least: 0 }],
  [key('SOL_TCP', 'TCP_WINDOW_CLAMP'), { option: L.OPT_WINDOW_CLAMP, factor: 1, least: 0 }],
  [key('SOL_TCP', 'TCP_MAXSEG'), { option: L.OPT_MAXSEG, factor: 1, least: 88, most: 32767, initial: 536 }],
  [key('SOL_TCP', 'TCP_DEFER_ACCEPT'), { option: L.OPT_DEFER_ACCEPT, factor: 1e6, least: 0 }],
  [key('SOL_SOCKET', 'SO_KEEPALIVE'), { option: L.OPT_KEEPALIVE, factor: 1 }],
  [key('SOL_IP', 'IP_TOS'), { option: L.OPT_TOS, factor: 1, least: 0, most: 255 }],
  [key('SOL_IPV6', 'IPV6_TCLASS'), { option: L.OPT_TOS, factor: 1, least: 0, most: 255 }],
  [key('SOL_IP', 'IP_TTL'), { option: L.OPT_TTL, factor: 1, least: 1, most: 255, initial: 64 }],
  [key('SOL_IPV6', 'IPV6_UNICAST_HOPS'), { option: L.OPT_TTL, factor: 1, least: 1, most: 255, initial: 64 }],
]);

/** Kept and given back; nothing on the wire depends on them here. */
const keptOptions = new Set([
  ...[
    'SO_REUSEADDR SO_REUSEPORT SO_PRIORITY SO_MARK SO_DEBUG SO_BUSY_POLL SO_PREFER_BUSY_POLL SO_OOBINLINE SO_DONTROUTE',
    'SO_NO_CHECK SO_BROADCAST SO_INCOMING_CPU SO_LOCK_FILTER SO_PASSCRED SO_RXQ_OVFL SO_REUSEPORT_LB SO_TXREHASH',
  ]
    .join(' ')
    .split(' ')
    .filter((name) => namesOf.has(name))
    .map((name) => key('SOL_SOCKET', name)),
  key('SOL_TCP', 'TCP_THIN_DUPACK'),
  key('SOL_IP', 'IP_BIND_ADDRESS_NO_PORT'),
  key('SOL_IP', 'IP_FREEBIND'),
  key('SOL_IP', 'IP_TRANSPARENT'),
  key('SOL_IPV6', 'IPV6_V6ONLY'),
  key('SOL_IPV6', 'IPV6_FREEBIND'),
]);

/** Options of which the core does what these values say, and nothing else. */
const fixedOptions: ReadonlyMap<string, readonly number[]> = new Map([
  [key('SOL_TCP', 'TCP_THIN_LINEAR_TIMEOUTS'), [0]],
  [key('SOL_TCP', 'TCP_SAVE_SYN'), [0]],
  [key('SOL_TCP', 'TCP_TX_DELAY'), [0]],
  [key('SOL_TCP', 'TCP_REPAIR'), [0]],
  [key('SOL_SOCKET', 'SO_MAX_PACING_RATE'), [NO_LIMIT, -1]],
  [key('SOL_IP', 'IP_MTU_DISCOVER'), [1, 2]],
  [key('SOL_IPV6', 'IPV6_MTU_DISCOVER'), [1, 2]],
  [key('SOL_IP', 'IP_RECVERR'), [0]],
  [key('SOL_IPV6', 'IPV6_RECVERR'), [0]],
]);

const LINGER = key('SOL_SOCKET', 'SO_LINGER');
const CONGESTION = key('SOL_TCP', 'TCP_CONGESTION');
const INFO = key('SOL_TCP', 'TCP_INFO');
const NOTSENT_LOWAT = key('SOL_TCP', 'TCP_NOTSENT_LOWAT');
const INQ = key('SOL_TCP', 'TCP_INQ');
const LINGER2 = key('SOL_TCP', 'TCP_LINGER2');
const DEFER_ACCEPT = key('SOL_TCP', 'TCP_DEFER_ACCEPT');
const ZEROCOPY = key('SOL_SOCKET', 'SO_ZEROCOPY');
const RCVLOWAT = key('SOL_SOCKET', 'SO_RCVLOWAT');
const SNDLOWAT = key('SOL_SOCKET', 'SO_SNDLOWAT');
const FASTOPEN = key('SOL_TCP', 'TCP_FASTOPEN');
const FASTOPEN_CONNECT = key('SOL_TCP', 'TCP_FASTOPEN_CONNECT');
const FASTOPEN_NO_COOKIE = key('SOL_TCP', 'TCP_FASTOPEN_NO_COOKIE');
const FASTOPEN_KEY = key('SOL_TCP', 'TCP_FASTOPEN_KEY');
const TIMESTAMPING = key('SOL_SOCKET', 'SO_TIMESTAMPING');
const OPT_ID = named('SOF_TIMESTAMPING_OPT_ID');
const SNDBUF = key('SOL_SOCKET', 'SO_SNDBUF');
const RCVBUF = key('SOL_SOCKET', 'SO_RCVBUF');
const SNDBUFFORCE = key('SOL_SOCKET', 'SO_SNDBUFFORCE');
const RCVBUFFORCE = key('SOL_SOCKET', 'SO_RCVBUFFORCE');

function optionName(x: CallContext): string {
  const names = x.event.args.slice(1, 3).map((arg) => (arg.kind === 'symbol' ? arg.name : scalar(arg)));
  return `the socket option ${names.join(' ')}`;
}

function optionKey(x: CallContext): string {
  const [level, name] = [scalar(x.event.args[1]), scalar(x.event.args[2])];
  if (level === null || name === null) throw new Unsupported(x.line, optionName(x));
  return `${level} ${name}`;
}

/** Sets an option of the core, now or when there is a handle. */
function setInCore(x: CallContext, s: Socket, option: number, value: number): number {
  if (s.handle !== 0) return Math.min(x.machine.core.setOption(s.handle, option, value), 0);
  s.waiting.push([option, value]);
  return 0;
}

export function setOption(x: CallContext, s: Socket, view: SocketView): number {
  const k = optionKey(x);
  // A struct so_timestamping: its flags.
  const [, , , given] = x.event.args;
  const value = k === TIMESTAMPING ? (fieldOf(given, 'flags') ?? given) : given;
  switch (k) {
    case LINGER:
      s.linger = member(value, 'onoff', 'l_onoff') ? (member(value, 'linger', 'l_linger') ?? 0) : null;
      return 0;
    case CONGESTION:
      return setCongestion(x, s, value);
    case FASTOPEN_KEY:
      return setFastOpenKey(x, value);
  }
  const number = scalar(value);
  if (number === null) throw new Unsupported(x.line, optionName(x));
  switch (k) {
    case NOTSENT_LOWAT:
      s.sendLimits.lowWaterBytes = number >>> 0;
      break;
    case INQ:
      if (number < 0 || number > 1) return -L.EINVAL;
      s.tellsQueue = number === 1;
      break;
    case ZEROCOPY:
      if (number < 0 || number > 1) return -L.EINVAL;
      s.zeroCopy.on = number === 1;
      break;
    case RCVLOWAT:
      if (number < 0) return -L.EINVAL;
      s.readLeast = Math.max(number, 1);
      break;
    case SNDLOWAT:
      return -L.ENOPROTOOPT;
    case TIMESTAMPING: {
      const opened = s.state !== 'new' && s.state !== 'listening';
      if (number & OPT_ID && !opened) return -L.EINVAL;
      const acked = s.writtenBytes - (opened ? view.field(s, L.INFO_snd_queued_bytes) : 0);
      if (stampsSet(s.stamps, number, number & OPT_ID_TCP ? s.writtenBytes : acked)) break;
      throw new Unsupported(x.line, `${optionName(x)} set to ${number}`);
    }
    case FASTOPEN:
      if (number < 0 || (s.state !== 'new' && s.state !== 'listening')) return -L.EINVAL;
      s.kept.set(k, number);
      return setInCore(x, s, L.OPT_FAST_OPEN, number);
    case FASTOPEN_CONNECT:
      if (number !== 0 && number !== 1) return -L.EINVAL;
      if ((x.settings.config.fastOpen & L.FAST_OPEN_CLIENT) === 0) return -L.EOPNOTSUPP;
      if (s.state !== 'new') return -L.EINVAL;
      s.fastOpenConnect = number === 1;
      break;
    case FASTOPEN_NO_COOKIE:
      if (number !== 0 && number !== 1) return -L.EINVAL;
      if (s.state !== 'new' && s.state !== 'listening') return -L.EINVAL;
      x.settings.config.fastOpen |= number === 1 ? L.FAST_OPEN_CLIENT_BARE | L.FAST_OPEN_SERVER_BARE : 0;
      x.machine.reconfigure();
      break;
    case LINGER2:
      // A negative value: an orphan does not wait for the peer's FIN at all.
      s.kept.set(k, number < 0 ? -1 : number);
      return setInCore(x, s, L.OPT_FIN_WAIT2_US, number < 0 ? 0 : (number || 60) * 1e6);
    case SNDBUF:
    case SNDBUFFORCE:
      s.sendLimits.lockedBytes = Math.max(2 * limited(number, k === SNDBUF ? x.settings.sndMax : NO_LIMIT), SND_LEAST);
      return 0;
    case RCVBUF:
    case RCVBUFFORCE: {
      const bytes = Math.max(2 * limited(number, k === RCVBUF ? x.settings.rcvMax : NO_LIMIT), RCV_LEAST);
      s.kept.set(RCVBUF, bytes);
      return setInCore(x, s, L.OPT_RCV_BUF_BYTES, bytes / 2);
    }
  }
  return setPlain(x, s, k, number);
}

function limited(value: number, most: number): number {
  return Math.min(value < 0 ? most : value, most, 0x3fffffff);
}

/** Acted on here, and kept for getsockopt(). */
const handled = new Set([
  TIMESTAMPING,
  NOTSENT_LOWAT,
  INQ,
  RCVLOWAT,
  ZEROCOPY,
  FASTOPEN,
  FASTOPEN_CONNECT,
  FASTOPEN_NO_COOKIE,
]);

function setPlain(x: CallContext, s: Socket, k: string, number: number): number {
  if (handled.has(k)) {
    s.kept.set(k, number);
    return 0;
  }
  const option = coreOptions.get(k);
  if (option === undefined) {
    if (keptOptions.has(k)) s.kept.set(k, number);
    else if (!fixedOptions.get(k)?.includes(number)) throw new Unsupported(x.line, `${optionName(x)} set to ${number}`);
    return 0;
  }
  if (option.least !== undefined && number < option.least) return -L.EINVAL;
  if (option.most !== undefined && number > option.most) return -L.EINVAL;
  if (k === DEFER_ACCEPT && s.state !== 'new' && s.state !== 'listening') return 0;
  s.kept.set(k, option.least === undefined ? Number(number !== 0) : number);
  return setInCore(x, s, option.option, number * option.factor);
}

/** 16 or 32 bytes, of which the second half is the key before. */
function setFastOpenKey(x: CallContext, value: Value | undefined): number {
  const bytes = value?.kind === 'string' ? textBytes(value.value).subarray(0, x.number(4)) : null;
  if (bytes === null) throw new Unsupported(x.line, optionName(x));
  if (bytes.length !== 16 && bytes.length !== 32) return -L.EINVAL;
  const words = Array.from({ length: bytes.length / 4 }, (_none, i) => bytes.readUInt32LE(4 * i).toString(16));
  const keys = [words.slice(0, 4).join('-'), words.slice(4).join('-')].filter((key) => key !== '');
  x.settings.config.fastOpenKey = keys.join(',');
  x.machine.reconfigure();
  return 0;
}

function setCongestion(x: CallContext, s: Socket, value: Value | undefined): number {
  const name = value?.kind === 'string' ? value.value : '';
  if (name === 'nosuchcc' || name === '') return -ENOENT;
  if (!Object.hasOwn(congestionAlgorithms, name)) throw new Unsupported(x.line, `the congestion control ${name}`);
  const algorithm = congestionAlgorithms[name as CongestionName];
  s.kept.set(CONGESTION, algorithm);
  return setInCore(x, s, L.OPT_CONGESTION, algorithm);
}

export function getOption(x: CallContext, s: Socket, view: SocketView): number {
  const k = optionKey(x);
  const expected = x.event.args[3];
  if (k === INFO) return 0;
  if (k === FASTOPEN_KEY) return checkFastOpenKey(x, expected);
  if (k === LINGER) {
    const [on, seconds] = [member(expected, 'onoff', 'l_onoff'), member(expected, 'linger', 'l_linger')];
    const actual = [s.linger === null ? 0 : 1, s.linger ?? 0];
    if ((on !== null && on !== actual[0]) || (seconds !== null && seconds !== actual[1])) {
      throw new Mismatch(x.line, `getsockopt gives onoff ${actual[0]}, linger ${actual[1]}`);
    }
    return 0;
  }
  if (k === CONGESTION) {
    const number = s.kept.get(k) ?? x.settings.config.congestion;
    const name = Object.entries(congestionAlgorithms).find(([, value]) => value === number)?.[0];
    if (expected?.kind === 'string' && expected.value !== name) {
      throw new Mismatch(x.line, `getsockopt gives "${name}", not "${expected.value}"`);
    }
    return 0;
  }
  const value = optionValue(x, s, k, view);
  const number = scalar(expected);
  if (number !== null && number >>> 0 !== value >>> 0) {
    throw new Mismatch(x.line, `getsockopt gives ${value}, not ${number}`);
  }
  return 0;
}

function checkFastOpenKey(x: CallContext, expected: Value | undefined): number {
  if (expected?.kind !== 'string') return 0;
  const words = (x.settings.config.fastOpenKey ?? '').split(/[-,]/).map((word) => Number.parseInt(word, 16));
  const bytes = Buffer.alloc(4 * words.length);
  for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, 4 * i);
  if (bytes.equals(textBytes(expected.value))) return 0;
  throw new Mismatch(x.line, `getsockopt gives ${bytes.toString('hex')}`);
}

/** Options that are only read. */
function readOnly(x: CallContext, s: Socket, k: string, view: SocketView): number | null {
  switch (k) {
    case key('SOL_SOCKET', 'SO_ERROR'): {
      const { error } = s;
      s.error = 0;
      return error;
    }
    case key('SOL_SOCKET', 'SO_TYPE'):
      return named('SOCK_STREAM');
    case key('SOL_SOCKET', 'SO_PROTOCOL'):
      return named('IPPROTO_TCP');
    case key('SOL_SOCKET', 'SO_DOMAIN'):
      return named(x.settings.ipVersion === 'ipv4' ? 'AF_INET' : 'AF_INET6');
    case key('SOL_SOCKET', 'SO_ACCEPTCONN'):
      return s.state === 'listening' ? 1 : 0;
    case SNDLOWAT:
      return 1;
    case RCVLOWAT:
      return s.readLeast;
    case key('SOL_IP', 'IP_MTU'):
    case key('SOL_IPV6', 'IPV6_MTU'):
      return s.state === 'connected' ? view.field(s, L.INFO_pmtu) : -1;
    case LINGER2:
      return s.kept.get(k) ?? x.settings.config.finWait2Us / 1e6;
    case NOTSENT_LOWAT:
      return Number.isFinite(s.sendLimits.lowWaterBytes) ? s.sendLimits.lowWaterBytes : 0;
    case SNDBUF:
      return s.sendLimits.lockedBytes ?? s.sendLimits.initialBytes;
    case RCVBUF:
      return s.kept.get(k) ?? 2 * (s.state === 'new' ? x.settings.config.rcvBufBytes : bufferOf(x, s));
  }
  return null;
}

function bufferOf(x: CallContext, s: Socket): number {
  return s.state === 'listening'
    ? x.settings.config.rcvBufBytes
    : x.machine.core.getOption(s.handle, L.OPT_RCV_BUF_BYTES);
}

function optionValue(x: CallContext, s: Socket, k: string, view: SocketView): number {
  const only = readOnly(x, s, k, view);
  if (only !== null) return only;
  const option = coreOptions.get(k);
  if (option !== undefined && s.state === 'connected' && option.initial === undefined) {
    return Math.round(x.machine.core.getOption(s.handle, option.option) / option.factor);
  }
  if (k === key('SOL_TCP', 'TCP_MAXSEG') && s.state === 'connected') return view.field(s, L.INFO_snd_mss);
  if (k === DEFER_ACCEPT && s.state !== 'connected') return retransmissionsEnd(s.kept.get(k) ?? 0);
  const kept =
    s.kept.get(k) ?? option?.initial ?? defaultOf(x, k) ?? (keptOptions.has(k) ? 0 : fixedOptions.get(k)?.[0]);
  if (kept === undefined) throw new Unsupported(x.line, optionName(x));
  return kept;
}

/** Linux keeps TCP_DEFER_ACCEPT as a number of SYN-ACKs: the end of the interval in which the time lies. */
function retransmissionsEnd(seconds: number): number {
  let end = 0;
  for (let interval = 1; end < seconds; interval = Math.min(2 * interval, 120)) end += interval;
  return end;
}

/** What an option is before it is set. */
function defaultOf(x: CallContext, k: string): number | undefined {
  const { config } = x.settings;
  switch (k) {
    case key('SOL_TCP', 'TCP_KEEPIDLE'):
      return config.keepaliveTimeUs / 1e6;
    case key('SOL_TCP', 'TCP_KEEPINTVL'):
      return config.keepaliveIntvlUs / 1e6;
    case key('SOL_TCP', 'TCP_KEEPCNT'):
      return config.keepaliveProbes;
    case key('SOL_TCP', 'TCP_SYNCNT'):
      return config.synRetries;
  }
  return coreOptions.has(k) || handled.has(k) ? 0 : undefined;
}
