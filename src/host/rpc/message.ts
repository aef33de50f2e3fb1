// A reply that its owner keeps: what request() resolves with.
import type { Iov } from '../zc/iov.js';
import { gather, type RpcMemory, release } from './memory.js';

export class RpcMessage {
  readonly memory: RpcMemory;
  /** One reference to each piece is this message's, until free(). */
  readonly pieces: Iov;

  /** @internal */
  constructor(memory: RpcMemory, pieces: Iov) {
    this.memory = memory;
    this.pieces = pieces;
  }

  get byteLength(): number {
    return this.pieces.byteLength;
  }

  /** A copy of the bytes; frees the message. */
  take(): Buffer {
    const bytes = gather(this.memory, this.pieces);
    this.free();
    return bytes;
  }

  /** The bytes as UTF-8 text; frees the message. */
  text(): string {
    return this.take().toString();
  }

  /** Gives the pieces back. */
  free(): void {
    release(this.memory, this.pieces);
  }
}
