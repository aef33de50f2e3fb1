// One end of a swarm connection: an application that writes so much, reads fast or slowly, and closes, half closes,
// aborts or waits, as its plan says. It knows what it should read and notices the first byte that differs.
import * as L from '../core/layout.js';
import type { SimHost } from './host.js';

export interface EndPlan {
  /** Bytes to send, and to expect unless the other end goes early. */
  send: number;
  /** Largest single write. */
  chunk: number;
  inline: boolean;
  /** Microseconds between two reads of a batch socket; 0: at once. */
  readEveryUs: number;
  /** Bytes that one such read takes at most. */
  readBytes: number;
  /** `end`: FIN after the last byte; `close`: close() after it; `abort`: RST after so many bytes have been sent. */
  finish: 'end' | 'close' | 'abort';
  abortAfter: number;
}

export interface EndWorld {
  /** Something an invariant forbids. */
  violation(text: string): void;
  /** Keeps one piece for ever: what a leak looks like. */
  leak: boolean;
}

/** Byte `i` of stream `stream`. */
export function streamByte(stream: number, i: number): number {
  return (i * 31 + (i >> 8) * 7 + stream * 17) & 255;
}

const PIECES = 16;

export class Endpoint {
  /** The handle, 0 before and after. */
  handle = 0;
  sent = 0;
  received = 0;
  /** The peer has ended its stream, and all of it has been read. */
  eof = false;
  /** The connection ended with this errno. */
  error = 0;
  /** How it ended for the application, '' while it has not. */
  over: '' | 'closed' | 'error' | 'aborted' | 'gone' = '';
  lastProgressUs = 0;
  #finished = false;
  #reading = false;
  #leaked = false;

  constructor(
    readonly host: SimHost,
    readonly plan: EndPlan,
    readonly name: string,
    /** The streams that it writes and reads. */
    readonly writes: number,
    readonly reads: number,
    readonly expected: number,
    readonly world: EndWorld,
  ) {}

  attach(handle: number): void {
    this.handle = handle;
    this.progress();
  }

  progress(): void {
    this.lastProgressUs = this.host.nowUs();
  }

  /** An event of this connection. */
  event(kind: number, a: number, b: number): void {
    if (this.over) {
      if (kind === L.EV_DATA && b !== 0) this.host.core.free(a);
      return;
    }
    this.progress();
    if (kind === L.EV_CONNECT || kind === L.EV_WRITE) this.write();
    else if (kind === L.EV_DATA) {
      if (b !== 0) this.#take(a, b);
      else this.read();
    } else if (kind === L.EV_EOF) {
      if (this.plan.inline) this.eof = true;
      else this.read();
      this.#settle();
    } else if (kind === L.EV_ERROR) {
      this.error = a;
      // What had arrived may still be read.
      if (!this.plan.inline) this.read(true);
      this.#finish('error');
    } else if (kind === L.EV_CLOSED) {
      if (!this.plan.inline) this.read(true);
      this.#finish('closed');
    }
  }

  write(): void {
    const { core } = this.host;
    while (this.handle !== 0 && this.sent < this.plan.send) {
      const size = Math.min(this.plan.chunk, this.plan.send - this.sent);
      const addr = core.alloc(size);
      if (addr === 0) {
        this.#later(() => this.write());
        return;
      }
      for (let i = 0; i < size; i++) core.u8[addr + i] = streamByte(this.writes, this.sent + i);
      const result = core.send(this.handle, addr, size);
      core.free(addr);
      if (result < 0) {
        if (result !== -L.EAGAIN && result !== -L.EPIPE && this.error === 0) this.error = -result;
        return;
      }
      this.sent += result;
      this.progress();
      if (this.plan.finish === 'abort' && this.sent >= this.plan.abortAfter) {
        this.abort();
        return;
      }
    }
    this.#done();
  }

  /** All is written. */
  #done(): void {
    if (this.#finished || this.handle === 0 || this.sent < this.plan.send) return;
    if (this.plan.finish === 'abort') this.abort();
    else if (this.plan.finish === 'close' && this.eof && this.received >= this.expected) this.#finish('closed');
    // While it is opening shutdown() says ENOTCONN: again when it is connected.
    else this.#finished = this.host.core.shutdown(this.handle) >= 0;
    this.#settle();
  }

  /** With `close` the handle is given up as soon as everything has been written and read. */
  #settle(): void {
    if (this.plan.finish === 'close' && this.#finished && this.eof && this.over === '') this.#finish('closed');
  }

  #take(addr: number, length: number): void {
    const { core } = this.host;
    for (let i = 0; i < length; i++) {
      if (core.u8[addr + i] !== streamByte(this.reads, this.received + i)) {
        this.world.violation(`${this.name}: byte ${this.received + i} of its stream is not what was sent`);
        break;
      }
    }
    this.received += length;
    this.progress();
    if (this.received > this.expected) this.world.violation(`${this.name}: more bytes than were sent`);
    if (this.world.leak && !this.#leaked) this.#leaked = true;
    else core.free(addr);
  }

  /** Reads what a batch socket has, in its own time unless `all`. */
  read(all = false): void {
    if (this.handle === 0 || (this.#reading && !all)) return;
    const { core } = this.host;
    let budget = all || this.plan.readEveryUs === 0 ? Number.POSITIVE_INFINITY : this.plan.readBytes;
    while (budget > 0) {
      const pieces = core.recv(this.handle, core.scratch, PIECES);
      // 0 comes behind the last byte and the peer's FIN.
      if (pieces === 0 && this.over === '') this.eof = true;
      if (pieces <= 0) {
        this.#settle();
        return;
      }
      const at = core.scratch >> 2;
      const list = Array.from(core.u32.subarray(at, at + 2 * pieces));
      for (let i = 0; i < pieces; i++) {
        this.#take(list[2 * i], list[2 * i + 1]);
        budget -= list[2 * i + 1];
      }
    }
    this.#reading = true;
    this.host.at(this.host.simNowNs() + this.plan.readEveryUs * 1000, () => {
      this.#reading = false;
      if (this.over === '') this.read();
    });
  }

  #later(work: () => void): void {
    this.host.at(this.host.simNowNs() + 1_000_000, () => {
      if (this.over === '') work();
    });
  }

  abort(): void {
    if (this.handle === 0) return;
    this.host.core.abort(this.handle);
    this.handle = 0;
    this.over = 'aborted';
  }

  /** The other end is gone for good and this one cannot know: gives up. */
  giveUp(): void {
    this.abort();
    this.over = 'gone';
  }

  #finish(how: 'closed' | 'error'): void {
    this.over = how;
    if (this.handle !== 0) this.host.core.close(this.handle);
    this.handle = 0;
  }
}
