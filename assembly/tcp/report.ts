// Reports to the application that change nothing about the connection (RFC 9293 §3.9.1.8), and what is remembered of
// them for the day it fails.

import { ETIMEDOUT, EV_REPORT, REPORT_RETRANSMISSIONS } from '../abi/layout';
import { dstDoubt } from '../ip/route';
import { eventRaise } from './events';
import { nowMs } from './isn';
import { FL_HALF_OPEN, Tcb, addressesOf, coldOf } from './tcb';

/** R1 of RFC 9293 §3.8.3, retransmissions of one segment (SHLD-10; Linux: tcp_retries1). */
export const R1: u32 = 3;

/** Tells the application unless it does not want to know (SHLD-20). `errno` of an ICMP error, else 0. */
export function report(t: Tcb, what: u32, errno: i32): void {
  const c = coldOf(t);
  if (errno) {
    c.softError = <u32>errno;
    c.softMs = nowMs();
  }
  if (c.reportsOff & what || t.flags & FL_HALF_OPEN) return;
  c.reports |= <u8>what;
  eventRaise(t, EV_REPORT);
}

/** R1 is reached: negative advice to IP (RFC 9293 §3.8.3 (b)), and the application is told once (e). */
export function pathDoubted(t: Tcb): void {
  dstDoubt(t.dst, addressesOf(t) + 16);
  if (<u32>t.retries == R1) report(t, REPORT_RETRANSMISSIONS, 0);
}

/** Why a connection that has had no answer for too long failed: the ICMP error that came meanwhile, if one did. */
export function silenceErrno(t: Tcb): i32 {
  const c = coldOf(t);
  return c.softError != 0 && <i32>(c.softMs - t.lastRecvMs) >= 0 ? <i32>c.softError : ETIMEDOUT;
}
