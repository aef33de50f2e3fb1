// The argument forms of connect() and listen(), brought to one.
import type { LookupFunction } from 'node:net';
import { isIP } from 'node:net';
import {
  codeError,
  invalidArgType,
  invalidArgValue,
  validFunction,
  validPort,
  validSignal,
  validTimeoutMs,
} from './errors.js';

/** What `onread` of a connection is: received bytes go into the caller's buffer instead of 'data' events. */
export interface OnReadOptions {
  buffer: Uint8Array | (() => Uint8Array);
  /** Called with the bytes written to the front of the buffer; `false` pauses the socket. */
  callback(bytesRead: number, buffer: Uint8Array): boolean | undefined;
}

export interface SocketOptions {
  /** Keep the writable side open when the peer has ended its own. */
  allowHalfOpen?: boolean | undefined;
  signal?: AbortSignal | undefined;
  noDelay?: boolean | undefined;
  /** As setUserTimeout(): milliseconds. */
  userTimeout?: number | undefined;
  keepAlive?: boolean | undefined;
  /** Milliseconds of silence before the first keepalive probe. */
  keepAliveInitialDelay?: number | undefined;
  onread?: OnReadOptions | undefined;
  /** Bytes a socket buffers on each side in JavaScript before it pushes back. */
  highWaterMark?: number | undefined;
}

export interface ConnectOptions extends SocketOptions {
  port: number | string;
  /** An IP address or a name to look up; 'localhost' without it, as in node:net. */
  host?: string | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
  family?: number | string | undefined;
  hints?: number | undefined;
  lookup?: LookupFunction | undefined;
  /** Idle timeout in milliseconds, as setTimeout(). */
  timeout?: number | undefined;
  /** Accepted and without effect: lunet tries the address that lookup gave first. */
  autoSelectFamily?: boolean | undefined;
  autoSelectFamilyAttemptTimeout?: number | undefined;
}

export interface ListenOptions {
  port?: number | string | undefined;
  host?: string | undefined;
  backlog?: number | undefined;
  signal?: AbortSignal | undefined;
  exclusive?: boolean | undefined;
  ipv6Only?: boolean | undefined;
}

export interface ServerOptions {
  allowHalfOpen?: boolean | undefined;
  /** Accepted sockets start paused. */
  pauseOnConnect?: boolean | undefined;
  noDelay?: boolean | undefined;
  keepAlive?: boolean | undefined;
  keepAliveInitialDelay?: number | undefined;
  highWaterMark?: number | undefined;
}

export interface Normalized<T> {
  options: T;
  callback: (() => void) | null;
}

type Callback = () => void;

function lastFunction(args: readonly unknown[]): Callback | null {
  const last = args[args.length - 1];
  return typeof last === 'function' ? (last as Callback) : null;
}

function noPipes(path: unknown): never {
  throw invalidArgValue(
    'path',
    path,
    'is a pipe or UNIX socket, which lunet does not carry: give a port, or use node:net',
  );
}

function looksLikePath(value: unknown): boolean {
  return typeof value === 'string' && !/^\s*\d+\s*$/.test(value) && value.trim() !== '';
}

/** `connect(options[, cb])`, `connect(port[, host][, cb])`. Throws what node:net throws for bad arguments. */
export function connectArguments(args: readonly unknown[]): Normalized<ConnectOptions> {
  const callback = lastFunction(args);
  const first = args[0];
  let options: ConnectOptions;
  if (first !== null && typeof first === 'object') {
    options = { ...(first as ConnectOptions) };
    const path = (first as { path?: unknown }).path;
    // http.request() without an agent passes its URL path along with the port: the port decides.
    if ((options.port === undefined || options.port === null) && path) noPipes(path);
  } else if (looksLikePath(first)) {
    noPipes(first);
  } else {
    options = { port: first as number };
    if (typeof args[1] === 'string') options.host = args[1];
    else if (args[1] !== undefined && args[1] !== null && typeof args[1] !== 'function') {
      throw invalidArgType('options.host', 'of type string', args[1]);
    }
  }
  if (options.port === undefined || options.port === null) {
    throw Object.assign(new TypeError('The "options" or "port" argument must be specified'), {
      code: 'ERR_MISSING_ARGS',
    });
  }
  if (typeof options.port !== 'number' && typeof options.port !== 'string') {
    throw invalidArgType('options.port', 'of type number or string', options.port);
  }
  options.port = validPort(options.port, 'options.port');
  if (options.host !== undefined && options.host !== null && typeof options.host !== 'string') {
    throw invalidArgType('options.host', 'of type string', options.host);
  }
  if (options.localAddress !== undefined && options.localAddress !== null && !isIP(options.localAddress)) {
    throw Object.assign(new TypeError(`Invalid IP address: ${String(options.localAddress)}`), {
      code: 'ERR_INVALID_IP_ADDRESS',
    });
  }
  if (options.localPort !== undefined && options.localPort !== null) {
    if (typeof options.localPort !== 'number') {
      throw invalidArgType('options.localPort', 'of type number', options.localPort);
    }
    validPort(options.localPort, 'options.localPort');
  }
  if (options.lookup !== undefined) validFunction(options.lookup, 'options.lookup');
  if (options.timeout !== undefined) validTimeoutMs(options.timeout, 'options.timeout');
  return { options, callback };
}

/** Validates what a socket is made with. */
export function socketOptions(options: SocketOptions | undefined): SocketOptions {
  if (options === undefined || options === null) return {};
  if (typeof options !== 'object') throw invalidArgType('options', 'of type object', options);
  const { fd, objectMode, readableObjectMode, writableObjectMode } = options as {
    fd?: unknown;
    objectMode?: unknown;
    readableObjectMode?: unknown;
    writableObjectMode?: unknown;
  };
  if (fd !== undefined) {
    throw invalidArgValue('options.fd', fd, 'is a kernel descriptor, which lunet does not carry: use node:net');
  }
  if (objectMode || readableObjectMode || writableObjectMode) {
    throw invalidArgValue('options.objectMode', true, 'is not supported: a socket carries bytes');
  }
  if (options.signal !== undefined) validSignal(options.signal, 'options.signal');
  if (options.onread !== undefined && options.onread !== null) {
    const { buffer, callback } = options.onread;
    if (!(buffer instanceof Uint8Array) && typeof buffer !== 'function') {
      throw invalidArgType('options.onread.buffer', 'an instance of Uint8Array or a function', buffer);
    }
    validFunction(callback, 'options.onread.callback');
  }
  if (options.userTimeout !== undefined) validTimeoutMs(options.userTimeout, 'options.userTimeout');
  if (options.keepAliveInitialDelay !== undefined) {
    validTimeoutMs(options.keepAliveInitialDelay, 'options.keepAliveInitialDelay');
  }
  return options;
}

/** `listen([port[, host[, backlog]]][, cb])`, `listen(options[, cb])`. */
export function listenArguments(args: readonly unknown[]): Normalized<ListenOptions & { port: number }> {
  const callback = lastFunction(args);
  const first = args[0];
  let options: ListenOptions;
  if (first !== null && typeof first === 'object') {
    options = { ...(first as ListenOptions) };
    if ('fd' in options || '_handle' in options) {
      throw invalidArgValue('options', first, 'names a kernel descriptor, which lunet does not carry: use node:net');
    }
    const path = (first as { path?: unknown }).path;
    if (options.port === undefined && path !== undefined) noPipes(path);
    if (options.port === undefined && !('port' in options)) {
      throw invalidArgValue('options', first, 'must have the property "port"');
    }
  } else if (looksLikePath(first)) {
    noPipes(first);
  } else {
    options = {};
    if (typeof first === 'boolean') throw invalidArgValue('options', first, 'is not a port');
    if (typeof first !== 'function' && first !== undefined) options.port = first as number;
    const rest = args.slice(1).filter((arg) => typeof arg !== 'function' && arg !== undefined && arg !== null);
    if (typeof rest[0] === 'string' && !/^\d+$/.test(rest[0])) options.host = rest.shift() as string;
    if (rest[0] !== undefined) options.backlog = Number(rest[0]);
  }
  const port = options.port === undefined || options.port === null ? 0 : validPort(options.port, 'options.port');
  if (options.host !== undefined && options.host !== null && typeof options.host !== 'string') {
    throw invalidArgType('options.host', 'of type string', options.host);
  }
  if (options.backlog !== undefined && !(Number.isInteger(options.backlog) && options.backlog >= 0)) {
    throw invalidArgType('options.backlog', 'a non-negative integer', options.backlog);
  }
  if (options.signal !== undefined) validSignal(options.signal, 'options.signal');
  return { options: { ...options, port }, callback };
}

export function socketClosedError(): Error & { code: string } {
  return codeError('ERR_SOCKET_CLOSED', 'Socket is closed');
}

/** 4 or 6 for what node:net calls a family, 0 for either. */
export function familyNumber(family: number | string | undefined): number {
  if (family === 'IPv4') return 4;
  if (family === 'IPv6') return 6;
  return Number(family ?? 0);
}
