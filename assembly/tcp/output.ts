// What to send now: retransmissions first, then new data within the windows of the peer and of congestion control
// (RFC 9293 §3.8.6.2.1, RFC 5681 §3.1), then the FIN, then an ACK that nothing carried. And the list of connections
// that could not send for want of transmit ring, or that owe an ACK at the end of the burst.

import {
  CFGF_IDLE_WINDOW,
  CFG_FLAGS,
  EV_WRITE,
  SEND_RECORD,
  TCP_CLOSE,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
} from '../abi/layout';
import { timerArmed } from '../timer/wheel';
import { inTurn } from '../abi/runtime';
import { TCPF_ACK, TCPF_FIN, TCPF_PSH } from '../wire/tcp';
import { resetOwed } from './close';
import { ccRestart } from './congestion/index';
import { cwndUsed } from './congestion/window';
import { eventRaise } from './events';
import { flowExpect } from './flow';
import { gsoCutting, gsoEnd, gsoSend } from './gso';
import { slotReap } from './handle';
import { synOwed } from './handshake';
import { nowMs } from './isn';
import { asLinuxReceiver } from './linux';
import { sackBytes } from './options';
import { persistArm } from './persist';
import { TXM_FIN, TXM_PUSH, TXM_TSO, sendMarkGet, txSegAlloc, txSegFree, txSegScarce } from './records';
import { retransmitLost } from './retransmit';
import { plainAck } from './plain';
import { runSend } from './run';
import { rtoArm } from './rto';
import { PIECES_MAX, segmentSend } from './segment';
import { seqGt } from './seq';
import { sendNodeAt, sendqGaveBack, sendqStarved, sendqStarvedServed } from './sendq';
import {
  CA_LOSS,
  F2_CORK,
  F2_FAST_PENDING,
  F2_HOLD,
  F2_MARKS,
  F2_MORE,
  F2_PUSH_ONCE,
  F2_SND_URG,
  FL_ACK_NOW,
  FL_FIN_QUEUED,
  FL_FIN_SENT,
  FL_NODELAY,
  FL_PERSIST,
  FL_RST_OWED,
  FL_SYN_OWED,
  FL_TLP,
  FL_WANT_OUT,
  FL_WRITE_WANTED,
  Tcb,
  addressOf,
  coldOf,
  retransmitTimer,
  tcbAt,
} from './tcb';
import { inNetwork, nodeHolding, txSegAppend } from './txseg';
import { prrSent } from './prr';
import { lossTimerArm } from './tlp';
import { tsoBytes, tsoWaits } from './tso';
import { frtoHolds, frtoSent } from './frto';

/** Segments that a connection may have in flight when records are scarce: an initial window (RFC 6928) and some. */
const SCARCE_SEGMENTS: u32 = 16;

// ---- connections that want output, first in first out ----

let wantHead: u32 = 0;
let wantTail: u32 = 0;

/** Has tcpFlush() call tcpOutput() for this connection. */
export function wantOutput(t: Tcb): void {
  if (t.flags & FL_WANT_OUT) return;
  t.flags |= FL_WANT_OUT;
  t.outNext = 0;
  const at = addressOf(t);
  if (wantTail) tcbAt(wantTail).outNext = at;
  else wantHead = at;
  wantTail = at;
}

/** Serves every connection on the list once. One that meets a full ring waits at the end of it. */
@inline
export function tcpFlush(): void {
  if (!wantHead || serveAll()) sendqStarvedServed();
}

/** False when the transmit ring was full before all were served. */
function serveAll(): bool {
  const last = wantTail;
  const gaveBack = sendqGaveBack;
  while (wantHead) {
    const at = wantHead;
    const t = tcbAt(at);
    wantHead = t.outNext;
    if (!wantHead) wantTail = 0;
    t.flags &= ~FL_WANT_OUT;
    slotReap(t);
    if (t.state != 0) {
      tcpOutput(t);
      // The ring is full: the others would only meet the same.
      if (t.state != 0 && t.flags & FL_WANT_OUT) return false;
      if (sendqStarved(t)) {
        if (gaveBack) {
          t.flags &= ~FL_WRITE_WANTED;
          eventRaise(t, EV_WRITE);
        } else wantOutput(t);
      }
    }
    if (at == last) break;
  }
  return true;
}

// ---- one connection ----

/** Sends whatever the connection may send now. tcpFlush() sends what the transmit ring has no room for, and everything between turns. */
export function tcpOutput(t: Tcb): void {
  if (!inTurn) {
    wantOutput(t);
    return;
  }
  const state: u32 = t.state;
  if (state == TCP_CLOSE || state == TCP_SYN_SENT || state == TCP_SYN_RECV) {
    if (t.flags & FL_RST_OWED) resetOwed(t);
    else if (t.flags & FL_SYN_OWED) synOwed(t);
    else if (coldOf(t).flags2 & F2_FAST_PENDING) sendNew(t);
    else if (t.flags & FL_ACK_NOW && state != TCP_SYN_SENT) ackSend(t);
    return;
  }
  if (t.lostBytes != t.retransBytes && !frtoHolds(t) && !retransmitLost(t)) return;
  if (t.sndNxt != t.sndEnd || (t.flags & (FL_FIN_QUEUED | FL_FIN_SENT)) == FL_FIN_QUEUED) {
    if (!sendNew(t)) {
      wantOutput(t);
      return;
    }
  }
  if (t.caState == CA_LOSS) frtoSent(t);
  if (t.flags & FL_ACK_NOW) ackSend(t);
}

/** Sends a bare ACK, or has it sent when there is room. */
export function ackSend(t: Tcb): void {
  if (!plainAck(t) && !segmentSend(t, t.sndNxt, 0, 0, TCPF_ACK)) {
    t.flags |= FL_ACK_NOW;
    wantOutput(t);
  }
}

// Result of gather(): whether the segment has as many pieces as a frame can carry.
let crowded: bool = false;

/** Bytes, at most `most`, that a segment starting at sndNxt can take from the queue. */
@inline
function gather(t: Tcb, most: u32): u32 {
  crowded = false;
  let at = t.sqNext;
  let node = sendNodeAt(at);
  let len = node.len - (t.sndNxt - node.seq);
  if (len >= most) return most;
  const marked = (coldOf(t).flags2 & F2_MARKS) != 0;
  let pieces: u32 = 0;
  while (true) {
    pieces++;
    const ends = marked && sendMarkGet(at) & SEND_RECORD;
    at = node.next;
    if (!at) return len;
    if (pieces == PIECES_MAX || ends) {
      crowded = true;
      return len;
    }
    node = sendNodeAt(at);
    len += node.len;
    if (len >= most) return most;
  }
}

/** Whether a small segment at the end of the queue is kept back for what may follow. */
function waitsForMore(t: Tcb): bool {
  if (t.flags & FL_FIN_QUEUED) return false;
  const c = coldOf(t);
  if (c.flags2 & F2_PUSH_ONCE) return false;
  if (c.flags2 & (F2_CORK | F2_HOLD)) return true;
  // Nagle (RFC 9293 §3.7.4) as Minshall refined it: wait only while a small segment is unacknowledged.
  return (t.flags & FL_NODELAY) == 0 && seqGt(c.sndSml, t.sndUna);
}

/** Whether a piece that ends at `seq` has a mark. */
function markedAt(t: Tcb, seq: u32): bool {
  for (let at = t.sqNext; at; ) {
    const node = sendNodeAt(at);
    const end = node.seq + node.len;
    if (end == seq) return sendMarkGet(at) != 0;
    if (seqGt(end, seq)) return false;
    at = node.next;
  }
  return false;
}

/** Sends new data and the FIN as far as allowed. False when the transmit ring or the records ran out. */
function sendNew(t: Tcb): bool {
  if (t.flags & FL_FIN_SENT) return true;
  const idle = t.sndNxt == t.sndUna;
  if (idle && <u64>(nowMs() - t.lastSendMs) * 1000 > <u64>t.rto && !(load<u32>(CFG_FLAGS) & CFGF_IDLE_WINDOW))
    ccRestart(t);
  let limited = false;
  let sent = false;
  let blocked = false;
  // Urgent data goes by single segments.
  const linux = asLinuxReceiver() && (coldOf(t).flags2 & F2_SND_URG) == 0;
  // Of the packet that a segmenting device would take whole: what is left, and whether it is more than one segment.
  let tsoLeft: u32 = 0;
  let tsoMany = false;
  while (true) {
    if (!gsoCutting && runSend(t)) sent = true;
    const unsent = t.sndEnd - t.sndNxt;
    let len: u32 = 0;
    let mss: u32 = 0;
    let mark: u32 = 0;
    let flags = TCPF_ACK;
    const room = <i32>(t.sndUna + t.sndWnd - t.sndNxt);
    if (unsent != 0) {
      if (room <= 0) {
        if (t.sndNxt == t.sndUna) persistArm(t);
        break;
      }
      mss = <u32>t.sndMss - sackBytes(t);
      len = gather(t, min(min(unsent, mss), <u32>room));
      if (len < mss && !crowded) {
        if (len < unsent) {
          // The peer's window cuts the segment short: silly-window avoidance, overridden by the persist timer.
          if (len < coldOf(t).maxWnd >> 1) {
            if (t.sndNxt == t.sndUna) persistArm(t);
            break;
          }
        } else if (waitsForMore(t)) {
          if (t.sndNxt == t.sndUna) persistArm(t);
          break;
        }
      }
      const inPipe = inNetwork(t);
      if (inPipe != 0 && inPipe + (linux ? mss : len) > t.cwnd) {
        limited = true;
        break;
      }
      if (len == unsent) {
        if (!(coldOf(t).flags2 & F2_MORE)) flags |= TCPF_PSH;
        if (t.flags & FL_FIN_QUEUED && <u32>room > len) {
          flags |= TCPF_FIN;
          mark = TXM_FIN;
        }
      } else if (coldOf(t).flags2 & F2_MARKS && markedAt(t, t.sndNxt + len)) flags |= TCPF_PSH;
      if (linux) {
        if (tsoLeft == 0) {
          tsoLeft = tsoBytes(t, min(unsent, <u32>room), inPipe, mss, waitsForMore(t));
          tsoMany = tsoLeft > mss;
          if (unsent > mss && tsoWaits(t, unsent, <u32>room, inPipe, mss)) {
            limited = t.cwnd - inPipe < <u32>room;
            break;
          }
        }
        tsoLeft = crowded ? 0 : tsoLeft - min(len, tsoLeft);
        if (flags & TCPF_PSH) mark |= TXM_PUSH;
        if (tsoMany && tsoLeft == 0) {
          flags |= TCPF_PSH;
          mark |= TXM_TSO;
        }
      }
    } else {
      if ((t.flags & (FL_FIN_QUEUED | FL_FIN_SENT)) != FL_FIN_QUEUED) break;
      flags |= TCPF_FIN;
      mark = TXM_FIN;
    }
    // What is outstanding brings the ACK or the timeout that goes on from here.
    if (coldOf(t).txCount >= SCARCE_SEGMENTS && txSegScarce()) break;
    if (!sendOne(t, len, mss, flags, mark)) {
      blocked = true;
      break;
    }
    sent = true;
    if (mark & TXM_FIN) break;
  }
  gsoEnd(t);
  if (!linux || sent || limited) cwndUsed(t, limited);
  if (sent) {
    t.lastSendMs = nowMs();
    if (idle) flowExpect(t);
    // RFC 6298 §5.1; the timer runs already when something was outstanding.
    if (idle || t.flags & FL_TLP || !timerArmed(retransmitTimer(t))) lossTimerArm(t);
  }
  return !blocked;
}

/** Sends `len` bytes of new data from sndNxt on, `full` are a full segment, and the FIN if marked so. gsoEnd() has to follow. */
function sendOne(t: Tcb, len: u32, full: u32, flags: u32, mark: u32): bool {
  const record = txSegAlloc();
  if (!record) return false;
  const seq = t.sndNxt;
  const node = len ? t.sqNext : 0;
  if (!gsoSend(t, record, seq, node, len, flags)) {
    txSegFree(record);
    return false;
  }
  txSegAppend(t, record, seq, len, node, mark);
  if (t.flags & FL_PERSIST) {
    t.flags &= ~FL_PERSIST;
    t.backoff = 0;
  }
  prrSent(t, len);
  t.sndNxt = seq + len;
  if (len) {
    t.sqNext = nodeHolding(node, t.sndNxt);
    if (len < full) coldOf(t).sndSml = t.sndNxt;
  }
  if (mark & TXM_FIN) {
    t.flags |= FL_FIN_SENT;
    t.sndNxt++;
  }
  return true;
}

/** Sends a segment of new data beyond the congestion window, as a tail loss probe (tlp.ts). False when there is none. */
export function sendProbe(t: Tcb): bool {
  const room = <i32>(t.sndUna + t.sndWnd - t.sndNxt);
  const unsent = t.sndEnd - t.sndNxt;
  if (t.flags & FL_FIN_SENT || unsent == 0 || room <= 0) return false;
  const mss = <u32>t.sndMss - sackBytes(t);
  const len = gather(t, min(min(unsent, mss), <u32>room));
  if (len < unsent && len < mss && !crowded) return false;
  const sent = sendOne(t, len, mss, len == unsent ? TCPF_ACK | TCPF_PSH : TCPF_ACK, 0);
  gsoEnd(t);
  if (sent) t.lastSendMs = nowMs();
  return sent;
}

/** Sends one segment however small, into whatever window there is (persist.ts). False when nothing could be sent. */
export function sendForced(t: Tcb): bool {
  const room = <i32>(t.sndUna + t.sndWnd - t.sndNxt);
  const unsent = t.sndEnd - t.sndNxt;
  if (t.flags & FL_FIN_SENT || unsent == 0 || room <= 0) return false;
  const mss = <u32>t.sndMss - sackBytes(t);
  const len = gather(t, min(min(unsent, mss), <u32>room));
  // With the ring full the timer tries again: tcpOutput() alone would wait for a larger window.
  if (sendOne(t, len, mss, len == unsent ? TCPF_ACK | TCPF_PSH : TCPF_ACK, 0)) t.lastSendMs = nowMs();
  gsoEnd(t);
  rtoArm(t);
  return true;
}
