import { count, micros, span } from './format.js';
import { type Cell, type CellSummary, type Summary, sizeText, summarize } from './results.js';
import type { RunRecord, Wire } from './types.js';

// The figures of the LUNA paper's §8.1.2, in our setting: two ends with a CPU each, one connection, and what a link of
// this machine carries. Throughput by message size (Figure 9), throughput by iodepth (Figure 10), and the distribution of
// latency (Figure 11), for every stack that was run.

/** Figures 10 and 11. */
const SIZE_BYTES = 4096;

export interface FigurePlan {
  sizesBytes: readonly number[];
  depths: readonly number[];
  connections: number;
}

export const paperPlan: FigurePlan = {
  sizesBytes: [64, 256, 1024, 4096, 16384, 65536],
  depths: [1, 2, 4, 8, 16, 32, 64],
  connections: 1,
};

/** The cells of all three figures, each once. */
export function figureCells({ sizesBytes, depths, connections }: FigurePlan): Cell[] {
  const bySize = [...new Set([...sizesBytes, SIZE_BYTES])].sort((a, b) => a - b);
  const byDepth = [...new Set([1, ...depths])].sort((a, b) => a - b).filter((depth) => depth !== 1);
  return [
    ...bySize.map((sizeBytes) => ({ sizeBytes, depth: 1, connections })),
    ...byDepth.map((depth) => ({ sizeBytes: SIZE_BYTES, depth, connections })),
  ];
}

/** One stack on one wire; where it has several placements, the best one of each cell. */
export interface Series {
  name: string;
  stack: Summary['stack'];
  mode: Summary['mode'];
  wire: Wire;
  /** In the order of the figure's cells; undefined where it failed. */
  points: (Summary | undefined)[];
}

/** Stacks on comparable wires: those of the direct link, or those of the veth pair. */
export interface Panel {
  title: string;
  series: Series[];
}

export interface Figure {
  /** As the paper numbers it. */
  number: 9 | 10 | 11;
  title: string;
  xTitle: string;
  xs: string[];
  cells: CellSummary[];
  panels: Panel[];
}

export function figuresOf(records: readonly RunRecord[]): Figure[] {
  const cells = summarize(records);
  const atDepth1 = cells.filter(({ depth }) => depth === 1);
  const at4K = cells.filter(({ sizeBytes }) => sizeBytes === SIZE_BYTES);
  const sizes = (of: readonly CellSummary[]): string[] => of.map(({ sizeBytes }) => sizeText(sizeBytes));
  const both = at4K.filter(({ depth }) => depth === 1);
  const depths = at4K.map(({ depth }) => String(depth));
  return [
    figure(9, 'Throughput by message size, iodepth 1', 'message', sizes(atDepth1), atDepth1),
    figure(10, 'Throughput by iodepth, 4 KiB', 'iodepth', depths, at4K),
    figure(11, 'Latency, 4 KiB, iodepth 1', 'percentile', sizes(both), both),
  ];
}

function figure(number: Figure['number'], title: string, xTitle: string, xs: string[], cells: CellSummary[]): Figure {
  const panels = [
    { title: 'lunet’s link; the kernel on the loopback', series: seriesOf(cells, ['direct']) },
    {
      title: 'A veth pair: lunet through AF_XDP, the kernel on the interfaces',
      series: seriesOf(cells, ['veth', 'bare veth']),
    },
  ];
  return { number, title, xTitle, xs, cells, panels: panels.filter(({ series }) => series.length > 0) };
}

function seriesOf(cells: readonly CellSummary[], wires: readonly Wire[]): Series[] {
  const series = new Map<string, Series>();
  cells.forEach(({ entries }, index) => {
    for (const entry of entries) {
      const { stack, mode, wire } = entry;
      if (!wires.includes(wire)) continue;
      const name = seriesName(entry);
      const one = series.get(name) ?? { name, stack, mode, wire, points: cells.map(() => undefined) };
      series.set(name, one);
      if (entry.bestPlacement && Number.isFinite(entry.rpcPerSecond)) one.points[index] = entry;
    }
  });
  return [...series.values()];
}

function seriesName({ stack, mode, wire }: Summary): string {
  const program = stack === 'kernel' && mode === 'copy' ? 'kernel node:net' : `${stack} ${mode}`;
  if (wire === 'direct') return program;
  return stack === 'lunet'
    ? `${program}, AF_XDP`
    : `${program}, ${wire === 'veth' ? 'with offloads' : 'without offloads'}`;
}

/** A figure's table: a row for each stack, medians with the least and the most of the rounds. */
export function figureTable({ number, xTitle, xs, panels }: Figure): { header: string[]; rows: string[][] } {
  const rows = panels.flatMap(({ series }) => series);
  if (number === 11) {
    return {
      header: ['stack', 'placement', 'p50 µs', 'min–max', 'p90 µs', 'p99 µs', 'min–max', 'p99.9 µs'],
      rows: rows.map(({ name, points: [point] }) =>
        point === undefined
          ? [name]
          : [
              name,
              point.placement,
              micros(point.p50Us),
              span(point.p50UsRange, micros),
              micros(point.p90Us),
              micros(point.p99Us),
              span(point.p99UsRange, micros),
              micros(point.p999Us),
            ],
      ),
    };
  }
  return {
    header: [`RPC/s by ${xTitle}`, ...xs],
    rows: rows.map(({ name, points }) => [
      name,
      ...points.map((point) =>
        point === undefined ? '–' : `${count(point.rpcPerSecond)} (${span(point.rpcPerSecondRange, count)})`,
      ),
    ]),
  };
}

/** Points of the distribution, for --json: share of the requests and the time within which they are answered. */
const PERCENTILES = [1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99];

export function figureJson({ number, title, xTitle, cells, panels }: Figure): object {
  return {
    figure: number,
    title,
    x: xTitle,
    series: panels.flatMap(({ series }) =>
      series.map(({ name, stack, mode, wire, points }) => ({
        name,
        stack,
        mode,
        wire,
        points: points.flatMap((point, i) => (point === undefined ? [] : [pointJson(point, cells[i], number === 11)])),
      })),
    ),
  };
}

function pointJson(point: Summary, { sizeBytes, depth }: CellSummary, distribution: boolean): object {
  const { placement, rounds, rpcPerSecond, rpcPerSecondRange, gbps, p50Us, p50UsRange, p99Us, p99UsRange } = point;
  return {
    sizeBytes,
    depth,
    placement,
    rounds,
    rpcPerSecond: { median: rpcPerSecond, min: rpcPerSecondRange[0], max: rpcPerSecondRange[1] },
    gbps,
    p50Us: { median: p50Us, min: p50UsRange[0], max: p50UsRange[1] },
    p99Us: { median: p99Us, min: p99UsRange[0], max: p99UsRange[1] },
    ...(distribution ? { latencyUs: PERCENTILES.map((p) => [p, point.histogram.getValueAtPercentile(p) / 1000]) } : {}),
  };
}
