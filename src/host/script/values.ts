// Looking into arguments of calls.
import type { Value } from './ast.js';

/** The number in `[n]` or `n`, null for anything else. */
export function scalar(value: Value | undefined): number | null {
  if (value?.kind === 'number') return value.value;
  return value?.kind === 'list' && value.items[0]?.kind === 'number' ? value.items[0].value : null;
}

/** The number in the first of these fields that a struct has, null when it has none. */
export function member(value: Value | undefined, ...names: string[]): number | null {
  if (value?.kind === 'list' && value.items[0]?.kind === 'struct') return member(value.items[0], ...names);
  if (value?.kind !== 'struct') return null;
  const found = names.map((name) => value.fields.get(name)).find((field) => field !== undefined);
  return scalar(found);
}
