// A thread that watches the fuzzer's: an input that takes far too long is saved and named, and the process ended, for
// nothing else can interrupt WebAssembly.
import { mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type Tape, tapeToText } from './tape.js';

export interface Watchdog {
  begin(tape: Tape): void;
  end(): void;
  close(): Promise<void>;
}

interface Shared {
  /** Word 0: a count of beginnings, odd while an input runs. Word 1: the words of the tape that follows. */
  words: SharedArrayBuffer;
  limitMs: number;
  file: string;
  replay: string;
}

const TAPE_WORDS = 1 << 16;

/** @param file where the input goes @param replay what to run to see it again */
export function startWatchdog(limitMs: number, file: string, replay: string): Watchdog {
  const words = new SharedArrayBuffer(4 * (TAPE_WORDS + 2));
  const view = new Uint32Array(words);
  const shared: Shared = { words, limitMs, file, replay };
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: shared });
  worker.unref();
  return {
    begin(tape) {
      view.set(tape, 2);
      Atomics.store(view, 1, tape.length);
      Atomics.add(view, 0, 1);
    },
    end() {
      Atomics.add(view, 0, 1);
    },
    async close() {
      await worker.terminate();
    },
  };
}

function watch({ words, limitMs, file, replay }: Shared): void {
  const view = new Uint32Array(words);
  let last = 0;
  let since = performance.now();
  setInterval(() => {
    const count = Atomics.load(view, 0);
    if (count !== last || count % 2 === 0) {
      last = count;
      since = performance.now();
    } else if (performance.now() - since > limitMs) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, tapeToText(view.slice(2, 2 + view[1])));
      writeSync(1, `an input has not ended after ${limitMs / 1000} s; it is in ${file}\n  again: ${replay}\n`);
      process.kill(process.pid, 'SIGKILL');
    }
  }, 500);
}

if (!isMainThread && parentPort) watch(workerData as Shared);
