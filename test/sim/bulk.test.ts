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
    algorithm: 'reno',
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

test('at 1 % loss over 10 ms and 1 Gbps a NewReno flow reaches 95 % of what its algorithm can, without a needless timeout', () => {
  const loss = { kind: 'random', probability: 0.01 } as const;
  let sum = 0;
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  for (const seed of seeds) {
    const forward = { rateBps: 1e9, delayUs: 5000, queueBytes: 4 << 20, loss };
    const result = run(forward, 2 * SECOND_US, 30 * SECOND_US, { seed, congestion: [L.CC_RENO] });
    assert.is(result.spurious, 0);
    assert.is(result.timeouts, 0);
    sum += result.share;
  }
  // One seed's losses are a few per cent more or fewer than another's.
  assert.ok(sum / seeds.length >= 0.95, `${sum / seeds.length} of the bound`);
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

test('after a black hole of 100 ms data flows again within 20 ms of its end, in the datacenter profile', () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    for (const holeUs of [100_000, 97_000, 103_500]) {
      const path = { rateBps: 10e9, delayUs: 20 };
      const bulk = openBulk({ seed, profile: 'datacenter', bufferBytes: 256 * 1024, forward: path, back: path });
      const { simulation, flows } = bulk;
      simulation.runUs(50_000 + seed * 137);
      const before = flows[0].deliveredBytes;
      assert.ok(before > 1e6);
      for (const way of [bulk.forward, bulk.back]) way.change({ blackHole: true });
      simulation.runUs(1000);
      const inHole = flows[0].deliveredBytes;
      simulation.runUs(holeUs - 1000);
      assert.is(flows[0].deliveredBytes, inHole, 'nothing comes through');
      for (const way of [bulk.forward, bulk.back]) way.change({ blackHole: false });
      const end = simulation.nowUs();
      simulation.runUs(100_000, () => flows[0].deliveredBytes > inHole);
      const afterUs = simulation.nowUs() - end;
      assert.ok(afterUs <= 20_000, `seed ${seed}, ${holeUs} µs: ${afterUs} µs`);
      bulk.close();
    }
  }
});

test('the same seed is the same run', () => {
  const forward: PathOptions = { rateBps: 1e9, delayUs: 500, loss: { kind: 'random', probability: 0.02 } };
  const figures = (): string => JSON.stringify(run(forward, 100_000, 400_000));
  assert.is(figures(), figures());
});

test.run();
