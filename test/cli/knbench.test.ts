import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Progress, type RunOptions, runMatrix } from '../../src/host/knbench/run.js';
import type { RunResult } from '../../src/host/knbench/types.js';
import { checkResults } from '../helpers/knbench.js';

const options: RunOptions = {
  stacks: [{ stack: 'kernel', mode: 'copy' }],
  links: ['memory:'],
  sizesBytes: [16, 4096, 100_000],
  depths: [1, 3],
  connections: [1, 2],
  seconds: 0.05,
  warmupSeconds: 0.02,
  rounds: 1,
  trustLink: false,
  verify: true,
  cpus: [],
};

async function run(changes: Partial<RunOptions>): Promise<RunResult[]> {
  return (await runMatrix({ ...options, ...changes })).map(({ result }) => result);
}

test('the kernel answers every byte of every cell in one thread', async () => {
  const results = await run({});
  assert.is(results.length, 12);
  checkResults(results);
});

test('the kernel runs in two processes on one CPU and on two, one of them the baseline', async () => {
  const seen: Progress[] = [];
  const results = await run({
    links: ['memif'],
    sizesBytes: [64],
    depths: [1],
    connections: [1],
    cpus: [0, 0],
    rounds: 2,
    onProgress: (progress) => seen.push(progress),
  });
  checkResults(results);
  assert.equal(
    results.map(({ placement, round }) => [placement, round]),
    [
      ['one CPU', 1],
      ['two CPUs', 1],
      ['two CPUs', 2],
      ['one CPU', 2],
    ],
  );
  assert.is(new Set(results.filter((r) => r.baseline).map((r) => r.placement)).size, 1);
  assert.equal(
    seen.map(({ done, total }) => [done, total]),
    [0, 1, 2, 3, 4].map((done) => [done, 4]),
  );
});

for (const stack of ['lunet', 'kernel'] as const) {
  test(`programs of lunet/rpc answer every byte of every cell on ${stack}`, async () => {
    const results = await run({ stacks: [{ stack, mode: 'rpc' }] });
    assert.is(results.length, 12);
    checkResults(results);
    if (stack === 'lunet') for (const { copiedBytes } of results) assert.is(copiedBytes, 0);
  });
}

for (const mode of ['zc', 'copy'] as const) {
  test(`lunet ${mode} answers every byte of every cell on a memory link`, async () => {
    const results = await run({ stacks: [{ stack: 'lunet', mode }] });
    assert.is(results.length, 12);
    checkResults(results);
    for (const { copiedBytes, rpcs, sizeBytes } of results) {
      if (mode === 'zc') assert.is(copiedBytes, 0);
      else assert.ok(copiedBytes >= 4 * rpcs * sizeBytes, 'into and out of both ends');
    }
  });
}

test('what cannot open is an error in every row, with the reason', async () => {
  const results = await run({
    stacks: [{ stack: 'lunet', mode: 'zc' }],
    links: ['nowhere:x'],
    sizesBytes: [64],
    cpus: [],
  });
  assert.is(results.length, 4);
  for (const { error, errors, rpcs } of results) {
    assert.is(errors, 1);
    assert.is(rpcs, 0);
    assert.match(error ?? '', /nowhere/);
  }
});

test.run();
