// A datagram arrives (RFC 768).

import {
  CNT_UdpInCsumErrors,
  CNT_UdpInCsumPartial,
  CNT_UdpInDatagrams,
  CNT_UdpInErrors,
  CNT_UdpNoPorts,
} from '../abi/counters';
import { CFG_FLAGS, CFGF_RX_TRUST, RXF_L4_CSUM_OK, RXF_L4_CSUM_PARTIAL } from '../abi/layout';
import { count } from '../abi/runtime';
import { icmpError } from '../ip/icmp';
import { icmp6Error } from '../ip/icmp6';
import { fold, pseudo4, pseudo6, sum16 } from '../wire/checksum';
import { ICMP_DEST_UNREACH, ICMP_PORT_UNREACH } from '../wire/icmp';
import { ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH } from '../wire/icmpv6';
import { isMapped, mappedRaw } from '../wire/ipv4';
import { ipv6IsUnspecified } from '../wire/ipv6';
import { PROTO_UDP, UDP_HEADER, udpChecksum, udpLength, udpPorts } from '../wire/udp';
import { isAnyAddress } from '../tcp/listen';
import { udpArrived, udpDeliverInline, udpEnlist } from './events';
import { udpQueueAdd } from './recvq';
import { UF_INLINE, UdpSocket, udpAt } from './socket';
import { udpFind, udpFirst, udpTakesFamily } from './table';

/**
 * The checksum is right, or was left out, which IPv4 allows (RFC 1122 §4.1.3.4) and IPv6 does not (RFC 8200 §8.1), or is
 * the bare pseudo-header sum of a sender whose checksums a device was to fill in (see tcpSumFine() of ip/input.ts).
 */
function sumFine(udp: u32, len: u32, flags: u32, addresses: u32, v4: bool): bool {
  const sum = udpChecksum(udp);
  if (sum == 0) return v4;
  if (flags & RXF_L4_CSUM_OK) return true;
  const pseudo = v4
    ? pseudo4(mappedRaw(addresses + 16), mappedRaw(addresses), PROTO_UDP, len)
    : pseudo6(addresses, addresses + 16, PROTO_UDP, len);
  if (fold(sum16(udp, len, pseudo)) == 0xffff) return true;
  if ((flags & RXF_L4_CSUM_PARTIAL) == 0 || sum != fold(pseudo)) return false;
  count(CNT_UdpInCsumPartial);
  return true;
}

/** Queues the payload for a socket, which an inline one gets at once. */
function deliver(s: UdpSocket, udp: u32, len: u32, addresses: u32): bool {
  if (!udpQueueAdd(s, udp + UDP_HEADER, len - UDP_HEADER, udpPorts(udp) >> 16, addresses)) return false;
  count(CNT_UdpInDatagrams);
  udpArrived(s);
  return true;
}

/** To every socket on this port that is bound to any address. A callback might close others of them: it comes later. */
function deliverBroadcast(udp: u32, len: u32, addresses: u32): void {
  const port = udpPorts(udp) & 0xffff;
  let found = false;
  for (let at = udpFirst(port); at; at = udpAt(at).portNext) {
    const s = udpAt(at);
    if (s.ports != port || !isAnyAddress(s.local0, s.local1) || !udpTakesFamily(s, true)) continue;
    found = true;
    if (deliver(s, udp, len, addresses) && s.flags & UF_INLINE) udpEnlist(s);
  }
  if (!found) count(CNT_UdpNoPorts);
}

/**
 * Takes the datagram of `l4Len` bytes at `udp`. `ip`: its packet, of which an error quotes the beginning; `addresses`: 32
 * bytes, local and remote address; `group`: it was sent to a broadcast address or a group. The receive object stays the
 * caller's; what is kept gets references of its own.
 */
export function udpInput(ip: u32, udp: u32, l4Len: u32, flags: u32, addresses: u32, group: bool): void {
  const len: u32 = l4Len < UDP_HEADER ? 0 : udpLength(udp);
  const v4 = isMapped(addresses);
  // Nobody could be answered at ::, which no packet but those of neighbour discovery comes from (RFC 4291 §2.5.2).
  if (len < UDP_HEADER || len > l4Len || (!v4 && ipv6IsUnspecified(addresses + 16))) {
    count(CNT_UdpInErrors);
    return;
  }
  if ((load<u32>(CFG_FLAGS) & CFGF_RX_TRUST) == 0 && !sumFine(udp, len, flags, addresses, v4)) {
    count(CNT_UdpInCsumErrors);
    count(CNT_UdpInErrors);
    return;
  }
  if (group) {
    // The groups of IPv6 that we are in are for neighbour discovery.
    if (v4) deliverBroadcast(udp, len, addresses);
    else count(CNT_UdpNoPorts);
    return;
  }
  const at = udpFind(addresses, udpPorts(udp));
  if (at == 0) {
    count(CNT_UdpNoPorts);
    // RFC 1122 §4.1.3.1, RFC 4443 §3.1.
    const packet = udp + l4Len - ip;
    if (v4) icmpError(ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, ip, packet, addresses);
    else icmp6Error(ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0, ip, packet, addresses);
    return;
  }
  const s = udpAt(at);
  if (deliver(s, udp, len, addresses) && s.flags & UF_INLINE) udpDeliverInline(s);
}
