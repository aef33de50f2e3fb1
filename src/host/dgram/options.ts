// The argument forms of node:dgram's createSocket(), bind() and send(), brought to one.
import { invalidArgType, validPort, validSignal } from '../net/errors.js';
import { badBufferSize, badType, isConnected, outOfBounds } from './errors.js';

export type SocketType = 'udp4' | 'udp6';

export type Lookup = (
  hostname: string,
  options: { family: number },
  callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
) => void;

export interface SocketOptions {
  type: SocketType;
  /** Shares its address with other sockets that ask for it; the one bound last receives. */
  reuseAddr?: boolean | undefined;
  /** udp6: no IPv4. */
  ipv6Only?: boolean | undefined;
  /** Payload bytes that may wait to be read. */
  recvBufferSize?: number | undefined;
  /** Kept and given back, and without effect: what does not fit into the transmit ring waits in JavaScript. */
  sendBufferSize?: number | undefined;
  lookup?: Lookup | undefined;
  /** Closes the socket. */
  signal?: AbortSignal | undefined;
}

export interface BindOptions {
  port?: number | undefined;
  address?: string | undefined;
  /** Without effect: there are no cluster workers to share with. */
  exclusive?: boolean | undefined;
}

export type Message = string | NodeJS.ArrayBufferView | readonly (string | NodeJS.ArrayBufferView)[];

export type SendCallback = (error: Error | null, bytes: number) => void;

export function socketOptions(given: unknown): SocketOptions {
  const options = (typeof given === 'object' && given !== null ? given : { type: given }) as SocketOptions;
  if (options.type !== 'udp4' && options.type !== 'udp6') throw badType();
  if (options.lookup !== undefined && typeof options.lookup !== 'function') {
    throw invalidArgType('lookup', 'of type function', options.lookup);
  }
  if (options.recvBufferSize !== undefined) validBufferSize(options.recvBufferSize);
  if (options.sendBufferSize !== undefined) validBufferSize(options.sendBufferSize);
  if (options.signal !== undefined) validSignal(options.signal, 'options.signal');
  return options;
}

export function validBufferSize(size: unknown): number {
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || size > 0xffffffff) throw badBufferSize();
  return size;
}

/** A port that datagrams can be sent to. */
export function validPeerPort(port: unknown): number {
  const value = validPort(port, 'Port');
  if (value !== 0) return value;
  throw Object.assign(new RangeError(`Port should be > 0 and < 65536. Received ${String(port)}.`), {
    code: 'ERR_SOCKET_BAD_PORT',
  });
}

function addressArgument(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw invalidArgType('address', 'of type string', value);
  return value;
}

/** The arguments, and the function that comes last. Trailing ones that are not given do not count. */
function split(args: readonly unknown[]): { rest: unknown[]; callback: ((...args: never[]) => void) | undefined } {
  const rest = [...args];
  let callback: ((...args: never[]) => void) | undefined;
  const last = rest.findLastIndex((value) => value !== undefined);
  if (typeof rest[last] === 'function') {
    callback = rest[last] as (...args: never[]) => void;
    rest.length = last;
  } else rest.length = last + 1;
  return { rest, callback };
}

/** bind([port][, address][, callback]) or bind(options[, callback]); '' is any address. */
export function bindArguments(args: readonly unknown[]): {
  port: number;
  address: string;
  callback: (() => void) | undefined;
} {
  const { rest, callback } = split(args);
  const [first, second] = rest;
  const options: BindOptions =
    typeof first === 'object' && first !== null
      ? (first as BindOptions)
      : { port: first as number, address: second as string };
  return {
    port: options.port === undefined || options.port === null ? 0 : validPort(options.port, 'options.port'),
    address: addressArgument(options.address),
    callback,
  };
}

/** connect(port[, address][, callback]) */
export function connectArguments(args: readonly unknown[]): {
  port: number;
  address: string;
  callback: (() => void) | undefined;
} {
  const { rest, callback } = split(args);
  return { port: validPeerPort(rest[0]), address: addressArgument(rest[1]), callback };
}

function bytesOf(value: unknown): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  throw invalidArgType('buffer', 'of type string or an instance of Buffer, TypedArray, or DataView', value);
}

function part(message: unknown, offset: unknown, length: unknown): Uint8Array {
  const whole = bytesOf(message);
  const from = Number(offset);
  const bytes = Number(length);
  if (!(from >= 0 && from <= whole.length)) throw outOfBounds('offset');
  if (!(bytes >= 0 && from + bytes <= whole.length)) throw outOfBounds('length');
  return whole.subarray(from, from + bytes);
}

export interface Sending {
  pieces: Uint8Array[];
  bytes: number;
  /** 0 and '': the connected peer. */
  port: number;
  address: string;
  callback: SendCallback | undefined;
}

/** send(message[, offset, length][, port][, address][, callback]); a connected socket takes no port. */
export function sendArguments(message: unknown, args: readonly unknown[], connected: boolean): Sending {
  const { rest, callback } = split(args);
  const ranged = connected ? rest.length === 2 && typeof rest[1] === 'number' : rest.length > 2;
  const peer = ranged ? rest.slice(2) : rest;
  const pieces = ranged
    ? [part(message, rest[0], rest[1])]
    : Array.isArray(message)
      ? message.map(bytesOf)
      : [bytesOf(message)];
  if (connected && peer.length > 0) throw isConnected();
  return {
    pieces,
    bytes: pieces.reduce((sum, piece) => sum + piece.length, 0),
    port: connected ? 0 : validPeerPort(peer[0]),
    address: connected ? '' : addressArgument(peer[1]),
    callback: callback as SendCallback | undefined,
  };
}
