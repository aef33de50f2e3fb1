import { bytes, conditionLines, errorLines, micros, ratio, SUMMARY_HEADER, summaryRow } from './format.js';
import { type CellSummary, type Summary, sizeText, summarize } from './results.js';
import { escapeHtml, latencyCdf, seriesClass, throughputBars } from './svg.js';
import type { RunRecord } from './types.js';
import { versions, versionsText } from './versions.js';

// One HTML file with everything in it: no script, no font, no address to fetch anything from.

const STYLE = `
:root { color-scheme: light dark; --bg: #fbfbfa; --card: #ffffff; --ink: #1c2024; --dim: #667079; --rule: #e3e5e8;
  --zc: #1f5fd0; --copy: #0c8577; --kernel: #c0561a; --kernel-other: #dfa983; --epoll: #b02a6b; --busy: #7b4fc9; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #14171a; --card: #1c2024; --ink: #e8eaed; --dim: #98a2ab; --rule: #31373d;
    --zc: #74a5ff; --copy: #45c4b3; --kernel: #f3995a; --kernel-other: #8a5a3c; --epoll: #f07fb4; --busy: #b99bf5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1220px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 40px 0 4px; }
h3 { font-size: 14px; margin: 0 0 10px; font-weight: 600; }
p { margin: 0 0 12px; max-width: 78ch; }
.dim { color: var(--dim); fill: var(--dim); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin: 22px 0 8px; }
.tile, .card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 16px 18px; }
.tile b { display: block; font-size: 30px; line-height: 1.15; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--dim); font-size: 13px; }
.cells { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(520px, 100%), 1fr)); gap: 14px; margin-top: 14px; }
svg { display: block; width: 100%; height: auto; font: 11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg text { fill: var(--ink); }
svg .tick, svg .dim { fill: var(--dim); }
svg .tick { font-size: 10.5px; }
svg .value { font-variant-numeric: tabular-nums; font-weight: 600; }
svg .value .dim { font-weight: 400; }
.grid { stroke: var(--rule); fill: none; }
.axis { stroke: var(--dim); fill: none; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.range { stroke: var(--ink); stroke-width: 1.2; fill: none; }
.s-zc .fill { fill: var(--zc); } .s-zc .line { stroke: var(--zc); }
.s-copy .fill { fill: var(--copy); } .s-copy .line { stroke: var(--copy); }
.s-kernel .fill { fill: var(--kernel); } .s-kernel .line { stroke: var(--kernel); }
.s-kernel-other .fill { fill: var(--kernel-other); } .s-kernel-other .line { stroke: var(--kernel-other); stroke-dasharray: 5 4; }
.s-epoll .fill { fill: var(--epoll); } .s-epoll .line { stroke: var(--epoll); }
.s-busy .fill { fill: var(--busy); } .s-busy .line { stroke: var(--busy); }
.bare .line { stroke-dasharray: 5 4; } .whisker { stroke-width: 1.2; opacity: 0.7; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 8px 0 0; padding: 0; list-style: none; font-size: 13px; color: var(--dim); }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 7px; vertical-align: -1px; }
.k-zc { background: var(--zc); } .k-copy { background: var(--copy); } .k-kernel { background: var(--kernel); } .k-kernel-other { background: var(--kernel-other); }
.k-epoll { background: var(--epoll); } .k-busy { background: var(--busy); }
.legend .k-bare { background: repeating-linear-gradient(90deg, var(--dim) 0 4px, transparent 4px 7px); height: 3px; vertical-align: 3px; }
.scroll { overflow-x: auto; margin-top: 14px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
th { color: var(--dim); font-weight: 500; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
.figure th:nth-child(n+2), .figure td:nth-child(n+2) { text-align: right; }
tr.base td { color: var(--kernel); } tr.other td { color: var(--dim); }
tbody tr:first-child td { border-top: 1px solid var(--dim); }
ul.notes { padding-left: 20px; max-width: 100ch; } ul.notes li { margin-bottom: 6px; }
.error { color: #c62f2f; white-space: pre-wrap; }
`;

/** A page with its style, its title and the time. */
export function page(title: string, heading: string, now: Date, content: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${heading}</h1>
<p class="dim">Requests answered with their own bytes over long-lived connections, measured ${now.toISOString().slice(0, 16).replace('T', ' ')} UTC.</p>
${content}
</main>
</body>
</html>
`;
}

/** Renders the report. Records without a kernel baseline have no ratios. */
export function reportHtml(records: readonly RunRecord[], now = new Date()): string {
  const cells = summarize(records);
  const content = `${tiles(cells)}
<h2>Requests per second</h2>
<p class="dim">Median of the rounds; the thin line spans the slowest and the fastest. Every panel has its own scale from zero.</p>
${legend(cells)}
<div class="cells">${cells.map((cell) => card(cell, throughputBars(cell.entries))).join('\n')}</div>
<h2>Latency</h2>
<p class="dim">Share of the requests answered within a time, all rounds together. Both axes are stretched: time is logarithmic, and every nine of the percentile takes the same height.</p>
${legend(cells)}
<div class="cells">${cells.map((cell) => card(cell, latencyCdf(cell.entries))).join('\n')}</div>
<h2>All figures</h2>
${figures(cells)}
<h2>How this was measured</h2>
${notes(records)}`;
  return page('lunet against the kernel', 'lunet against the kernel’s TCP', now, content);
}

/** The headline: 4 KiB at iodepth 1 where it was run, the first cell otherwise. */
function tiles(cells: readonly CellSummary[]): string {
  const cell = cells.find((c) => c.sizeBytes === 4096 && c.depth === 1) ?? cells[0];
  const zc = cell?.entries.find((entry) => entry.mode === 'zc' && entry.stack === 'lunet');
  const kernel = cell?.entries.find((entry) => entry.baseline);
  if (cell === undefined || zc === undefined || kernel === undefined || zc.error !== undefined) return '';
  const where = `${sizeText(cell.sizeBytes)}, iodepth ${cell.depth}`;
  const tile = (value: string, text: string): string =>
    `<div class="tile"><b>${value}</b><span>${escapeHtml(text)}</span></div>`;
  return `<div class="tiles">
${tile(ratio(zc.rpcRatio), `the RPC/s of ${kernel.name}; ${where}, zero copy`)}
${tile(ratio(zc.p99Ratio), `its p99 latency: ${micros(zc.p99Us)} µs against ${micros(kernel.p99Us)} µs`)}
${tile(`${micros(zc.p50Us)} µs`, `median latency, against ${micros(kernel.p50Us)} µs`)}
${tile(bytes(zc.copiedBytes), 'payload bytes copied by core, host and shim in zero-copy mode')}
</div>`;
}

function legend(cells: readonly CellSummary[]): string {
  const names: readonly (readonly [string, string])[] = [
    ['zc', 'lunet, zero copy'],
    ['copy', 'lunet, copying sockets (lunet/net)'],
    ['kernel', 'kernel at its best'],
    ['kernel-other', 'kernel otherwise'],
  ];
  const present = new Set(cells.flatMap((cell) => cell.entries.map(seriesClass)));
  const items = names
    .filter(([key]) => present.has(key))
    .map(([key, text]) => `<li><i class="k-${key}"></i>${text}</li>`);
  return `<ul class="legend">${items.join('')}</ul>`;
}

function card(cell: CellSummary, chart: string): string {
  const connections = cell.connections > 1 ? `, ${cell.connections} connections` : '';
  return `<div class="card"><h3>${sizeText(cell.sizeBytes)}, iodepth ${cell.depth}${connections}</h3>${chart}</div>`;
}

function figures(cells: readonly CellSummary[]): string {
  const head = SUMMARY_HEADER.map((name) => `<th>${escapeHtml(name)}</th>`).join('');
  const rowClass = (entry: Summary): string => (entry.baseline ? 'base' : entry.stack === 'kernel' ? 'other' : '');
  const body = cells.map((cell) => {
    const rows = cell.entries.map((entry) => {
      const columns = summaryRow(cell, entry).map((text) => `<td>${escapeHtml(text)}</td>`);
      return `<tr class="${rowClass(entry)}">${columns.join('')}</tr>`;
    });
    return `<tbody>${rows.join('')}</tbody>`;
  });
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead>${body.join('')}</table></div>`;
}

export function notes(records: readonly RunRecord[]): string {
  const first = records.find(({ result }) => result.error === undefined)?.result;
  const rounds = Math.max(0, ...records.map(({ result }) => result.round));
  const items = [
    ...conditionLines(records),
    `${rounds} rounds of ${first?.seconds.toFixed(1) ?? '–'} s per stack and cell, the stacks in turn, each turn in fresh processes; warm-up excluded.`,
    'Ratios are against the kernel at its best: of its programs and placements (both ends on one CPU or on two) that were run on a comparable wire, the one that answers most requests per second in that cell.',
    'Latency runs from the sending of a request to the last byte of its response, in an HDR histogram of three significant digits.',
    'copied: payload bytes, all rounds. lunet counts what its core, its host and its shim copy; what the driver copies is said above. The kernel’s figure is computed: into the socket and out of it, at both ends.',
    'CPU s: user and system time of both ends in one round. lunet polls: its processes are busy whether there is work or not.',
    `Versions and machine: ${versionsText(versions())}.`,
  ];
  const errors = errorLines(records).map((line) => `<li class="error">${escapeHtml(line)}</li>`);
  return `<ul class="notes">${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('')}${errors.join('')}</ul>`;
}
