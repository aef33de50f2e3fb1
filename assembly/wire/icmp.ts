// ICMP message view, RFC 792: type (1), code (1), checksum (2), four bytes by type, then data.

@inline export const ICMP_TYPE: usize = 0;
@inline export const ICMP_CODE: usize = 1;
@inline export const ICMP_CHECKSUM: usize = 2;
/** Next-hop MTU of a fragmentation-needed message, RFC 1191 §4. */
@inline export const ICMP_NEXT_MTU: usize = 6;
/** Where an error quotes the packet it is about. */
export const ICMP_DATA: u32 = 8;

export const ICMP_ECHO_REPLY: u32 = 0;
export const ICMP_DEST_UNREACH: u32 = 3;
export const ICMP_SOURCE_QUENCH: u32 = 4;
export const ICMP_REDIRECT: u32 = 5;
export const ICMP_ECHO: u32 = 8;
export const ICMP_TIME_EXCEEDED: u32 = 11;
export const ICMP_PARAMETER_PROBLEM: u32 = 12;

export const ICMP_HOST_UNREACH: u32 = 1;
export const ICMP_PROTOCOL_UNREACH: u32 = 2;
export const ICMP_PORT_UNREACH: u32 = 3;
export const ICMP_FRAG_NEEDED: u32 = 4;
/** Code of a time exceeded: not in transit but waiting for fragments. */
export const ICMP_REASSEMBLY_TIME: u32 = 1;

@inline
export function icmpFits(len: u32): bool {
  return len >= ICMP_DATA;
}

@inline
export function icmpType(p: u32): u32 {
  return load<u8>(p, ICMP_TYPE);
}

@inline
export function icmpCode(p: u32): u32 {
  return load<u8>(p, ICMP_CODE);
}

@inline
export function icmpNextMtu(p: u32): u32 {
  return bswap<u16>(load<u16>(p, ICMP_NEXT_MTU));
}
