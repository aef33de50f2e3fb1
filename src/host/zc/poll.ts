// Poll style (batch r2c): a list of the connections on which something has happened, once for every burst.
import * as L from '../core/layout.js';
import { type ConnectionReport, connectionReport } from '../report.js';
import type { ZcConnection, ZcTarget } from './connection.js';

/** Bits of a poll's events, named and numbered as epoll's where epoll has them. */
export const ZC_IN = 0x001;
/** There is a report(). */
export const ZC_PRI = 0x002;
/** connect() is done, or there is room in the send queue again. */
export const ZC_OUT = 0x004;
/** The connection failed: errno() tells why. close() it. */
export const ZC_ERR = 0x008;
/** Both directions have ended. close() it. */
export const ZC_HUP = 0x010;
/** The peer has sent everything. */
export const ZC_RDHUP = 0x2000;
/** A new connection of a listener. */
export const ZC_NEW = 0x10000;

/**
 * Ready connections of one burst. Edge-triggered, like epoll with EPOLLET: ZC_IN is not repeated until recv() has
 * given 0 and more has come.
 */
export class ZcPoll implements ZcTarget {
  readonly #onReady: ((poll: ZcPoll) => void) | null;
  readonly #ready: ZcConnection[] = [];
  #events: number[] = [];
  readonly #index = new Map<ZcConnection, number>();
  readonly #errnos = new Map<ZcConnection, number>();
  readonly #reports = new Map<ZcConnection, ConnectionReport>();
  #waiting: ((ready: number) => void) | null = null;

  /** @internal */
  constructor(onReady: ((poll: ZcPoll) => void) | null) {
    this.#onReady = onReady;
  }

  /** Ready connections. */
  get length(): number {
    return this.#ready.length;
  }

  at(index: number): ZcConnection {
    return this.#ready[index];
  }

  /** ZC_… bits of the connection at `index`. */
  events(index: number): number {
    return this.#events[index];
  }

  /** The errno behind ZC_ERR, positive; 0 without one. */
  errno(index: number): number {
    return this.#errnos.get(this.#ready[index]) ?? 0;
  }

  /** What ZC_PRI is about, the latest of it; null without. */
  report(index: number): ConnectionReport | null {
    return this.#reports.get(this.#ready[index]) ?? null;
  }

  /** Resolves with the number of ready connections, at once if there are any. For polls without a callback. */
  wait(): Promise<number> {
    if (this.#ready.length > 0) return Promise.resolve(this.#ready.length);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Done with the list. A poll with a callback does it itself when the callback returns. */
  clear(): void {
    this.#ready.length = 0;
    this.#events.length = 0;
    this.#index.clear();
    this.#errnos.clear();
    this.#reports.clear();
  }

  /** @internal */
  notify(connection: ZcConnection, kind: number, a: number, b: number): void {
    let bits = 0;
    switch (kind) {
      case L.EV_DATA:
        bits = ZC_IN;
        break;
      case L.EV_CONNECT:
      case L.EV_WRITE:
        bits = ZC_OUT;
        break;
      case L.EV_ACCEPT:
        bits = ZC_NEW;
        break;
      case L.EV_EOF:
        bits = ZC_RDHUP;
        break;
      case L.EV_REPORT:
        bits = ZC_PRI;
        this.#reports.set(connection, connectionReport(a & 0xff, a >>> 8, b));
        break;
      case L.EV_ERROR:
        bits = ZC_ERR;
        this.#errnos.set(connection, a);
        break;
      case L.EV_CLOSED:
        bits = ZC_HUP;
        break;
    }
    const index = this.#index.get(connection);
    if (index === undefined) {
      this.#index.set(connection, this.#ready.length);
      this.#ready.push(connection);
      this.#events.push(bits);
    } else {
      this.#events[index] |= bits;
    }
  }

  /**
   * The events of a burst are all in.
   * @internal
   */
  deliver(): void {
    if (this.#ready.length === 0) return;
    if (this.#onReady) {
      try {
        this.#onReady(this);
      } finally {
        this.clear();
      }
    } else if (this.#waiting) {
      const resolve = this.#waiting;
      this.#waiting = null;
      resolve(this.#ready.length);
    }
  }
}
