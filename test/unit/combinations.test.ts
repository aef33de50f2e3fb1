import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pairwise, product } from '../helpers/combinations.js';

const factors = { a: [0, 1, 2, 3], b: ['x', 'y'], c: [false, true], d: [10, 20, 30], e: [1, 2] } as const;
const noThirtyWithY = (one: { b: string; d: number }): boolean => !(one.b === 'y' && one.d === 30);

test('the product has every combination that is allowed', () => {
  assert.is(product(factors).length, 96);
  assert.is(product(factors, noThirtyWithY).length, 80);
});

test('in pairwise cases every pair of levels occurs that is allowed, in far fewer cases', () => {
  const cases = pairwise(factors, 1, noThirtyWithY);
  assert.ok(cases.every(noThirtyWithY));
  assert.ok(cases.length < 20, `${cases.length} cases`);
  const names = Object.keys(factors) as (keyof typeof factors)[];
  const pairsOf = (list: readonly (typeof cases)[number][]): Set<string> => {
    const pairs = list.flatMap((one) => names.flatMap((n) => names.map((m) => `${n}=${one[n]} ${m}=${one[m]}`)));
    return new Set(pairs);
  };
  assert.equal([...pairsOf(cases)].sort(), [...pairsOf(product(factors, noThirtyWithY))].sort());
});

test('pairwise cases are the same in every run', () => {
  assert.equal(pairwise(factors, 7), pairwise(factors, 7));
  assert.not.equal(pairwise(factors, 7), pairwise(factors, 8));
});

test.run();
