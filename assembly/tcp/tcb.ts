// The transmission control block: a slot per connection, of 256 bytes that are used all the time and, right behind
// them, what is cold. Slots begin at multiples of 256, so that a timer node's address leads back to its block; their
// stride is no power of two, so that neighbours do not compete for the same lines of a cache. A listener is a slot too,
// in state LISTEN, taken from the end of the table.
//
// Sequence spaces, after RFC 9293 §3.3.1:
//
//            sndUna          sndNxt              sndUna+sndWnd          sndEnd
//   ── acked ──┤── in flight ──┤── may be sent now ───┤── queued ─────────┤ (the FIN, if queued, has number sndEnd)
//
//            rcvWup       rcvNxt                        rcvAdv
//   ─ acked ───┤─ received ─┤─── out-of-order pieces ─────┤   rcvAdv: right edge ever offered, never moves left
//
// In-flight bytes are counted as RFC 6675 wants: pipe = (sndNxt − sndUna) − sacked − lost + retransmitted.

import { arenaAlloc } from '../abi/arena';
import { CFG_MAX_CONNECTIONS, CFG_MAX_LISTENERS, ENOMEM } from '../abi/layout';
import { cookieArenaNeeded, cookieInit } from './cookie';
import { fastOpenArenaNeeded, fastOpenInit } from './fastopen';
import { flowArenaNeeded, flowInit } from './flow';
import { PLACE_BYTES, slotsInit } from './handle';
import { isnInit } from './isn';
import { listenArenaNeeded, listenInit } from './listen';
import { activeSlots, parkArenaNeeded, parkInit } from './park';
import { portInit } from './port';
import { recordsArenaNeeded, recordsInit } from './records';
import { rcvTuneInit } from './rcvtune';

export const TCB_SIZE: u32 = 256;
/** Hot and cold part: a multiple of TCB_SIZE. */
export const SLOT_SIZE: u32 = 768;

// What the fast paths use is in four lines, each for a purpose, and a fifth that is Cold's first. A segment of data touches
// sequence and receive; the ACK for it path besides; an ACK that comes touches sequence, receive, send and the fifth; a
// segment of data that goes all five. `npm run bench -- count` says which fields, and the tests hold it to that.
//
//   line 0, sequence: numbers, windows and clocks
//     0 handle          4 state caState evPending sndWscale   8 flags        12 rcvNxt
//    16 rcvAdv         20 rcvWup        24 sndUna            28 sndNxt       32 sndEnd       36 sndWnd
//    40 sndWl1         44 tsRecent      48 tsRecentMs        52 lastRecvMs   56 lastSendMs   60 rcvMss quickAcks backoff
//   line 1, receive: the delayed ACK, the receive queue, what is out of order in either direction
//    64 delayed-ack timer               80 rcvBuf            84 rcvQHead     88 rcvQTail     92 rcvQBytes
//    96 oooHead       100 sackedBytes  104 lostBytes        108 retransBytes
//   112 segsIn        116 dataSegsIn   120 bytesReceived
//   line 2, path: what a header says
//   128 dst           132 ports        136 local            152 remote      168 tsOffset    172 flags2
//   176 tos ttl cc rcvWscale           180 segsOut          184 dataSegsOut 188 outNext
//   line 3, send: the queues, the window and the timer
//   192 retransmit timer               208 txHead           212 txTail      216 sqHead      220 sqTail
//   224 sqNext        228 cwnd         232 ssthresh         236 srtt        240 rttvar      244 rto
//   248 sndMss dupAcks graces          252 sackedSegs retries probes
@unmanaged
export class Tcb {
  handle: u32;
  /** TCP_… of abi/layout, 0 = free slot. */
  state: u8;
  /** CA_…: congestion avoidance's view, as Linux's icsk_ca_state. */
  caState: u8;
  /** Bit 1 << EV_… of each event not delivered yet. */
  evPending: u8;
  sndWscale: u8;
  /** FL_… */
  flags: u32;
  rcvNxt: u32;
  rcvAdv: u32;
  /** RCV.WUP, or Last.ACK.sent of RFC 7323 §4.3. */
  rcvWup: u32;
  sndUna: u32;
  sndNxt: u32;
  sndEnd: u32;
  /** Bytes, scaled. */
  sndWnd: u32;
  sndWl1: u32;
  tsRecent: u32;
  tsRecentMs: u32;
  lastRecvMs: u32;
  lastSendMs: u32;
  /** Largest payload seen from the peer, at least 536: what "full-sized" means for delayed acks. */
  rcvMss: u16;
  /** Acks still to be sent without delay after the start or a loss. */
  quickAcks: u8;
  /** Doublings of the RTO, SYN or persist interval. */
  backoff: u8;

  delackTimer0: u64;
  delackTimer1: u64;
  rcvBuf: u32;
  rcvQHead: u32;
  rcvQTail: u32;
  rcvQBytes: u32;
  oooHead: u32;
  sackedBytes: u32;
  lostBytes: u32;
  retransBytes: u32;
  /** For info(), as what else is counted here and below. */
  segsIn: u32;
  dataSegsIn: u32;
  bytesReceived: u64;

  dst: u32;
  /** Local port in the low half, remote port in the high half. Followed by the addresses: 36 bytes to hash. */
  ports: u32;
  local0: u64;
  local1: u64;
  remote0: u64;
  remote1: u64;
  tsOffset: u32;
  /** F2_… */
  flags2: u32;
  /** Traffic class (DSCP, ECN clear) of what we send, and its TTL or hop limit (0 = the default). */
  tos: u8;
  ttl: u8;
  /** CC_… */
  cc: u8;
  rcvWscale: u8;
  segsOut: u32;
  dataSegsOut: u32;
  outNext: u32;

  retransmitTimer0: u64;
  retransmitTimer1: u64;
  txHead: u32;
  txTail: u32;
  sqHead: u32;
  sqTail: u32;
  /** The SendNode that holds sndNxt, 0 when all queued data has been sent. */
  sqNext: u32;
  cwnd: u32;
  ssthresh: u32;
  /** Smoothed RTT, µs × 8; 0 = no sample yet. */
  srtt: u32;
  /** RTT variation, µs × 4. */
  rttvar: u32;
  rto: u32;
  /** Payload bytes per segment, options already deducted. */
  sndMss: u16;
  dupAcks: u8;
  /** Times that the retransmission timer was put off since the last RTT sample (rto.ts). */
  graces: u8;
  sackedSegs: u16;
  /** Expiries of the retransmission timer for the same data. */
  retries: u8;
  /** Unanswered keepalive or zero-window probes. */
  probes: u8;
}

/** The rest of a connection. Its first line is what the fast paths for sending need beside the hot ones, the others they leave alone. A listener's is in Backlog. */
@unmanaged
export class Cold extends Tcb {
  /** Records of transmitted segments, and pieces of the send queue. */
  txCount: u32;
  sqCount: u32;
  /** Segments delivered to the peer. */
  delivered: u32;
  /** Smallest RTT sample, µs. */
  minRtt: u32;
  bytesAcked: u64;
  /** Payload bytes sent, retransmissions included. */
  bytesSent: u64;
  /** SND.NXT's value for the last segment below a full one (Minshall's variant of Nagle). */
  sndSml: u32;
  sndBuf: u32;
  /** When pmtu was lowered, ms; 0 = it is the route's (pmtu.ts). */
  pmtuMs: u32;
  /** SND.WND's maximum so far: RFC 9293 §3.8.6.2.1 and RFC 5961 §5.2. */
  maxWnd: u32;
  evNext: u32;
  rcvQCount: u16;
  oooCount: u16;
  /** What the peer announced, and what we did. */
  peerMss: u16;
  ownMss: u16;
  pmtu: u32;

  /** RFC 6582's recover / RFC 6675's RecoveryPoint. */
  recover: u32;
  oooTail: u32;
  totalRetrans: u32;
  /** errno for EV_ERROR and for calls on a dead connection. */
  error: u32;
  longTimer0: u64;
  longTimer1: u64;

  /** Payload bytes sent again. */
  bytesRetrans: u64;
  /** RCV.UP as a position in the stream of received bytes: of the first one that is not urgent. */
  urgentEnd: u64;
  /** Segments delivered that the peer reported as marked (RFC 3168). */
  deliveredCe: u32;
  /** RACK's view (rack.ts). */
  rackXmit: u64;
  rackEnd: u32;
  rackRtt: u32;
  fack: u32;
  reoMult: u32;
  rackRound: u32;
  /** Slot of the listener while the connection is half-open or in its accept queue. */
  listener: u32;
  /** Links of the one list it is on: half-open, accept queue, orphans or TIME-WAIT. */
  listNext: u32;
  listPrev: u32;
  iss: u32;
  irs: u32;
  /** Number of a FIN that arrived out of order (FL_FIN_OOO). */
  finSeq: u32;
  keepTimeMs: u32;
  keepIntvlMs: u32;
  userTimeoutMs: u32;
  /** When the connection last got an answer other than silence while probing. */
  probeSentMs: u32;
  lastOowMs: u32;
  /** Ranges to report, most recent first (RFC 2018 §4); an empty one has equal ends. */
  sack0Start: u32;
  sack0End: u32;
  sack1Start: u32;
  sack1End: u32;
  sack2Start: u32;
  sack2End: u32;
  sack3Start: u32;
  sack3End: u32;
  /** Duplicate range to report once (RFC 2883); empty when the ends are equal. */
  dsackStart: u32;
  dsackEnd: u32;
  /** Congestion control's own words: congestion/<algorithm>.ts says what is in them. */
  cc0: u32;
  cc1: u32;
  cc2: u32;
  cc3: u32;
  cc4: u32;
  cc5: u32;
  cc6: u32;
  cc7: u32;
  /** cwnd and ssthresh before a timeout, and the timestamp of the retransmission (undo.ts). */
  undoCwnd: u32;
  undoSsthresh: u32;
  undoTs: u32;
  /** Retransmissions since then that no duplicate has been reported of. */
  undoRetrans: u32;
  /** Bytes delivered and sent since the recovery began (RFC 6937), and what was outstanding then. */
  prrDelivered: u32;
  prrOut: u32;
  recoverFlight: u32;
  /** SND.NXT after a tail loss probe; its answer is awaited while FL_PROBED is set (RFC 8985 §7). */
  tlpEnd: u32;
  /** Receive autotuning (rcvtune.ts). */
  rcvSpace: u32;
  rcvSpaceRead: u32;
  rcvSpaceStart: u32;
  rcvRtt: u32;
  rcvRttSeq: u32;
  rcvRttStart: u32;
  /** SND.UP of RFC 9293 §3.8.5, while F2_SND_URG is set: the number behind the urgent data. */
  sndUp: u32;
  /** The last ICMP error that did not end the connection, and when it came. */
  softError: u32;
  softMs: u32;
  /** OPT_LINGER_US in ms, and 1 more; 0 = for as long as it takes. */
  lingerMs: u32;
  /** When the first probe of a closed window was due, ms; 0 = not yet (persist.ts). */
  persistMs: u32;
  /** For info(): reordering events seen, duplicates reported by the peer, segments received out of order. */
  reordSeen: u32;
  dsackDups: u32;
  rcvOooPack: u32;
  /** linux.ts */
  rcvSsthresh: u32;
  lastDataMs: u32;
  /** Linux's view of whether the congestion window was used (congestion/window.ts). */
  mostFlight: u32;
  usageSeq: u32;
  /** Linux: the window that the buffer as it is makes possible (linux.ts). */
  rcvFull: u32;
  /** TCP_WINDOW_CLAMP, 0 = none. */
  rcvClamp: u32;
  /** OPT_FIN_WAIT2_US in ms, and 1 more; 0 = CFG_FIN_WAIT2_US. */
  finWait2Ms: u32;
  atoMs: u16;
  /** Retransmissions of a SYN, and keepalive probes, 0 = as configured. */
  synRetries: u8;
  keepProbes: u8;
  /** OPT_MAXSEG */
  userMss: u16;
  /** Linux: how much of a received packet's memory is payload, in 256ths. */
  rcvRatio: u8;
  /** SYN-ACKs after which a connection without data is accepted, 0 = at once. */
  deferAccept: u8;
  /** REPORT_… that the application has not been told yet, and those that it does not want. */
  reports: u8;
  reportsOff: u8;
  /** Fast Open: bytes of data in our SYN; low half of the µs at which the SYN-ACK was sent; the listener's handle. */
  synData: u16;
  /** Linux: length of the last segment below rcvMss (linux.ts). */
  lastSegSize: u16;
  synSentUs: u32;
  fastListener: u32;
}

/** What only a listener has, in the place of a connection's SACK ranges and of its congestion control's words. */
@unmanaged
export class Backlog {
  backlog: u32;
  halfCount: u32;
  halfHead: u32;
  halfTail: u32;
  acceptCount: u32;
  acceptHead: u32;
  acceptTail: u32;
  /** Next listener on the same port. */
  portNext: u32;
  /** When the last SYN cookie was sent, ms; 0 = never. */
  cookieMs: u32;
  /** OPT_FAST_OPEN; connections that await their ACK, and those that an RST has ended meanwhile, the last one when. */
  fastMost: u32;
  fastCount: u32;
  fastResets: u32;
  fastResetMs: u32;
}

/** Deliver through the inline callback. */
export const FL_INLINE: u32 = 1 << 0;
/** The application has closed the handle. */
export const FL_ORPHAN: u32 = 1 << 1;
export const FL_TS: u32 = 1 << 2;
export const FL_SACK: u32 = 1 << 3;
export const FL_WSCALE: u32 = 1 << 4;
/** An ACK is owed at the next output. */
export const FL_ACK_NOW: u32 = 1 << 5;
/** An ACK is owed when the delayed-ack timer expires. */
export const FL_ACK_DELAYED: u32 = 1 << 6;
export const FL_NODELAY: u32 = 1 << 7;
/** The application has no more to send. */
export const FL_FIN_QUEUED: u32 = 1 << 8;
export const FL_FIN_SENT: u32 = 1 << 9;
/** The peer's FIN has been reached in the byte stream. */
export const FL_FIN_RCVD: u32 = 1 << 10;
export const FL_FIN_OOO: u32 = 1 << 11;
/** On the list of connections that want output. */
export const FL_WANT_OUT: u32 = 1 << 12;
/** On the list of connections with events. */
export const FL_IN_EVENTS: u32 = 1 << 13;
/** send() said EAGAIN: EV_WRITE is due when there is room. */
export const FL_WRITE_WANTED: u32 = 1 << 14;
/** EV_DATA is in the event ring and recv() has not drained the queue since. */
export const FL_DATA_SIGNALLED: u32 = 1 << 15;
export const FL_KEEPALIVE: u32 = 1 << 16;
/** The retransmit timer is a tail loss probe's (RFC 8985 §7.2). */
export const FL_TLP: u32 = 1 << 17;
/** On its listener's half-open list. */
export const FL_HALF_OPEN: u32 = 1 << 18;
/** On its listener's accept queue. */
export const FL_ACCEPT_QUEUE: u32 = 1 << 19;
export const FL_RST_OWED: u32 = 1 << 20;
/** The retransmit timer is a zero-window probe timer. */
export const FL_PERSIST: u32 = 1 << 21;
/** The last output stopped at the congestion window (RFC 7661: only then may it grow). */
export const FL_CWND_LIMITED: u32 = 1 << 22;
/** Released, but still on a list; the slot is free once it comes off. */
export const FL_ZOMBIE: u32 = 1 << 23;
/** A SYN or SYN-ACK has to be (re)sent: the transmit ring was full. */
export const FL_SYN_OWED: u32 = 1 << 24;
/** On the TIME-WAIT list. */
export const FL_TIME_WAIT_LIST: u32 = 1 << 25;
/** Acknowledge every segment at once. */
export const FL_QUICKACK: u32 = 1 << 26;
/** The last advertised window was 0. */
export const FL_ZERO_WND_SENT: u32 = 1 << 27;
/** In the flow table. */
export const FL_IN_FLOWS: u32 = 1 << 28;
/** ECN was agreed on (RFC 3168 §6.1.1). */
export const FL_ECN: u32 = 1 << 29;
/** A tail loss probe is out (tlp.ts). */
export const FL_PROBED: u32 = 1 << 30;
/** The retransmit timer is RACK's reordering timer. */
export const FL_REO: u32 = 1 << 31;

/** Flags that a connection may have which has nothing to do; any other is work, or a list (park.ts). */
export const FL_AT_REST: u32 =
  FL_INLINE |
  FL_TS |
  FL_SACK |
  FL_WSCALE |
  FL_NODELAY |
  FL_FIN_RCVD |
  FL_KEEPALIVE |
  FL_CWND_LIMITED |
  FL_QUICKACK |
  FL_IN_FLOWS |
  FL_ECN;

// More flags, in Tcb.flags2.
/** Made by a listener. */
export const F2_PASSIVE: u32 = 1 << 0;
/** At least one handshake segment was retransmitted. */
export const F2_SYN_RETRANS: u32 = 1 << 1;
/** Every ACK carries ECE (ecn.ts). */
export const F2_ECE: u32 = 1 << 2;
/** The next new data carries CWR. */
export const F2_CWR_OWED: u32 = 1 << 3;
/** A recovery or timeout may still turn out to have been needless (undo.ts). */
export const F2_UNDO: u32 = 1 << 4;
/** The tail loss probe was a retransmission. */
export const F2_TLP_RETRANS: u32 = 1 << 5;
/** F-RTO: the timeout may have been spurious (frto.ts); send new data before more retransmissions. */
export const F2_FRTO: u32 = 1 << 6;
export const F2_FRTO_NEW: u32 = 1 << 7;
/** The application has set the receive buffer: no autotuning. */
export const F2_RCVBUF_LOCK: u32 = 1 << 8;
/** Among the orphans (close.ts). */
export const F2_ORPHAN_LIST: u32 = 1 << 10;
/** A listener on :: that takes IPv6 only. */
export const F2_V6ONLY: u32 = 1 << 30;
/** Client: Fast Open is asked for. */
export const F2_FAST_OPEN: u32 = 1 << 11;
/** Server: opened by data in a SYN, and the SYN-ACK is not acknowledged yet (fastopen.ts). */
export const F2_FAST_PENDING: u32 = 1 << 12;
/** Data in the SYN was acknowledged. */
export const F2_SYN_DATA: u32 = 1 << 13;
/** A segment with an ECT or CE mark has arrived. */
export const F2_ECN_SEEN: u32 = 1 << 9;
/** OPT_PAUSED: FL_INLINE is off until it is resumed, so that data is queued as a batch connection's (events.ts). */
export const F2_PAUSED: u32 = 1 << 15;
/** What waited meanwhile is to be handed over, and the window told. */
export const F2_RESUMED: u32 = 1 << 25;

/** Cold.dsackStart and dsackEnd hold a range to report. */
export const F2_DSACK: u32 = 1 << 14;

/** Urgent data is queued or in flight (urgent.ts). */
export const F2_SND_URG: u32 = 1 << 31;

/** OPT_CORK */
export const F2_CORK: u32 = 1 << 19;
/** The last that was queued came with SEND_MORE: no PSH behind it. F2_HOLD: and a small segment waits. */
export const F2_MORE: u32 = 1 << 20;
export const F2_HOLD: u32 = 1 << 21;
/** What is queued now goes, however small. */
export const F2_PUSH_ONCE: u32 = 1 << 22;
/** Send-queue pieces of the connection may have marks (records.ts). */
export const F2_MARKS: u32 = 1 << 23;
/** The handshake's last ACK came without data, which the listener waits for. */
export const F2_DEFERRED: u32 = 1 << 24;
/** Answers carry the ACKs; small segments wait for theirs (linux.ts). */
export const F2_PINGPONG: u32 = 1 << 16;
export const F2_ACK_PUSHED: u32 = 1 << 17;
export const F2_ACK_PUSHED_TWICE: u32 = 1 << 18;

export const CA_OPEN: u8 = 0;
export const CA_RECOVERY: u8 = 1;
export const CA_LOSS: u8 = 2;
/** Answering a mark (RFC 3168 §6.1.2). */
export const CA_CWR: u8 = 3;

export const NODE_RETRANSMIT: u32 = 192;
export const NODE_DELACK: u32 = 64;
/** In the cold part; no other node has this place modulo TCB_SIZE (timer/dispatch.ts). */
export const NODE_LONG: u32 = 336;

let tableAt: u32 = 0;
let tableEnd: u32 = 0;

@inline
export function addressOf(t: Tcb): u32 {
  return <u32>changetype<usize>(t);
}

@inline
export function tcbAt(address: u32): Tcb {
  return changetype<Tcb>(<usize>address);
}

@inline
export function coldOf(t: Tcb): Cold {
  return changetype<Cold>(changetype<usize>(t));
}

/** Whether the connection speaks IPv4. */
@inline
export function isV4(t: Tcb): bool {
  return t.remote0 == 0 && <u32>t.remote1 == 0xffff0000;
}

/** Bytes of IP and TCP headers without options. */
@inline
export function headersOf(t: Tcb): u32 {
  return isV4(t) ? 40 : 60;
}

@inline
export function backlogOf(l: Tcb): Backlog {
  return changetype<Backlog>(changetype<usize>(coldOf(l)) + offsetof<Cold>('sack0Start'));
}

@inline
export function localPort(t: Tcb): u32 {
  return t.ports & 0xffff;
}

@inline
export function remotePort(t: Tcb): u32 {
  return t.ports >>> 16;
}

/** Address of the 32-byte block: local address, remote address. */
@inline
export function addressesOf(t: Tcb): u32 {
  return addressOf(t) + <u32>offsetof<Tcb>('local0');
}

@inline
export function retransmitTimer(t: Tcb): u32 {
  return addressOf(t) + NODE_RETRANSMIT;
}

@inline
export function delackTimer(t: Tcb): u32 {
  return addressOf(t) + NODE_DELACK;
}

@inline
export function longTimer(t: Tcb): u32 {
  return addressOf(t) + NODE_LONG;
}

/** Bytes estimated to be in the network (RFC 6675 §2, "pipe"). */
@inline
export function pipe(t: Tcb): u32 {
  return t.sndNxt - t.sndUna - t.sackedBytes - t.lostBytes + t.retransBytes;
}

/** First byte of the table of TCBs. */
export function tcbTableAt(): u32 {
  return tableAt;
}

/** First byte after it. */
export function tcbTableEnd(): u32 {
  return tableEnd;
}

function slotCount(): u32 {
  return activeSlots() + load<u32>(CFG_MAX_LISTENERS);
}

function placeCount(): u32 {
  return load<u32>(CFG_MAX_CONNECTIONS) + load<u32>(CFG_MAX_LISTENERS);
}

/** Arena bytes that TCP takes with this configuration. */
export function tcpArenaNeeded(): u32 {
  return (
    slotCount() * SLOT_SIZE +
    TCB_SIZE +
    placeCount() * PLACE_BYTES +
    64 +
    parkArenaNeeded() +
    recordsArenaNeeded() +
    flowArenaNeeded() +
    listenArenaNeeded() +
    cookieArenaNeeded() +
    fastOpenArenaNeeded()
  );
}

/** 0 or -errno. */
export function tcpInit(): i32 {
  assert(offsetof<Tcb>() == TCB_SIZE);
  assert(offsetof<Cold>() <= SLOT_SIZE);
  assert(offsetof<Cold>('txCount') == TCB_SIZE);
  assert(offsetof<Backlog>() <= offsetof<Cold>('undoCwnd') - offsetof<Cold>('sack0Start'));
  assert(offsetof<Tcb>('retransmitTimer0') == NODE_RETRANSMIT);
  assert(offsetof<Tcb>('delackTimer0') == NODE_DELACK);
  assert(offsetof<Cold>('longTimer0') == NODE_LONG);
  const slots = slotCount();
  const hot = arenaAlloc(slots * SLOT_SIZE, TCB_SIZE);
  if (!hot) return -ENOMEM;
  tableAt = hot;
  tableEnd = hot + slots * SLOT_SIZE;
  const places = arenaAlloc(placeCount() * PLACE_BYTES, 64);
  if (!places) return -ENOMEM;
  slotsInit(hot, slots, places, load<u32>(CFG_MAX_CONNECTIONS), load<u32>(CFG_MAX_LISTENERS));
  isnInit();
  portInit();
  if (!parkInit() || !recordsInit() || !flowInit() || !listenInit() || !cookieInit() || !fastOpenInit()) return -ENOMEM;
  rcvTuneInit();
  return 0;
}
