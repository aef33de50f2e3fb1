// Looking into arguments of calls.
import type { Value } from './ast.js';

/** The number in `[n]` or `n`, null for anything else. */
export function scalar(value: Value | undefined): number | null {
  if (value?.kind === 'number') return value.value;
  return value?.kind === 'list' && value.items[0]?.kind === 'number' ? value.items[0].value : null;
}

/** The bytes that a text in C's manner stands for. */
export function textBytes(text: string): Buffer {
  const named: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', 0: '\0' };
  const plain = text.replace(/\\(?:x([\da-fA-F]{2})|([\s\S]))/g, (_all, hex: string | undefined, letter: string) =>
    hex === undefined ? (named[letter] ?? letter) : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(plain, 'latin1');
}

/** A field of a struct. */
export function fieldOf(value: Value | undefined, name: string): Value | undefined {
  return value?.kind === 'struct' ? value.fields.get(name) : undefined;
}

/** The number in the first of these fields that a struct has, null when it has none. */
export function member(value: Value | undefined, ...names: string[]): number | null {
  if (value?.kind === 'list' && value.items[0]?.kind === 'struct') return member(value.items[0], ...names);
  if (value?.kind !== 'struct') return null;
  const found = names.map((name) => value.fields.get(name)).find((field) => field !== undefined);
  return scalar(found);
}
