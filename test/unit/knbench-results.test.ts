import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bytes, count, ratio } from '../../src/host/knbench/format.js';
import { latencyRecorder, percentileUs, toHistogram } from '../../src/host/knbench/histogram.js';
import { reportHtml } from '../../src/host/knbench/report.js';
import {
  type Contender,
  failedRecord,
  markBaseline,
  mediansOf,
  recordOf,
  summarize,
} from '../../src/host/knbench/results.js';
import type { EndInfo, RunRecord } from '../../src/host/knbench/types.js';

const info: EndInfo = {
  port: 1,
  link: 'memif:/x<y>&.sock',
  driver: 'net_memif',
  mtu: 1500,
  offloads: 'none',
  hugepages: true,
  driverCopies: '1 on transmit',
};
const cell = { sizeBytes: 4096, depth: 1, connections: 1 };
const zc: Contender = { stack: 'lunet', mode: 'zc', placement: 'two CPUs', wire: 'direct' };
const oneCpu: Contender = { stack: 'kernel', mode: 'copy', placement: 'one CPU', wire: 'direct' };
const twoCpus: Contender = { stack: 'kernel', mode: 'copy', placement: 'two CPUs', wire: 'direct' };
const usage = { cpuSeconds: 1, copiedBytes: 0, retransmits: 0 };

function record(who: Contender, round: number, rpcs: number, latencyNs: number): RunRecord {
  const pairs = [latencyNs, rpcs - Math.floor(rpcs / 50), latencyNs * 10, Math.floor(rpcs / 50)];
  return recordOf(who, cell, round, info, [{ seconds: 2, rpcs, errors: 0, latencyNs: pairs }], usage);
}

function sample(): RunRecord[] {
  const records = [1, 2, 3].flatMap((round) => [
    record(zc, round, 400_000, 4000),
    record(oneCpu, round, 100_000, 20_000),
    record(twoCpus, round, 50_000, 40_000),
  ]);
  markBaseline(records.map(({ result }) => result));
  return records;
}

test('the recorder keeps three significant digits over nine powers of ten', () => {
  const recorder = latencyRecorder();
  const values = [0, 1, 999, 2047, 2048, 4095, 12_345, 999_999, 123_456_789, 2 ** 31, 4_294_967_295];
  for (const value of values) {
    recorder.reset();
    recorder.record(value);
    const [low, n, ...rest] = recorder.snapshot();
    assert.is(n, 1);
    assert.is(rest.length, 0);
    assert.ok(low <= value && value - low <= value / 1000, `${value} was kept as ${low}`);
  }
});

test('the recorder clamps what is negative or too long', () => {
  const recorder = latencyRecorder();
  recorder.record(-5);
  recorder.record(1e12);
  const snapshot = recorder.snapshot();
  assert.is(snapshot.length, 4);
  assert.is(snapshot[0], 0);
  assert.ok(snapshot[2] > 4.28e9);
  assert.is(toHistogram(snapshot).totalCount, 2);
});

test('percentiles of merged rounds are those of all values together', () => {
  const recorder = latencyRecorder();
  const halves: number[][] = [];
  for (let half = 0; half < 2; half++) {
    recorder.reset();
    for (let i = 1; i <= 5000; i++) recorder.record((half * 5000 + i) * 1000);
    halves.push(recorder.snapshot());
  }
  const histogram = toHistogram(...halves);
  for (const [percentile, us] of [
    [50, 5000],
    [90, 9000],
    [99, 9900],
    [99.9, 9990],
  ]) {
    const value = percentileUs(histogram, percentile) ?? 0;
    assert.ok(Math.abs(value - us) / us < 0.002, `p${percentile} is ${value}`);
  }
  assert.is(percentileUs(toHistogram([]), 50), null);
});

test('a row has every promised field, finite', () => {
  const { result } = record(zc, 1, 1000, 5000);
  const numbers = [
    'sizeBytes depth connections threads seconds rpcs rpcPerSecond gbps p50Us p90Us p99Us p999Us',
    'copiedBytes retransmits errors cpuSeconds mtu round',
  ];
  const row: Record<string, unknown> = JSON.parse(JSON.stringify(result));
  for (const key of numbers.join(' ').split(' ')) assert.type(row[key], 'number', key);
  for (const key of ['stack', 'mode', 'link', 'placement', 'offloads', 'driver']) assert.type(row[key], 'string', key);
  assert.is(result.rpcPerSecond, 500);
  assert.is(result.gbps, (500 * 4096 * 8) / 1e9);
});

test('the kernel’s copies are computed, lunet’s counted', () => {
  assert.is(record(oneCpu, 1, 10, 1).result.copiedBytes, 4 * 4096 * 10);
  assert.is(record(oneCpu, 1, 10, 1).result.copiedBytesSource, 'computed');
  assert.is(record(zc, 1, 10, 1).result.copiedBytes, 0);
  assert.is(record(zc, 1, 10, 1).result.copiedBytesSource, 'counted');
});

test('the faster kernel placement is the baseline, and ratios are against it', () => {
  const [summary] = summarize(sample());
  assert.equal(
    summary.entries.map((entry) => [entry.name, entry.baseline]),
    [
      ['lunet zc', false],
      ['kernel (one CPU)', true],
      ['kernel (two CPUs)', false],
    ],
  );
  assert.is(summary.entries[0].rpcRatio, 4);
  assert.ok(Math.abs(summary.entries[0].p99Ratio - 0.2) < 0.001);
});

test('like is compared with like: a veth pair has a baseline of its own, with its offloads or without', () => {
  const onVeth: Contender = { ...zc, wire: 'veth' };
  const offloaded: Contender = { ...oneCpu, wire: 'veth' };
  const bare: Contender = { ...oneCpu, mode: 'epoll', wire: 'bare veth' };
  const records = [
    ...sample(),
    ...[1, 2, 3].flatMap((round) => [
      record(onVeth, round, 60_000 + round, 9000),
      record(offloaded, round, 20_000, 9000),
      record(bare, round, 30_000, 9000),
    ]),
  ];
  markBaseline(records.map(({ result }) => result));
  const [summary] = summarize(records);
  assert.equal(
    summary.entries.filter(({ baseline }) => baseline).map(({ name }) => name),
    ['kernel (one CPU)', 'kernel epoll (one CPU, bare veth)'],
  );
  const [lunet] = summary.entries.filter(({ name }) => name === 'lunet zc (veth)');
  assert.is(lunet.rpcRatio, 60_002 / 30_000);
  assert.equal(lunet.rpcPerSecondRange, [30_000.5, 30_001.5]);
  const [row] = mediansOf([summary]).filter((one) => (one as { name: string }).name === 'lunet zc (veth)');
  const { sizeBytes, rpcPerSecond, rpcPerSecondMin, rpcPerSecondMax } = row as Record<string, unknown>;
  assert.equal([sizeBytes, rpcPerSecond, rpcPerSecondMin, rpcPerSecondMax], [4096, 30_001, 30_000.5, 30_001.5]);
});

test('of each program the better placement is told apart', () => {
  const [summary] = summarize(sample());
  assert.equal(
    summary.entries.filter(({ bestPlacement }) => bestPlacement).map(({ name }) => name),
    ['lunet zc', 'kernel (one CPU)'],
  );
});

test('a failed run is a row with an error and no influence on medians', () => {
  const records = [...sample(), failedRecord(zc, cell, 4, info, 'memif', 1, 'it died')];
  const [summary] = summarize(records);
  assert.is(summary.entries[0].rpcPerSecond, 200_000);
  assert.is(summary.entries[0].errors, 1);
  assert.is(records[records.length - 1].result.p99Us, null);
});

test('the report is whole, escaped, and fetches nothing', () => {
  const html = reportHtml([...sample(), failedRecord(zc, cell, 4, info, 'memif', 1, 'it <died> & "left"')]);
  assert.not.match(html, /https?:|\/\/[a-z]|<script|@import|url\(|<link|src=/i);
  assert.match(html, /^<!doctype html>/);
  assert.match(html, /it &lt;died&gt; &amp; &quot;left&quot;/);
  assert.not.match(html, /NaN|Infinity|undefined/);
  assert.is(html.split('<svg').length - 1, 2, 'bars and distribution of the one cell');
  assert.match(html, /prefers-color-scheme: dark/);
});

test('a report of failures alone still renders', () => {
  const html = reportHtml([failedRecord(zc, cell, 1, undefined, 'memif', 1, 'no addon')]);
  assert.match(html, /no addon/);
  assert.not.match(html, /NaN|Infinity|undefined/);
});

test('figures are short', () => {
  assert.equal(
    [count(0), count(999), count(1234), count(56_789), count(1_234_567)],
    ['0', '999', '1.2 k', '57 k', '1.23 M'],
  );
  assert.equal([bytes(0), bytes(1000), bytes(4096), bytes(3 * 2 ** 30)], ['0', '1000 B', '4.0 KiB', '3.0 GiB']);
  assert.equal([ratio(0.25), ratio(3.51), ratio(12.3), ratio(Number.NaN)], ['0.25×', '3.51×', '12×', '–']);
});

test.run();
