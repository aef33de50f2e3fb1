// When received data is acknowledged (RFC 9293 §3.8.6.3, RFC 5681 §4.2): as soon as it is more than one full-sized
// segment, at the latest after CFG_DELACK_US, at once while the connection is young (quickAcks) or while data is out of
// order. A window with an odd number of segments would leave its last one to the timer, a round trip of which costs the
// sender a share of its rate, so the timer may be an eighth of the round trip (CFGF_DELACK_RTT). "At once" means at the end of the burst, so that the application's answer can carry the ACK; three full-sized
// segments are not waited for longer, or a run of them (gro.ts).
//
// Data that ends with PSH is acknowledged at once too, unless the application has lately sent something itself and
// its next answer will carry the ACK: a sender that has nothing more to send would take the delay for a lost tail and
// probe (RFC 8985 §7.3), as Linux does after two round trips.

import { CNT_TcpExtDelayedACKs } from '../abi/counters';
import { CFGF_DELACK_RTT, CFG_DELACK_US, CFG_FLAGS } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { timerArm } from '../timer/wheel';
import { nowMs } from './isn';
import { asLinuxReceiver, linuxAckNow, linuxDelackExpired } from './linux';
import { ackSend, wantOutput } from './output';
import { FL_ACK_DELAYED, FL_ACK_NOW, FL_QUICKACK, Tcb, delackTimer } from './tcb';

/** Acks sent without delay at the start of a connection, while the sender is in slow start. */
export const QUICK_ACKS: u32 = 8;
/** Full-sized segments left unacknowledged within a burst. */
export const STRETCH: u32 = 3;

/** With CFGF_DELACK_RTT. */
const DELAY_LEAST_US: u32 = 1000;

/** An application that sent data within this time is taken to answer again (Linux's TCP_ATO_MIN). */
const ANSWERS_MS: u32 = 40;

/** How long an ACK may wait for company, µs. */
@inline
function delay(t: Tcb): u32 {
  const most = load<u32>(CFG_DELACK_US);
  if (!(load<u32>(CFG_FLAGS) & CFGF_DELACK_RTT) || t.srtt == 0) return most;
  return min(most, max(t.srtt >> 6, DELAY_LEAST_US));
}

/** There is received data that no segment has acknowledged yet. `pushed`: the last of it came with PSH. */
@inline
export function delackDecide(t: Tcb, pushed: bool): void {
  if (asLinuxReceiver()) {
    if (linuxAckNow(t)) ackOwed(t);
    return;
  }
  const owed = t.rcvNxt - t.rcvWup;
  const mss: u32 = t.rcvMss;
  const tail = pushed && nowMs() - t.lastSendMs > ANSWERS_MS;
  if (owed <= mss && t.quickAcks == 0 && !tail && (t.flags & FL_QUICKACK) == 0) {
    if (t.flags & FL_ACK_DELAYED) return;
    t.flags |= FL_ACK_DELAYED;
    timerArm(delackTimer(t), nowUs + delay(t));
    return;
  }
  if (t.quickAcks != 0) t.quickAcks--;
  if (owed >= mss * STRETCH) ackSend(t);
  else ackOwed(t);
}

/** The ACK goes at the end of the burst. */
function ackOwed(t: Tcb): void {
  t.flags |= FL_ACK_NOW;
  wantOutput(t);
}

export function delackExpired(t: Tcb): void {
  if (!(t.flags & FL_ACK_DELAYED)) return;
  if (asLinuxReceiver()) {
    linuxDelackExpired(t);
    return;
  }
  count(CNT_TcpExtDelayedACKs);
  ackSend(t);
}
