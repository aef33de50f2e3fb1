// IPv6 frames, byte by byte: TCP, ICMPv6, extension headers, right or wrong as the test wants.
import { writeAddress } from '../../src/host/core/address.js';
import { OWN_MAC, PEER_MAC } from './manual.js';

export const OWN_IP6 = 'fd00::1';
export const PEER_IP6 = 'fd00::2';
const ETH = 14;
const IP6 = 40;
export const TCP_PROTO = 6;
export const UDP_PROTO = 17;
export const ICMPV6_PROTO = 58;

export interface Packet6 {
  next: number;
  /** Upper layer, checksum field anything. */
  payload: Uint8Array;
  src?: string;
  dst?: string;
  hopLimit?: number;
  trafficClass?: number;
  /** Extension headers in order, each its number and its bytes without the first two; lengths are filled in. */
  extensions?: readonly (readonly [number, readonly number[]])[];
  mac?: readonly number[];
  /** Leaves the checksum as it is. */
  rawChecksum?: boolean;
}

/** A frame to the core. */
export function frame6(o: Packet6): Uint8Array {
  const extensions = (o.extensions ?? []).map(([kind, body]) => {
    const bytes = new Uint8Array(Math.ceil((body.length + 2) / 8) * 8);
    bytes[1] = bytes.length / 8 - 1;
    bytes.set(body, 2);
    return { kind, bytes };
  });
  const extensionBytes = extensions.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const frame = new Uint8Array(ETH + IP6 + extensionBytes + o.payload.length);
  frame.set(o.mac ?? OWN_MAC, 0);
  frame.set(PEER_MAC, 6);
  const dv = new DataView(frame.buffer);
  dv.setUint16(12, 0x86dd);
  dv.setUint32(14, 0x60000000 | ((o.trafficClass ?? 0) << 20));
  dv.setUint16(18, extensionBytes + o.payload.length);
  dv.setUint8(20, extensions[0]?.kind ?? o.next);
  dv.setUint8(21, o.hopLimit ?? 64);
  writeAddress(frame, 22, o.src ?? PEER_IP6);
  writeAddress(frame, 38, o.dst ?? OWN_IP6);
  let at = ETH + IP6;
  extensions.forEach(({ kind, bytes }, i) => {
    frame.set(bytes, at);
    frame[at] = extensions[i + 1]?.kind ?? o.next;
    // A fragment header has no length.
    if (kind === 44) frame[at + 1] = 0;
    at += bytes.length;
  });
  frame.set(o.payload, at);
  if (!o.rawChecksum) fixChecksum6(frame, at, o.next);
  return frame;
}

/** Puts the right checksum into the upper layer at `at`. */
export function fixChecksum6(frame: Uint8Array, at: number, proto: number): void {
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const field = at + (proto === TCP_PROTO ? 16 : proto === ICMPV6_PROTO ? 2 : 6);
  if (field + 2 > frame.length) return;
  dv.setUint16(field, 0);
  let sum = proto + (frame.length - at);
  for (let i = 22; i < 54; i += 2) sum += dv.getUint16(i);
  for (let i = at; i < frame.length; i += 2) sum += (frame[i] << 8) | (i + 1 < frame.length ? frame[i + 1] : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  // UDP has no checksum of 0.
  dv.setUint16(field, proto === UDP_PROTO ? ~sum & 0xffff || 0xffff : ~sum & 0xffff);
}

export function tcp6(o: {
  srcPort: number;
  dstPort: number;
  seq: number;
  ack?: number;
  flags: number;
  window?: number;
  options?: readonly number[];
  payload?: Uint8Array;
}): Uint8Array {
  const options = o.options ?? [];
  const header = 20 + ((options.length + 3) & ~3);
  const payload = o.payload ?? new Uint8Array();
  const bytes = new Uint8Array(header + payload.length);
  const dv = new DataView(bytes.buffer);
  dv.setUint16(0, o.srcPort);
  dv.setUint16(2, o.dstPort);
  dv.setUint32(4, o.seq >>> 0);
  dv.setUint32(8, (o.ack ?? 0) >>> 0);
  dv.setUint8(12, (header / 4) << 4);
  dv.setUint8(13, o.flags);
  dv.setUint16(14, o.window ?? 65535);
  bytes.set(options, 20);
  bytes.set(payload, header);
  return bytes;
}

/** An ICMPv6 message: type, code, the word behind the checksum, the rest. */
export function icmp6(type: number, code: number, word: number, data: ArrayLike<number> = []): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  bytes[0] = type;
  bytes[1] = code;
  new DataView(bytes.buffer).setUint32(4, word);
  bytes.set(data, 8);
  return bytes;
}

export function address6(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  writeAddress(bytes, 0, text);
  return bytes;
}

export interface Parsed6 {
  src: Uint8Array;
  dst: Uint8Array;
  mac: Uint8Array;
  hopLimit: number;
  trafficClass: number;
  next: number;
  payload: Uint8Array;
  /** The checksum of the upper layer is right. */
  sumFine: boolean;
}

/** What a frame of the core's says, null when it is not IPv6. */
export function parse6(raw: Uint8Array): Parsed6 | null {
  // A Buffer's slice() would share its memory.
  const frame = Uint8Array.from(raw);
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (dv.getUint16(12) !== 0x86dd) return null;
  const length = dv.getUint16(18);
  const copy = frame.slice(0, ETH + IP6 + length);
  const before = copy.slice();
  fixChecksum6(copy, ETH + IP6, frame[20]);
  return {
    mac: frame.slice(0, 6),
    src: frame.slice(22, 38),
    dst: frame.slice(38, 54),
    hopLimit: frame[21],
    trafficClass: (dv.getUint16(14) >> 4) & 0xff,
    next: frame[20],
    payload: frame.slice(ETH + IP6, ETH + IP6 + length),
    sumFine: Buffer.compare(copy, before) === 0,
  };
}
