// Network namespaces for benchmarks and tests against the real kernel: two of them joined by veth, and processes inside.
// Whatever ends this process (success, failure, an exception, a signal), those in the namespaces are killed by their ids
// and the namespaces deleted; those of a process that was itself killed are removed by the next one.

import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';

const PREFIX = 'lunet-';
export const INTERFACE = 'veth0';

export interface Result {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** The process is killed after this. */
  timeoutMs?: number;
  input?: string;
  env?: NodeJS.ProcessEnv;
  /** Resolve whatever the exit status is. */
  anyStatus?: boolean;
}

export interface Namespace {
  readonly name: string;
  /** Its end of the veth pair is called `veth0`, with this address. */
  readonly address: string;
  /** Its IPv6 address; '' where the MTU is too small for IPv6 (RFC 8200 §5). */
  readonly address6: string;
  /** With the prefix length. */
  readonly prefix: string;
  readonly mac: string;
  /** Runs a program to its end. Rejects on a status other than 0, with what it wrote to stderr. */
  run(program: string, args: readonly string[], options?: RunOptions): Promise<Result>;
  /** Starts a program, which lives until it is ended from here. */
  spawn(program: string, args: readonly string[], options?: SpawnOptions): ChildProcess;
}

export interface NamespacePair {
  readonly a: Namespace;
  readonly b: Namespace;
  /** Kills what was started in the namespaces, and deletes them. */
  dispose(): Promise<void>;
}

const children = new Set<ChildProcess>();
const namespaces = new Set<string>();
let serial = 0;
let guarded = false;

function ip(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('ip', args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}

function removeNamespace(name: string): void {
  namespaces.delete(name);
  spawnSync('ip', ['netns', 'delete', name]);
}

function removeEverything(): void {
  for (const child of children) child.kill('SIGKILL');
  for (const name of [...namespaces]) removeNamespace(name);
}

function guard(): void {
  if (guarded) return;
  guarded = true;
  process.on('exit', removeEverything);
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => process.exit(128 + number));
  }
  const folder = '/run/netns';
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const pid = /^lunet-(\d+)-\d+[ab]$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) removeNamespace(name);
  }
}

/** All children are in one list, so that none outlives this process. */
export function start(program: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  guard();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.once('error', () => children.delete(child));
  return child;
}

export function finished(child: ChildProcess, timeoutMs: number): Promise<Result> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const limit = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${child.spawnargs.join(' ')}: not done after ${timeoutMs} ms; stderr: ${stderr}`));
    }, timeoutMs);
    child.once('error', (error) => {
      clearTimeout(limit);
      reject(error);
    });
    child.once('close', (status, signal) => {
      clearTimeout(limit);
      resolve({ status, signal, stdout, stderr });
    });
  });
}

async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const child = start(program, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: options.env ?? process.env,
  });
  child.stdin?.end(options.input);
  const result = await finished(child, options.timeoutMs ?? 30_000);
  if (result.status !== 0 && options.anyStatus !== true) {
    throw new Error(
      `${program} ${args.join(' ')}: ${result.signal ?? `status ${result.status}`}\n${result.stdout}${result.stderr}`,
    );
  }
  return result;
}

function createNamespace(name: string, address: string, address6: string): Namespace {
  const inside = (program: string, args: readonly string[]): string[] => ['netns', 'exec', name, program, ...args];
  const [link] = JSON.parse(ip('-n', name, '-j', 'link', 'show', INTERFACE)) as { address: string }[];
  return {
    name,
    address,
    address6,
    prefix: `${address}/24`,
    mac: link.address,
    run: (program, args, options) => run('ip', inside(program, args), options),
    spawn: (program, args, options) => start('ip', inside(program, args), options),
  };
}

const IPV6_MIN_MTU = 1280;

/** Two namespaces, `veth0` in each, 10.77.x.1 and fd77:x::1 in A, 10.77.x.2 and fd77:x::2 in B. @param mtu of both ends. */
export function createNamespaces({ mtu = 1500 }: { mtu?: number } = {}): NamespacePair {
  guard();
  const subnet = `10.77.${serial % 250}`;
  const subnet6 = mtu < IPV6_MIN_MTU ? null : `fd77:${serial.toString(16)}::`;
  const names = ['a', 'b'].map((side) => `${PREFIX}${process.pid}-${serial}${side}`);
  serial++;
  try {
    for (const name of names) {
      ip('netns', 'add', name);
      namespaces.add(name);
    }
    const [a, b] = names;
    ip('-n', a, 'link', 'add', INTERFACE, 'mtu', `${mtu}`, 'type', 'veth', 'peer', 'name', INTERFACE, 'netns', b);
    ip('-n', b, 'link', 'set', INTERFACE, 'mtu', `${mtu}`);
    names.forEach((name, index) => {
      ip('-n', name, 'address', 'add', `${subnet}.${index + 1}/24`, 'dev', INTERFACE);
      // Without duplicate address detection, which would keep the address from being used for a second.
      if (subnet6) ip('-n', name, 'address', 'add', `${subnet6}${index + 1}/64`, 'dev', INTERFACE, 'nodad');
      ip('-n', name, 'link', 'set', 'lo', 'up');
      ip('-n', name, 'link', 'set', INTERFACE, 'up');
    });
  } catch (error) {
    names.forEach(removeNamespace);
    throw error;
  }
  const mine = names.map((name, index) => {
    return createNamespace(name, `${subnet}.${index + 1}`, subnet6 ? `${subnet6}${index + 1}` : '');
  });
  return {
    a: mine[0],
    b: mine[1],
    async dispose() {
      const left = [...children].filter((child) => names.some((name) => child.spawnargs.includes(name)));
      await Promise.all(left.map((child) => stop(child)));
      names.forEach(removeNamespace);
    },
  };
}

/** Ends a process and waits for its end. */
export async function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}
