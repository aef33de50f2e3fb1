// The client that an attack must not disturb: one connection with an RPC under way always, and every few turns
// a new one for a single RPC. It knows every byte that it should get.
import { writeAddress } from '../core/address.js';
import type { DrivenCore } from '../core/driven.js';
import * as L from '../core/layout.js';
import { streamByte } from '../sim/endpoint.js';

const RPC_BYTES = 200;
const ECHO_PORT = 80;
/** Turns between two openings. */
const OPEN_EVERY = 25;
/** An opening or its RPC that takes longer has failed, for someone who waits. */
const PATIENCE_US = 5_000_000;

interface Conversation {
  readonly handle: number;
  readonly stream: number;
  readonly openedUs: number;
  readonly once: boolean;
  sent: number;
  received: number;
}

export class Legitimate {
  /** RPCs of the long connection. */
  rpcs = 0;
  /** Short connections: begun, done, failed; and the longest time that one took from SYN to answer, µs. */
  opened = 0;
  done = 0;
  failed = 0;
  slowestUs = 0;
  /** Bytes that were not what was sent. */
  forged = 0;
  /** The long connection, and its end when it has ended: it never should. */
  handle = 0;
  ended = '';
  #talks = new Map<number, Conversation>();
  #turns = 0;
  #streams = 0;
  #running = true;
  /** Short connections are opened. */
  opens = true;

  constructor(
    readonly client: DrivenCore,
    readonly serverIp: string,
  ) {}

  #open(once: boolean): void {
    const { core, nowUs } = this.client;
    writeAddress(core.u8, core.scratch, this.serverIp);
    const handle = core.connect(core.scratch, ECHO_PORT, 0, 0, L.SOCK_INLINE);
    if (once) this.opened++;
    if (handle < 0) {
      this.failed++;
      return;
    }
    this.#talks.set(handle, { handle, stream: ++this.#streams, openedUs: nowUs, once, sent: 0, received: 0 });
    if (!once) this.handle = handle;
  }

  /** A turn of the application. */
  work(nowUs: number): void {
    if (!this.#running) return;
    if (this.handle === 0) this.#open(false);
    if (this.opens && this.#turns++ % OPEN_EVERY === 0) {
      this.#open(true);
      for (const talk of this.#talks.values()) {
        if (talk.once && nowUs - talk.openedUs > PATIENCE_US) this.#over(talk, false);
      }
    }
  }

  event(handle: number, kind: number, a: number, b: number): void {
    const { core } = this.client;
    const talk = this.#talks.get(handle);
    if (kind === L.EV_CONNECT && talk) this.#ask(talk);
    else if (kind === L.EV_DATA) {
      if (talk) this.#take(talk, a, b);
      core.free(a);
    } else if ((kind === L.EV_EOF || kind === L.EV_ERROR || kind === L.EV_CLOSED) && talk) {
      if (!talk.once) this.ended = `event ${kind}, errno ${a}`;
      this.#over(talk, false);
    }
  }

  #ask(talk: Conversation): void {
    const { core } = this.client;
    const addr = core.alloc(RPC_BYTES);
    for (let i = 0; i < RPC_BYTES; i++) core.u8[addr + i] = streamByte(talk.stream, talk.sent + i);
    core.send(talk.handle, addr, RPC_BYTES);
    core.free(addr);
    talk.sent += RPC_BYTES;
  }

  #take(talk: Conversation, addr: number, length: number): void {
    const { u8 } = this.client.core;
    for (let i = 0; i < length; i++) {
      if (u8[addr + i] !== streamByte(talk.stream, talk.received + i)) this.forged++;
    }
    talk.received += length;
    if (talk.received !== talk.sent) return;
    if (talk.once) this.#over(talk, true);
    else {
      this.rpcs++;
      if (this.#running) this.#ask(talk);
    }
  }

  #over(talk: Conversation, well: boolean): void {
    this.#talks.delete(talk.handle);
    if (talk.once) {
      if (well) this.done++;
      else this.failed++;
      this.slowestUs = Math.max(this.slowestUs, this.client.nowUs - talk.openedUs);
    }
    this.client.core.close(talk.handle);
  }

  stop(): void {
    this.#running = false;
    for (const talk of this.#talks.values()) this.client.core.abort(talk.handle);
    this.#talks.clear();
  }
}
