// lunet/zc: memory, connections and readiness without a copy and without an object per packet.
import type { Core } from '../core/core.js';
import { CTL_FREE_HEAD, CTL_FREE_TAIL, EINVAL, EV_ACCEPT, HEADROOM } from '../core/layout.js';
import { invalidArgType, outOfRange, validPort } from '../net/errors.js';
import type { SocketHandler, Stack } from '../stack.js';
import { Callbacks } from './callbacks.js';
import { ZcConnection, type ZcHandler, type ZcTarget } from './connection.js';
import { ZcContext } from './context.js';
import { exhausted, isU32, noNumber, refused } from './errors.js';
import { Iov } from './iov.js';
import { ZcPoll } from './poll.js';

/** Largest object there is. */
export const MAX_OBJECT_BYTES = 65536;
/** Largest message: an object without its room for headers. */
export const MAX_MESSAGE_BYTES = MAX_OBJECT_BYTES - HEADROOM;

const VIEW_CACHE_ENTRIES = 1024;
const FREE_HEAD = CTL_FREE_HEAD >> 2;
const FREE_TAIL = CTL_FREE_TAIL >> 2;

export interface ZcListenOptions {
  port: number;
  address?: string;
  backlog?: number;
}

export interface ZcConnectOptions {
  port: number;
  address: string;
  localAddress?: string;
  localPort?: number;
}

export interface ZcListener {
  readonly handle: number;
  readonly port: number;
  /** Accepts no more; the connections stay. */
  close(): void;
}

export class Zc {
  readonly stack: Stack;
  /** Linear memory, whole: `memory[addr]` is a byte of the object at `addr`. */
  readonly memory: Uint8Array;
  /** The same for numbers of several bytes. */
  readonly dataView: DataView;
  readonly #core: Core;
  readonly #context: ZcContext;
  readonly #buffer: Buffer;
  readonly #views: (Uint8Array | undefined)[] = new Array(VIEW_CACHE_ENTRIES).fill(undefined);
  readonly #polls: ZcPoll[] = [];

  constructor(stack: Stack) {
    this.stack = stack;
    this.#core = stack.core;
    this.#context = new ZcContext(stack);
    this.memory = stack.core.u8;
    this.dataView = stack.core.dv;
    this.#buffer = Buffer.from(stack.core.memory.buffer);
  }

  // ---- memory --------------------------------------------------------------------------------------------

  /** An object of at least `size` bytes, one reference to it. Throws ERR_LUNET_ZBUF_EXHAUSTED. */
  alloc(size: number): number {
    const addr = this.tryAlloc(size);
    if (addr === 0) throw exhausted(size);
    return addr;
  }

  /** alloc() that gives 0 instead of throwing when memory is short. */
  tryAlloc(size: number): number {
    if (!(size > 0 && size <= MAX_OBJECT_BYTES)) throw outOfRange('size', `1 to ${MAX_OBJECT_BYTES}`, size);
    return this.#core.alloc(size);
  }

  /**
   * alloc() for a message: in front of the address that it returns the object has room for a frame's headers, and a
   * message sent from there that fits into one segment leaves as one piece of memory. The room is the stack's: no
   * address before the message is good for anything.
   */
  allocMessage(size: number): number {
    if (!(size > 0 && size <= MAX_MESSAGE_BYTES)) throw outOfRange('size', `1 to ${MAX_MESSAGE_BYTES}`, size);
    const addr = this.#core.allocMessage(size);
    if (addr === 0) throw exhausted(size + HEADROOM);
    return addr;
  }

  /** One more reference to the object that holds `addr`. */
  dup(addr: number): void {
    if (!isU32(addr)) throw noNumber(this.#core, 'dup', addr, 1);
    const result = this.#core.dup(addr);
    if (result < 0) throw refused(this.#core, -result, 'dup', addr, 1);
  }

  /** One reference less; the last one gives the object back. Any address in the object will do. */
  free(addr: number): void {
    const core = this.#core;
    if (!isU32(addr)) throw noNumber(core, 'free', addr, 1);
    const result = core.free(addr);
    if (result < 0) throw refused(core, -result, 'free', addr, 1);
    // A link that has run out of receive objects wakes nobody: a sleeping loop has to hand it those that come back.
    if (core.u32[FREE_HEAD] !== core.u32[FREE_TAIL] && !this.stack.turning) this.stack.kick();
  }

  /** Bytes from `addr` to the end of its object: 0 when it is in none. */
  room(addr: number): number {
    const end = this.#core.objectEnd(addr);
    return end === 0 ? 0 : end - addr;
  }

  /** References to the object that holds `addr`. */
  refCount(addr: number): number {
    return Math.max(this.#core.refCount(addr), 0);
  }

  /**
   * The bytes at `addr` in place. Good for as long as you hold a reference. Views of the same bytes are the same object
   * while they stay in a small cache.
   */
  view(addr: number, len: number): Uint8Array {
    this.#mustHold('view', addr, len);
    const slot = (addr >>> 6) & (VIEW_CACHE_ENTRIES - 1);
    const cached = this.#views[slot];
    if (cached !== undefined && cached.byteOffset === addr && cached.length === len) return cached;
    const view = this.memory.subarray(addr, addr + len);
    this.#views[slot] = view;
    return view;
  }

  /** Writes bytes or UTF-8 text at `addr`; returns the bytes written. Throws ERR_LUNET_ZBUF_RANGE if they do not fit. */
  write(addr: number, data: Uint8Array | string): number {
    if (typeof data !== 'string' && !(data instanceof Uint8Array)) {
      throw invalidArgType('data', 'of type string or an instance of Buffer or Uint8Array', data);
    }
    const len = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
    if (len === 0) return 0;
    this.#mustHold('write', addr, len);
    if (typeof data === 'string') this.#buffer.write(data, addr, len, 'utf8');
    else this.memory.set(data, addr);
    return len;
  }

  /** The bytes at `addr` as text. */
  text(addr: number, len: number, encoding: BufferEncoding = 'utf8'): string {
    if (len === 0) return '';
    this.#mustHold('text', addr, len);
    return this.#buffer.toString(encoding, addr, addr + len);
  }

  /** Throws unless [addr, addr + len) lies in one object of which the application holds a reference. */
  #mustHold(syscall: string, addr: number, len: number): void {
    if (len > 0 && addr + len <= this.#core.objectEnd(addr)) return;
    throw refused(this.#core, -this.#core.check(addr, len) || EINVAL, syscall, addr, len);
  }

  /** Room for `capacity` pieces, for recv() and sendv(). */
  iov(capacity = 64): Iov {
    if (!Number.isInteger(capacity) || capacity < 1) throw outOfRange('capacity', 'a positive integer', capacity);
    return new Iov(capacity);
  }

  // ---- connections ---------------------------------------------------------------------------------------

  /** A list of ready connections; `onReady` is called with it once for every burst that has made some ready. */
  poll(onReady?: (poll: ZcPoll) => void): ZcPoll {
    const poll = new ZcPoll(onReady ?? null);
    if (this.#polls.length === 0) this.stack.afterEvents(() => this.#deliver());
    this.#polls.push(poll);
    return poll;
  }

  #deliver(): void {
    for (const poll of this.#polls) poll.deliver();
  }

  /** Callbacks (inline) with a handler, readiness (batch) with a poll. Throws EADDRINUSE and the like. */
  listen(options: ZcListenOptions, target: ZcHandler | ZcPoll): ZcListener {
    const { stack } = this;
    const port = validPort(options.port, 'options.port');
    const { inline, sink } = this.#target(target);
    const handler: SocketHandler = {
      accept: (accepted) => {
        const connection = new ZcConnection(this.#context, sink);
        connection.attach(accepted);
        stack.setHandler(accepted, connection);
        sink.notify(connection, EV_ACCEPT, 0, 0);
      },
    };
    let handle = stack.listen({ ...options, port, inline }, handler);
    return {
      get handle() {
        return handle;
      },
      port,
      close: () => {
        if (handle === 0) return;
        this.#core.close(handle);
        stack.release(handle);
        handle = 0;
      },
    };
  }

  /** Begins to connect; the outcome is connect() or error(), ZC_OUT or ZC_ERR. Throws what is known at once. */
  connect(options: ZcConnectOptions, target: ZcHandler | ZcPoll): ZcConnection {
    validPort(options.port, 'options.port');
    if (typeof options.address !== 'string') throw invalidArgType('options.address', 'of type string', options.address);
    const { inline, sink } = this.#target(target);
    const connection = new ZcConnection(this.#context, sink, options.address, options.port);
    connection.attach(this.stack.connect({ ...options, inline }, connection));
    return connection;
  }

  #target(target: ZcHandler | ZcPoll): { inline: boolean; sink: ZcTarget } {
    if (target instanceof ZcPoll) return { inline: false, sink: target };
    if (target === null || typeof target !== 'object') {
      throw invalidArgType('target', 'an object of callbacks or a poll', target);
    }
    return { inline: true, sink: new Callbacks(this.#core, target) };
  }
}

/** lunet/zc on `stack`. */
export function createZc(stack: Stack): Zc {
  return new Zc(stack);
}
