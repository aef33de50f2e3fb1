// Messages on their way out: headers from an object of their own and payload by reference, in order, as few calls of
// the transport as may be. What the transport does not take waits here.
import { Iov, type Piece } from '../zc/iov.js';
import { HEADER_BYTES, writeHeader } from './header.js';
import { type RpcMemory, release } from './memory.js';
import type { RpcTransport } from './transport.js';

/** Headers are carved out of objects of this size. */
const ARENA_BYTES = 2048;
const INITIAL_PIECES = 64;
/** Pieces in one call of sendv(). */
const MOST_PIECES = 512;

/** A header: the reference to the arena holds it. */
const HELD = 0;
/** One reference is ours: free it when the transport has its own. */
const OWNED = 1;
/** The caller's, who is still in his call: it needs a reference if it has to wait. */
const BORROWED = 2;

export class Output {
  readonly #memory: RpcMemory;
  readonly #transport: RpcTransport;
  readonly #batch = new Iov(MOST_PIECES);
  /** Pieces from #head to #tail: addr, len, addr, len, … */
  #words = new Uint32Array(2 * INITIAL_PIECES);
  #how = new Uint8Array(INITIAL_PIECES);
  #head = 0;
  #tail = 0;
  /** Where the last header is in the queue. */
  #lastHeader = -1;
  #arena = 0;
  #arenaUsed = ARENA_BYTES;
  #arenaView: DataView | null = null;
  #arenaAt = 0;
  /** The transport is not open yet, or full. */
  #blocked = true;
  #corks = 0;
  #closed = false;
  /** Pieces that the transport has taken since the beginning. */
  handedOver = 0;

  constructor(transport: RpcTransport) {
    this.#memory = transport.memory;
    this.#transport = transport;
  }

  get isEmpty(): boolean {
    return this.#head === this.#tail;
  }

  /** The number that handedOver must exceed for the next message to have begun to leave. */
  get position(): number {
    return this.handedOver + this.#tail - this.#head;
  }

  /** Holds messages together until uncork(). */
  cork(): void {
    this.#corks++;
  }

  uncork(): void {
    if (--this.#corks === 0) this.flush();
  }

  /**
   * A message: header, and the payload's pieces as they are. With `headroom` the bytes in front of the first piece are
   * for the header. Throws, and queues nothing, on memory that cannot be sent.
   */
  message(
    kind: number,
    flags: number,
    id: number,
    method: number,
    deadlineUs: number,
    status: number,
    credit: number,
    payload: Iov | readonly Piece[] | null,
    headroom = false,
  ): void {
    if (this.#closed) return;
    const direct = this.#corks === 0 && !this.#blocked && this.#head === this.#tail;
    const before = this.#tail - this.#head;
    const lastHeader = this.#lastHeader - this.#head;
    const inPlace = headroom && payload !== null && this.#hasHeadroom(payload);
    const header = inPlace ? firstAddr(payload) - HEADER_BYTES : this.#headerRoom();
    if (!inPlace) this.#push(header, HEADER_BYTES, HELD);
    let length = 0;
    if (payload !== null) {
      try {
        length = this.#payload(payload, direct ? BORROWED : OWNED);
      } catch (error) {
        this.#undo(before, lastHeader);
        throw error;
      }
    }
    if (inPlace) {
      const first = this.#head + before;
      this.#words[2 * first] -= HEADER_BYTES;
      this.#words[2 * first + 1] += HEADER_BYTES;
    }
    const view = inPlace ? this.#transport.viewOf(header) : this.#arenaView!;
    const at = inPlace ? this.#transport.offsetOf(header) : header - this.#arena + this.#arenaAt;
    writeHeader(view, at, kind, flags, id, method, length, deadlineUs, status, credit);
    if (direct) this.flush();
  }

  /** Whether a header may be written in front of the payload: nobody may still be sending what was written there. */
  #hasHeadroom(payload: Iov | readonly Piece[]): boolean {
    if (payload.length === 0 || firstLen(payload) === 0) return false;
    const addr = firstAddr(payload);
    return this.#memory.refCount(addr) === 1 && this.#memory.room(addr - HEADER_BYTES) > HEADER_BYTES;
  }

  /**
   * A message whose payload is what a received message had, with its references unless `borrowed`, and whose header is
   * written over the received one at `headerAt` of `headerView`: the pieces go out as they came in.
   */
  messageBack(
    kind: number,
    id: number,
    payload: Iov,
    borrowed: boolean,
    headerView: DataView | null,
    headerAt: number,
  ): void {
    if (this.#closed) {
      if (!borrowed) release(this.#memory, payload);
      payload.clear();
      return;
    }
    const { words } = payload;
    const end = 2 * payload.length;
    const length = payload.byteLength;
    let view = headerView;
    let at = headerAt;
    let i = 0;
    if (view !== null) {
      this.#append(words[0] - HEADER_BYTES, words[1] + HEADER_BYTES, borrowed);
      i = 2;
    } else {
      const header = this.#headerRoom();
      this.#push(header, HEADER_BYTES, HELD);
      view = this.#arenaView!;
      at = header - this.#arena + this.#arenaAt;
    }
    for (; i < end; i += 2) this.#append(words[i], words[i + 1], borrowed);
    payload.clear();
    writeHeader(view, at, kind, 0, id, 0, length, 0, 0, 0);
    if (this.#corks === 0) this.flush();
  }

  /** A piece with a reference for it; what lies behind the last piece in its object becomes a part of that. */
  #append(addr: number, len: number, borrowed: boolean): void {
    const last = this.#tail - 1;
    if (last >= this.#head && this.#how[last] === OWNED && this.#words[2 * last] + this.#words[2 * last + 1] === addr) {
      const whole = this.#words[2 * last + 1] + len;
      if (this.#memory.room(this.#words[2 * last]) >= whole) {
        this.#words[2 * last + 1] = whole;
        if (!borrowed) this.#memory.free(addr);
        return;
      }
    }
    if (borrowed) this.#memory.dup(addr);
    this.#push(addr, len, OWNED);
  }

  #payload(payload: Iov | readonly Piece[], how: number): number {
    let length = 0;
    if (payload instanceof Iov) {
      const { words } = payload;
      const end = 2 * payload.length;
      for (let i = 0; i < end; i += 2) length += this.#payloadPiece(words[i], words[i + 1], how);
    } else {
      for (const { addr, len } of payload) length += this.#payloadPiece(addr, len, how);
    }
    return length;
  }

  #payloadPiece(addr: number, len: number, how: number): number {
    if (len === 0) return 0;
    // What is wrong is to be told before any of the message is sent: view() says what it is.
    if (this.#memory.room(addr) < len) this.#memory.view(addr, len);
    if (how === OWNED) this.#memory.dup(addr);
    this.#push(addr, len, how);
    return len;
  }

  #push(addr: number, len: number, how: number): void {
    if (this.#tail === this.#how.length) this.#makeRoom();
    const at = this.#tail++;
    this.#words[2 * at] = addr;
    this.#words[2 * at + 1] = len;
    this.#how[at] = how;
  }

  #headerRoom(): number {
    if (this.#arenaUsed + HEADER_BYTES > ARENA_BYTES) this.#nextArena();
    const addr = this.#arena + this.#arenaUsed;
    this.#arenaUsed += HEADER_BYTES;
    this.#lastHeader = this.#tail;
    return addr;
  }

  #nextArena(): void {
    const old = this.#arena;
    const waiting = this.#lastHeader >= this.#head && this.#head !== this.#tail;
    if (old !== 0 && !waiting && this.#memory.refCount(old) === 1) {
      // Nobody reads it any more.
      this.#arenaUsed = 0;
      return;
    }
    const addr = this.#memory.alloc(ARENA_BYTES);
    const view = this.#transport.viewOf(addr);
    const at = this.#transport.offsetOf(addr);
    if (old !== 0) {
      if (waiting) this.#how[this.#lastHeader] = OWNED;
      else this.#memory.free(old);
    }
    this.#arena = addr;
    this.#arenaView = view;
    this.#arenaAt = at;
    this.#arenaUsed = 0;
  }

  /** Takes back what was pushed beyond the first `count` pieces. */
  #undo(count: number, lastHeader: number): void {
    while (this.#tail - this.#head > count) {
      const at = --this.#tail;
      if (this.#how[at] === OWNED) this.#memory.free(this.#words[2 * at]);
    }
    this.#lastHeader = lastHeader + this.#head;
  }

  /** The transport is open, or has room again. */
  unblock(): void {
    this.#blocked = false;
    this.flush();
  }

  /** Hands over what the transport takes. */
  flush(): void {
    let most = MOST_PIECES;
    while (!this.#blocked && this.#head < this.#tail) {
      const count = Math.min(this.#tail - this.#head, most);
      const batch = this.#batch;
      const { words } = batch;
      const from = 2 * this.#head;
      for (let i = 0; i < 2 * count; i++) words[i] = this.#words[from + i];
      batch.length = count;
      if (!this.#transport.sendv(batch)) {
        if (count > 1) {
          // All or nothing: what does not fit together may fit in part.
          most = count >> 1;
          continue;
        }
        this.#blocked = true;
        break;
      }
      // Sending may close the transport, and that empties the queue.
      if (this.#closed) return;
      const next = this.#head + count;
      for (let i = this.#head; i < next; i++) if (this.#how[i] === OWNED) this.#memory.free(this.#words[2 * i]);
      this.#head = next;
      this.handedOver += count;
    }
    if (this.#head === this.#tail) {
      this.#head = 0;
      this.#tail = 0;
      this.#lastHeader = -1;
    } else {
      this.#own();
    }
  }

  /** What is the caller's becomes ours: it has to wait. */
  #own(): void {
    for (let i = this.#tail - 1; i >= this.#head; i--) {
      if (this.#how[i] !== BORROWED) continue;
      this.#memory.dup(this.#words[2 * i]);
      this.#how[i] = OWNED;
    }
  }

  #makeRoom(): void {
    const used = this.#tail - this.#head;
    const grown = used * 2 > this.#how.length;
    const words = grown ? new Uint32Array(2 * this.#words.length) : this.#words;
    const how = grown ? new Uint8Array(2 * this.#how.length) : this.#how;
    words.set(this.#words.subarray(2 * this.#head, 2 * this.#tail));
    how.set(this.#how.subarray(this.#head, this.#tail));
    this.#words = words;
    this.#how = how;
    this.#lastHeader -= this.#head;
    this.#head = 0;
    this.#tail = used;
  }

  /** Gives everything back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (let i = this.#head; i < this.#tail; i++) {
      if (this.#how[i] === OWNED) this.#memory.free(this.#words[2 * i]);
    }
    this.#head = 0;
    this.#tail = 0;
    if (this.#arena !== 0) this.#memory.free(this.#arena);
  }
}

function firstAddr(pieces: Iov | readonly Piece[]): number {
  return pieces instanceof Iov ? pieces.words[0] : pieces[0].addr;
}

function firstLen(pieces: Iov | readonly Piece[]): number {
  return pieces instanceof Iov ? pieces.words[1] : pieces[0].len;
}
