// poll() and epoll over a script's sockets.
import * as L from '../core/layout.js';
import { Mismatch, Unsupported, type Value } from './ast.js';
import type { Machine } from './machine.js';
import type { Socket } from './socket.js';
import type { Attempt, CallContext, SocketView } from './sockets.js';
import { named } from './symbols.js';
import { scalar } from './values.js';

const IN = named('POLLIN') | named('POLLRDNORM');
const OUT = named('POLLOUT') | named('POLLWRNORM');
const ERR = named('POLLERR');
const HUP = named('POLLHUP');
const NVAL = named('POLLNVAL');
const RDHUP = named('POLLRDHUP');
const EDGE = named('EPOLLET');
// Linux errno values that the core itself has no use for.
const ENOENT = 2;
const EEXIST = 17;
const ONE_SHOT = named('EPOLLONESHOT');

interface Item {
  readonly fd: number;
  readonly socket: Socket;
  events: number;
  /** What was there at the last report, for edge-triggered items. */
  edge: string;
}

export interface Epolls {
  create(x: CallContext): Attempt;
  control(x: CallContext): Attempt;
  wait(x: CallContext): Attempt;
  poll(x: CallContext): Attempt;
  /** False when `fd` is no epoll descriptor. */
  close(fd: number): boolean;
  forget(s: Socket): void;
}

export function createEpolls(machine: Machine, socketOf: (fd: number) => Socket | undefined, view: SocketView): Epolls {
  const sets = new Map<number, Map<number, Item>>();

  function ready(s: Socket): number {
    if (s.state === 'new') return OUT | HUP;
    if (s.state === 'connecting') return 0;
    if (s.state === 'deferred') return OUT;
    // A listener's info says how many connections wait.
    if (s.state === 'listening') return view.field(s, L.INFO_unacked) > 0 ? IN : 0;
    const queue = s.notices.length > 0 ? ERR : 0;
    if (s.state === 'dead' || s.closed) return IN | OUT | HUP | RDHUP | (s.error ? ERR : queue);
    const ended = s.eof || s.readShut;
    let mask = queue | (view.available(s) >= s.readLeast || ended ? IN : 0);
    if (ended) mask |= RDHUP;
    if (ended && s.writeShut) mask |= HUP;
    if (s.writeShut || view.writable(s)) mask |= OUT;
    else s.noSpace = true;
    return mask;
  }

  /** Changes whenever something has happened to the socket that wakes a waiter. */
  function edgeOf(s: Socket): string {
    const waiting = s.state === 'listening' ? view.field(s, L.INFO_unacked) : view.field(s, L.INFO_bytes_received);
    return `${s.events} ${waiting}`;
  }

  /** Microseconds until a timeout in milliseconds; negative waits forever. */
  function deadline(ms: number): number {
    return ms < 0 ? Number.POSITIVE_INFINITY : machine.nowUs() + ms * 1000;
  }

  function number(value: Value | undefined, line: number, what: string): number {
    const found = scalar(value);
    if (found === null) throw new Unsupported(line, what);
    return found;
  }

  return {
    create(x) {
      return () => {
        const fd = number(x.event.result, x.line, 'an epoll descriptor without a number');
        sets.set(fd, new Map());
        return fd;
      };
    },
    control(x) {
      return () => {
        const items = sets.get(x.number(0));
        const fd = x.number(2);
        const socket = socketOf(fd);
        if (items === undefined || socket === undefined) return -L.EBADF;
        const operation = x.number(1);
        const spec = x.event.args[3];
        if (operation === named('EPOLL_CTL_DEL')) return items.delete(fd) ? 0 : -ENOENT;
        if (operation === named('EPOLL_CTL_ADD') ? items.has(fd) : !items.has(fd)) {
          return operation === named('EPOLL_CTL_ADD') ? -EEXIST : -ENOENT;
        }
        const events = spec?.kind === 'struct' ? number(spec.fields.get('events'), x.line, 'epoll events') : 0;
        items.set(fd, { fd, socket, events, edge: '' });
        return 0;
      };
    },
    wait(x) {
      const until = deadline(x.number(3));
      return () => {
        const items = sets.get(x.number(0));
        if (items === undefined) return -L.EBADF;
        const found: { item: Item; events: number }[] = [];
        for (const item of items.values()) {
          const events = ready(item.socket) & (item.events | ERR | HUP);
          const edge = edgeOf(item.socket);
          if (events === 0 || ((item.events & EDGE) !== 0 && item.edge === edge)) continue;
          if (found.length < x.number(2)) found.push({ item, events });
        }
        if (found.length === 0) return machine.nowUs() >= until ? 0 : null;
        for (const { item } of found) {
          item.edge = edgeOf(item.socket);
          if (item.events & ONE_SHOT) item.events = 0;
        }
        const expected = x.event.args[1];
        const list = expected?.kind === 'list' ? expected.items : expected?.kind === 'struct' ? [expected] : [];
        for (const [i, entry] of list.entries()) checkEntry(x, entry, found[i]);
        return found.length;
      };
    },
    poll(x) {
      const until = deadline(x.number(2));
      const entries = x.event.args[0];
      if (entries?.kind !== 'list') throw new Unsupported(x.line, 'poll() without a list');
      return () => {
        let count = 0;
        const masks: number[] = [];
        for (const entry of entries.items) {
          if (entry.kind !== 'struct') throw new Unsupported(x.line, 'a poll entry that is no struct');
          const socket = socketOf(number(entry.fields.get('fd'), x.line, 'a poll entry without fd'));
          const wanted = number(entry.fields.get('events'), x.line, 'a poll entry without events');
          const mask = socket === undefined ? NVAL : ready(socket) & (wanted | ERR | HUP);
          masks.push(mask);
          if (mask !== 0) count++;
        }
        if (count === 0 && machine.nowUs() < until) return null;
        for (const [i, entry] of entries.items.entries()) {
          const expected = entry.kind === 'struct' ? scalar(entry.fields.get('revents')) : null;
          if (expected !== null && expected !== masks[i]) {
            throw new Mismatch(x.line, `revents are 0x${masks[i].toString(16)}, not 0x${expected.toString(16)}`);
          }
        }
        return count;
      };
    },
    close: (fd) => sets.delete(fd),
    forget(s) {
      for (const items of sets.values()) {
        for (const item of items.values()) if (item.socket === s) items.delete(item.fd);
      }
    },
  };
}

function checkEntry(x: CallContext, entry: Value, found: { item: Item; events: number } | undefined): void {
  if (entry.kind !== 'struct' || found === undefined) return;
  const events = scalar(entry.fields.get('events'));
  const fd = scalar(entry.fields.get('fd'));
  if (events !== null && events !== found.events) {
    throw new Mismatch(x.line, `events are 0x${found.events.toString(16)}, not 0x${events.toString(16)}`);
  }
  if (fd !== null && fd !== found.item.fd) throw new Mismatch(x.line, `the event is for ${found.item.fd}, not ${fd}`);
}
