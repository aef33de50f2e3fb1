// ICMPv6 message view, RFC 4443 and RFC 4861 §4: type (1), code (1), checksum (2), four bytes by type, then data.

export const ICMPV6_CHECKSUM: usize = 2;
/** MTU of a packet-too-big message; pointer of a parameter problem. */
@inline export const ICMPV6_WORD: usize = 4;
/** Where an error quotes the packet it is about, and a solicitation or advertisement has its target. */
export const ICMPV6_DATA: u32 = 8;

export const ICMPV6_DEST_UNREACH: u32 = 1;
export const ICMPV6_PACKET_TOO_BIG: u32 = 2;
export const ICMPV6_TIME_EXCEEDED: u32 = 3;
export const ICMPV6_PARAMETER_PROBLEM: u32 = 4;
export const ICMPV6_ECHO: u32 = 128;
export const ICMPV6_ECHO_REPLY: u32 = 129;
export const ICMPV6_NEIGHBOUR_SOLICIT: u32 = 135;
export const ICMPV6_NEIGHBOUR_ADVERT: u32 = 136;

// Codes of a destination unreachable and of a parameter problem (RFC 4443 §3.1, §3.4).
export const ICMPV6_NO_ROUTE: u32 = 0;
export const ICMPV6_PROHIBITED: u32 = 1;
export const ICMPV6_ADDRESS_UNREACH: u32 = 3;
export const ICMPV6_PORT_UNREACH: u32 = 4;
export const ICMPV6_BAD_HEADER: u32 = 0;
export const ICMPV6_UNKNOWN_NEXT: u32 = 1;
export const ICMPV6_UNKNOWN_OPTION: u32 = 2;
/** The first fragment does not hold the whole header chain (RFC 7112 §5). */
export const ICMPV6_INCOMPLETE_CHAIN: u32 = 3;
/** Code of a time exceeded (§3.3). */
export const ICMPV6_REASSEMBLY_TIME: u32 = 1;

// Flags of a neighbour advertisement, as they lie in the first byte of its word (RFC 4861 §4.4).
export const NA_SOLICITED: u32 = 0x40;
export const NA_OVERRIDE: u32 = 0x20;

/** Solicitation and advertisement without options. */
export const ND_BYTES: u32 = 24;
/** Options: link-layer address of the source and of the target, 8 bytes on Ethernet (RFC 4861 §4.6.1). */
export const ND_SOURCE_LINK: u32 = 1;
export const ND_TARGET_LINK: u32 = 2;
export const ND_LINK_BYTES: u32 = 8;

@inline
export function icmpv6Type(p: u32): u32 {
  return load<u8>(p);
}

@inline
export function icmpv6Code(p: u32): u32 {
  return load<u8>(p, 1);
}

@inline
export function icmpv6Word(p: u32): u32 {
  return bswap<u32>(load<u32>(p, ICMPV6_WORD));
}

/** Type, code, checksum 0 and the word behind it. */
@inline
export function setIcmpv6(p: u32, type: u32, code: u32, word: u32): void {
  store<u32>(p, type | (code << 8));
  store<u32>(p, bswap<u32>(word), ICMPV6_WORD);
}
