// The write path of one socket: bytes and strings are copied into Zbuf objects, once, and queued by reference.
import { EAGAIN, ENOBUFS, ENOMEM } from '../core/layout.js';
import type { NetContext } from './context.js';

export interface WriteEntry {
  chunk: Uint8Array | string;
  encoding: BufferEncoding;
}

/** The encodings whose byte length is known before they are written; others become a Buffer first. */
const MEASURED = new Set<string>(['utf8', 'utf-8', 'latin1', 'binary', 'ascii']);

/** Large writes are cut into objects of at most this size, so the send queue's room is used in small steps. */
export const OBJECT_BYTES = 16 * 1024;

export const SENT = 1;
/** The send queue is full: EV_WRITE will tell. */
export const BLOCKED = 0;
/** No memory: try again a little later. */
export const STARVED = 2;

/** SENT, BLOCKED, STARVED, or a negative errno. */
export type TransmitStatus = number;

export class Transmitter {
  readonly #context: NetContext;
  readonly #handle: number;
  #entries: WriteEntry[] = [];
  #index = 0;
  #offset = 0;
  #remaining = 0;
  /** Bytes of the batch under way, or of the last one. */
  batchBytes = 0;
  /** A filled object that the send queue has not taken yet. */
  #pendingAddr = 0;
  #pendingLen = 0;

  constructor(context: NetContext, handle: number) {
    this.#context = context;
    this.#handle = handle;
  }

  /**
   * One chunk of at most OBJECT_BYTES, straight to the send queue, when no batch is under way. False, and nothing
   * done, when it cannot go now: start() with the same chunk then says why.
   */
  sendSmall(chunk: Uint8Array): boolean {
    const { core } = this.#context;
    const len = chunk.length;
    const addr = core.alloc(len) >>> 0;
    if (addr === 0) return false;
    core.u8.set(chunk, addr);
    this.#context.stack.enter();
    const status = core.send(this.#handle, addr, len);
    core.free(addr);
    if (status < 0) return false;
    this.#context.countCopied(len);
    return true;
  }

  /** Takes a batch of chunks; resume() carries on where the send queue was full. */
  start(entries: WriteEntry[]): TransmitStatus {
    let total = 0;
    for (const entry of entries) {
      const { chunk, encoding } = entry;
      if (typeof chunk !== 'string') {
        total += chunk.length;
      } else if (MEASURED.has(encoding)) {
        total += Buffer.byteLength(chunk, encoding);
      } else {
        entry.chunk = Buffer.from(chunk, encoding);
        total += entry.chunk.length;
      }
    }
    this.#entries = entries;
    this.#index = 0;
    this.#offset = 0;
    this.#remaining = total;
    this.batchBytes = total;
    return this.resume();
  }

  resume(): TransmitStatus {
    for (;;) {
      if (this.#pendingLen > 0) {
        const status = this.#flushPending();
        if (status !== SENT) return status;
      }
      if (this.#remaining === 0) return SENT;
      if (!this.#fill()) return STARVED;
    }
  }

  /** Gives back what was copied and never queued. */
  drop(): void {
    if (this.#pendingLen > 0) this.#context.core.free(this.#pendingAddr);
    this.#pendingLen = 0;
    this.#remaining = 0;
    this.#entries = [];
  }

  #flushPending(): TransmitStatus {
    const { core } = this.#context;
    this.#context.stack.enter();
    const status = core.send(this.#handle, this.#pendingAddr, this.#pendingLen);
    if (status >= 0) {
      core.free(this.#pendingAddr);
      this.#pendingLen = 0;
      return SENT;
    }
    if (status === -EAGAIN) return BLOCKED;
    if (status === -ENOBUFS || status === -ENOMEM) return STARVED;
    return status;
  }

  /** Gathers the next chunks into one object. False when the pools are empty. */
  #fill(): boolean {
    const { core, memory } = this.#context;
    const size = Math.min(this.#remaining, OBJECT_BYTES);
    const addr = core.alloc(size) >>> 0;
    if (addr === 0) return false;
    let at = 0;
    while (at < size) {
      const entry = this.#entries[this.#index];
      const { chunk } = entry;
      if (typeof chunk === 'string') {
        const bytes = Buffer.byteLength(chunk, entry.encoding);
        if (bytes > size - at) {
          entry.chunk = Buffer.from(chunk, entry.encoding);
          continue;
        }
        memory.write(chunk, addr + at, bytes, entry.encoding);
        at += bytes;
        this.#index++;
        continue;
      }
      const n = Math.min(chunk.length - this.#offset, size - at);
      core.u8.set(n === chunk.length ? chunk : chunk.subarray(this.#offset, this.#offset + n), addr + at);
      at += n;
      this.#offset += n;
      if (this.#offset === chunk.length) {
        this.#index++;
        this.#offset = 0;
      }
    }
    this.#context.countCopied(size);
    this.#remaining -= size;
    if (this.#remaining === 0) this.#entries = [];
    this.#pendingAddr = addr;
    this.#pendingLen = size;
    return true;
  }
}
