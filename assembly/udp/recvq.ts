// Receive queues: records of datagrams by reference, from one pool. Bounded in bytes and in datagrams, each socket's and
// all of them together, and the receive objects that they may hold are at most half of all: TCP and the link go on.
//
//   record   0      4     8      12      16       32      48
//            ├ addr ┼ len ┼ port ┼ next ─┼ remote ┼ local ┤      as UDPD_… describes it, next in the unused word

import { arenaAlloc } from '../abi/arena';
import { CNT_UdpMemErrors, CNT_UdpRcvbufErrors } from '../abi/counters';
import {
  CFG_UDP_DATAGRAMS,
  CFG_UDP_MEM_BYTES,
  CFG_UDP_RCV_BUF_DATAGRAMS,
  UDPD_addr,
  UDPD_len,
  UDPD_local,
  UDPD_port,
  UDPD_remote,
  UDPD_SIZE,
} from '../abi/layout';
import { count } from '../abi/runtime';
import { rxObjectTotal } from '../zbuf/rxpool';
import { zbufHand, zbufRef, zbufUnref } from '../zbuf/zbuf';
import { UdpSocket } from './socket';

@inline const R_NEXT: u32 = 12;

let freeList: u32 = 0;
let queued: u32 = 0;
let queuedBytes: u32 = 0;

export function udpRecordsNeeded(): u32 {
  return load<u32>(CFG_UDP_DATAGRAMS) * UDPD_SIZE + 64;
}

export function udpRecordsInit(): bool {
  const records = load<u32>(CFG_UDP_DATAGRAMS);
  const at = arenaAlloc(records * UDPD_SIZE, 64);
  if (at == 0) return false;
  freeList = 0;
  queued = queuedBytes = 0;
  for (let i = records; i > 0; i--) {
    const record = at + (i - 1) * UDPD_SIZE;
    store<u32>(record + R_NEXT, freeList);
    freeList = record;
  }
  return true;
}

/** Datagrams that wait in all sockets. */
export function udpQueued(): u32 {
  return queued;
}

/** Queues payload from `port`; `addresses`: what it was sent to and who sent it. False, and counted, when there is no room. */
export function udpQueueAdd(s: UdpSocket, addr: u32, len: u32, port: u32, addresses: u32): bool {
  // The first one is taken whatever its size: a small buffer must not make a socket deaf.
  const full = s.rcvQCount != 0 && s.rcvQBytes + len > s.rcvBuf;
  if (full || s.rcvQCount >= load<u32>(CFG_UDP_RCV_BUF_DATAGRAMS)) {
    s.drops++;
    count(CNT_UdpRcvbufErrors);
    return false;
  }
  const record = freeList;
  if (record == 0 || queued >= rxObjectTotal() >> 1 || <u64>queuedBytes + len > load<u32>(CFG_UDP_MEM_BYTES)) {
    s.drops++;
    count(CNT_UdpMemErrors);
    return false;
  }
  freeList = load<u32>(record + R_NEXT);
  zbufRef(addr);
  store<u32>(record + UDPD_addr, addr);
  store<u32>(record + UDPD_len, len);
  store<u32>(record + UDPD_port, port);
  store<u32>(record + R_NEXT, 0);
  memory.copy(record + UDPD_local, addresses, 16);
  memory.copy(record + UDPD_remote, addresses + 16, 16);
  if (s.rcvQTail) store<u32>(s.rcvQTail + R_NEXT, record);
  else s.rcvQHead = record;
  s.rcvQTail = record;
  s.rcvQCount++;
  s.rcvQBytes += len;
  queued++;
  queuedBytes += len;
  return true;
}

/** Writes the descriptor of the first datagram to `to`, its reference with it. False when there is none. */
export function udpQueueTake(s: UdpSocket, to: u32): bool {
  const record = s.rcvQHead;
  if (record == 0) return false;
  const next = load<u32>(record + R_NEXT);
  const len = load<u32>(record + UDPD_len);
  // Sixteen bytes at a time: the compiler makes a load and a store of each.
  memory.copy(to, record, 16);
  memory.copy(to + UDPD_remote, record + UDPD_remote, 16);
  memory.copy(to + UDPD_local, record + UDPD_local, 16);
  store<u32>(to + R_NEXT, 0);
  s.rcvQHead = next;
  if (next == 0) s.rcvQTail = 0;
  s.rcvQCount--;
  s.rcvQBytes -= len;
  queued--;
  queuedBytes -= len;
  store<u32>(record + R_NEXT, freeList);
  freeList = record;
  return true;
}

/** The same for the application, which gets the reference. */
@inline
export function udpQueueHand(s: UdpSocket, to: u32): bool {
  if (s.rcvQHead == 0) return false;
  zbufHand(load<u32>(s.rcvQHead + UDPD_addr));
  return udpQueueTake(s, to);
}

/** Where a descriptor is put for a moment. */
export const UDP_TAKEN: u32 = <u32>memory.data(48, 16);

export function udpQueuePurge(s: UdpSocket): void {
  while (udpQueueTake(s, UDP_TAKEN)) zbufUnref(load<u32>(UDP_TAKEN + UDPD_addr));
}
