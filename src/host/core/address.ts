// IP addresses as the core stores them: 16 bytes, IPv4 mapped into ::ffff:0:0/96.
import { isIPv4, isIPv6 } from 'node:net';
import { codeError } from './errors.js';

const V4_PREFIX_BITS = 96;

/** Writes `text` (IPv4 or IPv6) as 16 bytes at `offset`. Throws ERR_INVALID_ADDRESS. */
export function writeAddress(bytes: Uint8Array, offset: number, text: string): void {
  bytes.fill(0, offset, offset + 16);
  if (isIPv4(text)) {
    bytes[offset + 10] = 0xff;
    bytes[offset + 11] = 0xff;
    writeIPv4(bytes, offset + 12, text);
    return;
  }
  if (!isIPv6(text)) throw codeError('ERR_INVALID_ADDRESS', `"${text}" is not an IP address`);
  const zone = text.indexOf('%');
  let plain = zone < 0 ? text : text.slice(0, zone);
  const dot = plain.indexOf('.');
  if (dot >= 0) {
    const colon = plain.lastIndexOf(':');
    const four = new Uint8Array(4);
    writeIPv4(four, 0, plain.slice(colon + 1));
    const hex = (i: number): string => ((four[i] << 8) | four[i + 1]).toString(16);
    plain = `${plain.slice(0, colon + 1)}${hex(0)}:${hex(2)}`;
  }
  const [before, after] = plain.split('::');
  const words = (part: string | undefined): number[] =>
    part ? part.split(':').map((word) => Number.parseInt(word, 16)) : [];
  const head = words(before);
  const tail = words(after);
  for (let i = 0; i < head.length; i++) writeWord(bytes, offset + 2 * i, head[i]);
  for (let i = 0; i < tail.length; i++) writeWord(bytes, offset + 16 - 2 * (tail.length - i), tail[i]);
}

/** The text form of the 16 bytes at `offset`: dotted quad for IPv4-mapped addresses, RFC 5952 otherwise. */
export function readAddress(bytes: Uint8Array, offset: number): string {
  let mapped = bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
  for (let i = 0; i < 10 && mapped; i++) mapped = bytes[offset + i] === 0;
  if (mapped) return bytes.subarray(offset + 12, offset + 16).join('.');
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push((bytes[offset + i] << 8) | bytes[offset + i + 1]);
  let bestAt = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length++;
    if (length > bestLength) {
      bestAt = i;
      bestLength = length;
    }
  }
  const hex = (part: number[]): string => part.map((word) => word.toString(16)).join(':');
  if (bestAt < 0) return hex(words);
  return `${hex(words.slice(0, bestAt))}::${hex(words.slice(bestAt + bestLength))}`;
}

/** `10.0.0.1/24` → address and prefix length in the 128-bit space. Without a length: a host prefix. */
export function parsePrefix(text: string): { address: string; prefixLength: number } {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  const v4 = isIPv4(address);
  if (!v4 && !isIPv6(address)) throw codeError('ERR_INVALID_ADDRESS', `"${text}" is not ADDRESS/LENGTH`);
  const bits = v4 ? 32 : 128;
  const length = slash < 0 ? bits : Number(text.slice(slash + 1));
  if (!Number.isInteger(length) || length < 0 || length > bits || text.endsWith('/')) {
    throw codeError('ERR_INVALID_ADDRESS', `"${text}": the prefix length must be 0 to ${bits}`);
  }
  return { address, prefixLength: v4 ? V4_PREFIX_BITS + length : length };
}

/** fe80::/10. */
export function isLinkLocal(address: string): boolean {
  return isIPv6(address) && /^fe[89ab]/i.test(address);
}

/** The link-local address with the interface identifier of a MAC (RFC 4291 appendix A). */
export function linkLocal(mac: Uint8Array): string {
  const id = [mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]];
  const bytes = Uint8Array.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...id]);
  return readAddress(bytes, 0);
}

/** `02:00:00:00:00:01` → 6 bytes. Throws ERR_INVALID_ADDRESS. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw codeError('ERR_INVALID_ADDRESS', `"${text}" is not a MAC address (six hexadecimal bytes with colons)`);
  }
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
}

export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function writeIPv4(bytes: Uint8Array, offset: number, text: string): void {
  const quads = text.split('.');
  for (let i = 0; i < 4; i++) bytes[offset + i] = Number(quads[i]);
}

function writeWord(bytes: Uint8Array, offset: number, word: number): void {
  bytes[offset] = word >> 8;
  bytes[offset + 1] = word & 0xff;
}
