// knbench on a veth pair of its own: lunet over AF_XDP against the kernel on the same interfaces.
import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runMatrix } from '../../src/host/knbench/run.js';

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
    const wanted = stack === 'lunet' ? /checksums in software/ : wire === 'veth' ? /TSO, GSO/ : /^none$/;
    assert.match(offloads, wanted);
  }
  // A baseline on the loopback, and one on the veth pair.
  assert.is(results.filter(({ baseline, wire }) => baseline && wire === 'direct').length, 1);
  assert.is(results.filter(({ baseline, wire }) => baseline && wire !== 'direct').length, 1);
  const left = readdirSync('/run/netns').filter((name) => name.startsWith(`lunet-${process.pid}-`));
  assert.equal(left, []);
});

test.run();
