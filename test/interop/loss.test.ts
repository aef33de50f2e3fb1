// One frame in a hundred lost at random in each direction.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { type Loss, loseOnePercent } from '../helpers/loss.js';
import { createNamespaces, type NamespacePair } from '../helpers/netns.js';
import { type Program, startProgram } from '../helpers/program.js';
import {
  curlGet,
  curlPut,
  drained,
  KERNEL_PORT,
  MIB,
  report,
  startKernelServer,
  startLunetServer,
  type Transfer,
  XDP_LINK,
} from '../helpers/transfer.js';
import { contentHash } from './programs/content.js';

const BYTES = 64 * MIB;

let pair: NamespacePair;
let server: Program;
let loss: Loss;

test.before(
  loudly(async () => {
    pair = createNamespaces();
    loss = await loseOnePercent(pair.b);
    server = await startLunetServer(pair.a);
  }),
);

test.after(() => pair.dispose());

test('with 1 % loss each way curl fetches 64 MiB from lunet, byte for byte', async () => {
  const got = await curlGet(pair.b, pair.a.address, 1, BYTES);
  assert.is(got.hash, contentHash(1, BYTES));
  report('lunet server to curl, 1 % loss', BYTES, got);
  assert.ok((await loss.counts()).incoming > 100);
  const { counters } = await drained(server);
  assert.ok(counters.TcpRetransSegs > 100);
});

test('with 1 % loss each way curl uploads 64 MiB to lunet, byte for byte', async () => {
  const put = await curlPut(pair.b, pair.a.address, 2, BYTES);
  assert.is(put.hash, contentHash(2, BYTES));
  report('curl to lunet server, 1 % loss', BYTES, put);
  assert.ok((await loss.counts()).outgoing > 100);
  const { counters } = await drained(server);
  assert.ok(counters.TcpExtTCPOFOQueue > 100);
});

test('with 1 % loss each way a client on lunet fetches and uploads 64 MiB, byte for byte', async () => {
  await server.stop('SIGTERM');
  await startKernelServer(pair.b, KERNEL_PORT);
  const client = await startProgram(pair.a, 'http-client', [XDP_LINK]);
  const target = { host: pair.b.address, port: KERNEL_PORT, bytes: BYTES };
  const got = await client.ask<Transfer>({ ask: 'get', seed: 3, ...target }, 300_000);
  assert.is(got.hash, contentHash(3, BYTES));
  report('kernel server to lunet client, 1 % loss', BYTES, got);
  const put = await client.ask<Transfer>({ ask: 'put', seed: 4, ...target }, 300_000);
  assert.is(put.hash, contentHash(4, BYTES));
  report('lunet client to kernel server, 1 % loss', BYTES, put);
  await drained(client);
});

test.run();
