// The names that assertions in %{ }% see: Linux's struct tcp_info, in Linux's units.
import * as L from '../core/layout.js';
import type { Machine } from './machine.js';

const TCP_INFINITE_SSTHRESH = 0x7fffffff;
const NO_RATE = 2 ** 64 - 1;

/** Names of fields whose value is the core's own. */
const plain: Readonly<Record<string, number>> = {
  tcpi_state: L.INFO_state,
  tcpi_retransmits: L.INFO_retransmits,
  tcpi_probes: L.INFO_probes,
  tcpi_backoff: L.INFO_backoff,
  tcpi_options: L.INFO_options,
  tcpi_snd_wscale: L.INFO_snd_wscale,
  tcpi_rcv_wscale: L.INFO_rcv_wscale,
  tcpi_rto: L.INFO_rto,
  tcpi_ato: L.INFO_ato,
  tcpi_snd_mss: L.INFO_snd_mss,
  tcpi_rcv_mss: L.INFO_rcv_mss,
  tcpi_rtt: L.INFO_rtt,
  tcpi_rttvar: L.INFO_rttvar,
  tcpi_unacked: L.INFO_unacked_segs,
  tcpi_sacked: L.INFO_sacked_segs,
  tcpi_lost: L.INFO_lost_segs,
  tcpi_retrans: L.INFO_retrans_segs,
  tcpi_total_retrans: L.INFO_total_retrans,
  tcpi_notsent_bytes: L.INFO_notsent_bytes,
  tcpi_snd_wnd: L.INFO_snd_wnd,
  tcpi_rcv_wnd: L.INFO_rcv_wnd,
  tcpi_ca_state: L.INFO_ca_state,
  tcpi_min_rtt: L.INFO_min_rtt,
  tcpi_pmtu: L.INFO_pmtu,
  tcpi_advmss: L.INFO_advmss,
  tcpi_reordering: L.INFO_reordering,
  tcpi_segs_out: L.INFO_segs_out,
  tcpi_segs_in: L.INFO_segs_in,
  tcpi_data_segs_out: L.INFO_data_segs_out,
  tcpi_data_segs_in: L.INFO_data_segs_in,
  tcpi_delivered: L.INFO_delivered,
  tcpi_delivered_ce: L.INFO_delivered_ce,
  tcpi_dsack_dups: L.INFO_dsack_dups,
  tcpi_reord_seen: L.INFO_reord_seen,
  tcpi_rcv_ooopack: L.INFO_rcv_ooopack,
  tcpi_rcv_rtt: L.INFO_rcv_rtt,
  tcpi_rcv_space: L.INFO_rcv_space,
  tcpi_rcv_ssthresh: L.INFO_rcv_ssthresh,
  tcpi_last_data_sent: L.INFO_last_data_sent,
  tcpi_last_data_recv: L.INFO_last_data_recv,
  tcpi_last_ack_recv: L.INFO_last_ack_recv,
};

const longs: Readonly<Record<string, number>> = {
  tcpi_bytes_acked: L.INFO_bytes_acked,
  tcpi_bytes_received: L.INFO_bytes_received,
  tcpi_bytes_sent: L.INFO_bytes_sent,
  tcpi_bytes_retrans: L.INFO_bytes_retrans,
};

const constants: Readonly<Record<string, number>> = {
  TCPI_OPT_TIMESTAMPS: 1,
  TCPI_OPT_SACK: 2,
  TCPI_OPT_WSCALE: 4,
  TCPI_OPT_ECN: 8,
  TCPI_OPT_ECN_SEEN: 16,
  TCPI_OPT_SYN_DATA: 32,
  TCP_CA_Open: 0,
  TCP_CA_Disorder: 1,
  TCP_CA_CWR: 2,
  TCP_CA_Recovery: 3,
  TCP_CA_Loss: 4,
  TCP_ESTABLISHED: L.TCP_ESTABLISHED,
  TCP_SYN_SENT: L.TCP_SYN_SENT,
  TCP_SYN_RECV: L.TCP_SYN_RECV,
  TCP_FIN_WAIT1: L.TCP_FIN_WAIT1,
  TCP_FIN_WAIT2: L.TCP_FIN_WAIT2,
  TCP_TIME_WAIT: L.TCP_TIME_WAIT,
  TCP_CLOSE: L.TCP_CLOSE,
  TCP_CLOSE_WAIT: L.TCP_CLOSE_WAIT,
  TCP_LAST_ACK: L.TCP_LAST_ACK,
  TCP_LISTEN: L.TCP_LISTEN,
  TCP_CLOSING: L.TCP_CLOSING,
};

/** Fields that are always 0 here, or that Linux itself no longer fills in. */
const zeros: ReadonlySet<string> = new Set([
  'tcpi_fackets',
  'tcpi_last_ack_sent',
  'tcpi_fastopen_client_fail',
  'tcpi_delivery_rate_app_limited',
  'tcpi_rehash',
]);

/** What Linux would pace to, in bytes a second (tcp_update_pacing_rate()); before there is a round trip, no limit. */
function pacingRate(word: (offset: number) => number): number {
  const rtt = word(L.INFO_rtt);
  if (rtt === 0) return NO_RATE;
  const [cwnd, ssthresh] = [word(L.INFO_snd_cwnd), word(L.INFO_snd_ssthresh)];
  const ratio = ssthresh >= L.CWND_MAX || cwnd < ssthresh / 2 ? 2 : 1.2;
  return Math.floor((Math.max(cwnd, word(L.INFO_unacked)) * 1_000_000 * ratio) / rtt);
}

/** Undefined for a name that the core has no value for. */
export function infoField(machine: Machine, handle: number, name: string): number | undefined {
  const { core } = machine;
  const at = core.scratch;
  if (Object.hasOwn(constants, name)) return constants[name];
  if (zeros.has(name)) return 0;
  if (name === 'tcpi_max_pacing_rate') return NO_RATE;
  if (core.info(handle, at) < 0) return undefined;
  const word = (offset: number): number => core.dv.getUint32(at + offset, true);
  const mss = Math.max(word(L.INFO_snd_mss), 1);
  // What waits in TIME-WAIT is no longer the socket's: that is closed.
  if (name === 'tcpi_state' && word(L.INFO_state) === L.TCP_TIME_WAIT) return L.TCP_CLOSE;
  if (Object.hasOwn(plain, name)) return word(plain[name]);
  if (name === 'tcpi_snd_cwnd') return Math.floor(word(L.INFO_snd_cwnd) / mss);
  if (Object.hasOwn(longs, name)) return Number(core.dv.getBigUint64(at + longs[name], true));
  if (name === 'tcpi_pacing_rate') return pacingRate(word);
  if (name !== 'tcpi_snd_ssthresh') return undefined;
  const ssthresh = word(L.INFO_snd_ssthresh);
  return ssthresh >= L.CWND_MAX ? TCP_INFINITE_SSTHRESH : Math.floor(ssthresh / mss);
}
