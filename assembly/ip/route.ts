/** Destination slot of a remote address, 0 when there is no route. Call it right before dstMtu()/dstSource(). */
export function dstGet(remote: u32): u32 {
  return 0;
}
/** Bytes of the largest IP packet to this destination. */
export function dstMtu(dst: u32): u32 {
  return 1500;
}
/** Address of the 16-byte source address for this destination, 0 when there is none. */
export function dstSource(dst: u32): u32 {
  return 0;
}
