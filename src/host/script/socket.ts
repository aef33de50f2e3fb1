// A socket of a script.
import { type Busy, newBusy } from './busy.js';
import { type Notice, newZeroCopy, type ZeroCopy } from './error-queue.js';
import type { SendLimits } from './send-buffer.js';
import { newStamps, type Stamps } from './timestamping.js';

/** The defaults where a script does not say. */
export interface Destination {
  readonly ip: string | null;
  readonly port: number | null;
}

export interface Socket {
  /** The core's handle, 0 before listen() or connect(). */
  handle: number;
  state: 'new' | 'listening' | 'deferred' | 'connecting' | 'connected' | 'dead';
  nonblocking: boolean;
  /** TCP_FASTOPEN_CONNECT: connect() waits for data; where to, in state 'deferred'. */
  fastOpenConnect: boolean;
  deferredTo: Destination | null;
  port: number;
  /** Options set before there was a handle. */
  readonly waiting: [option: number, value: number][];
  /** Socket options by level and name, in Linux's units. */
  readonly kept: Map<string, number>;
  /** SO_LINGER in seconds, null when off. */
  linger: number | null;
  /** Errno that the next call reports. */
  error: number;
  eof: boolean;
  /** Both directions are closed. */
  closed: boolean;
  readShut: boolean;
  writeShut: boolean;
  /** A connect() has said that the connection is open. */
  connectTold: boolean;
  /** Taken from the core and not yet read: bytes. */
  unread: number;
  /** SO_RCVLOWAT */
  readLeast: number;
  /** TCP_INQ: reading tells how much is left. */
  tellsQueue: boolean;
  sendLimits: SendLimits;
  /** Largest window that the peer has offered. */
  maxWindow: number;
  /** Where in the stream of written bytes the last buffer begins, and whether it takes no more (MSG_EOR). */
  tail: { start: number; closed: boolean };
  /** A write did not find room: being writable again is news. */
  noSpace: boolean;
  readonly busy: Busy;
  readonly zeroCopy: ZeroCopy;
  readonly stamps: Stamps;
  /** The error queue. */
  readonly notices: Notice[];
  /** Bytes written and read in all. */
  writtenBytes: number;
  readBytes: number;
  /** Events so far: an edge for epoll. */
  events: number;
}

export function newSocket(
  handle: number,
  state: Socket['state'],
  port: number,
  sndMem: readonly [number, number],
): Socket {
  return {
    handle,
    state,
    nonblocking: false,
    fastOpenConnect: false,
    deferredTo: null,
    port,
    waiting: [],
    kept: new Map(),
    linger: null,
    error: 0,
    eof: false,
    closed: false,
    readShut: false,
    writeShut: false,
    connectTold: false,
    unread: 0,
    readLeast: 1,
    tellsQueue: false,
    sendLimits: {
      lockedBytes: null,
      initialBytes: sndMem[0],
      mostBytes: sndMem[1],
      lowWaterBytes: Number.POSITIVE_INFINITY,
    },
    maxWindow: 0,
    tail: { start: 0, closed: false },
    noSpace: false,
    busy: newBusy(),
    zeroCopy: newZeroCopy(),
    stamps: newStamps(),
    notices: [],
    writtenBytes: 0,
    readBytes: 0,
    events: 0,
  };
}
