// Connections between lunet and Linux that stand still: a peer that stops reading, a path that fails for a while, a peer
// that vanishes, and who gives up when.

import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StackOptions } from '../../src/host/stack.js';
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
import { type AdjustableLoss, prepareLoss } from '../helpers/loss.js';
import { INTERFACE } from '../helpers/netns.js';
import { contentHash } from './programs/content.js';
import type { Job, Outcome } from './programs/endpoint.js';

const SIDES: readonly Side[] = ['lunet', 'kernel'];
const MIB = 1 << 20;
const ALL = 1000;
/** So slow that a failing path finds it under way. */
const PACED: Partial<Job> = { paceMs: 10 };

let ends: Endpoints;
let loss: AdjustableLoss;

async function prepare(): Promise<void> {
  ends = await createEndpoints();
  loss = await prepareLoss(ends.pair.b);
  // Less than what is sent, so that a reader who stops is felt.
  await ends.sysctl({ tcp_no_metrics_save: 1, tcp_rmem: '4096 131072 524288', tcp_wmem: '4096 16384 524288' });
}

test.before(loudly(prepare));

test.after(() => ends.dispose());

/** After a failure both ends may be in the middle of anything: the next test has others. */
async function onStack(options: Partial<StackOptions>, body: () => Promise<void>): Promise<void> {
  try {
    await ends.open(options);
    await body();
    await ends.close();
  } catch (error) {
    await ends.dispose();
    await prepare();
    throw error;
  }
}

function each(
  name: string,
  options: Partial<StackOptions>,
  body: (client: Side, family: Family) => Promise<void>,
): void {
  for (const family of FAMILIES) {
    for (const client of SIDES) {
      // Each role and each family; every combination on demand.
      if (process.env.LUNET_INTEROP !== 'full' && (client === 'lunet') !== (family === 4)) continue;
      test(`IPv${family}, ${client} connects: ${name}`, () => onStack(options, () => body(client, family)));
    }
  }
}

function whole(outcome: Outcome, from: Job): void {
  assert.is(outcome.error, '');
  assert.is(outcome.eof, true);
  assert.is(outcome.received, from.bytes);
  assert.is(outcome.hash, contentHash(from.seed, from.bytes));
}

/** Runs an exchange of which lunet's end fails while nothing gets through; Linux's is still there afterwards. */
async function givesUp(client: Side, family: Family, lunet: Job, kernel: Job): Promise<Outcome> {
  const server = other(client);
  const jobs = { lunet, kernel: { ...kernel, keepAliveMs: 1000 } };
  const listening = await ends.listen(server, { ...jobs[server], family });
  const connected = ends.connect(client, { ...jobs[client], family });
  await delay(300);
  await loss.set(ALL);
  const outcomes = { [client]: connected.then(([one]) => one), [server]: listening.outcomes().then(([one]) => one) };
  const failed = await outcomes.lunet;
  await loss.set(0);
  // A keepalive probe of Linux's now finds lunet without the connection (RFC 9293 §3.5.1).
  const left = await outcomes.kernel;
  assert.ok(left.error === 'ECONNRESET' || left.eof, `Linux: ${left.error}`);
  return failed;
}

for (const reader of SIDES) {
  each(`${reader} stops reading for a while, and goes on`, { rcvBufMaxBytes: 512 * 1024 }, async (client, family) => {
    const sender = other(reader);
    const jobs: Record<Side, Job> = { lunet: { seed: 1, bytes: 0 }, kernel: { seed: 2, bytes: 0 } };
    jobs[sender].bytes = 16 * MIB;
    jobs[reader].pause = { afterBytes: MIB, ms: 1500 };
    const before = await ends.counters('kernel');
    const outcomes = await exchange(ends, client, jobs, { family });
    whole(outcomes[reader][0], jobs[sender]);
    assert.ok(outcomes[reader][0].longestGapMs >= 1400, `${outcomes[reader][0].longestGapMs} ms`);
    const lunet = await ends.counters('lunet');
    if (sender === 'lunet') {
      // At 0.2, 0.6 and 1.4 s, or a little later.
      assert.ok(lunet.TcpExtTCPZeroWindowProbe >= 2 && lunet.TcpExtTCPZeroWindowProbe <= 4);
      // Linux may hold back its last ACK for so long that lunet probes for a lost tail.
      assert.ok(lunet.TcpRetransSegs <= lunet.TcpExtTCPLossProbes);
      assert.is(lunet.TcpExtTCPTimeouts, 0);
    } else {
      const { TcpExtTCPFromZeroWindowAdv } = await ends.counters('kernel');
      assert.ok(lunet.TcpExtTCPToZeroWindowAdv >= 1);
      assert.ok(lunet.TcpExtTCPFromZeroWindowAdv >= 1);
      assert.is(TcpExtTCPFromZeroWindowAdv, before.TcpExtTCPFromZeroWindowAdv, 'Linux’s own window was never closed');
    }
  });
}

each('an outage of 700 ms in mid-transfer', {}, async (client, family) => {
  const jobs = { lunet: { seed: 1, bytes: 4 * MIB, ...PACED }, kernel: { seed: 2, bytes: 4 * MIB, ...PACED } };
  const both = exchange(ends, client, jobs, { family });
  both.catch(() => undefined);
  await delay(300);
  await loss.set(ALL);
  await delay(700);
  await loss.set(0);
  const outcomes = await both;
  for (const side of SIDES) {
    whole(outcomes[side][0], jobs[other(side)]);
    assert.ok(outcomes[side][0].longestGapMs > 600, `${outcomes[side][0].longestGapMs} ms`);
  }
});

each('the cable is unplugged for 700 ms in mid-transfer', {}, async (client, family) => {
  const jobs = { lunet: { seed: 1, bytes: 4 * MIB, ...PACED }, kernel: { seed: 2, bytes: 4 * MIB, ...PACED } };
  const { b } = ends.pair;
  // Else its IPv6 addresses would go with the link.
  await b.run('sysctl', ['-qw', `net.ipv6.conf.${INTERFACE}.keep_addr_on_down=1`]);
  const both = exchange(ends, client, jobs, { family });
  both.catch(() => undefined);
  await delay(300);
  await b.run('ip', ['link', 'set', INTERFACE, 'down']);
  await delay(700);
  await b.run('ip', ['link', 'set', INTERFACE, 'up']);
  const outcomes = await both;
  for (const side of SIDES) whole(outcomes[side][0], jobs[other(side)]);
});

each('Linux vanishes, and lunet gives up after its user timeout', {}, async (client, family) => {
  const endless: Job = { seed: 1, bytes: 1024 * MIB, userTimeoutMs: 1000, ...PACED };
  const { error, seconds } = await givesUp(client, family, endless, { seed: 2, bytes: 0, end: false });
  assert.is(error, 'ETIMEDOUT');
  assert.ok(seconds > 1.2 && seconds < 3.5, `${seconds} s`);
});

each('Linux vanishes, and lunet gives up after its retransmissions', { retries: 3 }, async (client, family) => {
  const endless: Job = { seed: 1, bytes: 1024 * MIB, ...PACED };
  const { error, seconds } = await givesUp(client, family, endless, { seed: 2, bytes: 0, end: false });
  assert.is(error, 'ETIMEDOUT');
  // 0.2 + 0.4 + 0.8 + 1.6 s.
  assert.ok(seconds > 2 && seconds < 6, `${seconds} s`);
});

each(
  'Linux vanishes from an idle connection, and lunet’s keepalive notices',
  { keepaliveIntvlUs: 200_000, keepaliveProbes: 3 },
  async (client, family) => {
    const idle: Job = { seed: 1, bytes: 1000, end: false, keepAliveMs: 500 };
    const { error, seconds, received } = await givesUp(client, family, idle, { seed: 2, bytes: 1000, end: false });
    assert.is(error, 'ETIMEDOUT');
    assert.is(received, 1000);
    assert.ok(seconds > 0.9 && seconds < 3, `${seconds} s`);
    assert.ok((await ends.counters('lunet')).TcpExtTCPKeepAlive >= 3);
  },
);

each('lunet answers Linux’s keepalive probes, and the connection lives', {}, async (client, family) => {
  const jobs: Record<Side, Job> = {
    lunet: { seed: 1, bytes: 100_000, delayMs: 2500 },
    kernel: { seed: 2, bytes: 100_000, delayMs: 2500, keepAliveMs: 1000 },
  };
  const before = await ends.counters('kernel');
  const outcomes = await exchange(ends, client, jobs, { family });
  for (const side of SIDES) whole(outcomes[side][0], jobs[other(side)]);
  const after = await ends.counters('kernel');
  assert.ok(after.TcpExtTCPKeepAlive - before.TcpExtTCPKeepAlive >= 1);
});

for (const family of FAMILIES) {
  test(`IPv${family}: nobody answers lunet’s SYN`, () =>
    onStack({ rtoInitUs: 200_000, synRetries: 2 }, async () => {
      await loss.set(ALL);
      const [{ error, seconds }] = await ends.connect('lunet', { seed: 1, bytes: 1, family });
      await loss.set(0);
      assert.is(error, 'ETIMEDOUT');
      // 0.2 + 0.4 + 0.8 s.
      assert.ok(seconds > 1.3 && seconds < 3, `${seconds} s`);
    }));
}

test.run();
