// The answering end: methods by number, handlers that answer at once or later, in any order.
import type { Iov, Piece } from '../zc/iov.js';
import {
  type RpcError,
  rpcError,
  STATUS_BUSY,
  STATUS_CANCELLED,
  STATUS_HANDLER,
  STATUS_METHOD,
  STATUS_TOO_LARGE,
  STATUS_UNAVAILABLE,
  surface,
} from './errors.js';
import type { Framer } from './framing.js';
import { FLAG_END, FLAG_STREAM, KIND_CANCEL, KIND_ERROR, KIND_GOAWAY, KIND_REQUEST, KIND_RESPONSE } from './header.js';
import { place, release } from './memory.js';
import { type RequestOwner, RpcRequest } from './request.js';
import { lossOf, type RpcCounters, Session, type SessionOptions, zeroCounters } from './session.js';
import { bytesOf, RpcStream } from './stream.js';
import type { RpcTransport } from './transport.js';

/** Answers now or later. What it throws, or a promise of it rejects with, is ERR_RPC_HANDLER at the client. */
export type RpcHandler = (request: RpcRequest) => undefined | void | Promise<void>;

export interface RpcServerOptions extends SessionOptions {
  /** Requests of one connection that are handled at once; 1024 by default. Clients of this module keep to it. */
  maxInFlight?: number;
  /**
   * What happens to more: `wait` (the default) until others have been answered, while the connection is not read; or
   * `reject` with ERR_RPC_BUSY.
   */
  overload?: 'wait' | 'reject';
  /** Requests of one connection that may wait; more are rejected. 1024 by default. */
  maxWaiting?: number;
  /** An exception of a handler, before the client is told that there was one. */
  onException?: (error: unknown, request: RpcRequest) => void;
  /** A connection has ended; with an error unless in order. */
  onClose?: (connection: RpcServerConnection, error: Error | null) => void;
}

const DEFAULT_IN_FLIGHT = 1024;
const DEFAULT_WAITING = 1024;
const MOST_ERROR_TEXT_BYTES = 1024;
/** Request objects kept for the next requests. */
const MOST_SPARE_REQUESTS = 64;

export class RpcServer {
  readonly options: RpcServerOptions;
  readonly counters: RpcCounters = zeroCounters();
  readonly #handlers = new Map<number, RpcHandler>();
  readonly #connections = new Set<RpcServerConnection>();
  #closing: Promise<void> | null = null;
  #whenIdle: (() => void) | null = null;

  constructor(options: RpcServerOptions = {}) {
    this.options = options;
  }

  /** Handles requests for `method`, 0 to 2³² − 1. */
  handle(method: number, handler: RpcHandler): this {
    if (!Number.isInteger(method) || method < 0 || method > 0xffff_ffff) {
      throw Object.assign(new RangeError(`a method is 0 to ${0xffff_ffff}, not ${method}`), {
        code: 'ERR_OUT_OF_RANGE',
      });
    }
    this.#handlers.set(method, handler);
    return this;
  }

  /** Serves a connection. */
  accept(transport: RpcTransport, peer: unknown = null): RpcServerConnection {
    const connection = new RpcServerConnection(this, transport, peer);
    this.#connections.add(connection);
    if (this.#closing) connection.drain();
    return connection;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Requests that are being handled or wait. */
  get inFlight(): number {
    let sum = 0;
    for (const connection of this.#connections) sum += connection.inFlight;
    return sum;
  }

  /**
   * Takes no new requests and tells the clients, which close when those that are there have been answered. What is left
   * after `timeoutMs` is aborted. Close the listener first.
   */
  close(timeoutMs = 10_000): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of [...this.#connections]) connection.destroy(null);
      }, timeoutMs);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
      for (const connection of this.#connections) connection.drain();
      this.#checkIdle();
    });
    return this.#closing;
  }

  #checkIdle(): void {
    if (this.#connections.size === 0) this.#whenIdle?.();
  }

  /** @internal */
  handlerOf(method: number): RpcHandler | undefined {
    return this.#handlers.get(method);
  }

  /** @internal */
  gone(connection: RpcServerConnection, error: Error | null): void {
    this.#connections.delete(connection);
    try {
      this.options.onClose?.(connection, error);
    } catch (thrown) {
      surface(thrown);
    }
    this.#checkIdle();
  }
}

export class RpcServerConnection extends Session implements RequestOwner {
  readonly peer: unknown;
  protected override readonly counters: RpcCounters;
  readonly #server: RpcServer;
  readonly #maxInFlight: number;
  readonly #maxWaiting: number;
  /** Requests whose handler has been called, and which are not answered. */
  #handling = 0;
  #streams = 0;
  /** Those of them that were not answered when it returned, by id. */
  readonly #later = new Map<number, RpcRequest>();
  /** Requests that wait for their handler to be called. */
  readonly #waiting: RpcRequest[] = [];
  readonly #spare: RpcRequest[] = [];
  #draining = false;
  #paused = false;

  /** @internal */
  constructor(server: RpcServer, transport: RpcTransport, peer: unknown) {
    const { options } = server;
    const maxInFlight = options.maxInFlight ?? DEFAULT_IN_FLIGHT;
    super(transport, options, maxInFlight);
    this.#server = server;
    this.counters = server.counters;
    this.peer = peer;
    this.#maxInFlight = maxInFlight;
    this.#maxWaiting = options.overload === 'reject' ? 0 : (options.maxWaiting ?? DEFAULT_WAITING);
    transport.start(this);
  }

  /** Requests that are being handled or wait. */
  get inFlight(): number {
    return this.#handling + this.#waiting.length;
  }

  /** @internal */
  nowUs(): number {
    return this.transport.nowUs();
  }

  // ---- requests ------------------------------------------------------------------------------------------

  protected override handle(frame: Framer): void {
    if (frame.kind === KIND_REQUEST) this.#request(frame);
    else if (frame.kind === KIND_CANCEL) this.#cancel(frame.id);
    else this.malformed(`kind ${frame.kind} from a client`);
  }

  #request(frame: Framer): void {
    const { id } = frame;
    const handler = this.#server.handlerOf(frame.method);
    if (this.#later.size > 0 && this.#later.has(id)) {
      this.malformed(`a second request with id ${id}`);
      return;
    }
    if (this.#draining) {
      this.#reject(id, STATUS_UNAVAILABLE);
    } else if (frame.oversize) {
      this.#reject(id, STATUS_TOO_LARGE);
    } else if (handler === undefined) {
      this.#reject(id, STATUS_METHOD);
    } else if (this.#handling < this.#maxInFlight && this.#waiting.length === 0) {
      this.#call(this.#take(frame), handler);
    } else if (this.#waiting.length < this.#maxWaiting) {
      const request = this.#take(frame);
      request.own();
      this.#waiting.push(request);
      this.#later.set(id, request);
      this.#mind();
    } else {
      this.counters.busy++;
      this.#reject(id, STATUS_BUSY);
    }
  }

  /** Refuses a request that no handler has seen. */
  #reject(id: number, status: number): void {
    this.counters.errors++;
    this.answer(KIND_ERROR, id, status);
  }

  #take(frame: Framer): RpcRequest {
    const request = this.#spare.pop() ?? new RpcRequest(this);
    request.begin(frame.id, frame.method, frame.deadlineUs);
    if (frame.pieces.length > 0) {
      request.pieces = frame.takePieces(request.pieces);
      request.borrowed = frame.borrowed;
      request.headerView = frame.headerView;
      request.headerAt = frame.headerAt;
    }
    if (frame.flags & FLAG_STREAM) {
      this.#streams++;
      const stream = new RpcStream(this, frame.id, this.windowBytes, (frame.flags & FLAG_END) !== 0, false);
      stream.begun(this.peerWindowBytes);
      request.stream = stream;
    }
    return request;
  }

  #call(request: RpcRequest, handler: RpcHandler): void {
    this.#handling++;
    this.counters.requests++;
    // Of a request that has been answered nothing may be asked any more.
    const { id, stream } = request;
    // Its stream may end it by itself.
    if (stream) this.#later.set(id, request);
    let result: unknown;
    try {
      result = handler(request);
    } catch (error) {
      this.#threw(request, error);
    }
    if (result !== undefined && typeof (result as PromiseLike<void>).then === 'function') {
      if (request.answered) {
        // Only what it may still throw is of interest.
        (result as Promise<void>).catch(surface);
        return;
      }
      (result as Promise<void>).then(
        () => {
          if (!request.answered) this.#threw(request, new Error('the handler has ended without an answer'));
        },
        (error: unknown) => this.#threw(request, error),
      );
    }
    if (!request.answered) this.#keep(id, request);
    else if (result === undefined && this.#spare.length < MOST_SPARE_REQUESTS) this.#spare.push(request);
  }

  /** It will be answered later, unless the handler has ended the connection. */
  #keep(id: number, request: RpcRequest): void {
    request.own();
    if (this.gone) request.abort();
    else this.#later.set(id, request);
  }

  #threw(request: RpcRequest, error: unknown): void {
    this.counters.exceptions++;
    try {
      this.#server.options.onException?.(error, request);
    } catch (thrown) {
      surface(thrown);
    }
    request.refuse(STATUS_HANDLER, error instanceof Error ? error.message : String(error));
  }

  /** @internal */
  respond(request: RpcRequest, pieces: Iov | readonly Piece[] | null, headroom: boolean): void {
    const { id } = request;
    const bytes = pieces === null ? 0 : bytesOf(pieces);
    if (bytes > this.peerMessageBytes) {
      this.refuse(request, STATUS_TOO_LARGE, `a response of ${bytes} bytes, the client takes ${this.peerMessageBytes}`);
      return;
    }
    if (pieces === request.pieces && bytes > 0) {
      const { borrowed, headerView, headerAt } = request;
      this.output.messageBack(KIND_RESPONSE, id, request.pieces, borrowed, headerView, headerAt);
    } else {
      this.output.message(KIND_RESPONSE, 0, id, 0, 0, 0, 0, pieces, headroom);
    }
    this.counters.responses++;
    this.#done(request);
  }

  /** @internal */
  refuse(request: RpcRequest, status: number, message: string): void {
    this.counters.errors++;
    const text = Buffer.from(message).subarray(0, MOST_ERROR_TEXT_BYTES);
    const payload = text.length > 0 ? place(this.memory, text) : null;
    try {
      this.output.message(KIND_ERROR, 0, request.id, 0, 0, status, 0, payload);
    } finally {
      if (payload) release(this.memory, payload);
    }
    this.#done(request);
  }

  /** @internal */
  lateAnswer(): void {
    this.counters.late++;
  }

  /** The last word about a request has been said. */
  #done(request: RpcRequest): void {
    request.answered = true;
    request.release();
    this.#forget(request);
    if (this.#waiting.length > 0) this.#pump();
  }

  #forget(request: RpcRequest): void {
    this.#handling--;
    if (this.#later.size > 0) this.#later.delete(request.id);
    if (request.stream) {
      this.#streams--;
      request.stream.answered();
    }
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#handling < this.#maxInFlight && !this.gone) {
      const request = this.#waiting.shift()!;
      this.#later.delete(request.id);
      this.#call(request, this.#server.handlerOf(request.method)!);
    }
    this.#mind();
  }

  /** Reads no further while requests wait, unless streams need what comes: credit, and their bytes. */
  #mind(): void {
    const pause = this.#waiting.length > 0 && this.#streams === 0;
    if (pause === this.#paused || this.gone) return;
    this.#paused = pause;
    this.read(!pause);
  }

  #cancel(id: number): void {
    const request = this.#later.get(id);
    // It has been answered while this was on its way.
    if (!request) return;
    this.counters.cancelled++;
    this.#abort(request, rpcError('ERR_RPC_CANCELLED', 'the client has cancelled the call', true));
    this.answer(KIND_ERROR, id, STATUS_CANCELLED);
    if (this.#waiting.length > 0) this.#pump();
  }

  /** Whoever handles it is told, and keeps the pieces until he answers; whoever does not know of it yet never will. */
  #abort(request: RpcRequest, reason: RpcError): void {
    this.counters.errors++;
    this.#later.delete(request.id);
    if (request.stream) {
      this.#streams--;
      request.stream.close(reason);
    }
    const at = this.#waiting.indexOf(request);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      request.answered = true;
      request.release();
    } else {
      this.#handling--;
      request.abort();
    }
  }

  // ---- streams -------------------------------------------------------------------------------------------

  protected override streamOf(id: number): RpcStream | null {
    return this.#later.get(id)?.stream ?? null;
  }

  protected override streamEnded(stream: RpcStream): void {
    stream.close(null);
  }

  /** @internal */
  streamCancelled(stream: RpcStream): void {
    this.#requestOf(stream)?.refuse(STATUS_CANCELLED, 'the server has cancelled the call');
  }

  /** @internal */
  streamFinished(stream: RpcStream): void {
    const request = this.#requestOf(stream);
    if (!request || request.aborted || request.answered) return;
    this.counters.responses++;
    this.#done(request);
  }

  #requestOf(stream: RpcStream): RpcRequest | undefined {
    const request = this.#later.get(stream.id);
    return request?.stream === stream ? request : undefined;
  }

  // ---- endings -------------------------------------------------------------------------------------------

  /** Takes no new requests. The client closes when those that are there have been answered. */
  drain(): void {
    if (this.#draining || this.gone) return;
    this.#draining = true;
    this.control(KIND_GOAWAY, 0, 0, 0);
  }

  protected override helloCame(): void {
    // Requests come behind it.
  }

  protected override goAwayCame(): void {
    // Clients just close.
  }

  protected override lost(error: Error | null): void {
    const reason = lossOf(error, true);
    for (const request of [...this.#later.values()]) this.#abort(request, reason);
    this.#server.gone(this, error);
  }
}
