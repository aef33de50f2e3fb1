// One direction of a link: a queue, a rate, a delay, and what goes wrong on the way.
//
//   offer ─▶ queue (drop-tail) ─▶ serialisation ─▶ loss, corruption ─▶ delay, reordering, duplication ─▶ deliver
import type { EventQueue } from './events.js';
import type { FrameStore } from './frames.js';
import { random } from './random.js';

export type Loss =
  | { readonly kind: 'random'; readonly probability: number }
  /** Two states (Gilbert): `toBad` and `toGood` are chances per frame; in the bad state every frame is lost. */
  | { readonly kind: 'burst'; readonly toBad: number; readonly toGood: number }
  /** One frame in `every`. */
  | { readonly kind: 'periodic'; readonly every: number };

export interface PathOptions {
  /** Bits per second; Infinity (default) takes no time to serialise and never queues. */
  rateBps?: number;
  delayUs?: number;
  /** Of waiting frames, the one on the wire included. Default without limit. */
  queueBytes?: number;
  queuePackets?: number;
  /** Packets waiting above which a packet that is ECN-capable is marked (RFC 3168, RFC 8257 §4.1's K). */
  markPackets?: number;
  /** What a frame meets that does not fit: it is dropped (default), or stays in the sender's transmit ring. */
  whenFull?: 'drop' | 'wait';
  /** Bytes that the wire adds to each frame. Default 24: Ethernet's preamble, checksum and gap. */
  overheadBytes?: number;
  loss?: Loss | null;
  /** A share of the frames is delayed by up to `maxUs` more, so that later ones overtake them. */
  reorder?: { readonly probability: number; readonly maxUs: number } | null;
  duplicateProbability?: number;
  /** One bit of an IP packet is inverted. Nothing else: a checksum that notices it every time is assumed elsewhere. */
  corruptProbability?: number;
  /** Takes frames and delivers none. */
  blackHole?: boolean;
}

export interface PathCounts {
  offered: number;
  delivered: number;
  queueDrops: number;
  marked: number;
  lost: number;
  corrupted: number;
  duplicated: number;
  delayed: number;
}

export interface Path {
  readonly options: Readonly<PathOptions>;
  readonly counts: PathCounts;
  /** Hands over a frame; the path owns the slot from now on. */
  offer(slot: number): void;
  /** For 'wait': there is no room for another frame now. `whenRoom` is called once when there is. */
  full(whenRoom: () => void): boolean;
  /** Changes the path from here on. */
  change(options: PathOptions): void;
}

/** Bytes of an Ethernet frame's own overhead on the wire: preamble 8, checksum 4, gap 12. */
export const WIRE_OVERHEAD_BYTES = 24;
const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;

const isV4 = (bytes: Uint8Array, ip: number): boolean => bytes[ip - 2] === 8 && bytes[ip - 1] === 0;
const isV6 = (bytes: Uint8Array, ip: number): boolean => bytes[ip - 2] === 0x86 && bytes[ip - 1] === 0xdd;

export interface PathContext {
  readonly events: EventQueue;
  readonly frames: FrameStore;
  readonly seed: number;
}

/** @param deliver takes over the slot of a frame that has come through */
export function createPath(context: PathContext, initial: PathOptions, deliver: (slot: number) => void): Path {
  const { events, frames } = context;
  const chance = random(context.seed);
  let options: PathOptions = { ...initial };
  const counts: PathCounts = {
    offered: 0,
    delivered: 0,
    queueDrops: 0,
    marked: 0,
    lost: 0,
    corrupted: 0,
    duplicated: 0,
    delayed: 0,
  };
  // Frames that have not left yet: when each does and how long it is, a ring.
  let departures = new Float64Array(256);
  let sizes = new Float64Array(256);
  let head = 0;
  let tail = 0;
  let queuedBytes = 0;
  let busyUntilNs = 0;
  let bad = false;
  let serial = 0;
  let waiting: (() => void)[] = [];
  const arrive = events.handler((slot) => {
    counts.delivered++;
    deliver(slot);
  });
  const room = events.handler(() => {
    const callbacks = waiting;
    waiting = [];
    for (const callback of callbacks) callback();
  });

  function leaveQueue(): void {
    const now = events.nowNs();
    const mask = departures.length - 1;
    while (tail !== head && departures[tail & mask] <= now) queuedBytes -= sizes[tail++ & mask];
  }

  function enterQueue(bytes: number): number {
    const start = Math.max(events.nowNs(), busyUntilNs);
    const rate = options.rateBps ?? Number.POSITIVE_INFINITY;
    const wire = bytes + (options.overheadBytes ?? WIRE_OVERHEAD_BYTES);
    busyUntilNs = start + Math.round((wire * 8e9) / rate);
    if (busyUntilNs === start) return start;
    if (head - tail === departures.length) {
      const length = departures.length;
      const departures2 = new Float64Array(length * 2);
      const sizes2 = new Float64Array(length * 2);
      for (let i = tail; i < head; i++) {
        departures2[i & (2 * length - 1)] = departures[i & (length - 1)];
        sizes2[i & (2 * length - 1)] = sizes[i & (length - 1)];
      }
      departures = departures2;
      sizes = sizes2;
    }
    const mask = departures.length - 1;
    departures[head & mask] = busyUntilNs;
    sizes[head++ & mask] = bytes;
    queuedBytes += bytes;
    return busyUntilNs;
  }

  const fits = (bytes: number): boolean =>
    head === tail ||
    (queuedBytes + bytes <= (options.queueBytes ?? Number.POSITIVE_INFINITY) &&
      head - tail < (options.queuePackets ?? Number.POSITIVE_INFINITY));

  function isLost(): boolean {
    if (options.blackHole) return true;
    const { loss } = options;
    if (!loss) return false;
    if (loss.kind === 'random') return chance.chance(loss.probability);
    if (loss.kind === 'periodic') return ++serial % loss.every === 0;
    bad = bad ? !chance.chance(loss.toGood) : chance.chance(loss.toBad);
    return bad;
  }

  /** Congestion experienced, in a packet that says it can tell (RFC 3168 §5); IPv4's checksum goes along (RFC 1624 §3). */
  function mark(slot: number): void {
    const bytes = frames.bytes();
    const ip = slot * frames.stride + ETHERNET_BYTES;
    const v4 = isV4(bytes, ip);
    // The ECN field: the low bits of IPv4's second byte, in the middle of IPv6's.
    const shift = v4 ? 0 : 4;
    const field = (bytes[ip + 1] >> shift) & 3;
    if ((!v4 && !isV6(bytes, ip)) || field === 0 || field === 3) return;
    bytes[ip + 1] |= 3 << shift;
    counts.marked++;
    if (!v4) return;
    let sum = ((bytes[ip + 10] << 8) | bytes[ip + 11]) - (3 - field);
    if (sum < 0) sum += 0xffff;
    bytes[ip + 10] = sum >> 8;
    bytes[ip + 11] = sum & 0xff;
  }

  function corrupt(slot: number): void {
    const bytes = frames.bytes();
    const ip = slot * frames.stride + ETHERNET_BYTES;
    const v4 = isV4(bytes, ip);
    if (!v4 && !isV6(bytes, ip)) return;
    const length = v4 ? (bytes[ip + 2] << 8) | bytes[ip + 3] : IPV6_BYTES + ((bytes[ip + 4] << 8) | bytes[ip + 5]);
    const bit = chance.below(8 * Math.min(length, frames.length(slot) - ETHERNET_BYTES));
    bytes[ip + (bit >> 3)] ^= 1 << (bit & 7);
    counts.corrupted++;
  }

  return {
    get options() {
      return options;
    },
    counts,
    offer(slot) {
      counts.offered++;
      leaveQueue();
      const bytes = frames.length(slot);
      if (!fits(bytes)) {
        counts.queueDrops++;
        frames.give(slot);
        return;
      }
      if (options.markPackets !== undefined && head - tail > options.markPackets) mark(slot);
      const leftNs = enterQueue(bytes);
      if (isLost()) {
        counts.lost++;
        frames.give(slot);
        return;
      }
      if (options.corruptProbability && chance.chance(options.corruptProbability)) corrupt(slot);
      let atNs = leftNs + Math.round((options.delayUs ?? 0) * 1000);
      const { reorder } = options;
      if (reorder && chance.chance(reorder.probability)) {
        counts.delayed++;
        atNs += chance.below(Math.round(reorder.maxUs * 1000) + 1);
      }
      events.push(atNs, arrive, slot);
      if (options.duplicateProbability && chance.chance(options.duplicateProbability)) {
        counts.duplicated++;
        events.push(atNs, arrive, frames.copy(slot));
      }
    },
    full(whenRoom) {
      if (options.whenFull !== 'wait') return false;
      leaveQueue();
      if (fits(frames.stride)) return false;
      if (waiting.length === 0) events.push(departures[tail & (departures.length - 1)], room, 0);
      waiting.push(whenRoom);
      return true;
    },
    change(changes) {
      options = { ...options, ...changes };
    },
  };
}
