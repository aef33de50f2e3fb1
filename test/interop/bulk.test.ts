// A gibibyte each way between lunet and the kernel's stack, with the kernel beside lunet on the same interface.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { createNamespaces, type NamespacePair } from '../helpers/netns.js';
import { type Program, startProgram } from '../helpers/program.js';
import {
  besideKernelTraffic,
  curlGet,
  curlPut,
  drained,
  GIB,
  KERNEL_PORT,
  report,
  startKernelServer,
  startLunetServer,
  type Transfer,
  XDP_LINK,
} from '../helpers/transfer.js';
import { contentHash } from './programs/content.js';

let pair: NamespacePair;
let server: Program;

test.before(
  loudly(async () => {
    pair = createNamespaces();
    await startKernelServer(pair.a);
    server = await startLunetServer(pair.a);
  }),
);

test.after(() => pair.dispose());

test('curl fetches a gibibyte from an http server on lunet while the kernel beside it answers', async () => {
  const got = await besideKernelTraffic(pair, () => curlGet(pair.b, pair.a.address, 1, GIB));
  assert.is(got.hash, contentHash(1, GIB));
  report('lunet server to curl', GIB, got);
  await drained(server);
});

test('curl uploads a gibibyte to an http server on lunet while the kernel beside it answers', async () => {
  const put = await besideKernelTraffic(pair, () => curlPut(pair.b, pair.a.address, 2, GIB));
  assert.is(put.hash, contentHash(2, GIB));
  report('curl to lunet server', GIB, put);
  await drained(server);
});

test('http.request on lunet fetches a gibibyte from the kernel’s stack, and uploads one to it', async () => {
  await server.stop('SIGTERM');
  await startKernelServer(pair.b, KERNEL_PORT);
  const client = await startProgram(pair.a, 'http-client', [XDP_LINK]);
  const target = { host: pair.b.address, port: KERNEL_PORT, bytes: GIB };
  const got = await besideKernelTraffic(pair, () => client.ask<Transfer>({ ask: 'get', seed: 3, ...target }, 300_000));
  assert.is(got.hash, contentHash(3, GIB));
  report('kernel server to lunet client', GIB, got);
  const put = await besideKernelTraffic(pair, () => client.ask<Transfer>({ ask: 'put', seed: 4, ...target }, 300_000));
  assert.is(put.hash, contentHash(4, GIB));
  report('lunet client to kernel server', GIB, put);
  await drained(client);
});

test.run();
