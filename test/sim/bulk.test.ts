// Bulk flows on simulated paths, in virtual time: what they reach of what the path allows.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { bound, jainIndex } from '../../src/host/sim/bounds.js';
import { type BulkOptions, type Goodput, measure, openBulk } from '../../src/host/sim/bulk.js';
import type { PathOptions } from '../../src/host/sim/path.js';

const SECOND_US = 1e6;

interface Outcome extends Goodput {
  /** Goodput of all flows as a share of what the path, the window and the losses allow one. */
  share: number;
  spurious: number;
}

function run(forward: PathOptions, warmupUs: number, measureUs: number, options: Partial<BulkOptions> = {}): Outcome {
  const { rateBps = 1e9, delayUs = 0, loss = null } = forward;
  const bulk = openBulk({ seed: 1, forward, back: { rateBps, delayUs }, ...options });
  const goodput = measure(bulk, warmupUs, measureUs);
  const spurious = bulk.sent(L.CNT_TcpExtTCPSpuriousRTOs);
  bulk.close();
  const { bps } = bound({
    rateBps,
    rttUs: 2 * delayUs,
    windowBytes: options.bufferBytes ?? 4 << 20,
    mtu: 1500,
    loss,
    algorithm: 'newreno',
  });
  return { ...goodput, share: goodput.bps.reduce((sum, flow) => sum + flow, 0) / bps, spurious };
}

test('on a lossless link nothing is ever retransmitted, and the link is full', () => {
  for (const [rateBps, delayUs, measureUs] of [
    [100e6, 100, 0.5 * SECOND_US],
    [1e9, 1000, 0.5 * SECOND_US],
    [1e9, 5000, SECOND_US],
    [10e9, 50, 0.1 * SECOND_US],
  ]) {
    const result = run({ rateBps, delayUs }, measureUs, measureUs);
    assert.is(result.retransmitted, 0, `${rateBps / 1e6} Mbps, ${delayUs} µs`);
    assert.is(result.timeouts, 0);
    assert.ok(result.share > 0.98, `${rateBps / 1e6} Mbps, ${delayUs} µs: ${result.share}`);
  }
});

test('at 1 % loss over 10 ms and 1 Gbps one flow reaches 95 % of what its algorithm can, without a needless timeout', () => {
  const loss = { kind: 'random', probability: 0.01 } as const;
  const result = run({ rateBps: 1e9, delayUs: 5000, queueBytes: 4 << 20, loss }, 2 * SECOND_US, 20 * SECOND_US);
  assert.ok(result.share >= 0.95, `${result.share} of the bound`);
  assert.is(result.spurious, 0);
});

test('reordering by up to 3 ms is not taken for loss', () => {
  const reorder = { probability: 0.1, maxUs: 3000 };
  const result = run({ rateBps: 1e9, delayUs: 5000, queueBytes: 4 << 20, reorder }, SECOND_US, 3 * SECOND_US);
  assert.ok(result.segments > 10_000);
  assert.ok(result.retransmitted <= result.segments / 1000, `${result.retransmitted} of ${result.segments}`);
});

test('flows that share a bottleneck share it evenly in the long run', () => {
  const forward = { rateBps: 100e6, delayUs: 2000, queuePackets: 100 };
  const result = run(forward, 5 * SECOND_US, 20 * SECOND_US, { flows: 2 });
  assert.ok(jainIndex(result.bps) > 0.9, result.bps.join());
  assert.ok(result.share > 0.9, `${result.share} of the link`);
});

test('the same seed is the same run', () => {
  const forward: PathOptions = { rateBps: 1e9, delayUs: 500, loss: { kind: 'random', probability: 0.02 } };
  const figures = (): string => JSON.stringify(run(forward, 100_000, 400_000));
  assert.is(figures(), figures());
});

test.run();
