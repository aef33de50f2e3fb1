// Frames of an attacker, made fast: a template is built once, and each frame is a copy of it with other addresses, ports
// and numbers, whose checksum is corrected by what has changed (RFC 1624).
import { parseMac } from '../core/address.js';
import type { TcpOption } from '../script/ast.js';
import { checksum, type Ends, ipPacket, tcpFrame } from '../script/wire.js';

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

export const SERVER_MAC = parseMac('02:00:00:00:00:01');
export const CLIENT_MAC = parseMac('02:00:00:00:00:02');
export const ATTACKER_MAC = parseMac('02:00:00:00:00:03');
export const SERVER_IP: readonly number[] = [10, 0, 0, 1];
export const CLIENT_IP: readonly number[] = [10, 0, 0, 2];
export const ATTACKER_IP: readonly number[] = [10, 0, 0, 3];

const ETH = 14;
const TCP = ETH + 20;
const MARKS = { tos: 0, ttl: 64, flowLabel: 0 };
const PROTO_ICMP = 1;

export interface Shape {
  readonly src?: readonly number[];
  readonly dst?: readonly number[];
  readonly srcPort?: number;
  readonly dstPort: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly flags: number;
  readonly window?: number;
  readonly options?: readonly TcpOption[];
  /** Bytes of payload, all of this value. */
  readonly length?: number;
  readonly fill?: number;
}

function ends(src: readonly number[], dst: readonly number[]): Ends {
  return {
    srcMac: ATTACKER_MAC,
    dstMac: SERVER_MAC,
    src: Uint8Array.from(src),
    dst: Uint8Array.from(dst),
  };
}

/** A TCP segment to the server, as if from `src`. */
export function segment(shape: Shape): Uint8Array {
  const { src = ATTACKER_IP, dst = SERVER_IP, length = 0, fill = 0 } = shape;
  const frame = tcpFrame(
    ends(src, dst),
    { src: shape.srcPort ?? 0, dst: shape.dstPort },
    {
      seq: shape.seq ?? 0,
      ack: shape.ack ?? 0,
      flags: shape.flags,
      window: shape.window ?? 65535,
      urgent: 0,
      options: shape.options ?? [],
      length,
    },
    MARKS,
  );
  if (fill !== 0) {
    frame.fill(fill, frame.length - length);
    const dv = new DataView(frame.buffer);
    const sum = length % 2 === 0 ? (fill * 0x101 * (length / 2)) % 0xffff : -1;
    if (sum < 0) throw new RangeError('an even number of bytes');
    correct(dv, TCP + 16, 0, sum);
  }
  return frame;
}

/** Takes a word that has become another into account. */
function correct(dv: DataView, at: number, before: number, after: number): void {
  let sum = (~dv.getUint16(at) & 0xffff) + (~before & 0xffff) + after;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  dv.setUint16(at, ~sum & 0xffff);
}

export interface Change {
  readonly seq?: number;
  readonly ack?: number;
  readonly srcPort?: number;
  /** IPv4 address, as a number. */
  readonly src?: number;
}

/** A copy with other numbers. */
export function variant(template: Uint8Array, change: Change): Uint8Array {
  const frame = template.slice();
  const dv = new DataView(frame.buffer);
  const word = (at: number, value: number, inHeader: boolean): void => {
    const before = dv.getUint16(at);
    dv.setUint16(at, value);
    correct(dv, TCP + 16, before, value);
    if (inHeader) correct(dv, ETH + 10, before, value);
  };
  const long = (at: number, value: number, inHeader = false): void => {
    word(at, (value >>> 16) & 0xffff, inHeader);
    word(at + 2, value & 0xffff, inHeader);
  };
  if (change.seq !== undefined) long(TCP + 4, change.seq);
  if (change.ack !== undefined) long(TCP + 8, change.ack);
  if (change.srcPort !== undefined) word(TCP, change.srcPort, false);
  if (change.src !== undefined) long(ETH + 12, change.src, true);
  return frame;
}

/** An ICMP message of the attacker's. `rest`: the second word; `body`: what follows it. */
export function icmp(type: number, code: number, rest: number, body: Uint8Array): Uint8Array {
  const frame = ipPacket(ends(ATTACKER_IP, SERVER_IP), PROTO_ICMP, 8 + body.length, MARKS);
  const dv = new DataView(frame.buffer);
  dv.setUint8(TCP, type);
  dv.setUint8(TCP + 1, code);
  dv.setUint32(TCP + 4, rest);
  frame.set(body, TCP + 8);
  dv.setUint16(TCP + 2, checksum(frame, TCP, frame.length, 0));
  return frame;
}

/** The packet in `frame` as if it were the fragment at `offset`, a multiple of 8, of a larger one. */
export function fragment(frame: Uint8Array, id: number, offset: number, more: boolean): Uint8Array {
  const copy = frame.slice();
  const dv = new DataView(copy.buffer);
  dv.setUint16(ETH + 4, id);
  dv.setUint16(ETH + 6, (more ? 0x2000 : 0) | (offset >> 3));
  dv.setUint16(ETH + 10, 0);
  dv.setUint16(ETH + 10, checksum(copy, ETH, TCP, 0));
  return copy;
}

/** The packet of the server's that an ICMP error is about: its IP header and 8 bytes. */
export function quote(to: readonly number[], srcPort: number, dstPort: number, seq: number): Uint8Array {
  const there = { ...ends(SERVER_IP, to), srcMac: SERVER_MAC, dstMac: ATTACKER_MAC };
  const none = { ack: 0, flags: ACK, window: 0, urgent: 0, options: [], length: 0 };
  return tcpFrame(there, { src: srcPort, dst: dstPort }, { ...none, seq }, MARKS).slice(ETH, TCP + 8);
}

/** Who has the server's address? asks `sender`, a number, with a MAC made of it. */
export function arpRequest(sender: number): Uint8Array {
  const frame = new Uint8Array(60);
  const dv = new DataView(frame.buffer);
  frame.fill(255, 0, 6);
  dv.setUint16(6, 0x0200);
  dv.setUint32(8, sender);
  dv.setUint16(12, 0x0806);
  frame.set([0, 1, 8, 0, 6, 4, 0, 1], 14);
  frame.set(frame.subarray(6, 12), 22);
  dv.setUint32(28, sender);
  frame.set(SERVER_IP, 38);
  return frame;
}

/** What the attacker reads of a segment that comes back. */
export interface Answer {
  readonly srcPort: number;
  readonly dstPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly length: number;
  /** Value of the timestamp option, when it is the first after two NOPs. */
  readonly stamp: number;
}

/** Null for what is no TCP over IPv4. */
export function readAnswer(frame: Uint8Array): Answer | null {
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (dv.getUint16(12) !== 0x0800 || frame[23] !== 6) return null;
  const header = (frame[TCP + 12] >> 4) * 4;
  return {
    srcPort: dv.getUint16(TCP),
    dstPort: dv.getUint16(TCP + 2),
    seq: dv.getUint32(TCP + 4),
    ack: dv.getUint32(TCP + 8),
    flags: frame[TCP + 13],
    length: ETH + dv.getUint16(16) - TCP - header,
    stamp: header >= 32 && frame[TCP + 22] === 8 ? dv.getUint32(TCP + 24) : 0,
  };
}
