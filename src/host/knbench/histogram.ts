import { build, type Histogram } from 'hdr-histogram-js';

// An HDR histogram with three significant digits over 1 ns … 4.29 s. Recording is on the path that is being
// measured, so it is an index computation and an increment here; percentiles are the library's.
//
// Layout after Tene: values below 2048 have a bucket each; from there on every power of two has 1024 buckets.

const SUB_BITS = 10;
const SUB_COUNT = 1 << SUB_BITS;
const MAX_VALUE = 0xffffffff;
const LENGTH = (32 - SUB_BITS + 1) * SUB_COUNT;

export interface LatencyRecorder {
  /** Counts one latency in nanoseconds. Allocates nothing. Clamps to 4.29 s. */
  record(ns: number): void;
  reset(): void;
  /** Lowest value and count of every bucket in use, in turn. */
  snapshot(): number[];
}

function bucketOf(value: number): number {
  if (value < 2 * SUB_COUNT) return value;
  const shift = 31 - SUB_BITS - Math.clz32(value);
  return shift * SUB_COUNT + (value >>> shift);
}

function lowestOf(index: number): number {
  if (index < 2 * SUB_COUNT) return index;
  const shift = (index >>> SUB_BITS) - 1;
  return (index - shift * SUB_COUNT) * 2 ** shift;
}

export function latencyRecorder(): LatencyRecorder {
  const counts = new Uint32Array(LENGTH);
  return {
    record(ns) {
      const value = ns >= MAX_VALUE ? MAX_VALUE : ns > 0 ? ns >>> 0 : 0;
      counts[bucketOf(value)]++;
    },
    reset() {
      counts.fill(0);
    },
    snapshot() {
      const pairs: number[] = [];
      for (let i = 0; i < LENGTH; i++) if (counts[i] > 0) pairs.push(lowestOf(i), counts[i]);
      return pairs;
    },
  };
}

/** One snapshot of what several recorded. */
export function mergeSnapshots(...snapshots: readonly number[][]): number[] {
  const counts = new Map<number, number>();
  for (const pairs of snapshots) {
    for (let i = 0; i < pairs.length; i += 2) counts.set(pairs[i], (counts.get(pairs[i]) ?? 0) + pairs[i + 1]);
  }
  return [...counts].sort(([a], [b]) => a - b).flat();
}

/** Merges snapshots into one histogram of nanoseconds. */
export function toHistogram(...snapshots: readonly number[][]): Histogram {
  const histogram = build({
    bitBucketSize: 64,
    autoResize: false,
    lowestDiscernibleValue: 1,
    highestTrackableValue: MAX_VALUE,
    numberOfSignificantValueDigits: 3,
  });
  for (const pairs of snapshots) {
    for (let i = 0; i < pairs.length; i += 2) histogram.recordValueWithCount(pairs[i], pairs[i + 1]);
  }
  return histogram;
}

/** Microseconds at a percentile, to the nanosecond; null when nothing was recorded. */
export function percentileUs(histogram: Histogram, percentile: number): number | null {
  return histogram.totalCount === 0 ? null : histogram.getValueAtPercentile(percentile) / 1000;
}
