// Five hundred curls at once.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { createNamespaces, type NamespacePair } from '../helpers/netns.js';
import type { Program } from '../helpers/program.js';
import { drained, type Figures, LUNET_PORT, MIB, startLunetServer } from '../helpers/transfer.js';
import { contentHash } from './programs/content.js';

const CURLS = 500;

let pair: NamespacePair;
let server: Program;

test.before(
  loudly(async () => {
    pair = createNamespaces();
    // The server answers none before all have asked.
    server = await startLunetServer(pair.a, undefined, { LUNET_TEST_BARRIER: `${CURLS}` });
  }),
);

test.after(() => pair.dispose());

test('500 curls in parallel each get their own mebibyte, and every pool is full afterwards', async () => {
  const url = `http://${pair.a.address}:${LUNET_PORT}`;
  const one = `echo $1 $(curl -sS --fail ${url}/$1/${MIB} | sha256sum)`;
  const script = `one() { ${one}; }; for i in $(seq ${CURLS}); do one $i & done; wait`;
  const started = performance.now();
  const { stdout, stderr } = await pair.b.run('bash', ['-c', script], { timeoutMs: 240_000 });
  console.log(`    ${CURLS} curls: ${((performance.now() - started) / 1000).toFixed(2)} s`);
  const hashes = new Map(stdout.split('\n').map((line) => line.split(' ').slice(0, 2) as [string, string]));
  for (let seed = 1; seed <= CURLS; seed++) {
    assert.is(hashes.get(`${seed}`), contentHash(seed, MIB), `curl ${seed}: ${stderr}`);
  }
  const figures: Figures = await drained(server);
  assert.is(figures.counters.TcpPassiveOpens, CURLS);
  assert.is(figures.counters.TcpCurrEstab, 0);
  assert.is(figures.counters.ZbufMisuse, 0);
  assert.is(figures.counters.ZbufAllocs, figures.counters.ZbufFrees);
});

test.run();
