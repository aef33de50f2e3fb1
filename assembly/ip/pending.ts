// Frames that wait for a neighbour's MAC: a bounded pool of records, a bounded first-in-first-out queue for each
// neighbour. A frame here keeps its header object and its references to the payload.
//
// Record, 96 bytes:
//   0      4        8        12        16           20            24      28        32
//   ├ next ┼ header ┼ pieces ┼ hdr len ┼ payload len ┼ flags ┼ offload ┼ unused ┼ { addr, len } × 8 ┤

import { arenaAlloc } from '../abi/arena';
import { CNT_NeighPendingDrops } from '../abi/counters';
import { ENOMEM, TXD_ADDR, TXD_LEN } from '../abi/layout';
import { count } from '../abi/runtime';
import { ETHERTYPE_IPV4_RAW, ETHERTYPE_IPV6_RAW } from '../wire/ethernet';
import { headerRelease } from '../zbuf/headroom';
import { zbufUnref } from '../zbuf/zbuf';
import { frameAdopt, frameAppend, frameIpv6, frameL3, framePublish, txRoom, txSlot } from './output';
import { IPV6_HEADER } from '../wire/ipv6';
import { icmpUnresolved } from './icmp';
import { icmp6Unresolved } from './icmp6';

@inline const P_NEXT: usize = 0;
@inline const P_HEADER: usize = 4;
@inline const P_PIECES: usize = 8;
@inline const P_HEADER_LEN: usize = 12;
@inline const P_PAYLOAD_LEN: usize = 16;
@inline const P_FLAGS: usize = 20;
@inline const P_OFFLOAD: usize = 24;
@inline const P_LIST: u32 = 32;
@inline const P_SIZE: u32 = 96;

/** Frames that may wait in all. */
export const PENDING_MAX: u32 = 512;
/** Frames that may wait for one neighbour: the SYNs of a pool of connections that is opened at once. */
export const PENDING_EACH: u32 = 64;

let freeList: u32 = 0;

export function pendingNeeded(): u32 {
  return PENDING_MAX * P_SIZE + 64;
}

/** Whether the frame with this offload word is IPv6. */
@inline
function isIpv6(offload: u32): bool {
  return ((offload >> 8) & 0xff) == IPV6_HEADER;
}

export function pendingInit(): i32 {
  const records = arenaAlloc(PENDING_MAX * P_SIZE, 64);
  if (records == 0) return -ENOMEM;
  freeList = 0;
  for (let i: u32 = PENDING_MAX; i > 0; ) {
    i--;
    const record = records + i * P_SIZE;
    store<u32>(record, freeList, P_NEXT);
    freeList = record;
  }
  return 0;
}

/** A record of the frame whose payload lies in the ring behind the head; 0, and the frame dropped, when all are in use. */
export function pendingTake(f: u32, pieces: u32, headerLen: u32, payloadLen: u32, flags: u32, offload: u32): u32 {
  const record = freeList;
  if (record == 0) {
    for (let i: u32 = 1; i <= pieces; i++) zbufUnref(load<u32>(txSlot(i), TXD_ADDR));
    headerRelease(f);
    count(CNT_NeighPendingDrops);
    return 0;
  }
  freeList = load<u32>(record, P_NEXT);
  store<u32>(record, 0, P_NEXT);
  store<u32>(record, f, P_HEADER);
  store<u32>(record, pieces, P_PIECES);
  store<u32>(record, headerLen, P_HEADER_LEN);
  store<u32>(record, payloadLen, P_PAYLOAD_LEN);
  store<u32>(record, flags, P_FLAGS);
  store<u32>(record, offload, P_OFFLOAD);
  for (let i: u32 = 0; i < pieces; i++) {
    const slot = txSlot(i + 1);
    store<u32>(record + P_LIST + (i << 3), load<u32>(slot, TXD_ADDR));
    store<u32>(record + P_LIST + (i << 3), load<u32>(slot, TXD_LEN), 4);
  }
  return record;
}

@inline
export function pendingNext(record: u32): u32 {
  return load<u32>(record, P_NEXT);
}

@inline
export function setPendingNext(record: u32, next: u32): void {
  store<u32>(record, next, P_NEXT);
}

@inline
function recycle(record: u32): void {
  store<u32>(record, freeList, P_NEXT);
  freeList = record;
}

/** Releases a frame that will not be sent. */
export function pendingDrop(record: u32): void {
  const pieces = load<u32>(record, P_PIECES);
  for (let i: u32 = 0; i < pieces; i++) zbufUnref(load<u32>(record + P_LIST + (i << 3)));
  headerRelease(load<u32>(record, P_HEADER));
  recycle(record);
  count(CNT_NeighPendingDrops);
}

/** Sends a list of frames to the MAC that has become known; those the ring has no room for are dropped. */
export function pendingSend(list: u32, mac: u64): void {
  while (list != 0) {
    const record = list;
    list = load<u32>(record, P_NEXT);
    const pieces = load<u32>(record, P_PIECES);
    if (txRoom() <= pieces) {
      pendingDrop(record);
      continue;
    }
    frameAdopt(load<u32>(record, P_HEADER));
    for (let i: u32 = 0; i < pieces; i++) {
      const at = record + P_LIST + (i << 3);
      frameAppend(load<u32>(at), load<u32>(at, 4));
    }
    const offload = load<u32>(record, P_OFFLOAD);
    framePublish(
      mac,
      isIpv6(offload) ? ETHERTYPE_IPV6_RAW : ETHERTYPE_IPV4_RAW,
      load<u32>(record, P_HEADER_LEN),
      load<u32>(record, P_PAYLOAD_LEN),
      load<u32>(record, P_FLAGS),
      offload,
    );
    recycle(record);
  }
}

/**
 * Gives up on a list of frames, telling TCP what a router would have told it: host unreachable (RFC 1122 §2.4).
 * TCP may deliver that to the application and be called back in, so nothing but the list may be relied on.
 */
export function pendingFail(list: u32): void {
  while (list != 0) {
    const record = list;
    list = load<u32>(record, P_NEXT);
    const header = load<u32>(record, P_HEADER);
    if (isIpv6(load<u32>(record, P_OFFLOAD))) icmp6Unresolved(frameIpv6(header));
    else icmpUnresolved(frameL3(header));
    pendingDrop(record);
  }
}
