// The API call sequence: two applications that call anything with anything at any time, from inside the inline callback
// too, while frames between their cores are delivered late, or not at all, and memory and rings run full.

import { Caller } from '../calls/caller.js';
import { someConfig } from '../config.js';
import { assertEmpty, type Cores, introduce } from '../cores.js';
import { ADDRESSES, MACS } from '../middle/app.js';
import type { TapeReader } from '../tape.js';
import type { Target } from '../target.js';

/** Virtual time in which everything that was let go of is over. */
const END_US = 1200e6;

class Pair {
  readonly callers: readonly [Caller, Caller];
  readonly r: TapeReader;
  readonly #cores: Cores;
  readonly #flights: [Uint8Array[], Uint8Array[]] = [[], []];
  nowUs = 1_000_000;

  constructor(r: TapeReader, cores: Cores) {
    this.r = r;
    this.#cores = cores;
    const caller = (side: number): Caller => {
      const config = { ...someConfig(r), mac: MACS[side], timeWaitUs: r.pick([1_000_000, 60_000_000]) };
      return new Caller(r, cores, config, ADDRESSES[side], ADDRESSES[1 - side]);
    };
    this.callers = [caller(0), caller(1)];
    for (const side of [0, 1]) introduce(this.callers[side].host.core, ADDRESSES[1 - side], MACS[1 - side]);
    for (const { host } of this.callers) host.nowUs = this.nowUs;
    for (const caller of this.callers) caller.begin();
  }

  /** What the cores have sent is under way; a slow link leaves it in the ring. */
  collect(): void {
    for (const side of [0, 1]) {
      for (const frame of this.callers[side].host.take()) {
        this.#cores.note(frame);
        this.#flights[1 - side].push(frame);
      }
    }
  }

  deliver(most: number): void {
    for (const side of [0, 1]) {
      const frames = this.#flights[side].splice(0, most);
      if (frames.length > 0) this.callers[side].host.inject(...frames);
    }
  }

  serve(): void {
    for (const caller of this.callers) {
      for (const event of caller.host.events()) caller.event(...event);
    }
  }

  pass(us: number): void {
    this.nowUs += us;
    for (const { host } of this.callers) {
      host.nowUs = this.nowUs;
      host.poll();
    }
  }

  step(): void {
    const { r } = this;
    const caller = this.callers[r.below(2)];
    for (let left = r.pick([1, 2, 8]); left > 0; left--) caller.act();
    switch (r.below(16)) {
      case 0:
        caller.hoard();
        break;
      case 1:
        // A frame is lost, or comes late.
        this.#flights[r.below(2)].shift();
        break;
      case 2:
        this.#flights[r.below(2)].reverse();
        break;
      default:
        this.deliver(r.pick([1, 4, 64]));
    }
    this.pass(r.pick([0, 10, 1000, 5000, 5000, r.oneIn(10) ? 5e6 : 3e5]));
    // Events and frames may be left where they are for a while.
    if (!r.oneIn(4)) this.serve();
    if (!r.oneIn(5)) this.collect();
  }

  end(): void {
    // Events that are still to come may bring new connections.
    for (let round = 0; round < 3; round++) {
      this.collect();
      this.deliver(Number.POSITIVE_INFINITY);
      this.serve();
    }
    for (const caller of this.callers) caller.leave();
    const untilUs = this.nowUs + END_US;
    while (this.nowUs < untilUs) {
      this.collect();
      if (this.#flights.some((flights) => flights.length > 0)) {
        this.deliver(Number.POSITIVE_INFINITY);
        this.pass(500);
      } else {
        const dueUs = Math.min(...this.callers.map(({ host }) => host.poll()));
        this.collect();
        if (this.#flights.every((flights) => flights.length === 0)) {
          if (dueUs === Number.POSITIVE_INFINITY) break;
          this.pass(Math.max(1, Math.ceil(dueUs - this.nowUs)));
        }
      }
      for (const { host } of this.callers) host.events();
    }
  }
}

export const calls: Target = {
  name: 'calls',
  purpose: 'any call with any arguments, from callbacks too, while memory and rings run full',
  steps: 300,
  mostSteps: 1000,
  inputs: 250,
  reaches: [
    'TcpActiveOpens',
    'TcpPassiveOpens',
    'TcpExtTCPAbortOnClose',
    'TcpExtTCPAbortOnData',
    'TcpExtTCPKeepAlive',
    'TcpExtTCPTimeWait',
    'TcpExtTCPHPHits',
    'TcpOutRsts',
    'TcpRetransSegs',
    'TxRingFull',
    'ZbufAllocFails',
    'ZbufMisuse',
  ],
  run(tape, cores) {
    if (!tape.next()) return;
    const pair = new Pair(tape, cores);
    pair.pass(0);
    while (tape.next()) pair.step();
    pair.end();
    for (const caller of pair.callers) {
      caller.host.take();
      assertEmpty(caller.host);
      caller.assertListenersFree();
    }
  },
};
