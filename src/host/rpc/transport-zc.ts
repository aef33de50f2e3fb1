// RPC over lunet/zc: payload by reference from the packet to the handler and back, inside the packet's processing.
import type { ZcConnection, ZcHandler } from '../zc/connection.js';
import type { Iov } from '../zc/iov.js';
import type { Zc } from '../zc/zc.js';
import type { RpcMemory } from './memory.js';
import type { RpcTransport, TransportSink } from './transport.js';

export class ZcTransport implements RpcTransport {
  readonly memory: RpcMemory;
  readonly connection: ZcConnection;
  readonly #zc: Zc;
  #sink: TransportSink | null = null;
  #isOpen: boolean;
  readonly #over: () => void;

  /**
   * @param isOpen false for a connection that is still being opened
   * @param over called when there is no more to tell
   */
  constructor(zc: Zc, connection: ZcConnection, isOpen: boolean, over: () => void) {
    this.memory = zc;
    this.connection = connection;
    this.#zc = zc;
    this.#isOpen = isOpen;
    this.#over = over;
    connection.user = this;
  }

  nowUs(): number {
    const { stack } = this.#zc;
    return stack.turning ? stack.nowUs() : stack.link.clockNs() / 1000;
  }

  start(sink: TransportSink): void {
    this.#sink = sink;
    if (this.#isOpen) sink.opened();
  }

  sendv(iov: Iov): boolean {
    try {
      return iov.length === 1 ? this.connection.send(iov.words[0], iov.words[1]) : this.connection.sendv(iov);
    } catch (error) {
      // Somebody has closed the connection behind our back.
      process.nextTick(() => this.closed(error as Error));
      return false;
    }
  }

  viewOf(): DataView {
    return this.#zc.dataView;
  }

  offsetOf(addr: number): number {
    return addr;
  }

  pause(): void {
    this.connection.pause();
  }

  resume(): void {
    this.connection.resume();
  }

  end(): void {
    this.#silence();
    this.#discard();
    this.connection.close();
  }

  abort(): void {
    this.#silence();
    this.connection.abort();
  }

  /** @internal */
  opened(): void {
    this.#isOpen = true;
    this.connection.setNoDelay();
    this.#sink?.opened();
  }

  /** @internal */
  receive(addr: number, len: number): void {
    if (this.#sink) this.#sink.receive(this.#zc.dataView, addr, addr, len);
    else this.#zc.free(addr);
  }

  /** @internal */
  writable(): void {
    this.#sink?.writable();
  }

  /** @internal */
  ended(): void {
    this.#sink?.ended();
  }

  /** @internal */
  closed(error: Error | null): void {
    const sink = this.#sink;
    this.#silence();
    sink?.closed(error);
  }

  /** What waits unread would make the end a RST, and what was sent would be lost. */
  #discard(): void {
    const { connection } = this;
    if (!connection.isPaused || !connection.isOpen) return;
    const iov = this.#zc.iov();
    while (connection.recv(iov) > 0) {
      for (let i = 0; i < iov.length; i++) this.#zc.free(iov.addr(i));
    }
  }

  #silence(): void {
    this.#sink = null;
    this.#over();
  }
}

const transportOf = (connection: ZcConnection): ZcTransport => connection.user as ZcTransport;

/** What a listener or a connection of lunet/zc tells goes to its transport. */
export function zcHandler(accept?: (connection: ZcConnection) => void): ZcHandler {
  return {
    ...(accept ? { accept } : {}),
    connect: (connection) => transportOf(connection).opened(),
    data: (connection, addr, len) => transportOf(connection).receive(addr, len),
    writable: (connection) => transportOf(connection).writable(),
    eof: (connection) => transportOf(connection).ended(),
    error: (connection, error) => transportOf(connection).closed(error),
    closed: (connection) => transportOf(connection).closed(null),
  };
}
