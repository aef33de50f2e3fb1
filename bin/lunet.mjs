#!/usr/bin/env node
// Runs the compiled CLI. In a source checkout that has not been built yet, setup runs first with all its output on
// stderr, so that `--json` output on stdout stays clean.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const main = at('dist/src/host/cli/main.js');

if (!existsSync(main)) {
  if (!existsSync(at('scripts/setup.mjs'))) {
    console.error('lunet: this package is not built: dist/ is missing. In a source checkout run: npm run setup');
    process.exit(1);
  }
  const setup = spawnSync(process.execPath, [at('scripts/setup.mjs')], { stdio: ['ignore', 2, 2] });
  if (setup.status !== 0 || !existsSync(main)) {
    console.error('lunet: could not be built; the cause is above. Run: npm run setup');
    process.exit(1);
  }
}
await import(main);
