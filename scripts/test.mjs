// The test runner: every dist/test/**/*.test.js is a uvu file and runs as a process of its own. The folder decides
// the group: which core builds it runs on, how long it may take, and what it needs of the machine.
//
//   node scripts/test.mjs [--no-setup] [FILTER …]     a filter is a part of the path: unit/tcp
import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { steps } from './build.mjs';
import { findLeaks, snapshot } from './lib/leaks.mjs';
import { at, filesBelow, Missing, StepError } from './lib/step.mjs';
import { killRunning, runTestFile } from './lib/test-file.mjs';

const MINUTE = 60_000;

/**
 * Groups in the order they run; `*` takes every folder that is not named, `alone` names files of a folder that need the
 * whole machine: they run one after another, after the others.
 */
const groups = [
  { folder: 'unit', cores: ['debug', 'release'], limitMs: 5 * MINUTE, parallel: 2 },
  { folder: 'script', cores: ['debug', 'release'], limitMs: 5 * MINUTE, parallel: 2 },
  { folder: '*', cores: ['release'], limitMs: 5 * MINUTE, parallel: 2 },
  { folder: 'sim', cores: ['release'], limitMs: 10 * MINUTE, parallel: 2 },
  { folder: 'fuzz', cores: ['debug', 'release'], limitMs: 15 * MINUTE, parallel: 2 },
  { folder: 'count', cores: ['release'], limitMs: 5 * MINUTE, parallel: 1, needsCounter: true },
  {
    folder: 'native',
    cores: ['release'],
    limitMs: 5 * MINUTE,
    // Most of their time is processes that start. Alone: those that count the machine's free hugepages, and those that measure.
    parallel: 2,
    alone: ['knbench', 'knbench-threads', 'memif', 'worker', 'zones'],
    needsMachine: true,
  },
  {
    folder: 'interop',
    cores: ['release'],
    limitMs: 15 * MINUTE,
    // Most of their time is waiting: for timers, losses, other programs.
    parallel: 2,
    alone: ['bulk', 'congestion', 'idle', 'parallel', 'restart'],
    needsMachine: true,
  },
];

// No test file starts after this, so that the summary always comes before an outer limit would cut the run short.
const BUDGET_MS = Number(process.env.LUNET_TEST_BUDGET_MINUTES ?? 80) * MINUTE;

const started = performance.now();
const totals = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const notRun = [];

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** What keeps the privileged groups from running here, and what of it is a fault of ours. */
async function machineState() {
  const { missingForFullPath, probeEnvironment } = await import(at('dist', 'src', 'host', 'cli', 'probe.js'));
  const environment = probeEnvironment();
  const { addon, clang, dpdk, tools, xdpObject } = environment;
  const missing = [...missingForFullPath(environment), ...(tools.ok ? [] : [tools])];
  // Everything they are built from is there, and yet they are not.
  const broken = [];
  if (!addon.ok && dpdk.ok) broken.push(addon);
  if (!xdpObject.ok && clang.ok) broken.push(xdpObject);
  return { missing: missing.map((finding) => `${finding.name} (${finding.detail})`), broken };
}

/** Builds the programs whose instructions are counted. Returns what is missing for that. */
async function counterMissing() {
  try {
    await steps.count();
    return [];
  } catch (error) {
    if (error instanceof Missing) return [error.message];
    if (!(error instanceof StepError)) throw error;
    fail('count', `${error.message}${error.tail ? `\n${error.tail}` : ''}`);
    return ['the programs that are counted'];
  }
}

function plan(filters) {
  const named = new Set(groups.map((group) => group.folder));
  const files = filesBelow('dist/test', (path) => path.endsWith('.test.js'))
    .map((path) => path.slice('dist/test/'.length))
    .filter((file) => !file.startsWith('helpers/'))
    .filter((file) => filters.length === 0 || filters.some((filter) => `test/${file}`.includes(filter)));
  return groups.map((group) => ({
    ...group,
    files: files.filter((file) => {
      const folder = file.split('/')[0];
      return group.folder === '*' ? !named.has(folder) : folder === group.folder;
    }),
  }));
}

function record(label, result) {
  totals.passed += result.passed;
  totals.failed += result.failed;
  totals.skipped += result.skipped;
  const counts = [`${result.passed} passed`];
  if (result.failed > 0) counts.push(`${result.failed} FAILED`);
  if (result.skipped > 0) counts.push(`${result.skipped} skipped`);
  console.log(
    `${result.failed > 0 ? 'FAIL' : 'ok  '}  ${label.padEnd(52)} ${counts.join(', ')}  ${seconds(result.ms)}`,
  );
  if (result.failed === 0) return;
  failures.push(`${label}${result.reason ? `: ${result.reason}` : ''}`);
  if (result.output) console.log(result.output.replace(/^/gm, '      '));
  if (result.reason) console.log(`      ${result.reason}`);
}

function fail(label, reason) {
  record(label, { passed: 0, failed: 1, skipped: 0, ms: 0, output: '', reason });
}

function sayNotRun(files, missing, hint) {
  const names = files.map((file) => file.replace(/\.test\.js$/, '')).join(' ');
  console.log(`not run for want of ${missing.join(', ')}: ${names}${hint}`);
}

async function runGroup(group) {
  const alone = new Set(group.alone?.map((name) => `${group.folder}/${name}.test.js`));
  await runLanes(group, group.parallel, (file) => !alone.has(file));
  await runLanes(group, 1, (file) => alone.has(file));
}

async function runLanes(group, lanes, isChosen) {
  const queue = group.cores.flatMap((core) => group.files.filter(isChosen).map((file) => ({ file, core })));
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const { file, core } = next;
      const label = `${file.replace(/\.test\.js$/, '')}${group.cores.length > 1 ? ` [${core}]` : ''}`;
      const leftMs = BUDGET_MS - (performance.now() - started);
      if (leftMs <= 0) {
        fail(label, 'not started: the time for all tests is used up');
        continue;
      }
      const limitMs = Math.min(group.limitMs, leftMs);
      const onSlow = (ms) => console.log(`…     ${label} is running (${seconds(ms)})`);
      record(label, await runTestFile(at('dist', 'test', file), { core, limitMs, onSlow }));
    }
  };
  await Promise.all(Array.from({ length: lanes }, worker));
}

async function main(filters) {
  const chosen = plan(filters).filter((group) => group.files.length > 0);
  if (chosen.length === 0) {
    fail('no tests', filters.length > 0 ? `no test file matches ${filters.join(' ')}` : 'dist/test has no test file');
  }
  const machine = await machineState();
  const before = snapshot();
  for (const group of chosen) {
    const counter = group.needsCounter ? await counterMissing() : [];
    if (counter.length > 0) sayNotRun(group.files, counter, '');
    else if (group.needsMachine && machine.missing.length > 0) notRun.push(...group.files);
    else await runGroup(group);
  }
  if (notRun.length > 0) {
    sayNotRun(notRun, machine.missing, ' (lunet doctor says more)');
    for (const { name, detail } of machine.broken) fail(name, `${detail}, although all it is built from is here`);
  }
  const leaks = await findLeaks(before);
  for (const leak of leaks) fail('nothing is left behind', leak);
  if (leaks.length === 0 && chosen.length > 0) {
    record('nothing is left behind', { passed: 1, failed: 0, skipped: 0, ms: 0, output: '' });
  }

  if (failures.length > 0) console.log(`\nfailed:\n${failures.map((line) => `  ${line}`).join('\n')}`);
  if (totals.skipped > 0) console.log(`\n${totals.skipped} skipped`);
  console.log(`\n${seconds(performance.now() - started)}`);
  console.log(`${totals.passed} passed, ${totals.failed} failed`);
  return totals.failed > 0 ? 1 : 0;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    killRunning();
    console.log(`stopped by ${signal}\n${totals.passed} passed, ${totals.failed + 1} failed`);
    process.exit(1);
  });
}

const args = process.argv.slice(2);
const filters = args.filter((arg) => arg !== '--no-setup');
const setUp =
  filters.length < args.length ||
  spawnSync(process.execPath, [at('scripts', 'setup.mjs')], { stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
if (setUp) {
  process.exitCode = await main(filters);
} else {
  console.log('failed:\n  setup\n\n0 passed, 1 failed');
  process.exitCode = 1;
}
