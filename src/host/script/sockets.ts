// The socket calls of a script on the core's sockets, with Linux's results.
import { writeAddress } from '../core/address.js';
import * as L from '../core/layout.js';
import { addressOf, checkFlags, RECV_FLAGS, SEND_FLAGS } from './arguments.js';
import { type CallEvent, Mismatch, Unsupported, type Value } from './ast.js';
import { busyNote } from './busy.js';
import { createEpolls } from './epoll.js';
import { zeroCopyDone } from './error-queue.js';
import { createFastOpen } from './fast-open.js';
import { createFiles } from './files.js';
import type { Machine } from './machine.js';
import { iovBytes, messageBytes, sentStamps } from './message.js';
import { getOption, setOption } from './options.js';
import { isWritable, type SendState } from './send-buffer.js';
import type { Settings } from './settings.js';
import { type Destination, newSocket, type Socket } from './socket.js';
import { named } from './symbols.js';
import { stampArrival, stampsDone } from './timestamping.js';
import { createTransfer } from './transfer.js';
import { fieldOf, scalar } from './values.js';

/** One try of a call: its result, or null when it would block. Negative is an errno. */
export type Attempt = () => number | null;

export interface CallContext {
  readonly machine: Machine;
  readonly settings: Settings;
  readonly event: CallEvent;
  readonly line: number;
  number(index: number, otherwise?: number): number;
}

export interface Sockets {
  /** Prepares a call; the result is to be had from the attempt. */
  call(event: CallEvent, line: number): Attempt;
  onEvent(handle: number, kind: number, a: number): void;
  /** The core has done something: sockets that could not be written to may be writable again. */
  onTurn(): void;
  /** The connection that packets and assertions are about: the newest with a handle. */
  underTest(): Socket | undefined;
}

/** What the sockets tell the runner. */
export interface SocketNotices {
  listening(port: number): void;
  connecting(): void;
}

/** What a socket may be asked about the core's side of it. */
export interface SocketView {
  /** A u32 of the connection's info. */
  field(s: Socket, at: number): number;
  /** Bytes that can be read now. */
  available(s: Socket): number;
  sendState(s: Socket): SendState;
  writable(s: Socket): boolean;
}

const MSG_FASTOPEN = named('MSG_FASTOPEN');
const O_NONBLOCK = named('O_NONBLOCK');
/** Linux errno values that the core itself has no use for. */
const ESOCKTNOSUPPORT = 94;
/** States in which a lingering close() waits. */
const CLOSING_STATES: ReadonlySet<number> = new Set([L.TCP_FIN_WAIT1, L.TCP_CLOSING, L.TCP_LAST_ACK]);

export function createSockets(machine: Machine, settings: Settings, notices: SocketNotices): Sockets {
  const fds = new Map<number, Socket>();
  const byHandle = new Map<number, Socket>();
  /** Events of connections that are not accepted yet. */
  const early = new Map<number, [kind: number, a: number][]>();
  let newest: Socket | undefined;
  const { core } = machine;
  const info = core.scratch + 1024;

  const view: SocketView = {
    field: (s, at) => (s.handle === 0 || core.info(s.handle, info) < 0 ? 0 : core.dv.getUint32(info + at, true)),
    available: (s) => s.unread + view.field(s, L.INFO_rcv_queued_bytes),
    sendState(s) {
      const mssBytes = Math.max(view.field(s, L.INFO_snd_mss), 1);
      s.maxWindow = Math.max(s.maxWindow, view.field(s, L.INFO_snd_wnd));
      return {
        queuedBytes: view.field(s, L.INFO_snd_queued_bytes),
        notSentBytes: view.field(s, L.INFO_notsent_bytes),
        mssBytes,
        cwndSegments: Math.floor(view.field(s, L.INFO_snd_cwnd) / mssBytes),
        maxWindowBytes: s.maxWindow,
      };
    },
    writable: (s) => isWritable(view.sendState(s), s.sendLimits),
  };
  const transfer = createTransfer(machine, view);
  const fastOpen = createFastOpen(machine, settings, transfer, (s, handle) => {
    start(s, handle, 'connecting');
    notices.connecting();
  });

  /** A write: the first one on a socket that is to open with data opens it. */
  function write(
    x: CallContext,
    s: Socket,
    total: number,
    flags: number,
    to: Value | undefined,
    stamps: number | null = null,
  ): Attempt {
    if (flags & MSG_FASTOPEN) return fastOpen.send(x, s, address(to, x.line), total, flags);
    if (s.deferredTo !== null && s.state === 'deferred') return fastOpen.send(x, s, s.deferredTo, total, flags);
    return transfer.write(x, s, total, flags, stamps);
  }

  function adopt(fd: number, s: Socket): void {
    fds.set(fd, s);
    if (s.handle !== 0) byHandle.set(s.handle, s);
  }

  function onEvent(handle: number, kind: number, a: number): void {
    const s = byHandle.get(handle);
    if (s === undefined) {
      early.set(handle, [...(early.get(handle) ?? []), [kind, a]]);
      return;
    }
    if (kind === L.EV_REPORT) return;
    s.events++;
    if (kind === L.EV_CONNECT) s.state = 'connected';
    else if (kind === L.EV_EOF) s.eof = true;
    else if (kind === L.EV_CLOSED) s.closed = true;
    else if (kind === L.EV_ERROR) {
      // Linux: a reset after the peer's FIN is a broken pipe.
      s.error = a === L.ECONNRESET && s.eof ? L.EPIPE : a;
      s.state = 'dead';
    }
  }

  /** The number of the file descriptor that the script expects. */
  function expectedFd(event: CallEvent): number {
    return event.result.kind === 'number' && event.result.value >= 0 ? event.result.value : 3 + fds.size;
  }

  const address = (value: Value | undefined, line: number): Destination => addressOf(settings, value, line);
  const files = createFiles(transfer, (fd) => fds.get(fd));
  const epolls = createEpolls(machine, (fd) => fds.get(fd), view);

  const calls: Readonly<Record<string, (x: CallContext) => Attempt>> = {
    socket(x) {
      const type = x.number(1);
      const domain = x.number(0, named('AF_INET'));
      if (domain !== named('AF_INET') && domain !== named('AF_INET6'))
        throw new Unsupported(x.line, 'sockets of this family');
      if (domain === named('AF_INET6') && settings.ipVersion === 'ipv4') throw new Unsupported(x.line, 'IPv6 sockets');
      if ((type & 0xff) !== named('SOCK_STREAM')) throw new Unsupported(x.line, 'sockets other than SOCK_STREAM');
      const protocol = x.number(2);
      return () => {
        if (protocol !== 0 && protocol !== named('IPPROTO_TCP')) return -ESOCKTNOSUPPORT;
        const fd = expectedFd(x.event);
        const s = newSocket(0, 'new', 0, settings.sndMem);
        s.nonblocking = (type & O_NONBLOCK) !== 0;
        adopt(fd, s);
        return fd;
      };
    },
    bind: withSocket((x, s) => () => {
      if (s.port !== 0 || s.state !== 'new') return -L.EINVAL;
      s.port = address(x.event.args[1], x.line).port ?? settings.bindPort;
      return 0;
    }),
    listen: withSocket((x, s) => () => {
      if (s.state === 'listening') return 0;
      if (s.state !== 'new') return -L.EINVAL;
      writeAddress(core.u8, core.scratch, settings.ipVersion === 'ipv6' ? '::' : '0.0.0.0');
      if (s.port === 0) s.port = settings.bindPort;
      // Linux takes one connection more than it is told.
      const handle = core.listen(core.scratch, s.port, Math.max(x.number(1), 0) + 1, 0);
      if (handle < 0) return handle;
      start(s, handle, 'listening');
      notices.listening(s.port);
      return 0;
    }),
    accept: withSocket((x, s) => acceptAttempt(x, s, 0)),
    accept4: withSocket((x, s) => acceptAttempt(x, s, x.number(3))),
    connect: withSocket(connectAttempt),
    ...files.calls,
    read: (x) => files.read(x) ?? withSocket((_x, s) => transfer.read(x, s, x.number(2), 0))(x),
    write: (x) => files.write(x) ?? withSocket((_x, s) => write(x, s, x.number(2), 0, undefined))(x),
    recv: withSocket((x, s) => transfer.read(x, s, x.number(2), checkFlags(x.number(3), RECV_FLAGS, x.line))),
    recvfrom: withSocket((x, s) => transfer.read(x, s, x.number(2), checkFlags(x.number(3), RECV_FLAGS, x.line))),
    send: withSocket((x, s) => write(x, s, x.number(2), checkFlags(x.number(3), SEND_FLAGS, x.line), undefined)),
    sendto: withSocket((x, s) =>
      write(x, s, x.number(2), checkFlags(x.number(3), SEND_FLAGS, x.line), x.event.args[4]),
    ),
    readv: withSocket((x, s) => transfer.read(x, s, iovBytes(x.event.args[1], x.line), 0)),
    writev: withSocket((x, s) => write(x, s, iovBytes(x.event.args[1], x.line), 0, undefined)),
    sendmsg: withSocket((x, s) => {
      const flags = checkFlags(x.number(2), SEND_FLAGS, x.line);
      const stamps = sentStamps(x.event.args[1], x.line);
      return write(x, s, messageBytes(x.event.args[1], x.line), flags, fieldOf(x.event.args[1], 'msg_name'), stamps);
    }),
    recvmsg: withSocket((x, s) => {
      const flags = checkFlags(x.number(2), RECV_FLAGS, x.line);
      return transfer.receiveMessage(x, s, x.event.args[1], flags);
    }),
    close(x) {
      const fd = x.number(0);
      return closeAttempt(fd);
    },
    shutdown: withSocket((x, s) => () => {
      const how = x.number(1);
      if (how < 0 || how > 2) return -L.EINVAL;
      if (s.state === 'connecting') return shutdownOpening(s);
      if (s.state !== 'connected') return -L.ENOTCONN;
      if (how !== named('SHUT_WR')) s.readShut = true;
      if (how === named('SHUT_RD')) return 0;
      if (s.closed) return -L.ENOTCONN;
      if (s.writeShut) return 0;
      s.writeShut = true;
      return core.shutdown(s.handle);
    }),
    getsockname: withSocket(() => () => 0),
    getpeername: withSocket((_x, s) => () => (s.state === 'connected' && !s.closed ? 0 : -L.ENOTCONN)),
    fcntl: withSocket((x, s) => () => {
      const command = x.number(1);
      if (command === named('F_SETFL')) s.nonblocking = (x.number(2) & O_NONBLOCK) !== 0;
      else if (command === named('F_GETFL')) return named('O_RDWR') | (s.nonblocking ? O_NONBLOCK : 0);
      else if (command !== named('F_SETFD')) throw new Unsupported(x.line, `fcntl command ${command}`);
      return 0;
    }),
    ioctl: withSocket((x, s) => () => {
      const request = x.number(1);
      if (request === named('FIONBIO')) {
        s.nonblocking = scalar(x.event.args[2]) !== 0;
        return 0;
      }
      if (s.state === 'listening') return -L.EINVAL;
      const value = new Map([
        [named('SIOCINQ'), view.available(s)],
        [named('SIOCOUTQ'), view.field(s, L.INFO_snd_queued_bytes)],
        [named('SIOCOUTQNSD'), view.field(s, L.INFO_notsent_bytes)],
      ]).get(request);
      if (value === undefined) throw new Unsupported(x.line, `ioctl request 0x${request.toString(16)}`);
      const expected = scalar(x.event.args[2]);
      if (expected !== null && expected !== value) throw new Mismatch(x.line, `ioctl gives ${value}, not ${expected}`);
      return 0;
    }),
    setsockopt: withSocket((x, s) => () => setOption(x, s, view)),
    getsockopt: withSocket((x, s) => () => getOption(x, s, view)),
    poll: (x) => epolls.poll(x),
    epoll_create: (x) => epolls.create(x),
    epoll_create1: (x) => epolls.create(x),
    epoll_ctl: (x) => epolls.control(x),
    epoll_wait: (x) => epolls.wait(x),
    epoll_pwait: (x) => epolls.wait(x),
  };

  function withSocket(call: (x: CallContext, s: Socket) => Attempt): (x: CallContext) => Attempt {
    return (x) => {
      const s = fds.get(x.number(0));
      return s === undefined ? () => -L.EBADF : call(x, s);
    };
  }

  function start(s: Socket, handle: number, state: Socket['state']): void {
    s.handle = handle;
    s.state = state;
    byHandle.set(handle, s);
    newest = s;
    for (const [option, value] of s.waiting) core.setOption(handle, option, value);
  }

  function acceptAttempt(x: CallContext, s: Socket, flags: number): Attempt {
    return () => {
      if (s.state !== 'listening') return -L.EINVAL;
      const handle = core.accept(s.handle);
      if (handle === -L.EAGAIN) return s.nonblocking ? handle : null;
      if (handle < 0) return handle;
      const fd = expectedFd(x.event);
      const child = newSocket(handle, 'connected', s.port, settings.sndMem);
      child.nonblocking = (flags & O_NONBLOCK) !== 0;
      for (const [key, value] of s.kept) child.kept.set(key, value);
      child.sendLimits = { ...s.sendLimits };
      child.linger = s.linger;
      child.zeroCopy.on = s.zeroCopy.on;
      adopt(fd, child);
      newest = child;
      for (const [kind, a] of early.get(handle) ?? []) onEvent(handle, kind, a);
      early.delete(handle);
      return fd;
    };
  }

  function connectAttempt(x: CallContext, s: Socket): Attempt {
    let begun = false;
    return () => {
      if (begun) {
        if (s.state === 'connecting') return null;
        s.connectTold = true;
        return s.state === 'connected' ? 0 : -transfer.takeError(s);
      }
      if (s.state === 'listening') return -L.EISCONN;
      if (s.state === 'connected') {
        // The first call after a connect() that did not wait says how it ended.
        if (s.connectTold) return -L.EISCONN;
        s.connectTold = true;
        return 0;
      }
      if (s.state === 'connecting') return -L.EALREADY;
      if (s.error) return -transfer.takeError(s);
      if (s.state === 'deferred') return -L.EISCONN;
      const to = address(x.event.args[1], x.line);
      if (s.fastOpenConnect && fastOpen.mayDefer(to)) {
        s.state = 'deferred';
        s.deferredTo = to;
        return 0;
      }
      const result = fastOpen.connect(s, to, s.fastOpenConnect ? L.SOCK_FAST_OPEN : 0);
      if (result < 0) return result;
      begun = true;
      return s.nonblocking ? -L.EINPROGRESS : null;
    };
  }

  /** shutdown() of a connection that is not open yet ends it. */
  function shutdownOpening(s: Socket): number {
    byHandle.delete(s.handle);
    core.close(s.handle);
    s.handle = 0;
    s.state = 'dead';
    return 0;
  }

  function closeAttempt(fd: number): Attempt {
    let deadlineUs: number | null = null;
    return () => {
      if (deadlineUs === null && (epolls.close(fd) || files.close(fd))) return 0;
      const s = fds.get(fd);
      if (s === undefined) return -L.EBADF;
      const waits = s.linger !== null && s.linger > 0 && !s.nonblocking && s.unread === 0 && s.state === 'connected';
      if (waits && view.field(s, L.INFO_rcv_queued_bytes) === 0) {
        if (deadlineUs === null) {
          deadlineUs = machine.nowUs() + (s.linger ?? 0) * 1_000_000;
          core.shutdown(s.handle);
        }
        if (machine.nowUs() < deadlineUs && CLOSING_STATES.has(view.field(s, L.INFO_state))) return null;
      }
      fds.delete(fd);
      epolls.forget(s);
      if (s.handle === 0) return 0;
      byHandle.delete(s.handle);
      // Bytes that the core has handed over and nobody has read are unread all the same (RFC 2525 §2.17).
      if (s.linger === 0 || s.unread > 0) core.abort(s.handle);
      else core.close(s.handle);
      return 0;
    };
  }

  /** What has been sent, acknowledged and received since: true when the error queue has got something. */
  function noteQueues(s: Socket): boolean {
    if (s.stamps.flags !== 0) stampArrival(s.stamps, s.readBytes + view.available(s), machine.nowUs());
    if (s.stamps.marks.length === 0 && s.zeroCopy.pending.length === 0) return false;
    const queued = view.field(s, L.INFO_snd_queued_bytes);
    const sent = s.writtenBytes - view.field(s, L.INFO_notsent_bytes);
    const told = s.state === 'connected' ? stampsDone(s.stamps, sent, s.writtenBytes - queued, machine.nowUs()) : [];
    s.notices.push(...told);
    return zeroCopyDone(s, queued) || told.length > 0;
  }

  return {
    call(event, line) {
      const call = Object.hasOwn(calls, event.name) ? calls[event.name] : undefined;
      if (call === undefined) throw new Unsupported(line, `the call ${event.name}()`);
      return call({
        machine,
        settings,
        event,
        line,
        number(index, otherwise = 0) {
          const value = event.args[index];
          if (value === undefined || value.kind === 'any') return otherwise;
          const number = scalar(value);
          if (number !== null) return number;
          throw new Unsupported(
            line,
            value.kind === 'symbol' ? `the name ${value.name}` : `argument ${index + 1} of ${event.name}()`,
          );
        },
      });
    },
    onEvent,
    onTurn() {
      for (const s of fds.values()) {
        busyNote(s, view, machine.nowUs());
        if (noteQueues(s)) s.events++;
        if (!s.noSpace || s.state !== 'connected' || !view.writable(s)) continue;
        s.noSpace = false;
        s.events++;
      }
    },
    underTest: () => newest,
  };
}

export const callNames: ReadonlySet<string> = new Set(
  (
    'socket bind listen accept accept4 connect read write recv recvfrom send sendto readv writev sendmsg recvmsg close ' +
    'getsockname getpeername open pipe sendfile splice shutdown fcntl ioctl setsockopt getsockopt poll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait'
  ).split(' '),
);
