// The sweep against the table that is kept beside this file: a change of congestion control or recovery that costs
// goodput or fairness shows here. To accept a change: npm run -s lunet -- sim sweep --write test/sim/golden/sweep.md
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type FairnessRow,
  fairness,
  quickSweep,
  type SweepCell,
  sweep,
  sweepMarkdown,
} from '../../src/host/sim/sweep.js';

const golden = readFileSync(fileURLToPath(new URL('../../../test/sim/golden/sweep.md', import.meta.url)), 'utf8');
/** Percentage points, and hundredths of Jain's index, that a figure may be off. */
const TOLERANCE = 3;

let cells: SweepCell[] = [];
let rows: FairnessRow[] = [];

test.before(() => {
  cells = sweep(quickSweep);
  rows = fairness(quickSweep.seed);
});

/** The rows of all tables: their fields as text. */
function fields(markdown: string): string[][] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('|--'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((field) => field.trim()),
    );
}

test('every figure is that of the table', () => {
  const now = fields(sweepMarkdown(cells, rows));
  const then = fields(golden);
  assert.is(now.length, then.length, 'the table has other rows: write it anew');
  const off: string[] = [];
  now.forEach((row, i) => {
    row.forEach((field, j) => {
      const [a, b] = [field, then[i][j]].map((text) => Number.parseFloat(text));
      const limit = /^[01]\.\d+$/.test(field) ? TOLERANCE / 100 : TOLERANCE;
      const same =
        Number.isNaN(a) || !/[%.]/.test(field)
          ? field.replace(/ \(.*/, '') === then[i][j].replace(/ \(.*/, '')
          : Math.abs(a - b) <= limit;
      if (!same) off.push(`${row.slice(0, 3).join(' ')}: ${then[i][j]} was, ${field} is`);
    });
  });
  assert.equal(off, []);
});

test('every algorithm fills an empty link, and nothing times out on one', () => {
  for (const cell of cells.filter(({ loss, by }) => loss === 0 && by === 'link')) {
    const name = `${cell.algorithm} ${cell.rateMbps} Mbps ${cell.rttMs} ms`;
    assert.ok(cell.share > 0.85, `${name}: ${cell.share}`);
    assert.is(cell.timeouts, 0, name);
  }
});

test('DCTCP keeps its queue short: no loss where switches mark', () => {
  for (const cell of cells.filter(({ algorithm, loss }) => algorithm === 'dctcp' && loss === 0)) {
    assert.is(cell.retransmitted, 0, `${cell.rateMbps} Mbps ${cell.rttMs} ms`);
  }
});

test('flows of one algorithm share evenly', () => {
  for (const row of rows.filter(({ algorithms }) => algorithms.length === 1)) {
    assert.ok(row.jain > 0.95, `${row.algorithms} × ${row.flows}: ${row.jain}`);
    assert.ok(row.share > 0.95, `${row.algorithms} × ${row.flows}: ${row.share}`);
  }
});

test.run();
