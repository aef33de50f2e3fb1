import { count } from './format.js';
import { escapeHtml } from './svg.js';

// Lines over a few named places: x in equal steps, y logarithmic, each point with the range of its rounds.

export interface Line {
  name: string;
  /** CSS classes: the first, with `s-` before it, is the colour. */
  className: string;
  points: ({ value: number; low: number; high: number } | undefined)[];
}

const WIDTH = 500;
const HEIGHT = 290;
const LEFT = 54;
const RIGHT = 26;
const TOP = 10;
const BOTTOM = 42;

const n = (value: number): string => value.toFixed(1);
const figureText = (value: number): string => (value >= 10 ? count(value) : String(Number(value.toPrecision(2))));

/** Draws the lines. `xs` names the places, in order. */
export function lineChart(xs: readonly string[], xTitle: string, yTitle: string, lines: readonly Line[]): string {
  const all = lines.flatMap(({ points }) => points.filter((point) => point !== undefined));
  // A round in which nothing was answered has no place on a logarithmic axis: it is drawn at its foot.
  const placed = all.flatMap(({ value, low, high }) => [low, value, high]).filter((value) => value > 0);
  if (placed.length === 0) return '<p class="dim">no data</p>';
  const low = Math.log10(Math.min(...placed)) - 0.05;
  const high = Math.log10(Math.max(...placed)) + 0.05;
  const step = (WIDTH - LEFT - RIGHT) / Math.max(1, xs.length - 1);
  const x = (i: number): number => LEFT + i * step;
  const y = (value: number): number =>
    TOP + ((high - Math.max(low, Math.log10(value))) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const rows = ticks(low, high).map((value) => {
    const at = n(y(value));
    return `<path class="grid" d="M${LEFT} ${at}H${WIDTH - RIGHT}"/><text class="tick" x="${LEFT - 6}" y="${at}" text-anchor="end" dominant-baseline="central">${figureText(value)}</text>`;
  });
  const columns = xs.map(
    (text, i) =>
      `<path class="grid" d="M${n(x(i))} ${TOP}V${HEIGHT - BOTTOM}"/><text class="tick" x="${n(x(i))}" y="${HEIGHT - BOTTOM + 14}" text-anchor="middle">${escapeHtml(text)}</text>`,
  );
  const drawn = lines.map(({ name, className, points }) => {
    const present = points.flatMap((point, i) => (point === undefined ? [] : [{ ...point, x: n(x(i)), text: xs[i] }]));
    const path = present.map((point, i) => `${i === 0 ? 'M' : 'L'}${point.x} ${n(y(point.value))}`).join('');
    const marks = present.map((point) => {
      const tip = `${name}, ${point.text}: ${figureText(point.value)} ${yTitle}, rounds ${figureText(point.low)} to ${figureText(point.high)}`;
      return `<g><title>${escapeHtml(tip)}</title><path class="line whisker" d="M${point.x} ${n(y(point.low))}V${n(y(point.high))}"/><circle class="fill" cx="${point.x}" cy="${n(y(point.value))}" r="3.2"/></g>`;
    });
    return `<g class="s-${className}"><path class="line" d="${path}"/>${marks.join('')}</g>`;
  });
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(`${yTitle} by ${xTitle}`)}">
${rows.join('')}${columns.join('')}
<text class="tick" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escapeHtml(xTitle)}</text>
${drawn.reverse().join('\n')}</svg>`;
}

/** 1, 2 and 5 of every power of ten; only the powers where the range is long. */
function ticks(low: number, high: number): number[] {
  const factors = high - low > 3 ? [1] : high - low > 1.6 ? [1, 3] : [1, 2, 5];
  const found: number[] = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
    }
  }
  return found;
}
