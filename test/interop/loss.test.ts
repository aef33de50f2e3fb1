// One frame in a hundred lost at random in each direction.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNamespaces, INTERFACE, type NamespacePair } from '../helpers/netns.js';
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
  TEST_STACK,
  type Transfer,
  XDP_LINK,
} from '../helpers/transfer.js';
import { contentHash } from './programs/content.js';

const BYTES = 64 * MIB;

let pair: NamespacePair;
let server: Program;

// XDP in A takes its frames before nftables sees them, so both directions are dropped in B.
const RULES = `table inet lunet {
  counter lostIn {}
  counter lostOut {}
  chain in { type filter hook input priority 0; iifname "${INTERFACE}" meta l4proto tcp numgen random mod 100 < 1 counter name lostIn drop }
  chain out { type filter hook output priority 0; oifname "${INTERFACE}" meta l4proto tcp numgen random mod 100 < 1 counter name lostOut drop }
}
`;

async function lost(counter: string): Promise<number> {
  const { stdout } = await pair.b.run('nft', ['-j', 'list', 'counter', 'inet', 'lunet', counter]);
  const { nftables } = JSON.parse(stdout) as { nftables: { counter?: { packets: number } }[] };
  return nftables.reduce((sum, item) => sum + (item.counter?.packets ?? 0), 0);
}

test.before(async () => {
  pair = createNamespaces();
  // One segment a packet, so that one drop is one frame.
  await pair.b.run('ip', ['link', 'set', INTERFACE, 'gso_max_segs', '1']);
  await pair.b.run('nft', ['-f', '-'], { input: RULES });
  server = await startLunetServer(pair.a);
});

test.after(() => pair.dispose());

test('with 1 % loss each way curl fetches 64 MiB from lunet, byte for byte', async () => {
  const got = await curlGet(pair.b, pair.a.address, 1, BYTES);
  assert.is(got.hash, contentHash(1, BYTES));
  report('lunet server to curl, 1 % loss', BYTES, got);
  assert.ok((await lost('lostIn')) > 100);
  const { counters } = await drained(server);
  assert.ok(counters.TcpRetransSegs > 100);
});

test('with 1 % loss each way curl uploads 64 MiB to lunet, byte for byte', async () => {
  const put = await curlPut(pair.b, pair.a.address, 2, BYTES);
  assert.is(put.hash, contentHash(2, BYTES));
  report('curl to lunet server, 1 % loss', BYTES, put);
  assert.ok((await lost('lostOut')) > 100);
  const { counters } = await drained(server);
  assert.ok(counters.TcpExtTCPOFOQueue > 100);
  await server.stop('SIGTERM');
});

test('with 1 % loss each way a client on lunet fetches and uploads 64 MiB, byte for byte', async () => {
  await startKernelServer(pair.b, KERNEL_PORT);
  const client = await startProgram(pair.a, 'http-client', [XDP_LINK], TEST_STACK);
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
