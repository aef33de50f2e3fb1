// A UDP socket on lunet with node:dgram's methods, events and errors.
import { lookup as dnsLookup } from 'node:dns';
import { EventEmitter } from 'node:events';
import { type AddressInfo, isIP, isIPv4 } from 'node:net';
import { readAddress, writeAddress } from '../core/address.js';
import { addressError } from '../core/errors.js';
import * as L from '../core/layout.js';
import type { NetContext, StackMember } from '../net/context.js';
import { invalidArgType, systemError } from '../net/errors.js';
import * as E from './errors.js';
import {
  type BindOptions,
  bindArguments,
  connectArguments,
  type Message,
  type SendCallback,
  type Sending,
  type SocketOptions,
  type SocketType,
  sendArguments,
  socketOptions,
  validBufferSize,
} from './options.js';

export interface RemoteInfo {
  address: string;
  family: 'IPv4' | 'IPv6';
  port: number;
  size: number;
}

export type MessageListener = (message: Buffer, remote: RemoteInfo) => void;

/** A datagram whose destination is known. */
interface Outgoing extends Sending {
  ip: string;
}

/** Datagrams taken with one udpRecv(): as many descriptors as the scratch space holds. */
const DATAGRAMS_PER_READ = 64;
const IPV4_MAPPED = '::ffff:';
/** What Linux has (net.core.wmem_default). */
const SEND_BUFFER_BYTES = 212_992;
/** The largest object of the core. */
const OBJECT_BYTES = 65_536;

export class Socket extends EventEmitter implements StackMember {
  readonly type: SocketType;
  readonly #context: NetContext;
  readonly #options: SocketOptions;
  #state: 'unbound' | 'binding' | 'bound' | 'closed' = 'unbound';
  #connection: 'none' | 'connecting' | 'connected' = 'none';
  #handle = 0;
  #referenced = true;
  #sendBufferSize: number;
  /** Calls that wait for the socket to be bound. */
  #calls: (() => void)[] = [];
  /** Datagrams that wait for room in the transmit ring, or for memory. */
  #waiting: Outgoing[] = [];
  #forgetSignal: (() => void) | null = null;
  readonly #retry = (): void => this.#flush();

  constructor(context: NetContext, options: SocketType | SocketOptions, listener?: MessageListener) {
    super();
    this.#context = context;
    this.#options = socketOptions(options);
    this.type = this.#options.type;
    this.#sendBufferSize = this.#options.sendBufferSize ?? SEND_BUFFER_BYTES;
    if (typeof listener === 'function') this.on('message', listener);
    if (this.#options.signal) this.#obey(this.#options.signal);
  }

  // ---- bind, connect, close ----

  bind(port?: number, address?: string, callback?: () => void): this;
  bind(port?: number, callback?: () => void): this;
  bind(callback?: () => void): this;
  bind(options: BindOptions, callback?: () => void): this;
  bind(...args: unknown[]): this {
    this.#check();
    if (this.#state !== 'unbound') throw E.alreadyBound();
    const { port, address, callback } = bindArguments(args);
    if (callback) this.#onceListening(callback);
    this.#state = 'binding';
    this.#resolve('bind', address, port, true, (error, ip) => {
      if (this.#state !== 'binding') return;
      try {
        if (error) throw error;
        this.#bind(ip, port);
      } catch (failure) {
        this.#state = 'unbound';
        this.#connection = 'none';
        this.#calls = [];
        this.emit('error', failure);
        return;
      }
      this.emit('listening');
      for (const call of this.#calls.splice(0)) call();
    });
    return this;
  }

  /** A callback of bind() is forgotten when it fails. */
  #onceListening(callback: () => void): void {
    const forget = (): void => {
      this.off('listening', done);
      this.off('error', forget);
    };
    const done = (): void => {
      forget();
      callback.call(this);
    };
    this.on('listening', done);
    this.on('error', forget);
  }

  #bind(ip: string, port: number): void {
    const context = this.#context;
    if (context.closed) throw addressError(L.ECONNABORTED, 'bind', ip, port);
    const { reuseAddr, ipv6Only, recvBufferSize } = this.#options;
    this.#handle = context.stack.bind(
      { port, address: ip, reuse: reuseAddr ?? false, ipv6Only: ipv6Only ?? false },
      {
        datagram: () => this.#receive(),
        writable: () => this.#flush(),
        error: (errno) => this.emit('error', systemError(errno, 'recvmsg')),
      },
    );
    this.#state = 'bound';
    context.join(this);
    if (!this.#referenced) context.stack.unref(this.#handle);
    if (recvBufferSize !== undefined) context.core.udpSetOption(this.#handle, L.OPT_RCV_BUF_BYTES, recvBufferSize);
  }

  /** Runs `call` once the socket is bound, to any port if it has not been told otherwise. */
  #whenBound(call: () => void): void {
    if (this.#state === 'unbound') this.bind(0);
    if (this.#state === 'bound') call();
    else this.#calls.push(call);
  }

  connect(port: number, address?: string, callback?: () => void): void;
  connect(port: number, callback: () => void): void;
  connect(...args: unknown[]): void {
    this.#check();
    const { port, address, callback } = connectArguments(args);
    if (this.#connection !== 'none') throw E.isConnected();
    this.#connection = 'connecting';
    if (callback) this.once('connect', callback);
    this.#whenBound(() => {
      this.#resolve('connect', address, port, false, (error, ip) => {
        if (this.#state === 'closed') return;
        const failure = error ?? this.#connect(ip, port);
        if (!failure) {
          this.#connection = 'connected';
          this.emit('connect');
          return;
        }
        this.#connection = 'none';
        if (callback) {
          this.off('connect', callback);
          (callback as (error: Error) => void)(failure);
        } else this.emit('error', failure);
      });
    });
  }

  #connect(ip: string, port: number): Error | null {
    const { core } = this.#context;
    writeAddress(core.u8, core.scratch, ip);
    const result = core.udpConnect(this.#handle, core.scratch, port);
    return result < 0 ? addressError(-result, 'connect', ip, port) : null;
  }

  disconnect(): void {
    this.#check();
    if (this.#connection !== 'connected') throw E.notConnected();
    this.#context.core.udpDisconnect(this.#handle);
    this.#connection = 'none';
  }

  close(callback?: () => void): this {
    if (typeof callback === 'function') this.once('close', callback);
    if (this.#state === 'binding' && this.#calls.length > 0) {
      // What was sent before goes first.
      this.#calls.push(() => this.close());
      return this;
    }
    this.#check();
    const { core, stack } = this.#context;
    this.#state = 'closed';
    this.#forgetSignal?.();
    if (this.#handle !== 0) {
      core.udpClose(this.#handle);
      stack.release(this.#handle);
      this.#context.leave(this);
      this.#context.forget(this.#retry);
      this.#handle = 0;
    }
    for (const sending of this.#waiting.splice(0)) this.#fail(sending, L.ECANCELED);
    process.nextTick(() => this.emit('close'));
    return this;
  }

  stackClosing(): void {
    if (this.#state !== 'closed') this.close();
  }

  #check(): void {
    if (this.#state === 'closed') throw E.notRunning();
  }

  #obey(signal: AbortSignal): void {
    const close = (): void => {
      if (this.#state !== 'closed') this.close();
    };
    if (signal.aborted) {
      process.nextTick(close);
      return;
    }
    signal.addEventListener('abort', close, { once: true });
    this.#forgetSignal = () => signal.removeEventListener('abort', close);
  }

  // ---- names and addresses ----

  get #family(): 4 | 6 {
    return this.type === 'udp6' ? 6 : 4;
  }

  /** The IP address of a name, or of '' for what node:dgram takes then: any address to bind to, else the local host. */
  #resolve(
    syscall: string,
    address: string,
    port: number,
    toBind: boolean,
    next: (error: Error | null, ip: string) => void,
  ): void {
    const family = this.#family;
    const name = address || (family === 6 ? (toBind ? '::' : '::1') : toBind ? '0.0.0.0' : '127.0.0.1');
    const found = (error: Error | null, ip: string): void => {
      const wrong = !error && isIP(ip) !== family ? addressError(L.EINVAL, syscall, ip, port) : error;
      next(wrong, ip);
    };
    const { lookup } = this.#options;
    if (!lookup && isIP(name)) process.nextTick(found, null, name);
    else (lookup ?? (dnsLookup as NonNullable<typeof lookup>))(name, { family }, found);
  }

  #shown(at: number): string {
    const text = readAddress(this.#context.core.u8, at);
    return this.type === 'udp6' && isIPv4(text) ? IPV4_MAPPED + text : text;
  }

  #info(syscall: string, addressAt: number, portAt: number): AddressInfo {
    const { core } = this.#context;
    if (core.udpInfo(this.#handle, core.scratch) < 0) throw systemError(L.EBADF, syscall);
    const family = this.type === 'udp6' ? 'IPv6' : 'IPv4';
    const port = core.dv.getUint32(core.scratch + portAt, true);
    return { address: this.#shown(core.scratch + addressAt), family, port };
  }

  address(): AddressInfo {
    this.#check();
    return this.#info('getsockname', L.UDPI_local, L.UDPI_local_port);
  }

  remoteAddress(): AddressInfo {
    this.#check();
    if (this.#connection !== 'connected') throw E.notConnected();
    return this.#info('getpeername', L.UDPI_remote, L.UDPI_remote_port);
  }

  // ---- receiving ----

  #receive(): void {
    const { core } = this.#context;
    const handle = this.#handle;
    for (let count = DATAGRAMS_PER_READ; count === DATAGRAMS_PER_READ && this.#handle === handle; ) {
      const at = core.scratch;
      count = core.udpRecv(handle, at, DATAGRAMS_PER_READ);
      // Listeners use the scratch space, too.
      const batch = Array.from({ length: Math.max(count, 0) }, (_, i) => this.#take(at + i * L.UDPD_SIZE));
      for (const [message, remote] of batch) {
        if (this.#handle !== handle) return;
        try {
          this.emit('message', message, remote);
        } catch (error) {
          // One listener's exception must not cost the datagrams behind it.
          process.nextTick(() => {
            throw error;
          });
        }
      }
    }
  }

  #take(at: number): [Buffer, RemoteInfo] {
    const { core } = this.#context;
    const addr = core.dv.getUint32(at + L.UDPD_addr, true);
    const size = core.dv.getUint32(at + L.UDPD_len, true);
    const message = this.#context.copy(addr, size);
    core.free(addr);
    const address = this.#shown(at + L.UDPD_remote);
    const port = core.dv.getUint32(at + L.UDPD_port, true);
    return [message, { address, family: this.type === 'udp6' ? 'IPv6' : 'IPv4', port, size }];
  }

  // ---- sending ----

  send(message: Message, port?: number, address?: string, callback?: SendCallback): void;
  send(message: Message, port?: number, callback?: SendCallback): void;
  send(message: Message, callback?: SendCallback): void;
  send(
    message: string | NodeJS.ArrayBufferView,
    offset: number,
    length: number,
    port?: number,
    address?: string,
    callback?: SendCallback,
  ): void;
  send(
    message: string | NodeJS.ArrayBufferView,
    offset: number,
    length: number,
    port?: number,
    callback?: SendCallback,
  ): void;
  send(message: string | NodeJS.ArrayBufferView, offset: number, length: number, callback?: SendCallback): void;
  send(message: unknown, ...args: unknown[]): void {
    const sending = sendArguments(message, args, this.#connection === 'connected');
    this.#check();
    this.#whenBound(() => {
      const known = sending.port === 0 || (!this.#options.lookup && isIP(sending.address) === this.#family);
      if (known) {
        this.#send({ ...sending, ip: sending.address });
        return;
      }
      this.#resolve('send', sending.address, sending.port, false, (error, ip) => {
        if (!error) this.#send({ ...sending, ip });
        else if (sending.callback) sending.callback(error, 0);
        else this.emit('error', error);
      });
    });
  }

  #fail({ callback, ip, port }: Outgoing, errno: number): void {
    if (callback) process.nextTick(callback, addressError(errno, 'send', ip, port), 0);
  }

  #send(sending: Outgoing): void {
    if (this.#handle === 0) {
      this.#fail(sending, L.ECANCELED);
      return;
    }
    // In order.
    if (this.#waiting.length > 0 || !this.#transmit(sending)) this.#waiting.push(sending);
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#transmit(this.#waiting[0])) this.#waiting.shift();
  }

  /** False when the datagram has to wait. */
  #transmit(sending: Outgoing): boolean {
    const { core, stack } = this.#context;
    const { pieces, bytes, ip, port, callback } = sending;
    const addr = bytes > 0 && bytes <= OBJECT_BYTES ? core.alloc(bytes) : 0;
    if (addr === 0 && bytes > OBJECT_BYTES) {
      this.#fail(sending, L.EMSGSIZE);
      return true;
    }
    if (addr === 0 && bytes > 0) {
      this.#context.whenMemoryMayBeFree(this.#retry);
      return false;
    }
    let at = addr;
    for (const piece of pieces) {
      core.u8.set(piece, at);
      at += piece.length;
    }
    this.#context.countCopied(bytes);
    const iov = core.scratch;
    const to = core.scratch + 2 * L.IOV_SIZE;
    core.dv.setUint32(iov + L.IOV_ADDR, addr, true);
    core.dv.setUint32(iov + L.IOV_LEN, bytes, true);
    if (ip) writeAddress(core.u8, to, ip);
    if (!stack.turning) stack.enter();
    const result = core.udpSend(this.#handle, iov, bytes > 0 ? 1 : 0, ip ? to : 0, port);
    if (addr !== 0) core.free(addr);
    if (result === -L.EAGAIN) {
      stack.kick();
      return false;
    }
    if (result < 0) this.#fail(sending, -result);
    else {
      stack.kick();
      if (callback) process.nextTick(callback, null, bytes);
    }
    return true;
  }

  /** Bytes and datagrams that wait for room in the transmit ring, or for memory. */
  getSendQueueSize(): number {
    return this.#waiting.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  getSendQueueCount(): number {
    return this.#waiting.length;
  }

  // ---- options ----

  #setOption(name: string, option: number, value: number): void {
    this.#check();
    const result = this.#handle === 0 ? -L.EBADF : this.#context.core.udpSetOption(this.#handle, option, value);
    if (result < 0) throw systemError(-result, name);
  }

  setBroadcast(flag: boolean): void {
    this.#setOption('setBroadcast', L.OPT_BROADCAST, flag ? 1 : 0);
  }

  /** TTL, or hop limit, 1 to 255. */
  setTTL(ttl: number): number {
    if (typeof ttl !== 'number') throw invalidArgType('ttl', 'of type number', ttl);
    if (this.#handle !== 0 && !(ttl >= 1 && ttl <= 255)) throw systemError(L.EINVAL, 'setTTL');
    this.#setOption('setTTL', L.OPT_TTL, ttl);
    return ttl;
  }

  getRecvBufferSize(): number {
    if (this.#handle === 0) throw E.bufferSizeOfUnbound();
    return this.#context.core.udpGetOption(this.#handle, L.OPT_RCV_BUF_BYTES);
  }

  setRecvBufferSize(size: number): void {
    validBufferSize(size);
    if (this.#handle === 0) throw E.bufferSizeOfUnbound();
    this.#context.core.udpSetOption(this.#handle, L.OPT_RCV_BUF_BYTES, size);
  }

  getSendBufferSize(): number {
    if (this.#handle === 0) throw E.bufferSizeOfUnbound();
    return this.#sendBufferSize;
  }

  setSendBufferSize(size: number): void {
    validBufferSize(size);
    if (this.#handle === 0) throw E.bufferSizeOfUnbound();
    this.#sendBufferSize = size;
  }

  ref(): this {
    this.#referenced = true;
    if (this.#handle !== 0) this.#context.stack.ref(this.#handle);
    return this;
  }

  unref(): this {
    this.#referenced = false;
    if (this.#handle !== 0) this.#context.stack.unref(this.#handle);
    return this;
  }

  // ---- groups, which lunet does not join ----

  addMembership(_group: string, _interface?: string): void {
    this.#noGroups('addMembership');
  }

  dropMembership(_group: string, _interface?: string): void {
    this.#noGroups('dropMembership');
  }

  addSourceSpecificMembership(_source: string, _group: string, _interface?: string): void {
    this.#noGroups('addSourceSpecificMembership');
  }

  dropSourceSpecificMembership(_source: string, _group: string, _interface?: string): void {
    this.#noGroups('dropSourceSpecificMembership');
  }

  setMulticastTTL(_ttl: number): number {
    return this.#noGroups('setMulticastTTL');
  }

  setMulticastLoopback(_flag: boolean): boolean {
    return this.#noGroups('setMulticastLoopback');
  }

  setMulticastInterface(_interface: string): void {
    this.#noGroups('setMulticastInterface');
  }

  #noGroups(syscall: string): never {
    this.#check();
    throw systemError(L.EOPNOTSUPP, syscall, ': lunet joins no multicast groups');
  }
}
