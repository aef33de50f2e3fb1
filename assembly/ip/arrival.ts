// What the upper protocols need to know of the packet being processed besides its addresses.

/** ECN field (RFC 3168 §5): 0 not capable, 1 and 2 capable, 3 congestion experienced. */
export let ipEcn: u32 = 0;

@inline
export function setIpEcn(trafficClass: u32): void {
  ipEcn = trafficClass & 3;
}
