// A socket's error queue, as far as MSG_ZEROCOPY fills it: a notice for each send whose memory is no longer needed,
// consecutive ones in one.
import type { Socket } from './socket.js';

/** SO_EE_ORIGIN_ZEROCOPY and SO_EE_CODE_ZEROCOPY_COPIED: a tun device, which scripts run over, copies. */
export const ORIGIN_ZEROCOPY = 5;
export const CODE_COPIED = 1;

export interface ZeroCopy {
  /** SO_ZEROCOPY */
  on: boolean;
  nextId: number;
  /** Bytes written to the socket in all. */
  writtenBytes: number;
  /** Sends not acknowledged yet, oldest first, by where in the stream they end. */
  readonly pending: { readonly id: number; readonly endBytes: number }[];
  /** Ranges of sends that are done. */
  readonly notices: { readonly first: number; last: number }[];
}

export function newZeroCopy(): ZeroCopy {
  return { on: false, nextId: 0, writtenBytes: 0, pending: [], notices: [] };
}

/** A send() with MSG_ZEROCOPY has taken everything up to here. */
export function zeroCopySent(z: ZeroCopy): void {
  z.pending.push({ id: z.nextId++, endBytes: z.writtenBytes });
}

/** `queuedBytes` are not acknowledged. True when there is something new to be told. */
export function zeroCopyDone(s: Socket, queuedBytes: number): boolean {
  const z = s.zeroCopy;
  let news = false;
  while (z.pending.length > 0 && z.pending[0].endBytes <= z.writtenBytes - queuedBytes) {
    const id = z.pending.shift()?.id ?? 0;
    const last = z.notices.at(-1);
    if (last !== undefined && last.last + 1 === id) last.last = id;
    else z.notices.push({ first: id, last: id });
    news = true;
  }
  return news;
}
