// What every benchmark does: pin itself, say what it ran on and how, and print a table, or one JSON object with --json.
//
// A case does its operation many times per call, because one operation is a few nanoseconds and the call itself is not
// what is measured. --quick shortens everything: to see that it works, not to be quoted.
import { spawnSync } from 'node:child_process';
import Benchmark from 'benchmark';
import { table } from '../src/host/cli/output.js';
import { median } from '../src/host/knbench/results.js';
import { allowedCpus } from '../src/host/knbench/run.js';
import { type Versions, versions, versionsText } from '../src/host/knbench/versions.js';

export const json = process.argv.includes('--json');
export const quick = process.argv.includes('--quick');

/** Times that a benchmark which reports medians repeats everything, its variants in turn. */
export const ROUNDS = quick ? 2 : 5;

export interface Conditions {
  /** What is done, in a sentence. */
  what: string;
  link: string;
  /** Checksums, TSO, GRO: on, off, or by whom. */
  offloads: string;
}

export interface Setting extends Conditions {
  placement: string;
  build: string;
  versions: Versions;
}

/** Pins this thread to one CPU, prints the conditions, and returns them for the JSON. */
export function begin(conditions: Conditions, placement = pinned()): Setting {
  const setting = { ...conditions, placement, build: 'release', versions: versions() };
  if (!json) {
    const { what, link, offloads } = setting;
    for (const line of [what, `link: ${link}; offloads: ${offloads}`, `on ${placement}`]) console.log(line);
    console.log(versionsText(setting.versions));
  }
  return setting;
}

/** V8's helper threads exist already and stay free, so that they do not compete with what is measured. */
function pinned(): string {
  const [cpu] = allowedCpus();
  const done = spawnSync('taskset', ['-cp', String(cpu), String(process.pid)]).status === 0;
  return done ? `one thread, pinned to CPU ${cpu}` : 'one thread, not pinned (no taskset)';
}

/** The result of a benchmark file with --json. */
export function printJson(setting: Setting, results: unknown): void {
  console.log(JSON.stringify({ setting, results }, null, 2));
}

export interface Case {
  name: string;
  /** Operations in one run(). */
  operations: number;
  /** Bytes of payload in one operation, for a rate. */
  bytes?: number;
  /** Brings about what run() needs, each time and outside the measured time. */
  prepare?(): void;
  run(): void;
  /** The same after it. */
  settle?(): void;
}

export interface Result {
  name: string;
  nsPerOperation: number;
  operationsPerSecond: number;
  /** Payload bits per second; null for operations without payload. */
  gbps: number | null;
  marginPercent: number;
  samples: number;
}

const MAX_SECONDS = quick ? 0.05 : 1;

/** Runs the cases one after another, those without prepare() with benchmark.js. */
export function bench(setting: Setting, cases: readonly Case[]): void {
  const results: Result[] = [];
  const width = Math.max(...cases.map(({ name }) => name.length));
  for (const one of cases) {
    const { name, operations, bytes } = one;
    const timed = one.prepare === undefined ? withBenchmark(one) : inPhases(one);
    const operationsPerSecond = timed.hz * operations;
    const result: Result = {
      name,
      nsPerOperation: 1e9 / operationsPerSecond,
      operationsPerSecond,
      gbps: bytes === undefined ? null : (operationsPerSecond * bytes * 8) / 1e9,
      marginPercent: timed.marginPercent,
      samples: timed.samples,
    };
    results.push(result);
    if (json) continue;
    const rate = result.gbps === null ? '' : `  ${result.gbps.toFixed(1).padStart(6)} Gbps`;
    const time = `${result.nsPerOperation.toFixed(1).padStart(9)} ns`;
    console.log(`${name.padEnd(width)}  ${time} ±${result.marginPercent.toFixed(1).padStart(4)} %${rate}`);
  }
  if (json) printJson(setting, results);
}

interface Timed {
  /** Calls of run() per second. */
  hz: number;
  /** Half the 95 % confidence interval of the mean. */
  marginPercent: number;
  samples: number;
}

function withBenchmark({ name, run }: Case): Timed {
  const benchmark = new Benchmark(name, run, { maxTime: MAX_SECONDS });
  benchmark.run();
  // benchmark.js keeps what a case throws to itself.
  const { error } = benchmark as unknown as { error?: Error };
  if (error !== undefined) throw error;
  const { rme, sample } = benchmark.stats;
  return { hz: benchmark.hz, marginPercent: rme, samples: sample.length };
}

const WARM_UP_CALLS = quick ? 10 : 500;
const SAMPLE_SECONDS = MAX_SECONDS / 50;

/** benchmark.js knows no phases between calls: here the clock runs during run() alone. */
function inPhases({ prepare, run, settle }: Case): Timed {
  const call = (): number => {
    prepare?.();
    const start = performance.now();
    run();
    const spent = performance.now() - start;
    settle?.();
    return spent;
  };
  for (let i = 0; i < WARM_UP_CALLS; i++) call();
  const means: number[] = [];
  for (const end = performance.now() + MAX_SECONDS * 2000; performance.now() < end || means.length < 2; ) {
    let calls = 0;
    let spent = 0;
    for (; spent < SAMPLE_SECONDS * 1000; calls++) spent += call();
    means.push(spent / calls);
  }
  const mean = means.reduce((sum, value) => sum + value, 0) / means.length;
  const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (means.length - 1);
  const margin = 1.96 * Math.sqrt(variance / means.length);
  return { hz: 1000 / mean, marginPercent: (margin / mean) * 100, samples: means.length };
}

/** A figure of all rounds. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

export function printTable(header: readonly string[], rows: readonly (readonly string[])[], leftColumns = 1): void {
  console.log(`\n${table(header, rows, leftColumns)}`);
}
