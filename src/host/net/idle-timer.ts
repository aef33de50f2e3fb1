// The timer behind socket.setTimeout(): made once, refreshed by every bit of traffic, never holding the process.

export class IdleTimer {
  readonly #expired: () => void;
  #timer: NodeJS.Timeout | null = null;
  #timerMs = 0;

  constructor(expired: () => void) {
    this.#expired = expired;
  }

  /** Starts anew with `ms`. */
  start(ms: number): void {
    if (this.#timer && this.#timerMs === ms) {
      this.#timer.refresh();
      return;
    }
    this.stop();
    this.#timerMs = ms;
    this.#timer = setTimeout(this.#expired, ms).unref();
  }

  refresh(): void {
    this.#timer?.refresh();
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
