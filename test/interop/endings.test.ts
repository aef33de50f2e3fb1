// How connections between lunet and Linux begin and end, in both roles: half close, reset, refusal, simultaneous open,
// TIME-WAIT and its reuse, many short ones.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_LAST_ACK } from '../../src/host/core/layout.js';
import { loudly } from '../helpers/before.js';
import {
  createEndpoints,
  type Endpoints,
  exchange,
  FAMILIES,
  type Family,
  other,
  type Side,
} from '../helpers/endpoints.js';
import { INTERFACE, until } from '../helpers/netns.js';
import { contentHash } from './programs/content.js';
import type { Job, Outcome } from './programs/endpoint.js';

const SIDES: readonly Side[] = ['lunet', 'kernel'];
const MIB = 1 << 20;

let ends: Endpoints;

test.before(
  loudly(async () => {
    ends = await createEndpoints();
    await ends.sysctl({ tcp_no_metrics_save: 1 });
    await ends.open();
  }),
);

test.after(() => ends.dispose());

/** Whether the kernel in B has a connection to this port in a state by `ss`'s name for it. */
async function kernelIs(state: string, port: number): Promise<boolean> {
  const { stdout } = await ends.pair.b.run('ss', ['-Htan', `( dport = :${port} )`]);
  return new RegExp(`^${state} `, 'm').test(stdout);
}

/** Waits until the kernel in B has no connection from this port any more, closed as it may be for its application. */
function kernelForgets(port: number): Promise<boolean> {
  return until(`the kernel forgets port ${port}`, async () => {
    const { stdout } = await ends.pair.b.run('ss', ['-Htan', `( sport = :${port} )`]);
    return stdout.trim() === '';
  }) as Promise<boolean>;
}

/** In both roles and both families. */
function each(name: string, body: (client: Side, family: Family) => Promise<void>): void {
  for (const family of FAMILIES) {
    for (const client of SIDES) test(`IPv${family}, ${client} connects: ${name}`, () => body(client, family));
  }
}

function whole(outcome: Outcome, from: Job): void {
  assert.is(outcome.error, '');
  assert.is(outcome.eof, true);
  assert.is(outcome.received, from.bytes);
  assert.is(outcome.hash, contentHash(from.seed, from.bytes));
}

each('each side in turn ends first, and still receives everything', async (client, family) => {
  for (const first of SIDES) {
    const second = other(first);
    const jobs: Record<Side, Job> = { lunet: { seed: 1, bytes: MIB }, kernel: { seed: 2, bytes: MIB } };
    jobs[second].begin = 'eof';
    const outcomes = await exchange(ends, client, jobs, { family });
    for (const side of SIDES) whole(outcomes[side][0], jobs[other(side)]);
  }
});

each('an end without a byte before it', async (client, family) => {
  const jobs = { lunet: { seed: 1, bytes: 0 }, kernel: { seed: 2, bytes: 0 } };
  const outcomes = await exchange(ends, client, jobs, { family });
  for (const side of SIDES) whole(outcomes[side][0], jobs[other(side)]);
});

/**
 * What the side that did not reset has been told. libuv takes a reset for an end when it finds both after its last bytes
 * at once (uv__stream_io), so for the kernel's side its own counter tells.
 */
async function resetSeen(victim: Side, outcome: Outcome, { before }: { before: number }): Promise<void> {
  if (victim === 'lunet') assert.is(outcome.error, 'ECONNRESET');
  else assert.ok(outcome.error === 'ECONNRESET' || outcome.eof, `error ${outcome.error}`);
  const { TcpEstabResets } = await ends.counters(victim);
  assert.is(TcpEstabResets, before + 1, `resets that ${victim} has seen`);
}

each('the receiver resets in mid-flight', async (client, family) => {
  for (const resetter of SIDES) {
    const victim = other(resetter);
    const jobs: Record<Side, Job> = { lunet: { seed: 1, bytes: 64 * MIB }, kernel: { seed: 2, bytes: 64 * MIB } };
    jobs[resetter] = { seed: 3, bytes: 0, end: false, resetAfterReceived: MIB };
    const before = (await ends.counters(victim)).TcpEstabResets;
    const outcomes = await exchange(ends, client, jobs, { family });
    await resetSeen(victim, outcomes[victim][0], { before });
    assert.is(outcomes[resetter][0].error, '', `${resetter} resets`);
  }
});

each('the sender resets in mid-flight', async (client, family) => {
  for (const resetter of SIDES) {
    const victim = other(resetter);
    const idle = { bytes: 0, end: false };
    const jobs: Record<Side, Job> = { lunet: { seed: 1, ...idle }, kernel: { seed: 2, ...idle } };
    jobs[resetter] = { seed: 3, bytes: 256 * MIB, resetAfterSent: MIB };
    const before = (await ends.counters(victim)).TcpEstabResets;
    const outcomes = await exchange(ends, client, jobs, { family });
    const { received } = outcomes[victim][0];
    await resetSeen(victim, outcomes[victim][0], { before });
    assert.ok(received > 0 && received < 256 * MIB, `${received} bytes`);
  }
});

each('a thousand short connections, a hundred at a time', async (client, family) => {
  const jobs = { lunet: { seed: 1, bytes: 700 }, kernel: { seed: 2, bytes: 9000 } };
  const started = performance.now();
  const outcomes = await exchange(ends, client, jobs, { family, count: 1000, parallel: 100 });
  console.log(`    ${client} connects: ${(1000 / ((performance.now() - started) / 1000)).toFixed(0)} connections/s`);
  for (const side of SIDES) {
    assert.is(outcomes[side].length, 1000);
    for (const outcome of outcomes[side]) whole(outcome, jobs[other(side)]);
  }
});

each('a port where nobody listens refuses', async (client, family) => {
  const started = performance.now();
  const [outcome] = await ends.connect(client, { seed: 1, bytes: 1, family });
  assert.is(outcome.error, 'ECONNREFUSED');
  assert.ok(performance.now() - started < 2000);
});

for (const family of FAMILIES) {
  for (const timestamps of [1, 0]) {
    const how = `${timestamps ? 'with' : 'without'} timestamps`;

    test(`IPv${family}: Linux takes the same ports again while lunet waits in TIME-WAIT, ${how}`, async () => {
      await ends.sysctl({ tcp_timestamps: timestamps });
      // Who ends first waits: lunet, which serves.
      const jobs = { lunet: { seed: 1, bytes: 5000 }, kernel: { seed: 2, bytes: 5000, begin: 'eof' as const } };
      const before = await ends.counters('lunet');
      for (let round = 0; round < 5; round++) {
        const listening = await ends.listen('lunet', { ...jobs.lunet, family });
        const [client] = await ends.connect('kernel', { ...jobs.kernel, family, localPort: 20_000 });
        whole(client, jobs.lunet);
        whole((await listening.outcomes())[0], jobs.kernel);
        await kernelForgets(20_000);
      }
      const after = await ends.counters('lunet');
      assert.is(after.TcpExtTCPTimeWait - before.TcpExtTCPTimeWait, 5);
      await ends.sysctl({ tcp_timestamps: 1 });
    });

    test(`IPv${family}: lunet takes the same ports again while Linux waits in TIME-WAIT, ${how}`, async () => {
      await ends.sysctl({ tcp_timestamps: timestamps });
      // Without the ports of the tests before, in TIME-WAIT on this side.
      await ends.open();
      const jobs = { lunet: { seed: 1, bytes: 5000, begin: 'eof' as const }, kernel: { seed: 2, bytes: 5000 } };
      for (let round = 0; round < 5; round++) {
        const listening = await ends.listen('kernel', { ...jobs.kernel, family });
        const [client] = await ends.connect('lunet', { ...jobs.lunet, family, localPort: 62_000 });
        whole(client, jobs.kernel);
        whole((await listening.outcomes())[0], jobs.lunet);
        await until('lunet’s end is acknowledged', async () => (await ends.states())[TCP_LAST_ACK] === undefined);
      }
      await ends.sysctl({ tcp_timestamps: 1 });
    });
  }

  test(`IPv${family}: both open at the same time`, async () => {
    const { a, b } = ends.pair;
    // No connection before had it: in TIME-WAIT it would hold this lunet to the timestamps of the one before (RFC 7323 §5.3).
    const kernelPort = 9100;
    const jobs = { lunet: { seed: 1, bytes: 100_000 }, kernel: { seed: 2, bytes: 100_000 } };
    // Nobody shall ask for a MAC meanwhile: the answer would wait as well.
    for (const [here, there, side] of [
      [a, b, 'kernel'],
      [b, a, 'lunet'],
    ] as const) {
      const neighbour = [ends.address(side, family), 'lladdr', there.mac, 'dev', INTERFACE, 'nud', 'permanent'];
      await here.run('ip', ['neigh', 'replace', ...neighbour]);
    }
    // A token bucket that one large packet empties: the SYN behind it is late by its own size at ten bytes a second.
    const bucket = (verb: string, rate: string): Promise<unknown> =>
      b.run('tc', ['qdisc', verb, 'dev', INTERFACE, 'root', 'tbf', 'rate', rate, 'burst', '1540', 'limit', '100000']);
    // Nobody listens there.
    const datagram = (bytes: number): Promise<unknown> =>
      b.run('bash', ['-c', `head -c ${bytes} /dev/zero > /dev/udp/${ends.address('lunet', family)}/9`]);
    const before = await ends.counters('lunet');
    await bucket('add', '80bit');
    try {
      // 1,514 bytes with their headers.
      await datagram(family === 4 ? 1472 : 1452);
      const kernel = ends.connect('kernel', { ...jobs.kernel, family, port: 62_001, localPort: kernelPort });
      await until('our SYN waits in the bucket', () => kernelIs('SYN-SENT', 62_001));
      const lunet = ends.connect('lunet', { ...jobs.lunet, family, port: kernelPort, localPort: 62_001 });
      // lunet's SYN has come, ours has not gone.
      await until('lunet’s SYN comes', () => kernelIs('SYN-RECV', 62_001));
      await bucket('change', '1gbit');
      // The queue moves again with the next packet.
      await datagram(1);
      const outcomes = { lunet: (await lunet)[0], kernel: (await kernel)[0] };
      whole(outcomes.lunet, jobs.kernel);
      whole(outcomes.kernel, jobs.lunet);
      assert.is((await ends.counters('lunet')).TcpPassiveOpens, before.TcpPassiveOpens);
    } finally {
      await b.run('tc', ['qdisc', 'del', 'dev', INTERFACE, 'root'], { anyStatus: true });
    }
  });
}

test('afterwards lunet holds no memory, and no connection but in TIME-WAIT', () => ends.close());

test.run();
