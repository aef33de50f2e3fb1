import { type Figure, figuresOf, figureTable, type Panel, type Series } from './figures.js';
import { errorLines } from './format.js';
import { notes, page } from './report.js';
import { escapeHtml, latencyCdf } from './svg.js';
import { type Line, lineChart } from './svg-lines.js';
import type { RunRecord } from './types.js';

// The paper's figures as one HTML file, with their tables.

/** The CSS class of a stack's colour, and the mark of a wire without offloads. */
function lineClass({ stack, mode, wire }: Pick<Series, 'stack' | 'mode' | 'wire'>): string {
  const colour = stack === 'lunet' ? mode : mode === 'copy' ? 'kernel' : mode;
  return wire === 'bare veth' ? `${colour} bare` : colour;
}

/** Lines of RPC/s times a factor of each place. */
function lines({ series }: Panel, factor: (index: number) => number): Line[] {
  return series.map((one) => ({
    name: one.name,
    className: lineClass(one),
    points: one.points.map((point, i) => {
      if (point === undefined) return undefined;
      const [value, low, high] = [point.rpcPerSecond, ...point.rpcPerSecondRange].map((rate) => rate * factor(i));
      return { value, low, high };
    }),
  }));
}

function charts({ number, xs, xTitle, cells }: Figure, panel: Panel): string {
  if (number === 11) {
    const entries = panel.series.flatMap(({ points: [point] }) => (point === undefined ? [] : [point]));
    return card(panel.title, latencyCdf(entries, lineClass));
  }
  const rates = lineChart(
    xs,
    xTitle,
    'RPC/s',
    lines(panel, () => 1),
  );
  if (number === 10) return card(panel.title, rates);
  const gbpsOfOne = (index: number): number => (cells[index].sizeBytes * 8) / 1e9;
  const gbps = lineChart(xs, xTitle, 'Gbps each way', lines(panel, gbpsOfOne));
  return card(`${panel.title}: RPC/s`, rates) + card(`${panel.title}: Gbps each way`, gbps);
}

const card = (title: string, chart: string): string => `<div class="card"><h3>${escapeHtml(title)}</h3>${chart}</div>`;

function legend(figures: readonly Figure[]): string {
  const names: readonly (readonly [string, string])[] = [
    ['zc', 'lunet, zero copy'],
    ['copy', 'lunet, copying sockets (lunet/net)'],
    ['kernel', 'kernel, node:net'],
    ['epoll', 'kernel, C with epoll'],
    ['busy', 'kernel, C polling'],
    ['bare', 'dashed: veth without offloads'],
  ];
  const all = figures.flatMap(({ panels }) => panels.flatMap(({ series }) => series.map(lineClass)));
  const present = new Set(all.flatMap((name) => name.split(' ')));
  const items = names.filter(([key]) => present.has(key));
  return `<ul class="legend">${items.map(([key, text]) => `<li><i class="k-${key}"></i>${text}</li>`).join('')}</ul>`;
}

function section(figure: Figure): string {
  const { header, rows } = figureTable(figure);
  const head = header.map((name) => `<th>${escapeHtml(name)}</th>`).join('');
  const body = rows.map((row) => `<tr>${row.map((text) => `<td>${escapeHtml(text)}</td>`).join('')}</tr>`).join('');
  return `<h2>${escapeHtml(figure.title)} <span class="dim">(Figure ${figure.number} of the paper)</span></h2>
<p class="dim">Medians of the rounds; whiskers and brackets span the least and the most. The kernel’s programs have in each cell the better of their placements.</p>
<div class="cells">${figure.panels.map((panel) => charts(figure, panel)).join('\n')}</div>
<div class="scroll"><table class="figure"><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

export function figuresHtml(records: readonly RunRecord[], now = new Date()): string {
  const figures = figuresOf(records);
  const failed =
    errorLines(records).length > 0 ? '<p class="error">Some runs failed: see the end of the page.</p>' : '';
  const content = `${failed}${legend(figures)}
${figures.map(section).join('\n')}
<h2>How this was measured</h2>
${notes(records)}`;
  return page('lunet: throughput and latency', 'Throughput and latency of lunet and the kernel’s TCP', now, content);
}
