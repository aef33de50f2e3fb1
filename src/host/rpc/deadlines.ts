// Deadlines of many calls under one timer: a wheel of buckets, a list of slots in each. Arming and disarming a call is a
// few stores; a deadline further away than a turn of the wheel stays in its bucket until its turn comes.

/** How late a deadline may be found: what setTimeout() can do. */
const TICK_US = 1000;
const BUCKETS = 1024;
const NONE = -1;

export class DeadlineWheel {
  readonly #buckets = new Int32Array(BUCKETS).fill(NONE);
  #next: Int32Array;
  #previous: Int32Array;
  #deadlineUs: Float64Array;
  /** The bucket of a slot, or NONE. */
  #bucket: Int32Array;
  readonly #nowUs: () => number;
  readonly #expired: (slot: number) => void;
  #armed = 0;
  /** Buckets up to this tick have been looked at. */
  #tick = 0;
  #timer: NodeJS.Timeout | null = null;
  #timerTick = 0;

  /** `expired` is called for each slot whose deadline has passed; the slot is disarmed by then. */
  constructor(slots: number, nowUs: () => number, expired: (slot: number) => void) {
    this.#next = new Int32Array(slots);
    this.#previous = new Int32Array(slots);
    this.#deadlineUs = new Float64Array(slots);
    this.#bucket = new Int32Array(slots).fill(NONE);
    this.#nowUs = nowUs;
    this.#expired = expired;
  }

  grow(slots: number): void {
    const copy = <T extends Int32Array | Float64Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#next = copy(this.#next, new Int32Array(slots));
    this.#previous = copy(this.#previous, new Int32Array(slots));
    this.#deadlineUs = copy(this.#deadlineUs, new Float64Array(slots));
    this.#bucket = copy(this.#bucket, new Int32Array(slots).fill(NONE));
  }

  /** Microseconds that a slot has left, 1 at least; 0 without a deadline. */
  leftUs(slot: number, nowUs: number): number {
    return this.#bucket[slot] === NONE ? 0 : Math.max(Math.floor(this.#deadlineUs[slot] - nowUs), 1);
  }

  arm(slot: number, nowUs: number, afterUs: number): void {
    const deadlineUs = nowUs + afterUs;
    const tick = Math.floor(deadlineUs / TICK_US) + 1;
    const bucket = tick % BUCKETS;
    const first = this.#buckets[bucket];
    this.#deadlineUs[slot] = deadlineUs;
    this.#bucket[slot] = bucket;
    this.#next[slot] = first;
    this.#previous[slot] = NONE;
    if (first !== NONE) this.#previous[first] = slot;
    this.#buckets[bucket] = slot;
    if (this.#armed++ === 0) this.#tick = Math.floor(nowUs / TICK_US);
    if (this.#timer === null || tick < this.#timerTick) this.#setTimer(nowUs, tick);
  }

  disarm(slot: number): void {
    const bucket = this.#bucket[slot];
    if (bucket === NONE) return;
    const next = this.#next[slot];
    const previous = this.#previous[slot];
    if (previous === NONE) this.#buckets[bucket] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#bucket[slot] = NONE;
    this.#armed--;
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #setTimer(nowUs: number, tick: number): void {
    this.stop();
    this.#timerTick = tick;
    this.#timer = setTimeout(() => this.#turn(), Math.max(Math.ceil((tick * TICK_US - nowUs) / 1000), 1));
  }

  #turn(): void {
    this.#timer = null;
    const nowUs = this.#nowUs();
    const tick = Math.floor(nowUs / TICK_US);
    const ticks = Math.min(tick - this.#tick, BUCKETS);
    this.#tick = tick;
    for (let i = 0; i < ticks; i++) this.#expire((tick - i) % BUCKETS, nowUs);
    if (this.#armed > 0 && this.#timer === null) this.#setTimer(nowUs, this.#nextTick());
  }

  #expire(bucket: number, nowUs: number): void {
    let slot = this.#buckets[bucket];
    while (slot !== NONE) {
      if (this.#deadlineUs[slot] <= nowUs) {
        this.disarm(slot);
        this.#expired(slot);
        // Callbacks may have changed the list.
        slot = this.#buckets[bucket];
      } else {
        slot = this.#next[slot];
      }
    }
  }

  /** The first tick from now on whose bucket is not empty. */
  #nextTick(): number {
    for (let i = 1; i <= BUCKETS; i++) if (this.#buckets[(this.#tick + i) % BUCKETS] !== NONE) return this.#tick + i;
    return this.#tick + BUCKETS;
  }
}
