// Linux hands a segmenting device a few segments at a time as one packet (CFGF_LINUX): about what a millisecond of the
// pacing rate takes, and at most half the congestion window. The last segment of such a packet carries PSH, so that
// the receiver's device delivers it at once; and a packet that would be small waits for an ACK that is due.

import { CWND_MAX } from '../abi/layout';
import { nowUs } from '../abi/runtime';
import { CA_CWR, CA_OPEN, FL_FIN_QUEUED, Tcb, coldOf } from './tcb';
import { txSegAt } from './txseg';

/** net.ipv4.tcp_min_tso_segs */
const LEAST_SEGMENTS: u32 = 2;
/** sk_pacing_shift: what fits into 2⁻¹⁰ s. */
const PACING_SHIFT: u64 = 10;
/** net.ipv4.tcp_tso_rtt_log: for each 512 µs of the smallest round trip the addition halves. */
const RTT_SHIFT: u32 = 9;
/** sk_gso_max_size: 64 KiB without the headers. */
const LARGEST: u32 = 65_536 - 321;
/** net.ipv4.tcp_pacing_ss_ratio and tcp_pacing_ca_ratio, percent. */
const SLOW_START_RATIO: u64 = 200;
const AVOIDANCE_RATIO: u64 = 120;

/** net.ipv4.tcp_tso_win_divisor: this part of a window is worth a packet. */
const WINDOW_PART: u32 = 3;
/** Only shortly after the last packet does one wait, and only for an ACK that is as near. */
const RECENT_US: u64 = 1000;
const NEAR_US: u64 = 500;

/** Segments that one packet may have (tcp_tso_autosize()). */
function autosize(t: Tcb, mss: u32): u32 {
  let bytes: u64 = LARGEST;
  if (t.srtt != 0) {
    const ratio = t.ssthresh >= CWND_MAX || t.cwnd < t.ssthresh >> 1 ? SLOW_START_RATIO : AVOIDANCE_RATIO;
    const window = max(t.cwnd, t.sndNxt - t.sndUna);
    bytes = ((<u64>window * 8_000_000 * ratio) / 100 / t.srtt) >> PACING_SHIFT;
    const halvings = coldOf(t).minRtt >> RTT_SHIFT;
    if (halvings < 32) bytes += LARGEST >> halvings;
  }
  return max(<u32>min<u64>(bytes, LARGEST) / mss, LEAST_SEGMENTS);
}

/**
 * Bytes of the packet that begins at sndNxt, of which `ready` may go as far as the peer is concerned and `inPipe` are
 * under way; `partWaits`: a small segment at the end is kept back.
 */
export function tsoBytes(t: Tcb, ready: u32, inPipe: u32, mss: u32, partWaits: bool): u32 {
  const cwnd = t.cwnd / mss;
  const free = t.cwnd > inPipe ? (t.cwnd - inPipe) / mss : 0;
  const most = max(min(min(autosize(t, mss), cwnd >> 1), free), 1) * mss;
  if (most <= ready) return most;
  return partWaits && ready > mss ? ready - (ready % mss) : ready;
}

/** Whether `unsent` bytes, more than a segment, wait for the next ACK to make a larger packet (tcp_tso_should_defer()). */
export function tsoWaits(t: Tcb, unsent: u32, room: u32, inPipe: u32, mss: u32): bool {
  if (!t.txHead || (t.caState != CA_OPEN && t.caState != CA_CWR)) return false;
  if (nowUs - txSegAt(t.txTail).sentUs > RECENT_US) return false;
  const free = t.cwnd > inPipe ? t.cwnd - inPipe : 0;
  const limit = min(room, free);
  if (limit >= autosize(t, mss) * mss || limit >= min(t.sndWnd, t.cwnd) / WINDOW_PART) return false;
  const srtt: u64 = t.srtt >> 3;
  if (txSegAt(t.txHead).sentUs + srtt > nowUs + min(srtt >> 1, NEAR_US)) return false;
  return limit <= unsent || !(t.flags & FL_FIN_QUEUED);
}
