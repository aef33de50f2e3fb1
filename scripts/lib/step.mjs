// What the build and set-up steps share: running a command with its output in build/setup.log, hashing inputs, and
// remembering of which inputs an output was made.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const at = (...parts) => join(root, ...parts);
export const logPath = at('build', 'setup.log');

/** A step could not do its work. `tail` holds the end of the failing command's output. */
export class StepError extends Error {
  constructor(message, tail = '') {
    super(message);
    this.tail = tail;
  }
}

/** A step's precondition is not there (no root, no DPDK, …); lunet works without it, on fewer links. */
export class Missing extends Error {}

const isNotWritable = (error) => ['EACCES', 'EROFS', 'EPERM'].includes(error.code);

function log(text) {
  try {
    mkdirSync(dirname(logPath), { recursive: true });
    appendFileSync(logPath, text);
  } catch (error) {
    if (!isNotWritable(error)) throw error;
  }
}

/**
 * Runs a command, its output going to build/setup.log.
 * @param {string[]} command program and arguments
 * @param {{ env?: Record<string, string>, cwd?: string, input?: string, timeoutMs?: number }} [options]
 * @returns {Promise<string>} its standard output and error
 * @throws {StepError} when it fails, with the end of its output
 */
export function run(command, options = {}) {
  const [program, ...args] = command;
  const shown = command.map((word) => (word.includes(root) ? relative(root, word) || '.' : word)).join(' ');
  log(`\n$ ${shown}\n`);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    let timedOut = false;
    const timeoutMs = options.timeoutMs ?? 20 * 60_000;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    const take = (chunk) => {
      output += chunk;
      log(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.stdin.on('error', () => {}).end(options.input ?? '');
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new StepError(error.code === 'ENOENT' ? `${program} is not installed` : `${program}: ${error.message}`));
    });
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      if (status === 0) return resolve(output);
      const how = timedOut ? `took longer than ${timeoutMs / 1000} s` : `failed (${signal ?? `status ${status}`})`;
      reject(new StepError(`${shown} ${how}`, output.trimEnd().split('\n').slice(-30).join('\n')));
    });
  });
}

/** All files below `dir` (relative to the root) whose name passes `filter`, sorted; none when there is no such folder. */
export function filesBelow(dir, filter = () => true) {
  const found = [];
  const visit = (path) => {
    for (const entry of readdirSync(at(path), { withFileTypes: true })) {
      const child = `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(child);
      else if (filter(child)) found.push(child);
    }
  };
  if (existsSync(at(dir))) visit(dir);
  return found.sort();
}

function hashOf(files, extra) {
  const hash = createHash('sha256').update(extra);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(at(file)));
  return hash.digest('hex');
}

/**
 * Runs `make` unless all `outputs` exist and were made from the same `inputs` (by content) and `extra`.
 * @param {{ name: string, inputs: string[], extra?: string, outputs: string[], make: () => Promise<void> }} step
 * @returns {Promise<boolean>} whether there was anything to do
 */
export async function whenChanged({ name, inputs, extra = '', outputs, make }) {
  const stamp = at('build', 'stamps', name);
  const wanted = hashOf(inputs, `${process.version} ${process.arch} ${extra}`);
  const made = existsSync(stamp) ? readFileSync(stamp, 'utf8') : '';
  if (made === wanted && outputs.every((path) => existsSync(at(path)))) return false;
  try {
    rmSync(stamp, { force: true });
    mkdirSync(dirname(stamp), { recursive: true });
    await make();
    writeFileSync(stamp, wanted);
  } catch (error) {
    if (!isNotWritable(error)) throw error;
    throw new StepError(
      `${name} is out of date and ${relative(root, error.path ?? stamp)} is not writable by this user`,
    );
  }
  return true;
}

/** Version of an installed package, '' when it is not installed. */
export function packageVersion(name) {
  const path = at('node_modules', name, 'package.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).version : '';
}
