// What a flow could reach at most, and how evenly flows share.
import type { Loss } from './path.js';
import { WIRE_OVERHEAD_BYTES } from './path.js';

const ETHERNET_BYTES = 14;
const IP_TCP_BYTES = 40;
const TIMESTAMP_BYTES = 12;

export interface BoundInput {
  rateBps: number;
  /** Of the empty path, both ways. */
  rttUs: number;
  windowBytes: number;
  mtu: number;
  loss: Loss | null;
  algorithm: string;
}

/** Payload bytes of a full-sized segment with timestamps. */
export function mssBytes(mtu: number): number {
  return mtu - IP_TCP_BYTES - TIMESTAMP_BYTES;
}

/** Bits per second of payload that the link's rate leaves when headers and the wire's own overhead are taken off. */
export function linkBoundBps(rateBps: number, mtu: number): number {
  return (rateBps * mssBytes(mtu)) / (mtu + ETHERNET_BYTES + WIRE_OVERHEAD_BYTES);
}

/** Loss events per packet: one for a burst, however many frames it takes. */
export function lossEventRate(loss: Loss | null): number {
  if (!loss) return 0;
  if (loss.kind === 'random') return loss.probability;
  if (loss.kind === 'periodic') return 1 / loss.every;
  return (loss.toBad * loss.toGood) / (loss.toBad + loss.toGood);
}

/**
 * MSS/RTT · C/√p. A sender that counts acknowledged bytes grows by one segment per round trip however many ACKs carry
 * them, so C is that of an ACK for every packet, √(3/2) (Mathis, Semke, Mahdavi, Ott: The Macroscopic Behavior of the
 * TCP Congestion Avoidance Algorithm, 1997, §2). Their 1.31 for random losses supposes that a recovery takes no time;
 * with the round trip in which the window does not grow, random losses allow hardly more than periodic ones do
 * (Padhye, Firoiu, Towsley, Kurose: Modeling TCP Throughput, 1998, equation 19).
 */
function renoBoundBps({ rttUs, mtu, loss }: BoundInput): number {
  const rate = lossEventRate(loss);
  if (rate === 0) return Number.POSITIVE_INFINITY;
  return ((mssBytes(mtu) * 8e6) / rttUs) * Math.sqrt(1.5 / rate);
}

/** RFC 9438 §5.1: the larger of the cubic region's average window and the Reno-friendly one's. */
function cubicBoundBps(input: BoundInput): number {
  const rate = lossEventRate(input.loss);
  if (rate === 0) return Number.POSITIVE_INFINITY;
  const rttS = input.rttUs / 1e6;
  // C = 0.4, β = 0.7: (C (3 + β) / (4 (1 − β)))^¼ RTT^¾ / p^¾, in segments.
  const segments = ((0.4 * 3.7) / (4 * 0.3)) ** 0.25 * (rttS / rate) ** 0.75;
  return Math.max((segments * mssBytes(input.mtu) * 8) / rttS, renoBoundBps(input));
}

/** Loss-throughput bound of each algorithm. Loss does to DCTCP what it does to Reno (RFC 8257 §3.5). */
export const lossBounds: Readonly<Record<string, (input: BoundInput) => number>> = {
  reno: renoBoundBps,
  cubic: cubicBoundBps,
  dctcp: renoBoundBps,
};

/** The least of what the link, the window and the loss allow, and which of them it is. */
export function bound(input: BoundInput): { bps: number; by: 'link' | 'window' | 'loss' } {
  const link = linkBoundBps(input.rateBps, input.mtu);
  const window = (input.windowBytes * 8e6) / input.rttUs;
  const loss = lossBounds[input.algorithm](input);
  if (loss <= link && loss <= window) return { bps: loss, by: 'loss' };
  return window < link ? { bps: window, by: 'window' } : { bps: link, by: 'link' };
}

/** Jain's index: 1 when all are equal, 1/n when one has all. */
export function jainIndex(values: readonly number[]): number {
  const sum = values.reduce((a, b) => a + b, 0);
  const squares = values.reduce((a, b) => a + b * b, 0);
  return squares === 0 ? 0 : (sum * sum) / (values.length * squares);
}
