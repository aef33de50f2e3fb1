// What a middle can do to one TCP segment. Each change leaves the checksums right, and says how it may hurt: not at all
// beyond what a lossy path does ('path'), by ending or stalling the connection ('state'), or by making other bytes part of
// the stream ('data').
import * as F from '../../../helpers/frames.js';
import type { Random } from '../../../helpers/random.js';

export type Harm = 'path' | 'state' | 'data';

const IP = 14;
const FLAGS = 13;

export function tcpAt(frame: Uint8Array): number {
  return IP + (frame[IP] & 15) * 4;
}

export function view(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
}

export function isTcp(frame: Uint8Array): boolean {
  return frame.length >= 54 && frame[12] === 8 && frame[13] === 0 && frame[23] === 6;
}

export function flagsOf(frame: Uint8Array): number {
  return frame[tcpAt(frame) + FLAGS];
}

/** Offset of the payload, and its length. */
export function payloadOf(frame: Uint8Array): { at: number; length: number } {
  const tcp = tcpAt(frame);
  const at = tcp + (frame[tcp + 12] >> 4) * 4;
  return { at, length: IP + view(frame).getUint16(IP + 2) - at };
}

/** Offset of an option's kind, 0 when the segment does not have it. */
function optionAt(frame: Uint8Array, kind: number): number {
  const tcp = tcpAt(frame);
  const end = payloadOf(frame).at;
  for (let at = tcp + 20; at < end && frame[at] !== 0; at += frame[at] === 1 ? 1 : Math.max(2, frame[at + 1])) {
    if (frame[at] === kind) return at;
  }
  return 0;
}

/** Deltas that turn one number of a connection into a plausible other. */
function nudge(r: Random): number {
  return r.pick([1, -1, 10, -10, 1448, -1448, 5000, -5000, 60_000, -60_000, 0x7fffffff, r.u32()]);
}

/** Overwrites an option with no-operations. */
function strip(frame: Uint8Array, kind: number): void {
  const at = optionAt(frame, kind);
  if (at !== 0) frame.fill(1, at, at + frame[at + 1]);
}

function rewriteOptions(frame: Uint8Array, r: Random): Harm {
  const dv = view(frame);
  const isSyn = (flagsOf(frame) & F.SYN) !== 0;
  const kind = r.pick(isSyn ? [2, 3, 4, 8] : [5, 5, 8]);
  const at = optionAt(frame, kind);
  if (at === 0) return 'path';
  if (kind === 2) dv.setUint16(at + 2, r.pick([0, 1, 64, 536, 9000, 65535]));
  else if (kind === 3) frame[at + 2] = r.pick([0, 1, 14, 255]);
  else if (kind === 4) strip(frame, 4);
  else if (kind === 5) {
    // Advice only (RFC 2018 §8): whatever it says, data is not gone before it is acknowledged.
    const word = at + 2 + 4 * r.below((frame[at + 1] - 2) / 4);
    dv.setUint32(word, dv.getUint32(word) + nudge(r));
  } else {
    if (isSyn && r.oneIn(2)) strip(frame, 8);
    else dv.setUint32(at + r.pick([2, 6]), dv.getUint32(at + 2) + nudge(r));
    return 'state';
  }
  return 'path';
}

function rewriteFlags(frame: Uint8Array, r: Random): Harm {
  const at = tcpAt(frame) + FLAGS;
  const bit = r.pick([F.FIN, F.RST, F.SYN, F.ACK, F.PSH, F.URG, 64, 128]);
  const had = frame[at];
  frame[at] ^= bit;
  if (bit === F.URG) view(frame).setUint16(at + 5, r.pick([0, 1, 100, 65535]));
  // A FIN taken off comes again; an ACK taken off makes it nothing.
  if (bit === F.FIN || bit === F.RST) return had & bit ? 'path' : 'state';
  return bit === F.SYN ? 'state' : 'path';
}

/** Rewrites one thing of the segment. */
export function rewrite(frame: Uint8Array, r: Random): Harm {
  const dv = view(frame);
  const tcp = tcpAt(frame);
  const { at: payload, length } = payloadOf(frame);
  let harm: Harm = 'path';
  switch (r.below(12)) {
    case 0:
      dv.setUint32(tcp + 4, dv.getUint32(tcp + 4) + nudge(r));
      harm = 'data';
      break;
    case 1:
      dv.setUint32(tcp + 8, dv.getUint32(tcp + 8) + nudge(r));
      harm = 'state';
      break;
    case 2:
    case 3:
      dv.setUint16(tcp + 14, r.pick([0, 1, 100, 65535, r.below(65536)]));
      break;
    case 4:
    case 5:
      harm = rewriteOptions(frame, r);
      break;
    case 6:
    case 7:
      harm = rewriteFlags(frame, r);
      break;
    case 8:
      // ECN's bits: marks, and marks taken off.
      frame[IP + 1] = (frame[IP + 1] & 0xfc) | r.below(4);
      break;
    case 9:
      frame[IP + r.pick([1, 4, 5, 8])] = r.u32();
      frame[IP + 8] = Math.max(1, frame[IP + 8]);
      break;
    case 10:
      if (length === 0) break;
      frame[payload + r.below(length)] ^= 1 + r.below(255);
      harm = 'data';
      break;
    default: {
      if (length < 2) break;
      // A shorter segment is as good as a resegmented one; its FIN would come too early.
      dv.setUint16(IP + 2, dv.getUint16(IP + 2) - 1 - r.below(length - 1));
      frame[tcp + FLAGS] &= ~F.FIN;
    }
  }
  F.fixChecksums(frame);
  return harm;
}

/** Damage that checksums always find: some, but not all, of 16 bits next to each other. */
export function damage(frame: Uint8Array, r: Random): void {
  const dv = view(frame);
  const at = IP + r.below(frame.length - IP - 1);
  dv.setUint16(at, dv.getUint16(at) ^ (1 + r.below(0xfffe)));
}

/** The two IPv4 fragments of a packet, cut at a multiple of 8 bytes; the packet alone when it is too short. */
export function fragment(frame: Uint8Array, r: Random): Uint8Array[] {
  const dv = view(frame);
  const total = dv.getUint16(IP + 2) - 20;
  if ((frame[IP] & 15) !== 5 || total <= 8) return [frame];
  const cut = 8 * (1 + r.below((total - 1) >> 3));
  const piece = (from: number, to: number, more: boolean): Uint8Array => {
    const part = new Uint8Array(34 + to - from);
    part.set(frame.subarray(0, 34));
    part.set(frame.subarray(34 + from, 34 + to), 34);
    const header = view(part);
    header.setUint16(IP + 2, 20 + to - from);
    header.setUint16(IP + 6, (more ? 0x2000 : 0) | (from >> 3));
    headerChecksum(part);
    return part;
  };
  const id = 1 + r.below(65535);
  dv.setUint16(IP + 4, id);
  return [piece(0, cut, true), piece(cut, total, false)];
}

function headerChecksum(frame: Uint8Array): void {
  const dv = view(frame);
  dv.setUint16(IP + 10, 0);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += dv.getUint16(IP + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  dv.setUint16(IP + 10, ~sum & 0xffff);
}
