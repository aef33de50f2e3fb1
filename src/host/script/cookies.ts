// Fast Open cookies by the names that scripts give them: what Linux makes of the addresses with the key that scripts set
// up, and with a key of zeros.
import type { TcpPacket } from './ast.js';
import type { Ends } from './wire.js';

const ZERO_KEY = '0-0-0-0';
const MASK = (1n << 64n) - 1n;

function rotl(x: bigint, by: bigint): bigint {
  return ((x << by) | (x >> (64n - by))) & MASK;
}

/** SipHash-2-4 (Aumasson and Bernstein, 2012). */
function siphash24(k0: bigint, k1: bigint, bytes: Uint8Array): bigint {
  let v0 = k0 ^ 0x736f6d6570736575n;
  let v1 = k1 ^ 0x646f72616e646f6dn;
  let v2 = k0 ^ 0x6c7967656e657261n;
  let v3 = k1 ^ 0x7465646279746573n;
  const rounds = (count: number): void => {
    for (let i = 0; i < count; i++) {
      v0 = (v0 + v1) & MASK;
      v1 = rotl(v1, 13n) ^ v0;
      v0 = rotl(v0, 32n);
      v2 = (v2 + v3) & MASK;
      v3 = rotl(v3, 16n) ^ v2;
      v0 = (v0 + v3) & MASK;
      v3 = rotl(v3, 21n) ^ v0;
      v2 = (v2 + v1) & MASK;
      v1 = rotl(v1, 17n) ^ v2;
      v2 = rotl(v2, 32n);
    }
  };
  const take = (word: bigint): void => {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  };
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Addresses: always a multiple of eight bytes.
  for (let at = 0; at < bytes.length; at += 8) take(dv.getBigUint64(at, true));
  take(BigInt(bytes.length) << 56n);
  v2 ^= 0xffn;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

/** The cookie for the client `ends.src` at the server `ends.dst`; `key` as in net.ipv4.tcp_fastopen_key. */
export function cookieOf(key: string, ends: Ends): string {
  const words = key.split(/[-,]/).map((word) => BigInt(`0x${word}`));
  const hash = siphash24(
    words[0] | (words[1] << 32n),
    words[2] | (words[3] << 32n),
    Uint8Array.from([...ends.src, ...ends.dst]),
  );
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(hash);
  return bytes.toString('hex');
}

/** The packet with the named cookies in its options spelled out. */
export function withCookies(packet: TcpPacket, key: string, ends: Ends): TcpPacket {
  if (!packet.options?.some((option) => option.kind === 'FO' && option.cookie.startsWith('TFO'))) return packet;
  return {
    ...packet,
    options: packet.options.map((option) => {
      if (option.kind !== 'FO' || !option.cookie.startsWith('TFO')) return option;
      return { ...option, cookie: cookieOf(option.cookie === 'TFO_COOKIE' ? key : ZERO_KEY, ends) };
    }),
  };
}
