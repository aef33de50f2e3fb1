// Formats and lints the core with Biome, which does not parse AssemblyScript's decorators on functions and constants:
// a copy is checked in which they are comments, and the formatted text is carried back.
//
//   node scripts/check-core.mjs [--write]     without --write, differences are errors
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { at, filesBelow } from './lib/step.mjs';

const COPY = 'build/check-core';

const hide = (text) =>
  text
    .replace(/^([ \t]*)(@\w+(?:\([^()\n]*\))?)[ \t]*$/gm, '$1//$2')
    .replace(/^([ \t]*)(@\w+(?:\([^()\n]*\))?)(?=[ \t]+\S)/gm, '$1/*$2*/');

const show = (text) =>
  text
    .replace(/^([ \t]*)\/\/(@\w+(?:\([^()\n]*\))?)$/gm, '$1$2')
    .replace(/^([ \t]*)\/\*(@\w+(?:\([^()\n]*\))?)\*\//gm, '$1$2');

function biome(...args) {
  const program = at('node_modules', '@biomejs', 'biome', 'bin', 'biome');
  const config = `--config-path=${at('scripts', 'lib', 'biome.core.json')}`;
  const result = spawnSync(process.execPath, [program, ...args, config, '--max-diagnostics=200', at(COPY)], {
    encoding: 'utf8',
  });
  if (result.status !== 0) console.error(`${result.stdout}${result.stderr}`.replaceAll(`${COPY}/`, ''));
  return result.status === 0;
}

function main(write) {
  const files = ['assembly', 'bench/assembly'].flatMap((dir) => filesBelow(dir, (path) => path.endsWith('.ts')));
  if (files.length === 0) return true;
  rmSync(at(COPY), { recursive: true, force: true });
  for (const file of files) {
    mkdirSync(dirname(at(COPY, file)), { recursive: true });
    writeFileSync(at(COPY, file), hide(readFileSync(at(file), 'utf8')));
  }
  let ok = biome('lint');
  ok = biome('format', '--write') && ok;
  for (const file of files) {
    const formatted = show(readFileSync(at(COPY, file), 'utf8'));
    if (formatted === readFileSync(at(file), 'utf8')) continue;
    if (write) {
      writeFileSync(at(file), formatted);
    } else {
      console.error(`${file}: not formatted (npm run format)`);
      ok = false;
    }
  }
  return ok;
}

process.exitCode = main(process.argv.includes('--write')) ? 0 : 1;
