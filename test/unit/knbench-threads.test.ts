// Several threads of an end as one result: what is added up, what is not, and which CPUs and links they have.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cpuWarning, laneCpus } from '../../src/host/knbench/cpus.js';
import { conditionLines } from '../../src/host/knbench/format.js';
import { latencyRecorder, mergeSnapshots, toHistogram } from '../../src/host/knbench/histogram.js';
import { type Contender, failedRecord, mergeUsage, recordOf, summarize } from '../../src/host/knbench/results.js';
import { runMatrix } from '../../src/host/knbench/run.js';
import type { ClientFigures } from '../../src/host/knbench/types.js';
import { openWire } from '../../src/host/knbench/wire.js';
import { endInfo as info } from '../helpers/knbench.js';

const zc: Contender = { stack: 'lunet', mode: 'zc', placement: 'two CPUs', wire: 'direct' };
const node: Contender = { stack: 'kernel', mode: 'copy', placement: 'one CPU', wire: 'direct' };
const cell = { sizeBytes: 1000, depth: 1, connections: 3 };
const usage = { cpuSeconds: 1, copiedBytes: 0, retransmits: 0 };

function lane(seconds: number, latenciesNs: readonly number[], errors = 0): ClientFigures {
  const recorder = latencyRecorder();
  for (const ns of latenciesNs) recorder.record(ns);
  return { seconds, rpcs: latenciesNs.length, errors, latencyNs: recorder.snapshot() };
}

test('requests, rates and errors of threads are added up; the time is the longest, connections are those of each', () => {
  const lanes = [lane(1, new Array(10).fill(1000)), lane(2, new Array(40).fill(1000), 1), lane(0.5, [1000])];
  const { result } = recordOf(zc, cell, 1, info, lanes, usage);
  assert.is(result.threads, 3);
  assert.is(result.connections, 3);
  assert.is(result.rpcs, 51);
  assert.is(result.errors, 1);
  assert.is(result.seconds, 2);
  assert.is(result.rpcPerSecond, 10 + 20 + 2);
  assert.is(result.gbps, (32 * 8000) / 1e9);
});

test('latencies of threads are one distribution: the tail of one is the tail of all', () => {
  const fast = lane(1, new Array(980).fill(1000));
  const slow = lane(1, [...new Array(19).fill(500_000), 1000]);
  const { result, latencyNs } = recordOf(zc, cell, 1, info, [fast, slow], usage);
  assert.is(result.p50Us, 1);
  assert.is(result.p90Us, 1);
  assert.ok(Math.abs((result.p99Us ?? 0) - 500) < 1);
  assert.is(toHistogram(latencyNs).totalCount, 1000);
  const [value, times, tail, tailTimes, ...rest] = latencyNs;
  assert.equal([value, times, tailTimes, rest], [1000, 981, 19, []]);
  assert.ok(tail > 499_000);
});

test('a merged snapshot has every bucket once, in order', () => {
  assert.equal(mergeSnapshots([5, 1, 9, 2], [1, 3, 9, 4], []), [1, 3, 5, 1, 9, 6]);
  assert.equal(mergeSnapshots(), []);
});

test('what processes spent is added up, but for a counter they all read', () => {
  const usages = [
    { cpuSeconds: 0.5, copiedBytes: 100, retransmits: 2 },
    { cpuSeconds: 0.25, copiedBytes: 50, retransmits: 3 },
  ];
  assert.equal(mergeUsage(usages, false), { cpuSeconds: 0.75, copiedBytes: 150, retransmits: 5 });
  assert.equal(mergeUsage(usages, true), { cpuSeconds: 0.75, copiedBytes: 150, retransmits: 3 });
});

test('the kernel’s copies are computed from the requests of all threads', () => {
  const lanes = [lane(1, [1, 1]), lane(1, [1])];
  assert.is(recordOf(node, cell, 1, info, lanes, usage).result.copiedBytes, 4 * 1000 * 3);
});

test('a failed thread makes one failed row, which says how many there were', () => {
  const { result } = failedRecord(zc, cell, 1, info, 'memif', 4, 'the server of thread 2 ended');
  assert.equal([result.threads, result.errors, result.error], [4, 1, 'the server of thread 2 ended']);
});

test('threads take the CPUs in turn, two for each or one', () => {
  const turns = (placement: Contender['placement'], cpus: number[]) =>
    [0, 1, 2].map((index) => Object.values(laneCpus(placement, index, cpus)));
  assert.equal(turns('two CPUs', [4, 5, 6, 7]), [
    [4, 5],
    [6, 7],
    [4, 5],
  ]);
  assert.equal(turns('two CPUs', [4, 5, 6]), [
    [4, 5],
    [6, 4],
    [5, 6],
  ]);
  for (const placement of ['one CPU', 'one thread'] as const) {
    assert.equal(turns(placement, [4, 5]), [
      [4, 4],
      [5, 5],
      [4, 4],
    ]);
  }
  assert.equal(laneCpus('two CPUs', 1, []), { server: undefined, client: undefined });
});

test('polling threads that share CPUs are warned of, and those that need not share are not', () => {
  const busy: Contender = { ...node, mode: 'busy', placement: 'two CPUs' };
  for (const who of [zc, busy]) {
    assert.is(cpuWarning(who, 2, [0, 1, 2, 3], 8), undefined);
    assert.match(cpuWarning(who, 2, [0, 1], 8) ?? '', /^4 polling threads on 2 CPUs: .* nothing about scaling$/);
    assert.match(cpuWarning(who, 2, [0, 1, 2], 8) ?? '', /^4 polling threads on 3 CPUs/);
    assert.is(cpuWarning(who, 1, [0, 1], 8), undefined);
    assert.is(cpuWarning(who, 4, [], 8), undefined, 'not pinned: the machine’s');
    assert.match(cpuWarning(who, 5, [], 8) ?? '', /^10 polling threads on 8 CPUs/);
  }
  assert.match(cpuWarning({ ...zc, placement: 'one CPU' }, 1, [0], 8) ?? '', /^2 polling threads on 1 CPU:/);
  assert.is(cpuWarning({ ...zc, placement: 'one thread' }, 2, [0, 1], 8), undefined);
  assert.is(cpuWarning(node, 2, [0, 1], 8), undefined, 'who waits may share');
  assert.match(cpuWarning(node, 3, [0, 1], 8) ?? '', /^3 threads on 2 CPUs: the figures say nothing about scaling$/);
  assert.is(cpuWarning({ ...node, placement: 'two CPUs' }, 1, [0, 0], 8), undefined);
});

test('a run says its threads and its warnings, each once', () => {
  const records = [1, 2].map((round) => recordOf(zc, cell, round, info, [lane(1, [1]), lane(1, [1])], usage));
  for (const { result } of records) result.warning = '4 polling threads on 2 CPUs';
  const [condition, ...warnings] = conditionLines(records);
  assert.match(condition, /on two CPUs for each of 2 threads$/);
  assert.equal(warnings, ['warning: lunet zc: 4 polling threads on 2 CPUs']);
  const [{ entries }] = summarize(records);
  assert.equal([entries[0].threads, entries[0].warning], [2, '4 polling threads on 2 CPUs']);
});

test('wires open at once have links of their own, and 16 of them leave nothing behind', async () => {
  const before = process.listenerCount('exit');
  const turns = Array.from({ length: 16 }, (_, index) => ({ index, count: 16 }));
  const open = (link: string, clientLink?: string) =>
    Promise.all(turns.map((turn) => openWire('direct', 'lunet', { link, clientLink }, turn)));
  const wires = await open('memif');
  assert.is(new Set(wires.map(({ server }) => server.link)).size, 16);
  assert.ok(process.listenerCount('exit') <= before + 1, 'one listener for all');
  await Promise.all(wires.map((wire) => wire.close()));
  assert.is(process.listenerCount('exit'), before);
  const named = await open('memif:/tmp/k.sock?rings=8');
  assert.equal(
    [named[0], named[15]].map(({ server, client }) => [server.link, client.link]),
    [0, 15].map((index) => ['server', 'client'].map((role) => `memif:/tmp/k.sock-${index}?rings=8&role=${role}`)),
  );
  const [, pair] = await open('memif:/a?role=server', 'memif:/a?role=client');
  assert.equal([pair.server.link, pair.client.link], ['memif:/a-1?role=server', 'memif:/a-1?role=client']);
  const [alone] = await Promise.all([openWire('direct', 'lunet', { link: 'memif:/tmp/k.sock' })]);
  assert.is(alone.server.link, 'memif:/tmp/k.sock?role=server');
});

test('a link of which there is one is refused to more threads, with the reason in every row', async () => {
  const records = await runMatrix({
    stacks: [{ stack: 'lunet', mode: 'zc' }],
    links: ['tap:t0'],
    sizesBytes: [64],
    depths: [1, 2],
    connections: [1],
    threads: 2,
    seconds: 0.1,
    warmupSeconds: 0,
    rounds: 1,
    trustLink: false,
    verify: false,
    cpus: [],
  });
  assert.equal(
    records.map(({ result }) => [result.threads, result.errors]),
    [
      [2, 1],
      [2, 1],
    ],
  );
  for (const { result } of records) assert.match(result.error ?? '', /need a link each, and there is one tap:t0/);
});

test.run();
