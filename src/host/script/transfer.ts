// Reading and writing, blocking or not.
import * as L from '../core/layout.js';
import { Mismatch, Unsupported, type Value } from './ast.js';
import { noticeControl, zeroCopySent } from './error-queue.js';
import type { Machine } from './machine.js';
import { type Control, checkControl, isNull, messageBytes } from './message.js';
import { bufferBytes, maySend, type SendState } from './send-buffer.js';
import type { Socket } from './socket.js';
import type { Attempt, CallContext, SocketView } from './sockets.js';
import { named } from './symbols.js';
import { arrivedAt, OPT_TSONLY, stampWritten } from './timestamping.js';
import { member } from './values.js';

export interface Transfer {
  /** `inside`: from or into the stack's own memory, not the buffer that the second argument names. */
  read(x: CallContext, s: Socket, count: number, flags: number, inside?: boolean): Attempt;
  /** `stamps`: SOF_TIMESTAMPING_… of this write, null for what the socket is set to. */
  write(x: CallContext, s: Socket, total: number, flags: number, stamps?: number | null, inside?: boolean): Attempt;
  receiveMessage(x: CallContext, s: Socket, message: Value | undefined, flags: number): Attempt;
  /** Queues up to `bytes` in the core, with SEND_… flags. Returns how many. */
  queue(s: Socket, bytes: number, flags: number, urgent: boolean): number;
  /** The socket's error, which is told once. */
  takeError(s: Socket): number;
}

const CHUNK_BYTES = 32768;
/** net.ipv4.tcp_min_tso_segs: what goes at once at usual round trips. */
const LEAST_PACKET_SEGMENTS = 2;
/** Received pieces taken at once. */
const PIECES = 64;
const MSG_PEEK = named('MSG_PEEK');
const MSG_DONTWAIT = named('MSG_DONTWAIT');
const MSG_WAITALL = named('MSG_WAITALL');
const MSG_MORE = named('MSG_MORE');
const MSG_EOR = named('MSG_EOR');
const MSG_OOB = named('MSG_OOB');
const MSG_ZEROCOPY = named('MSG_ZEROCOPY');
const MSG_ERRQUEUE = named('MSG_ERRQUEUE');
const MSG_TRUNC = named('MSG_TRUNC');

/** Compares the flags that a script expects of a received message, if it says any but what the call itself had. */
function checkFlags(x: CallContext, message: Value | undefined, flags: number): void {
  const expected = member(message, 'msg_flags');
  if (expected === null || expected === flags || expected === MSG_ERRQUEUE) return;
  throw new Mismatch(x.line, `the message flags are 0x${flags.toString(16)}`);
}

export function createTransfer(machine: Machine, view: SocketView): Transfer {
  const { core } = machine;

  function takeError(s: Socket): number {
    const { error } = s;
    s.error = 0;
    return error;
  }

  /** Whatever the core holds for the socket becomes unread bytes, up to `wanted`. */
  function fetch(s: Socket, wanted: number): void {
    const iov = core.scratch;
    while (s.unread < wanted) {
      // All at once where all is wanted: the core looks at the window once for each call.
      const all = view.available(s) <= wanted;
      const pieces = core.recv(s.handle, iov, all ? PIECES : 1);
      if (pieces <= 0) return;
      for (let entry = iov >> 2; entry < (iov >> 2) + 2 * pieces; entry += 2) {
        s.unread += core.u32[entry + 1];
        core.free(core.u32[entry]);
      }
    }
  }

  /** Bytes that the last buffer still takes, whatever the limits: what of it has not been sent may grow to full size. */
  function tailRoom(s: Socket, state: SendState): number {
    if (state.notSentBytes === 0 || s.tail.closed) return 0;
    const end = s.writtenBytes;
    const begin = Math.max(s.tail.start, end - state.notSentBytes);
    return Math.max(bufferBytes(state) - (end - begin), 0);
  }

  /** Queues up to `bytes` in the core. Returns how many, 0 when it has no room, or a negative errno. */
  function queue(s: Socket, bytes: number, flags: number, urgent: boolean): number {
    let queued = 0;
    while (queued < bytes) {
      const size = Math.min(bytes - queued, CHUNK_BYTES);
      const last = queued + size === bytes;
      const object = core.alloc(size);
      if (object === 0) break;
      core.u8.fill(0, object, object + size);
      const result =
        last && urgent
          ? core.sendUrgent(s.handle, object, size)
          : core.sendWith(s.handle, object, size, last ? flags : L.SEND_MORE);
      core.free(object);
      if (result === -L.EAGAIN) break;
      if (result < 0) return queued > 0 ? queued : result;
      queued += size;
      s.writtenBytes += size;
    }
    return queued;
  }

  function write(
    x: CallContext,
    s: Socket,
    total: number,
    flags: number,
    stamps: number | null = null,
    inside = false,
  ): Attempt {
    const block = !s.nonblocking && (flags & MSG_DONTWAIT) === 0;
    let written = 0;
    let pushed = 0;
    let waits = false;
    let early = false;

    /** SEND_… for the buffer that ends here: as tcp_sendmsg() marks them. */
    function marks(left: number, halfWindow: number, full: boolean): number {
      if (left === 0) return (flags & MSG_MORE ? L.SEND_MORE : 0) | (flags & MSG_EOR ? L.SEND_RECORD : 0);
      if (!full && written - pushed <= halfWindow) return L.SEND_OPEN;
      pushed = written;
      return L.SEND_PUSH;
    }

    return () => {
      if (written === 0) {
        if (s.error) return -takeError(s);
        if (s.state === 'connecting') {
          if (!block) return -L.EAGAIN;
          // The acknowledgment of the SYN-ACK waits for what is to be written.
          if (!early) written = queue(s, Math.min(total, CHUNK_BYTES), 0, false);
          early = true;
          return null;
        }
        if (s.state !== 'connected' || s.writeShut || s.closed) return -L.EPIPE;
        if (total > 0 && !inside && isNull(x.event.args[1])) return -L.EFAULT;
      } else if (s.state === 'connecting') return null;
      else if (s.state !== 'connected') return early && s.error ? -takeError(s) : written;
      // A writer that waits is woken when the socket is writable again, not by the first byte of room.
      if (waits && !view.writable(s)) return null;
      while (written < total) {
        const state = view.sendState(s);
        const room = tailRoom(s, state);
        if (room === 0 && !maySend(state, s.sendLimits)) break;
        const size = Math.min(total - written, room || bufferBytes(state));
        if (room === 0) s.tail = { start: s.writtenBytes, closed: false };
        const after = {
          ...state,
          queuedBytes: state.queuedBytes + size,
          notSentBytes: state.notSentBytes + size,
        };
        written += size;
        const first = state.notSentBytes === 0;
        const mark = marks(total - written, state.maxWindowBytes / 2, !first && !maySend(after, s.sendLimits));
        const result = queue(s, size, mark, written === total && (flags & MSG_OOB) !== 0);
        written -= size - Math.max(result, 0);
        if (result < 0) return written > 0 ? written : result;
        if (mark === L.SEND_OPEN && first && written < total) {
          // The first packet of the buffer goes alone (tcp_push_one()), so the buffer takes as much again.
          s.tail.start += Math.min(LEAST_PACKET_SEGMENTS * state.mssBytes, size);
        } else if (written < total) machine.turn();
        if (result < size) throw new Unsupported(x.line, `a queue of more than ${state.queuedBytes} bytes`);
      }
      if (written < total) {
        s.noSpace = true;
        waits = block;
        if (block) return null;
        if (written === 0) return -L.EAGAIN;
      }
      if (flags & MSG_EOR) s.tail.closed = true;
      if (flags & MSG_ZEROCOPY && s.zeroCopy.on) zeroCopySent(s);
      stampWritten(s.stamps, s.writtenBytes, stamps, s.tail.start);
      return written;
    };
  }

  function read(x: CallContext, s: Socket, count: number, flags: number, inside = false): Attempt {
    const block = !s.nonblocking && (flags & MSG_DONTWAIT) === 0;
    return () => {
      if (s.state === 'new' || s.state === 'listening' || s.state === 'deferred') return -L.ENOTCONN;
      if (s.state === 'connecting') return block ? null : -L.EAGAIN;
      const least = flags & MSG_WAITALL ? count : Math.min(s.readLeast, count);
      const ready = view.available(s);
      const ended = s.eof || s.readShut || s.state === 'dead' || s.closed;
      if (ready > 0 && (ready >= least || ended || !block)) {
        if (!inside && isNull(x.event.args[1]) && count > 0) return -L.EFAULT;
        const bytes = Math.min(ready, count);
        if (bytes > 0) fetch(s, bytes);
        if (!(flags & MSG_PEEK)) {
          s.unread -= bytes;
          s.readBytes += bytes;
        }
        return bytes;
      }
      if (s.error) return -takeError(s);
      if (ended || count === 0) return 0;
      return block ? null : -L.EAGAIN;
    };
  }

  function receiveMessage(x: CallContext, s: Socket, message: Value | undefined, flags: number): Attempt {
    const attempt = read(x, s, messageBytes(message, x.line), flags);
    const expectedFlags = member(message, 'msg_flags');
    if (flags & MSG_ERRQUEUE) return errorQueueAttempt(x, s, message);
    if (expectedFlags !== null && expectedFlags !== 0) {
      throw new Unsupported(x.line, `the message flags 0x${expectedFlags.toString(16)} of a received message`);
    }
    return () => {
      const result = attempt();
      if (result === null || result < 0) return result;
      // With nothing left, a FIN that has come counts as one.
      const left = view.available(s) || (s.eof ? 1 : 0);
      const came: Control[] = [];
      const atUs = arrivedAt(s.stamps, s.readBytes);
      if (atUs !== null) came.push({ level: named('SOL_SOCKET'), type: named('SCM_TIMESTAMPING'), data: { atUs } });
      if (s.tellsQueue) came.push({ level: named('SOL_TCP'), type: named('TCP_CM_INQ'), data: left });
      checkControl(message, came, x.line, x.settings.toleranceUs);
      return result;
    };
  }

  /** The oldest notice of the error queue. It never blocks. */
  function errorQueueAttempt(x: CallContext, s: Socket, message: Value | undefined): Attempt {
    return () => {
      const notice = s.notices.shift();
      if (notice === undefined) return -L.EAGAIN;
      // Without OPT_TSONLY the sent packet comes with its stamp, for which there is no room here.
      const cut = notice.kind === 'stamp' && !(s.stamps.flags & OPT_TSONLY);
      checkFlags(x, message, MSG_ERRQUEUE | (cut ? MSG_TRUNC : 0));
      checkControl(message, noticeControl(notice), x.line, x.settings.toleranceUs);
      return 0;
    };
  }

  return { read, write, receiveMessage, queue, takeError };
}
