// Opening a connection with data: send() with MSG_FASTOPEN, and the first write after a connect() that TCP_FASTOPEN_CONNECT
// has put off.
import { writeAddress } from '../core/address.js';
import * as L from '../core/layout.js';
import type { Machine } from './machine.js';
import { addressesOf, type Settings } from './settings.js';
import type { Destination, Socket } from './socket.js';
import type { Attempt, CallContext } from './sockets.js';
import { named } from './symbols.js';
import type { Transfer } from './transfer.js';

const MSG_DONTWAIT = named('MSG_DONTWAIT');

export interface FastOpen {
  /** A connection with this flag of SOCK_…: 0, or a negative errno. */
  connect(s: Socket, to: Destination, flags: number): number;
  /** Whether data for there can go with the SYN. */
  mayDefer(to: Destination): boolean;
  /** A write of `total` bytes that opens the connection. */
  send(x: CallContext, s: Socket, to: Destination, total: number, flags: number): Attempt;
}

export function createFastOpen(
  machine: Machine,
  settings: Settings,
  transfer: Transfer,
  started: (s: Socket, handle: number) => void,
): FastOpen {
  const { core } = machine;

  function addressAt(to: Destination): number {
    writeAddress(core.u8, core.scratch, to.ip ?? addressesOf(settings).remote);
    return core.scratch;
  }

  function connect(s: Socket, to: Destination, flags: number): number {
    const handle = core.connect(addressAt(to), to.port ?? settings.connectPort, 0, s.port, flags);
    if (handle < 0) return handle;
    started(s, handle);
    return 0;
  }

  return {
    connect,
    mayDefer: (to) => core.fastOpenRoom(addressAt(to)) >= 0,
    send(x, s, to, total, flags) {
      let begun = false;
      let inSyn = 0;
      let rest: Attempt | null = null;
      return () => {
        if (!begun) {
          if ((settings.config.fastOpen & L.FAST_OPEN_CLIENT) === 0) return -L.EOPNOTSUPP;
          if (s.state === 'connected' || s.state === 'listening') return -L.EISCONN;
          if (s.state === 'connecting') return -L.EALREADY;
          if (s.error) return -transfer.takeError(s);
          const room = core.fastOpenRoom(addressAt(to));
          const result = connect(s, to, L.SOCK_FAST_OPEN);
          if (result < 0) return result;
          begun = true;
          inSyn = room > 0 ? transfer.queue(s, Math.min(total, room), 0, false) : 0;
          machine.turn();
        }
        if (s.nonblocking || flags & MSG_DONTWAIT) return inSyn > 0 ? inSyn : -L.EINPROGRESS;
        if (inSyn === total && s.state === 'connecting') return null;
        if (inSyn === total) return s.error ? -transfer.takeError(s) : total;
        rest ??= transfer.write(x, s, total - inSyn, flags & ~named('MSG_FASTOPEN'));
        const more = rest();
        return more === null ? null : inSyn + Math.max(more, 0);
      };
    },
  };
}
