// A listener on lunet with node:net's methods, events and errors.

import { lookup as dnsLookup } from 'node:dns';
import { EventEmitter } from 'node:events';
import { type AddressInfo, isIP } from 'node:net';
import { EADDRINUSE, ECONNABORTED } from '../core/layout.js';
import { speaksIPv6 } from '../stack.js';
import type { NetContext, StackMember, StackSource } from './context.js';
import { codeError, errnoOf, invalidArgType, listenError } from './errors.js';
import { type ListenOptions, listenArguments, type ServerOptions } from './options.js';
import type { Socket } from './socket.js';
import type { Owner } from './socket-events.js';

/** What listen(0) tries, in order: the dynamic ports of RFC 6335 §6 below the range of lunet's own clients. */
const FREE_PORTS: readonly [number, number] = [49152, 61439];

export interface DropArgument {
  localAddress?: string;
  localPort?: number;
  localFamily?: string;
  remoteAddress?: string;
  remotePort?: number;
  remoteFamily?: string;
}

type SocketConstructor = new (options: ServerOptions) => Socket;

export class Server extends EventEmitter implements StackMember, Owner {
  /** Connections beyond this are closed at once, with a 'drop' event. */
  maxConnections: number | undefined = undefined;
  readonly allowHalfOpen: boolean;
  readonly pauseOnConnect: boolean;
  noDelay: boolean;
  keepAlive: boolean;
  keepAliveInitialDelay: number;
  readonly highWaterMark: number | undefined;
  readonly #source: StackSource;
  readonly #Socket: SocketConstructor;
  #context: NetContext | null = null;
  #handle = 0;
  /** Between listen() and its outcome. */
  #opening = false;
  #attempt = 0;
  #address: AddressInfo | null = null;
  #connections = 0;
  #referenced = true;
  #closing = false;
  #forgetSignal: (() => void) | null = null;

  constructor(
    source: StackSource,
    socketClass: SocketConstructor,
    options?: ServerOptions | ((socket: Socket) => void),
    connectionListener?: (socket: Socket) => void,
  ) {
    super();
    const listener = typeof options === 'function' ? options : connectionListener;
    const checked = typeof options === 'function' ? {} : (options ?? {});
    if (typeof checked !== 'object') throw invalidArgType('options', 'of type object', options);
    if (listener) this.on('connection', listener);
    this.#source = source;
    this.#Socket = socketClass;
    this.allowHalfOpen = checked.allowHalfOpen ?? false;
    this.pauseOnConnect = checked.pauseOnConnect ?? false;
    this.noDelay = checked.noDelay ?? false;
    this.keepAlive = checked.keepAlive ?? false;
    this.keepAliveInitialDelay = checked.keepAliveInitialDelay ?? 0;
    this.highWaterMark = checked.highWaterMark;
  }

  get listening(): boolean {
    return this.#handle !== 0;
  }

  listen(port?: number | string, host?: string, backlog?: number, listeningListener?: () => void): this;
  listen(port?: number | string, host?: string, listeningListener?: () => void): this;
  listen(port?: number | string, backlog?: number, listeningListener?: () => void): this;
  listen(port?: number | string, listeningListener?: () => void): this;
  listen(options: ListenOptions, listeningListener?: () => void): this;
  listen(listeningListener?: () => void): this;
  listen(...args: unknown[]): this {
    const { options, callback } = listenArguments(args);
    if (this.#handle !== 0 || this.#opening) {
      throw codeError('ERR_SERVER_ALREADY_LISTEN', 'Listen method has been called more than once without closing.');
    }
    if (callback) this.once('listening', callback);
    this.#opening = true;
    this.#closing = false;
    const attempt = ++this.#attempt;
    if (options.signal) this.#obey(options.signal);
    this.#resolve(options.host, attempt, (address) => {
      const context = this.#source.current;
      if (context) {
        this.#listen(context, options, address);
        return;
      }
      this.#source.open().then(
        (opened) => {
          if (this.#current(attempt)) this.#listen(opened, options, address);
        },
        (error: Error) => {
          if (this.#current(attempt)) this.#fail(error);
        },
      );
    });
    return this;
  }

  #current(attempt: number): boolean {
    return this.#opening && this.#attempt === attempt;
  }

  #resolve(host: string | undefined, attempt: number, next: (address: string) => void): void {
    if (!host || isIP(host)) {
      next(host ?? '');
      return;
    }
    dnsLookup(host, { family: 4 }, (error, address) => {
      if (!this.#current(attempt)) return;
      if (error) this.#fail(error);
      else next(address);
    });
  }

  #listen(context: NetContext, options: ListenOptions & { port: number }, address: string): void {
    const shown = address || (context.closed || !speaksIPv6(context.core) ? '0.0.0.0' : '::');
    try {
      if (context.closed) throw listenError(ECONNABORTED, shown, options.port);
      const port = this.#bind(context, options, address);
      this.#address = { address: shown, family: shown.includes(':') ? 'IPv6' : 'IPv4', port };
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    this.#opening = false;
    this.#context = context;
    context.join(this);
    if (!this.#referenced) context.stack.unref(this.#handle);
    process.nextTick(() => {
      if (this.#handle !== 0) this.emit('listening');
    });
  }

  /** Listens on the port asked for, or on the first free one. Returns the port. */
  #bind(context: NetContext, options: ListenOptions & { port: number }, address: string): number {
    const attempt = (port: number): void => {
      this.#handle = context.stack.listen(
        {
          port,
          ...(address ? { address } : {}),
          ...(options.backlog ? { backlog: options.backlog } : {}),
          ...(options.ipv6Only ? { ipv6Only: true } : {}),
        },
        { accept: (handle) => this.#accept(context, handle) },
      );
    };
    if (options.port !== 0) {
      attempt(options.port);
      return options.port;
    }
    const steered = context.stack.link.steeredPorts?.('tcp');
    const ranges = steered === undefined || typeof steered === 'string' ? [FREE_PORTS] : steered;
    for (const [low, high] of ranges) {
      for (let port = low; port <= high; port++) {
        try {
          attempt(port);
          return port;
        } catch (error) {
          if (errnoOf(error) !== EADDRINUSE) throw error;
        }
      }
    }
    throw listenError(EADDRINUSE, address || '0.0.0.0', 0);
  }

  #fail(error: Error): void {
    this.#opening = false;
    this.#forgetSignal?.();
    process.nextTick(() => this.emit('error', error));
  }

  #obey(signal: AbortSignal): void {
    const close = (): void => {
      this.close();
    };
    if (signal.aborted) {
      process.nextTick(close);
      return;
    }
    signal.addEventListener('abort', close);
    this.#forgetSignal = () => signal.removeEventListener('abort', close);
  }

  #accept(context: NetContext, handle: number): void {
    if (this.maxConnections !== undefined && this.#connections >= this.maxConnections) {
      const local = context.endpoint(handle, false);
      const remote = context.endpoint(handle, true);
      // The stack aborts what nobody has taken over.
      this.emit('drop', {
        localAddress: local?.address,
        localPort: local?.port,
        localFamily: local?.family,
        remoteAddress: remote?.address,
        remotePort: remote?.port,
        remoteFamily: remote?.family,
      } as DropArgument);
      return;
    }
    const socket = new this.#Socket(this);
    socket.server = this;
    this.#connections++;
    socket._accept(context, handle, this, this.pauseOnConnect);
    this.emit('connection', socket);
  }

  address(): AddressInfo | null {
    return this.#address;
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.#connections);
    return this;
  }

  /** Stops listening; 'close' comes when the last connection has ended. */
  close(callback?: (error?: Error) => void): this {
    if (this.#handle === 0 && !this.#opening) {
      if (typeof callback === 'function') {
        const error = codeError('ERR_SERVER_NOT_RUNNING', 'Server is not running.');
        this.once('close', () => callback(error));
      }
    } else if (typeof callback === 'function') {
      this.once('close', () => callback());
    }
    this.#stop();
    this.#closing = true;
    this.#emitCloseWhenDone();
    return this;
  }

  #stop(): void {
    this.#opening = false;
    this.#forgetSignal?.();
    this.#forgetSignal = null;
    if (this.#handle === 0) return;
    const context = this.#context!;
    context.core.close(this.#handle);
    context.stack.release(this.#handle);
    context.leave(this);
    this.#handle = 0;
    this.#address = null;
  }

  #emitCloseWhenDone(): void {
    if (!this.#closing || this.#connections > 0) return;
    this.#closing = false;
    process.nextTick(() => this.emit('close'));
  }

  /** @internal */
  connectionClosed(): void {
    this.#connections--;
    this.#emitCloseWhenDone();
  }

  /** @internal */
  stackClosing(): void {
    if (this.#handle !== 0) this.close();
  }

  ref(): this {
    this.#referenced = true;
    if (this.#handle !== 0) this.#context!.stack.ref(this.#handle);
    return this;
  }

  unref(): this {
    this.#referenced = false;
    if (this.#handle !== 0) this.#context!.stack.unref(this.#handle);
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#handle === 0) return;
    await new Promise<void>((resolve, reject) => {
      this.close((error) => (error ? reject(error) : resolve()));
    });
  }
}
