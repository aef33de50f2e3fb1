// The fuzzers by command, for as long as one likes.
//
//   npm run fuzz -- [NAME …] [--seconds N] [--seed N] [--build coverage|debug|release] [--functions]
//   npm run fuzz -- NAME --replay FILE [--build …]
import { parseArgs } from 'node:util';
import type { FuzzBuild } from './cores.js';
import { check, explain, type FuzzResult, type FuzzState, fuzz } from './engine.js';
import {
  committedFolder,
  failedFolder,
  foundFolder,
  hungFile,
  pruneFolder,
  readCorpus,
  readTapeFile,
  saveTape,
  shown,
} from './files.js';
import { WORDS } from './tape.js';
import type { Target } from './target.js';
import { targets } from './targets/index.js';
import { startWatchdog } from './watchdog.js';

const HANG_MS = 60_000;
const BUILDS: readonly string[] = ['coverage', 'debug', 'release'];

function sayState(target: Target, state: FuzzState): string {
  const rate = Math.round(state.inputs / Math.max(state.seconds, 0.001));
  const coverage = state.sites > 0 ? `, ${state.visited} of ${state.sites} places, corpus ${state.corpus}` : '';
  return `${target.name}: ${state.inputs} inputs (${rate}/s), ${state.steps} steps, ${Math.round(state.seconds)} s${coverage}`;
}

function replay(target: Target, file: string, build: FuzzBuild): number {
  const tape = readTapeFile(file);
  console.log(`${target.name}: ${tape.length / WORDS} steps from ${file} on the ${build} build`);
  const error = check(target, tape, build);
  console.log(error ? (error.stack ?? error.message) : 'no failure');
  return error ? 1 : 0;
}

async function run(target: Target, seconds: number, seed: number, build: FuzzBuild): Promise<FuzzResult> {
  const hung = hungFile(target.name);
  const again = `npm run fuzz -- ${target.name} --build ${build} --replay ${shown(hung)}`;
  const watchdog = startWatchdog(HANG_MS, hung, again);
  const terminal = process.stdout.isTTY;
  const kept = new Set<string>();
  let lines = 0;
  const result = fuzz({
    target,
    build,
    seed,
    inputs: Number.POSITIVE_INFINITY,
    seconds,
    corpus: [...readCorpus(committedFolder(target.name)), ...readCorpus(foundFolder(target.name))],
    watchdog,
    progress(state) {
      if (terminal) process.stdout.write(`\r${sayState(target, state)}\x1b[K`);
      else if (lines++ % 30 === 0) console.log(sayState(target, state));
    },
    keep: (tape) => void kept.add(saveTape(foundFolder(target.name), tape)),
  });
  await watchdog.close();
  // What has become worthless beside the others. A run that failed may not have come that far.
  if (build === 'coverage' && !result.failure) pruneFolder(foundFolder(target.name), kept);
  console.log(`${terminal ? '\r' : ''}${sayState(target, result)}`);
  if (result.failure) {
    const file = saveTape(failedFolder(target.name), result.failure.tape);
    console.log(explain(target, result.failure, shown(file)));
  }
  return result;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      build: { type: 'string', default: 'coverage' },
      replay: { type: 'string' },
      functions: { type: 'boolean', default: false },
    },
  });
  const names = positionals.length > 0 ? positionals : [...targets.keys()];
  const unknown = names.find((name) => !targets.has(name));
  const seconds = Number(values.seconds);
  const seed = Number(values.seed);
  if (unknown !== undefined || !BUILDS.includes(values.build) || !(seconds > 0) || !Number.isInteger(seed)) {
    console.log(`fuzz [NAME …] [--seconds N] [--seed N] [--build ${BUILDS.join('|')}] [--functions] [--replay FILE]`);
    for (const target of targets.values()) console.log(`  ${target.name.padEnd(10)} ${target.purpose}`);
    return 2;
  }
  let failed = 0;
  for (const name of names) {
    const target = targets.get(name) as Target;
    if (values.replay !== undefined) return replay(target, values.replay, values.build as FuzzBuild);
    const result = await run(target, seconds, seed, values.build as FuzzBuild);
    if (values.functions) console.log(`never entered: ${result.neverEntered.join(' ') || 'none'}`);
    if (result.failure) failed++;
  }
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
