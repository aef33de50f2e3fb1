import type { Histogram } from 'hdr-histogram-js';
import { percentileUs, toHistogram } from './histogram.js';
import type { ClientFigures, EndInfo, Mode, Placement, RunRecord, RunResult, StackName, Usage } from './types.js';

// From what a run measured to rows, and from the rows of all rounds to one figure each.

export interface Contender {
  stack: StackName;
  mode: Mode;
  placement: Placement;
}

export interface Cell {
  sizeBytes: number;
  depth: number;
  connections: number;
}

export const contenderName = (c: Contender): string =>
  c.stack === 'kernel' ? `kernel${c.mode === 'rpc' ? ' rpc' : ''} (${c.placement})` : `lunet ${c.mode}`;

export const sizeText = (bytes: number): string =>
  bytes >= 1024 && bytes % 1024 === 0 ? `${bytes / 1024} KiB` : `${bytes} B`;

export function recordOf(
  contender: Contender,
  cell: Cell,
  round: number,
  info: EndInfo,
  figures: ClientFigures,
  usage: Usage,
): RunRecord {
  const { seconds, rpcs, errors, latencyNs } = figures;
  const histogram = toHistogram(latencyNs);
  const kernel = contender.stack === 'kernel';
  const rpcPerSecond = seconds > 0 ? rpcs / seconds : 0;
  return {
    latencyNs,
    result: {
      ...contender,
      baseline: false,
      link: info.link,
      driver: info.driver,
      round,
      ...cell,
      threads: 1,
      seconds,
      rpcs,
      rpcPerSecond,
      gbps: (rpcPerSecond * cell.sizeBytes * 8) / 1e9,
      p50Us: percentileUs(histogram, 50),
      p90Us: percentileUs(histogram, 90),
      p99Us: percentileUs(histogram, 99),
      p999Us: percentileUs(histogram, 99.9),
      // The kernel copies a payload into the socket and out of it, for the request and for the response.
      copiedBytes: kernel ? 4 * cell.sizeBytes * rpcs : usage.copiedBytes,
      copiedBytesSource: kernel ? 'computed' : 'counted',
      driverCopies: info.driverCopies,
      retransmits: usage.retransmits,
      errors,
      cpuSeconds: usage.cpuSeconds,
      mtu: info.mtu,
      offloads: info.offloads,
      hugepages: info.hugepages,
    },
  };
}

export function failedRecord(
  contender: Contender,
  cell: Cell,
  round: number,
  info: EndInfo | undefined,
  link: string,
  error: string,
): RunRecord {
  const known: EndInfo = info ?? {
    port: 0,
    link: contender.stack === 'kernel' ? 'loopback' : link,
    driver: 'none',
    mtu: 0,
    offloads: 'not known',
    hugepages: false,
    driverCopies: 'not known',
  };
  const figures: ClientFigures = { seconds: 0, rpcs: 0, errors: 1, latencyNs: [] };
  const record = recordOf(contender, cell, round, known, figures, { cpuSeconds: 0, copiedBytes: 0, retransmits: 0 });
  return { ...record, result: { ...record.result, error } };
}

export const median = (values: readonly number[]): number => {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const mid = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
};

const cellKey = (cell: Cell): string => `${cell.sizeBytes}/${cell.depth}/${cell.connections}`;

/** In every cell the kernel with the highest median RPC/s, of its placements and modes, becomes the baseline. */
export function markBaseline(results: RunResult[]): void {
  const kernel = results.filter((result) => result.stack === 'kernel' && result.error === undefined);
  for (const key of new Set(kernel.map(cellKey))) {
    const inCell = kernel.filter((result) => cellKey(result) === key);
    const speed = (name: string): number =>
      median(inCell.filter((result) => contenderName(result) === name).map((result) => result.rpcPerSecond));
    const best = [...new Set(inCell.map(contenderName))].sort((a, b) => speed(b) - speed(a))[0];
    for (const result of inCell) result.baseline = contenderName(result) === best;
  }
}

/** All rounds of one contender in one cell: medians, and sums of what should not happen. */
export interface Summary extends Contender {
  name: string;
  baseline: boolean;
  link: string;
  rounds: number;
  rpcPerSecond: number;
  /** Slowest and fastest round. */
  rpcPerSecondRange: readonly [number, number];
  gbps: number;
  p50Us: number;
  p90Us: number;
  p99Us: number;
  p999Us: number;
  cpuSeconds: number;
  seconds: number;
  copiedBytes: number;
  retransmits: number;
  errors: number;
  error: string | undefined;
  histogram: Histogram;
  /** Against the kernel's baseline in the same cell; NaN without one. */
  rpcRatio: number;
  p99Ratio: number;
}

export interface CellSummary extends Cell {
  entries: Summary[];
}

/** Groups records by cell, in the order they were asked for, contenders in the order of their first run. */
export function summarize(records: readonly RunRecord[]): CellSummary[] {
  const cells = new Map<string, CellSummary>();
  for (const { result } of records) {
    const { sizeBytes, depth, connections } = result;
    const key = cellKey(result);
    if (!cells.has(key)) cells.set(key, { sizeBytes, depth, connections, entries: [] });
  }
  for (const [key, cell] of cells) {
    const inCell = records.filter(({ result }) => cellKey(result) === key);
    for (const name of new Set(inCell.map(({ result }) => contenderName(result)))) {
      cell.entries.push(
        summaryOf(
          name,
          inCell.filter(({ result }) => contenderName(result) === name),
        ),
      );
    }
    const baseline = cell.entries.find((entry) => entry.baseline);
    for (const entry of cell.entries) {
      entry.rpcRatio = baseline === undefined ? Number.NaN : entry.rpcPerSecond / baseline.rpcPerSecond;
      entry.p99Ratio = baseline === undefined ? Number.NaN : entry.p99Us / baseline.p99Us;
    }
  }
  return [...cells.values()];
}

function summaryOf(name: string, records: readonly RunRecord[]): Summary {
  const results = records.map((record) => record.result);
  const good = results.filter((result) => result.error === undefined);
  const middle = (pick: (result: RunResult) => number | null): number =>
    median(good.map(pick).filter((value): value is number => value !== null));
  const sum = (pick: (result: RunResult) => number): number => results.reduce((total, r) => total + pick(r), 0);
  const speeds = good.map((result) => result.rpcPerSecond);
  const { stack, mode, placement, link } = results[0];
  return {
    stack,
    mode,
    placement,
    name,
    link,
    baseline: results.some((result) => result.baseline),
    rounds: results.length,
    rpcPerSecond: middle((r) => r.rpcPerSecond),
    rpcPerSecondRange: [Math.min(...speeds), Math.max(...speeds)],
    gbps: middle((r) => r.gbps),
    p50Us: middle((r) => r.p50Us),
    p90Us: middle((r) => r.p90Us),
    p99Us: middle((r) => r.p99Us),
    p999Us: middle((r) => r.p999Us),
    cpuSeconds: middle((r) => r.cpuSeconds),
    seconds: middle((r) => r.seconds),
    copiedBytes: sum((r) => r.copiedBytes),
    retransmits: sum((r) => r.retransmits),
    errors: sum((r) => r.errors),
    error: results.find((result) => result.error !== undefined)?.error,
    histogram: toHistogram(...records.map((record) => record.latencyNs)),
    rpcRatio: Number.NaN,
    p99Ratio: Number.NaN,
  };
}
