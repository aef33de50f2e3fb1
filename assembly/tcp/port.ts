// Local ports of active opens: RFC 6056 §3.3.3, algorithm 3 (keyed hash of the destination, then a scan), in
// [CFG_PORT_LO, CFG_PORT_HI].

import { CFG_PORT_HI, CFG_PORT_LO } from '../abi/layout';
import { rand32 } from '../abi/random';
import { flowTaken } from './flow';
import { portOffset } from './isn';
import { listenerOnPort } from './listen';
import { Tcb, addressesOf, remotePort } from './tcb';

let next: u32 = 0;

export function portInit(): void {
  next = rand32() & 0xffff;
}

/** Gives `t` (addresses and remote port set) a free local port. False when all are taken. */
export function portChoose(t: Tcb): bool {
  const low = load<u32>(CFG_PORT_LO);
  const high = load<u32>(CFG_PORT_HI);
  if (low == 0 || high < low || high > 65535) return false;
  const span = high - low + 1;
  const remote = remotePort(t) << 16;
  const offset = portOffset(t) % span;
  for (let tried: u32 = 0; tried < span; tried++) {
    const port = low + ((offset + next++) % span);
    if (listenerOnPort(port)) continue;
    if (flowTaken(addressesOf(t), port | remote)) continue;
    t.ports = port | remote;
    return true;
  }
  return false;
}
