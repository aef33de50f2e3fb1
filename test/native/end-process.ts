// programs/end.ts as a process of its own: commands in, JSON lines out.
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Namespace, start, stop } from '../helpers/netns.js';

export interface Report {
  frames: number;
  collected: { hex: string; flags: number }[];
  stats: Record<string, number>;
  copied: number;
  completed: number;
  hugepages: boolean;
  wakeups: number;
  canSleep: boolean;
  cpuMs: number;
  info: { mac: string; driver: string; mtu: number; groHoldUs: number };
}

export interface EndProcess {
  readonly child: ChildProcess;
  /** The program's own id, also where it runs behind another program. */
  tell(command: string): void;
  report(): Promise<Report>;
  /** Resolves with what the process ended with. */
  readonly ended: Promise<{ status: number | null; signal: NodeJS.Signals | null; stderr: string }>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

export interface EndError {
  failed: string;
  message: string;
}

const program = fileURLToPath(new URL('./programs/end.js', import.meta.url));
const READY_MS = 20_000;

export interface StartOptions extends SpawnOptions {
  /** Where to run it. */
  namespace?: Namespace;
  zones?: number;
  rxZones?: number;
  /** Programs to run it behind, e.g. setpriv and its arguments. */
  behind?: readonly string[];
}

/** Starts an end and waits until its link runs. Rejects with an EndError when it does not. */
export async function startEnd(uri: string, options: StartOptions = {}): Promise<EndProcess> {
  const { namespace, zones = 8, rxZones = 4, behind = [], ...spawnOptions } = options;
  const [command, ...args] = [...behind, process.execPath, program, uri, `${zones}`, `${rxZones}`];
  const settings: SpawnOptions = { stdio: ['pipe', 'pipe', 'pipe'], ...spawnOptions };
  const child = namespace ? namespace.spawn(command, args, settings) : start(command, args, settings);
  const waiting: ((message: Record<string, unknown>) => void)[] = [];
  const early: Record<string, unknown>[] = [];
  if (!child.stdout || !child.stdin || !child.stderr) throw new Error('the program has no pipes');
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line) as Record<string, unknown>;
    const next = waiting.shift();
    if (next) next(message);
    else early.push(message);
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {});
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null; stderr: string }>((resolve) => {
    child.once('close', (status, signal) => resolve({ status, signal, stderr }));
  });
  const next = (): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const message = early.shift();
      if (message) return resolve(message);
      const limit = setTimeout(() => reject(new Error(`${uri}: no answer; stderr: ${stderr}`)), READY_MS);
      waiting.push((answer) => {
        clearTimeout(limit);
        resolve(answer);
      });
      ended.then(({ status, signal }) => {
        clearTimeout(limit);
        reject(new Error(`${uri}: ended with ${signal ?? status}; stderr: ${stderr}`));
      });
    });
  const first = await next();
  if ('failed' in first) {
    await ended;
    throw first;
  }
  const { stdin } = child;
  return {
    child,
    tell: (text) => {
      stdin.write(`${text}\n`);
    },
    async report() {
      stdin.write('report\n');
      return (await next()) as unknown as Report;
    },
    ended,
    kill: (signal) => stop(child, signal),
  };
}

/** The EndError of an end that must not start. */
export async function startFails(uri: string, options: StartOptions = {}): Promise<EndError> {
  let started: EndProcess;
  try {
    started = await startEnd(uri, options);
  } catch (error) {
    if (typeof (error as EndError).failed === 'string') return error as EndError;
    throw error;
  }
  await started.kill('SIGKILL');
  throw new Error(`${uri} started, though it must not`);
}
