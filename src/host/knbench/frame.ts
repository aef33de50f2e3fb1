// The message of the benchmark, the same both ways. Lengths include the header; integers are little-endian.
//
//   0        4    8
//   ├ length ┼ id ┼ body … length bytes in all

export const HEADER_BYTES = 8;
export const MIN_MESSAGE_BYTES = 16;
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
export const MAX_DEPTH = 1024;

/** An id is a slot and the number of its use, so a late or doubled response never passes for the awaited one. */
const SLOT_BITS = 10;
export const slotOf = (id: number): number => id & (MAX_DEPTH - 1);
export const nextId = (id: number): number => (id + (1 << SLOT_BITS)) >>> 0;

/** Byte i of a request body. 251 is prime, so no segment size lines up with the pattern. */
export const bodyByte = (i: number): number => (i * 31 + 7) % 251;

/**
 * Finds message borders in a byte stream that arrives in pieces of any size, one byte pieces included.
 * One object per connection; scanning allocates nothing.
 */
export class Framer {
  /** Bytes of the current message still to come; 0 while its header is incomplete. */
  private missing = 0;
  private headerGot = 0;
  private readonly header = new DataView(new ArrayBuffer(HEADER_BYTES));
  /** Length and id of the message that ended last, valid after next() returned its end. */
  length = 0;
  id = 0;
  /** The stream is not ours: a length out of bounds. */
  bad = false;

  /**
   * Scans `view` from `at`, up to `end`. Returns the offset just after the message that ends there, or -1 when the
   * piece ends before the message does (or the stream is bad).
   */
  next(view: DataView, at: number, end: number): number {
    if (this.missing === 0) {
      if (this.headerGot === 0 && end - at >= HEADER_BYTES) {
        this.length = view.getUint32(at, true);
        this.id = view.getUint32(at + 4, true);
        at += HEADER_BYTES;
      } else {
        while (at < end && this.headerGot < HEADER_BYTES) {
          this.header.setUint8(this.headerGot++, view.getUint8(at++));
        }
        if (this.headerGot < HEADER_BYTES) return -1;
        this.length = this.header.getUint32(0, true);
        this.id = this.header.getUint32(4, true);
        this.headerGot = 0;
      }
      if (this.length < MIN_MESSAGE_BYTES || this.length > MAX_MESSAGE_BYTES) {
        this.bad = true;
        return -1;
      }
      this.missing = this.length - HEADER_BYTES;
    }
    const here = end - at;
    if (here < this.missing) {
      this.missing -= here;
      return -1;
    }
    at += this.missing;
    this.missing = 0;
    return at;
  }
}

/** Writes `depth` requests one behind the other and returns their first ids. */
export function writeRequests(bytes: Uint8Array, sizeBytes: number, depth: number): Uint32Array {
  const ids = new Uint32Array(depth);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let slot = 0; slot < depth; slot++) {
    writeRequest(view, slot * sizeBytes, sizeBytes, slot);
    ids[slot] = slot;
  }
  return ids;
}

/** Writes one whole request at `at`. */
export function writeRequest(view: DataView, at: number, sizeBytes: number, id: number): void {
  view.setUint32(at, sizeBytes, true);
  view.setUint32(at + 4, id, true);
  for (let i = HEADER_BYTES; i < sizeBytes; i++) view.setUint8(at + i, bodyByte(i));
}
