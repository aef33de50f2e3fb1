// docs/conformance.md is true to its form: every requirement of RFC 9293 once, a verdict for each, reasons where they
// are due, and tests that exist under the names given. And the check notices when it is not.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const page = readFileSync(join(root, 'docs', 'conformance.md'), 'utf8');

/** RFC 9293, appendix B: 119 of them. */
const IDS: readonly string[] = [
  ...Array.from({ length: 69 }, (_, i) => `MUST-${i + 1}`),
  ...Array.from({ length: 31 }, (_, i) => `SHLD-${i + 1}`),
  ...Array.from({ length: 18 }, (_, i) => `MAY-${i + 1}`),
  'REC-1',
];
const VERDICTS: readonly string[] = ['yes', 'no', 'n.a.'];

function cells(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

const sources = new Map<string, string | null>();

/** A test file's text, null when there is no such file. */
function source(path: string): string | null {
  let text = sources.get(path);
  if (text === undefined) {
    text = existsSync(path) ? readFileSync(path, 'utf8') : null;
    sources.set(path, text);
  }
  return text;
}

/** What is wrong with what a cell names as its tests: "`unit/tcp/close` a test's name<br>`script/open/active.pkt`". */
function wrongTests(cell: string): string[] {
  const wrong: string[] = [];
  for (const named of cell.split('<br>')) {
    const match = /^`([^`]+)`(?: (.+))?$/.exec(named.trim());
    if (!match) {
      wrong.push(`"${named}" names no test`);
      continue;
    }
    const [, file, name] = match;
    if (file.endsWith('.pkt')) {
      if (name || source(join(root, 'test', file)) === null) wrong.push(`there is no script ${file}`);
      continue;
    }
    const text = source(join(root, 'test', `${file}.test.ts`));
    // A name may be quoted either way in the source.
    const quoted = name ? [`test('${name}'`, `test(\n  '${name}'`, `test("${name}"`] : [];
    if (text === null) wrong.push(`there is no ${file}.test.ts`);
    else if (!quoted.some((form) => text.includes(form))) wrong.push(`${file}.test.ts has no test "${name}"`);
  }
  return wrong;
}

/** Everything that is wrong with the page. */
function faults(text: string): string[] {
  const wrong: string[] = [];
  const seen = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (!/^\| (MUST|SHLD|MAY|REC)-/.test(line)) continue;
    const row = cells(line);
    if (row.length !== 5) {
      wrong.push(`${line}: ${row.length} cells`);
      continue;
    }
    const [id, requirement, verdict, shownBy, remarks] = row;
    seen.set(id, (seen.get(id) ?? 0) + 1);
    if (!IDS.includes(id)) wrong.push(`${id} is no requirement of RFC 9293`);
    if (!requirement) wrong.push(`${id} does not say what it asks for`);
    if (!VERDICTS.includes(verdict)) wrong.push(`${id}: "${verdict}" is no verdict`);
    if (verdict === 'no' && id.startsWith('MUST')) wrong.push(`${id} is open`);
    if (verdict !== 'yes' && !remarks) wrong.push(`${id} has no reason`);
    if (verdict === 'yes' && !shownBy) wrong.push(`${id} is shown by nothing`);
    if (shownBy) wrong.push(...wrongTests(shownBy).map((what) => `${id}: ${what}`));
  }
  for (const id of IDS) if (seen.get(id) !== 1) wrong.push(`${id} is here ${seen.get(id) ?? 0} times`);
  return wrong;
}

/** What is wrong with the tests named for other RFCs. */
function otherFaults(text: string): string[] {
  const rows = text.split('\n').filter((line) => /^\| \d/.test(line));
  return rows.flatMap((line) => {
    const shownBy = cells(line)[4];
    return shownBy.startsWith('`') ? wrongTests(shownBy).map((what) => `RFC ${cells(line)[0]}: ${what}`) : [];
  });
}

test('RFC 9293 has 119 requirements', () => {
  assert.is(IDS.length, 119);
});

test('every requirement has its verdict, and every test that is named exists', () => {
  assert.equal(faults(page), []);
});

test('the tests named for other RFCs exist', () => {
  assert.ok(page.split('\n').filter((line) => /^\| \d/.test(line)).length > 30);
  assert.equal(otherFaults(page), []);
});

test('the check notices what is missing, doubled, open or unfounded', () => {
  const row = page.split('\n').find((line) => line.startsWith('| SHLD-14 |'));
  assert.ok(row);
  const found = (by: (text: string) => string): string => faults(by(page)).join('\n');
  assert.match(
    found((text) => text.replace(`${row}\n`, '')),
    /SHLD-14 is here 0 times/,
  );
  assert.match(
    found((text) => text.replace(row, `${row}\n${row}`)),
    /SHLD-14 is here 2 times/,
  );
  assert.match(
    found((text) => text.replace(row, row.replace('| yes |', '| mostly |'))),
    /"mostly" is no verdict/,
  );
  assert.match(
    found((text) => text.replace(row, row.replace('| yes |', '| no |'))),
    /SHLD-14 has no reason/,
  );
  assert.match(
    found((text) => text.replace(row, row.replace('never moves left', 'moves left'))),
    /transfer\.test\.ts has no test/,
  );
  assert.match(
    found((text) => text.replace(row, row.replace('unit/tcp/transfer', 'unit/tcp/nothing'))),
    /there is no unit\/tcp\/nothing/,
  );
  assert.match(
    found((text) => text.replace('zero-window-for-long.pkt', 'no-such.pkt')),
    /there is no script/,
  );
  assert.match(
    found((text) => text.replace(/^(\| MUST-1 \|.*)\| yes \|(.*)\| {2}\|$/m, '$1| no |$2| too hard |')),
    /MUST-1 is open/,
  );
  assert.match(otherFaults(page.replace('(RFC 1337)', '')).join(), /RFC 1337/);
});

test.run();
