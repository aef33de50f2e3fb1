// How many ICMP and ICMPv6 errors we send (RFC 4443 §2.4 (f), RFC 1812 §4.3.2.8): one token bucket for both.

import { nowUs } from '../abi/runtime';

/** Errors in a burst, and how often another may follow. */
const ERRORS_BURST: u32 = 10;
const ERROR_INTERVAL_US: u64 = 100_000;

let left: u32 = ERRORS_BURST;
let from: u64 = 0;

/** Whether an error may be sent now, and one less after it. */
export function mayError(): bool {
  const earned = (nowUs - from) / ERROR_INTERVAL_US;
  if (earned != 0) {
    left = <u32>min<u64>(earned + left, ERRORS_BURST);
    from = nowUs;
  }
  if (left == 0) return false;
  left--;
  return true;
}
