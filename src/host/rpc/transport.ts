// What carries messages: an ordered stream of bytes that arrive as pieces of memory and leave as such.
import type { Iov } from '../zc/iov.js';
import type { RpcMemory } from './memory.js';

/** What a transport tells. */
export interface TransportSink {
  /** The transport is open: what is given to sendv() from now on may leave. */
  opened(): void;
  /** `len` bytes at `addr`, which lie at `at` of `view`. One reference is the sink's. */
  receive(view: DataView, at: number, addr: number, len: number): void;
  /** sendv() said false before; there is room again. */
  writable(): void;
  /** The peer sends no more. */
  ended(): void;
  /** It is gone, with the reason if there is one. Nothing follows. */
  closed(error: Error | null): void;
}

export interface RpcTransport {
  readonly memory: RpcMemory;
  /** A monotonic clock, microseconds. */
  nowUs(): number;
  /** Begins to tell. */
  start(sink: TransportSink): void;
  /** Takes all pieces by reference, or none: then writable() follows, or closed(). */
  sendv(iov: Iov): boolean;
  /** A view in which `addr` can be written, at offsetOf(addr). */
  viewOf(addr: number): DataView;
  offsetOf(addr: number): number;
  /** Stops receiving, so that TCP's window closes. */
  pause(): void;
  resume(): void;
  /** Ends in order, behind what was sent. */
  end(): void;
  /** Ends at once. closed() does not follow. */
  abort(): void;
}
