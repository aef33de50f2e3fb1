// Runs the cases of one file with benchmark.js and prints nanoseconds per operation.
//
// A case does its operation many times per call, because one operation is a few nanoseconds and the call itself is not
// what is measured. Times are the mean over the samples with the relative margin of error benchmark.js computes.
import Benchmark from 'benchmark';

export interface Case {
  name: string;
  /** Operations in one run(). */
  operations: number;
  /** Bytes of payload in one operation, for a rate. */
  bytes?: number;
  /** What the link and the core took over, for cases that send frames. */
  offloads?: string;
  run(): void;
}

export interface Result {
  name: string;
  nsPerOperation: number;
  operationsPerSecond: number;
  /** Payload bits per second; null for operations without payload. */
  gbps: number | null;
  offloads: string | null;
  marginPercent: number;
  samples: number;
}

const MAX_SECONDS = 1;

/** Runs the cases one after another. `--json` prints an array of results instead of lines. */
export function bench(cases: readonly Case[]): void {
  const json = process.argv.includes('--json');
  const results: Result[] = [];
  const width = Math.max(...cases.map(({ name }) => name.length));
  let said = '';
  for (const { name, operations, bytes, offloads, run } of cases) {
    const benchmark = new Benchmark(name, run, { maxTime: MAX_SECONDS });
    benchmark.run();
    // benchmark.js keeps what a case throws to itself.
    const { error } = benchmark as unknown as { error?: Error };
    if (error !== undefined) throw error;
    const operationsPerSecond = benchmark.hz * operations;
    const result: Result = {
      name,
      nsPerOperation: 1e9 / operationsPerSecond,
      operationsPerSecond,
      gbps: bytes === undefined ? null : (operationsPerSecond * bytes * 8) / 1e9,
      offloads: offloads ?? null,
      marginPercent: benchmark.stats.rme,
      samples: benchmark.stats.sample.length,
    };
    results.push(result);
    if (json) continue;
    if (offloads !== undefined && offloads !== said) console.log(offloads);
    said = offloads ?? said;
    const rate = result.gbps === null ? '' : `  ${result.gbps.toFixed(1).padStart(6)} Gbps`;
    const time = `${result.nsPerOperation.toFixed(1).padStart(9)} ns`;
    console.log(`${name.padEnd(width)}  ${time} ±${result.marginPercent.toFixed(1).padStart(4)} %${rate}`);
  }
  if (json) console.log(JSON.stringify(results, null, 2));
}
