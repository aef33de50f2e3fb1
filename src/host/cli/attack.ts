import { attacks } from '../attack/attacks/index.js';
import { attackMarkdown, runAttack } from '../attack/run.js';
import { type CommandSpec, helpText, integer, parseCommand, UsageError } from './args.js';
import { print } from './output.js';

const spec: CommandSpec = {
  name: 'attack [NAME…]',
  summary: 'Attacks on a core in virtual time, with a legitimate client beside them: what holds, and what it costs.',
  options: {
    full: { help: 'ten times as many frames and more: minutes instead of seconds' },
    seed: { value: 'N', help: 'of everything random', default: '1' },
    list: { help: 'print the names of the attacks and what each tries' },
    json: { help: 'print an array of results' },
  },
  notes: ['exit status: 1 when something does not hold'],
};

/** Runs the command; resolves to its exit status. */
export async function attack(args: readonly string[]): Promise<number> {
  // What follows an option that takes a value is no name.
  const isName = (arg: string, i: number): boolean => !arg.startsWith('-') && args[i - 1] !== '--seed';
  const names = args.filter(isName);
  const values = parseCommand(
    spec,
    args.filter((arg, i) => !isName(arg, i)),
  );
  if (values === 'help') {
    await print(helpText(spec));
    return 0;
  }
  if (values.flag('list')) {
    const width = Math.max(...attacks.map(({ name }) => name.length));
    await print(attacks.map(({ name, about }) => `${name.padEnd(width)}  ${about}`).join('\n'));
    return 0;
  }
  for (const name of names) {
    if (!attacks.some((one) => one.name === name)) throw new UsageError(`there is no attack "${name}": --list`);
  }
  const seed = integer(values.required('seed'), 'seed', 0, 2 ** 32 - 1);
  const chosen = attacks.filter(({ name }) => names.length === 0 || names.includes(name));
  const results = [];
  for (const [i, one] of chosen.entries()) {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${i + 1} of ${chosen.length}: ${one.name}`);
    results.push(runAttack(one, { seed, full: values.flag('full') }));
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  await print(values.flag('json') ? JSON.stringify(results, null, 2) : attackMarkdown(results));
  return results.some(({ failures }) => failures.length > 0) ? 1 : 0;
}
