// ARP packet view for IPv4 over Ethernet, RFC 826.
//
//   0       2       4      5      6    8            14          18           24
//   ├ htype ┼ ptype ┼ hlen ┼ plen ┼ op ┼ sender MAC ┼ sender IP ┼ target MAC ┼ target IP ┤ 28

import { macLoad, macStore } from './ethernet';

@inline export const ARP_HTYPE: usize = 0;
@inline export const ARP_OP: usize = 6;
@inline export const ARP_SENDER_MAC: u32 = 8;
@inline export const ARP_SENDER_IP: usize = 14;
@inline export const ARP_TARGET_MAC: u32 = 18;
@inline export const ARP_TARGET_IP: usize = 24;
export const ARP_BYTES: u32 = 28;

export const ARP_REQUEST: u32 = 1;
export const ARP_REPLY: u32 = 2;

/** htype 1 (Ethernet), ptype 0x0800, hlen 6, plen 4, as they lie in memory. */
const ARP_ETHERNET_IPV4: u64 = 0x040600080100;

/** `len` bytes at `p` hold an ARP packet of Ethernet and IPv4. */
@inline
export function arpFits(p: u32, len: u32): bool {
  return len >= ARP_BYTES && (load<u64>(p) & 0xffffffffffff) == ARP_ETHERNET_IPV4;
}

@inline
export function arpOp(p: u32): u32 {
  return bswap<u16>(load<u16>(p, ARP_OP));
}

@inline
export function arpSenderMac(p: u32): u64 {
  return macLoad(p + ARP_SENDER_MAC);
}

/** As it lies in memory. */
@inline
export function arpSenderIpRaw(p: u32): u32 {
  return load<u32>(p, ARP_SENDER_IP);
}

/** As it lies in memory. */
@inline
export function arpTargetIpRaw(p: u32): u32 {
  return load<u32>(p, ARP_TARGET_IP);
}

/** Writes the whole packet; IP addresses as they lie in memory. */
export function setArp(p: u32, op: u32, senderMac: u64, senderIp: u32, targetMac: u64, targetIp: u32): void {
  store<u64>(p, ARP_ETHERNET_IPV4 | ((<u64>bswap<u16>(<u16>op)) << 48));
  macStore(p + ARP_SENDER_MAC, senderMac);
  store<u32>(p, senderIp, ARP_SENDER_IP);
  macStore(p + ARP_TARGET_MAC, targetMac);
  store<u32>(p, targetIp, ARP_TARGET_IP);
}
