// A TCP connection on lunet as a stream.Duplex with node:net's methods, events and errors.
import { lookup as dnsLookup } from 'node:dns';
import { type AddressInfo, isIP } from 'node:net';
import { addAbortSignal } from 'node:stream';
import { ECONNABORTED } from '../core/layout.js';
import { type ConnectionReport, connectionReport } from '../report.js';
import { Endpoints, type NetContext, type StackMember, type StackSource } from './context.js';
import { codeError, connectError, invalidArgValue, systemError, validFunction, validTimeoutMs } from './errors.js';
import { IdleTimer } from './idle-timer.js';
import {
  type ConnectOptions,
  connectArguments,
  familyNumber,
  type OnReadOptions,
  type SocketOptions,
  socketClosedError,
  socketOptions,
} from './options.js';
import { emitClose, type Owner, SocketEvents } from './socket-events.js';
import { BLOCKED, OBJECT_BYTES, SENT, STARVED, type TransmitStatus, Transmitter, type WriteEntry } from './transmit.js';
import { TunedSocket } from './tuned.js';

/** Bytes either side of a socket buffers in JavaScript before it pushes back: what node:net reads at a time. */
const HIGH_WATER_MARK_BYTES = 64 * 1024;

type WriteCallback = (error?: Error | null) => void;

export class Socket extends TunedSocket implements StackMember {
  /** Between connect() and its outcome. */
  connecting = false;
  /** The server that accepted the connection. */
  server: object | null = null;
  /** The idle timeout in milliseconds, undefined without one. */
  timeout: number | undefined = undefined;
  bytesRead = 0;

  readonly #source: StackSource;
  readonly #onread: OnReadOptions | null;
  #context: NetContext | null = null;
  /** The connection's handle in the core, 0 when there is none. */
  #handle = 0;
  #owner: Owner | null = null;
  #transmitter: Transmitter | null = null;
  /** Completes the write that the transmitter is working on. */
  #writing: WriteCallback | null = null;
  /** A write or the end that came before the connection was established. */
  #whenOpen: (() => void) | null = null;
  #bytesWritten = 0;
  /** The stream has asked for bytes and not been given any. */
  #wanted = false;
  /** The core may hold bytes for us: its event comes once until recv() has drained it. */
  #ready = false;
  #eof = false;
  #pumping = false;
  /** Received bytes that an `onread` callback has not wanted yet. */
  #leftover: Buffer | null = null;
  /** The stream machinery has seen data once, so later data may go straight to the listeners. */
  #pushed = false;
  /** errno of a connection that died with bytes still to read. */
  #errno = 0;
  #reset = false;
  #referenced = true;
  /** Counts calls of connect(), so that a late answer for an earlier one is known. */
  #attempt = 0;
  #address = '';
  #port = 0;
  #endpoints = new Endpoints();
  readonly #idleTimer = new IdleTimer(() => {
    if (this.timeout) this.emit('timeout');
  });
  readonly #retry = (): void => this._writeReady();

  constructor(source: StackSource, options?: SocketOptions) {
    const checked = socketOptions(options);
    super({
      allowHalfOpen: checked.allowHalfOpen ?? false,
      highWaterMark: checked.highWaterMark ?? HIGH_WATER_MARK_BYTES,
      // 'close' has an argument in node:net, so it is emitted here.
      emitClose: false,
      autoDestroy: true,
      // Strings are encoded straight into the objects they are sent from.
      decodeStrings: false,
    });
    this.#source = source;
    this.#onread = checked.onread ?? null;
    this.settings.take(checked);
    if (checked.signal) addAbortSignal(checked.signal, this);
  }

  // ---- opening -------------------------------------------------------------------------------------------

  /**
   * Takes over an accepted connection.
   * @internal
   */
  _accept(context: NetContext, handle: number, owner: Owner, paused: boolean): void {
    this.#owner = owner;
    this.#attach(context, handle);
    // Bytes, or the end of them, may have come before the handler was set.
    this.#ready = true;
    if (paused) this.pause();
    else this.read(0);
  }

  connect(options: ConnectOptions, connectionListener?: () => void): this;
  connect(port: number | string, host: string, connectionListener?: () => void): this;
  connect(port: number | string, connectionListener?: () => void): this;
  connect(...args: unknown[]): this {
    const { options, callback } = connectArguments(args);
    if (this.destroyed) this.#renew();
    if (callback) this.once('connect', callback);
    const attempt = ++this.#attempt;
    const host = options.host || 'localhost';
    const lookup = options.lookup ?? dnsLookup;
    this.connecting = true;
    this.#port = options.port as number;
    this.settings.take(options);
    if (isIP(host)) {
      process.nextTick(() => {
        if (this.#current(attempt)) this.#open(host, options, attempt);
      });
      return this;
    }
    // Unless the caller names a family, IPv4: every stack has it, or the lookup says so.
    const lookupOptions = { family: familyNumber(options.family) || 4, hints: options.hints ?? 0, all: false };
    lookup(host, lookupOptions, (error, found, family) => {
      const address = Array.isArray(found) ? (found[0]?.address ?? '') : (found ?? '');
      if (!this.#current(attempt)) return;
      this.emit('lookup', error, address, family, host);
      if (!this.#current(attempt)) return;
      if (error) {
        process.nextTick(() => this.destroy(error));
      } else if (!isIP(address)) {
        const wrong = codeError('ERR_INVALID_IP_ADDRESS', `Invalid IP address: ${address}`);
        process.nextTick(() => this.destroy(wrong));
      } else {
        this.#open(address, options, attempt);
      }
    });
    return this;
  }

  #current(attempt: number): boolean {
    return this.connecting && this.#attempt === attempt && !this.destroyed;
  }

  #open(address: string, options: ConnectOptions, attempt: number): void {
    this.#address = address;
    const context = this.#source.current;
    if (context) {
      this.#start(context, options);
      return;
    }
    this.#source.open().then(
      (opened) => {
        if (this.#current(attempt)) this.#start(opened, options);
      },
      (error: Error) => {
        if (this.#current(attempt)) this.destroy(error);
      },
    );
  }

  #start(context: NetContext, options: ConnectOptions): void {
    if (context.closed) {
      this.destroy(connectError(ECONNABORTED, this.#address, this.#port));
      return;
    }
    const events = new SocketEvents(this);
    try {
      const handle = context.stack.connect(
        {
          port: this.#port,
          address: this.#address,
          ...(options.localAddress ? { localAddress: options.localAddress } : {}),
          ...(options.localPort ? { localPort: options.localPort } : {}),
        },
        events,
      );
      this.#attach(context, handle, events);
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #attach(context: NetContext, handle: number, events = new SocketEvents(this)): void {
    this.#context = context;
    this.#handle = handle;
    this.#transmitter = new Transmitter(context, handle);
    context.stack.setHandler(handle, events);
    context.join(this);
    if (!this.#referenced) context.stack.unref(handle);
    this.settings.attach(context.core, handle);
  }

  /** Makes a destroyed socket fit for another connect(), as node:net's are. */
  #renew(): void {
    // Part of every stream, but not of its types.
    (this as unknown as { _undestroy(): void })._undestroy();
    this.#wanted = false;
    this.#ready = false;
    this.#eof = false;
    this.#pushed = false;
    this.#errno = 0;
    this.#reset = false;
    this.#endpoints = new Endpoints();
    this.#bytesWritten = 0;
    this.bytesRead = 0;
  }

  /** @internal */
  _established(): void {
    this.connecting = false;
    if (this.timeout) this.#idleTimer.refresh();
    const waiting = this.#whenOpen;
    this.#whenOpen = null;
    this.emit('connect');
    this.emit('ready');
    waiting?.();
    // Ask for bytes now, so that the end of an idle connection is noticed; a paused socket waits for resume().
    if (!this.destroyed && !this.isPaused()) this.read(0);
  }

  // ---- reading -------------------------------------------------------------------------------------------

  override _read(): void {
    this.#wanted = true;
    if (this.#ready) this.#pump();
  }

  /** @internal */
  _dataReady(): void {
    this.#ready = true;
    if (this.#wanted) this.#pump();
  }

  /** @internal */
  _eofReached(): void {
    this.#eof = true;
    if (this.timeout) this.#idleTimer.refresh();
    if (!this.#ready) this.#finishReading();
    else if (this.#wanted) this.#pump();
  }

  /** @internal */
  _failed(errno: number): void {
    this.#errno = errno;
    if (this.connecting) this.destroy(connectError(errno, this.#address, this.#port));
    else if (!this.#ready || this.#writing) this.#finishReading();
    else if (this.#wanted) this.#pump();
  }

  /** @internal */
  _reported(what: number, errno: number, urgentBytes: number): void {
    // Where there is no way yet, waiting for one is left to who called connect(), as on Linux.
    if (this.connecting && errno !== 0) this._failed(errno);
    else this.emit('report', connectionReport(what, errno, urgentBytes) satisfies ConnectionReport);
  }

  /** Moves bytes from the core into the stream for as long as it wants them: what it does not take closes the window. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    let finished = false;
    try {
      while (this.#wanted && this.#ready && this.#handle !== 0) {
        if (this.#onread && !this.#deliverInto(this.#onread)) break;
        const bytes = this.#context!.receive(this.#handle);
        if (bytes === null) {
          this.#ready = false;
          break;
        }
        this.bytesRead += bytes.length;
        if (this.timeout) this.#idleTimer.refresh();
        if (this.#onread) this.#leftover = bytes;
        else this.#deliver(bytes);
      }
      finished = true;
    } finally {
      this.#pumping = false;
      // A listener threw: the rest must not wait for another event, which would not come.
      if (!finished) setImmediate(() => this.#ready && this.#wanted && this.#pump());
    }
    if (!this.#ready) this.#finishReading();
  }

  #deliver(bytes: Buffer): void {
    if (
      this.#pushed &&
      this.readableFlowing === true &&
      this.readableLength === 0 &&
      this.readableEncoding === null &&
      this.listenerCount('data') > 0
    ) {
      // What push() would do, without the tick it takes to ask for more: the request is still open.
      this.emit('data', bytes);
      return;
    }
    this.#pushed = true;
    this.#wanted = this.push(bytes);
  }

  /** Hands received bytes to the caller's own buffer. False when the caller wants no more for now. */
  #deliverInto(onread: OnReadOptions): boolean {
    while (this.#leftover && !this.isPaused() && !this.destroyed) {
      const bytes = this.#leftover;
      const target = typeof onread.buffer === 'function' ? onread.buffer() : onread.buffer;
      if (target.length === 0) {
        this.destroy(invalidArgValue('options.onread.buffer', target, 'is empty'));
        return false;
      }
      const n = Math.min(target.length, bytes.length);
      target.set(n === bytes.length ? bytes : bytes.subarray(0, n));
      this.#leftover = n === bytes.length ? null : bytes.subarray(n);
      if (onread.callback(n, target) === false) this.pause();
    }
    return !this.isPaused() && !this.destroyed;
  }

  /** Nothing is left in the core: the end or the error that came after the last byte is due. */
  #finishReading(): void {
    if (this.destroyed) return;
    if (this.#errno !== 0) {
      this.destroy(systemError(this.#errno, this.#writing ? 'write' : 'read'));
    } else if (this.#eof && !this.readableEnded) {
      this.#eof = false;
      this.push(null);
      // Without it, a socket that nobody reads would not notice its end.
      this.read(0);
    }
  }

  // ---- writing -------------------------------------------------------------------------------------------

  override write(chunk: unknown, callback?: WriteCallback): boolean;
  override write(chunk: unknown, encoding?: BufferEncoding, callback?: WriteCallback): boolean;
  override write(chunk: unknown, encoding?: BufferEncoding | WriteCallback, callback?: WriteCallback): boolean {
    const done = typeof encoding === 'function' ? encoding : callback;
    if (this.readableEnded && !this.allowHalfOpen && !this.writableEnded) {
      const error = codeError('EPIPE', 'This socket has been ended by the other party');
      if (typeof done === 'function') process.nextTick(done, error);
      this.destroy(error);
      return false;
    }
    if (
      done === undefined &&
      chunk instanceof Uint8Array &&
      chunk.length > 0 &&
      chunk.length <= OBJECT_BYTES &&
      this.#handle !== 0 &&
      !this.connecting &&
      this.writableLength === 0 &&
      this.writableCorked === 0 &&
      this.writable
    ) {
      // Nothing is queued before it: a small chunk is in the send queue before the stream machinery would look at it.
      if (this.#transmitter!.sendSmall(chunk)) {
        this.#bytesWritten += chunk.length;
        if (this.timeout) this.#idleTimer.refresh();
        this.#context!.stack.kick();
        return true;
      }
    }
    return super.write(chunk, encoding as BufferEncoding, callback);
  }

  override _write(chunk: Uint8Array | string, encoding: BufferEncoding, callback: WriteCallback): void {
    this.#transmit([{ chunk, encoding }], callback);
  }

  override _writev(chunks: WriteEntry[], callback: WriteCallback): void {
    this.#transmit(chunks, callback);
  }

  #transmit(entries: WriteEntry[], callback: WriteCallback): void {
    if (this.connecting) {
      this.#whenOpen = () => this.#transmit(entries, callback);
      return;
    }
    if (this.#handle === 0) {
      callback(socketClosedError());
      return;
    }
    this.#writing = callback;
    this.#settle(this.#transmitter!.start(entries));
  }

  /** @internal */
  _writeReady(): void {
    if (this.#writing && this.#handle !== 0) this.#settle(this.#transmitter!.resume());
  }

  #settle(status: TransmitStatus): void {
    const context = this.#context!;
    context.stack.kick();
    if (status === BLOCKED) return;
    if (status === STARVED) {
      context.whenMemoryMayBeFree(this.#retry);
      return;
    }
    const done = this.#writing!;
    this.#writing = null;
    if (status !== SENT) {
      this.#transmitter!.drop();
      done(systemError(-status, 'write'));
      return;
    }
    this.#bytesWritten += this.#transmitter!.batchBytes;
    if (this.timeout) this.#idleTimer.refresh();
    done();
  }

  override _final(callback: WriteCallback): void {
    if (this.connecting) {
      this.#whenOpen = () => this._final(callback);
      return;
    }
    if (this.#handle !== 0) {
      // A connection that is already dead has told so, or will: there is no end left to send.
      this.#context!.stack.enter();
      this.#context!.core.shutdown(this.#handle);
      this.#context!.stack.kick();
    }
    callback();
  }

  // ---- closing -------------------------------------------------------------------------------------------

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.connecting = false;
    this.#whenOpen = null;
    this.#leftover = null;
    this.#idleTimer.stop();
    this.#closeHandle();
    const writing = this.#writing;
    this.#writing = null;
    if (writing)
      process.nextTick(
        writing,
        error ?? codeError('ERR_STREAM_DESTROYED', 'Cannot call write after a stream was destroyed'),
      );
    callback(error);
    process.nextTick(emitClose, this, error !== null, this.#owner);
    this.#owner = null;
  }

  #closeHandle(): void {
    const handle = this.#handle;
    if (handle === 0) return;
    const context = this.#context!;
    this.#transmitter!.drop();
    context.forget(this.#retry);
    context.leave(this);
    this.#handle = 0;
    this.settings.detach();
    context.stack.enter();
    if (this.#reset) context.core.abort(handle);
    else context.core.close(handle);
    context.stack.release(handle);
  }

  /** Ends the writable side, and destroys the socket when all is written. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  /** Closes with a RST instead of a FIN. */
  resetAndDestroy(): this {
    if (this.#handle === 0 && !this.connecting) {
      return this.destroy(socketClosedError());
    }
    this.#reset = true;
    if (this.connecting) this.once('connect', () => this.destroy());
    else this.destroy();
    return this;
  }

  /** @internal */
  stackClosing(): void {
    this.#reset = true;
    this.destroy(systemError(ECONNABORTED, this.connecting ? 'connect' : 'read', ': the stack was closed'));
  }

  // ---- settings ------------------------------------------------------------------------------------------

  /** After `timeoutMs` without traffic 'timeout' is emitted; the socket stays as it is. 0 turns it off. */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (this.destroyed) return this;
    const ms = validTimeoutMs(timeoutMs, 'msecs');
    if (callback !== undefined) validFunction(callback, 'callback');
    this.timeout = ms;
    if (ms === 0) {
      // The timer itself stays: http turns its timeouts on and off with every request.
      if (callback) this.removeListener('timeout', callback);
      return this;
    }
    this.#idleTimer.start(ms);
    if (callback) this.once('timeout', callback);
    return this;
  }

  override resume(): this {
    super.resume();
    // Bytes for an `onread` buffer do not pass through the stream, whose own request may still be open.
    if (this.#onread) setImmediate(() => this.#handle !== 0 && this.#pump());
    return this;
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

  // ---- state ---------------------------------------------------------------------------------------------

  /** Not yet connected. */
  get pending(): boolean {
    return this.#handle === 0 || this.connecting;
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening';
    if (this.readable && this.writable) return 'open';
    if (this.readable) return 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  get bufferSize(): number {
    return this.writableLength;
  }

  get bytesWritten(): number {
    return this.#handle === 0 && !this.connecting ? this.#bytesWritten : this.#bytesWritten + this.writableLength;
  }

  /** The core's handle, for lunet's own tools: 0 when there is no connection. */
  get handle(): number {
    return this.#handle;
  }

  address(): AddressInfo | Record<string, never> {
    return this.#endpoints.of(this.#context, this.#handle, false) ?? {};
  }

  get localAddress(): string | undefined {
    return this.#endpoints.of(this.#context, this.#handle, false)?.address;
  }

  get localPort(): number | undefined {
    return this.#endpoints.of(this.#context, this.#handle, false)?.port;
  }

  get localFamily(): string | undefined {
    return this.#endpoints.of(this.#context, this.#handle, false)?.family;
  }

  get remoteAddress(): string | undefined {
    return (this.connecting ? null : this.#endpoints.of(this.#context, this.#handle, true))?.address;
  }

  get remotePort(): number | undefined {
    return (this.connecting ? null : this.#endpoints.of(this.#context, this.#handle, true))?.port;
  }

  get remoteFamily(): string | undefined {
    return (this.connecting ? null : this.#endpoints.of(this.#context, this.#handle, true))?.family;
  }
}
