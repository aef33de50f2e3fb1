// Bytes that both ends of a transfer can make for themselves: every 64 KiB of it differs from every other, so that
// anything lost, repeated, moved or changed shows in the hash.

import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

const CHUNK_BYTES = 64 * 1024;
const BLOCK_BYTES = 1024 * 1024;

/** A block of noise (xorshift32), of which every chunk is a window of its own. */
const block = ((): Buffer => {
  const words = new Uint32Array(BLOCK_BYTES / 4);
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer);
})();

/** Chunk `index` of the content with this seed. */
function chunk(seed: number, index: number, length: number): Buffer {
  const at = (index * 4099 + seed * 7919) % (BLOCK_BYTES - CHUNK_BYTES);
  const bytes = Buffer.from(block.subarray(at, at + length));
  if (length >= 8) {
    bytes.writeUInt32LE(seed >>> 0, 0);
    bytes.writeUInt32LE(index, 4);
  }
  return bytes;
}

export function* chunks(seed: number, bytes: number): Generator<Buffer> {
  for (let index = 0, left = bytes; left > 0; index++) {
    const length = Math.min(left, CHUNK_BYTES);
    yield chunk(seed, index, length);
    left -= length;
  }
}

export function contentStream(seed: number, bytes: number): Readable {
  return Readable.from(chunks(seed, bytes), { objectMode: false, highWaterMark: 4 * CHUNK_BYTES });
}

/** SHA-256 in hexadecimal. */
export function contentHash(seed: number, bytes: number): string {
  const hash = createHash('sha256');
  for (const part of chunks(seed, bytes)) hash.update(part);
  return hash.digest('hex');
}
