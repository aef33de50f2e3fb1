// The three timers of a connection. A node that was re-armed lazily fires only when it is truly due (timer/wheel.ts).
//
//   retransmit   SYN and SYN-ACK, retransmission, zero-window probes
//   delack       delayed ACK
//   long         keepalive, linger and FIN-WAIT-2 of an orphan, TIME-WAIT

import { TCP_FIN_WAIT2, TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT } from '../abi/layout';
import { finWait2Expired, lingerExpired, timeWaitExpired } from './close';
import { delackExpired } from './delack';
import { deliverInline } from './events';
import { synExpired } from './handshake';
import { keepaliveExpired } from './keepalive';
import { persistExpired } from './persist';
import { reorderExpired } from './recovery';
import { rtoExpired } from './rto';
import { FL_INLINE, FL_ORPHAN, FL_PERSIST, FL_REO, FL_TLP, NODE_DELACK, NODE_RETRANSMIT, tcbAt } from './tcb';
import { tlpExpired } from './tlp';

/** A timer node of the block at `tcb` has expired. */
export function tcpTimer(tcb: u32, nodeOffset: u32): void {
  const t = tcbAt(tcb);
  const state: u32 = t.state;
  const handle = t.handle;
  if (nodeOffset == NODE_DELACK) delackExpired(t);
  else if (nodeOffset == NODE_RETRANSMIT) {
    if (state == TCP_SYN_SENT || state == TCP_SYN_RECV) synExpired(t);
    else if (t.flags & FL_PERSIST) persistExpired(t);
    else if (t.flags & FL_REO) reorderExpired(t);
    else if (t.flags & FL_TLP) tlpExpired(t);
    else rtoExpired(t);
  } else if (state == TCP_TIME_WAIT) timeWaitExpired(t);
  else if (state == TCP_FIN_WAIT2 && t.flags & FL_ORPHAN) finWait2Expired(t);
  else if (t.flags & FL_ORPHAN) lingerExpired(t);
  else keepaliveExpired(t);
  if (t.handle == handle && t.evPending != 0 && t.flags & FL_INLINE) deliverInline(t);
}
