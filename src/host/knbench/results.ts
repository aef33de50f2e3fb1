import type { Histogram } from 'hdr-histogram-js';
import { mergeSnapshots, percentileUs, toHistogram } from './histogram.js';
import type { ClientFigures, EndInfo, Mode, Placement, RunRecord, RunResult, StackName, Usage, Wire } from './types.js';

// From what a run measured to rows, and from the rows of all rounds to one figure each.

export interface Contender {
  stack: StackName;
  mode: Mode;
  placement: Placement;
  wire: Wire;
}

export interface Cell {
  sizeBytes: number;
  depth: number;
  /** Of each thread. */
  connections: number;
}

/** `lunet zc`, `lunet zc (veth)`, `kernel (one CPU)` with node:net, `kernel epoll (one CPU, bare veth)`. */
export function contenderName({ stack, mode, placement, wire }: Contender): string {
  const where = wire === 'direct' ? [] : [wire];
  const notes = stack === 'kernel' ? [placement, ...where] : where;
  const name = stack === 'kernel' && mode === 'copy' ? stack : `${stack} ${mode}`;
  return notes.length === 0 ? name : `${name} (${notes.join(', ')})`;
}

export const sizeText = (bytes: number): string =>
  bytes >= 1024 && bytes % 1024 === 0 ? `${bytes / 1024} KiB` : `${bytes} B`;

/** Threads measured at the same time: requests and their rate are sums, the time is the longest. */
function together(lanes: readonly ClientFigures[]): ClientFigures & { rpcPerSecond: number } {
  const sum = (pick: (lane: ClientFigures) => number): number => lanes.reduce((total, lane) => total + pick(lane), 0);
  return {
    seconds: Math.max(...lanes.map((lane) => lane.seconds)),
    rpcs: sum((lane) => lane.rpcs),
    rpcPerSecond: sum((lane) => (lane.seconds > 0 ? lane.rpcs / lane.seconds : 0)),
    errors: sum((lane) => lane.errors),
    latencyNs: mergeSnapshots(...lanes.map((lane) => lane.latencyNs)),
  };
}

/** What several processes spent. @param oneCounter They read their retransmissions from one counter, which counts once. */
export function mergeUsage(usages: readonly Usage[], oneCounter: boolean): Usage {
  const sum = (key: keyof Usage): number => usages.reduce((total, usage) => total + usage[key], 0);
  return {
    cpuSeconds: sum('cpuSeconds'),
    copiedBytes: sum('copiedBytes'),
    retransmits: oneCounter ? Math.max(...usages.map(({ retransmits }) => retransmits)) : sum('retransmits'),
  };
}

/** @param lanes What the client of each thread measured. @param usage Of all processes together. */
export function recordOf(
  contender: Contender,
  cell: Cell,
  round: number,
  info: EndInfo,
  lanes: readonly ClientFigures[],
  usage: Usage,
): RunRecord {
  const { seconds, rpcs, rpcPerSecond, errors, latencyNs } = together(lanes);
  const histogram = toHistogram(latencyNs);
  const kernel = contender.stack === 'kernel';
  return {
    latencyNs,
    result: {
      ...contender,
      baseline: false,
      link: info.link,
      driver: info.driver,
      round,
      ...cell,
      threads: lanes.length,
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
  threads: number,
  error: string,
): RunRecord {
  const known: EndInfo = info ?? {
    port: 0,
    link: contender.wire !== 'direct' ? contender.wire : contender.stack === 'kernel' ? 'loopback' : link,
    driver: 'none',
    mtu: 0,
    offloads: 'not known',
    hugepages: false,
    driverCopies: 'not known',
  };
  const figures: ClientFigures = { seconds: 0, rpcs: 0, errors: 1, latencyNs: [] };
  const record = recordOf(contender, cell, round, known, [figures], { cpuSeconds: 0, copiedBytes: 0, retransmits: 0 });
  return { ...record, result: { ...record.result, threads, error } };
}

export const median = (values: readonly number[]): number => {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const mid = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
};

const cellKey = (cell: Cell): string => `${cell.sizeBytes}/${cell.depth}/${cell.connections}`;

/** Like is compared with like: shared memory with the loopback, AF_XDP with the kernel on the same pair of interfaces. */
const comparable = (a: { wire: Wire }, b: { wire: Wire }): boolean => (a.wire === 'direct') === (b.wire === 'direct');

/** In every cell the kernel's program and placement with the highest median RPC/s becomes the baseline of its wire. */
export function markBaseline(results: RunResult[]): void {
  const kernel = results.filter((result) => result.stack === 'kernel' && result.error === undefined);
  for (const first of kernel) {
    const group = kernel.filter((result) => cellKey(result) === cellKey(first) && comparable(result, first));
    const speed = (name: string): number =>
      median(group.filter((result) => contenderName(result) === name).map((result) => result.rpcPerSecond));
    const best = [...new Set(group.map(contenderName))].sort((a, b) => speed(b) - speed(a))[0];
    first.baseline = contenderName(first) === best;
  }
}

/** All rounds of one contender in one cell: medians, and sums of what should not happen. */
export interface Summary extends Contender {
  name: string;
  baseline: boolean;
  /** The better of its placements on this wire. */
  bestPlacement: boolean;
  link: string;
  threads: number;
  rounds: number;
  rpcPerSecond: number;
  /** Slowest and fastest round. */
  rpcPerSecondRange: readonly [number, number];
  gbps: number;
  p50Us: number;
  p50UsRange: readonly [number, number];
  p90Us: number;
  p99Us: number;
  p99UsRange: readonly [number, number];
  p999Us: number;
  cpuSeconds: number;
  seconds: number;
  copiedBytes: number;
  retransmits: number;
  errors: number;
  error: string | undefined;
  warning: string | undefined;
  histogram: Histogram;
  /** Against the kernel's baseline in the same cell on a comparable wire; NaN without one. */
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
    for (const entry of cell.entries) {
      const siblings = cell.entries.filter(
        ({ stack, mode, wire }) => stack === entry.stack && mode === entry.mode && wire === entry.wire,
      );
      entry.bestPlacement = siblings.every(({ rpcPerSecond }) => !(rpcPerSecond > entry.rpcPerSecond));
      const baseline = cell.entries.find((other) => other.baseline && comparable(other, entry));
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
  const range = (pick: (result: RunResult) => number | null): readonly [number, number] => {
    const values = good.map(pick).filter((value): value is number => value !== null);
    return values.length > 0 ? [Math.min(...values), Math.max(...values)] : [Number.NaN, Number.NaN];
  };
  const { stack, mode, placement, wire, link, threads } = results[0];
  return {
    stack,
    mode,
    placement,
    wire,
    name,
    link,
    threads,
    baseline: results.some((result) => result.baseline),
    bestPlacement: false,
    rounds: results.length,
    rpcPerSecond: middle((r) => r.rpcPerSecond),
    rpcPerSecondRange: range((r) => r.rpcPerSecond),
    gbps: middle((r) => r.gbps),
    p50Us: middle((r) => r.p50Us),
    p50UsRange: range((r) => r.p50Us),
    p90Us: middle((r) => r.p90Us),
    p99Us: middle((r) => r.p99Us),
    p99UsRange: range((r) => r.p99Us),
    p999Us: middle((r) => r.p999Us),
    cpuSeconds: middle((r) => r.cpuSeconds),
    seconds: middle((r) => r.seconds),
    copiedBytes: sum((r) => r.copiedBytes),
    retransmits: sum((r) => r.retransmits),
    errors: sum((r) => r.errors),
    error: results.find((result) => result.error !== undefined)?.error,
    warning: good.find((result) => result.warning !== undefined)?.warning,
    histogram: toHistogram(...records.map((record) => record.latencyNs)),
    rpcRatio: Number.NaN,
    p99Ratio: Number.NaN,
  };
}

/** One object per contender and cell, as `--medians` prints it: without the distribution, figures that are missing null. */
export function mediansOf(cells: readonly CellSummary[]): object[] {
  return cells.flatMap(({ entries, ...cell }) =>
    entries.map(({ histogram: _distribution, rpcPerSecondRange, p50UsRange, p99UsRange, ...entry }) => ({
      ...cell,
      ...entry,
      rpcPerSecondMin: rpcPerSecondRange[0],
      rpcPerSecondMax: rpcPerSecondRange[1],
      p50UsMin: p50UsRange[0],
      p50UsMax: p50UsRange[1],
      p99UsMin: p99UsRange[0],
      p99UsMax: p99UsRange[1],
    })),
  );
}
