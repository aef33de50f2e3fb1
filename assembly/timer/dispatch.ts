// Whose timer it is: nodes live inside neighbour entries, incomplete datagrams and TCBs, and the address tells which.

import { isNeighbour, neighbourTimer } from '../ip/neighbour';
import { isReassembly, reassemblyTimer } from '../ip/reassembly';
import { tcpTimer } from '../tcp/timers';

/** A TCB is 256 bytes at a multiple of 256 (tcp/tcb.ts). */
const TCB_MASK: u32 = 255;

export function dispatch(node: u32): void {
  if (isNeighbour(node)) neighbourTimer(node);
  else if (isReassembly(node)) reassemblyTimer(node);
  else tcpTimer(node & ~TCB_MASK, node & TCB_MASK);
}
