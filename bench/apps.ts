// Applications on inline sockets, by reference: the server answers a message with its own bytes once it is whole, the
// client keeps a number of them in flight.
import type { Core } from '../src/host/core/core.js';
import { EV_ACCEPT, EV_CONNECT, EV_DATA, EV_ERROR, EV_WRITE, IOV_SIZE } from '../src/host/core/layout.js';
import { handleMask, type Pair } from './pair.js';

export interface App {
  connected?(): void;
  data(addr: number, len: number): void;
  writable?(): void;
}

/** Finds the application of a handle without a hash: one table a core. Returns how to give a handle its application. */
export function dispatch(
  pair: Pair,
  accept: (core: Core, handle: number) => App,
): (core: Core, handle: number, app: App) => void {
  const tables = new Map([pair.server, pair.client].map((core) => [core, [] as App[]]));
  const mask = handleMask(pair.server);
  const serverTable = tables.get(pair.server)!;
  const clientTable = tables.get(pair.client)!;
  pair.onEvent = (core, handle, kind, a, b) => {
    const table = core === pair.server ? serverTable : clientTable;
    if (kind === EV_DATA) table[handle & mask].data(a, b);
    else if (kind === EV_ACCEPT) table[a & mask] = accept(core, a);
    else if (kind === EV_CONNECT) table[handle & mask].connected?.();
    else if (kind === EV_WRITE) table[handle & mask].writable?.();
    // The client aborts what it has done with; the handle is the server's to give back.
    else if (kind === EV_ERROR) core.close(handle);
  };
  return (core, handle, app) => {
    tables.get(core)![handle & mask] = app;
  };
}

/** Sends whole messages of `sizeBytes` back. */
export class Echo implements App {
  private readonly addr: number[] = [];
  private readonly len: number[] = [];
  private bytes = 0;

  constructor(
    private readonly core: Core,
    private readonly handle: number,
    private readonly sizeBytes: number,
  ) {}

  data(addr: number, len: number): void {
    const { core, handle, sizeBytes } = this;
    if (this.bytes === 0 && len === sizeBytes) {
      if (core.send(handle, addr, len) < 0) throw new Error('the response was refused');
      core.free(addr);
      return;
    }
    this.addr.push(addr);
    this.len.push(len);
    this.bytes += len;
    while (this.bytes >= sizeBytes) this.sendOne();
  }

  private sendOne(): void {
    const { core, handle, sizeBytes, addr, len } = this;
    const { scratch, dv } = core;
    let missing = sizeBytes;
    let pieces = 0;
    while (missing > 0) {
      const bytes = Math.min(missing, len[pieces]);
      dv.setUint32(scratch + pieces * IOV_SIZE, addr[pieces], true);
      dv.setUint32(scratch + pieces * IOV_SIZE + 4, bytes, true);
      missing -= bytes;
      pieces++;
      if (missing === 0 && bytes < len[pieces - 1]) {
        // The rest of the piece begins the next message.
        core.dup(addr[pieces - 1]);
        addr.splice(pieces, 0, addr[pieces - 1] + bytes);
        len.splice(pieces, 0, len[pieces - 1] - bytes);
      }
    }
    if (core.sendv(handle, scratch, pieces) < 0) throw new Error('the response was refused');
    for (let i = 0; i < pieces; i++) core.free(addr[i]);
    addr.splice(0, pieces);
    len.splice(0, pieces);
    this.bytes -= sizeBytes;
  }
}

/** Keeps `depth` messages of `sizeBytes` in flight. */
export class Requester implements App {
  completed = 0;
  /** Called at each response, before the next request. */
  onResponse: (() => void) | undefined;
  open = false;
  stopped = false;
  inFlight = 0;
  private got = 0;
  private readonly object: number;

  constructor(
    private readonly core: Core,
    readonly handle: number,
    private readonly sizeBytes: number,
    private readonly depth: number,
  ) {
    this.object = core.alloc(sizeBytes);
    if (this.object === 0) throw new Error('no Zbuf memory for the request');
  }

  connected(): void {
    this.open = true;
  }

  start(): void {
    for (let i = 0; i < this.depth; i++) this.send();
  }

  data(addr: number, len: number): void {
    this.core.free(addr);
    this.got += len;
    while (this.got >= this.sizeBytes) {
      this.got -= this.sizeBytes;
      this.completed++;
      this.inFlight--;
      this.onResponse?.();
      if (!this.stopped) this.send();
    }
  }

  private send(): void {
    if (this.core.send(this.handle, this.object, this.sizeBytes) < 0) throw new Error('the request was refused');
    this.inFlight++;
  }

  close(): void {
    this.core.abort(this.handle);
    this.core.free(this.object);
  }
}

/** Sends the same 16 KiB over and over, as much as the send queue takes. */
export class Source implements App {
  open = false;
  stopped = false;
  private readonly object: number;

  constructor(
    private readonly core: Core,
    readonly handle: number,
  ) {
    this.object = core.alloc(PIECE_BYTES);
  }

  connected(): void {
    this.open = true;
  }

  data(addr: number): void {
    this.core.free(addr);
  }

  writable(): void {
    // Refused when the queue is full: EV_WRITE comes when there is room again.
    while (!this.stopped && this.core.send(this.handle, this.object, PIECE_BYTES) >= 0);
  }

  close(): void {
    this.core.abort(this.handle);
    this.core.free(this.object);
  }
}

const PIECE_BYTES = 16384;

/** Takes what comes and counts it. */
export class Sink implements App {
  bytes = 0;

  constructor(private readonly core: Core) {}

  data(addr: number, len: number): void {
    this.core.free(addr);
    this.bytes += len;
  }
}
