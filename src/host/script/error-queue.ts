// A socket's error queue: MSG_ZEROCOPY's notices, one for each send whose memory is no longer needed, consecutive ones in
// one, and the times at which marked bytes were sent and acknowledged (SO_TIMESTAMPING).
import type { Control } from './message.js';
import { named } from './symbols.js';

/** SO_EE_ORIGIN_ZEROCOPY and SO_EE_CODE_ZEROCOPY_COPIED: a tun device, which scripts run over, copies. */
const ORIGIN_ZEROCOPY = 5;
const CODE_COPIED = 1;
const ORIGIN_TIMESTAMPING = 4;
const ENOMSG = 42;

export type Notice =
  | { readonly kind: 'zerocopy'; readonly first: number; last: number }
  | { readonly kind: 'stamp'; readonly type: number; readonly id: number; readonly atUs: number };

export interface ZeroCopy {
  /** SO_ZEROCOPY */
  on: boolean;
  nextId: number;
  /** Sends not acknowledged yet, oldest first, by where in the stream they end. */
  readonly pending: { readonly id: number; readonly endBytes: number }[];
}

export function newZeroCopy(): ZeroCopy {
  return { on: false, nextId: 0, pending: [] };
}

/** What of a socket decides about its error queue. */
interface Queued {
  /** Bytes written to the socket in all. */
  writtenBytes: number;
  readonly zeroCopy: ZeroCopy;
  readonly notices: Notice[];
}

/** A send() with MSG_ZEROCOPY has taken everything up to here. */
export function zeroCopySent(s: Queued): void {
  s.zeroCopy.pending.push({ id: s.zeroCopy.nextId++, endBytes: s.writtenBytes });
}

/** `queuedBytes` are not acknowledged. True when there is something new to be told. */
export function zeroCopyDone(s: Queued, queuedBytes: number): boolean {
  const { pending } = s.zeroCopy;
  let news = false;
  while (pending.length > 0 && pending[0].endBytes <= s.writtenBytes - queuedBytes) {
    const id = pending.shift()?.id ?? 0;
    const last = s.notices.at(-1);
    if (last?.kind === 'zerocopy' && last.last + 1 === id) last.last = id;
    else s.notices.push({ kind: 'zerocopy', first: id, last: id });
    news = true;
  }
  return news;
}

/** The control messages of a notice. */
export function noticeControl(notice: Notice): Control[] {
  // By the names CMSG_LEVEL_IP and CMSG_TYPE_RECVERR, whatever the version of IP.
  const [level, type] = [named('SOL_IP'), named('IP_RECVERR')];
  if (notice.kind === 'zerocopy') {
    const [ee_info, ee_data] = [notice.first, notice.last];
    const data = { ee_errno: 0, ee_origin: ORIGIN_ZEROCOPY, ee_type: 0, ee_code: CODE_COPIED, ee_info, ee_data };
    return [{ level, type, data }];
  }
  const [ee_info, ee_data] = [notice.type, notice.id];
  const data = { ee_errno: ENOMSG, ee_origin: ORIGIN_TIMESTAMPING, ee_type: 0, ee_code: 0, ee_info, ee_data };
  return [
    { level: named('SOL_SOCKET'), type: named('SCM_TIMESTAMPING'), data: { atUs: notice.atUs } },
    { level, type, data },
  ];
}
