// Runs the benchmarks, one process each, one after another: dist/bench/**/*.bench.js.
//
//   node scripts/bench.mjs [--json] [--quick] [--functions] [--write] [NAME …]      a name is a part of a file's: memory
//
// --json prints one object of all results, by file, and nothing else; --quick only shows that everything works.
// --functions and --write are for `count`: the functions that cost most, and recording the figures.
import { spawnSync } from 'node:child_process';
import { steps } from './build.mjs';
import { at, filesBelow, Missing, StepError } from './lib/step.mjs';

const flags = process.argv.slice(2).filter((arg) => arg.startsWith('--'));
const filters = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const json = flags.includes('--json');

function fail(message) {
  console.error(`bench: ${message}`);
  process.exit(1);
}

/** Runs a step of what only benchmarks need. False when what it is made from is missing. */
async function build(step) {
  try {
    await step();
    return true;
  } catch (error) {
    if (error instanceof StepError) fail(`${error.message}${error.tail ? `\n${error.tail}` : ''}`);
    if (!(error instanceof Missing)) throw error;
    console.error(`bench: missing ${error.message}`);
    return false;
  }
}

const OPTIONS = ['--json', '--quick', '--functions', '--write'];
const unknown = flags.filter((flag) => !OPTIONS.includes(flag));
if (unknown.length > 0) {
  fail(`there is no option ${unknown.join(' ')}: ${OPTIONS.map((option) => `[${option}]`).join(' ')} [NAME …]`);
}
const names = filesBelow('dist/bench', (path) => path.endsWith('.bench.js')).map((path) =>
  path.slice('dist/bench/'.length, -'.bench.js'.length),
);
const unmatched = filters.filter((filter) => !names.some((name) => name.includes(filter)));
if (unmatched.length > 0) fail(`no benchmark matches ${unmatched.join(' ')}: there are ${names.join(', ')}`);
let chosen = names.filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter)));
if (chosen.length === 0) fail('bench/ has no .bench.ts file');
if (chosen.some((name) => name !== 'count')) {
  await build(steps.hot);
  // The C programs may be missing: then their rows say so.
  await build(steps.peers);
}
if (chosen.includes('count') && !(await build(steps.count))) {
  chosen = chosen.filter((name) => name !== 'count');
  if (chosen.length === 0) fail('nothing to run');
}
let failed = 0;
const results = {};
for (const name of chosen) {
  if (!json) console.log(`\n── ${name} ──`);
  const { status, stdout } = spawnSync(process.execPath, [at('dist', 'bench', `${name}.bench.js`), ...flags], {
    stdio: ['ignore', json ? 'pipe' : 'inherit', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0) failed++;
  if (json && stdout !== '') results[name] = JSON.parse(stdout);
}
if (json) console.log(JSON.stringify(results, null, 2));
process.exitCode = failed > 0 ? 1 : 0;
