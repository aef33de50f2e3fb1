// Callback style (inline r2c): a ZcHandler is called while the packet is being processed.
import type { Core } from '../core/core.js';
import * as L from '../core/layout.js';
import { connectionReport } from '../report.js';
import type { ZcConnection, ZcHandler, ZcTarget } from './connection.js';

export class Callbacks implements ZcTarget {
  readonly #core: Core;
  readonly #handler: ZcHandler;

  constructor(core: Core, handler: ZcHandler) {
    this.#core = core;
    this.#handler = handler;
  }

  notify(connection: ZcConnection, kind: number, a: number, b: number): void {
    const handler = this.#handler;
    switch (kind) {
      case L.EV_DATA:
        if (handler.data) handler.data(connection, a, b);
        else this.#core.free(a);
        break;
      case L.EV_WRITE:
        handler.writable?.(connection);
        break;
      case L.EV_ACCEPT:
        handler.accept?.(connection);
        break;
      case L.EV_CONNECT:
        handler.connect?.(connection);
        break;
      case L.EV_EOF:
        handler.eof?.(connection);
        break;
      case L.EV_REPORT:
        handler.report?.(connection, connectionReport(a & 0xff, a >>> 8, b));
        break;
      case L.EV_ERROR: {
        const failure = connection.failure(a);
        try {
          handler.error?.(connection, failure);
        } finally {
          connection.close();
        }
        break;
      }
      case L.EV_CLOSED:
        try {
          handler.closed?.(connection);
        } finally {
          connection.close();
        }
        break;
    }
  }
}
