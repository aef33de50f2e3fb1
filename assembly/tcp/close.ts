// Every way in which a connection ends (RFC 9293 §3.6, §3.10.4, §3.10.5): half close in either direction, close,
// simultaneous close, TIME-WAIT, reset by either side, and what the application sees of it.
//
//   destroy            everything released, the slot too: nobody knows the connection any more
//   connectionDone     the protocol is over; the slot stays for the application's handle, if it has one
//   connectionReset    the same with an RST to the peer, by abort() or by a close() that loses data

import {
  CNT_TcpAttemptFails,
  CNT_TcpCurrEstab,
  CNT_TcpEstabResets,
  CNT_TcpExtTCPAbortOnClose,
  CNT_TcpExtTCPAbortOnMemory,
  CNT_TcpExtTCPTimeWait,
} from '../abi/counters';
import {
  CFG_FIN_WAIT2_US,
  CFG_MAX_CONNECTIONS,
  CFG_MAX_ORPHANS,
  CFG_ORPHAN_RETRIES,
  CFG_RETRIES,
  CFG_TIME_WAIT_US,
  EV_CLOSED,
  EV_EOF,
  EV_ERROR,
  TCP_CLOSE,
  TCP_CLOSE_WAIT,
  TCP_CLOSING,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT1,
  TCP_FIN_WAIT2,
  TCP_LAST_ACK,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
  TCP_TIME_WAIT,
} from '../abi/layout';
import { count, countSub, nowUs } from '../abi/runtime';
import { timerArm, timerCancel, timerRemove } from '../timer/wheel';
import { eventRaise } from './events';
import { fastOpenLeave } from './fastopen';
import { flowRemove } from './flow';
import { slotRelease } from './handle';
import { listAppend, listFirst, listRemove } from './list';
import { asLinuxReceiver, linuxFinReceived } from './linux';
import { leaveListener } from './listen';
import { tcpOutput, wantOutput } from './output';
import { reassemblyPurge } from './reassembly';
import { rcvqPurge } from './recvq';
import { segmentReset } from './segment';
import { sendqPurge } from './sendq';
import {
  F2_ORPHAN_LIST,
  FL_ACCEPT_QUEUE,
  FL_ACK_DELAYED,
  FL_ACK_NOW,
  FL_FIN_OOO,
  FL_FIN_QUEUED,
  FL_FIN_RCVD,
  FL_HALF_OPEN,
  FL_ORPHAN,
  FL_PERSIST,
  FL_RST_OWED,
  FL_SYN_OWED,
  FL_TIME_WAIT_LIST,
  Tcb,
  coldOf,
  delackTimer,
  longTimer,
  retransmitTimer,
  tcbAt,
} from './tcb';
import { txSegPurge } from './txseg';

/** Orphans in TIME-WAIT, oldest first: head, tail. */
const TIME_WAITS: usize = memory.data(8, 8);
/** Orphans that the protocol is not done with yet, oldest first: head, tail; and how many there are. */
const ORPHANS: usize = memory.data(8, 8);
let orphanCount: u32 = 0;

@inline
function counted(state: u32): bool {
  return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
}

export function setState(t: Tcb, state: u32): void {
  const was = counted(t.state);
  const is = counted(state);
  t.state = <u8>state;
  if (is && !was) count(CNT_TcpCurrEstab);
  else if (was && !is) countSub(CNT_TcpCurrEstab, 1);
}

/** Gives up everything that serves sending and receiving, but not data that the application may still read. */
function release(t: Tcb): void {
  timerRemove(retransmitTimer(t));
  timerRemove(delackTimer(t));
  timerRemove(longTimer(t));
  sendqPurge(t);
  txSegPurge(t);
  reassemblyPurge(t);
  t.flags &= ~(FL_ACK_NOW | FL_ACK_DELAYED | FL_PERSIST | FL_SYN_OWED);
}

function leaveLists(t: Tcb): void {
  fastOpenLeave(t);
  leaveListener(t);
  if (coldOf(t).flags2 & F2_ORPHAN_LIST) {
    coldOf(t).flags2 &= ~F2_ORPHAN_LIST;
    orphanCount--;
    listRemove(<u32>ORPHANS, t);
  }
  if (t.flags & FL_TIME_WAIT_LIST) {
    t.flags &= ~FL_TIME_WAIT_LIST;
    listRemove(<u32>TIME_WAITS, t);
  }
}

/** Releases the connection and its slot. */
export function destroy(t: Tcb): void {
  leaveLists(t);
  release(t);
  rcvqPurge(t);
  flowRemove(t);
  setState(t, TCP_CLOSE);
  slotRelease(t);
}

/** The connection is over. `errno` 0: in good order. An application that holds the handle is told. */
export function connectionDone(t: Tcb, errno: i32): void {
  // Linux: what waits to be accepted stays there, and the application hears of it then.
  const waits = (t.flags & FL_ACCEPT_QUEUE) != 0 && asLinuxReceiver();
  if (t.flags & (FL_ORPHAN | FL_HALF_OPEN | FL_ACCEPT_QUEUE) && !waits) return destroy(t);
  if (waits) fastOpenLeave(t);
  else leaveLists(t);
  release(t);
  flowRemove(t);
  setState(t, TCP_CLOSE);
  coldOf(t).error = <u32>errno;
  eventRaise(t, errno ? EV_ERROR : EV_CLOSED);
}

/** The connection ends with an error: reset by the peer, timed out, unreachable. */
export function connectionAborted(t: Tcb, errno: i32): void {
  const state: u32 = t.state;
  if (state == TCP_SYN_SENT || state == TCP_SYN_RECV) count(CNT_TcpAttemptFails);
  else if (counted(state)) count(CNT_TcpEstabResets);
  connectionDone(t, errno);
}

/** Ends the connection from our side with an RST where RFC 9293 §3.10.5 sends one. The handle is dead. */
export function connectionReset(t: Tcb): void {
  const state: u32 = t.state;
  const tell =
    state == TCP_ESTABLISHED ||
    state == TCP_SYN_RECV ||
    state == TCP_CLOSE_WAIT ||
    state == TCP_FIN_WAIT1 ||
    state == TCP_FIN_WAIT2;
  if (counted(state)) count(CNT_TcpEstabResets);
  if (tell && !segmentReset(t)) {
    leaveLists(t);
    release(t);
    rcvqPurge(t);
    flowRemove(t);
    setState(t, TCP_CLOSE);
    t.evPending = 0;
    t.flags |= FL_ORPHAN | FL_RST_OWED;
    wantOutput(t);
    return;
  }
  destroy(t);
}

/** Sends the RST that found no room in the transmit ring, and lets go of the slot. */
export function resetOwed(t: Tcb): void {
  if (segmentReset(t)) destroy(t);
  else wantOutput(t);
}

/** The application sends no more (RFC 9293 §3.10.4): the FIN goes out behind what is queued. */
export function closeSend(t: Tcb): void {
  if (t.flags & FL_FIN_QUEUED) return;
  t.flags |= FL_FIN_QUEUED;
  finQueued(t);
  tcpOutput(t);
}

/** State change for a queued FIN; a connection that is not established yet makes it when it is. */
export function finQueued(t: Tcb): void {
  if (t.state == TCP_ESTABLISHED) setState(t, TCP_FIN_WAIT1);
  else if (t.state == TCP_CLOSE_WAIT) setState(t, TCP_LAST_ACK);
}

/**
 * Takes the connection among the orphans. Nobody but the peer can end one, and a peer that keeps its window shut never
 * does: beyond CFG_MAX_ORPHANS the oldest is reset. It has had the longest to finish.
 */
function orphanAdd(t: Tcb): void {
  const most = load<u32>(CFG_MAX_ORPHANS);
  if (orphanCount >= (most != 0 ? most : max<u32>(load<u32>(CFG_MAX_CONNECTIONS) >> 2, 1))) {
    count(CNT_TcpExtTCPAbortOnMemory);
    connectionReset(tcbAt(listFirst(<u32>ORPHANS)));
  }
  orphanCount++;
  coldOf(t).flags2 |= F2_ORPHAN_LIST;
  listAppend(<u32>ORPHANS, t);
}

/** Timeouts or probes without progress after which the connection is given up: of an orphan, answers do not count. */
export function retriesMost(t: Tcb): u32 {
  const most = load<u32>(CFG_RETRIES);
  return t.flags & FL_ORPHAN ? min(load<u32>(CFG_ORPHAN_RETRIES), most) : most;
}

/** The application closes its handle, which is dead from now on. */
export function closeConnection(t: Tcb): void {
  const state: u32 = t.state;
  if (state == TCP_CLOSE || state == TCP_SYN_SENT) return destroy(t);
  if (t.rcvQBytes != 0 && state != TCP_TIME_WAIT && state != TCP_CLOSING && state != TCP_LAST_ACK) {
    // RFC 2525 §2.17: data that nobody will read is lost, and the peer should know.
    count(CNT_TcpExtTCPAbortOnClose);
    return connectionReset(t);
  }
  const linger = coldOf(t).lingerMs;
  if (linger == 1 && state != TCP_TIME_WAIT) return connectionReset(t);
  rcvqPurge(t);
  t.flags |= FL_ORPHAN;
  t.evPending = 0;
  if (state == TCP_TIME_WAIT) {
    timeWaitList(t);
    return;
  }
  orphanAdd(t);
  // Keepalive's no longer: an orphan's long timer ends it.
  if (linger == 0) timerCancel(longTimer(t));
  else timerArm(longTimer(t), nowUs + <u64>(linger - 1) * 1000);
  if (state == TCP_FIN_WAIT2) return finWait2Begin(t);
  closeSend(t);
}

// ---- the peer's FIN and the acknowledgment of ours ----

/** The peer's FIN is next in sequence (RFC 9293 §3.10.7.4, eighth check). */
export function finReceived(t: Tcb): void {
  t.rcvNxt++;
  t.flags |= FL_FIN_RCVD;
  if (t.state == TCP_ESTABLISHED && !(t.flags & FL_FIN_OOO) && asLinuxReceiver()) linuxFinReceived(t);
  else t.flags |= FL_ACK_NOW;
  reassemblyPurge(t);
  eventRaise(t, EV_EOF);
  const state: u32 = t.state;
  if (state == TCP_ESTABLISHED) setState(t, TCP_CLOSE_WAIT);
  else if (state == TCP_FIN_WAIT1) setState(t, TCP_CLOSING);
  else if (state == TCP_FIN_WAIT2) timeWaitEnter(t);
}

/** Our FIN has been acknowledged. */
export function finAcked(t: Tcb): void {
  const state: u32 = t.state;
  if (state == TCP_FIN_WAIT1) {
    setState(t, TCP_FIN_WAIT2);
    if (t.flags & FL_ORPHAN) finWait2Begin(t);
  } else if (state == TCP_CLOSING) timeWaitEnter(t);
  else if (state == TCP_LAST_ACK) connectionDone(t, 0);
}

/** An orphan has nothing more to say. It waits for the peer's FIN for a while, or not at all (OPT_FIN_WAIT2_US). */
function finWait2Begin(t: Tcb): void {
  const own = coldOf(t).finWait2Ms;
  if (own == 1) return connectionReset(t);
  timerArm(longTimer(t), nowUs + (own != 0 ? <u64>(own - 1) * 1000 : <u64>load<u32>(CFG_FIN_WAIT2_US)));
}

/** What was queued at close() has not been delivered in the time that the application gave it (OPT_LINGER_US). */
export function lingerExpired(t: Tcb): void {
  connectionReset(t);
}

/** Nobody is left to read, and the peer does not close: forget it. What it may still send is answered by an RST. */
export function finWait2Expired(t: Tcb): void {
  destroy(t);
}

// ---- TIME-WAIT ----

function timeWaitList(t: Tcb): void {
  t.flags |= FL_TIME_WAIT_LIST;
  listAppend(<u32>TIME_WAITS, t);
}

function timeWaitEnter(t: Tcb): void {
  count(CNT_TcpExtTCPTimeWait);
  const owed = t.flags & FL_ACK_NOW;
  release(t);
  t.flags |= owed;
  setState(t, TCP_TIME_WAIT);
  timeWaitRestart(t);
  eventRaise(t, EV_CLOSED);
  if (t.flags & FL_ORPHAN) {
    rcvqPurge(t);
    leaveLists(t);
    timeWaitList(t);
  }
}

/** 2 MSL from now (RFC 9293 §3.6.1). */
export function timeWaitRestart(t: Tcb): void {
  timerArm(longTimer(t), nowUs + load<u32>(CFG_TIME_WAIT_US));
}

export function timeWaitExpired(t: Tcb): void {
  if (t.flags & FL_ORPHAN) return destroy(t);
  release(t);
  flowRemove(t);
  setState(t, TCP_CLOSE);
}

/** Gives up the oldest connection in TIME-WAIT to make room for a new one. False when there is none. */
export function evictTimeWait(): bool {
  const oldest = listFirst(<u32>TIME_WAITS);
  if (!oldest) return false;
  destroy(tcbAt(oldest));
  return true;
}
