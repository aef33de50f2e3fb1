import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type FigurePlan, figureCells, figureJson, figuresOf, figureTable } from '../knbench/figures.js';
import { figuresHtml } from '../knbench/figures-html.js';
import { conditionLines, errorLines } from '../knbench/format.js';
import { mediansOf, summarize } from '../knbench/results.js';
import { type RunOptions, runMatrix } from '../knbench/run.js';
import { versions, versionsText } from '../knbench/versions.js';
import { print, progressLine, table } from './output.js';

// The paper's figures: measured, printed as tables or as JSON, and drawn.

/** Runs the plan and prints it; writes the report. Resolves to the exit status. */
export async function figures(options: RunOptions, plan: FigurePlan, report: string, json: boolean): Promise<number> {
  const progress = progressLine();
  const records = await runMatrix({
    ...options,
    cells: figureCells(plan),
    onProgress: ({ done, total, what }) => progress.show(`knbench figures: ${done}/${total} ${what}`),
  }).finally(() => progress.end());
  mkdirSync(dirname(report), { recursive: true });
  writeFileSync(report, figuresHtml(records));
  const drawn = figuresOf(records);
  const conditions = conditionLines(records);
  if (json) {
    const medians = mediansOf(summarize(records));
    const runs = records.map(({ result }) => result);
    const figuresJson = drawn.map(figureJson);
    await print(
      JSON.stringify({ versions: versions(), conditions, report, figures: figuresJson, medians, runs }, null, 2),
    );
  } else {
    const texts = drawn.flatMap((figure) => {
      const { header, rows } = figureTable(figure);
      return [
        `${figure.title} (Figure ${figure.number} of the paper)`,
        table(header, rows, figure.number === 11 ? 2 : 1),
        '',
      ];
    });
    const { rounds, seconds } = options;
    const how = `Medians of ${rounds} interleaved rounds of ${seconds} s, with the least and the most; the kernel’s programs at their better placement.`;
    const lines = [...texts, how, ...conditions, versionsText(versions()), ...errorLines(records), `report: ${report}`];
    await print(lines.join('\n'));
  }
  return records.every(({ result }) => result.errors === 0) ? 0 : 1;
}
