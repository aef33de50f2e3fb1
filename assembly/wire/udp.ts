// UDP header view, RFC 768. An address with UDP_HEADER bytes behind it can be read by every accessor below.
//
//   0                   1                   2                   3
//   ├──────── source port ──────────┼────── destination port ───────┤  0
//   ├─────────── length ────────────┼────────── checksum ───────────┤  4

@inline export const UDP_SRC_PORT: usize = 0;
@inline export const UDP_DST_PORT: usize = 2;
@inline export const UDP_LENGTH: usize = 4;
@inline export const UDP_CHECKSUM: usize = 6;

export const UDP_HEADER: u32 = 8;
export const PROTO_UDP: u32 = 17;

/** Header and payload in bytes. */
@inline
export function udpLength(p: u32): u32 {
  return bswap<u16>(load<u16>(p, UDP_LENGTH));
}

/** As it lies in memory; 0: the sender has computed none. */
@inline
export function udpChecksum(p: u32): u32 {
  return load<u16>(p, UDP_CHECKSUM);
}

/** Local port in the low half, remote port in the high half, of a datagram that has arrived. */
@inline
export function udpPorts(p: u32): u32 {
  return bswap<u32>(load<u32>(p));
}

/** Writes the header of a datagram to be sent, checksum 0. `ports`: local in the low half, remote in the high half. */
@inline
export function setUdp(p: u32, ports: u32, length: u32): void {
  store<u32>(p, bswap<u32>(rotl<u32>(ports, 16)));
  store<u32>(p, <u32>bswap<u16>(<u16>length), UDP_LENGTH);
}

/** Stores a sum that checksum.ts has computed, complemented: 0 would say that there is none (RFC 768). */
@inline
export function setUdpChecksum(p: u32, sum: u32): void {
  const complement = <u16>~sum;
  store<u16>(p, complement == 0 ? 0xffff : complement, UDP_CHECKSUM);
}
