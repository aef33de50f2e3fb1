// Choosing cases from a product of factors that is too large to run whole.

import { random } from './random.js';

export type Factors = Readonly<Record<string, readonly unknown[]>>;
/** A level of every factor. */
export type Combination<F extends Factors> = { readonly [K in keyof F]: F[K][number] };

/** Candidates looked at for each case of a covering. */
const CANDIDATES = 40;

/** All cases that are allowed, the last factor changing fastest. */
export function product<F extends Factors>(
  factors: F,
  allowed: (one: Combination<F>) => boolean = () => true,
): Combination<F>[] {
  let all: Record<string, unknown>[] = [{}];
  for (const [name, levels] of Object.entries(factors)) {
    all = all.flatMap((one) => levels.map((level) => ({ ...one, [name]: level })));
  }
  return (all as Combination<F>[]).filter(allowed);
}

/**
 * Few allowed cases in which every pair of levels of two factors occurs that occurs in any allowed case, by greedy choice
 * among random candidates. The same in every run with the same seed.
 */
export function pairwise<F extends Factors>(
  factors: F,
  seed: number,
  allowed: (one: Combination<F>) => boolean = () => true,
): Combination<F>[] {
  const names = Object.keys(factors);
  const { below } = random(seed);
  const any = (fixed: ReadonlyMap<string, number>): number[] =>
    names.map((name) => fixed.get(name) ?? below(factors[name].length));
  const combination = (levels: readonly number[]): Combination<F> =>
    Object.fromEntries(names.map((name, i) => [name, factors[name][levels[i]]])) as Combination<F>;
  const pairs = (levels: readonly number[]): string[] => {
    const found: string[] = [];
    for (let i = 0; i < names.length; i++) {
      for (let j = i + 1; j < names.length; j++) found.push(`${i}:${levels[i]} ${j}:${levels[j]}`);
    }
    return found;
  };
  const missing = new Map<string, Map<string, number>>();
  for (let i = 0; i < names.length; i++) {
    for (let j = i + 1; j < names.length; j++) {
      for (let a = 0; a < factors[names[i]].length; a++) {
        for (let b = 0; b < factors[names[j]].length; b++) {
          const fixed = new Map([
            [names[i], a],
            [names[j], b],
          ]);
          missing.set(`${i}:${a} ${j}:${b}`, fixed);
        }
      }
    }
  }
  const chosen: Combination<F>[] = [];
  for (const [key, fixed] of missing) {
    if (!missing.has(key)) continue;
    let best: number[] | null = null;
    let bestGain = 0;
    // What none of many tries makes an allowed case of is taken for a pair that is never allowed.
    for (let tries = 0, found = 0; tries < 20 * CANDIDATES && found < CANDIDATES; tries++) {
      const levels = any(fixed);
      if (!allowed(combination(levels))) continue;
      found++;
      const gain = pairs(levels).filter((pair) => missing.has(pair)).length;
      if (gain > bestGain) [best, bestGain] = [levels, gain];
    }
    if (best === null) {
      missing.delete(key);
      continue;
    }
    for (const pair of pairs(best)) missing.delete(pair);
    chosen.push(combination(best));
  }
  return chosen;
}
