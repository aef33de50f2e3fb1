// Frames of an attacker, made fast: a template is built once, and each frame is a copy of it with other addresses, ports
// and numbers, whose checksum is corrected by what has changed (RFC 1624).
import { parseMac } from '../core/address.js';
import type { TcpOption } from '../script/ast.js';
import { checksum, type Ends, ipPacket, pseudoSum, tcpFrame } from '../script/wire.js';

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

/** The addresses of one version of IP: of the server, the client and the attacker. */
export interface Family {
  readonly server: readonly number[];
  readonly client: readonly number[];
  readonly attacker: readonly number[];
}

export const IPV4: Family = { server: SERVER_IP, client: CLIENT_IP, attacker: ATTACKER_IP };
/** On the link is fd00::/64. */
const host6 = (last: number): number[] => [0xfd, ...new Array<number>(14).fill(0), last];
export const IPV6: Family = { server: host6(1), client: host6(2), attacker: host6(3) };

/** An address as text. */
export function ipText(ip: readonly number[]): string {
  if (ip.length === 4) return ip.join('.');
  const words = Array.from({ length: 8 }, (_, i) => ((ip[2 * i] << 8) | ip[2 * i + 1]).toString(16));
  return words.join(':');
}

const ETH = 14;
const IP6 = 40;
const MARKS = { tos: 0, ttl: 64, flowLabel: 0 };
const PROTO_ICMP = 1;
const PROTO_FRAGMENT = 44;
const PROTO_ICMP6 = 58;

function isV6(frame: Uint8Array): boolean {
  return frame[12] === 0x86;
}

/** Where the TCP or ICMP header begins. */
function l4At(frame: Uint8Array): number {
  return ETH + (isV6(frame) ? IP6 : 20);
}

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
  const { src = ATTACKER_IP, length = 0, fill = 0 } = shape;
  const { dst = src.length === 4 ? SERVER_IP : IPV6.server } = shape;
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
    correct(dv, l4At(frame) + 16, 0, sum);
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
  /** IPv4 address as a number, or the last 32 bits of an IPv6 address. */
  readonly src?: number;
}

/** A copy with other numbers. */
export function variant(template: Uint8Array, change: Change): Uint8Array {
  const frame = template.slice();
  const dv = new DataView(frame.buffer);
  const tcp = l4At(frame);
  const word = (at: number, value: number, inHeader: boolean): void => {
    const before = dv.getUint16(at);
    dv.setUint16(at, value);
    correct(dv, tcp + 16, before, value);
    if (inHeader) correct(dv, ETH + 10, before, value);
  };
  const long = (at: number, value: number, inHeader = false): void => {
    word(at, (value >>> 16) & 0xffff, inHeader);
    word(at + 2, value & 0xffff, inHeader);
  };
  if (change.seq !== undefined) long(tcp + 4, change.seq);
  if (change.ack !== undefined) long(tcp + 8, change.ack);
  if (change.srcPort !== undefined) word(tcp, change.srcPort, false);
  // IPv6 has no checksum of its own.
  if (change.src !== undefined) long(isV6(frame) ? ETH + 20 : ETH + 12, change.src, !isV6(frame));
  return frame;
}

/** An ICMP message of the attacker's. `rest`: the second word; `body`: what follows it. */
export function icmp(type: number, code: number, rest: number, body: Uint8Array): Uint8Array {
  const frame = ipPacket(ends(ATTACKER_IP, SERVER_IP), PROTO_ICMP, 8 + body.length, MARKS);
  const dv = new DataView(frame.buffer);
  const at = l4At(frame);
  dv.setUint8(at, type);
  dv.setUint8(at + 1, code);
  dv.setUint32(at + 4, rest);
  frame.set(body, at + 8);
  dv.setUint16(at + 2, checksum(frame, at, frame.length, 0));
  return frame;
}

/** The same of ICMPv6, from `src` to `dst`. */
export function icmp6(
  type: number,
  code: number,
  rest: number,
  body: Uint8Array,
  { src = IPV6.attacker, dst = IPV6.server, ttl = MARKS.ttl } = {},
): Uint8Array {
  const between = ends(src, dst);
  const frame = ipPacket(between, PROTO_ICMP6, 8 + body.length, { ...MARKS, ttl });
  const dv = new DataView(frame.buffer);
  const at = l4At(frame);
  dv.setUint8(at, type);
  dv.setUint8(at + 1, code);
  dv.setUint32(at + 4, rest);
  frame.set(body, at + 8);
  dv.setUint16(at + 2, checksum(frame, at, frame.length, pseudoSum(between, PROTO_ICMP6, 8 + body.length)));
  return frame;
}

/** Who has the server's address? asks a neighbour with this number (RFC 4861 §4.3), and with a MAC made of it. */
export function neighbourSolicitation(sender: number): Uint8Array {
  const bytes = [24, 16, 8, 0].map((shift) => (sender >>> shift) & 255);
  const src = [...IPV6.server.slice(0, 12), ...bytes];
  const mac = [2, 0, ...bytes];
  // The server's solicited-node group, and the option with the sender's link-layer address.
  const group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...IPV6.server.slice(13)];
  const frame = icmp6(135, 0, 0, Uint8Array.from([...IPV6.server, 1, 1, ...mac]), { src, dst: group, ttl: 255 });
  frame.set([0x33, 0x33, ...group.slice(12)], 0);
  frame.set(mac, 6);
  return frame;
}

/** The packet in `frame`, IPv6, as if it were the fragment at `offset`, a multiple of 8, of a larger one (RFC 8200 §4.5). */
export function fragment6(frame: Uint8Array, id: number, offset: number, more: boolean): Uint8Array {
  const copy = new Uint8Array(frame.length + 8);
  copy.set(frame.subarray(0, ETH + IP6));
  copy.set(frame.subarray(ETH + IP6), ETH + IP6 + 8);
  const dv = new DataView(copy.buffer);
  dv.setUint16(ETH + 4, copy.length - ETH - IP6);
  copy[ETH + IP6] = copy[ETH + 6];
  copy[ETH + 6] = PROTO_FRAGMENT;
  dv.setUint16(ETH + IP6 + 2, offset | (more ? 1 : 0));
  dv.setUint32(ETH + IP6 + 4, id);
  return copy;
}

/** The packet in `frame` as if it were the fragment at `offset`, a multiple of 8, of a larger one. */
export function fragment(frame: Uint8Array, id: number, offset: number, more: boolean): Uint8Array {
  const copy = frame.slice();
  const dv = new DataView(copy.buffer);
  dv.setUint16(ETH + 4, id);
  dv.setUint16(ETH + 6, (more ? 0x2000 : 0) | (offset >> 3));
  dv.setUint16(ETH + 10, 0);
  dv.setUint16(ETH + 10, checksum(copy, ETH, ETH + 20, 0));
  return copy;
}

/** The packet of the server's that an ICMP error is about: its IP header and 8 bytes. */
export function quote(to: readonly number[], srcPort: number, dstPort: number, seq: number): Uint8Array {
  const from = to.length === 4 ? SERVER_IP : IPV6.server;
  const there = { ...ends(from, to), srcMac: SERVER_MAC, dstMac: ATTACKER_MAC };
  const none = { ack: 0, flags: ACK, window: 0, urgent: 0, options: [], length: 0 };
  const frame = tcpFrame(there, { src: srcPort, dst: dstPort }, { ...none, seq }, MARKS);
  return frame.slice(ETH, l4At(frame) + 8);
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

/** Null for what is no TCP. */
export function readAnswer(frame: Uint8Array): Answer | null {
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const six = isV6(frame);
  if ((!six && dv.getUint16(12) !== 0x0800) || frame[six ? 20 : 23] !== 6) return null;
  const tcp = l4At(frame);
  const header = (frame[tcp + 12] >> 4) * 4;
  const bytes = six ? IP6 + dv.getUint16(18) : dv.getUint16(16);
  return {
    srcPort: dv.getUint16(tcp),
    dstPort: dv.getUint16(tcp + 2),
    seq: dv.getUint32(tcp + 4),
    ack: dv.getUint32(tcp + 8),
    flags: frame[tcp + 13],
    length: ETH + bytes - tcp - header,
    stamp: header >= 32 && frame[tcp + 22] === 8 ? dv.getUint32(tcp + 24) : 0,
  };
}
