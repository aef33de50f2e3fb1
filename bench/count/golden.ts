// The recorded figures, bench/golden/instructions.json, and how others differ from them.
import { readFileSync, writeFileSync } from 'node:fs';
import type { Instructions, Lines } from './measure.js';

const PATH = new URL('../../../bench/golden/instructions.json', import.meta.url);
/** Compilers of other versions choose other instructions; a change of the core that matters is larger. */
export const TOLERANCE = 0.03;
export const UPDATE = 'npm run -s bench -- count --write';

export interface Golden {
  instructions: Record<string, number>;
  lines: Record<string, Omit<Lines, 'name'>>;
}

export function golden(): Golden {
  return JSON.parse(readFileSync(PATH, 'utf8'));
}

export function goldenOf(counted: readonly Instructions[], touched: readonly Lines[]): Golden {
  return {
    instructions: Object.fromEntries(counted.map(({ name, perOperation }) => [name, Number(perOperation.toFixed(1))])),
    lines: Object.fromEntries(touched.map(({ name, ...rest }) => [name, rest])),
  };
}

export function writeGolden(figures: Golden): void {
  writeFileSync(PATH, `${JSON.stringify(figures, null, 2)}\n`);
}

/** A line for each figure that is off by more than the tolerance, in either direction, or that one side lacks. */
export function differences(recorded: Golden, measured: Golden): string[] {
  const found: string[] = [];
  const each = <T>(a: Record<string, T>, b: Record<string, T>, compare: (name: string, a: T, b: T) => void): void => {
    for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
      if (!(name in a)) found.push(`${name}: not recorded`);
      else if (!(name in b)) found.push(`${name}: recorded, and no longer measured`);
      else compare(name, a[name], b[name]);
    }
  };
  each(recorded.instructions, measured.instructions, (name, before, now) => {
    const change = now / before - 1;
    if (Math.abs(change) <= TOLERANCE) return;
    const percent = `${change > 0 ? '+' : ''}${(change * 100).toFixed(1)} %`;
    found.push(`${name}: ${before} instructions are recorded, ${now} were counted (${percent})`);
  });
  each(recorded.lines, measured.lines, (name, before, now) => {
    if (JSON.stringify(before) === JSON.stringify(now)) return;
    const all = (side: typeof now): string[] => Object.values(side.fields).flatMap((fields) => fields.split(', '));
    const more = all(now).filter((field) => !all(before).includes(field));
    const less = all(before).filter((field) => !all(now).includes(field));
    found.push(
      `${name}: ${before.slotLines} lines of the connection and ${before.otherLines} others are recorded, ` +
        `${now.slotLines} and ${now.otherLines} were touched; new: ${more.join(', ')}; gone: ${less.join(', ')}`,
    );
  });
  return found;
}
