import { type ParseArgsConfig, parseArgs } from 'node:util';

/** A mistake on the command line: shown as one line with the way to the help, exit status 2. */
export class UsageError extends Error {}

export interface OptionSpec {
  /** How the value is shown in the help, e.g. `N` or `URI`; a flag has none. */
  readonly value?: string;
  readonly help: string;
  readonly default?: string;
}

export interface CommandSpec {
  /** As typed, e.g. `knbench run`. */
  readonly name: string;
  readonly summary: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Further lines of the help. */
  readonly notes?: readonly string[];
}

export interface Values {
  flag(name: string): boolean;
  text(name: string): string | undefined;
  required(name: string): string;
}

/** Parses what follows the command's name. Returns 'help' when asked for it. Throws UsageError. */
export function parseCommand(spec: CommandSpec, args: readonly string[]): Values | 'help' {
  const options: NonNullable<ParseArgsConfig['options']> = { help: { type: 'boolean', short: 'h' } };
  for (const [name, option] of Object.entries(spec.options)) {
    options[name] = option.value === undefined ? { type: 'boolean' } : { type: 'string' };
  }
  let values: Record<string, unknown>;
  try {
    values = parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    // Node's text is a sentence and a hint at `--`; the sentence is enough.
    const text = (error as Error).message.split(/\. |\n/)[0];
    throw new UsageError(text);
  }
  if (values.help === true) return 'help';
  const text = (name: string): string | undefined => {
    const given = values[name];
    return typeof given === 'string' ? given : spec.options[name]?.default;
  };
  return {
    flag: (name) => values[name] === true,
    text,
    required(name) {
      const value = text(name);
      if (value === undefined || value === '') throw new UsageError(`--${name} is required`);
      return value;
    },
  };
}

export function helpText(spec: CommandSpec): string {
  const rows = Object.entries({ ...spec.options, help: { help: 'show this' } as OptionSpec }).map(
    ([name, option]) => [`--${name}${option.value === undefined ? '' : ` ${option.value}`}`, option] as const,
  );
  const width = Math.max(...rows.map(([left]) => left.length));
  const lines = rows.map(
    ([left, option]) =>
      `  ${left.padEnd(width)}  ${option.help}${option.default === undefined ? '' : ` (default ${option.default})`}`,
  );
  const notes = spec.notes === undefined ? [] : ['', ...spec.notes];
  return [`usage: lunet ${spec.name} [options]`, '', spec.summary, '', ...lines, ...notes].join('\n');
}

export function integer(text: string, option: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new UsageError(`--${option} takes a whole number from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

export function seconds(text: string, option: string, max: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value > 0 && value <= max)) {
    throw new UsageError(`--${option} takes seconds above 0 up to ${max}, not "${text}"`);
  }
  return value;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, kib: 1024, m: 1024 ** 2, mib: 1024 ** 2 };

/** `64`, `64B`, `4k`, `4KiB`, `1MiB`. */
export function sizeBytes(text: string, option: string, min: number, max: number): number {
  const match = /^(\d+) ?([a-z]*)$/i.exec(text.trim());
  const unit = match === null ? undefined : UNITS[match[2].toLowerCase()];
  const value = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
  if (!(value >= min && value <= max)) {
    throw new UsageError(
      `--${option} takes sizes from ${min} B to ${max / 1024 ** 2} MiB, such as 64 or 4KiB, not "${text}"`,
    );
  }
  return value;
}

/** A comma-separated list, each entry once. */
export function list<T>(text: string, entry: (text: string) => T): T[] {
  return [...new Set(text.split(',').map((part) => entry(part.trim())))];
}

export function oneOf<T extends string>(text: string, option: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new UsageError(`--${option} is one of ${choices.join(', ')}, not "${text}"`);
  return found;
}
