// A UDP socket: a slot of 128 bytes.
//
//    0 handle      4 flags        8 ports       12 dst          16 local       32 remote
//   48 rcvQHead   52 rcvQTail    56 rcvQBytes   60 rcvQCount    64 rcvBuf      68 portNext
//   72 flowNext   76 evNext      80 evPending tos ttl           84 error       88 writeNeed    92 drops

export const UDP_SLOT_SIZE: u32 = 128;

@unmanaged
export class UdpSocket {
  handle: u32;
  /** UF_… */
  flags: u32;
  /** Local port in the low half, remote port in the high half; 0 = not bound, not connected. Followed by what flow.ts hashes. */
  ports: u32;
  /** Destination slot of the connected peer, a hint. */
  dst: u32;
  local0: u64;
  local1: u64;
  remote0: u64;
  remote1: u64;
  rcvQHead: u32;
  rcvQTail: u32;
  /** Payload bytes and datagrams that wait for udpRecv(). */
  rcvQBytes: u32;
  rcvQCount: u32;
  /** What rcvQBytes may be. */
  rcvBuf: u32;
  /** Next socket in the chain of its local port, and of its 4-tuple. */
  portNext: u32;
  flowNext: u32;
  /** Next on the list of sockets with events, or of free slots. */
  evNext: u32;
  /** UE_… */
  evPending: u8;
  /** Traffic class and TTL or hop limit of what it sends, 0 = the default. */
  tos: u8;
  ttl: u8;
  /** errno that EV_ERROR will tell. */
  error: u32;
  /** Transmit descriptors that a refused datagram needs: EV_WRITE is due when as many are free. 0: none was refused. */
  writeNeed: u32;
  /** Datagrams that found no room. */
  drops: u32;
}

export const UF_OPEN: u32 = 1 << 0;
/** Deliver through the inline callback. */
export const UF_INLINE: u32 = 1 << 1;
/** On ::, no IPv4. */
export const UF_V6ONLY: u32 = 1 << 2;
/** SO_REUSEADDR: shares its address with others that have it. */
export const UF_REUSE: u32 = 1 << 3;
/** SO_BROADCAST */
export const UF_BROADCAST: u32 = 1 << 4;
/** Bound to :: or to 0.0.0.0, whatever address connect() has chosen since. */
export const UF_ANY: u32 = 1 << 5;
export const UF_ANY_V4: u32 = 1 << 6;
/** EV_DATAGRAM is in the event ring and udpRecv() has not drained the queue since. */
export const UF_SIGNALLED: u32 = 1 << 7;
/** On the list of sockets with events. */
export const UF_IN_EVENTS: u32 = 1 << 8;

export const UE_ERROR: u8 = 1;
export const UE_DATAGRAM: u8 = 2;
export const UE_WRITE: u8 = 4;

@inline
export function udpAt(address: u32): UdpSocket {
  return changetype<UdpSocket>(<usize>address);
}

@inline
export function udpAddress(s: UdpSocket): u32 {
  return <u32>changetype<usize>(s);
}

/** 32 bytes: local and remote address. */
@inline
export function udpAddresses(s: UdpSocket): u32 {
  return udpAddress(s) + <u32>offsetof<UdpSocket>('local0');
}

@inline
export function udpPort(s: UdpSocket): u32 {
  return s.ports & 0xffff;
}

@inline
export function isConnected(s: UdpSocket): bool {
  return s.ports >> 16 != 0;
}
