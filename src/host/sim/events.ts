// What happens next, in virtual time: a binary heap in typed arrays. Events of one instant run in the order in which
// they were pushed, so that a run is decided by its seed alone.

/** Runs an event that was pushed with `arg`. */
export type EventHandler = (arg: number) => void;

export interface EventQueue {
  /** Virtual nanoseconds since the start, a whole number. */
  nowNs(): number;
  /** Registers a handler, once for each kind of event. Returns its id for push(). */
  handler(run: EventHandler): number;
  /** Has `handlers[id]` run with `arg` at `atNs`, not before now. */
  push(atNs: number, id: number, arg: number): void;
  /** Has `run` run once at `atNs`: for what happens seldom. */
  at(atNs: number, run: () => void): void;
  /** Runs everything due up to and including `untilNs`, or until `done` says so, and sets the clock to where it ended. */
  run(untilNs: number, done?: () => boolean): void;
  /** Events that wait. */
  size(): number;
}

export function eventQueue(): EventQueue {
  let capacity = 1024;
  let times = new Float64Array(capacity);
  let orders = new Float64Array(capacity);
  let ids = new Int32Array(capacity);
  let args = new Int32Array(capacity);
  let size = 0;
  let order = 0;
  let now = 0;
  const handlers: EventHandler[] = [];
  const onces: (() => void)[] = [];
  const freeOnces: number[] = [];

  function grow(): void {
    capacity *= 2;
    const times2 = new Float64Array(capacity);
    const orders2 = new Float64Array(capacity);
    const ids2 = new Int32Array(capacity);
    const args2 = new Int32Array(capacity);
    times2.set(times);
    orders2.set(orders);
    ids2.set(ids);
    args2.set(args);
    times = times2;
    orders = orders2;
    ids = ids2;
    args = args2;
  }

  function put(at: number, time: number, nth: number, id: number, arg: number): void {
    times[at] = time;
    orders[at] = nth;
    ids[at] = id;
    args[at] = arg;
  }

  const move = (to: number, from: number): void => put(to, times[from], orders[from], ids[from], args[from]);
  const before = (a: number, time: number, nth: number): boolean =>
    times[a] < time || (times[a] === time && orders[a] < nth);

  function push(atNs: number, id: number, arg: number): void {
    if (size === capacity) grow();
    const time = Math.max(atNs, now);
    const nth = order++;
    let at = size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(parent, time, nth)) break;
      move(at, parent);
      at = parent;
    }
    put(at, time, nth, id, arg);
  }

  function removeFirst(): void {
    const last = --size;
    const time = times[last];
    const nth = orders[last];
    const id = ids[last];
    const arg = args[last];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && before(child + 1, times[child], orders[child])) child++;
      if (!before(child, time, nth)) break;
      move(at, child);
      at = child;
    }
    put(at, time, nth, id, arg);
  }

  const once = 0;
  handlers.push((arg) => {
    const run = onces[arg];
    freeOnces.push(arg);
    run();
  });

  return {
    nowNs: () => now,
    handler(run) {
      handlers.push(run);
      return handlers.length - 1;
    },
    push,
    at(atNs, run) {
      const slot = freeOnces.pop() ?? onces.length;
      onces[slot] = run;
      push(atNs, once, slot);
    },
    run(untilNs, done) {
      while (size > 0 && times[0] <= untilNs) {
        now = times[0];
        const id = ids[0];
        const arg = args[0];
        removeFirst();
        handlers[id](arg);
        if (done?.()) return;
      }
      if (Number.isFinite(untilNs)) now = Math.max(now, untilNs);
    },
    size: () => size,
  };
}
