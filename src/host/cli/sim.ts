import { writeFileSync } from 'node:fs';
import { runSwarm, type SwarmResult, sabotages } from '../sim/swarm.js';
import { fairness, fullSweep, quickSweep, sweep, sweepMarkdown } from '../sim/sweep.js';
import { type CommandSpec, helpText, integer, parseCommand, UsageError, type Values } from './args.js';
import { print } from './output.js';

const sweepSpec: CommandSpec = {
  name: 'sim sweep',
  summary: 'Goodput over bandwidth × delay × loss × algorithm as a share of the bound, and fairness, in virtual time.',
  options: {
    full: { help: 'more rates, delays and losses: minutes instead of seconds' },
    seed: { value: 'N', help: 'of everything random', default: '1' },
    write: { value: 'FILE', help: 'write the tables there instead of printing them' },
    json: { help: 'print an object of both tables' },
  },
};

const swarmSpec: CommandSpec = {
  name: 'sim swarm',
  summary: 'Random connections between two cores over a path that does everything a path can do, held to invariants.',
  options: {
    seed: { value: 'N', help: 'the first seed', default: '1' },
    seeds: { value: 'N', help: 'how many, one after another', default: '1' },
    pcap: { value: 'DIR', help: 'write what each host sent and received there, of the last seed' },
    sabotage: { value: 'KIND', help: `break something on purpose: ${sabotages.join(', ')}` },
    verbose: { help: 'print what each seed did' },
  },
  notes: ['exit status: 1 when an invariant does not hold; each failure names its seed'],
};

const natural = (values: Values, name: string): number => integer(values.required(name), name, 0, 2 ** 32 - 1);

async function runSweep(values: Values): Promise<number> {
  const seed = natural(values, 'seed');
  const cells = sweep({ ...(values.flag('full') ? fullSweep : quickSweep), seed });
  const rows = fairness(seed);
  const file = values.text('write');
  if (values.flag('json')) await print(JSON.stringify({ cells, fairness: rows }, null, 2));
  else if (file !== undefined) writeFileSync(file, sweepMarkdown(cells, rows));
  else await print(sweepMarkdown(cells, rows).trimEnd());
  return 0;
}

async function runSeeds(values: Values): Promise<number> {
  const first = natural(values, 'seed');
  const count = natural(values, 'seeds');
  const sabotage = values.text('sabotage');
  if (sabotage !== undefined && !sabotages.includes(sabotage as (typeof sabotages)[number])) {
    throw new UsageError(`--sabotage is one of ${sabotages.join(', ')}`);
  }
  const pcap = values.text('pcap');
  let failed = 0;
  for (let seed = first; seed < first + count; seed++) {
    const result = runSwarm({
      seed,
      ...(pcap !== undefined && seed === first + count - 1 ? { captureFolder: pcap } : {}),
      ...(sabotage === undefined ? {} : { sabotage: sabotage as (typeof sabotages)[number] }),
    });
    if (result.violations.length > 0) failed++;
    if (result.violations.length > 0 || values.flag('verbose')) await print(describe(result));
  }
  await print(`${count - failed} of ${count} seeds hold`);
  return failed > 0 ? 1 : 0;
}

/** What a seed did, and how to see it again. */
export function describe(result: SwarmResult): string {
  const lines = [`seed ${result.seed}: ${result.summary}`];
  for (const violation of result.violations) lines.push(`  violated: ${violation}`);
  if (result.violations.length > 0) {
    lines.push(`  again: npm run -s lunet -- sim swarm --seed ${result.seed} --verbose --pcap DIR`);
  }
  return lines.join('\n');
}

/** Runs the command; resolves to its exit status. */
export async function sim(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  const [spec, run] = name === 'sweep' ? [sweepSpec, runSweep] : [swarmSpec, runSeeds];
  if (name !== 'sweep' && name !== 'swarm') {
    if (name === '--help' || name === '-h') {
      await print(`${helpText(sweepSpec)}\n\n${helpText(swarmSpec)}`);
      return 0;
    }
    throw new UsageError('sweep or swarm is needed');
  }
  const values = parseCommand(spec, rest);
  if (values === 'help') {
    await print(helpText(spec));
    return 0;
  }
  return run(values);
}
