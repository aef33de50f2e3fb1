// Offloads of a driver that has them (net_tap: checksums both ways, TSO), against the kernel at the other end of the TAP
// interface: the bytes are the same with each of them on and off, and the kernel finds nothing wrong with a checksum.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNamespaces, type NamespacePair } from '../helpers/netns.js';
import { curlGet, curlPut, type Figures, LUNET_PORT, MIB, startLunetServer } from '../helpers/transfer.js';
import { contentHash } from './programs/content.js';

const TAP = 'lunettap1';
const KERNEL = '10.98.0.1';
const LUNET = '10.98.0.2';
const BYTES = 8 * MIB;

let pair: NamespacePair;
test.before.each(() => {
  pair = createNamespaces();
});
test.after.each(() => pair.dispose());

async function checksumErrors(): Promise<number> {
  const { stdout } = await pair.a.run('cat', ['/proc/net/snmp']);
  const [names, values] = stdout
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('InCsumErrors')]);
}

/** A download and an upload; what the stack has counted by then. */
async function both(query: string): Promise<Figures> {
  const stack = { address: `${LUNET}/24` };
  const server = await startLunetServer(pair.a, `tap:${TAP}?${query}`, { LUNET_TEST_STACK: JSON.stringify(stack) });
  await pair.a.run('ip', ['address', 'add', `${KERNEL}/24`, 'dev', TAP]);
  await pair.a.run('ip', ['link', 'set', TAP, 'up']);
  const got = await curlGet(pair.a, LUNET, 5, BYTES, { port: LUNET_PORT });
  assert.is(got.hash, contentHash(5, BYTES), 'downloaded');
  const put = await curlPut(pair.a, LUNET, 6, BYTES, { port: LUNET_PORT });
  assert.is(put.hash, contentHash(6, BYTES), 'uploaded');
  assert.is(await checksumErrors(), 0);
  const figures = await server.ask<Figures>({});
  assert.is(figures.link.txInvalid, 0);
  assert.is(figures.link.txErrors, 0);
  assert.is(figures.counters.TcpInCsumErrors, 0);
  await server.stop('SIGTERM');
  return figures;
}

// net_tap takes no segment whose frame is longer than an MTU of 1,504.
test('tap: TSO hands the driver frames of many segments, of which the kernel sees each', async () => {
  const { counters, link } = await both('mtu=1490');
  assert.ok(counters.TcpOutSegs > 3 * counters.TxFrames, `${counters.TcpOutSegs} in ${counters.TxFrames}`);
  assert.ok(link.txFrames >= counters.TcpOutSegs, 'the driver sent every segment by itself');
});

test('tap: the kernel’s interface has the MTU that was asked for, with TSO too', async () => {
  const stack = { address: `${LUNET}/24` };
  const server = await startLunetServer(pair.a, `tap:${TAP}?mtu=1490`, { LUNET_TEST_STACK: JSON.stringify(stack) });
  const { stdout } = await pair.a.run('ip', ['-j', 'link', 'show', TAP]);
  assert.is((JSON.parse(stdout) as { mtu: number }[])[0].mtu, 1490);
  await server.stop('SIGTERM');
});

test('tap: without TSO a frame is a segment, with checksums by the driver and without', async () => {
  for (const query of ['tso=off', 'csum=off', 'csum=off&gso=off&gro=off']) {
    const { counters } = await both(query);
    assert.ok(counters.TxFrames >= counters.TcpOutSegs, query);
  }
});

test.run();
