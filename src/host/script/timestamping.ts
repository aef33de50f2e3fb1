// SO_TIMESTAMPING: when the last byte of a write was scheduled, sent and acknowledged, and when what is read arrived.
import type { Notice } from './error-queue.js';
import { named } from './symbols.js';

const TX_SCHED = named('SOF_TIMESTAMPING_TX_SCHED');
const TX_SOFTWARE = named('SOF_TIMESTAMPING_TX_SOFTWARE');
const TX_ACK = named('SOF_TIMESTAMPING_TX_ACK');
const RX_SOFTWARE = named('SOF_TIMESTAMPING_RX_SOFTWARE');
const SOFTWARE = named('SOF_TIMESTAMPING_SOFTWARE');
const OPT_ID = named('SOF_TIMESTAMPING_OPT_ID');
export const OPT_ID_TCP = named('SOF_TIMESTAMPING_OPT_ID_TCP');
export const OPT_TSONLY = named('SOF_TIMESTAMPING_OPT_TSONLY');
/** What a write may ask for by a control message. */
const TX_RECORD = TX_SCHED | TX_SOFTWARE | TX_ACK;
/** Everything that means something here. OPT_CMSG adds nothing to TCP's messages. */
const KNOWN =
  TX_RECORD | RX_SOFTWARE | SOFTWARE | OPT_ID | OPT_ID_TCP | OPT_TSONLY | named('SOF_TIMESTAMPING_OPT_CMSG');

/** SCM_TSTAMP_… */
const SND = 0;
const SCHED = 1;
const ACK = 2;

interface Mark {
  readonly endBytes: number;
  readonly wants: number;
  readonly id: number;
  sent: boolean;
}

export interface Stamps {
  flags: number;
  /** Where in the stream the numbers of bytes begin. */
  base: number;
  readonly marks: Mark[];
  /** Up to which byte of the stream data had arrived when. */
  readonly arrivals: { readonly endBytes: number; readonly atUs: number }[];
}

export function newStamps(): Stamps {
  return { flags: 0, base: 0, marks: [], arrivals: [] };
}

/** SO_TIMESTAMPING. `base`: the number of the next byte that the peer has not acknowledged, or is to be written. False for flags that mean nothing here. */
export function stampsSet(stamps: Stamps, flags: number, base: number): boolean {
  if (flags & ~KNOWN) return false;
  if (flags & OPT_ID && !(stamps.flags & OPT_ID)) stamps.base = base;
  stamps.flags = flags;
  return true;
}

/** A write has ended at `endBytes`. `own`: what it asks for itself, null for what the socket is set to. `bufferFrom`: where its buffer begins. */
export function stampWritten(stamps: Stamps, endBytes: number, own: number | null, bufferFrom: number): void {
  const wants = (own ?? stamps.flags) & TX_RECORD;
  if (wants === 0) return;
  // One buffer has one mark.
  const last = stamps.marks.at(-1);
  if (last !== undefined && !last.sent && last.endBytes > bufferFrom) stamps.marks.pop();
  const id = stamps.flags & OPT_ID ? endBytes - 1 - stamps.base : 0;
  stamps.marks.push({ endBytes, wants, id, sent: false });
}

/** Up to here the stream is sent and acknowledged. Returns what is to be told. */
export function stampsDone(stamps: Stamps, sentBytes: number, ackedBytes: number, atUs: number): Notice[] {
  const notices: Notice[] = [];
  for (const mark of stamps.marks) {
    if (mark.endBytes > sentBytes) break;
    if (!mark.sent && mark.wants & TX_SCHED) notices.push({ kind: 'stamp', type: SCHED, id: mark.id, atUs });
    if (!mark.sent && mark.wants & TX_SOFTWARE) notices.push({ kind: 'stamp', type: SND, id: mark.id, atUs });
    mark.sent = true;
  }
  while (stamps.marks.length > 0 && stamps.marks[0].endBytes <= ackedBytes) {
    const [{ wants, id }] = stamps.marks.splice(0, 1);
    if (wants & TX_ACK) notices.push({ kind: 'stamp', type: ACK, id, atUs });
  }
  return notices;
}

/** Takes note of `receivedBytes` in all. */
export function stampArrival(stamps: Stamps, receivedBytes: number, atUs: number): void {
  if (receivedBytes > (stamps.arrivals.at(-1)?.endBytes ?? 0)) stamps.arrivals.push({ endBytes: receivedBytes, atUs });
}

/** When the byte before `endBytes` arrived, for a reader that wants to know; else null. */
export function arrivedAt(stamps: Stamps, endBytes: number): number | null {
  const both = RX_SOFTWARE | SOFTWARE;
  if ((stamps.flags & both) !== both) return null;
  return stamps.arrivals.find((arrival) => arrival.endBytes >= endBytes)?.atUs ?? null;
}
