// npm run bench: what it prints, not how fast anything is.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const BENCH = fileURLToPath(new URL('../../../scripts/bench.mjs', import.meta.url));

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [BENCH, ...args], { encoding: 'utf8', maxBuffer: 1 << 24 });
}

interface Output {
  setting: Record<string, unknown> & { versions: Record<string, unknown> };
  results: Record<string, unknown>[];
}

test('--json prints one object and nothing else: conditions and results by name', () => {
  const { status, stdout, stderr } = bench('--json', '--quick', 'zbuf', 'segment', 'connections');
  assert.is(status, 0, stderr);
  const output: Record<string, Output> = JSON.parse(stdout);
  assert.equal(Object.keys(output).sort(), ['connections', 'segment', 'zbuf']);
  for (const [name, { setting, results }] of Object.entries(output)) {
    for (const key of ['what', 'link', 'offloads', 'placement', 'build']) assert.type(setting[key], 'string', name);
    for (const key of ['lunet', 'node', 'linux', 'cpu']) assert.type(setting.versions[key], 'string', name);
    assert.ok(results.length >= 3, name);
  }
  for (const { name, nsPerOperation, samples } of [...output.zbuf.results, ...output.segment.results]) {
    assert.ok((nsPerOperation as number) > 0 && (samples as number) > 0, name as string);
  }
  for (const row of output.connections.results) {
    assert.is(row.heldWhenIdle, 0);
    assert.ok((row.rpcPerSecond as { min: number }).min > 0);
  }
});

test('as text it says on what, with which offloads, where and with which versions', () => {
  const { status, stdout, stderr } = bench('--quick', 'ingest');
  assert.is(status, 0, stderr);
  assert.match(stdout, /link: .*offloads: /);
  assert.match(stdout, /pinned/);
  assert.match(stdout, /lunet \d.*Node \d.*Linux/);
  assert.match(stdout, /TCP without a connection.* ns ±/);
});

test('a name that is none, and an option that is none, are said', () => {
  const name = bench('nothing');
  assert.is(name.status, 1);
  assert.match(name.stderr, /no benchmark matches nothing: there are .*memory/);
  assert.match(bench('--fast').stderr, /no option --fast/);
});

test.run();
