// knbench against the kernel in C, and on a veth pair of its own: lunet over AF_XDP against the kernel on the same
// interfaces. Here tests run one at a time: who polls would keep others from answering.
import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type RunOptions, runMatrix } from '../../src/host/knbench/run.js';
import type { RunResult } from '../../src/host/knbench/types.js';
import { checkResults } from '../helpers/knbench.js';

const options: RunOptions = {
  stacks: [{ stack: 'kernel', mode: 'epoll' }],
  links: ['memif'],
  sizesBytes: [16, 100_000],
  depths: [1, 3],
  connections: [1, 20],
  seconds: 0.2,
  warmupSeconds: 0.02,
  rounds: 1,
  trustLink: false,
  verify: true,
  cpus: [0],
};

async function run(changes: Partial<RunOptions>): Promise<RunResult[]> {
  return (await runMatrix({ ...options, ...changes })).map(({ result }) => result);
}

for (const mode of ['epoll', 'busy'] as const) {
  test(`the kernel through the C program (${mode}) answers every byte of every cell`, async () => {
    // Who polls on one CPU answers once in a time slice: busy ends have two.
    const busy = mode === 'busy';
    const results = await run({ stacks: [{ stack: 'kernel', mode }], cpus: busy ? [0, 1] : [0] });
    assert.is(results.length, 8);
    checkResults(results);
    assert.ok(results.every(({ placement }) => placement === (busy ? 'two CPUs' : 'one CPU')));
    assert.ok(results.every(({ link }) => link === 'loopback'));
  });
}

test('more than a socket takes is in flight both ways, and the C program does not wait for itself', async () => {
  const results = await run({
    sizesBytes: [1024 * 1024],
    depths: [16],
    connections: [1],
  });
  checkResults(results);
});

test('lunet over memif answers every byte, on one CPU too, and sends nothing twice', async () => {
  const [sizesBytes, depths, connections] = [[65_536], [16], [8]];
  for (const [mode, cpus] of [
    ['zc', [0, 1]],
    ['copy', [0]],
  ] as const) {
    checkResults(await run({ stacks: [{ stack: 'lunet', mode }], cpus: [...cpus], sizesBytes, depths, connections }));
  }
});

test('a busy program has both CPUs, one that waits is tried on one and on two; the fastest is the baseline', async () => {
  const results = await run({
    stacks: [
      { stack: 'kernel', mode: 'copy' },
      { stack: 'kernel', mode: 'epoll' },
      { stack: 'kernel', mode: 'busy' },
    ],
    sizesBytes: [64],
    depths: [1],
    connections: [1],
    cpus: [0, 1],
  });
  checkResults(results);
  assert.equal(
    results.map(({ mode, placement }) => `${mode}, ${placement}`),
    ['copy, one CPU', 'copy, two CPUs', 'epoll, one CPU', 'epoll, two CPUs', 'busy, two CPUs'],
  );
  const best = Math.max(...results.map(({ rpcPerSecond }) => rpcPerSecond));
  assert.equal(
    results.filter(({ baseline }) => baseline).map(({ rpcPerSecond }) => rpcPerSecond),
    [best],
  );
});

test('every stack has the same pair of interfaces, the kernel with its offloads and without, and nothing is left', async () => {
  const records = await runMatrix({
    stacks: [
      { stack: 'lunet', mode: 'zc' },
      { stack: 'lunet', mode: 'copy' },
      { stack: 'kernel', mode: 'copy' },
      { stack: 'kernel', mode: 'epoll' },
    ],
    links: ['memif', 'xdp'],
    sizesBytes: [4096],
    depths: [4],
    connections: [2],
    seconds: 0.1,
    warmupSeconds: 0.05,
    rounds: 1,
    vethMtu: 1400,
    trustLink: true,
    verify: true,
    cpus: [0, 1],
  });
  const results = records.map(({ result }) => result);
  for (const { error, errors, rpcs, link } of results) {
    assert.is(error, undefined, link);
    assert.is(errors, 0, link);
    assert.ok(rpcs > 0, link);
  }
  const rows = results.map(({ stack, mode, wire, placement }) => `${stack} ${mode}, ${wire}, ${placement}`);
  assert.equal(rows, [
    'lunet zc, direct, two CPUs',
    'lunet copy, direct, two CPUs',
    'kernel copy, direct, one CPU',
    'kernel copy, direct, two CPUs',
    'kernel epoll, direct, one CPU',
    'kernel epoll, direct, two CPUs',
    'lunet zc, veth, two CPUs',
    'lunet copy, veth, two CPUs',
    'kernel copy, veth, one CPU',
    'kernel copy, veth, two CPUs',
    'kernel epoll, veth, one CPU',
    'kernel epoll, veth, two CPUs',
    'kernel copy, bare veth, one CPU',
    'kernel copy, bare veth, two CPUs',
    'kernel epoll, bare veth, one CPU',
    'kernel epoll, bare veth, two CPUs',
  ]);
  for (const { stack, wire, offloads, mtu, driver } of results) {
    if (wire === 'direct') continue;
    assert.is(mtu, 1400);
    if (stack === 'lunet') assert.is(driver, 'net_af_xdp');
    const wanted = stack === 'lunet' ? /checksums: software tx, software rx/ : wire === 'veth' ? /TSO, GSO/ : /^none$/;
    assert.match(offloads, wanted);
  }
  // A baseline on the loopback, and one on the veth pair.
  assert.is(results.filter(({ baseline, wire }) => baseline && wire === 'direct').length, 1);
  assert.is(results.filter(({ baseline, wire }) => baseline && wire !== 'direct').length, 1);
  const left = readdirSync('/run/netns').filter((name) => name.startsWith(`lunet-${process.pid}-`));
  assert.equal(left, []);
});

test.run();
