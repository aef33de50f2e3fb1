// Ethernet, IPv4, IPv6, TCP and ICMP in bytes: builds what a script injects and reads what the core sends.
import type { TcpOption } from './ast.js';

const ETH = 14;
const IP = 20;
const IP6 = 40;
const TCP = 20;
const PROTO_ICMP = 1;
const PROTO_TCP = 6;
const PROTO_ICMP6 = 58;
const FLAG_NAMES = 'FSRP.UEW';

export interface Segment {
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  readonly options: readonly TcpOption[];
  readonly length: number;
}

/** A segment with where it came from and its IP header's marks. */
export interface SentSegment extends Segment {
  readonly atUs: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly tos: number;
  readonly ttl: number;
  readonly flowLabel: number;
  /** The IP packet, for ICMP errors to quote. */
  readonly packet: Uint8Array;
}

/** Fields of the IP header that a script may choose. */
export interface Marks {
  readonly tos: number;
  readonly ttl: number;
  readonly flowLabel: number;
}

export interface Ends {
  readonly srcMac: Uint8Array;
  readonly dstMac: Uint8Array;
  /** Four bytes each, or sixteen. */
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
}

export function flagsFrom(text: string): number {
  let flags = 0;
  for (const letter of text) flags |= 1 << FLAG_NAMES.indexOf(letter);
  return flags;
}

export function flagsText(flags: number): string {
  let text = '';
  for (const letter of 'SFRPWEU.') if (flags & flagsFrom(letter)) text += letter;
  return text === '' ? '-' : text;
}

export function optionsText(options: readonly TcpOption[]): string {
  const one = (option: TcpOption): string => {
    switch (option.kind) {
      case 'mss':
      case 'wscale':
        return `${option.kind} ${option.value}`;
      case 'sack':
        return `sack ${option.blocks.map(([from, to]) => `${from}:${to}`).join(' ')}`;
      case 'TS':
        return `TS val ${option.val ?? '...'} ecr ${option.ecr ?? '...'}`;
      case 'md5':
        return `md5 ${option.digest}`;
      case 'FO':
        return `${option.experiment ? 'FOEXP' : 'FO'} ${option.cookie}`.trim();
      default:
        return option.kind;
    }
  };
  return `<${options.map(one).join(',')}>`;
}

/** The options in bytes, padded with zeros to a multiple of four. */
export function encodeOptions(options: readonly TcpOption[]): Uint8Array {
  const bytes: number[] = [];
  const word = (value: number): void => {
    bytes.push((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  };
  for (const option of options) {
    switch (option.kind) {
      case 'eol':
        bytes.push(0);
        break;
      case 'nop':
        bytes.push(1);
        break;
      case 'mss':
        bytes.push(2, 4, option.value >> 8, option.value & 255);
        break;
      case 'wscale':
        bytes.push(3, 3, option.value);
        break;
      case 'sackOK':
        bytes.push(4, 2);
        break;
      case 'sack':
        bytes.push(5, 2 + 8 * option.blocks.length);
        for (const [from, to] of option.blocks) {
          word(from);
          word(to);
        }
        break;
      case 'TS':
        bytes.push(8, 10);
        word(option.val ?? 0);
        word(option.ecr ?? 0);
        break;
      case 'md5':
        bytes.push(19, 18, ...Buffer.from(option.digest, 'hex'));
        break;
      case 'FO':
        // RFC 6994: an experimental option begins with a magic number.
        if (option.experiment) bytes.push(254, 4 + option.cookie.length / 2, 0xf9, 0x89);
        else bytes.push(34, 2 + option.cookie.length / 2);
        bytes.push(...Buffer.from(option.cookie, 'hex'));
        break;
    }
  }
  while (bytes.length % 4 !== 0) bytes.push(0);
  return Uint8Array.from(bytes);
}

function decodeOptions(bytes: Uint8Array): TcpOption[] {
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const options: TcpOption[] = [];
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at];
    if (kind < 2) {
      options.push({ kind: kind === 0 ? 'eol' : 'nop' });
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (kind === 2) options.push({ kind: 'mss', value: dv.getUint16(at + 2) });
    else if (kind === 3) options.push({ kind: 'wscale', value: bytes[at + 2] });
    else if (kind === 4) options.push({ kind: 'sackOK' });
    else if (kind === 8) options.push({ kind: 'TS', val: dv.getUint32(at + 2), ecr: dv.getUint32(at + 6) });
    else if (kind === 34 || kind === 254) {
      const experiment = kind === 254;
      const cookie = Buffer.from(bytes.slice(at + (experiment ? 4 : 2), at + length)).toString('hex');
      options.push({ kind: 'FO', cookie, experiment });
    } else if (kind === 5) {
      const blocks: [number, number][] = [];
      for (let b = at + 2; b + 8 <= at + length; b += 8) blocks.push([dv.getUint32(b), dv.getUint32(b + 4)]);
      options.push({ kind: 'sack', blocks });
    }
    at += Math.max(length, 1);
  }
  return options;
}

/** Bytes of the IP header that `ends` make. */
export function ipHeaderBytes(ends: Ends): number {
  return ends.src.length === 4 ? IP : IP6;
}

/** An Ethernet frame with an IP header and room for `l4Bytes`. */
export function ipPacket(ends: Ends, protocol: number, l4Bytes: number, marks: Marks): Uint8Array {
  const header = ipHeaderBytes(ends);
  const frame = new Uint8Array(ETH + header + l4Bytes);
  const dv = new DataView(frame.buffer);
  frame.set(ends.dstMac, 0);
  frame.set(ends.srcMac, 6);
  if (header === IP6) {
    dv.setUint16(12, 0x86dd);
    dv.setUint32(14, 0x60000000 | (marks.tos << 20) | marks.flowLabel);
    dv.setUint16(18, l4Bytes);
    dv.setUint8(20, protocol);
    dv.setUint8(21, marks.ttl);
    frame.set(ends.src, 22);
    frame.set(ends.dst, 38);
    return frame;
  }
  dv.setUint16(12, 0x0800);
  dv.setUint8(14, 0x45);
  dv.setUint8(15, marks.tos);
  dv.setUint16(16, IP + l4Bytes);
  dv.setUint16(20, 0x4000);
  dv.setUint8(22, marks.ttl);
  dv.setUint8(23, protocol);
  frame.set(ends.src, 26);
  frame.set(ends.dst, 30);
  dv.setUint16(24, checksum(frame, ETH, ETH + IP, 0));
  return frame;
}

/** Sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1). */
export function pseudoSum(ends: Ends, protocol: number, l4Bytes: number): number {
  let sum = protocol + (l4Bytes >>> 16) + (l4Bytes & 0xffff);
  for (const address of [ends.src, ends.dst]) {
    for (let i = 0; i < address.length; i += 2) sum += (address[i] << 8) | address[i + 1];
  }
  return sum;
}

export function tcpFrame(ends: Ends, ports: { src: number; dst: number }, segment: Segment, marks: Marks): Uint8Array {
  const options = encodeOptions(segment.options);
  const l4Bytes = TCP + options.length + segment.length;
  const frame = ipPacket(ends, PROTO_TCP, l4Bytes, marks);
  const dv = new DataView(frame.buffer);
  const at = ETH + ipHeaderBytes(ends);
  dv.setUint16(at, ports.src);
  dv.setUint16(at + 2, ports.dst);
  dv.setUint32(at + 4, segment.seq >>> 0);
  dv.setUint32(at + 8, segment.ack >>> 0);
  dv.setUint8(at + 12, ((TCP + options.length) / 4) << 4);
  dv.setUint8(at + 13, segment.flags);
  dv.setUint16(at + 14, segment.window);
  dv.setUint16(at + 18, segment.urgent);
  frame.set(options, at + TCP);
  dv.setUint16(at + 16, checksum(frame, at, frame.length, pseudoSum(ends, PROTO_TCP, l4Bytes)));
  return frame;
}

/** An ICMP error that quotes the IP header and the first eight bytes of `quoted`. */
export function icmpFrame(ends: Ends, type: number, code: number, mtu: number, quoted: Uint8Array): Uint8Array {
  const header = ipHeaderBytes(ends);
  const quote = quoted.slice(0, header + TCP);
  const protocol = header === IP6 ? PROTO_ICMP6 : PROTO_ICMP;
  const frame = ipPacket(ends, protocol, 8 + quote.length, { tos: 0, ttl: 64, flowLabel: 0 });
  const at = ETH + header;
  const dv = new DataView(frame.buffer);
  dv.setUint8(at, type);
  dv.setUint8(at + 1, code);
  if (header === IP6) dv.setUint32(at + 4, mtu);
  else dv.setUint16(at + 6, mtu);
  frame.set(quote, at + 8);
  const start = header === IP6 ? pseudoSum(ends, protocol, 8 + quote.length) : 0;
  dv.setUint16(at + 2, checksum(frame, at, frame.length, start));
  return frame;
}

/** Null for what is no TCP. */
export function readSegment(frame: Uint8Array, atUs: number): SentSegment | null {
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const six = dv.getUint16(12) === 0x86dd;
  if (!six && dv.getUint16(12) !== 0x0800) return null;
  if (frame[six ? 20 : 23] !== PROTO_TCP) return null;
  const at = ETH + (six ? IP6 : (frame[14] & 15) * 4);
  const header = (frame[at + 12] >> 4) * 4;
  const end = six ? at + dv.getUint16(18) : ETH + dv.getUint16(16);
  const firstWord = dv.getUint32(14);
  return {
    atUs,
    srcPort: dv.getUint16(at),
    dstPort: dv.getUint16(at + 2),
    seq: dv.getUint32(at + 4),
    ack: dv.getUint32(at + 8),
    flags: frame[at + 13],
    window: dv.getUint16(at + 14),
    urgent: dv.getUint16(at + 18),
    options: decodeOptions(frame.subarray(at + TCP, at + header)),
    length: end - at - header,
    tos: six ? (firstWord >>> 20) & 255 : frame[15],
    ttl: frame[six ? 21 : 22],
    flowLabel: six ? firstWord & 0xfffff : 0,
    packet: Uint8Array.from(frame.subarray(ETH, end)),
  };
}

/** The Internet checksum (RFC 1071) of bytes[from, to), beginning with the sum `start`. */
export function checksum(bytes: Uint8Array, from: number, to: number, start: number): number {
  let sum = start;
  for (let i = from; i < to; i += 2) sum += (bytes[i] << 8) | (i + 1 < to ? bytes[i + 1] : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
