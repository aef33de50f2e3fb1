// What a fuzzer is, to the engine: a function from a tape to nothing or an error.
import type { Cores } from './cores.js';
import type { TapeReader } from './tape.js';

export interface Target {
  readonly name: string;
  readonly purpose: string;
  /** Steps of a random tape, and the most that mutations may make of it. */
  readonly steps: number;
  readonly mostSteps: number;
  /** Inputs of the bounded run, and counters that must have moved by its end. */
  readonly inputs: number;
  readonly reaches: readonly string[];
  /** Does what the tape says on new cores; throws when one of them does what it must not. */
  run(tape: TapeReader, cores: Cores): void;
}
