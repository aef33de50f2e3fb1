// What a connection with something to send waits for, as Linux keeps the time of it (tcpi_busy_time and its parts): the
// network, the peer's window, or an application that found the send buffer full.
import * as L from '../core/layout.js';
import type { Socket } from './socket.js';
import type { SocketView } from './sockets.js';

type Wait = 'nothing' | 'network' | 'window' | 'buffer';

export interface Busy {
  waitsFor: Wait;
  sinceUs: number;
  /** Microseconds so far, without the present wait. */
  readonly totalsUs: Record<Wait, number>;
}

export function newBusy(): Busy {
  return { waitsFor: 'nothing', sinceUs: 0, totalsUs: { nothing: 0, network: 0, window: 0, buffer: 0 } };
}

function waitOf(s: Socket, view: SocketView): Wait {
  if (s.state !== 'connected' || view.field(s, L.INFO_snd_queued_bytes) === 0) return 'nothing';
  const notSent = view.field(s, L.INFO_notsent_bytes);
  if (notSent === 0) return s.noSpace ? 'buffer' : 'network';
  const room = view.field(s, L.INFO_snd_wnd) - view.field(s, L.INFO_unacked);
  return room < Math.min(notSent, view.field(s, L.INFO_snd_mss)) ? 'window' : 'network';
}

/** Takes note of what the socket waits for from `nowUs` on. */
export function busyNote(s: Socket, view: SocketView, nowUs: number): void {
  const { busy } = s;
  busy.totalsUs[busy.waitsFor] += nowUs - busy.sinceUs;
  busy.sinceUs = nowUs;
  busy.waitsFor = waitOf(s, view);
}

/** Undefined for a name that is none of these fields. */
export function busyField(s: Socket, name: string): number | undefined {
  const { network, window, buffer } = s.busy.totalsUs;
  switch (name) {
    case 'tcpi_busy_time':
      return network + window + buffer;
    case 'tcpi_rwnd_limited':
      return window;
    case 'tcpi_sndbuf_limited':
      return buffer;
  }
  return undefined;
}
