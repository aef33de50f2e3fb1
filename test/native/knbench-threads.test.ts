// knbench with two threads at each end: pairs of processes with links and connections of their own, measured together.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Lanes } from '../../src/host/knbench/lanes.js';
import { allowedCpus, type RunOptions, runMatrix } from '../../src/host/knbench/run.js';
import type { RunResult } from '../../src/host/knbench/types.js';
import { checkResults } from '../helpers/knbench.js';

const options: RunOptions = {
  stacks: [{ stack: 'lunet', mode: 'zc' }],
  links: ['memif'],
  sizesBytes: [4096],
  depths: [4],
  connections: [3],
  threads: 2,
  seconds: 0.3,
  warmupSeconds: 0.1,
  rounds: 1,
  trustLink: true,
  verify: true,
  cpus: allowedCpus().slice(0, 4),
};

/** A folder for temporary files that everything a run starts inherits: by its name its processes are known. */
let folder = '';

test.before.each(() => {
  folder = mkdtempSync(join(tmpdir(), 'lunet-test-threads-'));
  process.env.TMPDIR = folder;
});

test.after.each(() => {
  delete process.env.TMPDIR;
  rmSync(folder, { recursive: true, force: true });
});

/** Processes that a run of this test started and that have not ended, in the order of their start. */
function processesLeft(): number[] {
  const found = readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`TMPDIR=${folder}\0`)) return [];
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // Behind the name, which may hold anything, come the fields from the third on: starttime is 22.
      return [{ pid: Number(pid), startTicks: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) }];
    } catch {
      return [];
    }
  });
  return found.sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid).map(({ pid }) => pid);
}

/** Those of them that are an end, not a tool it runs. */
const ends = (): number[] =>
  processesLeft().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('agent.js');
    } catch {
      return false;
    }
  });

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function nothingIsLeft(files: readonly string[] = []): Promise<void> {
  assert.equal(readdirSync(folder), files);
  // A process that was killed takes a moment to be gone.
  for (const limit = Date.now() + 5000; processesLeft().length > 0 && Date.now() < limit; ) await pause(20);
  assert.equal(processesLeft(), []);
}

async function run(changes: Partial<RunOptions> = {}): Promise<RunResult[]> {
  return (await runMatrix({ ...options, ...changes })).map(({ result }) => result);
}

for (const stack of ['lunet', 'kernel'] as const) {
  const mode = stack === 'lunet' ? 'zc' : 'copy';

  test(`two threads of ${stack} ${mode} are one row, and nothing is left of them`, async () => {
    const results = await run({ stacks: [{ stack, mode }] });
    checkResults(results);
    const placements = stack === 'lunet' ? ['two CPUs'] : ['one CPU', 'two CPUs'];
    assert.equal(
      results.map(({ placement }) => placement),
      placements.filter((_, i) => options.cpus.length > 1 || i === 0),
    );
    for (const { threads, connections, seconds, rpcs, rpcPerSecond, copiedBytes, sizeBytes, warning } of results) {
      assert.is(threads, 2);
      assert.is(connections, 3);
      assert.ok(seconds >= 0.3 && seconds < 1, `${seconds} s`);
      // Each thread's rate is its requests in its own time, and none took longer than that of the row.
      assert.ok(rpcPerSecond >= (rpcs / seconds) * 0.999 && rpcPerSecond < (rpcs / seconds) * 2);
      assert.is(copiedBytes, stack === 'lunet' ? 0 : 4 * sizeBytes * rpcs);
      if (stack === 'lunet' && options.cpus.length < 4) assert.match(warning ?? '', /4 polling threads/);
    }
    await nothingIsLeft();
  });

  test(`each of two threads of ${stack} ${mode} has its requests answered, at the same time`, async () => {
    const { links, trustLink, cpus } = options;
    const placement = 'two CPUs';
    const lanes = await Lanes.open(
      { stack, mode, placement, wire: 'direct' },
      { threads: 2, wire: { link: links[0] }, trustLink, cpus },
    );
    try {
      const workload = { sizeBytes: 64, depth: 1, connections: 1, warmupSeconds: 0.1, seconds: 0.5, verify: true };
      const { figures, usage, skewSeconds } = await lanes.measure(workload);
      assert.is(figures.length, 2);
      for (const { rpcs, errors, latencyNs } of figures) {
        assert.ok(rpcs > 0);
        assert.is(errors, 0);
        assert.is(
          latencyNs.reduce((sum, value, i) => sum + (i % 2 === 1 ? value : 0), 0),
          rpcs,
        );
      }
      assert.ok(usage.cpuSeconds > 0);
      assert.ok(skewSeconds < 0.5, `one began ${skewSeconds} s after the other`);
    } finally {
      await lanes.close();
    }
    await nothingIsLeft();
  });
}

test('two threads on veth have a pair of interfaces each', async () => {
  const stacks = [
    { stack: 'lunet', mode: 'zc' },
    { stack: 'kernel', mode: 'busy' },
  ] as const;
  const results = await run({ stacks, links: ['xdp'], seconds: 0.1 });
  for (const { error, errors, rpcs, threads, wire } of results) {
    assert.is(error, undefined, wire);
    assert.equal([errors, threads], [0, 2]);
    assert.ok(rpcs > 0);
  }
  assert.equal([...new Set(results.map(({ wire }) => wire))], ['veth', 'bare veth']);
  const namespaces = readdirSync('/run/netns').filter((name) => name.startsWith(`lunet-${process.pid}-`));
  assert.equal(namespaces, []);
  await nothingIsLeft();
});

test('a thread that ends fails its cell with its message, at once, and ends the others; the next cell has new ones', async () => {
  let killedMs = 0;
  let failedMs = 0;
  let before: number[] = [];
  const results = await run({
    sizesBytes: [64, 1000, 4096],
    seconds: 3,
    onProgress({ done }) {
      if (done === 1) {
        setTimeout(() => {
          before = ends();
          killedMs = Date.now();
          // The youngest is a client: they are started after servers.
          process.kill(before[before.length - 1], 'SIGKILL');
        }, 500);
      } else if (done === 2) failedMs = Date.now();
    },
  });
  assert.is(before.length, 4);
  assert.equal(
    results.map(({ error, threads }) => [error === undefined, threads]),
    [true, false, true].map((good) => [good, 2]),
  );
  assert.match(results[1].error ?? '', /^the lunet zc client of thread [01] ended with signal SIGKILL/);
  assert.equal([results[1].errors, results[1].rpcs], [1, 0]);
  assert.ok(failedMs - killedMs < 2000, `noticed ${failedMs - killedMs} ms later`);
  await nothingIsLeft();
});

test('a thread that does not open fails every cell with its message, and the other is ended', async () => {
  mkdirSync(join(folder, 'link-1'));
  const results = await run({ links: [`memif:${join(folder, 'link')}`], depths: [1, 2] });
  assert.is(results.length, 2);
  for (const { error, errors, rpcs } of results) {
    assert.match(error ?? '', /of thread 1/);
    assert.equal([errors, rpcs], [1, 0]);
  }
  await nothingIsLeft(['link-1']);
});

test.run();
