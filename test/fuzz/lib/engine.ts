// The fuzzing loop. On an instrumented core it is guided: an input that visits a place for the first time, or visits one
// by another order of magnitude more often than any before it, joins the corpus that the next inputs are made from. On
// the other builds the same inputs are made without that knowledge.
import { type Random, random } from '../../helpers/random.js';
import { coverageSites, type FuzzBuild, openCores } from './cores.js';
import { mutate, randomTape, readTape, type Tape, tapeToText, WORDS, without } from './tape.js';
import type { Target } from './target.js';
import type { Watchdog } from './watchdog.js';

export interface FuzzOptions {
  target: Target;
  build: FuzzBuild;
  seed: number;
  /** The run ends after so many inputs or seconds. */
  inputs: number;
  seconds: number;
  corpus: readonly Tape[];
  watchdog: Watchdog | null;
  /** Called about once a second. */
  progress?: (state: FuzzState) => void;
  /** Called for every input that joins the corpus. */
  keep?: (tape: Tape) => void;
}

export interface FuzzState {
  inputs: number;
  steps: number;
  seconds: number;
  corpus: number;
  /** Places visited, and places there are; 0 without instrumentation. */
  visited: number;
  sites: number;
}

export interface Failure {
  tape: Tape;
  build: FuzzBuild;
  error: Error;
}

export interface FuzzResult extends FuzzState {
  counters: Map<string, bigint>;
  /** Functions of the core that were never entered, on an instrumented core. */
  neverEntered: string[];
  failure: Failure | null;
}

/** Time that making a failing input smaller may take. */
const SHRINK_MS = 20_000;

interface Outcome {
  error: Error | null;
  digest: number;
  steps: number;
}

/** Runs one input. */
function runTape(
  target: Target,
  tape: Tape,
  build: FuzzBuild,
  visits: Uint32Array | null = null,
  counters: Map<string, bigint> | null = null,
): Outcome {
  const cores = openCores(build);
  const reader = readTape(tape);
  let error: Error | null = null;
  try {
    target.run(reader, cores);
  } catch (thrown) {
    error = thrown as Error;
  }
  if (visits) cores.visits(visits);
  if (counters) for (const [name, value] of cores.counters()) counters.set(name, (counters.get(name) ?? 0n) + value);
  return { error, digest: cores.digest(), steps: reader.step };
}

/** Both builds must do the same: memory that is read before it is written, or after it is freed, shows here. */
function runBoth(target: Target, tape: Tape): Error | null {
  const [one, other] = (['coverage', 'release'] as const).map((build) => runTape(target, tape, build));
  if (one.error || other.error) return one.error ?? other.error;
  return one.digest === other.digest ? null : new Error('the release build and the build with assertions differ');
}

/** What is wrong with an input, if anything: on the instrumented build, in comparison with the release build. */
export function check(target: Target, tape: Tape, build: FuzzBuild): Error | null {
  return build === 'coverage' ? runBoth(target, tape) : runTape(target, tape, build).error;
}

/** The shortest tape that can be had soon and still fails. */
function shrink(tape: Tape, fails: (tape: Tape) => boolean): Tape {
  const until = performance.now() + SHRINK_MS;
  let best = tape;
  for (let size = Math.ceil(best.length / WORDS / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at * WORDS < best.length && performance.now() < until; ) {
      const shorter = without(best, at, at + size);
      if (fails(shorter)) best = shorter;
      else at += size;
    }
  }
  return best;
}

/** The bit of a count's order of magnitude: 1, 2, 3, 4–7, 8–15, 16–31, 32–127, more. */
function magnitude(count: number): number {
  if (count < 4) return count === 0 ? 0 : 1 << (count - 1);
  if (count < 32) return count < 8 ? 8 : count < 16 ? 16 : 32;
  return count < 128 ? 64 : 128;
}

/** Counts visits over a run of inputs, and tells which inputs brought something new. */
class Coverage {
  readonly sites = coverageSites();
  readonly visits = new Uint32Array(this.sites.length);
  readonly #seen = new Uint8Array(this.sites.length);
  visited = 0;

  /** Takes the visits of one input. True when there was a new one among them. */
  take(): boolean {
    let isNew = false;
    for (let i = 0; i < this.visits.length; i++) {
      const bit = magnitude(this.visits[i]);
      if ((this.#seen[i] & bit) !== bit) {
        if (this.#seen[i] === 0) this.visited++;
        this.#seen[i] |= bit;
        isNew = true;
      }
    }
    this.visits.fill(0);
    return isNew;
  }

  /** A function's first place is its start. */
  neverEntered(): string[] {
    return this.sites.filter((name, i) => name !== this.sites[i - 1] && this.#seen[i] === 0);
  }
}

/** A tape to try next: a new one, one of the corpus changed, the later ones of it more often. */
function choose(target: Target, corpus: readonly Tape[], r: Random): Tape {
  if (corpus.length === 0 || r.oneIn(8)) return randomTape(1 + r.below(target.steps), r);
  const recent = Math.min(corpus.length, 32);
  const one = r.oneIn(2) ? r.pick(corpus) : corpus[corpus.length - 1 - r.below(recent)];
  return mutate(one, r.pick(corpus), target.mostSteps, r);
}

export function fuzz(options: FuzzOptions): FuzzResult {
  const { target, build, watchdog } = options;
  const r = random(options.seed);
  const coverage = build === 'coverage' ? new Coverage() : null;
  const counters = new Map<string, bigint>();
  const corpus: Tape[] = [];
  const started = performance.now();
  let steps = 0;
  let inputs = 0;
  let reported = started;
  let failure: Failure | null = null;
  const state = (): FuzzState => ({
    inputs,
    steps,
    seconds: (performance.now() - started) / 1000,
    corpus: corpus.length,
    visited: coverage?.visited ?? 0,
    sites: coverage?.sites.length ?? 0,
  });
  const attempt = (tape: Tape): void => {
    watchdog?.begin(tape);
    const outcome = runTape(target, tape, build, coverage?.visits ?? null, counters);
    steps += outcome.steps;
    inputs++;
    let error = outcome.error;
    if (!error && coverage?.take()) {
      corpus.push(tape);
      options.keep?.(tape);
      error = runBoth(target, tape);
    }
    watchdog?.end();
    if (!error) return;
    const { message } = error;
    const fails = (candidate: Tape): boolean => check(target, candidate, build)?.message === message;
    failure = { tape: shrink(tape, fails), build, error };
  };
  for (const tape of options.corpus) {
    attempt(tape);
    if (failure) break;
    if (!coverage) corpus.push(tape);
  }
  while (!failure && inputs < options.inputs) {
    const now = performance.now();
    if (now - started > options.seconds * 1000) break;
    if (now - reported > 1000) {
      reported = now;
      options.progress?.(state());
    }
    attempt(choose(target, corpus, r));
  }
  return { ...state(), counters, neverEntered: coverage?.neverEntered() ?? [], failure };
}

/** How to see a failure again. */
export function explain(target: Target, failure: Failure, file: string): string {
  const steps = failure.tape.length / WORDS;
  return [
    `${target.name}: ${failure.error.message}`,
    `  input of ${steps} steps in ${file}`,
    `  again: npm run fuzz -- ${target.name} --build ${failure.build} --replay ${file}`,
    ...(steps <= 64 ? [`  tape: ${tapeToText(failure.tape)}`] : []),
    failure.error.stack ?? '',
  ].join('\n');
}
