// The socket calls of a script on the core's sockets, with Linux's results.
import { writeAddress } from '../core/address.js';
import * as L from '../core/layout.js';
import { type CallEvent, Mismatch, Unsupported, type Value } from './ast.js';
import { createEpolls } from './epoll.js';
import type { Machine } from './machine.js';
import { getOption, setOption } from './options.js';
import type { Settings } from './settings.js';
import { named } from './symbols.js';

/** A socket of the script. */
export interface Socket {
  /** The core's handle, 0 before listen() or connect(). */
  handle: number;
  state: 'new' | 'listening' | 'connecting' | 'connected' | 'dead';
  nonblocking: boolean;
  port: number;
  /** Options set before there was a handle. */
  readonly waiting: [option: number, value: number][];
  /** Socket options that the core knows nothing of. */
  readonly kept: Map<string, number>;
  linger: number | null;
  /** Errno that the next call reports. */
  error: number;
  eof: boolean;
  readShut: boolean;
  writeShut: boolean;
  /** Taken from the core and not yet read: bytes. */
  unread: number;
  /** Events so far: an edge for epoll. */
  events: number;
}

/** One try of a call: its result, or null when it would block. Negative is an errno. */
export type Attempt = () => number | null;

export interface CallContext {
  readonly machine: Machine;
  readonly settings: Settings;
  readonly event: CallEvent;
  readonly line: number;
  socket(fd: number): Socket | undefined;
  number(index: number, otherwise?: number): number;
}

export interface Sockets {
  /** Prepares a call; the result is to be had from the attempt. */
  call(event: CallEvent, line: number): Attempt;
  onEvent(handle: number, kind: number, a: number): void;
  /** The connection that packets and assertions are about: the newest with a handle. */
  underTest(): Socket | undefined;
}

/** What the sockets tell the runner. */
export interface SocketNotices {
  listening(port: number): void;
  connecting(): void;
}

const CHUNK_BYTES = 32768;
const MSG_OOB = named('MSG_OOB');
const MSG_PEEK = named('MSG_PEEK');
const MSG_DONTWAIT = named('MSG_DONTWAIT');
const MSG_WAITALL = named('MSG_WAITALL');
const O_NONBLOCK = named('O_NONBLOCK');
/** Flags that change nothing that a packet or a result would show. */
const SEND_FLAGS = MSG_DONTWAIT | MSG_OOB | named('MSG_NOSIGNAL') | named('MSG_EOR');
const RECV_FLAGS = MSG_DONTWAIT | MSG_PEEK | MSG_WAITALL | named('MSG_TRUNC') | named('MSG_NOSIGNAL');

function newSocket(handle: number, state: Socket['state'], port: number): Socket {
  return {
    handle,
    state,
    nonblocking: false,
    port,
    waiting: [],
    kept: new Map(),
    linger: null,
    error: 0,
    eof: false,
    readShut: false,
    writeShut: false,
    unread: 0,
    events: 0,
  };
}

export function createSockets(machine: Machine, settings: Settings, notices: SocketNotices): Sockets {
  const fds = new Map<number, Socket>();
  const byHandle = new Map<number, Socket>();
  /** Events of connections that are not accepted yet. */
  const early = new Map<number, [kind: number, a: number][]>();
  let newest: Socket | undefined;
  const { core } = machine;
  const info = core.scratch + 1024;
  const field = (s: Socket, at: number): number =>
    core.info(s.handle, info) < 0 ? 0 : core.dv.getUint32(info + at, true);

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
    s.events++;
    if (kind === L.EV_REPORT) {
      // Linux ends an attempt to connect at the first ICMP error.
      if (s.state === 'connecting' && a >>> 8 !== 0) {
        core.abort(handle);
        byHandle.delete(handle);
        s.handle = 0;
        s.error = a >>> 8;
        s.state = 'dead';
      }
      return;
    }
    if (kind === L.EV_CONNECT) s.state = 'connected';
    else if (kind === L.EV_EOF) s.eof = true;
    else if (kind === L.EV_ERROR) {
      s.error = a;
      s.state = 'dead';
    }
  }

  /** The number of the file descriptor that the script expects. */
  function expectedFd(event: CallEvent): number {
    return event.result.kind === 'number' && event.result.value >= 0 ? event.result.value : 3 + fds.size;
  }

  function address(value: Value | undefined, line: number): { ip: string | null; port: number | null } {
    if (value?.kind !== 'struct') return { ip: null, port: null };
    const family = value.fields.get('sa_family') ?? value.fields.get('sin_family');
    if (family?.kind === 'number' && family.value !== named('AF_INET')) throw new Unsupported(line, 'IPv6 addresses');
    const ip = value.fields.get('sin_addr');
    const port = value.fields.get('sin_port');
    return {
      ip: ip?.kind === 'string' ? ip.value : null,
      port: port?.kind === 'number' ? port.value : null,
    };
  }

  const available = (s: Socket): number => s.unread + (s.handle === 0 ? 0 : field(s, L.INFO_rcv_queued_bytes));
  const sendRoom = (s: Socket): number =>
    core.getOption(s.handle, L.OPT_SND_BUF_BYTES) - field(s, L.INFO_snd_queued_bytes);

  /** Whatever the core holds for the socket becomes unread bytes, up to `wanted`. */
  function fetch(s: Socket, wanted: number): number {
    const iov = core.scratch;
    while (s.unread < wanted) {
      const pieces = core.recv(s.handle, iov, 1);
      if (pieces <= 0) return pieces;
      const entry = iov >> 2;
      s.unread += core.u32[entry + 1];
      core.free(core.u32[entry]);
    }
    return 1;
  }

  function takeError(s: Socket): number {
    const { error } = s;
    s.error = 0;
    return error;
  }

  function writeAttempt(s: Socket, total: number, flags: number): Attempt {
    const block = !s.nonblocking && (flags & MSG_DONTWAIT) === 0;
    let written = 0;
    return () => {
      const error = takeError(s);
      if (error) return -error;
      if (s.state === 'connecting') return block ? null : -L.EAGAIN;
      if (s.state !== 'connected' || s.writeShut) return -L.EPIPE;
      while (written < total) {
        const bytes = Math.min(total - written, CHUNK_BYTES, Math.max(sendRoom(s), 0));
        const object = bytes > 0 ? core.alloc(bytes) : 0;
        if (object === 0) break;
        core.u8.fill(0, object, object + bytes);
        const urgent = (flags & MSG_OOB) !== 0 && written + bytes === total;
        const result = urgent ? core.sendUrgent(s.handle, object, bytes) : core.send(s.handle, object, bytes);
        core.free(object);
        if (result === -L.EAGAIN) break;
        if (result < 0) return written > 0 ? written : result;
        written += bytes;
      }
      if (written === total) return total;
      if (block) return null;
      return written > 0 ? written : -L.EAGAIN;
    };
  }

  function readAttempt(s: Socket, count: number, flags: number): Attempt {
    const block = !s.nonblocking && (flags & MSG_DONTWAIT) === 0;
    const least = flags & MSG_WAITALL ? count : 1;
    return () => {
      if (s.state === 'new' || s.state === 'listening') return -L.ENOTCONN;
      if (s.state === 'connecting') return block ? null : -L.ENOTCONN;
      const ready = available(s);
      const ended = s.eof || s.readShut || s.state === 'dead';
      if (ready >= Math.min(least, count) || (ready > 0 && ended)) {
        const bytes = Math.min(ready, count);
        fetch(s, bytes);
        if (!(flags & MSG_PEEK)) s.unread -= bytes;
        return bytes;
      }
      const error = takeError(s);
      if (error) return -error;
      if (ended) return 0;
      return block ? null : -L.EAGAIN;
    };
  }

  /** Bytes of an iovec list: `[{..., 1000}, {..., 500}]`. */
  function iovBytes(value: Value | undefined, line: number): number {
    if (value?.kind !== 'list') throw new Unsupported(line, 'an iovec that is no list');
    let total = 0;
    for (const entry of value.items) {
      const length = entry.kind === 'struct' ? entry.items[1] : undefined;
      if (length?.kind !== 'number') throw new Unsupported(line, 'an iovec entry without a length');
      total += length.value;
    }
    return total;
  }

  function messageBytes(value: Value | undefined, line: number): number {
    if (value?.kind !== 'struct') throw new Unsupported(line, 'a message that is no struct');
    if (value.fields.has('msg_control')) throw new Unsupported(line, 'control messages');
    return iovBytes(value.fields.get('msg_iov'), line);
  }

  function checkFlags(flags: number, known: number, line: number): number {
    if (flags & ~known) throw new Unsupported(line, `the message flags 0x${(flags & ~known).toString(16)}`);
    return flags;
  }

  const epolls = createEpolls(machine, {
    socket: (fd) => fds.get(fd),
    available,
    sendRoom,
    accepted: (s) => field(s, L.INFO_unacked),
    edge: (s) => `${s.events} ${s.handle === 0 ? 0 : field(s, L.INFO_bytes_received)}`,
  });

  const calls: Readonly<Record<string, (x: CallContext) => Attempt>> = {
    socket(x) {
      const type = x.number(1);
      if (x.number(0, named('AF_INET')) !== named('AF_INET')) throw new Unsupported(x.line, 'IPv6 sockets');
      if ((type & 0xff) !== named('SOCK_STREAM')) throw new Unsupported(x.line, 'sockets other than SOCK_STREAM');
      return () => {
        const fd = expectedFd(x.event);
        const s = newSocket(0, 'new', 0);
        s.nonblocking = (type & O_NONBLOCK) !== 0;
        adopt(fd, s);
        return fd;
      };
    },
    bind: withSocket((x, s) => () => {
      s.port = address(x.event.args[1], x.line).port ?? settings.bindPort;
      return 0;
    }),
    listen: withSocket((x, s) => () => {
      writeAddress(core.u8, core.scratch, '0.0.0.0');
      if (s.port === 0) s.port = settings.bindPort;
      const handle = core.listen(core.scratch, s.port, x.number(1), 0);
      if (handle < 0) return handle;
      start(s, handle, 'listening');
      notices.listening(s.port);
      return 0;
    }),
    accept: withSocket((x, s) => acceptAttempt(x, s, 0)),
    accept4: withSocket((x, s) => acceptAttempt(x, s, x.number(3))),
    connect: withSocket(connectAttempt),
    read: withSocket((x, s) => readAttempt(s, x.number(2), 0)),
    write: withSocket((x, s) => writeAttempt(s, x.number(2), 0)),
    recv: withSocket((x, s) => readAttempt(s, x.number(2), checkFlags(x.number(3), RECV_FLAGS, x.line))),
    recvfrom: withSocket((x, s) => readAttempt(s, x.number(2), checkFlags(x.number(3), RECV_FLAGS, x.line))),
    send: withSocket((x, s) => writeAttempt(s, x.number(2), checkFlags(x.number(3), SEND_FLAGS, x.line))),
    sendto: withSocket((x, s) => writeAttempt(s, x.number(2), checkFlags(x.number(3), SEND_FLAGS, x.line))),
    readv: withSocket((x, s) => readAttempt(s, iovBytes(x.event.args[1], x.line), 0)),
    writev: withSocket((x, s) => writeAttempt(s, iovBytes(x.event.args[1], x.line), 0)),
    sendmsg: withSocket((x, s) =>
      writeAttempt(s, messageBytes(x.event.args[1], x.line), checkFlags(x.number(2), SEND_FLAGS, x.line)),
    ),
    recvmsg: withSocket((x, s) =>
      readAttempt(s, messageBytes(x.event.args[1], x.line), checkFlags(x.number(2), RECV_FLAGS, x.line)),
    ),
    close(x) {
      const fd = x.number(0);
      return () => (epolls.close(fd) ? 0 : closeSocket(fd));
    },
    shutdown: withSocket((x, s) => () => {
      const how = x.number(1);
      if (s.state !== 'connected') return -L.ENOTCONN;
      if (how !== 1) s.readShut = true;
      if (how === 0) return 0;
      s.writeShut = true;
      return core.shutdown(s.handle);
    }),
    fcntl: withSocket((x, s) => () => {
      if (x.number(1) === named('F_SETFL')) s.nonblocking = (x.number(2) & O_NONBLOCK) !== 0;
      else if (x.number(1) === named('F_GETFL')) return named('O_RDWR') | (s.nonblocking ? O_NONBLOCK : 0);
      else throw new Unsupported(x.line, `fcntl command ${x.number(1)}`);
      return 0;
    }),
    ioctl: withSocket((x, s) => () => {
      const request = x.number(1);
      if (request === named('FIONBIO')) {
        s.nonblocking = scalar(x.event.args[2]) !== 0;
        return 0;
      }
      const value = new Map([
        [named('SIOCINQ'), available(s)],
        [named('SIOCOUTQ'), field(s, L.INFO_snd_queued_bytes)],
        [named('SIOCOUTQNSD'), field(s, L.INFO_notsent_bytes)],
      ]).get(request);
      if (value === undefined) throw new Unsupported(x.line, `ioctl request 0x${request.toString(16)}`);
      const expected = scalar(x.event.args[2]);
      if (expected !== null && expected !== value) throw new Mismatch(x.line, `ioctl gives ${value}, not ${expected}`);
      return 0;
    }),
    setsockopt: withSocket((x, s) => () => setOption(x, s)),
    getsockopt: withSocket((x, s) => () => getOption(x, s, field)),
    poll: (x) => epolls.poll(x),
    epoll_create: (x) => epolls.create(x),
    epoll_create1: (x) => epolls.create(x),
    epoll_ctl: (x) => epolls.control(x),
    epoll_wait: (x) => epolls.wait(x),
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
      const child = newSocket(handle, 'connected', s.port);
      child.nonblocking = (flags & O_NONBLOCK) !== 0;
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
        return s.state === 'connected' ? 0 : -takeError(s);
      }
      if (s.state === 'connected') return -L.EISCONN;
      if (s.state === 'connecting') return -L.EALREADY;
      if (s.error) return -takeError(s);
      const to = address(x.event.args[1], x.line);
      writeAddress(core.u8, core.scratch, to.ip ?? settings.remoteIp);
      const handle = core.connect(core.scratch, to.port ?? settings.connectPort, 0, s.port, 0);
      if (handle < 0) return handle;
      start(s, handle, 'connecting');
      notices.connecting();
      begun = true;
      return s.nonblocking ? -L.EINPROGRESS : null;
    };
  }

  function closeSocket(fd: number): number {
    const s = fds.get(fd);
    if (s === undefined) return -L.EBADF;
    fds.delete(fd);
    epolls.forget(s);
    if (s.handle === 0) return 0;
    byHandle.delete(s.handle);
    // Bytes that the core has handed over and nobody has read are unread all the same (RFC 2525 §2.17).
    if (s.linger === 0 || s.unread > 0) core.abort(s.handle);
    else core.close(s.handle);
    return 0;
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
        socket: (fd) => fds.get(fd),
        number(index, otherwise = 0) {
          const value = event.args[index];
          if (value === undefined || value.kind === 'any') return otherwise;
          if (value.kind === 'number') return value.value;
          throw new Unsupported(
            line,
            value.kind === 'symbol' ? `the name ${value.name}` : `argument ${index + 1} of ${event.name}()`,
          );
        },
      });
    },
    onEvent,
    underTest: () => newest,
  };
}

/** The number in `[n]` or `n`, null for anything else. */
export function scalar(value: Value | undefined): number | null {
  if (value?.kind === 'number') return value.value;
  return value?.kind === 'list' && value.items[0]?.kind === 'number' ? value.items[0].value : null;
}

export const callNames: ReadonlySet<string> = new Set(
  (
    'socket bind listen accept accept4 connect read write recv recvfrom send sendto readv writev sendmsg recvmsg close ' +
    'shutdown fcntl ioctl setsockopt getsockopt poll epoll_create epoll_create1 epoll_ctl epoll_wait'
  ).split(' '),
);
