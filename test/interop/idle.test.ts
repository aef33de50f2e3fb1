// What a server costs while nothing happens: a loop that sleeps, on links that wake it and on links that cannot.

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { createNamespaces, type NamespacePair, start, stop, until } from '../helpers/netns.js';
import { curlGet, startLunetServer } from '../helpers/transfer.js';

const SECONDS = 3;
const TICKS_PER_SECOND = 100;
const LIMIT = 0.02;
const launcher = fileURLToPath(new URL('../../../bin/lunet.mjs', import.meta.url));

let pair: NamespacePair;

test.before(
  loudly(() => {
    pair = createNamespaces();
  }),
);

test.after(() => pair.dispose());

/** User and system time of a process so far, in clock ticks (proc(5): fields 14 and 15). */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

async function share(pid: number): Promise<number> {
  // The process has only just begun, and has code to compile.
  await delay(2000);
  const before = ticks(pid);
  const began = performance.now();
  await delay(SECONDS * 1000);
  return (ticks(pid) - before) / TICKS_PER_SECOND / ((performance.now() - began) / 1000);
}

test('an idle http server on xdp uses under 2 % of a core, and answers at once when asked', async () => {
  const server = await startLunetServer(pair.a);
  await curlGet(pair.b, pair.a.address, 1, 1000);
  const used = await share(server.child.pid as number);
  console.log(`    xdp: ${(used * 100).toFixed(1)} % of a core`);
  assert.ok(used < LIMIT, `${(used * 100).toFixed(1)} % of a core`);
  const { seconds } = await curlGet(pair.b, pair.a.address, 2, 1000);
  assert.ok(seconds < 1, `${seconds} s`);
  await server.stop();
});

test('an idle server on memif that nobody has connected to uses under 2 % of a core', async () => {
  const link = `memif:/tmp/lunet-idle-${process.pid}.sock?role=server`;
  const args = [launcher, 'knbench', 'server', '--link', link, '--address', '10.77.9.1/24'];
  const server = start(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  server.stdout?.on('data', (text: Buffer) => {
    said += text.toString();
  });
  await until(
    'the server runs',
    () => Promise.resolve(said.includes('memif') || Promise.reject(new Error(said))),
    20_000,
  );
  const used = await share(server.pid as number);
  console.log(`    memif: ${(used * 100).toFixed(1)} % of a core`);
  await stop(server, 'SIGTERM');
  assert.ok(used < LIMIT, `${(used * 100).toFixed(1)} % of a core`);
});

test.run();
