// Runs one uvu file as a process group of its own and reads its closing lines.
import { spawn } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { processesWith } from './leaks.mjs';
import { root } from './step.mjs';

const RUN_MARK = 'LUNET_TEST_RUN';
const SLOW_MS = 30_000;
// Node and npm colour by these; uvu's output is parsed, and read in logs.
const PLAIN = { NO_COLOR: '1', FORCE_COLOR: '0' };

const running = new Set();
let serial = 0;

function killAll(pids) {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
}

/** Ends every test process that is running, with all its descendants. */
export function killRunning() {
  for (const mark of running) killAll(processesWith(RUN_MARK, mark));
}

/** The last figure uvu prints under `name`, null when there is none. */
function figure(output, name) {
  const found = [...output.matchAll(new RegExp(`^ +${name}: +(\\d+)`, 'gm'))];
  return found.length > 0 ? Number(found[found.length - 1][1]) : null;
}

/** Turns a finished process into counts. A file that crashed, hung or ran no test is one failed test. */
function judge({ output, status, signal, timedOut, limitMs, leftovers }) {
  const total = figure(output, 'Total') ?? 0;
  const passed = figure(output, 'Passed') ?? 0;
  const skipped = figure(output, 'Skipped') ?? 0;
  const failed = Math.max(0, total - passed);
  const unfinished = (reason) => ({ passed, skipped, failed: failed + 1, reason });
  if (timedOut) return unfinished(`killed after ${Math.round(limitMs / 1000)} s`);
  if (signal) return unfinished(`died by ${signal}`);
  if (total === 0) return unfinished(`ran no test (exit status ${status})`);
  if (failed > 0) return { passed, skipped, failed, reason: '' };
  if (status !== 0) return unfinished(`exit status ${status} after its tests passed`);
  if (leftovers > 0) return unfinished(`left ${leftovers} processes running`);
  return { passed, skipped, failed: 0, reason: '' };
}

/**
 * @param {string} path a compiled uvu file
 * @param {{ core: 'debug' | 'release', limitMs: number, onSlow: (ms: number) => void }} options
 * @returns {Promise<{ passed: number, failed: number, skipped: number, ms: number, output: string, reason: string }>}
 */
export function runTestFile(path, { core, limitMs, onSlow }) {
  const mark = `${process.pid}.${++serial}`;
  const started = performance.now();
  running.add(mark);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--enable-source-maps', path], {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...PLAIN, LUNET_CORE: core, [RUN_MARK]: mark },
    });
    let output = '';
    let timedOut = false;
    let exited = null;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    const limit = setTimeout(() => {
      timedOut = true;
      killAll(processesWith(RUN_MARK, mark));
    }, limitMs);
    const slow = setInterval(() => onSlow(performance.now() - started), SLOW_MS);
    let leftovers = 0;
    child.on('error', (error) => {
      output += `${error.message}\n`;
    });
    child.on('exit', (status, signal) => {
      exited = { status, signal };
      // Descendants that outlive the file hold its pipes open: end them, or `close` would never come.
      const left = processesWith(RUN_MARK, mark);
      leftovers = left.length;
      killAll(left);
    });
    child.on('close', () => {
      clearTimeout(limit);
      clearInterval(slow);
      running.delete(mark);
      const { status, signal } = exited ?? { status: 1, signal: null };
      const verdict = judge({ output, status, signal, timedOut, limitMs, leftovers });
      resolve({ ...verdict, ms: performance.now() - started, output: output.trimEnd() });
    });
  });
}
