// Runs of plain segments (plain.ts): new data that goes in one turn. What follows the first segment has its headers copied
// from it, and only the sequence number, the flags, the lengths and the checksums are made anew, from sums of what stays the
// same. What decides on them is asked once for all. Each segment has its record (decision 005).
//
// Nothing that the segments of a run share can change before its end: acknowledgment, window, timestamps, ECN, route and MAC.

import { CFG_FLAGS, CTL_TX_HEAD, TXD_ADDR, TXD_FLAGS, TXD_LEN, TXF_END } from '../abi/layout';
import { nowUs } from '../abi/runtime';
import { frameL4, txRoom, txSlotAt } from '../ip/output';
import { fold, sumAppend } from '../wire/checksum';
import { TCPF_PSH, setTcpChecksum, setTcpFlags, setTcpSeq } from '../wire/tcp';
import { roomFree } from '../zbuf/headroom';
import { zbufAllocHeader, zbufRefMany, zbufRooms } from '../zbuf/zbuf';
import { nowMs } from './isn';
import { TxSeg, txSegAlloc, txSegFree, txSegScarce } from './records';
import { PIECES_MAX } from './segment';
import { sendNodeAt } from './sendq';
import { seqGt } from './seq';
import {
  CA_OPEN,
  F2_CORK,
  F2_HOLD,
  F2_MARKS,
  F2_MORE,
  F2_PUSH_ONCE,
  FL_FIN_QUEUED,
  FL_NODELAY,
  Tcb,
  coldOf,
  isV4,
  pipe,
} from './tcb';
import { txSegAt } from './txseg';
import {
  SUM_LINK,
  SUM_NONE,
  SUM_OURS,
  counted,
  descriptorPut,
  headersCopy,
  headersPut,
  lengthPut,
  linkCuts,
  plainFlags,
  plainIpSum,
  plainPseudoSum,
  plainTcpLen,
  plainTcpSum,
  plainV4,
  plainVia,
  sumWay,
} from './plain';

/** Whether the last segment of all, if it is a small one, may go, and has nothing to say but PSH (Nagle: output.ts). */
@inline
function endsPlainly(t: Tcb): bool {
  if (t.flags & FL_FIN_QUEUED || coldOf(t).flags2 & (F2_CORK | F2_HOLD | F2_MORE | F2_PUSH_ONCE)) return false;
  return (t.flags & FL_NODELAY) != 0 || !seqGt(coldOf(t).sndSml, t.sndUna);
}

/** Payload pieces of a segment that begins with the last `have` bytes of the piece at `node` and needs more; 0 = too many. */
@inline
function piecesFrom(node: u32, have: u32, len: u32): u32 {
  let pieces: u32 = 1;
  while (have < len) {
    if (++pieces > PIECES_MAX) return 0;
    node = sendNodeAt(node).next;
    have += sendNodeAt(node).len;
  }
  return pieces;
}

/**
 * Sends new data as far as it is plain and both windows, the ring and the records let it go, each segment as output.ts would.
 * What is left then is for that to decide on. False when nothing was sent.
 */
export function runSend(t: Tcb): bool {
  const end = t.sndEnd;
  let seq = t.sndNxt;
  const config = load<u32>(CFG_FLAGS);
  const mss: u32 = t.sndMss;
  if (end == seq || t.caState != CA_OPEN || coldOf(t).flags2 & F2_MARKS) return false;
  if (linkCuts(config) && end - seq > mss && isV4(t)) return false;
  const room = <i32>(t.sndUna + t.sndWnd - seq);
  const free = <i32>(t.cwnd - pipe(t));
  if (room <= 0 || free <= 0) return false;
  let left = min(end - seq, <u32>min(room, free));
  // A part of a segment goes only as the end of all, and the end only if it has no more to say.
  const whole = left == end - seq && endsPlainly(t);
  if (!whole && left <= mss && (left < mss || seq + left == end)) return false;
  const neighbour = plainVia(t, config);
  if (neighbour == 0) return false;
  let head = load<u32>(CTL_TX_HEAD);
  let slots = txRoom();
  let node = t.sqNext;
  let n = sendNodeAt(node);
  let skip = seq - n.seq;
  /** References to the object of `n` that the ring will have. */
  let refs: u32 = 0;
  let model: u32 = 0;
  let modelLen: u32 = 0;
  // Of headersPut(), once there is a model.
  let four = false;
  let way = SUM_NONE;
  let says: u32 = 0;
  let headerBytes: u32 = 0;
  /** Descriptor of the model's headers: the others' differ in the address alone. */
  let modelSlot: u32 = 0;
  let ip: u64 = 0;
  let base: u64 = 0;
  let segments: u32 = 0;
  let tail = t.txTail;
  let len: u32 = 0;
  while (left != 0) {
    len = min(left, mss);
    const last = seq + len == end;
    if ((last || len < mss) && !whole) break;
    const addr = n.addr + skip;
    const have = n.len - skip;
    const pieces: u32 = have >= len ? 1 : piecesFrom(node, have, len);
    if (pieces == 0 || slots <= pieces || txSegScarce()) break;
    if (zbufRooms != 0 && roomFree(addr)) break;
    const record = txSegAlloc();
    if (!record) break;
    const f = zbufAllocHeader();
    if (!f) {
      txSegFree(record);
      break;
    }
    if (model == 0) {
      headersPut(t, f, neighbour, true);
      model = f;
      four = plainV4;
      way = sumWay(config, four);
      says = plainFlags;
      headerBytes = plainTcpLen;
      ip = plainIpSum;
      base = way == SUM_OURS ? plainTcpSum : plainPseudoSum;
      modelSlot = descriptorPut(f, head, four, headerBytes, way, 0);
    } else {
      headersCopy(f, model, four);
      const slot = txSlotAt(head);
      store<u32>(slot, f + (load<u32>(modelSlot, TXD_ADDR) - model), TXD_ADDR);
      store<u32>(slot, load<u32>(modelSlot, TXD_LEN), TXD_LEN);
      store<u64>(slot, load<u64>(modelSlot, TXD_FLAGS), TXD_FLAGS);
    }
    head++;
    const s = txSegAt(record);
    s.next = 0;
    s.seq = seq;
    // Neither marks nor times.
    store<u32>(record, len, offsetof<TxSeg>('len'));
    s.node = node;
    s.sentUs = nowUs;
    s.txPos = head + pieces;
    s.firstMs = nowMs();
    if (tail) txSegAt(tail).next = record;
    else t.txHead = record;
    tail = record;

    let sum = base;
    let rest = len;
    let odd = false;
    while (true) {
      const from = n.addr + skip;
      const take = min(rest, n.len - skip);
      const at = txSlotAt(head++);
      store<u32>(at, from, TXD_ADDR);
      store<u32>(at, take, TXD_LEN);
      store<u64>(at, take == rest ? TXF_END : 0, TXD_FLAGS);
      if (way == SUM_OURS) {
        sum = sumAppend(sum, odd, from, take);
        odd = odd != ((take & 1) != 0);
      }
      refs++;
      skip += take;
      rest -= take;
      if (skip == n.len) {
        zbufRefMany(n.addr, refs);
        refs = 0;
        skip = 0;
        node = n.next;
        n = sendNodeAt(node);
      }
      if (rest == 0) break;
    }
    if (len != modelLen) lengthPut(f, four, headerBytes + len, ip);
    if (modelLen == 0) modelLen = len;
    const tcp = frameL4(f);
    const lenRaw = <u32>bswap<u16>(<u16>(headerBytes + len));
    const bits = last ? says | TCPF_PSH : says;
    setTcpSeq(tcp, seq);
    setTcpFlags(tcp, bits);
    if (way == SUM_LINK) setTcpChecksum(tcp, <u16>fold(sum + lenRaw));
    else if (way == SUM_OURS) setTcpChecksum(tcp, <u16>~fold(sum + lenRaw + bswap<u32>(seq) + ((<u64>bits) << 8)));
    slots -= pieces + 1;
    seq += len;
    left -= len;
    segments++;
  }
  if (segments == 0) return false;
  if (refs != 0) zbufRefMany(n.addr, refs);
  store<u32>(CTL_TX_HEAD, head);
  const bytes = seq - t.sndNxt;
  const c = coldOf(t);
  t.txTail = tail;
  t.sndNxt = seq;
  t.sqNext = node;
  if (seq == end && len < mss) c.sndSml = seq;
  c.txCount += segments;
  c.dataSegsOut += segments;
  c.bytesSent += bytes;
  counted(t, segments, bytes);
  return true;
}
