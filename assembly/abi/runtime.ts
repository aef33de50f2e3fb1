// What every part of the core reads: the time of this call and the counters.

import { CNT_COUNT } from './counters';

/** Microseconds of the host's monotonic clock, as handed to the current ingest(), poll() or flush(). */
export let nowUs: u64 = 0;

/** Milliseconds of it, wrapping. */
export let nowMsWrapped: u32 = 0;
/** When they change next: there is no division while they do not. */
let nextMsUs: u64 = 1000;

/** 2^53: beyond it an f64 no longer counts single microseconds. */
const CLOCK_MAX: f64 = 9007199254740992;

/** Takes the host's time. The core's clock never runs backwards, and a NaN or negative time changes nothing. */
export function setNow(us: f64): void {
  if (us > CLOCK_MAX) us = CLOCK_MAX;
  if (us >= 0) {
    const next = <u64>us;
    if (next > nowUs) nowUs = next;
    if (next >= nextMsUs) {
      const ms = next / 1000;
      nowMsWrapped = <u32>ms;
      nextMsUs = ms * 1000 + 1000;
    }
  }
}

/**
 * Whether nowUs is the present, which it is while ingest(), poll(), flush() and enter() run. An application that calls at another
 * time may do so long after: what depends on the time (sending, for it arms timers and takes RTT samples) waits for the
 * next flush() or poll().
 */
export let inTurn: bool = false;

export function turnBegin(us: f64): void {
  setNow(us);
  inTurn = true;
}

export function turnEnd(): void {
  inTurn = false;
}

/** Counter array: CNT_COUNT × u64. */
export const COUNTERS: usize = memory.data(2048, 64);

export function countersInit(): void {
  assert(CNT_COUNT * 8 <= 2048);
  memory.fill(COUNTERS, 0, 1024);
}

@inline
export function count(index: u32): void {
  const at = COUNTERS + (index << 3);
  store<u64>(at, load<u64>(at) + 1);
}

@inline
export function countAdd(index: u32, n: u64): void {
  const at = COUNTERS + (index << 3);
  store<u64>(at, load<u64>(at) + n);
}

/** Gauges only. */
@inline
export function countSub(index: u32, n: u64): void {
  const at = COUNTERS + (index << 3);
  store<u64>(at, load<u64>(at) - n);
}

/** [p, p + len) lies in linear memory: for pointers that the host passes. */
@inline
export function inMemory(p: u32, len: u32): bool {
  return <u64>p + len <= (<u64>memory.size()) << 16;
}
