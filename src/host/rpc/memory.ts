// What both stacks have in common: memory in counted objects with numbers as addresses. `Zc` is one; over byte streams
// the same is made of Buffers, so that one program runs on both.
import { codeError } from '../core/errors.js';
import { Iov, type Piece } from '../zc/iov.js';

export interface RpcMemory {
  /** An object of at least `size` bytes, at most 64 KiB, one reference to it. Throws ERR_LUNET_ZBUF_EXHAUSTED. */
  alloc(size: number): number;
  dup(addr: number): void;
  /** One reference less. Any address in the object will do. */
  free(addr: number): void;
  /** Bytes from `addr` to the end of its object: 0 when it is in none. */
  room(addr: number): number;
  refCount(addr: number): number;
  /** The bytes at `addr` in place, for as long as you hold a reference. */
  view(addr: number, len: number): Uint8Array;
  /** Writes bytes or UTF-8 text at `addr`; returns the bytes written. */
  write(addr: number, data: Uint8Array | string): number;
  text(addr: number, len: number): string;
}

/** What may be sent: pieces by reference, or bytes and text that are copied into an object of their own. */
export type RpcBody = Iov | readonly Piece[] | Uint8Array | string | null | undefined;

const OBJECT_SHIFT = 16;
const OBJECT_BYTES = 1 << OBJECT_SHIFT;
const MAX_OBJECTS = 1 << (32 - OBJECT_SHIFT);

/**
 * Buffers as counted objects: an address is a slot of this table and an offset, slot << 16 | offset. Freeing an object
 * only drops the table's hold on the Buffer, so a socket may go on sending it.
 */
export class BufferMemory implements RpcMemory {
  readonly #buffers: (Buffer | null)[] = [null];
  readonly #dataViews: (DataView | null)[] = [null];
  readonly #references = new Uint32Array(MAX_OBJECTS);
  readonly #free: number[] = [];
  #inUse = 0;

  /** Objects in use. */
  get inUse(): number {
    return this.#inUse;
  }

  alloc(size: number): number {
    if (!(size > 0 && size <= OBJECT_BYTES)) {
      throw codeError('ERR_OUT_OF_RANGE', `size must be 1 to ${OBJECT_BYTES}, not ${size}`);
    }
    return this.adopt(Buffer.allocUnsafe(size));
  }

  /** Makes an object of a Buffer of at most 64 KiB. */
  adopt(buffer: Buffer): number {
    const slot = this.#free.pop() ?? this.#buffers.length;
    if (slot >= MAX_OBJECTS) throw codeError('ERR_LUNET_ZBUF_EXHAUSTED', `${MAX_OBJECTS} buffers are in use`);
    this.#buffers[slot] = buffer;
    this.#dataViews[slot] = null;
    this.#references[slot] = 1;
    this.#inUse++;
    return slot * OBJECT_BYTES;
  }

  #slot(addr: number): number {
    const slot = addr >>> OBJECT_SHIFT;
    if (this.#references[slot] === 0) throw codeError('ERR_LUNET_ZBUF_FREED', `nothing at ${addr} is allocated`);
    return slot;
  }

  dup(addr: number): void {
    this.#references[this.#slot(addr)]++;
  }

  free(addr: number): void {
    const slot = this.#slot(addr);
    if (--this.#references[slot] > 0) return;
    this.#buffers[slot] = null;
    this.#dataViews[slot] = null;
    this.#free.push(slot);
    this.#inUse--;
  }

  room(addr: number): number {
    return Math.max((this.#buffers[addr >>> OBJECT_SHIFT]?.length ?? 0) - (addr & (OBJECT_BYTES - 1)), 0);
  }

  refCount(addr: number): number {
    return this.#references[addr >>> OBJECT_SHIFT];
  }

  view(addr: number, len: number): Buffer {
    const buffer = this.#buffers[this.#slot(addr)]!;
    const at = addr & (OBJECT_BYTES - 1);
    if (len < 0 || at + len > buffer.length) {
      throw codeError('ERR_LUNET_ZBUF_RANGE', `${len} bytes at ${addr}, where ${buffer.length - at} are left`);
    }
    return at === 0 && len === buffer.length ? buffer : buffer.subarray(at, at + len);
  }

  /** The whole object that holds `addr`, which is at offset(addr) of it. */
  dataView(addr: number): DataView {
    const slot = this.#slot(addr);
    const buffer = this.#buffers[slot]!;
    this.#dataViews[slot] ??= new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    return this.#dataViews[slot];
  }

  offset(addr: number): number {
    return addr & (OBJECT_BYTES - 1);
  }

  write(addr: number, data: Uint8Array | string): number {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    if (bytes.length > 0) this.view(addr, bytes.length).set(bytes);
    return bytes.length;
  }

  text(addr: number, len: number): string {
    return len === 0 ? '' : this.view(addr, len).toString();
  }
}

/** Bytes or text in objects of their own, one reference each. */
export function place(memory: RpcMemory, data: Uint8Array | string): Iov {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  const iov = new Iov(Math.max(Math.ceil(bytes.length / OBJECT_BYTES), 1));
  for (let at = 0; at < bytes.length; at += OBJECT_BYTES) {
    const part = bytes.subarray(at, at + OBJECT_BYTES);
    let addr: number;
    try {
      addr = memory.alloc(part.length);
    } catch (error) {
      release(memory, iov);
      throw error;
    }
    iov.push(addr, memory.write(addr, part));
  }
  return iov;
}

export function isData(body: RpcBody): body is Uint8Array | string {
  return typeof body === 'string' || body instanceof Uint8Array;
}

/** Frees a reference to each piece and empties the iov. */
export function release(memory: RpcMemory, iov: Iov): void {
  const { words } = iov;
  const end = 2 * iov.length;
  iov.clear();
  for (let i = 0; i < end; i += 2) memory.free(words[i]);
}

/** All bytes of the pieces, copied together. */
export function gather(memory: RpcMemory, iov: Iov): Buffer {
  const out = Buffer.allocUnsafe(iov.byteLength);
  let at = 0;
  for (let i = 0; i < iov.length; i++) {
    out.set(memory.view(iov.addr(i), iov.len(i)), at);
    at += iov.len(i);
  }
  return out;
}
