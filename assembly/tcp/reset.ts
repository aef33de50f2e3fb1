// Resets for segments that belong to no connection (RFC 9293 §3.10.7.1).

import { CNT_TcpOutRsts, CNT_TcpOutSegs } from '../abi/counters';
import { count } from '../abi/runtime';
import { frameBegin, frameL4, ipOutput } from '../ip/output';
import { dstGet } from '../ip/route';
import {
  TCPF_ACK,
  TCPF_FIN,
  TCPF_RST,
  TCPF_SYN,
  TCP_HEADER,
  setTcpChecksum,
  setTcpDataOffset,
  setTcpFlags,
  setTcpUrgent,
  setTcpWindow,
  tcpAck,
  tcpFlags,
  tcpSeq,
} from '../wire/tcp';
import { PROTO_TCP } from './segment';

/**
 * Answers the segment at `tcp` with `payload` bytes of data by a reset, unless it is one. Dropped when there is no
 * room in the transmit ring: the peer's retransmission asks again.
 */
export function resetAnswer(tcp: u32, payload: u32, addresses: u32): void {
  const flags = tcpFlags(tcp);
  if (flags & TCPF_RST) return;
  const dst = dstGet(addresses + 16);
  if (!dst) return;
  const f = frameBegin(0);
  if (!f) return;
  const h = frameL4(f);
  const ports = load<u32>(tcp);
  store<u32>(h, rotl<u32>(ports, 16));
  if (flags & TCPF_ACK) {
    store<u32>(h, bswap<u32>(tcpAck(tcp)), 4);
    store<u32>(h, 0, 8);
    setTcpFlags(h, TCPF_RST);
  } else {
    const length = payload + <u32>((flags & TCPF_SYN) != 0) + <u32>((flags & TCPF_FIN) != 0);
    store<u32>(h, 0, 4);
    store<u32>(h, bswap<u32>(tcpSeq(tcp) + length), 8);
    setTcpFlags(h, TCPF_RST | TCPF_ACK);
  }
  setTcpDataOffset(h, TCP_HEADER);
  setTcpWindow(h, 0);
  setTcpChecksum(h, 0);
  setTcpUrgent(h, 0);
  ipOutput(dst, addresses, PROTO_TCP, TCP_HEADER, 0, 0);
  count(CNT_TcpOutSegs);
  count(CNT_TcpOutRsts);
}
