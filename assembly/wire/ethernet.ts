// Ethernet II header view: destination (6), source (6), EtherType (2).

@inline export const ETH_DST: usize = 0;
@inline export const ETH_SRC: usize = 6;
@inline export const ETH_TYPE: usize = 12;
export const ETH_HEADER: u32 = 14;

// EtherTypes as they lie in memory, read little-endian: ethTypeRaw() is compared without a swap.
export const ETHERTYPE_IPV4_RAW: u32 = 0x0008;
export const ETHERTYPE_ARP_RAW: u32 = 0x0608;
export const ETHERTYPE_IPV6_RAW: u32 = 0xdd86;

/** A MAC address is a u64: the six bytes little-endian, the upper two bytes zero. */
export const MAC_MASK: u64 = 0xffffffffffff;
export const MAC_BROADCAST: u64 = 0xffffffffffff;

@inline
export function ethFits(len: u32): bool {
  return len >= ETH_HEADER;
}

@inline
export function ethDst(p: u32): u64 {
  return load<u64>(p, ETH_DST) & MAC_MASK;
}

@inline
export function ethSrc(p: u32): u64 {
  return load<u64>(p, ETH_SRC) & MAC_MASK;
}

@inline
export function ethTypeRaw(p: u32): u32 {
  return load<u16>(p, ETH_TYPE);
}

/** Writes the whole header. */
@inline
export function setEth(p: u32, dst: u64, src: u64, typeRaw: u32): void {
  store<u64>(p, dst | (src << 48), ETH_DST);
  store<u32>(p, <u32>(src >> 16), 8);
  store<u16>(p, <u16>typeRaw, ETH_TYPE);
}

/** The MAC at any address. Reads six bytes. */
@inline
export function macLoad(p: u32): u64 {
  return <u64>load<u32>(p) | ((<u64>load<u16>(p, 4)) << 32);
}

@inline
export function macStore(p: u32, mac: u64): void {
  store<u32>(p, <u32>mac);
  store<u16>(p, <u16>(mac >> 32), 4);
}

/** Group bit: multicast or broadcast. */
@inline
export function macIsGroup(mac: u64): bool {
  return (mac & 1) != 0;
}
