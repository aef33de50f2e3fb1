// Path MTU: what a connection learns about it besides ICMP. A path that swallows large packets without a word is
// recognised by full-sized segments that keep getting lost (RFC 4821 §7.7, RFC 2923 §2.1): the MTU then goes down
// a step at a time, along RFC 1191 §7.1's plateaus. What was lowered is tried again after ten minutes (RFC 1191 §6.3).

import { CNT_TcpExtTCPMTUPFail } from '../abi/counters';
import { CFGF_PMTU_BLACK_HOLE, CFG_FLAGS } from '../abi/layout';
import { count } from '../abi/runtime';
import { dstMtu } from '../ip/route';
import { mssUpdate } from './handshake';
import { nowMs } from './isn';
import { Tcb, coldOf, headersOf, isV4 } from './tcb';
import { txSegAt } from './txseg';
import { IPV6_MIN_MTU } from '../wire/ipv6';

/** Timeouts in a row, and milliseconds of them, before the path is suspected (R1 of RFC 9293 §3.8.3). */
const SUSPECT_RETRIES: u32 = 3;
const SUSPECT_MS: u32 = 1000;
const RETRY_MS: u32 = 600_000;

/** The next plateau below. */
function plateauBelow(mtu: u32, least: u32): u32 {
  if (mtu > 4352) return 4352;
  if (mtu > 1500) return 1500;
  return mtu > 1280 ? 1280 : least;
}

/** The path's MTU is smaller than was thought. */
export function pmtuLower(t: Tcb, mtu: u32): void {
  const c = coldOf(t);
  c.pmtu = mtu;
  c.pmtuMs = nowMs() | 1;
  mssUpdate(t);
}

/** The retransmission timer has expired, `retries` times in a row by now. */
export function pmtuSuspect(t: Tcb): void {
  if (!(load<u32>(CFG_FLAGS) & CFGF_PMTU_BLACK_HOLE) || <u32>t.retries < SUSPECT_RETRIES) return;
  const head = txSegAt(t.txHead);
  const next = plateauBelow(coldOf(t).pmtu, isV4(t) ? 576 : IPV6_MIN_MTU);
  if (next >= coldOf(t).pmtu || <u32>head.len + headersOf(t) <= next || nowMs() - head.firstMs < SUSPECT_MS) return;
  count(CNT_TcpExtTCPMTUPFail);
  pmtuLower(t, next);
}

/** Whether what was lowered should be tried again: the path may have changed. */
@inline
export function pmtuAges(t: Tcb): void {
  const c = coldOf(t);
  if (c.pmtuMs != 0 && nowMs() - c.pmtuMs > RETRY_MS) pmtuRestore(t);
}

function pmtuRestore(t: Tcb): void {
  const c = coldOf(t);
  c.pmtuMs = 0;
  c.pmtu = dstMtu(t.dst);
  mssUpdate(t);
}
