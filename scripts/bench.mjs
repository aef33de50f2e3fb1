// Runs the microbenchmarks, one process each, one after another: dist/bench/**/*.bench.js.
//
//   node scripts/bench.mjs [FILTER …]
import { spawnSync } from 'node:child_process';
import { at, filesBelow } from './lib/step.mjs';

const filters = process.argv.slice(2);
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
for (const file of files) {
  console.log(`\n${file.slice('dist/bench/'.length)}`);
  if (spawnSync(process.execPath, [at(file)], { stdio: ['ignore', 'inherit', 'inherit'] }).status !== 0) failed++;
}
process.exitCode = failed > 0 ? 1 : 0;
