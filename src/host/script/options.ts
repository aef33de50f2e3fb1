// setsockopt() and getsockopt() under Linux's names.
import * as L from '../core/layout.js';
import { Mismatch, Unsupported, type Value } from './ast.js';
import type { CallContext, Socket } from './sockets.js';
import { scalar } from './sockets.js';
import { named } from './symbols.js';

interface CoreOption {
  readonly option: number;
  /** What one unit of Linux's value is in the core's. */
  readonly factor: number;
}

function key(level: string, name: string): string {
  return `${named(level)} ${named(name)}`;
}

/** Options that the core has. */
const coreOptions: ReadonlyMap<string, CoreOption> = new Map([
  [key('SOL_TCP', 'TCP_NODELAY'), { option: L.OPT_NODELAY, factor: 1 }],
  [key('SOL_TCP', 'TCP_KEEPIDLE'), { option: L.OPT_KEEPALIVE_TIME_US, factor: 1_000_000 }],
  [key('SOL_TCP', 'TCP_USER_TIMEOUT'), { option: L.OPT_USER_TIMEOUT_US, factor: 1000 }],
  [key('SOL_TCP', 'TCP_QUICKACK'), { option: L.OPT_QUICKACK, factor: 1 }],
  [key('SOL_SOCKET', 'SO_KEEPALIVE'), { option: L.OPT_KEEPALIVE, factor: 1 }],
  [key('SOL_SOCKET', 'SO_SNDBUF'), { option: L.OPT_SND_BUF_BYTES, factor: 1 }],
  [key('SOL_SOCKET', 'SO_RCVBUF'), { option: L.OPT_RCV_BUF_BYTES, factor: 1 }],
]);

/** Linux reserves twice the buffer asked for and reports that. */
const doubled = new Set([key('SOL_SOCKET', 'SO_SNDBUF'), key('SOL_SOCKET', 'SO_RCVBUF')]);

/** Kept and given back; nothing on the wire depends on them here. */
const keptOptions = new Set([
  ...['SO_REUSEADDR', 'SO_REUSEPORT', 'SO_PRIORITY', 'SO_MARK', 'SO_DEBUG', 'SO_BUSY_POLL'].map((name) =>
    key('SOL_SOCKET', name),
  ),
  key('SOL_IP', 'IP_BIND_ADDRESS_NO_PORT'),
]);

/** Options of which the core does what this value says, and nothing else. */
const fixedOptions: ReadonlyMap<string, readonly number[]> = new Map([
  [key('SOL_TCP', 'TCP_CORK'), [0]],
  [key('SOL_TCP', 'TCP_FASTOPEN'), [0]],
  [key('SOL_TCP', 'TCP_DEFER_ACCEPT'), [0]],
  [key('SOL_IP', 'IP_TOS'), [0]],
  [key('SOL_IP', 'IP_TTL'), [64]],
  [key('SOL_IP', 'IP_MTU_DISCOVER'), [1, 2]],
]);

const LINGER = key('SOL_SOCKET', 'SO_LINGER');
const CONGESTION = key('SOL_TCP', 'TCP_CONGESTION');
const INFO = key('SOL_TCP', 'TCP_INFO');

function optionName(x: CallContext): string {
  const names = x.event.args.slice(1, 3).map((arg) => (arg.kind === 'symbol' ? arg.name : scalar(arg)));
  return `the socket option ${names.join(' ')}`;
}

function optionKey(x: CallContext): string {
  const [level, name] = [scalar(x.event.args[1]), scalar(x.event.args[2])];
  if (level === null || name === null) throw new Unsupported(x.line, optionName(x));
  return `${level} ${name}`;
}

function member(value: Value | undefined, ...names: string[]): number {
  const found = value?.kind === 'struct' ? names.map((name) => value.fields.get(name)).find((v) => v) : undefined;
  return scalar(found) ?? 0;
}

export function setOption(x: CallContext, s: Socket): number {
  const k = optionKey(x);
  const value = x.event.args[3];
  if (k === LINGER) {
    s.linger = member(value, 'onoff', 'l_onoff') ? member(value, 'linger', 'l_linger') : null;
    return 0;
  }
  if (k === CONGESTION) {
    if (value?.kind === 'string' && value.value === 'reno') return 0;
    throw new Unsupported(x.line, `the congestion control ${value?.kind === 'string' ? value.value : '?'}`);
  }
  const number = scalar(value);
  if (number === null) throw new Unsupported(x.line, optionName(x));
  const option = coreOptions.get(k);
  if (option !== undefined) {
    const inCore = number * option.factor;
    if (s.handle !== 0) return x.machine.core.setOption(s.handle, option.option, inCore);
    s.waiting.push([option.option, inCore]);
    s.kept.set(k, number);
    return 0;
  }
  if (keptOptions.has(k)) s.kept.set(k, number);
  else if (!fixedOptions.get(k)?.includes(number)) throw new Unsupported(x.line, `${optionName(x)} set to ${number}`);
  return 0;
}

export function getOption(x: CallContext, s: Socket, field: (s: Socket, at: number) => number): number {
  const k = optionKey(x);
  const value = optionValue(x, s, k, field);
  const expected = scalar(x.event.args[3]);
  if (expected !== null && value !== null && expected !== value) {
    throw new Mismatch(x.line, `getsockopt gives ${value}, not ${expected}`);
  }
  return 0;
}

function optionValue(x: CallContext, s: Socket, k: string, field: (s: Socket, at: number) => number): number | null {
  if (k === INFO) return null;
  if (k === key('SOL_SOCKET', 'SO_ERROR')) {
    const { error } = s;
    s.error = 0;
    return error;
  }
  if (k === key('SOL_TCP', 'TCP_MAXSEG') && s.handle !== 0) return field(s, L.INFO_snd_mss);
  if (k === key('SOL_SOCKET', 'SO_TYPE')) return named('SOCK_STREAM');
  if (k === key('SOL_SOCKET', 'SO_ACCEPTCONN')) return s.state === 'listening' ? 1 : 0;
  const option = coreOptions.get(k);
  if (option === undefined || s.handle === 0) {
    const kept = s.kept.get(k) ?? (keptOptions.has(k) ? 0 : fixedOptions.get(k)?.[0]);
    if (kept === undefined) throw new Unsupported(x.line, optionName(x));
    return kept;
  }
  const value = x.machine.core.getOption(s.handle, option.option) / option.factor;
  return doubled.has(k) ? value * 2 : value;
}
