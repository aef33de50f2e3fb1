// The segment being processed, in host order. One at a time: callbacks run when it has been dealt with.

import { TCPF_FIN, TCPF_SYN, tcpAck, tcpDataOffset, tcpFlags, tcpSeq, tcpWindow } from '../wire/tcp';

/** Address of the TCP header. */
export let segAt: u32 = 0;
/** 32 bytes: local address, remote address. */
export let segAddresses: u32 = 0;
export let segSeq: u32 = 0;
export let segAck: u32 = 0;
export let segFlags: u32 = 0;
/** As it came, not scaled. */
export let segWindow: u32 = 0;
export let segPayload: u32 = 0;
/** Bytes of payload. */
export let segLen: u32 = 0;

/** Reads a segment whose header fits. */
@inline
export function segRead(tcp: u32, l4Len: u32, addresses: u32): void {
  const header = tcpDataOffset(tcp);
  segAt = tcp;
  segAddresses = addresses;
  segSeq = tcpSeq(tcp);
  segAck = tcpAck(tcp);
  segFlags = tcpFlags(tcp);
  segWindow = tcpWindow(tcp);
  segPayload = tcp + header;
  segLen = l4Len - header;
}

/** SEG.LEN of RFC 9293: SYN and FIN count. */
@inline
export function segSpace(): u32 {
  return segLen + <u32>((segFlags & TCPF_SYN) != 0) + <u32>((segFlags & TCPF_FIN) != 0);
}

/** Cuts the payload to its part above `seq`. */
export function segTrimFront(seq: u32): void {
  const skip = seq - segSeq;
  segSeq = seq;
  segPayload += skip;
  segLen -= skip;
}

/** Takes the SYN off: what is left begins behind it. */
export function segTrimSyn(): void {
  segSeq++;
  segFlags &= ~TCPF_SYN;
}

/** Cuts the payload to `len` bytes; a FIN behind it is cut too. */
export function segTrimBack(len: u32): void {
  segLen = len;
  segFlags &= ~TCPF_FIN;
}
