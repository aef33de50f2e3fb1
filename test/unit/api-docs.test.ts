// The examples of docs/api.md are programs: each one runs, prints what it should, and ends by itself.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../../../', import.meta.url));
// Inside the package, so that `lunet/net` resolves as it does for a user.
const dir = join(root, 'build', `doc-examples-${process.pid}`);
const page = readFileSync(join(root, 'docs', 'api.md'), 'utf8');
const examples = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]);

const expected = [
  /hub "lab" in this process/,
  /from 10\.0\.0\.2\necho: hello/,
  /listening on \{ address: '0\.0\.0\.0', family: 'IPv4', port: \d+ \}/,
  /you asked for \/page/,
  /10\.0\.0\.1:5353 says echo: hello/,
  /echo: no copy/,
  /published to 3 with true references\n(member \d heard news\n){3}/,
  /kept: first second third\nfreed twice: ERR_LUNET_ZBUF_FREED/,
  /echo: once a burst/,
  /through the proxy: there and back/,
  /read: block 42\nERR_RPC_APPLICATION 404 no such block/,
  /rpc: no copy/,
  /stream: PIECE BY PIECE/,
];

test.before(() => {
  mkdirSync(dir, { recursive: true });
});

test.after(() => {
  rmSync(dir, { recursive: true });
});

test('there is an expectation for every example', () => {
  assert.is(examples.length, expected.length);
});

expected.forEach((pattern, i) => {
  test(`example ${i + 1} prints ${pattern.source}`, () => {
    const file = join(dir, `example-${i + 1}.mjs`);
    writeFileSync(file, examples[i]);
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 20_000 });
    assert.is(status, 0, stderr);
    assert.match(stdout, pattern);
    assert.is(stderr, '');
  });
});

test.run();
