// IP output: one frame is built at a time, straight into the transmit ring's free slots.
//
//   const f = frameBegin(pieces);            // 0: no room now (CNT_TxRingFull); try again in the next flush()
//   const h = frameL4(f);                    // where the L4 header goes, up to 64 bytes
//   … write the L4 header, checksum field 0 …
//   framePayload(addr, len);                 // once per piece, at most `pieces`; takes its own reference
//   ipOutput(dst, addrs, PROTO_TCP, l4Len, payloadLen);
//
// frameBegin() reserves nothing beyond a header object; frameDrop() gives back a frame that will not be sent.
// ipOutput() ends the frame in every case: it fills in the TCP checksum, the IPv4 and the Ethernet header and
// publishes the descriptors, or hands the frame to the neighbour's pending queue while its MAC is unknown. It
// returns false, and releases the frame, when there is no route.
//
// `dst` is what dstGet() gave for the remote address, or 0. It is a hint: ipOutput() sees by itself when routes,
// neighbours or the slot's owner have changed. `addrs` points at 32 bytes: local address, remote address.
//
// Header object (128 bytes), the frame in front of the L4 header and the options' room behind it:
//   0        30         44            64                       128
//   ├ unused ┼ ethernet ┼ ipv4 header ┼ L4 header, ≤ 64 bytes ─┤

export function frameBegin(maxPayloadSegs: u32): u32 {
  return 0;
}

@inline
export function frameL4(f: u32): u32 {
  return f + 64;
}

export function framePayload(addr: u32, len: u32): void {}

export function frameDrop(): void {}

export function ipOutput(dst: u32, addrs: u32, proto: u32, l4Len: u32, payloadLen: u32): bool {
  return false;
}
