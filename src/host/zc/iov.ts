// Pieces of memory as numbers: what recv() fills and sendv() takes, without an object per piece.

export interface Piece {
  addr: number;
  len: number;
}

export class Iov {
  readonly capacity: number;
  /** addr, len, addr, len, … */
  readonly words: Uint32Array;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.words = new Uint32Array(capacity * 2);
  }

  /** Pieces in it. */
  get length(): number {
    return this.#length;
  }

  set length(pieces: number) {
    if (!Number.isInteger(pieces) || pieces < 0 || pieces > this.capacity) {
      throw Object.assign(new RangeError(`an iov of ${this.capacity} pieces cannot have a length of ${pieces}`), {
        code: 'ERR_OUT_OF_RANGE',
      });
    }
    this.#length = pieces;
  }

  addr(index: number): number {
    return this.words[index * 2];
  }

  len(index: number): number {
    return this.words[index * 2 + 1];
  }

  /** Bytes of all pieces together. */
  get byteLength(): number {
    let bytes = 0;
    for (let i = 0; i < this.#length; i++) bytes += this.words[i * 2 + 1];
    return bytes;
  }

  /** Throws ERR_OUT_OF_RANGE when it is full, and for what is no u32. */
  push(addr: number, len: number): this {
    if (addr >>> 0 !== addr || len >>> 0 !== len) {
      throw Object.assign(new RangeError(`${len} bytes at ${addr} are no piece of memory`), {
        code: 'ERR_OUT_OF_RANGE',
      });
    }
    const at = this.#length;
    this.length = at + 1;
    this.words[at * 2] = addr;
    this.words[at * 2 + 1] = len;
    return this;
  }

  clear(): this {
    this.#length = 0;
    return this;
  }
}
