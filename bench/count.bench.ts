// Instructions of the hot paths, by callgrind: the same in every run, whoever else uses the machine.
//
// --functions adds the functions that execute most of them; --write records the figures in bench/golden/instructions.json.
import { differences, golden, goldenOf, UPDATE, writeGolden } from './count/golden.js';
import { instructions, lines } from './count/measure.js';
import { begin, json, printJson, printTable } from './harness.js';

const FUNCTIONS_SHOWN = 15;

const setting = begin({
  what: 'Instructions an operation, counted by callgrind, of the core as a native program (asc without SIMD, wasm2c, gcc -O2)',
  link: 'a copy in memory, not counted',
  offloads: 'none: checksums as named; no TSO, no GRO by the link',
});
const counted = [...instructions('count'), ...instructions('inner')];
const touched = lines();
const functions = process.argv.includes('--functions');

if (json) printJson(setting, { instructions: counted, lines: touched });
else {
  printTable(
    ['operation', 'instructions'],
    counted.map(({ name, perOperation }) => [name, perOperation.toFixed(1)]),
  );
  printTable(
    ['one segment', 'cache lines of the connection', 'others'],
    touched.map(({ name, slotLines, otherLines }) => [name, String(slotLines), String(otherLines)]),
  );
}
if (functions && !json) {
  for (const { name, functions: all } of counted) {
    printTable(
      [name, 'instructions'],
      all.slice(0, FUNCTIONS_SHOWN).map((one) => [one.name, one.perOperation.toFixed(1)]),
    );
  }
  for (const { name, fields } of touched) {
    printTable([name, 'r: loaded, w: stored'], Object.entries(fields), 2);
  }
}
const measured = goldenOf(counted, touched);
if (process.argv.includes('--write')) writeGolden(measured);
else if (!json) {
  for (const line of differences(golden(), measured)) console.log(line);
  console.log(`\nTo record these figures: ${UPDATE}`);
}
