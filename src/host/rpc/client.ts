// The calling end: many calls at once over one connection, answered in any order.
import { invalidArgType, outOfRange } from '../net/errors.js';
import { Iov, type Piece } from '../zc/iov.js';
import { CALL_GIVEN_UP, CALL_SENT, CALL_WAITING, CallTable, type ReplyCallback } from './calls.js';
import { DeadlineWheel } from './deadlines.js';
import { type RpcError, type RpcErrorCode, rpcError, statusError, surface } from './errors.js';
import type { Framer } from './framing.js';
import { FLAG_END, FLAG_STREAM, KIND_CANCEL, KIND_ERROR, KIND_REQUEST, KIND_RESPONSE, MAX_U32 } from './header.js';
import { gather, isData, place, type RpcBody, release } from './memory.js';
import { RpcMessage } from './message.js';
import { lossOf, type RpcCounters, Session, type SessionOptions, zeroCounters } from './session.js';
import { bytesOf, RpcStream } from './stream.js';
import type { RpcTransport } from './transport.js';

export interface RpcClientOptions extends SessionOptions {
  /** Calls in flight at once; 1024 by default, and never more than the server takes. */
  maxInFlight?: number;
  /** Calls that may wait for one of those to end; 4096 by default. */
  maxWaiting?: number;
  /** The connection can be used. */
  onOpen?: (client: RpcClient) => void;
  /** call() said 0 before; there is room again. */
  onDrain?: (client: RpcClient) => void;
  /** The server takes no new requests; those in flight will be answered. */
  onGoAway?: (client: RpcClient) => void;
  /** The connection is over: the reason, or null after close() or when the server closed in order. */
  onClose?: (error: Error | null) => void;
}

/** May be kept and used for many calls. */
export interface CallOptions {
  onReply: ReplyCallback;
  /** The RPC_HEADROOM bytes in front of the first piece, in its object, are for the header: a piece less to send. */
  headroom?: boolean;
  /** Microseconds until the call ends with ERR_RPC_DEADLINE, found out to a millisecond; 0 or none: it may take for ever. */
  deadlineUs?: number;
}

export interface RequestOptions {
  deadlineUs?: number;
  signal?: AbortSignal;
}

export interface StreamOptions {
  deadlineUs?: number;
  /** The request is `body` and nothing more. */
  end?: boolean;
}

const DEFAULT_IN_FLIGHT = 1024;
const DEFAULT_WAITING = 4096;
const INITIAL_SLOTS = 64;
const NO_PIECES = new Iov(1);

/** A call that waits for its turn, with references of its own to the payload. */
interface Waiting {
  slot: number;
  id: number;
  method: number;
  flags: number;
  payload: Iov;
}

export class RpcClient extends Session {
  /** What has happened so far. */
  override readonly counters: RpcCounters = zeroCounters();
  readonly #options: RpcClientOptions;
  readonly #maxWaiting: number;
  readonly #calls: CallTable;
  readonly #deadlines: DeadlineWheel;
  #maxInFlight: number;
  #inFlight = 0;
  readonly #waiting: Waiting[] = [];
  #waitingAt = 0;
  #drainWanted = false;
  #closing = false;
  #goingAway = false;
  #whenClosed: (() => void)[] = [];

  /** @internal */
  constructor(transport: RpcTransport, options: RpcClientOptions = {}) {
    super(transport, options, 0);
    this.#options = options;
    this.#maxInFlight = options.maxInFlight ?? DEFAULT_IN_FLIGHT;
    this.#maxWaiting = options.maxWaiting ?? DEFAULT_WAITING;
    this.#calls = new CallTable(INITIAL_SLOTS, (slots) => this.#deadlines.grow(slots));
    this.#deadlines = new DeadlineWheel(
      this.#calls.size,
      () => transport.nowUs(),
      (slot) => this.#expired(slot),
    );
    transport.start(this);
  }

  /** Calls sent and not ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Calls that wait for others to end. */
  get waiting(): number {
    return this.#waiting.length - this.#waitingAt;
  }

  // ---- calling -------------------------------------------------------------------------------------------

  /**
   * Calls `method` with the pieces as payload, by reference: your own references stay yours. Returns the call's id, or 0
   * when too many calls wait already (onDrain tells when not). options.onReply is called once, never from within.
   * Throws ERR_RPC_CLOSED, ERR_RPC_UNAVAILABLE, ERR_RPC_TOO_LARGE, and ERR_LUNET_ZBUF_… on memory that cannot be sent.
   */
  call(method: number, pieces: Iov | readonly Piece[] | null, options: CallOptions): number {
    const { onReply, deadlineUs = 0, headroom = false } = options;
    return this.#begin(method, pieces, headroom, deadlineUs, onReply);
  }

  /** The same as a promise, for bytes and text too. The message is yours: free() it, or take() its bytes. */
  request(method: number, body?: RpcBody, options: RequestOptions = {}): Promise<RpcMessage> {
    const { signal, deadlineUs = 0 } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const aborted = (): void => {
        this.cancel(id);
      };
      const onReply: ReplyCallback = (error, pieces) => {
        signal?.removeEventListener('abort', aborted);
        if (error) reject(signal?.aborted && error.code === 'ERR_RPC_CANCELLED' ? signal.reason : error);
        else resolve(new RpcMessage(this.memory, this.#keep(pieces)));
      };
      const id = this.#withPieces(body, (pieces) => this.#begin(method, pieces, false, deadlineUs, onReply));
      if (id === 0) throw rpcError('ERR_RPC_BUSY', `${this.waiting} calls wait already`);
      signal?.addEventListener('abort', aborted, { once: true });
    });
  }

  /**
   * Calls `method` with bodies of any size: `body` is the first of the request's, the rest goes by the stream, and the
   * response comes by it. Throws as call() does, and ERR_RPC_BUSY.
   */
  stream(method: number, body?: RpcBody, options: StreamOptions = {}): RpcStream {
    const flags = FLAG_STREAM | (options.end ? FLAG_END : 0);
    const slot = this.#reserve();
    if (slot < 0) throw rpcError('ERR_RPC_BUSY', `${this.waiting} calls wait already`);
    const stream = new RpcStream(this, this.#calls.idOf(slot), this.windowBytes, false, options.end === true);
    try {
      this.#withPieces(body, (pieces) =>
        this.#start(slot, method, pieces, false, flags, options.deadlineUs ?? 0, null, stream),
      );
    } catch (error) {
      this.#calls.free(slot);
      throw error;
    }
    return stream;
  }

  /** Gives a call up: it ends with ERR_RPC_CANCELLED, and the server is told. False when it has ended already. */
  cancel(id: number): boolean {
    const slot = this.#calls.slotOf(id);
    if (slot < 0 || this.#calls.state[slot] === CALL_GIVEN_UP) return false;
    this.counters.cancelled++;
    this.#giveUp(slot, 'ERR_RPC_CANCELLED', 'the call was cancelled');
    return true;
  }

  #withPieces<T>(body: RpcBody, act: (pieces: Iov | readonly Piece[] | null) => T): T {
    if (!isData(body)) return act(body ?? null);
    if (body.length === 0) return act(null);
    const placed = place(this.memory, body);
    try {
      return act(placed);
    } finally {
      release(this.memory, placed);
    }
  }

  #keep(pieces: Iov): Iov {
    const kept = new Iov(Math.max(pieces.length, 1));
    for (let i = 0; i < pieces.length; i++) {
      this.memory.dup(pieces.addr(i));
      kept.push(pieces.addr(i), pieces.len(i));
    }
    return kept;
  }

  #begin(
    method: number,
    pieces: Iov | readonly Piece[] | null,
    headroom: boolean,
    deadlineUs: number,
    onReply: ReplyCallback,
  ): number {
    const slot = this.#reserve();
    if (slot < 0) return 0;
    try {
      return this.#start(slot, method, pieces, headroom, 0, deadlineUs, onReply, null);
    } catch (error) {
      this.#calls.free(slot);
      throw error;
    }
  }

  /** A slot for a call, or -1 when there is no room for another. */
  #reserve(): number {
    if (this.#goingAway) throw rpcError('ERR_RPC_UNAVAILABLE', 'the server takes no new requests');
    if (this.#closing || this.gone) throw rpcError('ERR_RPC_CLOSED', 'the connection is closed');
    const slot = this.#hasRoom() || this.waiting < this.#maxWaiting ? this.#calls.take() : -1;
    if (slot >= 0) return slot;
    this.counters.busy++;
    this.#drainWanted = true;
    return -1;
  }

  #hasRoom(): boolean {
    return this.#inFlight < this.#maxInFlight && this.#waiting.length === 0;
  }

  #start(
    slot: number,
    method: number,
    pieces: Iov | readonly Piece[] | null,
    headroom: boolean,
    flags: number,
    deadlineUs: number,
    onReply: ReplyCallback | null,
    stream: RpcStream | null,
  ): number {
    if (method >>> 0 !== method) throw outOfRange('method', `an integer >= 0 && <= ${MAX_U32}`, method);
    // What is left of a deadline that has passed is no call without a deadline.
    if (!(deadlineUs >= 0)) throw outOfRange('deadlineUs', 'microseconds, or 0 for no deadline', deadlineUs);
    if (pieces !== null && !(pieces instanceof Iov) && !Array.isArray(pieces)) {
      throw invalidArgType('body', 'bytes, text, an Iov or an array of pieces', pieces);
    }
    const calls = this.#calls;
    const id = calls.idOf(slot);
    if (pieces !== null && this.peerMessageBytes !== MAX_U32) this.#checkSize(pieces);
    if (this.#hasRoom()) {
      this.#send(slot, id, method, pieces, headroom, flags, deadlineUs, stream);
    } else {
      this.#waiting.push({ slot, id, method, flags, payload: this.#held(pieces) });
      calls.state[slot] = CALL_WAITING;
    }
    calls.callbacks[slot] = onReply;
    calls.streams[slot] = stream;
    if (deadlineUs > 0) this.#deadlines.arm(slot, this.transport.nowUs(), deadlineUs);
    return id;
  }

  #checkSize(pieces: Iov | readonly Piece[]): void {
    const bytes = bytesOf(pieces);
    if (bytes <= this.peerMessageBytes) return;
    throw rpcError('ERR_RPC_TOO_LARGE', `${bytes} bytes, the server takes ${this.peerMessageBytes} in a message`);
  }

  /** The pieces with references for as long as they wait. */
  #held(pieces: Iov | readonly Piece[] | null): Iov {
    const held = new Iov(Math.max(pieces?.length ?? 0, 1));
    const add = (addr: number, len: number): void => {
      if (len === 0) return;
      if (this.memory.room(addr) < len) this.memory.view(addr, len);
      this.memory.dup(addr);
      held.push(addr, len);
    };
    try {
      if (pieces instanceof Iov) for (let i = 0; i < pieces.length; i++) add(pieces.addr(i), pieces.len(i));
      else for (const { addr, len } of pieces ?? []) add(addr, len);
    } catch (error) {
      release(this.memory, held);
      throw error;
    }
    return held;
  }

  #send(
    slot: number,
    id: number,
    method: number,
    pieces: Iov | readonly Piece[] | null,
    headroom: boolean,
    flags: number,
    deadlineUs: number,
    stream: RpcStream | null,
  ): void {
    const calls = this.#calls;
    calls.position[slot] = this.output.position;
    this.output.message(KIND_REQUEST, flags, id, method, Math.min(deadlineUs, MAX_U32), 0, 0, pieces, headroom);
    calls.state[slot] = CALL_SENT;
    this.counters.requests++;
    this.#inFlight++;
    stream?.begun(this.peerWindowBytes);
  }

  /** Lets waiting calls go as far as there is room. */
  #pump(): void {
    while (this.#waitingAt < this.#waiting.length && this.#inFlight < this.#maxInFlight && !this.gone) {
      const { slot, id, method, flags, payload } = this.#waiting[this.#waitingAt++];
      // Its call may have been given up meanwhile.
      if (this.#calls.slotOf(id) === slot) {
        const leftUs = this.#deadlines.leftUs(slot, this.transport.nowUs());
        try {
          this.#send(slot, id, method, payload, false, flags, leftUs, this.#calls.streams[slot]);
        } catch (error) {
          release(this.memory, payload);
          this.destroy(error as Error);
          return;
        }
      }
      release(this.memory, payload);
    }
    if (this.#waitingAt === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#waitingAt = 0;
    }
    if (this.#drainWanted && this.waiting < this.#maxWaiting) {
      this.#drainWanted = false;
      this.#tell(this.#options.onDrain);
    }
  }

  #tell(callback: ((client: RpcClient) => void) | undefined): void {
    try {
      callback?.(this);
    } catch (error) {
      surface(error);
    }
  }

  // ---- ending --------------------------------------------------------------------------------------------

  /** The server has said its last word about a call that somebody waits for. */
  #complete(slot: number, error: RpcError | null, pieces: Iov): void {
    const calls = this.#calls;
    const id = calls.idOf(slot);
    const callback = calls.callbacks[slot];
    const stream = calls.streams[slot];
    this.#deadlines.disarm(slot);
    calls.free(slot);
    this.#inFlight--;
    if (error) this.counters.errors++;
    else this.counters.responses++;
    if (callback) {
      try {
        callback(error, pieces, id);
      } catch (thrown) {
        surface(thrown);
      }
    } else if (stream) {
      stream.stopSending();
      stream.close(error);
    }
    if (this.#waiting.length > 0 || this.#drainWanted) this.#pump();
    if (this.#closing) this.#closeWhenIdle();
  }

  /** The call ends here; the slot stays taken until the server has answered. */
  #giveUp(slot: number, code: RpcErrorCode, text: string): void {
    const calls = this.#calls;
    const id = calls.idOf(slot);
    const callback = calls.callbacks[slot];
    const stream = calls.streams[slot];
    const sent = calls.state[slot] === CALL_SENT;
    this.#deadlines.disarm(slot);
    calls.callbacks[slot] = null;
    calls.streams[slot] = null;
    if (sent) {
      calls.state[slot] = CALL_GIVEN_UP;
      this.#inFlight--;
      this.control(KIND_CANCEL, id, 0, 0);
    } else {
      calls.free(slot);
    }
    this.counters.errors++;
    const error = rpcError(code, text, sent);
    // Never from within the caller's cancel() or call().
    process.nextTick(() => {
      stream?.close(error);
      callback?.(error, NO_PIECES, id);
    });
    if (this.#waiting.length > 0) this.#pump();
    if (this.#closing) this.#closeWhenIdle();
  }

  #expired(slot: number): void {
    this.counters.deadlines++;
    this.#giveUp(slot, 'ERR_RPC_DEADLINE', 'the deadline has passed');
  }

  /**
   * Takes no new calls, waits for those that are there, and closes in order. Resolves when the connection is over.
   */
  close(): Promise<void> {
    this.#closing = true;
    if (this.gone) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenClosed.push(resolve);
      this.#closeWhenIdle();
    });
  }

  #closeWhenIdle(): void {
    if (this.#inFlight > 0 || this.waiting > 0) return;
    if (this.open) this.finish();
    else this.destroy(null);
  }

  /** Closes at once: calls in flight end with ERR_RPC_LOST. */
  abort(): void {
    this.#closing = true;
    this.destroy(null);
  }

  // ---- Session -------------------------------------------------------------------------------------------

  /** @internal */
  override opened(): void {
    super.opened();
    this.#tell(this.#options.onOpen);
    if (this.#closing) this.#closeWhenIdle();
  }

  protected override helloCame(): void {
    this.#maxInFlight = Math.min(this.#maxInFlight, Math.max(this.peerRequests, 1));
    const { streams, state } = this.#calls;
    for (let slot = 0; slot < streams.length; slot++) {
      if (state[slot] === CALL_SENT) streams[slot]?.credited(this.peerWindowBytes);
    }
  }

  protected override goAwayCame(): void {
    this.#goingAway = true;
    for (const { id } of this.#waiting.slice(this.#waitingAt)) {
      const slot = this.#calls.slotOf(id);
      if (slot >= 0) this.#giveUp(slot, 'ERR_RPC_UNAVAILABLE', 'the server takes no new requests');
    }
    this.#tell(this.#options.onGoAway);
    this.#closing = true;
    this.#closeWhenIdle();
  }

  protected override handle(frame: Framer): void {
    const { kind, id } = frame;
    if (kind !== KIND_RESPONSE && kind !== KIND_ERROR) {
      this.malformed(`kind ${kind} from a server`);
      return;
    }
    const slot = this.#calls.slotOf(id);
    if (slot < 0 || this.#calls.state[slot] === CALL_WAITING) {
      this.malformed(`an answer to call ${id}, which there is not`);
      return;
    }
    if (this.#calls.state[slot] === CALL_GIVEN_UP) {
      this.#late(slot);
      return;
    }
    if (kind === KIND_ERROR) {
      this.#complete(slot, statusError(frame.status, gather(this.memory, frame.pieces).toString()), NO_PIECES);
    } else if (frame.oversize) {
      const text = `a response of ${frame.length} bytes, more than maxMessageBytes`;
      this.#complete(slot, rpcError('ERR_RPC_TOO_LARGE', text, true), NO_PIECES);
    } else {
      const stream = this.#calls.streams[slot];
      if (stream) this.#lastWords(stream, frame);
      this.#complete(slot, null, frame.pieces);
    }
  }

  /** The answer to a stream may be a message: it is the end of its body. */
  #lastWords(stream: RpcStream, { pieces }: Framer): void {
    for (let i = 0; i < pieces.length; i++) {
      this.memory.dup(pieces.addr(i));
      stream.received(pieces.addr(i), pieces.len(i));
    }
  }

  #late(slot: number): void {
    this.counters.late++;
    this.#calls.free(slot);
  }

  protected override streamOf(id: number): RpcStream | null {
    const slot = this.#calls.slotOf(id);
    return slot < 0 ? null : this.#calls.streams[slot];
  }

  protected override streamEnded(stream: RpcStream): void {
    const slot = this.#calls.slotOf(stream.id);
    if (slot >= 0 && this.#calls.streams[slot] === stream) this.#complete(slot, null, NO_PIECES);
  }

  /** @internal */
  override dataEnd(last: boolean): void {
    const slot = last ? this.#calls.slotOf(this.framer.id) : -1;
    if (slot >= 0 && this.#calls.state[slot] === CALL_GIVEN_UP) this.#late(slot);
    else super.dataEnd(last);
  }

  /** @internal */
  streamCancelled(stream: RpcStream): void {
    if (!this.gone) this.cancel(stream.id);
  }

  /** @internal */
  streamFinished(): void {
    // The call ends when the server has answered.
  }

  protected override lost(error: Error | null): void {
    this.#deadlines.stop();
    const calls = this.#calls;
    const { handedOver } = this.output;
    for (const { payload } of this.#waiting.splice(this.#waitingAt)) release(this.memory, payload);
    this.#waiting.length = 0;
    this.#waitingAt = 0;
    this.#inFlight = 0;
    const ending: (() => void)[] = [];
    for (let slot = 0; slot < calls.size; slot++) {
      const callback = calls.callbacks[slot];
      const stream = calls.streams[slot];
      if (!callback && !stream) continue;
      const id = calls.idOf(slot);
      const begun = calls.state[slot] === CALL_SENT && handedOver > calls.position[slot];
      calls.free(slot);
      this.counters.errors++;
      const reason = lossOf(error, begun);
      ending.push(() => {
        stream?.close(reason);
        callback?.(reason, NO_PIECES, id);
      });
    }
    const { onClose } = this.#options;
    ending.push(() => onClose?.(error), ...this.#whenClosed.splice(0));
    for (const end of ending) process.nextTick(end);
  }
}
