// SACK information from the peer (RFC 2018 §5, RFC 6675 §4): blocks are checked against what has been sent, then
// the records inside them are marked. A block below the cumulative ACK, or inside the second one, reports a
// duplicate (RFC 2883 §4); anything else that makes no sense is counted and ignored.

import { CNT_TcpExtTCPDSACKRecv, CNT_TcpExtTCPSACKDiscard } from '../abi/counters';
import { count } from '../abi/runtime';
import { optSackAt, optSackCount } from './options';
import { rackDelivered, rackDuplicate } from './rack';
import { TXM_SACKED } from './records';
import { seqGe, seqGt, seqLe, seqLt } from './seq';
import { Tcb, coldOf } from './tcb';
import { markSacked, txSegAt, txSegSpace } from './txseg';

@inline
function blockStart(i: u32): u32 {
  return bswap<u32>(load<u32>(optSackAt + i * 8));
}

@inline
function blockEnd(i: u32): u32 {
  return bswap<u32>(load<u32>(optSackAt + i * 8, 4));
}

/** RFC 2883 §4.2: the first block is a report of duplicate data. */
function isDsack(ack: u32): bool {
  const start = blockStart(0);
  const end = blockEnd(0);
  if (!seqLt(start, end)) return false;
  if (seqLe(end, ack)) return true;
  return optSackCount > 1 && seqGe(start, blockStart(1)) && seqLe(end, blockEnd(1));
}

/** The last segment with SACK blocks reported a duplicate. */
export let sackDuplicate: bool = false;

/** Applies the segment's SACK blocks. True when they acknowledge something new. */
export function sackApply(t: Tcb, ack: u32): bool {
  const c = coldOf(t);
  sackDuplicate = false;
  // While all was in order nobody kept count (txseg.ts).
  if (seqLt(c.fack, t.sndUna)) c.fack = t.sndUna;
  let first: u32 = 0;
  if (isDsack(ack)) {
    // A duplicate of something never sent is no report.
    if (seqGt(blockEnd(0), t.sndNxt)) count(CNT_TcpExtTCPSACKDiscard);
    else {
      count(CNT_TcpExtTCPDSACKRecv);
      c.dsackDups++;
      sackDuplicate = true;
      rackDuplicate(t);
    }
    first = 1;
  }
  let fresh = false;
  for (let i = first; i < min<u32>(optSackCount, 4); i++) {
    const start = blockStart(i);
    const end = blockEnd(i);
    if (!seqLt(start, end) || seqGt(end, t.sndNxt)) {
      count(CNT_TcpExtTCPSACKDiscard);
      continue;
    }
    if (seqLe(end, t.sndUna)) continue;
    if (sackBlock(t, start, end)) fresh = true;
  }
  return fresh;
}

function sackBlock(t: Tcb, start: u32, end: u32): bool {
  let fresh = false;
  let at = t.txHead;
  while (at) {
    const s = txSegAt(at);
    if (seqGe(s.seq, end)) break;
    if ((s.mark & TXM_SACKED) == 0 && seqGe(s.seq, start) && seqLe(s.seq + txSegSpace(s), end)) {
      rackDelivered(t, s);
      if (markSacked(t, s)) fresh = true;
    }
    at = s.next;
  }
  return fresh;
}
