// Initial sequence numbers (RFC 6528 §3): ISN = M + F(4-tuple, secret), M a clock of 4 µs steps. The same keyed hash
// gives the timestamp offset (RFC 7323 §5.4), so that both clocks of one 4-tuple go on from one connection to the next.

import { rand64, siphash24 } from '../abi/random';
import { nowMsWrapped, nowUs } from '../abi/runtime';
import { Tcb, addressOf } from './tcb';

let secret0: u64 = 0;
let secret1: u64 = 0;

export function isnInit(): void {
  secret0 = rand64();
  secret1 = rand64();
}

/** Milliseconds of the core's clock, wrapping. */
@inline
export function nowMs(): u32 {
  return nowMsWrapped;
}

/** Sets the timestamp offset and returns the initial sequence number for the block's 4-tuple. */
export function isnFor(t: Tcb): u32 {
  const at = addressOf(t) + <u32>offsetof<Tcb>('ports');
  const hash = siphash24(secret0, secret1, at, 36);
  t.tsOffset = <u32>(hash >> 32);
  return <u32>(nowUs >> 2) + <u32>hash;
}

/** Keyed hash of remote address, local address and remote port, for the choice of a local port (RFC 6056 §3.3.3). */
export function portOffset(t: Tcb): u32 {
  const at = addressOf(t) + <u32>offsetof<Tcb>('ports') + 2;
  return <u32>siphash24(secret1, secret0, at, 34);
}
