import * as assert from 'uvu/assert';
import type { EndInfo, RunResult } from '../../src/host/knbench/types.js';

/** What an end on memif says of itself. */
export const endInfo: EndInfo = {
  port: 1,
  link: 'memif:/x.sock',
  driver: 'net_memif',
  mtu: 1500,
  offloads: 'none',
  hugepages: true,
  driverCopies: '1 on transmit',
};

/** Every cell was answered without an error, and lunet sent nothing twice. */
export function checkResults(results: readonly RunResult[]): void {
  for (const result of results) {
    const cell = `${result.mode}, ${result.sizeBytes} B, iodepth ${result.depth}, ${result.connections} connections`;
    assert.is(result.error, undefined, cell);
    assert.is(result.errors, 0, cell);
    assert.ok(result.rpcs > 0, cell);
    assert.ok(result.cpuSeconds > 0, cell);
    // Nothing is lost on the links of these tests, and a peer that is late has not lost anything either.
    if (result.stack === 'lunet') assert.is(result.retransmits, 0, cell);
    assert.ok((result.p50Us ?? 0) > 0 && (result.p999Us ?? 0) >= (result.p50Us ?? 0), cell);
  }
}
