// lunet and Linux in both roles over what TCP negotiates and meets: congestion control of either end, options on and off,
// ECN, MTU, family, loss. Every pair of two such settings occurs in some case; LUNET_INTEROP=full runs all combinations.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Combination, pairwise, product } from '../helpers/combinations.js';
import { createEndpoints, type Endpoints, exchange, FAMILIES, type Side } from '../helpers/endpoints.js';
import { type AdjustableLoss, prepareLoss } from '../helpers/loss.js';
import { createNamespaces } from '../helpers/netns.js';
import { contentHash } from './programs/content.js';
import type { Job, Outcome } from './programs/endpoint.js';

/** Both want it, or the one named does not. */
const OPTION = ['both', 'not kernel', 'not lunet'] as const;
const KERNEL_CONGESTION = ['reno', 'cubic', 'bbr'] as const;
const MTUS = [576, 1500, 9000] as const;
const PERMILLE = [0, 1, 10, 50] as const;

const factors = {
  mtu: MTUS,
  family: FAMILIES,
  permille: PERMILLE,
  client: ['lunet', 'kernel'],
  flow: ['lunet sends', 'kernel sends', 'both send'],
  kernelCongestion: KERNEL_CONGESTION,
  lunetCongestion: ['reno', 'cubic', 'dctcp'],
  timestamps: OPTION,
  sack: OPTION,
  windowScale: OPTION,
  ecn: OPTION,
} as const;

type Case = Combination<typeof factors>;

/** Where who declines an option, what lunet sends with and which way alternate from case to case. */
const fullFactors = {
  mtu: factors.mtu,
  family: factors.family,
  permille: factors.permille,
  client: factors.client,
  kernelCongestion: factors.kernelCongestion,
  timestamps: [true, false],
  sack: [true, false],
  windowScale: [true, false],
  ecn: [true, false],
} as const;

/** Bytes each sender sends, by loss: enough for hundreds of segments, and soon done. */
const BYTES = new Map<number, number>([
  [0, 4 << 20],
  [1, 2 << 20],
  [10, 1 << 20],
  [50, 192 << 10],
]);

const IPV6_MIN_MTU = 1280;
const allowed = ({ mtu, family }: { mtu: number; family: number }): boolean => family === 4 || mtu >= IPV6_MIN_MTU;

function fullCases(): Case[] {
  return product(fullFactors, allowed).map((one, i) => {
    const option = (on: boolean): (typeof OPTION)[number] => (on ? 'both' : i % 2 === 0 ? 'not kernel' : 'not lunet');
    return {
      ...one,
      flow: factors.flow[i % 3],
      lunetCongestion: factors.lunetCongestion[Math.floor(i / 3) % 3],
      timestamps: option(one.timestamps),
      sack: option(one.sack),
      windowScale: option(one.windowScale),
      ecn: option(one.ecn),
    };
  });
}

/** Three sets, each with every pair: what takes more than two settings has three chances. */
const cases =
  process.env.LUNET_INTEROP === 'full' ? fullCases() : [1, 2, 3].flatMap((seed) => pairwise(factors, seed, allowed));

let ends: Endpoints;
let loss: AdjustableLoss;
let missing: ReadonlySet<string> = new Set();

/** Congestion control that this kernel does not have, after it was asked to load it. */
async function missingCongestion(): Promise<Set<string>> {
  const pair = createNamespaces();
  try {
    await pair.b.run('modprobe', ['-aq', ...KERNEL_CONGESTION.map((name) => `tcp_${name}`)], { anyStatus: true });
    const { stdout } = await pair.b.run('sysctl', ['-n', 'net.ipv4.tcp_available_congestion_control']);
    return new Set(KERNEL_CONGESTION.filter((name) => !stdout.trim().split(' ').includes(name)));
  } finally {
    await pair.dispose();
  }
}

const flag = (option: (typeof OPTION)[number], side: Side): boolean => option !== `not ${side}`;

async function configure(one: Case): Promise<void> {
  await ends.kernelCongestion(one.kernelCongestion);
  await ends.sysctl({
    tcp_timestamps: flag(one.timestamps, 'kernel') ? 1 : 0,
    tcp_sack: flag(one.sack, 'kernel') ? 1 : 0,
    tcp_window_scaling: flag(one.windowScale, 'kernel') ? 1 : 0,
    tcp_ecn: flag(one.ecn, 'kernel') ? 1 : 0,
    // What one case has learnt about the path must not steer the next.
    tcp_no_metrics_save: 1,
  });
  await ends.open({
    congestion: one.lunetCongestion,
    timestamps: flag(one.timestamps, 'lunet'),
    sack: flag(one.sack, 'lunet'),
    windowScale: flag(one.windowScale, 'lunet'),
    ecn: flag(one.ecn, 'lunet') ? 'on' : 'off',
    portRange: [61440, 65535],
  });
  await loss.set(one.permille);
}

const describe = (one: Case): string => {
  const options = (['timestamps', 'sack', 'windowScale', 'ecn'] as const)
    .map((name) => ({ name, value: one[name] }))
    .filter(({ value }) => value !== 'both')
    .map(({ name, value }) => `${name} ${value}`);
  const parts = [
    `${one.permille / 10} %`,
    `mtu ${one.mtu}`,
    `IPv${one.family}`,
    `${one.client} connects`,
    one.flow,
    `kernel ${one.kernelCongestion}`,
    `lunet ${one.lunetCongestion}`,
    ...options,
  ];
  return parts.join(', ');
};

/** INFO_options of a connection in which all that both want is agreed on. */
function expectedOptions(one: Case): number {
  // DCTCP wants ECN whatever the option says, and marks its SYN; a server without DCTCP does not agree to that.
  const dctcp = one.lunetCongestion === 'dctcp';
  const ecn = dctcp && one.client === 'lunet' ? 'not kernel' : dctcp && one.ecn === 'not lunet' ? 'both' : one.ecn;
  const bits = [one.timestamps, one.sack, one.windowScale, ecn].map((option, i) => (option === 'both' ? 1 << i : 0));
  return bits.reduce((sum, bit) => sum | bit, 0);
}

const ECN_SEEN = 16;
/** Agreed on: TCPI_OPT_ECN. */
const ECN_AGREED = 8;

function checkReceived(outcome: Outcome, sent: Job, what: string): void {
  assert.is(outcome.error, '', what);
  assert.is(outcome.eof, true, what);
  assert.is(outcome.received, sent.bytes, what);
  assert.is(outcome.hash, contentHash(sent.seed, sent.bytes), what);
}

async function runCase(one: Case, index: number): Promise<void> {
  const what = describe(one);
  await configure(one);
  const bytes = (BYTES.get(one.permille) as number) * (one.mtu === 9000 ? 4 : 1);
  const jobs = {
    lunet: { seed: 2 * index, bytes: one.flow === 'kernel sends' ? 0 : bytes },
    kernel: { seed: 2 * index + 1, bytes: one.flow === 'lunet sends' ? 0 : bytes },
  };
  const before = await ends.counters('kernel');
  const outcomes = await exchange(ends, one.client, jobs, { family: one.family });
  const [counters, after] = [await ends.counters('lunet'), await ends.counters('kernel')];
  const [lunet, kernel] = [outcomes.lunet[0], outcomes.kernel[0]];
  const retransmitted = after.TcpRetransSegs - before.TcpRetransSegs;
  const seconds = Math.max(lunet.seconds, kernel.seconds);
  const mbps = ((jobs.lunet.bytes + jobs.kernel.bytes) * 8) / seconds / 1e6;
  console.log(
    `    ${mbps.toFixed(0).padStart(6)} Mbps, retransmitted ${`${counters.TcpRetransSegs}`.padStart(4)} by lunet, ${`${retransmitted}`.padStart(4)} by the kernel: ${what}`,
  );
  checkReceived(lunet, jobs.kernel, `lunet: ${what}`);
  checkReceived(kernel, jobs.lunet, `kernel: ${what}`);
  // A SYN that is sent again after a loss asks for no ECN any more (RFC 3168 §6.1.1.1).
  const unsure = ECN_SEEN | (one.permille === 0 ? 0 : ECN_AGREED);
  assert.is(lunet.options & ~unsure, expectedOptions(one) & ~unsure, `options: ${what}`);
  if (one.permille === 0) {
    // Without SACK an ACK that repeats a window at its limit is a duplicate by RFC 5681 §2, and three of them a loss.
    if (one.sack === 'both') assert.is(counters.TcpRetransSegs, 0, `lunet retransmitted without loss: ${what}`);
    assert.is(counters.TcpExtTCPTimeouts, 0, what);
  }
  assert.is(counters.TcpInErrs, 0, what);
  await ends.close();
}

test('this kernel has the congestion control that lunet is tried against', async () => {
  missing = await missingCongestion();
  assert.not(missing.has('cubic') || missing.has('reno'));
});

for (const mtu of MTUS) {
  const here = cases.filter((one) => one.mtu === mtu);
  const link = mtu === 9000 ? 'AF_PACKET, as AF_XDP takes no such frames' : 'AF_XDP';
  test(`${here.length} transfers at MTU ${mtu} over ${link}`, async () => {
    ends = await createEndpoints({ mtu });
    try {
      loss = await prepareLoss(ends.pair.b);
      for (const one of here) {
        if (!missing.has(one.kernelCongestion)) await runCase(one, cases.indexOf(one));
      }
    } finally {
      await ends.dispose();
    }
  });
}

test.run();
