// How often errors may be sent, of ICMP and ICMPv6 together (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).

import { nowUs } from '../abi/runtime';

/** Errors in a burst, and how often another may follow. */
const ERRORS_BURST: u32 = 10;
const ERROR_INTERVAL_US: u64 = 100_000;

let errorsLeft: u32 = ERRORS_BURST;
let errorsFrom: u64 = 0;

/** Whether an error may be sent now. */
export function mayError(): bool {
  const earned = (nowUs - errorsFrom) / ERROR_INTERVAL_US;
  if (earned != 0) {
    errorsLeft = <u32>min<u64>(earned + errorsLeft, ERRORS_BURST);
    errorsFrom = nowUs;
  }
  if (errorsLeft == 0) return false;
  errorsLeft--;
  return true;
}
