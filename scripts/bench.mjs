// Runs the microbenchmarks, one process each, one after another: dist/bench/**/*.bench.js.
//
//   node scripts/bench.mjs [--json] [FILTER …]      --json: one object of all results, by file
import { spawnSync } from 'node:child_process';
import { at, filesBelow } from './lib/step.mjs';

const json = process.argv.includes('--json');
const filters = process.argv.slice(2).filter((arg) => arg !== '--json');
const files = filesBelow('dist/bench', (path) => path.endsWith('.bench.js')).filter(
  (path) => filters.length === 0 || filters.some((filter) => path.includes(filter)),
);
if (files.length === 0) {
  console.error(
    filters.length > 0 ? `bench: no file matches ${filters.join(' ')}` : 'bench: bench/ has no .bench.ts file',
  );
  process.exit(1);
}
let failed = 0;
const results = {};
for (const file of files) {
  const name = file.slice('dist/bench/'.length, -'.bench.js'.length);
  if (!json) console.log(`\n${name}`);
  const args = [at(file), ...(json ? ['--json'] : [])];
  const { status, stdout } = spawnSync(process.execPath, args, {
    stdio: ['ignore', json ? 'pipe' : 'inherit', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) failed++;
  else if (json) results[name] = JSON.parse(stdout);
}
if (json) console.log(JSON.stringify(results, null, 2));
process.exitCode = failed > 0 ? 1 : 0;
