// What a fuzzer feeds on: a tape of steps, WORDS random words each. A target draws every choice of a step from the step's
// words, and from a generator seeded by the last of them when they are used up. So any tape is a valid input, a step can
// be taken out or put elsewhere without changing what the others ask for, and one changed word changes one choice.
import { type Random, random } from '../../helpers/random.js';

export type Tape = Uint32Array;

/** Words of a step. */
export const WORDS = 4;

/** Draws the choices of one step after the other. */
export interface TapeReader extends Random {
  /** Goes on to the next step; false at the end. */
  next(): boolean;
  /** Steps begun. */
  readonly step: number;
}

export function readTape(tape: Tape): TapeReader {
  let step = 0;
  let at = 0;
  let end = 0;
  let tail: Random | null = null;
  const u32 = (): number => {
    if (at < end) return tape[at++];
    tail ??= random(end > 0 ? tape[end - 1] ^ 0x5bd1e995 : 0);
    return tail.u32();
  };
  const below = (limit: number): number => Math.floor((u32() / 0x100000000) * limit);
  return {
    get step() {
      return step;
    },
    next() {
      tail = null;
      at = step * WORDS;
      end = at + WORDS;
      if (end > tape.length) return false;
      step++;
      return true;
    },
    u32,
    below,
    oneIn: (n) => below(n) === 0,
    chance: (probability) => u32() / 0x100000000 < probability,
    pick: (list) => list[below(list.length)],
    bytes(length) {
      const bytes = new Uint8Array(length);
      for (let i = 0; i < length; i++) bytes[i] = u32();
      return bytes;
    },
  };
}

export function randomTape(steps: number, r: Random): Tape {
  return Uint32Array.from({ length: steps * WORDS }, () => r.u32());
}

function join(...parts: readonly Tape[]): Tape {
  const tape = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    tape.set(part, at);
    at += part.length;
  }
  return tape;
}

/** Steps [from, to). */
export function cut(tape: Tape, from: number, to: number): Tape {
  return tape.subarray(from * WORDS, to * WORDS);
}

/** The tape without steps [from, to). */
export function without(tape: Tape, from: number, to: number): Tape {
  return join(cut(tape, 0, from), tape.subarray(to * WORDS));
}

/** A changed copy of `tape`, at most `most` steps long; `other` lends steps. */
export function mutate(tape: Tape, other: Tape, most: number, r: Random): Tape {
  let result: Tape = tape.slice();
  for (let left = 1 << r.below(4); left > 0; left--) {
    const steps = result.length / WORDS;
    const at = r.below(steps + 1);
    const to = Math.min(steps, at + 1 + r.below(r.pick([1, 4, 32])));
    switch (r.below(8)) {
      case 0:
      case 1:
        if (result.length > 0) result[r.below(result.length)] = r.u32();
        break;
      case 2:
        if (result.length > 0) result[r.below(result.length)] += r.pick([1, -1, 0x10000, 0x1000000, -0x1000000]);
        break;
      case 3:
        result.set(randomTape(to - at, r), at * WORDS);
        break;
      case 4:
        result = without(result, at, to);
        break;
      case 5: {
        // A run of steps again, there or elsewhere.
        const where = r.oneIn(2) ? to : r.below(steps + 1);
        result = join(cut(result, 0, where), cut(result, at, to), result.subarray(where * WORDS));
        break;
      }
      case 6: {
        const from = r.below(other.length / WORDS);
        const lent = cut(other, from, from + 1 + r.below(32));
        result = join(cut(result, 0, at), lent, result.subarray((r.oneIn(2) ? at : to) * WORDS));
        break;
      }
      default:
        result = join(result, randomTape(1 + r.below(16), r));
    }
  }
  return result.length > most * WORDS ? result.slice(0, most * WORDS) : result;
}

export function tapeToText(tape: Tape): string {
  return Buffer.from(tape.buffer, tape.byteOffset, tape.byteLength).toString('base64');
}

/** A tape from its text; what does not make up a whole step is dropped. */
export function tapeFromText(text: string): Tape {
  const bytes = Buffer.from(text, 'base64');
  const words = Math.floor(bytes.length / 4 / WORDS) * WORDS;
  return Uint32Array.from({ length: words }, (_, i) => bytes.readUInt32LE(4 * i));
}
