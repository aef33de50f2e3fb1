// What info(handle, at) writes: TCP_INFO-like state under Linux's field names (struct tcp_info), u32 each unless
// said. Times are microseconds, windows bytes, cwnd and ssthresh bytes (Linux counts segments).
export const INFO_state: u32 = 0;
export const INFO_retransmits: u32 = 4;
export const INFO_probes: u32 = 8;
export const INFO_backoff: u32 = 12;
/** bit 0 timestamps, bit 1 SACK, bit 2 window scale, bit 3 ECN, bit 4 ECN seen, as TCPI_OPT_… */
export const INFO_options: u32 = 16;
export const INFO_snd_wscale: u32 = 20;
export const INFO_rcv_wscale: u32 = 24;
export const INFO_rto: u32 = 28;
export const INFO_ato: u32 = 32;
export const INFO_snd_mss: u32 = 36;
export const INFO_rcv_mss: u32 = 40;
export const INFO_unacked: u32 = 44;
export const INFO_sacked: u32 = 48;
export const INFO_lost: u32 = 52;
export const INFO_retrans: u32 = 56;
export const INFO_rtt: u32 = 60;
export const INFO_rttvar: u32 = 64;
export const INFO_snd_ssthresh: u32 = 68;
export const INFO_snd_cwnd: u32 = 72;
export const INFO_total_retrans: u32 = 76;
export const INFO_snd_wnd: u32 = 80;
export const INFO_rcv_wnd: u32 = 84;
export const INFO_notsent_bytes: u32 = 88;
export const INFO_snd_queued_bytes: u32 = 92;
export const INFO_rcv_queued_bytes: u32 = 96;
export const INFO_handle: u32 = 100;
/** u64 each */
export const INFO_bytes_acked: u32 = 104;
export const INFO_bytes_received: u32 = 112;
/** 16 bytes each, IPv4 mapped */
export const INFO_local_address: u32 = 120;
export const INFO_remote_address: u32 = 136;
export const INFO_local_port: u32 = 152;
export const INFO_remote_port: u32 = 156;
/** 1 when the application has closed the handle (orphan, TIME-WAIT). */
export const INFO_orphan: u32 = 160;
/** As Linux's TCP_CA_…: 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss. */
export const INFO_ca_state: u32 = 164;
export const INFO_min_rtt: u32 = 168;
export const INFO_pmtu: u32 = 172;
export const INFO_advmss: u32 = 176;
export const INFO_reordering: u32 = 180;
export const INFO_segs_out: u32 = 184;
export const INFO_segs_in: u32 = 188;
export const INFO_data_segs_out: u32 = 192;
export const INFO_data_segs_in: u32 = 196;
/** Segments delivered to the peer, and those of them delivered with a congestion mark. */
export const INFO_delivered: u32 = 200;
export const INFO_delivered_ce: u32 = 204;
/** u64 each: payload bytes sent, retransmissions included, and those alone. */
export const INFO_bytes_sent: u32 = 208;
export const INFO_bytes_retrans: u32 = 216;
export const INFO_dsack_dups: u32 = 224;
export const INFO_reord_seen: u32 = 228;
export const INFO_rcv_ooopack: u32 = 232;
/** Receive autotuning: the receiver's round trip, µs, and the bytes read in one. */
export const INFO_rcv_rtt: u32 = 236;
export const INFO_rcv_space: u32 = 240;
/** Receive buffer as it is by now. */
export const INFO_rcv_ssthresh: u32 = 244;
/** Milliseconds since. */
export const INFO_last_data_sent: u32 = 248;
export const INFO_last_ack_recv: u32 = 252;
/** CC_… */
export const INFO_congestion: u32 = 256;
/** Milliseconds since. */
export const INFO_last_data_recv: u32 = 260;
/** Segments of what is outstanding, sacked, lost and sent again, however small. */
export const INFO_unacked_segs: u32 = 264;
export const INFO_sacked_segs: u32 = 268;
export const INFO_lost_segs: u32 = 272;
export const INFO_retrans_segs: u32 = 276;
export const INFO_SIZE: u32 = 280;
