// The connection's state in the shape of abi/info.ts.

import * as I from '../abi/info';
import { CFG_DELACK_US, TCP_LISTEN } from '../abi/layout';
import { asLinuxReceiver } from './linux';
import { rtoNow } from './rto';
import { sendQueued } from './sendq';
import {
  CA_CWR,
  CA_LOSS,
  CA_RECOVERY,
  F2_ECN_SEEN,
  F2_SYN_DATA,
  FL_ECN,
  FL_ORPHAN,
  FL_SACK,
  FL_TS,
  FL_WSCALE,
  Tcb,
  addressesOf,
  backlogOf,
  coldOf,
  localPort,
  remotePort,
} from './tcb';
import { nowMs } from './isn';
import { TXM_LOST, TXM_RETRANS } from './records';
import { txSegAt } from './txseg';

export function infoWrite(t: Tcb, at: u32): void {
  const c = coldOf(t);
  const listening = t.state == TCP_LISTEN;
  const flags = t.flags;
  memory.fill(at, 0, I.INFO_SIZE);
  store<u32>(at + I.INFO_state, t.state);
  store<u32>(at + I.INFO_handle, t.handle);
  memory.copy(at + I.INFO_local_address, addressesOf(t), 32);
  store<u32>(at + I.INFO_local_port, localPort(t));
  store<u32>(at + I.INFO_remote_port, remotePort(t));
  if (listening) {
    // As Linux: unacked is the accept queue's length, sacked its limit.
    store<u32>(at + I.INFO_unacked, backlogOf(t).acceptCount);
    store<u32>(at + I.INFO_sacked, backlogOf(t).backlog);
    return;
  }
  store<u32>(at + I.INFO_retransmits, t.retries);
  store<u32>(at + I.INFO_probes, t.probes);
  store<u32>(at + I.INFO_backoff, t.backoff);
  store<u32>(
    at + I.INFO_options,
    <u32>((flags & FL_TS) != 0) |
      ((<u32>((flags & FL_SACK) != 0)) << 1) |
      ((<u32>((flags & FL_WSCALE) != 0)) << 2) |
      ((<u32>((flags & FL_ECN) != 0)) << 3) |
      ((<u32>((c.flags2 & F2_ECN_SEEN) != 0)) << 4) |
      ((<u32>((c.flags2 & F2_SYN_DATA) != 0)) << 5),
  );
  store<u32>(at + I.INFO_snd_wscale, t.sndWscale);
  store<u32>(at + I.INFO_rcv_wscale, t.rcvWscale);
  store<u32>(at + I.INFO_rto, <u32>rtoNow(t));
  store<u32>(at + I.INFO_ato, asLinuxReceiver() ? <u32>c.atoMs * 1000 : load<u32>(CFG_DELACK_US));
  store<u32>(at + I.INFO_snd_mss, t.sndMss);
  store<u32>(at + I.INFO_rcv_mss, t.rcvMss);
  store<u32>(at + I.INFO_unacked, t.sndNxt - t.sndUna);
  store<u32>(at + I.INFO_sacked, t.sackedBytes);
  store<u32>(at + I.INFO_lost, t.lostBytes);
  store<u32>(at + I.INFO_retrans, t.retransBytes);
  store<u32>(at + I.INFO_rtt, t.srtt >> 3);
  store<u32>(at + I.INFO_rttvar, t.rttvar >> 2);
  store<u32>(at + I.INFO_snd_ssthresh, t.ssthresh);
  store<u32>(at + I.INFO_snd_cwnd, t.cwnd);
  store<u32>(at + I.INFO_total_retrans, c.totalRetrans);
  store<u32>(at + I.INFO_snd_wnd, t.sndWnd);
  const offered = <i32>(t.rcvAdv - t.rcvNxt);
  store<u32>(at + I.INFO_rcv_wnd, offered > 0 ? offered : 0);
  const unsent = <i32>(t.sndEnd - t.sndNxt);
  store<u32>(at + I.INFO_notsent_bytes, unsent > 0 ? unsent : 0);
  store<u32>(at + I.INFO_snd_queued_bytes, sendQueued(t));
  store<u32>(at + I.INFO_rcv_queued_bytes, t.rcvQBytes);
  store<u64>(at + I.INFO_bytes_acked, c.bytesAcked);
  store<u64>(at + I.INFO_bytes_received, c.bytesReceived);
  store<u32>(at + I.INFO_orphan, <u32>((flags & FL_ORPHAN) != 0));
  store<u32>(at + I.INFO_ca_state, caState(t));
  store<u32>(at + I.INFO_min_rtt, c.minRtt);
  store<u32>(at + I.INFO_pmtu, c.pmtu);
  store<u32>(at + I.INFO_advmss, c.ownMss);
  store<u32>(at + I.INFO_reordering, 3);
  store<u32>(at + I.INFO_segs_out, c.segsOut);
  store<u32>(at + I.INFO_segs_in, c.segsIn);
  store<u32>(at + I.INFO_data_segs_out, c.dataSegsOut);
  store<u32>(at + I.INFO_data_segs_in, c.dataSegsIn);
  store<u32>(at + I.INFO_delivered, c.delivered);
  store<u32>(at + I.INFO_delivered_ce, c.deliveredCe);
  store<u64>(at + I.INFO_bytes_sent, c.bytesSent);
  store<u64>(at + I.INFO_bytes_retrans, c.bytesRetrans);
  store<u32>(at + I.INFO_dsack_dups, c.dsackDups);
  store<u32>(at + I.INFO_reord_seen, c.reordSeen);
  store<u32>(at + I.INFO_rcv_ooopack, c.rcvOooPack);
  store<u32>(at + I.INFO_rcv_rtt, c.rcvRtt);
  store<u32>(at + I.INFO_rcv_space, c.rcvSpace);
  store<u32>(at + I.INFO_rcv_ssthresh, asLinuxReceiver() ? c.rcvSsthresh : t.rcvBuf);
  store<u32>(at + I.INFO_last_data_recv, nowMs() - (asLinuxReceiver() ? c.lastDataMs : t.lastRecvMs));
  store<u32>(at + I.INFO_last_data_sent, nowMs() - t.lastSendMs);
  store<u32>(at + I.INFO_last_ack_recv, nowMs() - t.lastRecvMs);
  store<u32>(at + I.INFO_congestion, c.cc);
  segmentCounts(t, at);
}

function segmentCounts(t: Tcb, at: u32): void {
  let lost: u32 = 0;
  let again: u32 = 0;
  for (let s = t.lostBytes != 0 ? t.txHead : 0; s; s = txSegAt(s).next) {
    const mark: u32 = txSegAt(s).mark;
    if (mark & TXM_LOST) lost++;
    if ((mark & (TXM_LOST | TXM_RETRANS)) == (TXM_LOST | TXM_RETRANS)) again++;
  }
  store<u32>(at + I.INFO_unacked_segs, coldOf(t).txCount);
  store<u32>(at + I.INFO_sacked_segs, t.sackedSegs);
  store<u32>(at + I.INFO_lost_segs, lost);
  store<u32>(at + I.INFO_retrans_segs, again);
}

/** Linux's number: disorder is an open state in which something has been sacked or acknowledged twice. */
function caState(t: Tcb): u32 {
  if (t.caState == CA_LOSS) return 4;
  if (t.caState == CA_RECOVERY) return 3;
  if (t.caState == CA_CWR) return 2;
  return t.sackedBytes != 0 ? 1 : 0;
}
