// Builds Ethernet frames byte by byte, right or wrong as the test wants, and fixes their checksums on request.
import { OWN_MAC, PEER_MAC } from './manual.js';

export const OWN_IP: readonly number[] = [10, 0, 0, 1];
export const PEER_IP: readonly number[] = [10, 0, 0, 2];
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;
export const ECE = 64;
export const CWR = 128;

export interface TcpFields {
  srcPort: number;
  dstPort: number;
  seq: number;
  ack: number;
  flags: number;
  window: number;
  urgent?: number;
  options?: Uint8Array;
  payload?: Uint8Array;
}

export const ETH = 14;
const IP = 20;
const TCP = 20;
const UDP = 8;

/** A TCP segment from the peer to the core, with right checksums. Options are padded with end-of-list. */
export function tcpFrame(fields: TcpFields, from = PEER_IP, to = OWN_IP): Uint8Array {
  const options = fields.options ?? new Uint8Array();
  const payload = fields.payload ?? new Uint8Array();
  const optionBytes = (options.length + 3) & ~3;
  const frame = ipFrame(6, TCP + optionBytes + payload.length, from, to);
  const dv = new DataView(frame.buffer);
  const at = ETH + IP;
  dv.setUint16(at, fields.srcPort);
  dv.setUint16(at + 2, fields.dstPort);
  dv.setUint32(at + 4, fields.seq >>> 0);
  dv.setUint32(at + 8, fields.ack >>> 0);
  dv.setUint8(at + 12, ((TCP + optionBytes) / 4) << 4);
  dv.setUint8(at + 13, fields.flags);
  dv.setUint16(at + 14, fields.window);
  dv.setUint16(at + 18, fields.urgent ?? 0);
  frame.set(options, at + TCP);
  frame.set(payload, at + TCP + optionBytes);
  fixChecksums(frame);
  return frame;
}

/** An Ethernet + IPv4 frame with room for `l4Bytes`. */
export function ipFrame(protocol: number, l4Bytes: number, from = PEER_IP, to = OWN_IP): Uint8Array {
  const frame = new Uint8Array(ETH + IP + l4Bytes);
  frame.set(OWN_MAC, 0);
  frame.set(PEER_MAC, 6);
  const dv = new DataView(frame.buffer);
  dv.setUint16(12, 0x0800);
  dv.setUint8(14, 0x45);
  dv.setUint16(16, IP + l4Bytes);
  dv.setUint16(20, 0x4000);
  dv.setUint8(22, 64);
  dv.setUint8(23, protocol);
  frame.set(from, 26);
  frame.set(to, 30);
  return frame;
}

export function icmpEcho(payload: Uint8Array): Uint8Array {
  const frame = ipFrame(1, 8 + payload.length);
  frame[ETH + IP] = 8;
  frame.set(payload, ETH + IP + 8);
  fixChecksums(frame);
  return frame;
}

export interface UdpFields {
  srcPort: number;
  dstPort: number;
  payload?: Uint8Array;
}

/** A UDP datagram from the peer to the core, with right checksums. */
export function udpFrame(
  { srcPort, dstPort, payload = new Uint8Array() }: UdpFields,
  from = PEER_IP,
  to = OWN_IP,
): Uint8Array {
  const frame = ipFrame(17, UDP + payload.length, from, to);
  frame.set(udpBytes({ srcPort, dstPort, payload }), ETH + IP);
  fixChecksums(frame);
  return frame;
}

/** The datagram alone, checksum 0. */
export function udpBytes({ srcPort, dstPort, payload = new Uint8Array() }: UdpFields): Uint8Array {
  const bytes = new Uint8Array(UDP + payload.length);
  const dv = new DataView(bytes.buffer);
  dv.setUint16(0, srcPort);
  dv.setUint16(2, dstPort);
  dv.setUint16(4, bytes.length);
  bytes.set(payload, UDP);
  return bytes;
}

/** An ICMP error that quotes the core's own segment. */
export function icmpError(type: number, code: number, mtu: number, quoted: Uint8Array): Uint8Array {
  const frame = ipFrame(1, 8 + quoted.length);
  frame[ETH + IP] = type;
  frame[ETH + IP + 1] = code;
  new DataView(frame.buffer).setUint16(ETH + IP + 6, mtu);
  frame.set(quoted, ETH + IP + 8);
  fixChecksums(frame);
  return frame;
}

export function arpFrame(operation: number, senderIp = PEER_IP, targetIp = OWN_IP): Uint8Array {
  const frame = new Uint8Array(60);
  frame.set(operation === 1 ? new Uint8Array(6).fill(255) : OWN_MAC, 0);
  frame.set(PEER_MAC, 6);
  frame.set([8, 6, 0, 1, 8, 0, 6, 4, 0, operation], 12);
  frame.set(PEER_MAC, 22);
  frame.set(senderIp, 28);
  if (operation === 2) frame.set(OWN_MAC, 32);
  frame.set(targetIp, 38);
  return frame;
}

/** What a frame says, when it is TCP over IPv4. */
export interface ParsedTcp extends TcpFields {
  urgent: number;
  payload: Uint8Array;
  options: Uint8Array;
}

export function parseTcp(frame: Uint8Array): ParsedTcp | null {
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (dv.getUint16(12) !== 0x0800 || frame[23] !== 6) return null;
  const at = ETH + (frame[14] & 15) * 4;
  const header = (frame[at + 12] >> 4) * 4;
  return {
    srcPort: dv.getUint16(at),
    dstPort: dv.getUint16(at + 2),
    seq: dv.getUint32(at + 4),
    ack: dv.getUint32(at + 8),
    flags: frame[at + 13],
    window: dv.getUint16(at + 14),
    urgent: dv.getUint16(at + 18),
    options: frame.slice(at + TCP, at + header),
    payload: frame.slice(at + header, ETH + dv.getUint16(16)),
  };
}

/** Recomputes the IPv4 header checksum and that of TCP, UDP or ICMP, as far as the frame's lengths make sense. */
export function fixChecksums(frame: Uint8Array): void {
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < ETH + IP || dv.getUint16(12) !== 0x0800) return;
  const header = (frame[14] & 15) * 4;
  const end = Math.min(frame.length, ETH + dv.getUint16(16));
  const l4 = ETH + header;
  if (header < IP || l4 > end) return;
  dv.setUint16(24, 0);
  dv.setUint16(24, checksum(frame, ETH, l4, 0));
  if (frame[23] === 6 && end - l4 >= TCP) {
    let pseudo = 6 + (end - l4);
    for (let i = 26; i < 34; i += 2) pseudo += dv.getUint16(i);
    dv.setUint16(l4 + 16, 0);
    dv.setUint16(l4 + 16, checksum(frame, l4, end, pseudo));
  } else if (frame[23] === 17 && end - l4 >= UDP) {
    const length = dv.getUint16(l4 + 4);
    if (length < UDP || length > end - l4) return;
    let pseudo = 17 + length;
    for (let i = 26; i < 34; i += 2) pseudo += dv.getUint16(i);
    dv.setUint16(l4 + 6, 0);
    dv.setUint16(l4 + 6, checksum(frame, l4, l4 + length, pseudo) || 0xffff);
  } else if (frame[23] === 1 && end - l4 >= 8) {
    dv.setUint16(l4 + 2, 0);
    dv.setUint16(l4 + 2, checksum(frame, l4, end, 0));
  }
}

/** The Internet checksum of [from, to), added to `start`. */
export function checksum(bytes: Uint8Array, from: number, to: number, start: number): number {
  let sum = start;
  for (let i = from; i < to; i += 2) sum += (bytes[i] << 8) | (i + 1 < to ? bytes[i + 1] : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
