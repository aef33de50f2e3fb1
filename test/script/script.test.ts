// Every script below this folder passes, and the runner notices when one should not.
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { scriptFiles } from '../../src/host/cli/script.js';
import { runScript } from '../../src/host/script/index.js';
import { type Random, random } from '../helpers/random.js';

const SCRIPTS = fileURLToPath(new URL('../../../test/script', import.meta.url));

for (const file of scriptFiles([SCRIPTS])) {
  const text = readFileSync(file, 'utf8');
  test(relative(SCRIPTS, file), () => {
    const { verdict, line, reason } = runScript(text);
    assert.is(verdict, 'pass', `${file}:${line}: ${reason}`);
  });
}

const server = readFileSync(join(SCRIPTS, 'open', 'passive-no-options.pkt'), 'utf8');

test('a script fails at the line that the core does not keep', () => {
  const wrong = server.replace('> S. 0:0(0) ack 1', '> S. 0:0(0) ack 2');
  assert.is.not(wrong, server);
  const line = wrong.split('\n').findIndex((text) => text.includes('ack 2')) + 1;
  const result = runScript(wrong);
  assert.is(result.verdict, 'fail');
  assert.is(result.line, line);
  assert.match(result.reason ?? '', /acknowledges 1/);
});

test('a packet that comes at the wrong time fails, and the tolerance decides what is wrong', () => {
  const text = `${server}\n+0 write(4, ..., 100) = 100\n+0.010 > P. 1:101(100) ack 1\n`;
  assert.is(runScript(text).verdict, 'fail');
  assert.is(runScript(`--tolerance_usecs=20000\n${text}`).verdict, 'pass');
});

test('a packet that does not come fails', () => {
  const { verdict, reason } = runScript(`${server}\n+0 > P. 1:101(100) ack 1\n`);
  assert.is(verdict, 'fail');
  assert.match(reason ?? '', /^no packet until /);
});

test('a call with another result fails', () => {
  assert.is(runScript(`${server}\n+0 write(4, ..., 100) = 99\n`).verdict, 'fail');
  assert.is(runScript(`${server}\n+0 read(9, ..., 100) = -1 EBADF (Bad file descriptor)\n`).verdict, 'pass');
});

test('a false assertion fails and names the values it used', () => {
  const { verdict, reason } = runScript(`${server}\n+0 %{ assert tcpi_snd_mss == 1 }%\n`);
  assert.is(verdict, 'fail');
  assert.match(reason ?? '', /tcpi_snd_mss is 1000/);
});

const unsupported: Readonly<Record<string, string>> = {
  'another IP version': '--ip_version=ipv5\n',
  'a sysctl without meaning here': '`sysctl -q net.ipv4.tcp_low_latency=1`\n',
  'a program': '`iptables -L`\n',
  'a call': `${server}\n+0 io_uring_enter(4, 0, 5, 0, 10, 0) = 10\n`,
  'a socket option': `${server}\n+0 setsockopt(4, SOL_TCP, TCP_ULP, [1], 4) = 0\n`,
  'a TCP option': `${server}\n+0 < . 1:1(0) ack 1 win 10 <md5 valid>\n`,
  'a name in an assertion': `${server}\n+0 %{ assert tcpi_nothing == 1 }%\n`,
  UDP: '0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3\n',
};

for (const [what, text] of Object.entries(unsupported)) {
  test(`${what} that is not there is unsupported, with its line`, () => {
    const result = runScript(text);
    assert.is(result.verdict, 'unsupported', result.reason ?? '');
    assert.ok(result.line !== null && result.line > 0);
    assert.ok(result.reason);
  });
}

/** Bits of the language in places where they do not belong. */
const FRAGMENTS = [
  '(',
  ')',
  '{',
  '}',
  '[',
  ']',
  '<',
  '>',
  '...',
  '-1',
  '0x',
  '"',
  '`',
  '%{',
  '}%',
  '+',
  '~',
  '*',
  '|',
  '=',
];
FRAGMENTS.push(
  ',',
  ':',
  '4294967295',
  '99999999999',
  'NULL',
  'sack',
  'TS val',
  'ack',
  '\\',
  '/*',
  '//',
  'udp',
  'icmp',
  '1e9',
);

/** A script with something taken away, put in, exchanged or done twice. */
function mutated(text: string, { below, pick }: Random): string {
  const at = below(text.length);
  const lines = text.split('\n');
  const [a, b] = [below(lines.length), below(lines.length)];
  switch (below(5)) {
    case 0:
      return text.slice(0, at) + text.slice(at + 1 + below(8));
    case 1:
      return text.slice(0, at) + pick(FRAGMENTS) + text.slice(at);
    case 2:
      [lines[a], lines[b]] = [lines[b], lines[a]];
      return lines.join('\n');
    case 3:
      lines.splice(a, 1);
      return lines.join('\n');
    default:
      lines.splice(a, 0, lines[b]);
      return lines.join('\n');
  }
}

test('whatever a script says, it gets a verdict with a line, and the core survives it', () => {
  const texts = scriptFiles([SCRIPTS]).map((file) => readFileSync(file, 'utf8'));
  const r = random(7);
  const seen = new Set<string>();
  for (let i = 0; i < 200; i++) {
    let text = r.pick(texts);
    for (let times = 1 + r.below(4); times > 0; times--) text = mutated(text, r);
    const { verdict, line, reason } = runScript(text);
    seen.add(verdict);
    assert.ok(verdict === 'pass' || (line !== null && line > 0), `${reason}\n${text}`);
    assert.not.match(reason ?? '', /the core failed|undefined|NaN/, text);
  }
  assert.equal([...seen].sort(), ['fail', 'pass', 'unsupported']);
});

test.run();
