import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { conditionLines, errorLines, SUMMARY_HEADER, SUMMARY_TEXT_COLUMNS, summaryRow } from '../knbench/format.js';
import { reportHtml } from '../knbench/report.js';
import { summarize } from '../knbench/results.js';
import { allowedCpus, type RunOptions, runMatrix } from '../knbench/run.js';
import { type CommandSpec, helpText, integer, parseCommand } from './args.js';
import { print, progressLine, table } from './output.js';
import { probeEnvironment } from './probe.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..');
const REPORT = join(ROOT, 'build', 'demo-report.html');

// 72 runs (two lunet modes, two kernel placements, six cells, three rounds) in about 90 s, starts included.
const ROUNDS = 3;
const SECONDS = 0.8;
const WARMUP_SECONDS = 0.3;

const spec: CommandSpec = {
  name: 'demo',
  summary: 'RPCs on lunet against the kernel’s TCP on loopback: a table, and an HTML report with distributions.',
  options: {
    mtu: { value: 'BYTES', help: 'MTU of lunet’s link; loopback has 65536', default: '9000' },
    checksums: { help: 'lunet computes and verifies checksums, which the kernel does not on loopback' },
    report: { value: 'FILE', help: 'where the HTML report goes', default: 'build/demo-report.html' },
    json: { help: 'print an array of one object per run instead of the table' },
  },
};

const plan: Omit<RunOptions, 'links' | 'cpus' | 'mtu' | 'trustLink'> = {
  stacks: [
    { stack: 'lunet', mode: 'zc' },
    { stack: 'lunet', mode: 'copy' },
    { stack: 'kernel', mode: 'copy' },
  ],
  sizesBytes: [64, 4096, 65536],
  depths: [1, 16],
  connections: [1],
  seconds: SECONDS,
  warmupSeconds: WARMUP_SECONDS,
  rounds: ROUNDS,
  verify: false,
};

type Settings = Required<Pick<RunOptions, 'cpus' | 'mtu' | 'trustLink'>>;

/** memif where it works, tried with a short run; else the memory link, and why. */
async function bestLink(settings: Settings): Promise<{ link: string; why: string | undefined }> {
  const { addon } = probeEnvironment();
  if (!addon.ok) return { link: 'memory:', why: `the shim (native addon) is missing: ${addon.detail}` };
  const [trial] = await runMatrix({
    ...plan,
    stacks: plan.stacks.slice(0, 1),
    sizesBytes: [64],
    depths: [1],
    seconds: 0.05,
    warmupSeconds: 0.05,
    rounds: 1,
    links: ['memif'],
    ...settings,
  });
  const failure = trial.result.error;
  return failure === undefined
    ? { link: 'memif', why: undefined }
    : { link: 'memory:', why: `memif does not run here: ${failure.split('\n')[0]}` };
}

/** Runs the command; resolves to its exit status. */
export async function demo(args: readonly string[]): Promise<number> {
  const values = parseCommand(spec, args);
  if (values === 'help') {
    await print(helpText(spec));
    return 0;
  }
  const json = values.flag('json');
  const given = values.required('report');
  const path = given === spec.options.report.default ? REPORT : given;
  const settings: Settings = {
    cpus: allowedCpus().slice(0, 2),
    mtu: integer(values.required('mtu'), 'mtu', 576, 65535),
    trustLink: !values.flag('checksums'),
  };
  const begin = Date.now();
  const { link, why } = await bestLink(settings);
  if (why !== undefined) {
    const text = `${why}. Running on the in-memory link, both ends of each stack in one thread; see lunet doctor.`;
    process.stderr.write(`${text}\n`);
  }
  const progress = progressLine();
  const records = await runMatrix({
    ...plan,
    ...settings,
    links: [link],
    onProgress: ({ done, total, what }) => {
      const elapsed = Math.round((Date.now() - begin) / 1000);
      progress.show(`lunet demo: ${done}/${total}, ${elapsed} s: ${what}`);
    },
  }).finally(() => progress.end());

  const cells = summarize(records);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, reportHtml(records));
  if (json) {
    await print(
      JSON.stringify(
        records.map((record) => record.result),
        null,
        2,
      ),
    );
  } else {
    const rows = cells.flatMap((cell) =>
      cell.entries
        .filter((entry) => entry.stack === 'lunet' || entry.baseline || Number.isNaN(entry.rpcRatio))
        .map((entry) => summaryRow(cell, entry)),
    );
    const cpu = records.find(({ result }) => result.error === undefined)?.result.seconds.toFixed(1);
    await print(
      [
        table(SUMMARY_HEADER, rows, SUMMARY_TEXT_COLUMNS),
        '',
        `Medians of ${ROUNDS} interleaved rounds of ${cpu} s. Ratios are against the kernel at its better placement, named in its row.`,
        'copied: payload bytes, all rounds; for the kernel computed (into and out of the socket at both ends).',
        'CPU s: both ends of one round; lunet polls, so its processes are always busy.',
        ...conditionLines(records),
        ...errorLines(records),
        `report: ${path}`,
      ].join('\n'),
    );
  }
  return records.every(({ result }) => result.errors === 0) ? 0 : 1;
}
