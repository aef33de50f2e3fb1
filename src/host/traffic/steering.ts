// Which ports of a link are lunet's, and which of its sockets has each: on a bifurcated link that follows listen() and
// bind() a port is steered to lunet while a socket has it.
import { randomInt } from 'node:crypto';
import type { Link, Protocol } from '../link/link.js';

export interface PortKeeper {
  /** Whether the link leaves this port to lunet, or would. */
  mayUse(protocol: Protocol, port: number): boolean;
  /** What a socket that wants any port tries, in order. 0: the core chooses. */
  choices(protocol: Protocol): Iterable<number>;
  /** A socket has this port now. */
  take(handle: number, protocol: Protocol, port: number): void;
  /** It has none any more. */
  leave(handle: number): void;
}

export function createPortKeeper(link: Link): PortKeeper {
  const own = new Map<number, { protocol: Protocol; port: number }>();

  const steered = (protocol: Protocol): ReturnType<NonNullable<Link['steeredPorts']>> =>
    link.steeredPorts?.(protocol) ?? 'any';

  return {
    mayUse(protocol, port) {
      const ports = steered(protocol);
      return typeof ports === 'string' || ports.some(([low, high]) => port >= low && port <= high);
    },
    *choices(protocol) {
      const ports = steered(protocol);
      if (typeof ports === 'string') {
        yield 0;
        return;
      }
      // RFC 6056 §3.3.1: all of them, from a random one on.
      const list = ports.flatMap(([low, high]) => Array.from({ length: high - low + 1 }, (_, i) => low + i));
      const first = list.length === 0 ? 0 : randomInt(list.length);
      for (let i = 0; i < list.length; i++) yield list[(first + i) % list.length];
    },
    take(handle, protocol, port) {
      if (steered(protocol) === 'dynamic') link.steer?.(protocol, port, true);
      own.set(handle, { protocol, port });
    },
    leave(handle) {
      const left = own.get(handle);
      if (left === undefined) return;
      own.delete(handle);
      const { protocol, port } = left;
      const shared = [...own.values()].some((other) => other.port === port && other.protocol === protocol);
      if (!shared && steered(protocol) === 'dynamic') link.steer?.(protocol, port, false);
    },
  };
}
