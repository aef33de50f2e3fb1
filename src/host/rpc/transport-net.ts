// RPC over sockets: node:net's, lunet/net's, a TLSSocket, or any Duplex that behaves like one.
import type { Duplex } from 'node:stream';
import type { Iov } from '../zc/iov.js';
import type { BufferMemory } from './memory.js';
import type { RpcTransport, TransportSink } from './transport.js';

/** Up to here pieces are copied together: one write is cheaper than many. */
const GATHER_BYTES = 16 * 1024;
const OBJECT_BYTES = 65536;

interface SocketLike extends Duplex {
  readonly connecting?: boolean;
  setNoDelay?(on?: boolean): unknown;
}

export class NetTransport implements RpcTransport {
  readonly memory: BufferMemory;
  readonly socket: SocketLike;
  #sink: TransportSink | null = null;
  #error: Error | null = null;

  constructor(socket: Duplex, memory: BufferMemory) {
    this.memory = memory;
    this.socket = socket;
    this.socket.setNoDelay?.(true);
  }

  nowUs(): number {
    return performance.now() * 1000;
  }

  start(sink: TransportSink): void {
    const { socket } = this;
    this.#sink = sink;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.#sink?.writable());
    socket.on('end', () => this.#sink?.ended());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      const last = this.#sink;
      this.#sink = null;
      last?.closed(this.#error);
    });
    if (socket.connecting) socket.once('connect', () => this.#sink?.opened());
    else sink.opened();
  }

  #receive(chunk: Buffer): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    if (chunk.length <= OBJECT_BYTES) {
      this.#sink?.receive(view, 0, this.memory.adopt(chunk), chunk.length);
      return;
    }
    for (let at = 0; at < chunk.length; at += OBJECT_BYTES) {
      const part = chunk.subarray(at, at + OBJECT_BYTES);
      this.#sink?.receive(view, at, this.memory.adopt(part), part.length);
    }
  }

  sendv(iov: Iov): boolean {
    const { socket, memory } = this;
    const count = iov.length;
    const bytes = iov.byteLength;
    // A stream takes everything; that it would rather not is known before the next.
    if (socket.writableNeedDrain) return false;
    if (count > 1 && bytes <= GATHER_BYTES) {
      const all = Buffer.allocUnsafe(bytes);
      let at = 0;
      for (let i = 0; i < count; i++) {
        all.set(memory.view(iov.addr(i), iov.len(i)), at);
        at += iov.len(i);
      }
      socket.write(all);
      return true;
    }
    socket.cork();
    for (let i = 0; i < count; i++) socket.write(memory.view(iov.addr(i), iov.len(i)));
    socket.uncork();
    return true;
  }

  viewOf(addr: number): DataView {
    return this.memory.dataView(addr);
  }

  offsetOf(addr: number): number {
    return this.memory.offset(addr);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    this.#sink = null;
    this.socket.end();
    // What still comes is of no interest, but its end is.
    this.socket.resume();
  }

  abort(): void {
    this.#sink = null;
    this.socket.destroy();
  }
}
