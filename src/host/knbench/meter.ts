import { type LatencyRecorder, latencyRecorder } from './histogram.js';
import type { ClientFigures, EndInfo, Workload } from './types.js';

/** How long requests in flight may take to be answered after the measured time. */
const DRAIN_SECONDS = 2;
/** How long all connections together may take to open. */
const CONNECT_SECONDS = 10;

export interface EndTotals {
  copiedBytes: number;
  retransmits: number;
  /** Processor time of a program that this end is; the process itself is counted without being told. */
  cpuSeconds?: number;
}

export interface ServerEnd {
  readonly info: EndInfo;
  totals(): EndTotals;
  close(): Promise<void>;
}

export interface ClientEnd {
  readonly info: EndInfo;
  /** Opens the connections, warms up, measures, drains and closes them. `onMeasuring` marks the start of the figures. */
  run(workload: Workload, onMeasuring: () => void): Promise<ClientFigures>;
  totals(): EndTotals;
  close(): Promise<void>;
}

/**
 * Counts completed requests in the phases of a run. Request paths read `sending` and call complete() or fail();
 * neither allocates.
 */
export class Meter {
  private readonly recorder: LatencyRecorder = latencyRecorder();
  private measuring = false;
  /** False once the measured time is over: a response is not followed by another request. */
  sending = true;
  rpcs = 0;
  errors = 0;
  inFlight = 0;
  private settle: (() => void) | undefined;
  private failure: Error | undefined;

  complete(latencyNs: number): void {
    if (this.measuring) {
      this.rpcs++;
      this.recorder.record(latencyNs);
    }
    if (!this.sending && this.inFlight === 0) this.settle?.();
  }

  /** A request was answered wrongly or its connection broke. The run ends early: figures after an error mean little. */
  fail(error: Error): void {
    this.errors++;
    this.failure ??= error;
    this.settle?.();
  }

  /**
   * Runs the phases. `connect` resolves when every connection is open, `start` sends the first requests, `clockNs`
   * is the clock of the latencies.
   */
  async run(
    workload: Workload,
    end: { connect: () => Promise<void>; start: () => void; clockNs: () => number; onMeasuring: () => void },
  ): Promise<ClientFigures> {
    await withTimeout(end.connect(), CONNECT_SECONDS, 'the connections did not open');
    end.start();
    await this.wait(workload.warmupSeconds);
    this.recorder.reset();
    this.rpcs = 0;
    end.onMeasuring();
    const begin = end.clockNs();
    this.measuring = true;
    await this.wait(workload.seconds);
    this.measuring = false;
    const seconds = (end.clockNs() - begin) / 1e9;
    this.sending = false;
    if (this.inFlight > 0) await this.wait(DRAIN_SECONDS);
    if (this.inFlight > 0 && this.failure === undefined) {
      this.errors += this.inFlight;
      this.failure = new Error(`${this.inFlight} requests had no answer ${DRAIN_SECONDS} s after the last was sent`);
    }
    if (this.failure !== undefined && this.rpcs === 0) throw this.failure;
    return { seconds, rpcs: this.rpcs, errors: this.errors, latencyNs: this.recorder.snapshot() };
  }

  /** Waits, less long when a failure or (while draining) the last response comes first. */
  private wait(seconds: number): Promise<void> {
    if (this.failure !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.settle?.(), seconds * 1000);
      this.settle = () => {
        clearTimeout(timer);
        this.settle = undefined;
        resolve();
      };
    });
  }
}

export async function withTimeout<T>(work: Promise<T>, seconds: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
