// Two cores on a wire that loses, doubles, damages and reorders frames: what arrives is what was sent.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { exchange, total } from '../../helpers/exchange.js';

function replay(seeds: number[], run: (seed: number) => void): void {
  for (const seed of seeds) {
    try {
      run(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).stack}`);
    }
  }
}

const SEEDS = Array.from({ length: Number(process.env.LUNET_WIRE_SEEDS ?? 12) }, (_, i) => i + 1);

test('a wire without loss sees no retransmission, whatever its delay', () => {
  for (const delayUs of [1, 50, 1000, 20_000, 150_000]) {
    const wire = exchange(delayUs, { delayUs }, 500_000);
    assert.is(total(wire, L.CNT_TcpRetransSegs), 0, `delay ${delayUs} µs`);
    assert.is(total(wire, L.CNT_TcpExtTCPDSACKOldSent), 0);
    assert.is(total(wire, L.CNT_CopiedBytes), 0);
  }
});

test('the same seed gives the same run', () => {
  const run = (): string =>
    exchange(7, { delayUs: 100, loss: 20, reorder: 20 }, 100_000)
      .ends.map(({ core }) => Object.values(core.counters()).join())
      .join(';');
  assert.is(run(), run());
});

test('1 % loss: everything arrives', () => {
  let retransmitted = 0;
  replay(SEEDS, (seed) => {
    retransmitted += total(exchange(seed, { delayUs: 500, loss: 10 }, 300_000), L.CNT_TcpRetransSegs);
  });
  assert.ok(retransmitted > 0);
});

test('10 % loss, duplication, corruption and reordering together: everything arrives', () => {
  replay(SEEDS, (seed) => {
    exchange(seed, { delayUs: 300, loss: 100, duplicate: 30, corrupt: 30, reorder: 100, reorderUs: 2000 }, 60_000);
  });
});

test('without SACK, timestamps and window scale it works as well', () => {
  const flags = L.CFGF_ARP | L.CFGF_ICMP_ECHO;
  replay(SEEDS, (seed) => exchange(seed, { delayUs: 400, loss: 30, reorder: 20 }, 80_000, { flags }));
});

test('tiny buffers and an MTU of 576', () => {
  replay(SEEDS, (seed) => {
    exchange(seed, { delayUs: 200, loss: 20 }, 40_000, { rcvBufBytes: 2048, sndBufBytes: 2048, mtu: 576 });
  });
});

test('a transmit ring of 16 segments', () => {
  replay(SEEDS, (seed) => exchange(seed, { delayUs: 200, loss: 10 }, 100_000, { txRing: 16 }));
});

test('the data-centre profile’s 4 ms timeouts', () => {
  const config = { rtoMinUs: 4000, rtoInitUs: 20_000, delackUs: 1000 };
  replay(SEEDS, (seed) => exchange(seed, { delayUs: 20, loss: 30, reorder: 30, reorderUs: 500 }, 100_000, config));
});

test.run();
