import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { codeError } from '../core/errors.js';
import { kernelInfo, kernelTotals } from './kernel.js';
import type { ClientEnd, EndTotals, ServerEnd } from './meter.js';
import type { ClientFigures, EndSpec, Workload } from './types.js';

// The operating system's TCP through a C program (bench/kernel/): no runtime between the socket and the figures.

const PROGRAM = fileURLToPath(new URL('../../../../build/bench/rpc', import.meta.url));
const STDERR_BYTES = 4000;
/** Of times in /proc: USER_HZ, which Linux keeps at 100 for programs. */
const TICKS_PER_SECOND = 100;

/** A running program that writes lines of JSON. */
class Program {
  private readonly child: ChildProcess;
  private readonly lines: string[] = [];
  private wake: (() => void) | undefined;
  private stderr = '';
  private gone: string | undefined;

  constructor(args: readonly string[]) {
    if (!existsSync(PROGRAM)) {
      throw codeError('ERR_LUNET_NO_PROGRAM', 'the C program of this stack is not built (it needs gcc): npm run setup');
    }
    // Started by this thread it inherits the CPU this thread is pinned to.
    this.child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_BYTES);
    });
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.lines.push(line);
      this.wake?.();
    });
    this.child.on('error', (error) => this.end(error.message));
    this.child.on('close', (code, signal) => this.end(signal ?? `status ${code}`));
  }

  private end(how: string): void {
    this.gone ??= this.stderr.trim() || `the program ended with ${how}`;
    this.wake?.();
  }

  /** The next line, parsed. Rejects when the program ends without one, with what it wrote to stderr. */
  async next<T>(): Promise<T> {
    while (this.lines.length === 0 && this.gone === undefined) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const line = this.lines.shift();
    if (line === undefined) throw new Error(this.gone);
    return JSON.parse(line) as T;
  }

  /** Processor time so far, user and system; 0 once the program is gone. */
  cpuSeconds(): number {
    try {
      const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8');
      // Behind the name, which may hold anything, come the fields from the third on: utime and stime are 14 and 15.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    } catch {
      return 0;
    }
  }

  async stop(): Promise<void> {
    if (this.gone !== undefined) return;
    const closed = new Promise((resolve) => this.child.once('close', resolve));
    this.child.kill('SIGKILL');
    await closed;
  }
}

export async function openProgramServer(spec: EndSpec): Promise<ServerEnd> {
  const address = spec.address ?? '127.0.0.1';
  const program = new Program(['server', spec.mode, address, String(spec.port)]);
  const { port } = await program.next<{ port: number }>();
  return {
    info: kernelInfo(address, port),
    totals: () => ({ ...kernelTotals(), cpuSeconds: program.cpuSeconds() }),
    close: () => program.stop(),
  };
}

export async function openProgramClient(spec: EndSpec): Promise<ClientEnd> {
  const server = spec.server ?? '127.0.0.1';
  // What finished runs took while they were measured: a client is a process of its own in each.
  let cpuSeconds = 0;

  async function run(workload: Workload, onMeasuring: () => void): Promise<ClientFigures> {
    const { sizeBytes, depth, connections, warmupSeconds, seconds, verify } = workload;
    const numbers = [spec.port, sizeBytes, depth, connections, warmupSeconds, seconds, verify ? 1 : 0];
    const program = new Program(['client', spec.mode, server, ...numbers.map(String)]);
    try {
      await program.next();
      onMeasuring();
      const { cpuSeconds: spent, ...figures } = await program.next<ClientFigures & { cpuSeconds: number }>();
      cpuSeconds += spent;
      return figures;
    } finally {
      await program.stop();
    }
  }

  return {
    info: kernelInfo(server, spec.port),
    run,
    totals: (): EndTotals => ({ ...kernelTotals(), cpuSeconds }),
    close: () => Promise.resolve(),
  };
}
