// What both ends of a connection have in common: HELLO, streams, pings, orderly and other endings.

import type { Iov, Piece } from '../zc/iov.js';
import { type RpcError, rpcError } from './errors.js';
import { Framer, type FrameSink } from './framing.js';
import { FLAG_END, KIND_CREDIT, KIND_DATA, KIND_GOAWAY, KIND_HELLO, KIND_PING, KIND_PONG, MAX_U32 } from './header.js';
import type { RpcMemory } from './memory.js';
import { Output } from './output.js';
import type { RpcStream, StreamOwner } from './stream.js';
import type { RpcTransport, TransportSink } from './transport.js';

export interface SessionOptions {
  /** Bytes of the largest request or response (not stream) taken; 1 MiB by default. */
  maxMessageBytes?: number;
  /** Bytes of each stream that may wait here for their consumer; 256 KiB by default. */
  windowBytes?: number;
  /** Milliseconds of silence after which the peer is asked whether it is there; 0, the default: never. */
  keepAliveMs?: number;
  /** Milliseconds it may take to answer then; 1000 by default. */
  keepAliveTimeoutMs?: number;
}

/** What has happened on a client, or on all connections of a server. */
export interface RpcCounters {
  /** Requests sent (client) or handed to a handler (server). */
  requests: number;
  /** Those that ended with an answer that is no error. */
  responses: number;
  /** Those that ended otherwise. */
  errors: number;
  /** Client: answers to calls that had been given up. Server: answers of handlers to such requests. */
  late: number;
  cancelled: number;
  /** Client: calls that ended by their deadline. */
  deadlines: number;
  /** Calls or requests for which there was no room. */
  busy: number;
  /** Handlers that threw. */
  exceptions: number;
  /** Connections closed because the peer did not keep to the protocol. */
  protocolErrors: number;
}

export function zeroCounters(): RpcCounters {
  return {
    requests: 0,
    responses: 0,
    errors: 0,
    late: 0,
    cancelled: 0,
    deadlines: 0,
    busy: 0,
    exceptions: 0,
    protocolErrors: 0,
  };
}

export const DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024;
const DEFAULT_WINDOW_BYTES = 256 * 1024;
const DEFAULT_KEEPALIVE_TIMEOUT_MS = 1000;
/** Answers without a request behind them (pongs, refusals) that may wait for a peer that does not read. */
const MOST_UNREAD_ANSWERS = 4096;

interface Ping {
  resolve: (rttUs: number) => void;
  reject: (error: Error) => void;
  sentUs: number;
}

export abstract class Session implements FrameSink, TransportSink, StreamOwner {
  readonly memory: RpcMemory;
  /** @internal */
  readonly output: Output;
  protected readonly transport: RpcTransport;
  protected readonly framer: Framer;
  protected readonly maxMessageBytes: number;
  /** @internal */
  readonly windowBytes: number;
  /** What the peer's HELLO says; generous until it comes. */
  protected peerRequests = MAX_U32;
  protected peerMessageBytes = MAX_U32;
  /** The window of the peer's streams; 0 until its HELLO comes. */
  protected peerWindowBytes = 0;
  protected open = false;
  protected gone = false;
  #greeted = false;
  /** Ends in order as soon as the output is empty. */
  #ending = false;
  /** The stream whose DATA is arriving. */
  #stream: RpcStream | null = null;
  #unreadAnswers = 0;
  /** Something has come since the keepalive timer looked. */
  #heard = false;
  #reading = true;
  #keepAlive: NodeJS.Timeout | null = null;
  readonly #pings: Ping[] = [];

  constructor(transport: RpcTransport, options: SessionOptions, requests: number) {
    this.transport = transport;
    this.memory = transport.memory;
    this.maxMessageBytes = options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES;
    this.windowBytes = options.windowBytes ?? DEFAULT_WINDOW_BYTES;
    this.output = new Output(transport);
    this.framer = new Framer(this.memory, this, this.maxMessageBytes);
    this.output.message(KIND_HELLO, 0, 0, requests, this.maxMessageBytes, 0, this.windowBytes, null);
    const { keepAliveMs = 0, keepAliveTimeoutMs = DEFAULT_KEEPALIVE_TIMEOUT_MS } = options;
    if (keepAliveMs > 0) this.#watch(keepAliveMs, keepAliveTimeoutMs);
  }

  /** The connection is there and can be used. */
  get isOpen(): boolean {
    return this.open && !this.gone;
  }

  // ---- what an end does itself ---------------------------------------------------------------------------

  protected abstract readonly counters: RpcCounters;
  /** REQUEST, RESPONSE, ERROR or CANCEL. */
  protected abstract handle(frame: Framer): void;
  /** The stream of an id, or null when there is none any more. */
  protected abstract streamOf(id: number): RpcStream | null;
  /** A stream's body has ended in the peer's direction. */
  protected abstract streamEnded(stream: RpcStream): void;
  protected abstract helloCame(): void;
  protected abstract goAwayCame(): void;
  /** The connection is over: everything that waits on it ends. */
  protected abstract lost(error: Error | null): void;
  /** @internal StreamOwner */
  abstract streamCancelled(stream: RpcStream): void;
  /** @internal StreamOwner */
  abstract streamFinished(stream: RpcStream): void;

  // ---- TransportSink -------------------------------------------------------------------------------------

  /** @internal */
  opened(): void {
    this.open = true;
    this.output.unblock();
  }

  /** @internal */
  receive(view: DataView, at: number, addr: number, len: number): void {
    this.#heard = true;
    const { output } = this;
    output.cork();
    try {
      this.framer.receive(view, at, addr, len);
    } finally {
      // It throws when a handler has freed what is not its own; what was answered leaves all the same.
      output.uncork();
    }
    if (output.isEmpty) this.#unreadAnswers = 0;
    if (this.#ending) this.#finish();
  }

  /** @internal */
  writable(): void {
    this.output.unblock();
    if (this.output.isEmpty) this.#unreadAnswers = 0;
    if (this.#ending) this.#finish();
  }

  /** @internal */
  ended(): void {
    if (this.framer.inMessage) {
      this.malformed('the connection ended inside a message');
    } else if (!this.gone) {
      this.#over(null);
      this.transport.end();
    }
  }

  /** @internal */
  closed(error: Error | null): void {
    this.#over(error);
  }

  // ---- FrameSink -----------------------------------------------------------------------------------------

  /** @internal */
  message(frame: Framer): void {
    switch (frame.kind) {
      case KIND_HELLO:
        if (this.#greeted) {
          this.malformed('a second HELLO');
          break;
        }
        this.#greeted = true;
        this.peerRequests = frame.method;
        this.peerMessageBytes = frame.deadlineUs;
        this.peerWindowBytes = frame.credit;
        this.helloCame();
        break;
      case KIND_CREDIT:
        if (this.streamOf(frame.id)?.credited(frame.credit) === false) this.malformed('more credit than can be');
        break;
      case KIND_PING:
        this.answer(KIND_PONG, frame.id, 0);
        break;
      case KIND_PONG: {
        const ping = this.#pings.shift();
        ping?.resolve(this.transport.nowUs() - ping.sentUs);
        break;
      }
      case KIND_GOAWAY:
        this.goAwayCame();
        break;
      default:
        this.handle(frame);
    }
  }

  /** @internal */
  dataBegin(frame: Framer): void {
    // Without one it has ended here while this was on its way.
    this.#stream = this.streamOf(frame.id);
    if (this.#stream?.expects(frame.length) === false) this.malformed('a stream beyond its window');
  }

  /** @internal */
  data(addr: number, len: number): void {
    if (this.#stream === null) this.memory.free(addr);
    else if (!this.#stream.received(addr, len)) this.malformed('a stream in pieces of a few bytes each');
  }

  /** @internal */
  dataEnd(last: boolean): void {
    const stream = this.#stream;
    this.#stream = null;
    if (last && stream !== null) this.streamEnded(stream);
  }

  /** @internal */
  malformed(what: string): void {
    if (this.gone) return;
    this.counters.protocolErrors++;
    this.destroy(rpcError('ERR_RPC_PROTOCOL', `the peer does not keep to the protocol: ${what}`, true));
  }

  // ---- sending -------------------------------------------------------------------------------------------

  /** An answer that no request of ours bounds: a peer that asks and does not read must not fill our memory. */
  protected answer(kind: number, id: number, status: number): void {
    if (!this.output.isEmpty && ++this.#unreadAnswers > MOST_UNREAD_ANSWERS) {
      this.malformed('asks and does not read the answers');
      return;
    }
    this.control(kind, id, status, 0);
  }

  protected control(kind: number, id: number, status: number, credit: number): void {
    try {
      this.output.message(kind, 0, id, 0, 0, status, credit, null);
    } catch (error) {
      // No memory for a header: what cannot be said would be waited for.
      this.destroy(error as Error);
    }
  }

  /** @internal StreamOwner */
  streamData(id: number, payload: Iov | readonly Piece[] | null, last: boolean): void {
    this.output.message(KIND_DATA, last ? FLAG_END : 0, id, 0, 0, 0, 0, payload);
  }

  /** @internal StreamOwner */
  streamCredit(id: number, bytes: number): void {
    this.control(KIND_CREDIT, id, 0, bytes);
  }

  /** Whether what the peer sends is read. What is not, signs of life too, comes afterwards. */
  protected read(on: boolean): void {
    this.#reading = on;
    this.#heard = true;
    if (on) this.transport.resume();
    else this.transport.pause();
  }

  /** Asks the peer for a sign of life; resolves with the round trip in microseconds. */
  ping(): Promise<number> {
    if (this.gone) return Promise.reject(rpcError('ERR_RPC_CLOSED', 'the connection is closed'));
    return new Promise((resolve, reject) => {
      this.#pings.push({ resolve, reject, sentUs: this.transport.nowUs() });
      this.control(KIND_PING, 0, 0, 0);
    });
  }

  #watch(silenceMs: number, timeoutMs: number): void {
    let asked = false;
    const look = (): void => {
      const heard = this.#heard || !this.open || !this.#reading;
      this.#heard = false;
      if (asked && !heard) {
        this.destroy(rpcError('ERR_RPC_LOST', `the peer has been silent for ${silenceMs + timeoutMs} ms`, true));
        return;
      }
      asked = !heard;
      if (asked) this.ping().catch(() => undefined);
      this.#keepAlive = setTimeout(look, asked ? timeoutMs : silenceMs);
      this.#keepAlive.unref();
    };
    this.#keepAlive = setTimeout(look, silenceMs);
    this.#keepAlive.unref();
  }

  // ---- endings -------------------------------------------------------------------------------------------

  /** Ends in order when everything queued has been handed over. */
  protected finish(): void {
    this.#ending = true;
    this.#finish();
  }

  #finish(): void {
    if (this.gone || !this.output.isEmpty) return;
    const { transport } = this;
    this.#over(null);
    transport.end();
  }

  /** Ends at once. */
  destroy(error: Error | null): void {
    if (this.gone) return;
    const { transport } = this;
    this.#over(error);
    transport.abort();
  }

  #over(error: Error | null): void {
    if (this.gone) return;
    this.gone = true;
    this.open = false;
    if (this.#keepAlive) clearTimeout(this.#keepAlive);
    this.#stream = null;
    this.framer.stop();
    this.output.close();
    const reason = error ?? rpcError('ERR_RPC_CLOSED', 'the connection is closed');
    for (const { reject } of this.#pings.splice(0)) reject(reason);
    this.lost(error);
  }
}

/** Why a call of a connection that is gone has failed. */
export function lossOf(error: Error | null, mayHaveRun: boolean): RpcError {
  const text = error ? error.message : 'the peer has closed the connection';
  const what = mayHaveRun ? 'the request may have been executed' : 'the request was not sent';
  return Object.assign(rpcError(mayHaveRun ? 'ERR_RPC_LOST' : 'ERR_RPC_UNSENT', `${text}; ${what}`, mayHaveRun), {
    ...(error ? { cause: error } : {}),
  });
}
