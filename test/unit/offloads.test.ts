// Offloads from the link's URI to the core, and what a stack does on a link that takes work over.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { offloadsText } from '../../src/host/link/offloads.js';
import { openLink } from '../../src/host/link/open.js';
import { openStack, type Stack } from '../../src/host/stack.js';

const SWITCHES = L.CFGF_TX_CSUM | L.CFGF_TX_TSO | L.CFGF_NO_GSO | L.CFGF_NO_GRO | L.CFGF_TX_NO_CSUM;

async function flagsOf(query: string, trustLink = false): Promise<number> {
  const stack = await openStack({ link: `memory:offloads${query}`, address: '10.0.0.1/24', trustLink });
  const { flags } = stack.core.config;
  await stack.close();
  return flags & SWITCHES;
}

test('each parameter of the URI reaches the core', async () => {
  assert.is(await flagsOf(''), 0);
  assert.is(await flagsOf('?gso=off'), L.CFGF_NO_GSO);
  assert.is(await flagsOf('?gro=off'), L.CFGF_NO_GRO);
  assert.is(await flagsOf('?csum=on'), L.CFGF_TX_CSUM);
  assert.is(await flagsOf('?csum=on&tso=on'), L.CFGF_TX_CSUM | L.CFGF_TX_TSO);
  assert.is(await flagsOf('?csum=on', true), L.CFGF_TX_NO_CSUM);
});

test('how long a run outlives its burst is for the link to say, unless an option does', async () => {
  const holdOf = async (ofLink: number | undefined, option?: number): Promise<number> => {
    const link = openLink('memory:hold');
    const info = ofLink === undefined ? link.info : { ...link.info, groHoldUs: ofLink };
    const options = option === undefined ? {} : { groHoldUs: option };
    const stack = await openStack({ link: { ...link, info }, address: '10.0.0.1/24', ...options });
    const { groHoldUs } = stack.core.config;
    assert.is(stack.core.dv.getUint32(L.CFG_GRO_HOLD_US, true), groHoldUs);
    await stack.close();
    return groHoldUs;
  };
  assert.is(await holdOf(undefined), 0);
  assert.is(await holdOf(8), 8);
  assert.is(await holdOf(8, 0), 0);
  assert.is(await holdOf(undefined, 20), 20);
});

test('what is on can be read, and is said in words', () => {
  const link = openLink('memory:words?csum=on&gro=off');
  const { offloads } = link.info;
  assert.equal(offloads, {
    txChecksum: true,
    rxChecksum: true,
    tso: false,
    multiSegment: true,
    gso: true,
    gro: false,
  });
  assert.is(offloadsText(offloads), 'checksums: driver tx, driver rx; tso off; gso on; gro off; multi-segment frames');
  link.close();
});

/** One end sends, the other counts; what each core has sent. */
async function transfer(query: string, bytes: number): Promise<{ frames: number; segments: number }> {
  const open = (address: string): Promise<Stack> =>
    openStack({ link: `memory:transfer${query}`, address, build: 'release' });
  const [server, client] = await Promise.all([open('10.0.0.1/24'), open('10.0.0.2/24')]);
  let got = 0;
  let wrong = 0;
  server.listen(
    { port: 80, inline: true },
    {
      accept(handle) {
        server.setHandler(handle, {
          data(addr, length) {
            const { u8 } = server.core;
            for (let i = 0; i < length; i++) if (u8[addr + i] !== ((got + i) % 50_000) % 251) wrong++;
            got += length;
            server.core.free(addr);
          },
        });
      },
    },
  );
  const { core } = client;
  const addr = core.alloc(50_000);
  for (let i = 0; i < 50_000; i++) core.u8[addr + i] = i % 251;
  let sent = 0;
  const more = (handle: number): void => {
    while (sent < bytes && core.send(handle, addr, 50_000) > 0) sent += 50_000;
  };
  const handle = client.connect(
    { address: '10.0.0.1', port: 80, inline: true },
    { connect: () => more(handle), writable: () => more(handle) },
  );
  const until = performance.now() + 20_000;
  while (got < bytes && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 2));
  const sums = { frames: core.counter(L.CNT_TxFrames), segments: core.counter(L.CNT_TcpOutSegs) };
  core.free(addr);
  await Promise.all([server.close(), client.close()]);
  assert.is(got, bytes);
  assert.is(wrong, 0);
  return sums;
}

test('a transfer over a link that passes on whole frames: a frame holds many segments', async () => {
  const { frames, segments } = await transfer('?csum=on&tso=on', 2_000_000);
  assert.ok(segments > 5 * frames, `${segments} segments in ${frames} frames`);
});

test('and over one that is a wire, a frame is a segment', async () => {
  for (const query of ['', '?gso=off&gro=off', '?csum=on', '?mtu=9000']) {
    const { frames, segments } = await transfer(query, 500_000);
    // ARP is a frame or two.
    assert.ok(frames >= segments && frames <= segments + 2, `${query}: ${segments} segments in ${frames} frames`);
  }
});

test.run();
