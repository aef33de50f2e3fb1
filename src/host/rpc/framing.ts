// Messages from a stream of pieces, without copying: a payload is the pieces it arrived in. Headers may straddle
// pieces, pieces may hold many messages.
import { Iov } from '../zc/iov.js';
import { FLAG_END, HEADER_BYTES, Header, KIND_DATA } from './header.js';
import { type RpcMemory, release } from './memory.js';

export interface FrameSink {
  /** A message is whole: `frame.pieces` is released when this returns unless it is taken with takePieces(). */
  message(frame: Framer): void;
  /** The header of a DATA message; its bytes follow by data(). */
  dataBegin(frame: Framer): void;
  /** A part of a DATA message as it arrives; one reference is the sink's. */
  data(addr: number, len: number): void;
  /** The DATA message is over. */
  dataEnd(last: boolean): void;
  /** The stream is not ours, or hostile. Called once; nothing follows. */
  malformed(what: string): void;
}

const INITIAL_PIECES = 8;
/** Pieces shorter than this on average are not what a sender makes who wants to get something done. */
const MEAN_PIECE_BYTES = 128;
const SPARE_PIECES = 64;

const STATE_HEADER = 0;
const STATE_PAYLOAD = 1;

export class Framer extends Header {
  /** The payload of the current message. */
  pieces = new Iov(INITIAL_PIECES);
  /**
   * The payload lies in one piece, of which the framer holds the reference: whoever keeps the message needs his own. Else
   * the references are the message's.
   */
  borrowed = false;
  /** The header lies right before the payload's first piece, at `headerAt` of `headerView`, and may be written over. */
  headerView: DataView | null = null;
  headerAt = 0;
  /** The message was larger than allowed: its payload has been dropped. */
  oversize = false;

  readonly #memory: RpcMemory;
  readonly #sink: FrameSink;
  readonly #maxMessageBytes: number;
  readonly #maxPieces: number;
  #state = STATE_HEADER;
  /** A header that straddles pieces, and how much of it is here. */
  readonly #straddling = new DataView(new ArrayBuffer(HEADER_BYTES));
  #headerGot = 0;
  /** Bytes of the header beyond those we know, and of the payload, still to come. */
  #skip = 0;
  #missing = 0;
  #stopped = false;

  constructor(memory: RpcMemory, sink: FrameSink, maxMessageBytes: number) {
    super();
    this.#memory = memory;
    this.#sink = sink;
    this.#maxMessageBytes = maxMessageBytes;
    this.#maxPieces = SPARE_PIECES + Math.ceil(maxMessageBytes / MEAN_PIECE_BYTES);
  }

  /** Bytes of the current message are here, but not all. */
  get inMessage(): boolean {
    return this.#state !== STATE_HEADER || this.#headerGot > 0;
  }

  /** The pieces for the sink to keep, in exchange for an empty iov. */
  takePieces(empty: Iov): Iov {
    const taken = this.pieces;
    this.pieces = empty;
    return taken;
  }

  /** Takes `len` bytes at `addr`, at `at` of `view`, and one reference to them. */
  receive(view: DataView, at: number, addr: number, len: number): void {
    const end = at + len;
    /** From an offset in the view to an address. */
    const base = addr - at;
    let referenceGiven = false;
    while (!this.#stopped) {
      if (this.#state === STATE_HEADER) {
        this.headerAt = at;
        at = this.#readHeader(view, at, end);
        if (this.#stopped || this.#state === STATE_HEADER) break;
        if (this.kind === KIND_DATA) {
          this.#sink.dataBegin(this);
          if (this.#stopped) break;
        }
      }
      if (this.#skip > 0) {
        const n = Math.min(this.#skip, end - at);
        this.#skip -= n;
        at += n;
        if (this.#skip > 0) break;
      }
      if (this.#missing > 0) {
        const n = Math.min(this.#missing, end - at);
        if (n === 0) break;
        const from = base + at;
        this.#missing -= n;
        at += n;
        if (this.#missing === 0 && this.pieces.length === 0 && this.kind !== KIND_DATA && !this.oversize) {
          this.borrowed = true;
          this.pieces.push(from, n);
        } else if (!this.oversize) {
          // Each part needs a reference of its own; the last one gets the piece's.
          if (at === end) referenceGiven = true;
          else this.#memory.dup(from);
          if (this.kind === KIND_DATA) this.#sink.data(from, n);
          else this.#keep(from, n);
        }
        if (this.#missing > 0 || this.#stopped) break;
      }
      this.#state = STATE_HEADER;
      if (this.kind === KIND_DATA) {
        this.#sink.dataEnd((this.flags & FLAG_END) !== 0);
      } else {
        this.#sink.message(this);
        if (this.pieces.length > 0) this.#drop();
        this.borrowed = false;
      }
      if (at === end) break;
    }
    if (!referenceGiven) this.#memory.free(addr);
  }

  #readHeader(view: DataView, at: number, end: number): number {
    let wrong: string | null;
    if (this.#headerGot === 0 && end - at >= HEADER_BYTES) {
      wrong = this.parse(view, at);
      at += HEADER_BYTES;
      // Nothing may lie between it and the payload, nor a border of pieces.
      this.headerView = this.headerLength === HEADER_BYTES && at < end ? view : null;
    } else {
      this.headerView = null;
      while (at < end && this.#headerGot < HEADER_BYTES) {
        this.#straddling.setUint8(this.#headerGot++, view.getUint8(at++));
      }
      if (this.#headerGot < HEADER_BYTES) return at;
      this.#headerGot = 0;
      wrong = this.parse(this.#straddling, 0);
    }
    if (wrong !== null) {
      this.#fail(wrong);
      return at;
    }
    this.#skip = this.headerLength - HEADER_BYTES;
    this.#missing = this.length;
    this.oversize = this.length > this.#maxMessageBytes && this.kind !== KIND_DATA;
    this.#state = STATE_PAYLOAD;
    return at;
  }

  #keep(addr: number, len: number): void {
    const { pieces } = this;
    if (pieces.length === pieces.capacity) {
      if (pieces.length >= this.#maxPieces) {
        this.#memory.free(addr);
        this.#fail(`${this.length} bytes in pieces of a few bytes each`);
        return;
      }
      const grown = new Iov(pieces.capacity * 2);
      grown.words.set(pieces.words);
      grown.length = pieces.length;
      this.pieces = grown;
    }
    this.pieces.push(addr, len);
  }

  #fail(what: string): void {
    this.stop();
    this.#sink.malformed(what);
  }

  #drop(): void {
    if (this.borrowed) this.pieces.clear();
    else release(this.#memory, this.pieces);
  }

  /** Gives back what there is of a message, and takes no more. */
  stop(): void {
    this.#stopped = true;
    this.#drop();
  }
}
