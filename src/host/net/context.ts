// What all sockets and servers on one stack share: views of linear memory, the receive copy, references on the loop.
import type { AddressInfo } from 'node:net';
import { readAddress } from '../core/address.js';
import type { Core } from '../core/core.js';
import {
  CNT_HostCopiedBytes,
  INFO_local_address,
  INFO_local_port,
  INFO_remote_address,
  INFO_remote_port,
  IOV_SIZE,
} from '../core/layout.js';
import type { Stack } from '../stack.js';

/** Where a socket finds its stack: at once for a bound one, opened on first use for the package's default. */
export interface StackSource {
  readonly current: NetContext | null;
  open(): Promise<NetContext>;
}

/** A socket or server; told when the stack is about to close, while the core still works. */
export interface StackMember {
  stackClosing(): void;
}

/** Pieces taken with one recv(): at 1,460 bytes each about the 64 KiB that node:net reads at a time. */
const PIECES_PER_READ = 44;

/** Received bytes are cut from slabs of this size, so that a small read is not an allocation of its own. */
const SLAB_BYTES = 128 * 1024;

/** Reads of at least this much get memory of their own: a kept slice of them pins nothing else. */
const OWN_BUFFER_BYTES = 32 * 1024;

const MEMORY_RETRY_MS = 1;

export class NetContext {
  readonly stack: Stack;
  readonly core: Core;
  /** The whole linear memory. It never grows, so the view lasts as long as the stack. */
  readonly memory: Buffer;
  /** Negative errno of the last receive() that gave no bytes, 0 when there were none to give. */
  receiveStatus = 0;
  #slab: ArrayBuffer = new ArrayBuffer(SLAB_BYTES);
  #slabUsed = 0;
  #closed = false;
  readonly #members = new Set<StackMember>();
  readonly #waiting = new Set<() => void>();
  #retryTimer: NodeJS.Timeout | null = null;

  constructor(stack: Stack) {
    this.stack = stack;
    this.core = stack.core;
    this.memory = Buffer.from(stack.core.memory.buffer);
    stack.onClose(() => this.#close());
  }

  #close(): void {
    this.#closed = true;
    if (this.#retryTimer) clearTimeout(this.#retryTimer);
    for (const member of [...this.#members]) member.stackClosing();
  }

  /** Copies what the core has queued for a connection, up to about 64 KiB, and gives the memory back. */
  receive(handle: number): Buffer | null {
    const { core } = this;
    const iov = core.scratch;
    const pieces = core.recv(handle, iov, PIECES_PER_READ);
    if (pieces <= 0) {
      this.receiveStatus = pieces;
      return null;
    }
    const { dv } = core;
    let total = 0;
    for (let i = 0; i < pieces; i++) total += dv.getUint32(iov + i * IOV_SIZE + 4, true);
    const out = this.#buffer(total);
    let at = 0;
    for (let i = 0; i < pieces; i++) {
      const addr = dv.getUint32(iov + i * IOV_SIZE, true);
      const len = dv.getUint32(iov + i * IOV_SIZE + 4, true);
      this.copyOut(addr, len, out, at);
      at += len;
      core.free(addr);
    }
    this.countCopied(total);
    return out;
  }

  copyOut(addr: number, len: number, out: Uint8Array, at: number): void {
    const { u8 } = this.core;
    if (len <= 32) {
      // Cheaper than making the view that set() wants.
      for (let i = 0; i < len; i++) out[at + i] = u8[addr + i];
    } else {
      out.set(u8.subarray(addr, addr + len), at);
    }
  }

  /** A copy of [addr, addr + len), counted. */
  copy(addr: number, len: number): Buffer {
    const out = this.#buffer(len);
    this.copyOut(addr, len, out, 0);
    this.countCopied(len);
    return out;
  }

  #buffer(bytes: number): Buffer {
    if (bytes >= OWN_BUFFER_BYTES) return Buffer.allocUnsafeSlow(bytes);
    if (this.#slabUsed + bytes > SLAB_BYTES) {
      this.#slab = new ArrayBuffer(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    const at = this.#slabUsed;
    // Rounded to 8 so that typed arrays made over a received buffer stay aligned.
    this.#slabUsed = (at + bytes + 7) & ~7;
    return Buffer.from(this.#slab, at, bytes);
  }

  countCopied(bytes: number): void {
    this.core.countAdd(CNT_HostCopiedBytes, bytes);
  }

  /** Where a connection or listener is bound, or who is at the other end. Null when the handle is gone. */
  endpoint(handle: number, remote: boolean): AddressInfo | null {
    const { core } = this;
    const at = core.scratch;
    if (core.info(handle, at) < 0) return null;
    const address = readAddress(core.u8, at + (remote ? INFO_remote_address : INFO_local_address));
    const port = core.dv.getUint32(at + (remote ? INFO_remote_port : INFO_local_port), true);
    return { address, family: address.includes(':') ? 'IPv6' : 'IPv4', port };
  }

  /** The stack is closed, or its close() has begun: nothing new can start on it. */
  get closed(): boolean {
    return this.#closed;
  }

  join(member: StackMember): void {
    this.#members.add(member);
  }

  leave(member: StackMember): void {
    this.#members.delete(member);
  }

  /** Calls back a little later, for a sender that found the object pools empty. */
  whenMemoryMayBeFree(retry: () => void): void {
    this.#waiting.add(retry);
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = null;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const callback of waiting) callback();
    }, MEMORY_RETRY_MS);
  }

  forget(retry: () => void): void {
    this.#waiting.delete(retry);
  }
}

/** The two ends of a connection: asked for once, and remembered when the handle is gone. */
export class Endpoints {
  #local: AddressInfo | null = null;
  #remote: AddressInfo | null = null;

  of(context: NetContext | null, handle: number, remote: boolean): AddressInfo | null {
    const known = remote ? this.#remote : this.#local;
    if (known || !context || handle === 0) return known;
    const found = context.endpoint(handle, remote);
    if (remote) this.#remote = found;
    else this.#local = found;
    return found;
  }
}
