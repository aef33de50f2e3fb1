// The run-to-completion loop (DESIGN: burst → ingest → events → flush, again and again), which spins while there is
// work, lets one turn of libuv through every few tens of microseconds, and sleeps when there is nothing to do.
import type { Core } from '../core/core.js';
import * as L from '../core/layout.js';
import type { Link } from '../link/link.js';

export interface LoopOptions {
  /** Busy: microseconds of spinning between two turns of libuv. */
  yieldUs?: number;
  /** Idle: microseconds of polling without work before the loop sleeps. */
  idleSpinUs?: number;
  /** Asleep on a link that cannot wake the loop: milliseconds between two looks. */
  pollSleepMs?: number;
}

export interface Loop {
  /** Begins to run. */
  start(): void;
  /** Stops for good; nothing of the link or the core is touched afterwards. */
  stop(): void;
  /** Something was queued from outside the loop: run soon, wake up if asleep. */
  kick(): void;
  /** One turn at once, from outside the loop: for orderly shutdown. */
  turn(): void;
  /** Whether the loop keeps the process alive also while it sleeps. */
  hold(on: boolean): void;
  /** The link's clock as of the last burst, microseconds. */
  nowUs(): number;
  /** Whether a turn is under way: the core's clock is then as fresh as the last burst. */
  readonly turning: boolean;
  /** Brings the core's clock up to date, so that what is sent next is not timed from the past. Calls nobody back. */
  enter(): void;
}

/** Microseconds between two looks at the core's timers: its wheel turns every 128. */
const POLL_US = 128;
/** A turn that comes later than this after the last one follows a stall of this thread. */
const STALL_US = 1000;
/** Turns after a stall for which timers wait at most. */
const CATCH_UP_TURNS = 16;
/** A timer of Node's is this late at most by rounding; nearer deadlines are spun for. */
const TIMER_GRAIN_US = 1000;
/** How much longer than at first a loop that cannot be woken sleeps in the end. */
const MAX_SLEEP_FACTOR = 4;
const MAX_TIMEOUT_MS = 0x7fffffff;

/** When to look at the core's timers again. */
const NEXT_POLL = 0;
/** The core's next deadline. */
const DEADLINE = 1;
const LAST_WORK = 2;
const LAST_TURN = 3;
const TIMES = 4;

/** `drain` hands the events in the ring to the application and returns their number. */
export function createLoop(core: Core, link: Link, drain: () => number, options: LoopOptions = {}): Loop {
  const yieldUs = options.yieldUs ?? 50;
  const idleSpinUs = options.idleSpinUs ?? 1000;
  const pollSleepMs = options.pollSleepMs ?? 1;
  const f64 = new Float64Array(core.memory.buffer, 0, 256);
  const u32 = core.u32;
  const clock = L.CTL_CLOCK_NS >> 3;
  const txHead = L.CTL_TX_HEAD >> 2;
  const txTail = L.CTL_TX_TAIL >> 2;
  const doneHead = L.CTL_DONE_HEAD >> 2;
  const doneTail = L.CTL_DONE_TAIL >> 2;

  let running = false;
  let held = true;
  let immediate: NodeJS.Immediate | null = null;
  let sleepTimer: NodeJS.Timeout | null = null;
  let catchUpTurns = 0;
  // Microseconds, in an array for the sake of its elements: a variable that holds a fraction is a new object each time.
  const times = new Float64Array(TIMES);
  let kicked = false;
  let fruitlessSleeps = 0;
  let turning = false;

  /** Returns the number of events; whether there was any work is known from LAST_WORK. */
  function turn(): number {
    const frames = link.burst();
    const nowUs = f64[clock] / 1000;
    if (frames > 0 || u32[doneHead] !== u32[doneTail]) core.ingest(frames, nowUs);
    const events = drain();
    if (!running) return events;
    // After a stall, what arrived meanwhile may still be on its way through the driver, this thread's other stacks or this
    // one (loopback): a timer that only we were late for must not fire before a turn has found nothing more.
    const quiet = frames === 0 && u32[txHead] === u32[txTail];
    if (nowUs - times[LAST_TURN] > STALL_US) catchUpTurns = CATCH_UP_TURNS;
    else if (catchUpTurns > 0) catchUpTurns = quiet ? 0 : catchUpTurns - 1;
    times[LAST_TURN] = nowUs;
    if (catchUpTurns === 0 && (nowUs >= times[NEXT_POLL] || nowUs >= times[DEADLINE])) {
      times[DEADLINE] = core.poll(nowUs);
      times[NEXT_POLL] = nowUs + POLL_US;
    } else {
      core.flush(nowUs);
    }
    if (frames > 0 || events > 0 || u32[txHead] !== u32[txTail]) times[LAST_WORK] = nowUs;
    return events;
  }

  function spin(): void {
    immediate = null;
    kicked = false;
    let startUs = -1;
    let nowUs = 0;
    let eventsSeen = false;
    turning = true;
    try {
      do {
        if (turn() > 0) eventsSeen = true;
        // What the application does after its callback (promises, ticks, streams) needs this macrotask to end, but
        // what it has sent already goes out first.
        if (eventsSeen && u32[txHead] === u32[txTail]) break;
        nowUs = f64[clock] / 1000;
        if (startUs < 0) startUs = nowUs;
        // Woken to look once: nothing there, back to sleep.
      } while (running && nowUs - startUs < yieldUs && nowUs - times[LAST_WORK] < idleSpinUs);
    } finally {
      turning = false;
      if (running) schedule();
    }
  }

  function schedule(): void {
    const nowUs = f64[clock] / 1000;
    if (kicked || nowUs - times[LAST_WORK] < idleSpinUs || nowUs >= times[DEADLINE]) {
      fruitlessSleeps = 0;
      again();
      return;
    }
    times[DEADLINE] = core.poll(nowUs);
    times[NEXT_POLL] = nowUs + POLL_US;
    const pending = u32[txHead] !== u32[txTail] || u32[L.CTL_EVENT_HEAD >> 2] !== u32[L.CTL_EVENT_TAIL >> 2];
    if (pending || times[DEADLINE] - nowUs < TIMER_GRAIN_US) again();
    else sleep(nowUs);
  }

  function again(): void {
    if (immediate) return;
    // Referenced whoever holds the loop: libuv would sleep beside one that is not. A loop without work goes to sleep itself.
    immediate = setImmediate(spin);
  }

  function sleep(nowUs: number): void {
    const canWake = link.armWakeup(wake);
    if (immediate) return; // woken while arming
    // Where nothing wakes the loop it looks again soon, and less often the longer nothing comes.
    const lookMs = pollSleepMs * Math.min(++fruitlessSleeps, MAX_SLEEP_FACTOR);
    const untilMs = Math.min((times[DEADLINE] - nowUs) / 1000, canWake ? MAX_TIMEOUT_MS : lookMs);
    sleepTimer = setTimeout(wake, Math.max(untilMs, 1));
    if (!held) sleepTimer.unref();
  }

  function wake(): void {
    if (!running) return;
    if (sleepTimer) {
      clearTimeout(sleepTimer);
      sleepTimer = null;
      link.disarmWakeup();
    }
    again();
  }

  return {
    start(): void {
      running = true;
      link.burst();
      times[LAST_WORK] = f64[clock] / 1000;
      again();
    },
    stop(): void {
      running = false;
      if (immediate) clearImmediate(immediate);
      if (sleepTimer) clearTimeout(sleepTimer);
      immediate = null;
      sleepTimer = null;
      link.disarmWakeup();
    },
    kick(): void {
      kicked = true;
      if (sleepTimer) wake();
    },
    turn(): void {
      turn();
    },
    hold(on: boolean): void {
      held = on;
      if (on) sleepTimer?.ref();
      else sleepTimer?.unref();
    },
    nowUs: () => f64[clock] / 1000,
    get turning() {
      return turning;
    },
    enter(): void {
      if (running) core.enter(link.clockNs() / 1000);
    },
  };
}
