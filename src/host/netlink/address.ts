// Addresses as the core keeps them: 16 bytes, IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2), and prefix lengths in
// the 128-bit space (an IPv4 /24 is 120).

import { AF_INET, AF_INET6 } from './constants.js';

export const ADDRESS_BYTES = 16;
/** What an IPv4 prefix length gains when the address is mapped. */
export const MAPPED_BITS = 96;

/** The 16-byte form of a netlink address of the family, or null when its length is not the family's. */
export function mappedAddress(family: number, bytes: Uint8Array): Uint8Array | null {
  if (family === AF_INET6) return bytes.length === ADDRESS_BYTES ? bytes.slice() : null;
  if (family !== AF_INET || bytes.length !== 4) return null;
  const mapped = new Uint8Array(ADDRESS_BYTES);
  mapped[10] = 0xff;
  mapped[11] = 0xff;
  mapped.set(bytes, 12);
  return mapped;
}

/** The prefix 0.0.0.0/0 or ::/0 of the family, without host bits. */
export function zeroAddress(family: number): Uint8Array {
  return family === AF_INET ? (mappedAddress(AF_INET, new Uint8Array(4)) as Uint8Array) : new Uint8Array(ADDRESS_BYTES);
}

export function isMapped(address: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (address[i] !== 0) return false;
  return address[10] === 0xff && address[11] === 0xff;
}

/** A key for maps. */
export function addressKey(address: Uint8Array): string {
  return Buffer.from(address.buffer, address.byteOffset, address.byteLength).toString('latin1');
}
