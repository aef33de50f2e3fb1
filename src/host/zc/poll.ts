// Poll style (batch r2c): a list of the connections on which something has happened, once for every burst.
import * as L from '../core/layout.js';
import { outOfRange } from '../net/errors.js';
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
  // By index. They are as long as the list ever was: shortening an array gives its memory up, only for the next burst to
  // ask for it again.
  readonly #ready: (ZcConnection | null)[] = [];
  readonly #events: number[] = [];
  readonly #errnos: number[] = [];
  readonly #reports: (ConnectionReport | null)[] = [];
  #length = 0;
  #waiting: ((ready: number) => void) | null = null;

  /** @internal */
  constructor(onReady: ((poll: ZcPoll) => void) | null) {
    this.#onReady = onReady;
  }

  /** Ready connections. */
  get length(): number {
    return this.#length;
  }

  at(index: number): ZcConnection {
    return this.#ready[this.#checked(index)] as ZcConnection;
  }

  /** ZC_… bits of the connection at `index`. */
  events(index: number): number {
    return this.#events[this.#checked(index)];
  }

  /** The errno behind ZC_ERR, positive; 0 without one. */
  errno(index: number): number {
    return this.#errnos[this.#checked(index)];
  }

  /** What ZC_PRI is about, the latest of it; null without. */
  report(index: number): ConnectionReport | null {
    return this.#reports[this.#checked(index)];
  }

  #checked(index: number): number {
    if (index >= 0 && index < this.#length) return index;
    throw outOfRange('index', `0 to ${this.#length - 1}`, index);
  }

  /** Resolves with the number of ready connections, at once if there are any. For polls without a callback. */
  wait(): Promise<number> {
    if (this.#length > 0) return Promise.resolve(this.#length);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Done with the list. A poll with a callback does it itself when the callback returns. */
  clear(): void {
    for (let i = 0; i < this.#length; i++) {
      (this.#ready[i] as ZcConnection).pollIndex = -1;
      this.#ready[i] = null;
      this.#reports[i] = null;
    }
    this.#length = 0;
  }

  /** @internal */
  notify(connection: ZcConnection, kind: number, a: number, b: number): void {
    const index = connection.pollIndex >= 0 ? connection.pollIndex : this.#append(connection);
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
        this.#reports[index] = connectionReport(a & 0xff, a >>> 8, b);
        break;
      case L.EV_ERROR:
        bits = ZC_ERR;
        this.#errnos[index] = a;
        break;
      case L.EV_CLOSED:
        bits = ZC_HUP;
        break;
    }
    this.#events[index] |= bits;
  }

  #append(connection: ZcConnection): number {
    const index = this.#length++;
    connection.pollIndex = index;
    this.#ready[index] = connection;
    this.#events[index] = 0;
    this.#errnos[index] = 0;
    this.#reports[index] = null;
    return index;
  }

  /**
   * The events of a burst are all in.
   * @internal
   */
  deliver(): void {
    if (this.#length === 0) return;
    if (this.#onReady) {
      try {
        this.#onReady(this);
      } finally {
        this.clear();
      }
    } else if (this.#waiting) {
      const resolve = this.#waiting;
      this.#waiting = null;
      resolve(this.#length);
    }
  }
}
