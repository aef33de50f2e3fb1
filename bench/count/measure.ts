// Runs the programs of bench/count: instructions by callgrind, and the cache lines of a connection that a segment touches.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configuration } from './configuration.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(ROOT, 'build', 'count');
const LINE_BYTES = 64;

export interface Instructions {
  name: string;
  operations: number;
  perOperation: number;
  /** Those that a function itself executes, the most expensive first. */
  functions: { name: string; perOperation: number }[];
}

export interface Lines {
  name: string;
  /** Of the connection's slot. */
  slotLines: number;
  /** Of everything else: headers, tables, counters. */
  otherLines: number;
  /** Fields of the slot by line, each with r (loaded), w (stored) or rw. */
  fields: Record<string, string>;
}

function run(command: string, args: readonly string[], input: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** Instructions of each scenario of a program: `count` or `inner`. */
export function instructions(program: 'count' | 'inner'): Instructions[] {
  const dumps = join(FOLDER, 'dumps');
  rmSync(dumps, { recursive: true, force: true });
  mkdirSync(dumps, { recursive: true });
  const options = [
    '--tool=callgrind',
    '--vgdb=no',
    '--collect-atstart=no',
    `--callgrind-out-file=${join(dumps, program)}`,
  ];
  const output = run('valgrind', [...options, join(FOLDER, program)], configuration());
  const byName = new Map<string, string>();
  for (const file of readdirSync(dumps)) {
    const text = readFileSync(join(dumps, file), 'utf8');
    const name = /^desc: Trigger: Client Request: (.*)$/m.exec(text)?.[1];
    if (name !== undefined) byName.set(name, text);
  }
  return output
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [name, count] = line.split('\t');
      const dump = byName.get(name)!;
      const operations = Number(count);
      const total = Number(/^totals: (\d+)$/m.exec(dump)![1]);
      const functions = selfCosts(dump)
        .map(([symbol, cost]) => ({ name: sourceName(symbol), perOperation: cost / operations }))
        .sort((a, b) => b.perOperation - a.perOperation);
      return { name, operations, perOperation: total / operations, functions };
    });
}

/** What functions execute without those they call, of a dump in callgrind's format. */
function selfCosts(dump: string): [string, number][] {
  const names = new Map<string, string>();
  const costs = new Map<string, number>();
  let current = '';
  let inclusive = false;
  for (const line of dump.split('\n')) {
    const named = /^c?fn=(\(\d+\))(?: (.*))?$/.exec(line);
    if (named !== null) {
      if (named[2] !== undefined) names.set(named[1], named[2]);
      if (line.startsWith('fn=')) current = named[1];
    } else if (line.startsWith('calls=')) inclusive = true;
    else {
      const cost = /^[+\-*\d]\S* (\d+)$/.exec(line);
      if (cost === null) continue;
      if (!inclusive) costs.set(current, (costs.get(current) ?? 0) + Number(cost[1]));
      inclusive = false;
    }
  }
  return [...costs].map(([id, cost]) => [names.get(id) ?? id, cost]);
}

/** wasm2c's name of a function of the core as its source and its name. */
function sourceName(symbol: string): string {
  const own = /^w2c_assembly_(.*)$/.exec(symbol);
  return own === null ? symbol : own[1].replaceAll('_', '/');
}

/** Names of the fields of a connection's slot by offset, of assembly/tcp/tcb.ts. */
function fieldNames(): Map<number, string> {
  const source = readFileSync(join(ROOT, 'assembly', 'tcp', 'tcb.ts'), 'utf8');
  const names = new Map<number, string>();
  const take = (name: string, start: number, prefix: string): void => {
    const body = new RegExp(`^export class ${name}(?: extends \\w+)? \\{\\n(.*?)^\\}`, 'ms').exec(source)![1];
    let at = start;
    for (const [, field, bits] of body.matchAll(/^ {2}(\w+): u(\d+);$/gm)) {
      const bytes = Number(bits) / 8;
      at = Math.ceil(at / bytes) * bytes;
      // A word that several small fields share goes by all their names.
      const word = at & ~3;
      const before = names.get(word);
      names.set(word, before === undefined || at === word ? prefix + field : `${before}+${field}`);
      if (bytes === 8) names.set(word + 4, prefix + field);
      at += bytes;
    }
  };
  take('Tcb', 0, '');
  take('Cold', Number(/^export const TCB_SIZE: u32 = (\d+);$/m.exec(source)![1]), 'cold.');
  return names;
}

/** What one segment touches. */
export function lines(): Lines[] {
  const names = fieldNames();
  return run(join(FOLDER, 'lines'), [], configuration())
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [name, others, words] = line.split('\t');
      const byLine = new Map<string, Set<string>>();
      for (const [, offset, access] of words.matchAll(/(\d+)(\w+)/g)) {
        const at = Number(offset);
        const key = `line ${Math.floor(at / LINE_BYTES)}`;
        const field = `${names.get(at) ?? `at ${at}`} ${access}`;
        if (!byLine.has(key)) byLine.set(key, new Set());
        byLine.get(key)!.add(field);
      }
      const fields = Object.fromEntries([...byLine].map(([key, all]) => [key, [...all].join(', ')]));
      return { name, slotLines: byLine.size, otherLines: Number(others), fields };
    });
}
