// ICMP errors about datagrams that we have sent.

import { dstPathMtuLower } from '../ip/route';
import { udpPorts } from '../wire/udp';
import { udpDeliverInline, udpRaise } from './events';
import { UE_ERROR, UF_INLINE, udpAt } from './socket';
import { udpFind, udpFlowFind } from './table';

/**
 * `addresses`: local and remote; `udp`: the quoted UDP header; `mtu`: the packet was too big and this is what would fit,
 * else 0; `errno`: what the application is told. As on Linux only a connected socket is, and only of what is `fatal`: an
 * error does not say which of the datagrams of another it was about. The socket goes on.
 */
export function udpIcmpError(addresses: u32, udp: u32, mtu: u32, errno: i32, fatal: bool): void {
  // The quotation is of our own datagram: its source is what is local to us.
  const ports = rotl<u32>(udpPorts(udp), 16);
  if (mtu != 0) {
    if (udpFind(addresses, ports)) dstPathMtuLower(addresses + 16, mtu);
    return;
  }
  const at = fatal ? udpFlowFind(addresses, ports) : 0;
  if (at == 0) return;
  const s = udpAt(at);
  s.error = errno;
  udpRaise(s, UE_ERROR);
  if (s.flags & UF_INLINE) udpDeliverInline(s);
}
