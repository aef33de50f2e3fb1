// The calls of a client: slots with what is needed to finish each. An id is a slot and its generation, and a slot is
// free again only when the server has said its last word, so that no answer is ever taken for another's.
import type { Iov } from '../zc/iov.js';
import type { RpcError } from './errors.js';
import type { RpcStream } from './stream.js';

/** `pieces` of a reply are released when this returns: dup() what is to stay. They are none after an error. */
export type ReplyCallback = (error: RpcError | null, pieces: Iov, id: number) => void;

export const CALL_FREE = 0;
/** Waits for others to end: nothing of it has been sent. */
export const CALL_WAITING = 1;
export const CALL_SENT = 2;
/** Given up here; the server's answer is still to come, and nobody wants it. */
export const CALL_GIVEN_UP = 3;

const SLOT_BITS = 16;
const MAX_SLOTS = 1 << SLOT_BITS;
const SLOT_MASK = MAX_SLOTS - 1;
/** An id below 2³¹ is a small integer to V8, and no object. */
const MAX_GENERATION = 0x7fff;
const NONE = -1;

export class CallTable {
  state: Uint8Array;
  callbacks: (ReplyCallback | null)[];
  streams: (RpcStream | null)[];
  /** Output.position of the request, to know whether any of it has left. */
  position: Float64Array;
  #generation: Uint16Array;
  #nextFree: Int32Array;
  #firstFree = 0;
  #size: number;
  readonly #grown: (slots: number) => void;

  constructor(slots: number, grown: (slots: number) => void) {
    this.#size = Math.min(slots, MAX_SLOTS);
    this.state = new Uint8Array(this.#size);
    this.callbacks = new Array(this.#size).fill(null);
    this.streams = new Array(this.#size).fill(null);
    this.position = new Float64Array(this.#size);
    this.#generation = new Uint16Array(this.#size).fill(1);
    this.#nextFree = new Int32Array(this.#size);
    for (let i = 0; i < this.#size; i++) this.#nextFree[i] = i + 1 < this.#size ? i + 1 : NONE;
    this.#grown = grown;
  }

  get size(): number {
    return this.#size;
  }

  /** A free slot, or -1 when all 65536 are taken. */
  take(): number {
    if (this.#firstFree === NONE && !this.#grow()) return NONE;
    const slot = this.#firstFree;
    this.#firstFree = this.#nextFree[slot];
    return slot;
  }

  free(slot: number): void {
    this.state[slot] = CALL_FREE;
    this.callbacks[slot] = null;
    this.streams[slot] = null;
    const generation = this.#generation[slot];
    this.#generation[slot] = generation === MAX_GENERATION ? 1 : generation + 1;
    this.#nextFree[slot] = this.#firstFree;
    this.#firstFree = slot;
  }

  /** Never 0. */
  idOf(slot: number): number {
    return (this.#generation[slot] << SLOT_BITS) | slot;
  }

  /** The slot of a call that has not ended on the wire, or -1. */
  slotOf(id: number): number {
    const slot = id & SLOT_MASK;
    if (slot >= this.#size || this.state[slot] === CALL_FREE) return NONE;
    return this.#generation[slot] === id >>> SLOT_BITS ? slot : NONE;
  }

  #grow(): boolean {
    const old = this.#size;
    if (old === MAX_SLOTS) return false;
    const size = Math.min(old * 2, MAX_SLOTS);
    const state = new Uint8Array(size);
    const position = new Float64Array(size);
    const generation = new Uint16Array(size).fill(1);
    const nextFree = new Int32Array(size);
    state.set(this.state);
    position.set(this.position);
    generation.set(this.#generation);
    nextFree.set(this.#nextFree);
    for (let i = old; i < size; i++) {
      nextFree[i] = i + 1 < size ? i + 1 : NONE;
      this.callbacks.push(null);
      this.streams.push(null);
    }
    this.state = state;
    this.position = position;
    this.#generation = generation;
    this.#nextFree = nextFree;
    this.#firstFree = old;
    this.#size = size;
    this.#grown(size);
    return true;
  }
}
