// The host's copy of the core's constants is what the generator makes of assembly/abi/ today, and the generator refuses
// what it could get wrong.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

interface Generator {
  readonly layoutInputs: readonly string[];
  readonly layoutOutputs: readonly string[];
  generate(texts: readonly string[]): string[];
}

const root = new URL('../../../', import.meta.url);
const { generate, layoutInputs, layoutOutputs } = (await import(
  new URL('scripts/gen-layout.mjs', root).href
)) as Generator;
const texts = layoutInputs.map((path) => readFileSync(path, 'utf8'));
const withLine = (line: string) => [`${texts[0]}${line}\n`, ...texts.slice(1)];

test('the generated files are up to date with the core', () => {
  const generated = generate(texts);
  for (const [i, path] of layoutOutputs.entries()) {
    assert.ok(readFileSync(path, 'utf8') === generated[i], `${path} is out of date: npm run build`);
  }
});

test('a constant carries its comment into both copies', () => {
  for (const text of generate(withLine('/** frobs */\nexport const FROBS: u32 = 7;'))) {
    assert.match(text, /\/\*\* frobs \*\/\n[a-z0-9_ ]+ FROBS = 7u?;/);
  }
});

test('a name defined twice is refused', () => {
  assert.throws(() => generate(withLine('export const CTL: u32 = 1;')), /CTL is already defined at .*layout\.ts:\d+/);
});

test('a line that is no constant is refused with its place', () => {
  assert.throws(() => generate(withLine('export const SUM: u32 = 1 + 2;')), /layout\.ts:\d+: expected/);
  assert.throws(() => generate(withLine('export let X: u32 = 1;')), /layout\.ts:\d+: expected/);
  assert.throws(() => generate(withLine('/* never closed')), /unterminated comment/);
});

test('a value outside its type is refused', () => {
  assert.throws(() => generate(withLine('export const X: u32 = -1;')), /-1 does not fit u32/);
  assert.throws(() => generate(withLine('export const X: u32 = 4294967296;')), /does not fit u32/);
});

test('two counters at one index are refused', () => {
  const clash = [texts[0] ?? '', `${texts[1]}export const CNT_Other: u32 = 0;\n`, texts[2] ?? ''];
  assert.throws(() => generate(clash), /CNT_Other and CNT_RxFrames share the value 0/);
});

test.run();
