// A connection's state as Linux's getsockopt(TCP_INFO) tells it: the same names, the same units.
import type { Core } from './core/core.js';
import * as L from './core/layout.js';
import { type CongestionName, congestionAlgorithms } from './profiles.js';

/** TCP_INFINITE_SSTHRESH of Linux: no reduction has happened yet. */
export const INFINITE_SSTHRESH = 0x7fffffff;

/** Times are microseconds where Linux's are, and milliseconds in `tcpi_last_…`; windows are segments where Linux's are. */
export interface TcpInfo {
  tcpi_state: number;
  /** 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss. */
  tcpi_ca_state: number;
  tcpi_retransmits: number;
  tcpi_probes: number;
  tcpi_backoff: number;
  /** TCPI_OPT_…: 1 timestamps, 2 SACK, 4 window scale, 8 ECN, 16 ECN seen. */
  tcpi_options: number;
  tcpi_snd_wscale: number;
  tcpi_rcv_wscale: number;
  tcpi_rto: number;
  tcpi_ato: number;
  tcpi_snd_mss: number;
  tcpi_rcv_mss: number;
  tcpi_unacked: number;
  tcpi_sacked: number;
  tcpi_lost: number;
  tcpi_retrans: number;
  tcpi_last_data_sent: number;
  tcpi_last_ack_recv: number;
  tcpi_pmtu: number;
  tcpi_rcv_ssthresh: number;
  tcpi_rtt: number;
  tcpi_rttvar: number;
  tcpi_snd_ssthresh: number;
  tcpi_snd_cwnd: number;
  tcpi_advmss: number;
  tcpi_reordering: number;
  tcpi_rcv_rtt: number;
  tcpi_rcv_space: number;
  tcpi_total_retrans: number;
  tcpi_bytes_acked: number;
  tcpi_bytes_received: number;
  tcpi_segs_out: number;
  tcpi_segs_in: number;
  tcpi_notsent_bytes: number;
  tcpi_min_rtt: number;
  tcpi_data_segs_in: number;
  tcpi_data_segs_out: number;
  tcpi_delivered: number;
  tcpi_delivered_ce: number;
  tcpi_bytes_sent: number;
  tcpi_bytes_retrans: number;
  tcpi_dsack_dups: number;
  tcpi_reord_seen: number;
  tcpi_rcv_ooopack: number;
  tcpi_snd_wnd: number;
  tcpi_rcv_wnd: number;
  /** Not in Linux's structure, but in its TCP_CONGESTION. */
  congestion: CongestionName;
}

/** The state of a connection; null when the handle is nobody's any more. Not for a hot path: it makes an object. */
export function tcpInfo(core: Core, handle: number): TcpInfo | null {
  const at = core.scratch;
  if (handle <= 0 || core.info(handle, at) < 0) return null;
  const word = (offset: number): number => core.dv.getUint32(at + offset, true);
  const long = (offset: number): number => Number(core.dv.getBigUint64(at + offset, true));
  const mss = Math.max(word(L.INFO_snd_mss), 1);
  const segments = (offset: number): number => Math.ceil(word(offset) / mss);
  const ssthresh = word(L.INFO_snd_ssthresh);
  return {
    tcpi_state: word(L.INFO_state),
    tcpi_ca_state: word(L.INFO_ca_state),
    tcpi_retransmits: word(L.INFO_retransmits),
    tcpi_probes: word(L.INFO_probes),
    tcpi_backoff: word(L.INFO_backoff),
    tcpi_options: word(L.INFO_options),
    tcpi_snd_wscale: word(L.INFO_snd_wscale),
    tcpi_rcv_wscale: word(L.INFO_rcv_wscale),
    tcpi_rto: word(L.INFO_rto),
    tcpi_ato: word(L.INFO_ato),
    tcpi_snd_mss: word(L.INFO_snd_mss),
    tcpi_rcv_mss: word(L.INFO_rcv_mss),
    tcpi_unacked: segments(L.INFO_unacked),
    tcpi_sacked: segments(L.INFO_sacked),
    tcpi_lost: segments(L.INFO_lost),
    tcpi_retrans: segments(L.INFO_retrans),
    tcpi_last_data_sent: word(L.INFO_last_data_sent),
    tcpi_last_ack_recv: word(L.INFO_last_ack_recv),
    tcpi_pmtu: word(L.INFO_pmtu),
    tcpi_rcv_ssthresh: word(L.INFO_rcv_ssthresh),
    tcpi_rtt: word(L.INFO_rtt),
    tcpi_rttvar: word(L.INFO_rttvar),
    tcpi_snd_ssthresh: ssthresh >= L.CWND_MAX ? INFINITE_SSTHRESH : Math.floor(ssthresh / mss),
    tcpi_snd_cwnd: Math.floor(word(L.INFO_snd_cwnd) / mss),
    tcpi_advmss: word(L.INFO_advmss),
    tcpi_reordering: word(L.INFO_reordering),
    tcpi_rcv_rtt: word(L.INFO_rcv_rtt),
    tcpi_rcv_space: word(L.INFO_rcv_space),
    tcpi_total_retrans: word(L.INFO_total_retrans),
    tcpi_bytes_acked: long(L.INFO_bytes_acked),
    tcpi_bytes_received: long(L.INFO_bytes_received),
    tcpi_segs_out: word(L.INFO_segs_out),
    tcpi_segs_in: word(L.INFO_segs_in),
    tcpi_notsent_bytes: word(L.INFO_notsent_bytes),
    tcpi_min_rtt: word(L.INFO_min_rtt),
    tcpi_data_segs_in: word(L.INFO_data_segs_in),
    tcpi_data_segs_out: word(L.INFO_data_segs_out),
    tcpi_delivered: word(L.INFO_delivered),
    tcpi_delivered_ce: word(L.INFO_delivered_ce),
    tcpi_bytes_sent: long(L.INFO_bytes_sent),
    tcpi_bytes_retrans: long(L.INFO_bytes_retrans),
    tcpi_dsack_dups: word(L.INFO_dsack_dups),
    tcpi_reord_seen: word(L.INFO_reord_seen),
    tcpi_rcv_ooopack: word(L.INFO_rcv_ooopack),
    tcpi_snd_wnd: word(L.INFO_snd_wnd),
    tcpi_rcv_wnd: word(L.INFO_rcv_wnd),
    congestion: names[word(L.INFO_congestion)],
  };
}

const names = Object.fromEntries(
  Object.entries(congestionAlgorithms).map(([name, number]) => [number, name]),
) as Record<number, CongestionName>;
