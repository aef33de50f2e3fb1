import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Namespace } from '../netns.js';
import type { Command, Reply } from './types.js';

const AGENT = fileURLToPath(new URL('./agent.js', import.meta.url));
/** Enough of a child's stderr to show why it died. */
const STDERR_BYTES = 4000;
/** What lunet's shim asks of malloc (docs/decisions/017), for the kernel's programs too: page faults are not what is measured. */
const KEPT_MEMORY = {
  MALLOC_TRIM_THRESHOLD_: String(128 << 20),
  MALLOC_MMAP_THRESHOLD_: String(32 << 20),
  MALLOC_TOP_PAD_: String(16 << 20),
};
const START_SECONDS = 15;
const CLOSE_SECONDS = 5;

const run = promisify(execFile);
const running = new Set<Child>();

/** Ends every benchmark process of this one, for when it is itself interrupted. */
export function killChildren(): void {
  for (const child of running) child.kill();
}

/** A benchmark process: started, pinned, asked over IPC, and never left behind. */
export class Child {
  private readonly process: ChildProcess;
  private readonly replies: Reply[] = [];
  private wake: (() => void) | undefined;
  private stderr = '';
  private gone: string | undefined;

  private constructor(
    readonly name: string,
    namespace: Namespace | undefined,
  ) {
    const options: SpawnOptions = {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...KEPT_MEMORY, ...process.env, LUNET_KNBENCH_AGENT: '1' },
    };
    this.process =
      namespace === undefined
        ? spawn(process.execPath, [AGENT], options)
        : namespace.spawn(process.execPath, [AGENT], options);
    running.add(this);
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_BYTES);
    });
    this.process.on('message', (reply: Reply) => {
      this.replies.push(reply);
      this.wake?.();
    });
    this.process.on('error', (error) => this.end(error.message));
    this.process.on('exit', (code, signal) => this.end(signal === null ? `status ${code}` : `signal ${signal}`));
  }

  /**
   * Starts a process, in a network namespace of its own if need be, and pins its main thread to `cpu`. V8's helper threads stay free to run elsewhere, so that
   * compilation and garbage collection do not wait behind a polling loop; that is the same for every stack.
   */
  static async start(name: string, cpu: number | undefined, namespace?: Namespace): Promise<Child> {
    const child = new Child(name, namespace);
    try {
      await child.expect('ready', START_SECONDS);
      if (cpu !== undefined) await run('taskset', ['-cp', String(cpu), String(child.process.pid)]);
    } catch (error) {
      child.kill();
      throw error;
    }
    return child;
  }

  private end(how: string): void {
    this.gone ??= how;
    running.delete(this);
    this.wake?.();
  }

  /** Sends a command and waits for its answer. Rejects when the child fails, dies, or stays silent too long. */
  ask<T extends Reply['type']>(
    command: Command,
    answer: T,
    timeoutSeconds: number,
  ): Promise<Extract<Reply, { type: T }>> {
    if (this.gone === undefined) {
      // A channel that closes under the send is reported by the exit event.
      this.process.send(command, () => undefined);
    }
    return this.expect(answer, timeoutSeconds);
  }

  /** Waits for the next reply, which must be of the given type. */
  async expect<T extends Reply['type']>(answer: T, timeoutSeconds: number): Promise<Extract<Reply, { type: T }>> {
    const deadline = Date.now() + timeoutSeconds * 1000;
    for (;;) {
      const reply = this.replies.shift();
      if (reply?.type === answer) return reply as Extract<Reply, { type: T }>;
      if (reply?.type === 'failed') throw new Error(`${this.name}: ${reply.message}${this.errorText()}`);
      if (reply !== undefined) throw new Error(`${this.name} answered ${reply.type} where ${answer} was due`);
      if (this.gone !== undefined) throw new Error(`${this.name} ended with ${this.gone}${this.errorText()}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${this.name} did not answer within ${timeoutSeconds} s${this.errorText()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          this.wake = undefined;
          resolve();
        };
      });
    }
  }

  private errorText(): string {
    const text = this.stderr.trim();
    return text === '' ? '' : `; its stderr:\n${text}`;
  }

  /** Lets the process close its ends and exit; kills it when it does not. */
  async close(): Promise<void> {
    try {
      await this.ask({ type: 'close' }, 'closed', CLOSE_SECONDS);
      const deadline = Date.now() + CLOSE_SECONDS * 1000;
      while (this.gone === undefined && Date.now() < deadline) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, deadline - Date.now());
          this.wake = () => {
            clearTimeout(timer);
            this.wake = undefined;
            resolve();
          };
        });
      }
    } finally {
      this.kill();
    }
  }

  kill(): void {
    if (this.gone === undefined) this.process.kill('SIGKILL');
  }
}
