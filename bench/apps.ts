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

/** Pieces that a message may come in. */
const PIECES_MOST = 512;

/** Sends whole messages of `sizeBytes` back. */
export class Echo implements App {
  /** The pieces of the message that is coming, as sendv() takes them; made when a message first comes in several. */
  private iov = 0;
  private pieces = 0;
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
    if (this.iov === 0) {
      this.iov = core.alloc(PIECES_MOST * IOV_SIZE);
      if (this.iov === 0) throw new Error('no Zbuf memory for the pieces of a message');
    }
    if (this.pieces === PIECES_MOST) throw new Error('the message comes in too many pieces');
    this.put(this.pieces++, addr, len);
    this.bytes += len;
    while (this.bytes >= sizeBytes) this.sendOne();
  }

  private put(index: number, addr: number, len: number): void {
    const at = (this.iov + index * IOV_SIZE) >> 2;
    this.core.u32[at] = addr;
    this.core.u32[at + 1] = len;
  }

  /** Sends the message that the last piece has completed; the rest of that piece begins the next one. */
  private sendOne(): void {
    const { core, handle, iov, pieces } = this;
    const { u32 } = core;
    const more = this.bytes - this.sizeBytes;
    const last = (iov + (pieces - 1) * IOV_SIZE) >> 2;
    const rest = u32[last] + u32[last + 1] - more;
    if (more !== 0) {
      u32[last + 1] -= more;
      core.dup(rest);
    }
    if (core.sendv(handle, iov, pieces) < 0) throw new Error('the response was refused');
    for (let i = 0; i < pieces; i++) core.free(u32[(iov + i * IOV_SIZE) >> 2]);
    if (more !== 0) this.put(0, rest, more);
    this.pieces = more === 0 ? 0 : 1;
    this.bytes = more;
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
