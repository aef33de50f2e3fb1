import { type CellSummary, contenderName, type Summary, sizeText } from './results.js';
import type { RunRecord } from './types.js';

// Results as rows of text.

export function count(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)} k`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(1)} k`;
  return value.toFixed(0);
}

export const micros = (value: number): string =>
  Number.isFinite(value) ? (value >= 100 ? value.toFixed(0) : value.toFixed(1)) : '–';

export const ratio = (value: number): string =>
  Number.isFinite(value) ? `${value >= 10 ? value.toFixed(0) : value.toFixed(2)}×` : '–';

/** Least and most: `61 k–64 k`. */
export const span = ([low, high]: readonly [number, number], text: (value: number) => string): string =>
  Number.isFinite(low) ? `${text(low)}–${text(high)}` : '–';

export function bytes(value: number): string {
  if (value === 0) return '0';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${(value / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

const fixed = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : '–');

export const SUMMARY_HEADER: readonly string[] = [
  'message',
  'iodepth',
  'stack',
  'RPC/s',
  'min–max',
  'ratio',
  'p50 µs',
  'p99 µs',
  'min–max',
  'ratio',
  'p99.9 µs',
  'Gbps',
  'copied',
  'CPU s',
  'retr',
  'err',
];

/** Columns of the header that hold text. */
export const SUMMARY_TEXT_COLUMNS = 3;

/** Ratios are against the kernel at its best on a comparable wire, whose row says 1. Ranges are those of the rounds. */
export function summaryRow(cell: CellSummary, entry: Summary): string[] {
  const onBaseline = entry.baseline ? '1' : undefined;
  return [
    `${sizeText(cell.sizeBytes)}${cell.connections > 1 ? ` × ${cell.connections} conn.` : ''}`,
    String(cell.depth),
    entry.name,
    count(entry.rpcPerSecond),
    span(entry.rpcPerSecondRange, count),
    onBaseline ?? ratio(entry.rpcRatio),
    micros(entry.p50Us),
    micros(entry.p99Us),
    span(entry.p99UsRange, micros),
    onBaseline ?? ratio(entry.p99Ratio),
    micros(entry.p999Us),
    fixed(entry.gbps, 2),
    bytes(entry.copiedBytes),
    fixed(entry.cpuSeconds, 2),
    String(entry.retransmits),
    String(entry.errors),
  ];
}

/** A line per stack and wire: link, MTU, offloads, hugepages, CPUs, threads, and what its driver copies; then warnings. */
export function conditionLines(records: readonly RunRecord[]): string[] {
  const lines = new Map<string, Set<string>>();
  for (const { result } of records) {
    if (result.error !== undefined) continue;
    const { stack, wire, link, driver, mtu, offloads, hugepages, driverCopies, placement, threads } = result;
    // The socket path of a memif says nothing, and is another one every time.
    const name = stack === 'lunet' ? `${link.split(':')[0]} (${driver})` : wire === 'direct' ? link : `veth (${link})`;
    const pages = stack === 'lunet' ? `, ${hugepages ? 'on hugepages' : 'without hugepages'}` : '';
    const line = `${stack}: ${name}, MTU ${mtu}, offloads: ${offloads}${pages}; copies per payload byte: ${driverCopies}`;
    const where = threads === 1 ? placement : `${placement} for each of ${threads} threads`;
    lines.set(line, (lines.get(line) ?? new Set()).add(where));
  }
  const conditions = [...lines].map(([line, placements]) => `${line}; on ${[...placements].join(' and on ')}`);
  return [...conditions, ...warningLines(records)];
}

/** Warnings by text, each once, with whom they are about. */
function warningLines(records: readonly RunRecord[]): string[] {
  const names = new Map<string, Set<string>>();
  for (const { result } of records) {
    const { warning } = result;
    if (warning !== undefined) names.set(warning, (names.get(warning) ?? new Set()).add(contenderName(result)));
  }
  return [...names].map(([text, about]) => `warning: ${[...about].join(', ')}: ${text}`);
}

/** Errors by text, each once, with how often it came. */
export function errorLines(records: readonly RunRecord[]): string[] {
  const seen = new Map<string, number>();
  for (const { result } of records) {
    if (result.error !== undefined) seen.set(result.error, (seen.get(result.error) ?? 0) + 1);
  }
  return [...seen].map(([text, times]) => `${times} ${times === 1 ? 'run' : 'runs'} failed: ${text}`);
}
