// Looking ahead in a burst. Of many connections nearly every one is cold, and what leads to one is a chain of cache misses:
// the flow table's entry, then the lines of the slot. Frame by frame each chain would be waited for; here those of a burst are
// gone through side by side, so that the processor has many misses under way at a time.
//
// Nothing is decided here. A frame is looked at as if it were IPv4 and TCP without options; what it is, input finds out. There
// is no instruction to prefetch: the words are loaded, and their sum is stored so that no compiler takes the loads away.

import { RXD_ADDR, RXD_LEN, RXD_SIZE } from '../abi/layout';
import { repeatKnown } from '../ip/repeat';
import { ETHERTYPE_IPV4_RAW, ETH_HEADER, ethTypeRaw } from '../wire/ethernet';
import { IPV4_HEADER, PROTO_TCP, ipv4DstRaw, ipv4Proto, ipv4SrcRaw, mappedStore } from '../wire/ipv4';
import { zoneOfAny } from '../zbuf/zone';
import { flowExpected, flowHash, flowHome, flowNear } from './flow';

/** Frames that are looked at together: their connections fill half of a first-level cache. */
export const AHEAD: u32 = 32;
@inline const PORTS_AT: u32 = ETH_HEADER + IPV4_HEADER;
@inline const LINE: u32 = 64;
/** Lines of a slot that the fast paths use (tcb.ts). */
@inline const LINES: u32 = 5;

/** Local and remote address, 16 bytes each. */
const ADDRESSES: u32 = <u32>memory.data(32, 16);
/** Hashes of the frames of a window. */
const HASHES: u32 = <u32>memory.data(128, 64);

/** Where the sum goes, which nobody reads. */
const SUM: u32 = <u32>memory.data(4, 4);

/** Brings near what the frames of the descriptors from `at` to `end` need, AHEAD at most. */
export function lookAhead(at: u32, end: u32): void {
  let hashes: u32 = HASHES;
  let sum: u32 = 0;
  for (; at < end; at += RXD_SIZE) {
    const p = load<u32>(at, RXD_ADDR);
    // Not checked yet: it has to be in memory.
    if (load<u32>(at, RXD_LEN) < PORTS_AT + 4 || zoneOfAny(p) == 0 || zoneOfAny(p + PORTS_AT + 4) == 0) continue;
    const ip = p + ETH_HEADER;
    if (ethTypeRaw(p) != ETHERTYPE_IPV4_RAW || ipv4Proto(ip) != PROTO_TCP) continue;
    const raw = load<u32>(p, PORTS_AT);
    if (repeatKnown(raw)) continue;
    const ports = bswap<u32>(raw);
    if (flowExpected(ports)) continue;
    mappedStore(ADDRESSES, ipv4DstRaw(ip));
    mappedStore(ADDRESSES + 16, ipv4SrcRaw(ip));
    const hash = flowHash(ADDRESSES, ports);
    sum += load<u32>(flowHome(hash));
    store<u32>(hashes, hash);
    hashes += 4;
  }
  for (let h: u32 = HASHES; h < hashes; h += 4) {
    const tcb = flowNear(load<u32>(h));
    if (tcb == 0) continue;
    for (let line = tcb; line < tcb + LINES * LINE; line += LINE) sum += load<u32>(line);
  }
  store<u32>(SUM, sum);
}
