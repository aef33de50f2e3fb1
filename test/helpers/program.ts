// Test programs (test/interop/programs/) as children that answer over Node's IPC channel.

import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Namespace, stop } from './netns.js';

export interface Program {
  readonly child: ChildProcess;
  /** What it has written to stderr, for failures. */
  errors(): string;
  send(message: object): void;
  /** The next message that is no answer to somebody else. */
  next(timeoutMs?: number): Promise<unknown>;
  ask<T>(message: object, timeoutMs?: number): Promise<T>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** Starts a program of test/interop/programs/ in a namespace. Resolves with its first message. */
export async function startProgram(
  namespace: Namespace,
  name: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Program & { readonly hello: unknown }> {
  const path = fileURLToPath(new URL(`../interop/programs/${name}.js`, import.meta.url));
  const child = namespace.spawn(process.execPath, ['--enable-source-maps', path, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, ...env },
  });
  let stderr = '';
  const queue: unknown[] = [];
  const waiting: { resolve(message: unknown): void; reject(error: Error): void }[] = [];
  let dead: Error | null = null;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.on('message', (message) => {
    const first = waiting.shift();
    if (first === undefined) queue.push(message);
    else first.resolve(message);
  });
  child.once('close', (status, signal) => {
    dead = new Error(`${name} ended with ${signal ?? `status ${status}`}: ${stderr}`);
    for (const one of waiting.splice(0)) one.reject(dead);
  });

  const program: Program = {
    child,
    errors: () => stderr,
    send(message) {
      child.send(message);
    },
    next(timeoutMs = DEFAULT_TIMEOUT_MS) {
      if (queue.length > 0) return Promise.resolve(queue.shift());
      if (dead !== null) return Promise.reject(dead);
      return new Promise((resolve, reject) => {
        const entry = { resolve: settle(resolve), reject: settle(reject) };
        const limit = setTimeout(() => {
          waiting.splice(waiting.indexOf(entry), 1);
          reject(new Error(`${name} is silent for ${timeoutMs} ms: ${stderr}`));
        }, timeoutMs);
        function settle<T>(done: (value: T) => void): (value: T) => void {
          return (value) => {
            clearTimeout(limit);
            done(value);
          };
        }
        waiting.push(entry);
      });
    },
    ask<T>(message: object, timeoutMs?: number) {
      child.send(message);
      return program.next(timeoutMs) as Promise<T>;
    },
    stop: (signal) => stop(child, signal),
  };
  const hello = await program.next();
  return { ...program, hello };
}
