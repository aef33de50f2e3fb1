import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { figureCells, figureJson, figuresOf, figureTable } from '../../src/host/knbench/figures.js';
import { figuresHtml } from '../../src/host/knbench/figures-html.js';
import { type Cell, type Contender, failedRecord, markBaseline, recordOf } from '../../src/host/knbench/results.js';
import type { RunRecord } from '../../src/host/knbench/types.js';
import { endInfo as info } from '../helpers/knbench.js';

const plan = { sizesBytes: [64, 65536], depths: [1, 16], connections: 1 };
const zc: Contender = { stack: 'lunet', mode: 'zc', placement: 'two CPUs', wire: 'direct' };
const node = (placement: Contender['placement']): Contender => ({ ...zc, stack: 'kernel', mode: 'copy', placement });
const epoll: Contender = { ...node('one CPU'), mode: 'epoll', wire: 'bare veth' };

function record(who: Contender, cell: Cell, round: number, rpcs: number): RunRecord {
  const latencyNs = rpcs === 0 ? [] : [10_000, rpcs];
  return recordOf(who, cell, round, info, [{ seconds: 1, rpcs, errors: 0, latencyNs }], {
    cpuSeconds: 1,
    copiedBytes: 0,
    retransmits: 0,
  });
}

/** node:net is better on one CPU with small messages, and on two with large ones. */
function sample(): RunRecord[] {
  const records = figureCells(plan).flatMap((cell) =>
    [1, 2, 3].flatMap((round) => [
      record(zc, cell, round, 1000 * round),
      record(node('one CPU'), cell, round, cell.sizeBytes < 1000 ? 500 : 100),
      record(node('two CPUs'), cell, round, 300),
      record(epoll, cell, round, round === 1 ? 0 : 50),
    ]),
  );
  markBaseline(records.map(({ result }) => result));
  return records;
}

test('each cell of the figures is measured once', () => {
  assert.equal(
    figureCells(plan).map(({ sizeBytes, depth }) => [sizeBytes, depth]),
    [
      [64, 1],
      [4096, 1],
      [65536, 1],
      [4096, 16],
    ],
  );
});

test('a figure has a line for each stack, with the kernel at the better placement of every point', () => {
  const [bySize, byDepth, latency] = figuresOf(sample());
  assert.equal([bySize.xs, byDepth.xs, latency.xs], [['64 B', '4 KiB', '64 KiB'], ['1', '16'], ['4 KiB']]);
  assert.equal(
    bySize.panels.map(({ series }) => series.map(({ name }) => name)),
    [['lunet zc', 'kernel node:net'], ['kernel epoll, without offloads']],
  );
  const [, kernel] = bySize.panels[0].series;
  assert.equal(
    kernel.points.map((point) => point?.placement),
    ['one CPU', 'two CPUs', 'two CPUs'],
  );
});

test('tables have medians with the least and the most of the rounds', () => {
  const [bySize, , latency] = figuresOf(sample()).map(figureTable);
  assert.equal(bySize.header, ['RPC/s by message', '64 B', '4 KiB', '64 KiB']);
  assert.equal(bySize.rows[0], ['lunet zc', ...Array(3).fill('2.0 k (1.0 k–3.0 k)')]);
  assert.equal(latency.rows[0], ['lunet zc', 'two CPUs', '10.0', '10.0–10.0', '10.0', '10.0', '10.0–10.0', '10.0']);
});

test('the JSON of a figure has its points, and that of latency the distribution', () => {
  const [bySize, , latency] = figuresOf(sample()).map((figure) => JSON.parse(JSON.stringify(figureJson(figure))));
  assert.equal(bySize.series[0].points[1].rpcPerSecond, { median: 2000, min: 1000, max: 3000 });
  assert.is(bySize.series[0].points[1].latencyUs, undefined);
  const [percentile, us] = latency.series[0].points[0].latencyUs[4];
  assert.is(percentile, 50);
  assert.ok(Math.abs(us - 10) < 0.01);
});

test('the page is whole, with rounds that answered nothing and runs that failed, and fetches nothing', () => {
  const failed = failedRecord({ ...zc, mode: 'copy' }, figureCells(plan)[0], 1, undefined, 'memif', 1, 'it <died>');
  const html = figuresHtml([...sample(), failed]);
  assert.not.match(html, /https?:|\/\/[a-z]|<script|@import|url\(|<link|src=/i);
  assert.not.match(html, /NaN|Infinity|undefined/);
  assert.match(html, /it &lt;died&gt;/);
  // Two charts of Figure 9, one of 10 and of 11, for each of the two panels.
  assert.is(html.split('<svg').length - 1, 8);
});

test.run();
