// Between the core's events and a socket, and between a socket and the server that accepted it.
import type { SocketHandler } from '../stack.js';
import type { Socket } from './socket.js';

/** What a server hands over with an accepted connection. */
export interface Owner {
  connectionClosed(): void;
}

/** The core's events for one connection, passed to its socket. */
export class SocketEvents implements SocketHandler {
  readonly #socket: Socket;
  constructor(socket: Socket) {
    this.#socket = socket;
  }
  connect(): void {
    this.#socket._established();
  }
  data(): void {
    this.#socket._dataReady();
  }
  writable(): void {
    this.#socket._writeReady();
  }
  eof(): void {
    this.#socket._eofReached();
  }
  report(what: number, errno: number, urgentBytes: number): void {
    this.#socket._reported(what, errno, urgentBytes);
  }
  error(errno: number): void {
    this.#socket._failed(errno);
  }
}

export function emitClose(socket: Socket, hadError: boolean, owner: Owner | null): void {
  socket.emit('close', hadError);
  owner?.connectionClosed();
}
