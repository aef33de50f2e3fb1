// One request as its handler sees it.
import { Iov, type Piece } from '../zc/iov.js';
import { FIRST_APPLICATION_STATUS, rpcError, surface } from './errors.js';
import { gather, isData, place, type RpcBody, type RpcMemory, release } from './memory.js';
import type { RpcStream } from './stream.js';

/** What a request asks of its connection. */
export interface RequestOwner {
  readonly memory: RpcMemory;
  /** Whoever made the connection, e.g. its remote address. */
  readonly peer: unknown;
  nowUs(): number;
  respond(request: RpcRequest, pieces: Iov | readonly Piece[] | null, headroom: boolean): void;
  refuse(request: RpcRequest, status: number, message: string): void;
  lateAnswer(): void;
}

const EMPTY_PIECES = 8;

/**
 * A request that has not been answered when its handler returns stays the handler's until it is: keep it and answer
 * later, in any order. Once it is answered it is no longer yours, as memory that you have freed: the object is used again.
 */
export class RpcRequest {
  /** The payload: one reference to each piece is the request's, until it is answered. Not to be changed. */
  pieces = new Iov(EMPTY_PIECES);
  id = 0;
  method = 0;
  /** Microseconds the client had left when it sent the request; 0: no deadline. */
  deadlineUs = 0;
  /** Both bodies of a streaming call; null for others. */
  stream: RpcStream | null = null;
  /** The client has given the request up, or the connection is gone. Answer nevertheless: that frees the pieces. */
  aborted = false;
  /** Called once when that happens. */
  onAbort: ((request: RpcRequest) => void) | null = null;
  /** It has been answered. */
  answered = false;

  /** @internal As the framer's: until own(). */
  borrowed = false;
  /** @internal Where the header of the request may be written over, in front of its payload. */
  headerView: DataView | null = null;
  /** @internal */
  headerAt = 0;
  #arrivedUs = 0;
  readonly #owner: RequestOwner;
  #controller: AbortController | null = null;

  /** @internal */
  constructor(owner: RequestOwner) {
    this.#owner = owner;
  }

  get memory(): RpcMemory {
    return this.#owner.memory;
  }

  /** The connection's transport: a ZcConnection or a socket. */
  get peer(): unknown {
    return this.#owner.peer;
  }

  /** Microseconds until the client gives up, Infinity without a deadline. */
  get remainingUs(): number {
    if (this.deadlineUs === 0) return Number.POSITIVE_INFINITY;
    return Math.max(this.deadlineUs - (this.#owner.nowUs() - this.#arrivedUs), 0);
  }

  /** `aborted` for APIs that want a signal. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  /** A copy of the payload. */
  bytes(): Buffer {
    return gather(this.memory, this.pieces);
  }

  text(): string {
    return this.bytes().toString();
  }

  /**
   * Answers: with pieces by reference (yours stay yours; request.pieces go back as they are), or bytes and text. The
   * last bytes of a streaming call's response. With `headroom` the RPC_HEADROOM bytes in front of the first piece are for
   * the header. False when it was too late: answered before, given up, or disconnected.
   */
  reply(body?: RpcBody, headroom = false): boolean {
    if (!this.#mayAnswer()) return false;
    if (!isData(body)) {
      this.#owner.respond(this, body ?? null, headroom);
    } else if (body.length === 0) {
      this.#owner.respond(this, null, false);
    } else {
      const placed = place(this.memory, body);
      try {
        this.#owner.respond(this, placed, false);
      } finally {
        release(this.memory, placed);
      }
    }
    return true;
  }

  /** Answers with an error: `status` is the application's own, 256 or more. False as reply(). */
  fail(status: number, message = ''): boolean {
    if (!(status >= FIRST_APPLICATION_STATUS && status <= 0xffff_ffff)) {
      throw rpcError('ERR_RPC_APPLICATION', `a status of the application’s is at least ${FIRST_APPLICATION_STATUS}`);
    }
    return this.refuse(status, message);
  }

  /** @internal */
  refuse(status: number, message: string): boolean {
    if (!this.#mayAnswer()) return false;
    this.#owner.refuse(this, status, message);
    return true;
  }

  #mayAnswer(): boolean {
    if (!this.answered && !this.aborted) return true;
    if (!this.answered) {
      this.answered = true;
      this.release();
      this.#owner.lateAnswer();
    }
    return false;
  }

  /** @internal */
  begin(id: number, method: number, deadlineUs: number): void {
    this.id = id;
    this.method = method;
    this.deadlineUs = deadlineUs;
    this.#arrivedUs = deadlineUs === 0 ? 0 : this.#owner.nowUs();
    this.stream = null;
    this.aborted = false;
    this.onAbort = null;
    this.answered = false;
    this.#controller = null;
  }

  /** @internal */
  abort(): void {
    if (this.aborted || this.answered) return;
    this.aborted = true;
    this.#controller?.abort();
    try {
      this.onAbort?.(this);
    } catch (error) {
      surface(error);
    }
  }

  /**
   * The handler has returned, and keeps it: the pieces need references of their own.
   * @internal
   */
  own(): void {
    if (!this.borrowed) return;
    this.borrowed = false;
    for (let i = 0; i < this.pieces.length; i++) this.memory.dup(this.pieces.addr(i));
  }

  /** @internal */
  release(): void {
    if (this.pieces.length === 0) return;
    if (this.borrowed) this.pieces.clear();
    else release(this.memory, this.pieces);
  }
}
