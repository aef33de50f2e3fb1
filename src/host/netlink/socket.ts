// Requests and answers over a netlink socket: sequence numbers, acknowledgements, dumps. What nobody asked for is a
// notification.

import * as nl from './constants.js';
import { malformed, netlinkError } from './errors.js';
import { type AttributeSpec, encodeMessage, type NetlinkMessage, parseError, parseMessages } from './messages.js';

/** The addon's raw socket (native/netlink.cc). */
export interface RawNetlink {
  readonly pid: number;
  send(bytes: Uint8Array): void;
  ref(): void;
  unref(): void;
  close(): void;
}

/** The part of the addon that this folder uses. */
export interface NetlinkAddon {
  openNetlink(groups: number, onMessage: (bytes: Uint8Array) => void, onOverrun: () => void): RawNetlink;
}

export interface Request {
  /** For error messages, e.g. 'dump of routes'. */
  what: string;
  type: number;
  /** Beyond NLM_F_REQUEST and what the call itself needs. */
  flags?: number;
  fixed: Uint8Array;
  attributes?: readonly AttributeSpec[];
}

export interface NetlinkSocketHandlers {
  /** A notification from one of the groups. */
  notify?(message: NetlinkMessage): void;
  /** Notifications were lost: dump again. */
  overrun?(): void;
  /** A datagram that could not be understood; it is dropped. */
  malformed?(error: Error): void;
}

export interface NetlinkSocket {
  /** Sends a request and waits for the acknowledgement; the messages that came before it are the result. */
  request(request: Request): Promise<NetlinkMessage[]>;
  /**
   * Dumps a table, each message as it comes. A table that changed under the dump is dumped again, after `restart`:
   * the first attempt may have missed entries.
   */
  dump(request: Request, each: (message: NetlinkMessage) => void, restart?: () => void): Promise<void>;
  ref(): void;
  unref(): void;
  /** Outstanding requests fail with ECANCELED. */
  close(): void;
}

/** The kernel's tables may change under every dump, but not for ever. */
const DUMP_ATTEMPTS = 8;

interface Pending {
  what: string;
  dump: boolean;
  interrupted: boolean;
  take(message: NetlinkMessage): void;
  settle(error: Error | null): void;
}

/** @throws the addon's error when the kernel gives no socket. */
export function openNetlinkSocket(
  addon: NetlinkAddon,
  groups: number,
  handlers: NetlinkSocketHandlers = {},
): NetlinkSocket {
  const pending = new Map<number, Pending>();
  let sequence = 0;
  let closed = false;
  // One dump at a time: the kernel answers EBUSY to a second one on the same socket.
  let dumpTurn: Promise<unknown> = Promise.resolve();

  const raw = addon.openNetlink(groups, onDatagram, onOverrun);

  function onDatagram(datagram: Uint8Array): void {
    let messages: NetlinkMessage[];
    try {
      messages = parseMessages(datagram);
    } catch (error) {
      handlers.malformed?.(error as Error);
      // An answer may have been in it, and nobody must wait for ever.
      handlers.overrun?.();
      return;
    }
    for (const message of messages) {
      if (closed) return;
      try {
        dispatch(message);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBADMSG') throw error;
        handlers.malformed?.(error as Error);
      }
    }
  }

  function dispatch(message: NetlinkMessage): void {
    if (message.type === nl.NLMSG_NOOP) return;
    const request = message.portId === raw.pid ? pending.get(message.sequence) : undefined;
    if (request === undefined) {
      // What our own requests changed is notified with our port id, mostly with sequence 0. An answer that comes
      // after its request was given up is none.
      const late = message.portId === raw.pid && message.sequence !== 0;
      if (message.type > nl.NLMSG_DONE && !late) handlers.notify?.(message);
      return;
    }
    if ((message.flags & nl.NLM_F_DUMP_INTR) !== 0 && request.dump) request.interrupted = true;
    if (message.type !== nl.NLMSG_ERROR && message.type !== nl.NLMSG_DONE) {
      try {
        request.take(message);
      } catch (error) {
        pending.delete(message.sequence);
        request.settle(error as Error);
      }
      return;
    }
    pending.delete(message.sequence);
    let failure: Error | null = null;
    try {
      const { errno, text } = parseError(message);
      if (errno !== 0) failure = netlinkError(errno, request.what, text);
    } catch (error) {
      failure = error as Error;
    }
    request.settle(failure);
  }

  function onOverrun(): void {
    // Acknowledgements are lost with the notifications; the parts of a dump wait in the kernel and are not.
    for (const [key, request] of pending) {
      if (request.dump) continue;
      pending.delete(key);
      request.settle(netlinkError(105, request.what, 'the answer was lost in an overrun'));
    }
    handlers.overrun?.();
  }

  function transact(
    request: Request,
    flags: number,
    take: (message: NetlinkMessage) => void,
  ): Promise<{ interrupted: boolean }> {
    return new Promise((resolve, reject) => {
      if (closed) {
        reject(netlinkError(125, request.what, 'the socket is closed'));
        return;
      }
      sequence = (sequence + 1) >>> 0 || 1;
      const key = sequence;
      const entry: Pending = {
        what: request.what,
        dump: (flags & nl.NLM_F_DUMP) === nl.NLM_F_DUMP,
        interrupted: false,
        take,
        settle: (error) => (error === null ? resolve({ interrupted: entry.interrupted }) : reject(error)),
      };
      pending.set(key, entry);
      try {
        raw.send(
          encodeMessage(
            request.type,
            nl.NLM_F_REQUEST | flags | (request.flags ?? 0),
            key,
            request.fixed,
            request.attributes ?? [],
          ),
        );
      } catch (error) {
        pending.delete(key);
        reject(error);
      }
    });
  }

  async function dumpUntilConsistent(
    request: Request,
    each: (message: NetlinkMessage) => void,
    restart: (() => void) | undefined,
  ): Promise<void> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      if (attempt > 0) restart?.();
      const { interrupted } = await transact(request, nl.NLM_F_DUMP, each);
      if (!interrupted) return;
    }
    throw netlinkError(4, request.what, `the table changed under each of ${DUMP_ATTEMPTS} dumps`);
  }

  return {
    async request(request) {
      const answers: NetlinkMessage[] = [];
      await transact(request, nl.NLM_F_ACK, (message) => answers.push(message));
      return answers;
    },
    dump(request, each, restart) {
      const turn = dumpTurn.then(() => dumpUntilConsistent(request, each, restart));
      dumpTurn = turn.catch(() => undefined);
      return turn;
    },
    ref: () => raw.ref(),
    unref: () => raw.unref(),
    close() {
      if (closed) return;
      closed = true;
      raw.close();
      for (const request of pending.values()) {
        request.settle(netlinkError(125, request.what, 'the socket is closed'));
      }
      pending.clear();
    },
  };
}

/** The only message of an answer. @throws EBADMSG when there is none. */
export function onlyAnswer(answers: readonly NetlinkMessage[], what: string): NetlinkMessage {
  if (answers.length === 0) throw malformed(`no answer to ${what}`);
  return answers[0];
}
