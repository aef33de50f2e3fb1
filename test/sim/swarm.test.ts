// 1,000 seeds of the swarm, and that its invariants notice when something is broken.
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { describe } from '../../src/host/cli/sim.js';
import { runSwarm, type SwarmResult, sabotages } from '../../src/host/sim/swarm.js';

const SEEDS = Number(process.env.LUNET_SWARM_SEEDS ?? 1000);
const DEBUG_SEEDS = 100;

/** Runs a seed; one that fails is run again for its captures, and says how to see it again. */
function hold(seed: number, build?: 'debug'): SwarmResult {
  const options = { seed, ...(build ? { build } : {}) };
  const result = runSwarm(options);
  if (result.violations.length > 0) {
    const captureFolder = mkdtempSync(join(tmpdir(), `lunet-swarm-${seed}-`));
    runSwarm({ ...options, captureFolder });
    assert.unreachable(`${describe(result)}\n  captured in ${captureFolder}`);
  }
  return result;
}

test(`${SEEDS} seeds hold`, () => {
  let bytes = 0;
  let retransmitted = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = hold(seed);
    bytes += result.bytes;
    retransmitted += result.retransmitted;
  }
  // The swarm does something: data flows, and not without trouble.
  assert.ok(bytes > SEEDS * 10_000, `${bytes} bytes`);
  assert.ok(retransmitted > SEEDS, `${retransmitted} retransmissions`);
});

test(`${DEBUG_SEEDS} seeds hold in the debug build, whose assertions are on`, () => {
  for (let seed = 1; seed <= DEBUG_SEEDS; seed++) hold(seed, 'debug');
});

test('the same seed is the same run', () => {
  for (const seed of [3, 17, 88]) assert.equal(runSwarm({ seed }), runSwarm({ seed }));
});

for (const sabotage of sabotages) {
  test(`the invariants notice sabotage: ${sabotage}`, () => {
    let noticed = 0;
    for (let seed = 1; seed <= 20; seed++) if (runSwarm({ seed, sabotage }).violations.length > 0) noticed++;
    assert.ok(noticed >= 5, `${noticed} of 20`);
  });
}

test('a seed is captured for each host', () => {
  const captureFolder = mkdtempSync(join(tmpdir(), 'lunet-swarm-'));
  try {
    runSwarm({ seed: 1, captureFolder });
    const files = readdirSync(captureFolder).sort();
    assert.equal(files, ['a.pcap', 'b.pcap']);
    for (const file of files) assert.ok(statSync(join(captureFolder, file)).size > 1000, file);
  } finally {
    rmSync(captureFolder, { recursive: true });
  }
  assert.not(existsSync(captureFolder));
});

test.run();
