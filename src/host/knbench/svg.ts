import type { Histogram } from 'hdr-histogram-js';
import { count } from './format.js';
import type { Summary } from './results.js';

// The report's charts: plain SVG, coloured by CSS classes so that one drawing serves light and dark.

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c] ?? c);

/** The CSS class of a contender; the kernel's other programs and placements are drawn fainter. */
export function seriesClass(entry: Summary): string {
  if (entry.stack === 'lunet') return entry.mode === 'zc' ? 'zc' : 'copy';
  return entry.baseline ? 'kernel' : 'kernel-other';
}

const n = (value: number): string => value.toFixed(1);

const BAR_WIDTH = 500;
const BAR_LABEL = 118;
const BAR_VALUE = 130;
const BAR_STEP = 30;
const BAR_HEIGHT = 18;

/** Horizontal bars of RPC/s from zero; the thin line spans the slowest and the fastest round. */
export function throughputBars(entries: readonly Summary[]): string {
  const shown = entries.filter((entry) => Number.isFinite(entry.rpcPerSecond));
  const most = Math.max(1, ...shown.map((entry) => entry.rpcPerSecondRange[1]));
  const scale = (BAR_WIDTH - BAR_LABEL - BAR_VALUE) / most;
  const rows = shown.map((entry, i) => {
    const y = i * BAR_STEP + 4;
    const mid = y + BAR_HEIGHT / 2;
    const [low, high] = entry.rpcPerSecondRange;
    const end = BAR_LABEL + entry.rpcPerSecond * scale;
    const textX = BAR_LABEL + high * scale + 7;
    const tip = `${entry.name}: ${count(entry.rpcPerSecond)} RPC/s, rounds ${count(low)} to ${count(high)}, ${entry.gbps.toFixed(2)} Gbps each way`;
    return `<g class="s-${seriesClass(entry)}"><title>${escapeHtml(tip)}</title>
<text class="label" x="${BAR_LABEL - 8}" y="${mid}" text-anchor="end" dominant-baseline="central">${escapeHtml(entry.name)}</text>
<rect class="fill" x="${BAR_LABEL}" y="${y}" width="${n(Math.max(1, end - BAR_LABEL))}" height="${BAR_HEIGHT}" rx="2"/>
<path class="range" d="M${n(BAR_LABEL + low * scale)} ${mid}H${n(BAR_LABEL + high * scale)}"/>
<text class="value" x="${n(textX)}" y="${mid}" dominant-baseline="central">${count(entry.rpcPerSecond)}<tspan class="dim" dx="6">${entry.gbps.toFixed(2)} Gbps</tspan></text></g>`;
  });
  const height = shown.length * BAR_STEP;
  return `<svg viewBox="0 0 ${BAR_WIDTH} ${height}" role="img" aria-label="RPCs per second">
<path class="axis" d="M${BAR_LABEL} 0V${height}"/>
${rows.join('\n')}</svg>`;
}

const CDF_WIDTH = 500;
const CDF_HEIGHT = 250;
const LEFT = 44;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 30;
/** The axis of percentiles is one of nines: tails are what a latency distribution is looked at for. */
const TICKS: readonly (readonly [number, string])[] = [
  [0, '0'],
  [50, '50 %'],
  [90, '90 %'],
  [99, '99 %'],
  [99.9, '99.9 %'],
];
const MAX_NINES = 3.3;
const nines = (percentile: number): number => Math.min(MAX_NINES, -Math.log10(1 - Math.min(percentile, 99.99) / 100));

/** Points of the distribution: from 0 to past 99.9 %, closer together towards the tail. */
function curve(histogram: Histogram): (readonly [number, number])[] {
  const steps = 160;
  return Array.from({ length: steps + 1 }, (_, i) => {
    const atNines = (i / steps) * MAX_NINES;
    const percentile = (1 - 10 ** -atNines) * 100;
    return [atNines, Math.max(1, histogram.getValueAtPercentile(percentile)) / 1000] as const;
  });
}

/** Latency (log scale) against percentile, one line per contender. `classOf` chooses its colour. */
export function latencyCdf(entries: readonly Summary[], classOf: (entry: Summary) => string = seriesClass): string {
  const curves = entries
    .filter((entry) => entry.histogram.totalCount > 0)
    .map((entry) => ({ entry, points: curve(entry.histogram) }));
  if (curves.length === 0) return '<p class="dim">no data</p>';
  const values = curves.flatMap(({ points }) => points.map(([, us]) => us));
  const low = Math.log10(Math.min(...values)) - 0.05;
  const high = Math.log10(Math.max(...values)) + 0.05;
  const x = (us: number): number => LEFT + ((Math.log10(us) - low) / (high - low)) * (CDF_WIDTH - LEFT - RIGHT);
  const y = (atNines: number): number => CDF_HEIGHT - BOTTOM - (atNines / MAX_NINES) * (CDF_HEIGHT - TOP - BOTTOM);
  const rows = TICKS.map(([percentile, text]) => {
    const at = n(y(nines(percentile)));
    return `<path class="grid" d="M${LEFT} ${at}H${CDF_WIDTH - RIGHT}"/><text class="tick" x="${LEFT - 6}" y="${at}" text-anchor="end" dominant-baseline="central">${text}</text>`;
  });
  const columns = microTicks(low, high).map((us) => {
    const at = n(x(us));
    return `<path class="grid" d="M${at} ${TOP}V${CDF_HEIGHT - BOTTOM}"/><text class="tick" x="${at}" y="${CDF_HEIGHT - BOTTOM + 14}" text-anchor="middle">${microText(us)}</text>`;
  });
  const lines = curves.map(({ entry, points }) => {
    const path = points.map(([atNines, us], i) => `${i === 0 ? 'M' : 'L'}${n(x(us))} ${n(y(atNines))}`).join('');
    const tip = `${entry.name}: p50 ${entry.p50Us.toFixed(1)} µs, p99 ${entry.p99Us.toFixed(1)} µs, p99.9 ${entry.p999Us.toFixed(1)} µs`;
    return `<g class="s-${classOf(entry)}"><title>${escapeHtml(tip)}</title><path class="line" d="${path}"/></g>`;
  });
  return `<svg viewBox="0 0 ${CDF_WIDTH} ${CDF_HEIGHT}" role="img" aria-label="latency distribution">
${rows.join('')}${columns.join('')}
${lines.reverse().join('\n')}</svg>`;
}

/** Powers of ten; with 2 and 5 between them where the range is short. */
function microTicks(low: number, high: number): number[] {
  const factors = high - low > 2.2 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const factor of factors) {
      const us = factor * 10 ** power;
      if (Math.log10(us) >= low && Math.log10(us) <= high) ticks.push(us);
    }
  }
  return ticks;
}

function microText(us: number): string {
  if (us >= 1e6) return `${us / 1e6} s`;
  if (us >= 1000) return `${us / 1000} ms`;
  return `${Number(us.toPrecision(2))} µs`;
}
