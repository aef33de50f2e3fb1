// Whose timer it is: nodes live inside neighbour entries, incomplete datagrams, TCBs and parked records, and the address
// tells which.

import { isNeighbour, neighbourTimer } from '../ip/neighbour';
import { isReassembly, reassemblyTimer } from '../ip/reassembly';
import { isParked, unparkForTimer } from '../tcp/park';
import { NODE_LONG } from '../tcp/tcb';
import { tcpTimer } from '../tcp/timers';

/** A TCB is 256 bytes at a multiple of 256 (tcp/tcb.ts). */
const TCB_MASK: u32 = 255;

export function dispatch(node: u32): void {
  if (isNeighbour(node)) neighbourTimer(node);
  else if (isReassembly(node)) reassemblyTimer(node);
  else if (isParked(node)) {
    const slot = unparkForTimer(node);
    if (slot != 0) tcpTimer(slot, NODE_LONG);
  } else {
    const at = node & TCB_MASK;
    if (at == (NODE_LONG & TCB_MASK)) tcpTimer(node - NODE_LONG, NODE_LONG);
    else tcpTimer(node - at, at);
  }
}
