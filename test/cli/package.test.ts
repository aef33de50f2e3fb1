// The package as its users import and run it.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

interface Manifest {
  readonly name: string;
  readonly bin: Record<string, string>;
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>;
}

const root = new URL('../../../', import.meta.url);
const at = (path: string) => fileURLToPath(new URL(path, root));
const manifest = JSON.parse(readFileSync(at('package.json'), 'utf8')) as Manifest;

test('every entry point of the package is there, with its types', () => {
  for (const [name, entry] of Object.entries(manifest.exports)) {
    const paths = typeof entry === 'string' ? [entry] : [entry.types, entry.default];
    for (const path of paths) assert.ok(existsSync(at(path)), `${name}: ${path}`);
  }
});

test('every entry point can be imported by its name, without a link or an addon', async () => {
  for (const name of ['lunet', 'lunet/net', 'lunet/zc', 'lunet/link']) {
    const module = (await import(name)) as Record<string, unknown>;
    assert.ok(Object.keys(module).length > 0, name);
    assert.not('default' in module, name);
  }
});

test('the command named in bin runs', () => {
  const { status, stdout } = spawnSync(process.execPath, [at(manifest.bin.lunet ?? ''), '--help'], {
    encoding: 'utf8',
  });
  assert.is(status, 0);
  assert.match(stdout, /^usage: lunet <command>/);
});

test('npm run -s lunet prints nothing but the output of the command', () => {
  const { stdout, stderr, status } = spawnSync('npm', ['run', '-s', 'lunet', '--', '--help'], {
    cwd: at('.'),
    encoding: 'utf8',
  });
  assert.is(status, 0);
  assert.match(stdout, /^usage: lunet <command>/);
  assert.is(stderr, '');
});

test('the lock file holds no download addresses', () => {
  assert.not.match(readFileSync(at('package-lock.json'), 'utf8'), /"resolved"/);
});

test.run();
