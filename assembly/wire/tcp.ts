// TCP header view, RFC 9293 §3.1. An address for which tcpFits() holds can be read by every accessor below.
//
//   0                   1                   2                   3
//   ├──────── source port ──────────┼────── destination port ───────┤  0
//   ├─────────────────────── sequence number ───────────────────────┤  4
//   ├──────────────────── acknowledgment number ────────────────────┤  8
//   ├ offset ┼ rsvd ┼──── flags ────┼──────────── window ───────────┤ 12
//   ├────────── checksum ───────────┼──────── urgent pointer ───────┤ 16
//   ├ options …                                                       20

@inline export const TCP_SRC_PORT: usize = 0;
@inline export const TCP_DST_PORT: usize = 2;
@inline export const TCP_SEQ: usize = 4;
@inline export const TCP_ACK: usize = 8;
@inline export const TCP_OFFSET: usize = 12;
@inline export const TCP_FLAGS: usize = 13;
@inline export const TCP_WINDOW: usize = 14;
@inline export const TCP_CHECKSUM: usize = 16;
@inline export const TCP_URGENT: usize = 18;

/** Header without options. */
export const TCP_HEADER: u32 = 20;
/** Header with as many options as fit. */
export const TCP_HEADER_MAX: u32 = 60;

export const TCPF_FIN: u32 = 0x01;
export const TCPF_SYN: u32 = 0x02;
export const TCPF_RST: u32 = 0x04;
export const TCPF_PSH: u32 = 0x08;
export const TCPF_ACK: u32 = 0x10;
export const TCPF_URG: u32 = 0x20;
export const TCPF_ECE: u32 = 0x40;
export const TCPF_CWR: u32 = 0x80;

// Option kinds and lengths: RFC 9293 §3.2, RFC 7323 §2.2 and §3.2, RFC 2018 §2 and §3.
export const TCPOPT_EOL: u32 = 0;
export const TCPOPT_NOP: u32 = 1;
export const TCPOPT_MSS: u32 = 2;
export const TCPOPT_WINDOW_SCALE: u32 = 3;
export const TCPOPT_SACK_PERMITTED: u32 = 4;
export const TCPOPT_SACK: u32 = 5;
export const TCPOPT_TIMESTAMPS: u32 = 8;
export const TCPOLEN_MSS: u32 = 4;
export const TCPOLEN_WINDOW_SCALE: u32 = 3;
export const TCPOLEN_SACK_PERMITTED: u32 = 2;
export const TCPOLEN_TIMESTAMPS: u32 = 10;

/** `len` bytes at `p` hold a whole TCP header, options included. */
@inline
export function tcpFits(p: u32, len: u32): bool {
  if (len < TCP_HEADER) return false;
  const bytes = tcpDataOffset(p);
  return bytes >= TCP_HEADER && bytes <= len;
}

@inline
export function tcpSrcPort(p: u32): u32 {
  return bswap<u16>(load<u16>(p, TCP_SRC_PORT));
}

@inline
export function tcpDstPort(p: u32): u32 {
  return bswap<u16>(load<u16>(p, TCP_DST_PORT));
}

@inline
export function tcpSeq(p: u32): u32 {
  return bswap<u32>(load<u32>(p, TCP_SEQ));
}

@inline
export function tcpAck(p: u32): u32 {
  return bswap<u32>(load<u32>(p, TCP_ACK));
}

/** Header length in bytes, options included. */
@inline
export function tcpDataOffset(p: u32): u32 {
  return (<u32>load<u8>(p, TCP_OFFSET) >> 4) << 2;
}

/** TCPF_… */
@inline
export function tcpFlags(p: u32): u32 {
  return load<u8>(p, TCP_FLAGS);
}

@inline
export function tcpWindow(p: u32): u32 {
  return bswap<u16>(load<u16>(p, TCP_WINDOW));
}

@inline
export function tcpUrgent(p: u32): u32 {
  return bswap<u16>(load<u16>(p, TCP_URGENT));
}

@inline
export function setTcpSrcPort(p: u32, port: u32): void {
  store<u16>(p, bswap<u16>(<u16>port), TCP_SRC_PORT);
}

@inline
export function setTcpDstPort(p: u32, port: u32): void {
  store<u16>(p, bswap<u16>(<u16>port), TCP_DST_PORT);
}

@inline
export function setTcpSeq(p: u32, seq: u32): void {
  store<u32>(p, bswap<u32>(seq), TCP_SEQ);
}

@inline
export function setTcpAck(p: u32, ack: u32): void {
  store<u32>(p, bswap<u32>(ack), TCP_ACK);
}

@inline
export function setTcpDataOffset(p: u32, bytes: u32): void {
  store<u8>(p, <u8>((bytes >> 2) << 4), TCP_OFFSET);
}

@inline
export function setTcpFlags(p: u32, flags: u32): void {
  store<u8>(p, <u8>flags, TCP_FLAGS);
}

@inline
export function setTcpWindow(p: u32, window: u32): void {
  store<u16>(p, bswap<u16>(<u16>window), TCP_WINDOW);
}

/** As it lies in memory: what checksum.ts computes is stored without swapping. */
@inline
export function setTcpChecksum(p: u32, sum: u16): void {
  store<u16>(p, sum, TCP_CHECKSUM);
}

@inline
export function setTcpUrgent(p: u32, pointer: u32): void {
  store<u16>(p, bswap<u16>(<u16>pointer), TCP_URGENT);
}
