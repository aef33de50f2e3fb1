// A body too large to be one message: chunks both ways, each direction with a window of its own. The receiver grants
// credit as its consumer takes bytes, so that never more than the window waits here.
import { Iov, type Piece } from '../zc/iov.js';
import { type RpcError, rpcError, surface } from './errors.js';
import { MAX_U32 } from './header.js';
import { isData, place, type RpcBody, type RpcMemory, release } from './memory.js';

/** What a stream asks of its connection. */
export interface StreamOwner {
  readonly memory: RpcMemory;
  streamData(id: number, payload: Iov | readonly Piece[] | null, last: boolean): void;
  streamCredit(id: number, bytes: number): void;
  /** The application wants no more of it. */
  streamCancelled(stream: RpcStream): void;
  /** The application has ended its direction. */
  streamFinished(stream: RpcStream): void;
}

/** Waiting pieces are at least this long on average. */
const MEAN_PIECE_BYTES = 64;
const SPARE_PIECES = 64;
/** The largest chunk write() makes: a Zbuf object. */
const CHUNK_BYTES = 65536;

interface Waiter<T> {
  resolve: (value: T) => void;
  reject: (error: Error) => void;
}

export class RpcStream implements AsyncIterableIterator<Piece> {
  /** Yours: whatever belongs to this stream. */
  user: unknown = undefined;
  /** `len` bytes at `addr` have arrived: one reference is yours. Without it they wait for the iterator. */
  onData: ((addr: number, len: number) => void) | null = null;
  /** The peer's direction has ended in order, or the whole stream with an error. Called once. */
  onEnd: ((error: RpcError | null) => void) | null = null;
  /** send() said false before; there is credit again. */
  onWritable: (() => void) | null = null;

  readonly memory: RpcMemory;
  readonly #owner: StreamOwner;
  readonly #window: number;
  #id: number;
  // Receiving.
  /** Bytes the peer may still send. */
  #granted: number;
  /** Bytes consumed and not granted anew. */
  #consumed = 0;
  readonly #waiting: Piece[] = [];
  #waitingAt = 0;
  #paused = false;
  #ended = false;
  #error: RpcError | null = null;
  #told = false;
  #reader: Waiter<IteratorResult<Piece>> | null = null;
  // Sending.
  #credit = 0;
  #writeWanted = false;
  #finished = false;
  /** The call itself has been sent; the end may have come before it. */
  #begun = false;
  #endWaits = false;
  #writer: Waiter<void> | null = null;

  /** @internal */
  constructor(owner: StreamOwner, id: number, window: number, ended: boolean, finished: boolean) {
    this.#owner = owner;
    this.memory = owner.memory;
    this.#id = id;
    this.#window = window;
    this.#granted = window;
    this.#ended = ended;
    this.#finished = finished;
  }

  /** The id of the call. */
  get id(): number {
    return this.#id;
  }

  // ---- receiving -----------------------------------------------------------------------------------------

  /** Lets what arrives wait, up to the window. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#deliver();
  }

  /** Bytes that have arrived and wait. */
  get readableBytes(): number {
    let bytes = 0;
    for (let i = this.#waitingAt; i < this.#waiting.length; i++) bytes += this.#waiting[i].len;
    return bytes;
  }

  /** Pieces as they arrive: one reference to each is yours. Throws what the stream ends with. */
  next(): Promise<IteratorResult<Piece>> {
    if (this.#waitingAt < this.#waiting.length) return Promise.resolve({ value: this.#take(), done: false });
    if (this.#error) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** Leaving a `for await` loop early cancels the stream. */
  return(): Promise<IteratorResult<Piece>> {
    this.cancel();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(): Piece {
    const piece = this.#waiting[this.#waitingAt++];
    if (this.#waitingAt === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#waitingAt = 0;
    }
    this.#consume(piece.len);
    return piece;
  }

  #consume(bytes: number): void {
    this.#consumed += bytes;
    if (this.#ended || this.#consumed < this.#window >> 1) return;
    const grant = this.#consumed;
    this.#consumed = 0;
    this.#granted += grant;
    this.#owner.streamCredit(this.#id, grant);
  }

  #deliver(): void {
    while (!this.#paused && this.onData !== null && this.#waitingAt < this.#waiting.length) {
      const { addr, len } = this.#take();
      this.#hand(addr, len);
    }
    this.#tellEnd();
  }

  #hand(addr: number, len: number): void {
    try {
      this.onData!(addr, len);
    } catch (error) {
      surface(error);
    }
  }

  /** The end comes behind the last piece. */
  #tellEnd(): void {
    if (this.#told || !this.#ended || this.#waitingAt < this.#waiting.length) return;
    if (this.#reader) {
      const reader = this.#reader;
      this.#reader = null;
      if (this.#error) reader.reject(this.#error);
      else reader.resolve({ value: undefined, done: true });
    }
    if (this.onEnd === null) return;
    this.#told = true;
    try {
      this.onEnd(this.#error);
    } catch (error) {
      surface(error);
    }
  }

  /**
   * A DATA message of `bytes` begins. False when the peer may not send it.
   * @internal
   */
  expects(bytes: number): boolean {
    if (bytes > this.#granted || this.#ended) return false;
    this.#granted -= bytes;
    return true;
  }

  /**
   * False when the peer makes the window hold more pieces than is reasonable.
   * @internal
   */
  received(addr: number, len: number): boolean {
    if (this.#ended) {
      this.memory.free(addr);
      return true;
    }
    if (this.onData !== null && !this.#paused && this.#waiting.length === 0) {
      this.#consume(len);
      this.#hand(addr, len);
      return true;
    }
    if (this.#reader) {
      const reader = this.#reader;
      this.#reader = null;
      this.#consume(len);
      reader.resolve({ value: { addr, len }, done: false });
      return true;
    }
    this.#waiting.push({ addr, len });
    return this.#waiting.length - this.#waitingAt <= SPARE_PIECES + this.#window / MEAN_PIECE_BYTES;
  }

  /**
   * The peer's direction is over: in order, or all of the stream with an error.
   * @internal
   */
  close(error: RpcError | null): void {
    if (error) this.#stopSending(error);
    if (this.#ended) {
      if (!error || this.#error || this.#told) return;
    }
    this.#ended = true;
    if (error) {
      this.#error = error;
      this.#discard();
    }
    this.#tellEnd();
  }

  /** Frees what nobody has taken. */
  #discard(): void {
    const waiting = this.#waiting.splice(0);
    for (let i = this.#waitingAt; i < waiting.length; i++) this.memory.free(waiting[i].addr);
    this.#waitingAt = 0;
  }

  // ---- sending -------------------------------------------------------------------------------------------

  /** Bytes that send() takes now. */
  get writableBytes(): number {
    return this.#finished ? 0 : this.#credit;
  }

  /**
   * Sends pieces by reference: all of them, or none and false when the peer has no room for them yet (onWritable tells),
   * or will never have because the stream is over. A chunk larger than the peer's window never fits: see write().
   */
  send(pieces: Iov | readonly Piece[]): boolean {
    const bytes = bytesOf(pieces);
    if (this.#finished) return false;
    if (bytes > this.#credit) {
      this.#writeWanted = true;
      return false;
    }
    if (bytes === 0) return true;
    this.#owner.streamData(this.#id, pieces, false);
    this.#credit -= bytes;
    return true;
  }

  /** Ends this direction. */
  end(): void {
    if (this.#finished) return;
    this.#finished = true;
    if (this.#begun) this.#sendEnd();
    else this.#endWaits = true;
  }

  #sendEnd(): void {
    this.#owner.streamData(this.#id, null, true);
    this.#owner.streamFinished(this);
  }

  /**
   * The call has been sent or taken: chunks may follow it.
   * @internal
   */
  begun(credit: number): void {
    this.#begun = true;
    if (this.#endWaits) this.#sendEnd();
    else this.credited(credit);
  }

  /** Sends all of the body in chunks, waiting for credit as it must. Rejects when the stream is over before. */
  async write(body: RpcBody): Promise<void> {
    if (body === null || body === undefined) return;
    if (isData(body)) {
      const placed = place(this.memory, body);
      try {
        await this.#writePieces(placed);
      } finally {
        release(this.memory, placed);
      }
    } else {
      await this.#writePieces(body);
    }
  }

  async #writePieces(body: Iov | readonly Piece[]): Promise<void> {
    const one = new Iov(1);
    for (let i = 0; i < body.length; i++) {
      let { addr, len } = pieceAt(body, i);
      while (len > 0) {
        if (this.#finished) throw this.#error ?? rpcError('ERR_RPC_STREAM_ENDED', 'the stream has ended', true);
        const n = Math.min(len, this.#credit, CHUNK_BYTES);
        if (n === 0) {
          await this.#room();
          continue;
        }
        one.clear().push(addr, n);
        this.send(one);
        addr += n;
        len -= n;
      }
    }
  }

  #room(): Promise<void> {
    if (this.#writer) return Promise.reject(new Error('write() before the last one has resolved'));
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  /**
   * The peer takes `bytes` more. False when that is more than can be.
   * @internal
   */
  credited(bytes: number): boolean {
    this.#credit += bytes;
    if (this.#credit > MAX_U32) return false;
    if (this.#finished || bytes === 0) return true;
    if (this.#writer) {
      const writer = this.#writer;
      this.#writer = null;
      writer.resolve();
    }
    if (this.#writeWanted) {
      this.#writeWanted = false;
      try {
        this.onWritable?.();
      } catch (error) {
        surface(error);
      }
    }
    return true;
  }

  /** Gives the stream up in both directions, and what has arrived and was not taken. */
  cancel(): void {
    if (this.#ended) this.#discard();
    this.#owner.streamCancelled(this);
  }

  /**
   * The call has been answered: nothing more is wanted or sent.
   * @internal
   */
  answered(): void {
    this.#ended = true;
    this.#discard();
    this.stopSending();
    this.#tellEnd();
  }

  /** @internal */
  stopSending(): void {
    this.#stopSending(rpcError('ERR_RPC_STREAM_ENDED', 'the peer has ended the call', true));
  }

  #stopSending(error: RpcError): void {
    this.#finished = true;
    const writer = this.#writer;
    this.#writer = null;
    writer?.reject(error);
  }
}

export function bytesOf(pieces: Iov | readonly Piece[]): number {
  if (pieces instanceof Iov) return pieces.byteLength;
  let bytes = 0;
  for (const { len } of pieces) bytes += len;
  return bytes;
}

function pieceAt(pieces: Iov | readonly Piece[], i: number): Piece {
  return pieces instanceof Iov ? { addr: pieces.addr(i), len: pieces.len(i) } : pieces[i];
}
