// The cost of the hot paths in instructions and cache lines, as recorded in bench/golden/instructions.json. A gain has to be
// recorded like a loss, or the next change could give it back unseen.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { differences, type Golden, golden, goldenOf, UPDATE } from '../../bench/count/golden.js';
import { type Instructions, instructions, type Lines, lines } from '../../bench/count/measure.js';

const BENCH = fileURLToPath(new URL('../../../scripts/bench.mjs', import.meta.url));

interface Output {
  count: { results: { instructions: Instructions[]; lines: Lines[] } };
}

test('npm run bench -- count --json gives the recorded figures', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BENCH, 'count', '--json'], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  assert.is(status, 0, stderr);
  const { results } = (JSON.parse(stdout) as Output).count;
  const found = differences(golden(), goldenOf(results.instructions, results.lines));
  assert.is(found.length, 0, `${found.join('\n')}\nIf that is meant, record it: ${UPDATE}`);
  for (const { name, perOperation, functions } of results.instructions) {
    const sum = functions.reduce((all, one) => all + one.perOperation, 0);
    assert.ok(Math.abs(sum / perOperation - 1) < 1e-6, `${name}: the functions are not the whole`);
  }
});

test('two runs count the same', () => {
  assert.equal(instructions('inner'), instructions('inner'));
  assert.equal(lines(), lines());
});

test('differences in either direction are told, and small ones are not', () => {
  const fields = { 'line 0': 'handle r' };
  const recorded: Golden = {
    instructions: { less: 100, more: 100, same: 100, gone: 100 },
    lines: { segment: { slotLines: 1, otherLines: 5, fields } },
  };
  const measured: Golden = {
    instructions: { less: 96.9, more: 103.1, same: 102.9, fresh: 1 },
    lines: { segment: { slotLines: 2, otherLines: 5, fields: { ...fields, 'line 1': 'dst r' } } },
  };
  assert.equal(differences(recorded, measured), [
    'less: 100 instructions are recorded, 96.9 were counted (-3.1 %)',
    'more: 100 instructions are recorded, 103.1 were counted (+3.1 %)',
    'gone: recorded, and no longer measured',
    'fresh: not recorded',
    'segment: 1 lines of the connection and 5 others are recorded, 2 and 5 were touched; new: dst r; gone: ',
  ]);
  assert.equal(differences(recorded, recorded), []);
});

test.run();
