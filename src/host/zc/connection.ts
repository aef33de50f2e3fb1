// One connection of lunet/zc: the only object there is per connection, and there is none per packet.
import { connectError, systemError } from '../core/errors.js';
import * as L from '../core/layout.js';
import { invalidArgType } from '../net/errors.js';
import { type CongestionName, congestionNumber } from '../profiles.js';
import type { ConnectionReport } from '../report.js';
import type { SocketHandler } from '../stack.js';
import { type TcpInfo, tcpInfo } from '../tcp-info.js';
import type { ZcContext } from './context.js';
import { diagnose, isU32, noNumber, refused } from './errors.js';
import { Iov, type Piece } from './iov.js';

/** Callbacks of all connections of a listener, or of one connection. Addresses and lengths are plain numbers. */
export interface ZcHandler {
  /** A new connection of the listener. */
  accept?(connection: ZcConnection): void;
  /** connect() is done. */
  connect?(connection: ZcConnection): void;
  /** [addr, addr + len) has arrived, in order. One reference is yours: free it, keep it, or send it and free it. */
  data?(connection: ZcConnection, addr: number, len: number): void;
  /** send() said false before; there is room again. */
  writable?(connection: ZcConnection): void;
  /** Nothing that must be acted on: an ICMP error, data that goes unacknowledged, urgent data that is coming. */
  report?(connection: ZcConnection, report: ConnectionReport): void;
  /** The peer has sent everything. The connection stays open for sending until end() or close(). */
  eof?(connection: ZcConnection): void;
  /** The connection failed; it is closed when this returns. */
  error?(connection: ZcConnection, error: Error): void;
  /** Both directions have ended in order; the connection is closed when this returns. */
  closed?(connection: ZcConnection): void;
}

/** What a connection tells: a ZcHandler's owner or a ZcPoll. */
export interface ZcTarget {
  notify(connection: ZcConnection, kind: number, a: number, b: number): void;
}

const MAX_PIECES = L.SCRATCH_SIZE / L.IOV_SIZE;
const MEMORY_RETRY_MS = 1;

export class ZcConnection implements SocketHandler {
  /** Yours: whatever belongs to this connection. */
  user: unknown = undefined;
  /**
   * Where it stands in its poll's list of ready connections, -1 when it does not.
   * @internal
   */
  pollIndex = -1;
  readonly #context: ZcContext;
  readonly #target: ZcTarget;
  #handle: number;
  #ended = false;
  #connecting: boolean;
  #paused = false;
  #remoteAddress: string;
  #remotePort: number;

  /** @internal */
  constructor(context: ZcContext, target: ZcTarget, remoteAddress = '', remotePort = 0) {
    this.#context = context;
    this.#target = target;
    this.#handle = 0;
    this.#remoteAddress = remoteAddress;
    this.#remotePort = remotePort;
    this.#connecting = remotePort !== 0;
  }

  /** @internal */
  attach(handle: number): void {
    this.#handle = handle;
  }

  /** The core's handle; 0 once closed. */
  get handle(): number {
    return this.#handle;
  }

  get isOpen(): boolean {
    return this.#handle !== 0;
  }

  get remoteAddress(): string {
    if (!this.#remoteAddress) this.#learnRemote();
    return this.#remoteAddress;
  }

  get remotePort(): number {
    if (!this.#remotePort) this.#learnRemote();
    return this.#remotePort;
  }

  #learnRemote(): void {
    const remote = this.#handle === 0 ? null : this.#context.remote(this.#handle);
    if (!remote) return;
    this.#remoteAddress = remote.address;
    this.#remotePort = remote.port;
  }

  /**
   * Queues `len` bytes at `addr` by reference: true when all of it is queued, false when none of it is, because the
   * send queue is full (`writable` will tell) or the connection has just died (`error` will tell). Your own reference
   * stays yours: free it when you need the bytes no more. Do not change the bytes before they are acknowledged.
   * Throws ERR_LUNET_ZBUF_… on memory that cannot be sent, EPIPE after end(), EBADF after close().
   */
  send(addr: number, len: number): boolean {
    const { core, stack } = this.#context;
    if (!isU32(addr) || !isU32(len)) throw noNumber(core, 'send', addr, len);
    if (!stack.turning) stack.enter();
    const result = core.send(this.#handle, addr, len);
    if (result >= 0) {
      stack.kick();
      return true;
    }
    return this.#notSent(-result, addr, len);
  }

  /** The same for several pieces, all or none of them. At most 512. */
  sendv(pieces: Iov | readonly Piece[]): boolean {
    const { core, stack } = this.#context;
    if (!(pieces instanceof Iov) && !Array.isArray(pieces))
      throw invalidArgType('pieces', 'an Iov or an array', pieces);
    const count = pieces.length;
    if (count === 0) return true;
    if (count > MAX_PIECES)
      throw systemError(L.EMSGSIZE, 'sendv', `: ${count} pieces, at most ${MAX_PIECES} at a time`);
    const at = core.scratch >> 2;
    if (Array.isArray(pieces)) {
      for (let i = 0; i < count; i++) {
        const piece: Piece = pieces[i];
        if (piece === null || typeof piece !== 'object')
          throw invalidArgType(`pieces[${i}]`, 'an addr and a len', piece);
        const { addr, len } = piece;
        if (!isU32(addr) || !isU32(len)) throw noNumber(core, 'sendv', addr, len);
        core.u32[at + 2 * i] = addr;
        core.u32[at + 2 * i + 1] = len;
      }
    } else {
      const { words } = pieces as Iov;
      for (let i = 0; i < 2 * count; i++) core.u32[at + i] = words[i];
    }
    if (!stack.turning) stack.enter();
    const result = core.sendv(this.#handle, core.scratch, count);
    if (result >= 0) {
      stack.kick();
      return true;
    }
    for (let i = 0; i < count; i++) {
      const wrong = diagnose(core, -result, 'sendv', core.u32[at + 2 * i], core.u32[at + 2 * i + 1]);
      if (wrong) throw wrong;
    }
    return this.#notSent(-result, core.u32[at], core.u32[at + 1]);
  }

  #notSent(errno: number, addr: number, len: number): boolean {
    switch (errno) {
      case L.EAGAIN:
        return false;
      case L.ENOMEM:
      case L.ENOBUFS:
        // Not this connection's queue but the stack's records are used up: no event will tell.
        setTimeout(() => this.#handle !== 0 && this.#target.notify(this, L.EV_WRITE, 0, 0), MEMORY_RETRY_MS);
        return false;
      case L.EBADF:
        throw systemError(errno, 'send', ': the connection is closed');
      case L.EFAULT:
      case L.EINVAL:
      case L.EMSGSIZE:
        throw refused(this.#context.core, errno, 'send', addr, len);
      default:
        if (this.#ended) throw systemError(L.EPIPE, 'send', ': end() was called');
        return false;
    }
  }

  /**
   * Takes what has arrived into `iov`, from its start, and returns the number of pieces: 0 when there is nothing.
   * One reference to each piece is yours. For connections of a ZcPoll, and paused ones; a handler gets its pieces in data().
   */
  recv(iov: Iov): number {
    const { core } = this.#context;
    if (!(iov instanceof Iov)) throw invalidArgType('iov', 'an instance of Iov', iov);
    const pieces = core.recv(this.#handle, core.scratch, Math.min(iov.capacity, MAX_PIECES));
    if (pieces <= 0) {
      iov.clear();
      if (pieces === -L.EBADF) throw systemError(L.EBADF, 'recv', ': the connection is closed');
      return 0;
    }
    const at = core.scratch >> 2;
    const { words } = iov;
    for (let i = 0; i < 2 * pieces; i++) words[i] = core.u32[at + i];
    iov.length = pieces;
    return pieces;
  }

  /**
   * Hands over no more until resume(): what arrives waits in the core, within the receive buffer, and the window closes, so
   * that the peer stops. Neither data() nor what comes behind the data, eof() and closed(), is called; the other callbacks
   * are, and error() too, after which nothing that waited is left. close() with unread data is a RST. For connections
   * with a handler: throws EINVAL on a poll's, which is paused as long as nobody calls recv(). Nothing on a closed one.
   */
  pause(): this {
    return this.#setPaused(true);
  }

  /** Ends pause(): data() is called for what waits in the loop's next turn, not before this returns. */
  resume(): this {
    return this.#setPaused(false);
  }

  /** Whether pause() was called last. */
  get isPaused(): boolean {
    return this.#paused;
  }

  #setPaused(on: boolean): this {
    if (this.#handle !== 0) {
      const { core, stack } = this.#context;
      const result = core.setOption(this.#handle, L.OPT_PAUSED, on ? 1 : 0);
      // An idle connection is packed, and there is no slot for it at the moment.
      if (result === -L.ENOBUFS) setTimeout(() => this.#setPaused(this.#paused), MEMORY_RETRY_MS);
      else if (result < 0) throw systemError(-result, on ? 'pause' : 'resume', ': a poll reads with recv()');
      else if (!on) stack.kick();
    }
    this.#paused = on;
    return this;
  }

  setNoDelay(on = true): this {
    return this.#set(L.OPT_NODELAY, on ? 1 : 0);
  }

  /**
   * send(), and what is queued up to the last of these bytes is urgent (RFC 9293 §3.8.5). For protocols that want it:
   * middleboxes clear the mark.
   */
  sendUrgent(addr: number, len: number): boolean {
    const { core, stack } = this.#context;
    if (!isU32(addr) || !isU32(len)) throw noNumber(core, 'sendUrgent', addr, len);
    if (!stack.turning) stack.enter();
    const result = core.sendUrgent(this.#handle, addr, len);
    stack.kick();
    return result >= 0 || this.#notSent(-result, addr, len);
  }

  /** Bytes to read until the end of urgent data, 0 when there is none. */
  get urgentBytes(): number {
    return Math.max(this.#context.core.getOption(this.#handle, L.OPT_URGENT_BYTES), 0);
  }

  /** Probes an idle connection after `initialDelayMs` of silence (0: what is set, two hours). Off by default. */
  setKeepAlive(on: boolean, initialDelayMs = 0): this {
    if (initialDelayMs > 0) this.#set(L.OPT_KEEPALIVE_TIME_US, initialDelayMs * 1000);
    return this.#set(L.OPT_KEEPALIVE, on ? 1 : 0);
  }

  /** How long sent data may go unacknowledged before the connection fails with ETIMEDOUT; 0: the stack's retries. */
  setUserTimeout(timeoutMs: number): this {
    return this.#set(L.OPT_USER_TIMEOUT_US, timeoutMs * 1000);
  }

  /** How long close() may take to deliver what is queued before it resets; Infinity: until the protocol gives up. */
  setLinger(timeoutMs: number): this {
    return this.#set(L.OPT_LINGER_US, Math.min(timeoutMs * 1000, 2 ** 53));
  }

  /** TCP_CONGESTION: `reno`, `cubic` or `dctcp`. Throws ERR_INVALID_ARG_VALUE for another. */
  setCongestionControl(algorithm: CongestionName): this {
    return this.#set(L.OPT_CONGESTION, congestionNumber(algorithm));
  }

  /** IP_TOS; the ECN bits are the stack's own. */
  setTypeOfService(tos: number): this {
    return this.#set(L.OPT_TOS, tos);
  }

  /** IP_TTL, 1 to 255; 0: the default. */
  setTTL(ttl: number): this {
    return this.#set(L.OPT_TTL, ttl);
  }

  /** The connection as TCP_INFO shows it; null once closed. */
  tcpInfo(): TcpInfo | null {
    return tcpInfo(this.#context.core, this.#handle);
  }

  /** Whether reports come. On by default. */
  setReports(on: boolean): this {
    return this.#set(L.OPT_REPORTS, on ? L.REPORT_ICMP | L.REPORT_RETRANSMISSIONS | L.REPORT_URGENT : 0);
  }

  #set(option: number, value: number): this {
    const result = this.#context.core.setOption(this.#handle, option, value);
    if (result < 0) throw systemError(-result, 'setsockopt');
    return this;
  }

  /** Sends FIN behind what is queued. The peer can still send. */
  end(): void {
    if (this.#handle === 0 || this.#ended) return;
    this.#ended = true;
    this.#context.core.shutdown(this.#handle);
    this.#context.stack.kick();
  }

  /** Closes: what is queued is still delivered; unread data makes it a RST (RFC 2525 §2.17). No callback follows. */
  close(): void {
    const handle = this.#handle;
    if (handle === 0) return;
    this.#handle = 0;
    this.#context.core.close(handle);
    this.#context.stack.release(handle);
  }

  /** Closes with a RST. No callback follows. */
  abort(): void {
    const handle = this.#handle;
    if (handle === 0) return;
    this.#handle = 0;
    this.#context.core.abort(handle);
    this.#context.stack.release(handle);
  }

  // ---- SocketHandler: called by the stack ------------------------------------------------------------------

  /** @internal */
  connect(): void {
    this.#connecting = false;
    this.#target.notify(this, L.EV_CONNECT, 0, 0);
  }

  /** @internal */
  data(a: number, b: number): void {
    this.#target.notify(this, L.EV_DATA, a, b);
  }

  /** @internal */
  writable(): void {
    this.#target.notify(this, L.EV_WRITE, 0, 0);
  }

  /** @internal */
  eof(): void {
    this.#target.notify(this, L.EV_EOF, 0, 0);
  }

  /** @internal */
  report(what: number, errno: number, urgentBytes: number): void {
    // Where there is no way yet, waiting for one is left to who called connect(), as on Linux.
    if (this.#connecting && errno !== 0) this.error(errno);
    else this.#target.notify(this, L.EV_REPORT, what | (errno << 8), urgentBytes);
  }

  /** @internal */
  error(errno: number): void {
    this.#target.notify(this, L.EV_ERROR, errno, 0);
  }

  /** @internal */
  closed(): void {
    this.#target.notify(this, L.EV_CLOSED, 0, 0);
  }

  /** @internal */
  failure(errno: number): Error {
    return this.#connecting ? connectError(errno, this.#remoteAddress, this.#remotePort) : systemError(errno, 'read');
  }
}
