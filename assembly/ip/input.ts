// Frame input: Ethernet, then IPv4 (IPv6: input6.ts) with the checks of RFC 1122 §3.2.1, then the protocol. Whoever keeps the
// payload takes a reference of its own; the caller's is given up when frameInput() has returned.

import {
  CNT_EthInOtherHost,
  CNT_EthInTruncated,
  CNT_EthInUnknownProto,
  CNT_IpInAddrErrors,
  CNT_IpInCsumErrors,
  CNT_IpInDelivers,
  CNT_IpInHdrErrors,
  CNT_IpInReceives,
  CNT_IpInTruncatedPkts,
  CNT_IpInUnknownProtos,
  CNT_TcpExtCsumPartial,
  CNT_TcpInCsumErrors,
  CNT_TcpInErrs,
} from '../abi/counters';
import { CFG_FLAGS, CFGF_RX_TRUST, RXF_IP_CSUM_OK, RXF_L4_CSUM_OK, RXF_L4_CSUM_PARTIAL } from '../abi/layout';
import { count } from '../abi/runtime';
import { tcpInput } from '../tcp/input';
import { fold, pseudo4, sum16 } from '../wire/checksum';
import {
  ETHERTYPE_ARP_RAW,
  ETHERTYPE_IPV4_RAW,
  ETHERTYPE_IPV6_RAW,
  ETH_HEADER,
  MAC_BROADCAST,
  ethDst,
  ethFits,
  ethTypeRaw,
} from '../wire/ethernet';
import {
  IPOPT_EOL,
  IPOPT_LSRR,
  IPOPT_NOP,
  IPOPT_SSRR,
  IPV4_BROADCAST,
  IPV4_HEADER,
  IPV4_OPTIONS,
  ipv4DstRaw,
  ipv4HeaderBytes,
  ipv4IsFragment,
  ipv4IsMartian,
  ipv4Proto,
  ipv4SrcRaw,
  ipv4Sum,
  ipv4Tos,
  ipv4Total,
  ipv4Version,
  mappedStore,
  PROTO_ICMP,
  PROTO_TCP,
} from '../wire/ipv4';
import { TCP_CHECKSUM, tcpFits } from '../wire/tcp';
import { PROTO_UDP } from '../wire/udp';
import { udpInput } from '../udp/input';
import { zbufUnref } from '../zbuf/zbuf';
import { arpInput } from './arp';
import { fragment4 } from './fragment';
import { icmpInput } from './icmp';
import { isBroadcastRaw, isForgedRaw, isOursRaw, ourMac } from './interface';
import { setIpEcn } from './arrival';
import { macIsIpv6Group } from '../wire/ipv6';
import { ipv6Input } from './input6';

/** Addresses of the packet being processed, as 16 bytes each: local, remote. */
const ADDRS: u32 = <u32>memory.data(32, 16);

export function inputInit(): void {
  mappedStore(ADDRS, 0);
  mappedStore(ADDRS + 16, 0);
}

/** Processes the frame of `len` bytes at `p`. `flags`: RXF_…. */
export function frameInput(p: u32, len: u32, flags: u32): void {
  if (!ethFits(len)) {
    count(CNT_EthInTruncated);
    return;
  }
  const dst = ethDst(p);
  const type = ethTypeRaw(p);
  if (type == ETHERTYPE_IPV6_RAW && (dst == ourMac || macIsIpv6Group(dst))) {
    ipv6Input(p + ETH_HEADER, len - ETH_HEADER, flags, dst != ourMac);
    return;
  }
  if (dst != ourMac && dst != MAC_BROADCAST) {
    count(CNT_EthInOtherHost);
    return;
  }
  if (type == ETHERTYPE_IPV4_RAW) ipv4Input(p + ETH_HEADER, len - ETH_HEADER, flags, dst != ourMac);
  else if (type == ETHERTYPE_ARP_RAW) arpInput(p + ETH_HEADER, len - ETH_HEADER);
  else count(CNT_EthInUnknownProto);
}

/** `room`: bytes from the header to the end of the frame, which Ethernet may have padded. */
function ipv4Input(ip: u32, room: u32, flags: u32, linkBroadcast: bool): void {
  count(CNT_IpInReceives);
  if (room < IPV4_HEADER) {
    count(CNT_IpInTruncatedPkts);
    return;
  }
  const header = ipv4HeaderBytes(ip);
  const total = ipv4Total(ip);
  if (ipv4Version(ip) != 4 || header < IPV4_HEADER || total < header) {
    count(CNT_IpInHdrErrors);
    return;
  }
  if (total > room) {
    count(CNT_IpInTruncatedPkts);
    return;
  }
  if ((flags & RXF_IP_CSUM_OK) == 0 && (load<u32>(CFG_FLAGS) & CFGF_RX_TRUST) == 0) {
    if ((header == IPV4_HEADER ? ipv4Sum(ip) : fold(sum16(ip, header, 0))) != 0xffff) {
      count(CNT_IpInCsumErrors);
      count(CNT_IpInHdrErrors);
      return;
    }
  }
  if (header > IPV4_HEADER && !optionsFine(ip + IPV4_OPTIONS, ip + header)) {
    count(CNT_IpInHdrErrors);
    return;
  }
  const src = ipv4SrcRaw(ip);
  const dst = ipv4DstRaw(ip);
  // Of the protocols that we speak only UDP is for all hosts of a link at once, and a packet from ourselves is forged.
  const broadcast = linkBroadcast || !isOursRaw(dst);
  const proto = ipv4Proto(ip);
  if (
    (broadcast && (proto != PROTO_UDP || !(dst == IPV4_BROADCAST || isBroadcastRaw(dst)))) ||
    ipv4IsMartian(src) ||
    isForgedRaw(src)
  ) {
    count(CNT_IpInAddrErrors);
    return;
  }
  store<u32>(ADDRS, dst, 12);
  store<u32>(ADDRS, src, 28);
  if (!ipv4IsFragment(ip)) {
    deliver(ip, flags, broadcast);
    return;
  }
  const whole = fragment4(ip, ADDRS);
  if (whole == 0) return;
  // What the link says of a fragment's checksum it cannot know.
  deliver(whole, 0, broadcast);
  zbufUnref(whole);
}

/** Hands a packet whose addresses are in ADDRS to its protocol. `broadcast`: it was not sent to us alone. */
function deliver(ip: u32, flags: u32, broadcast: bool): void {
  setIpEcn(ipv4Tos(ip));
  const header = ipv4HeaderBytes(ip);
  const proto = ipv4Proto(ip);
  const l4 = ip + header;
  const l4Len = ipv4Total(ip) - header;
  if (proto == PROTO_TCP) {
    count(CNT_IpInDelivers);
    if (!tcpFits(l4, l4Len)) {
      count(CNT_TcpInErrs);
      return;
    }
    if (
      (flags & RXF_L4_CSUM_OK) == 0 &&
      (load<u32>(CFG_FLAGS) & CFGF_RX_TRUST) == 0 &&
      !tcpSumFine(l4, l4Len, ipv4SrcRaw(ip), ipv4DstRaw(ip), flags)
    ) {
      count(CNT_TcpInCsumErrors);
      count(CNT_TcpInErrs);
      return;
    }
    tcpInput(ip, l4, l4Len, flags, ADDRS);
  } else if (proto == PROTO_UDP) {
    count(CNT_IpInDelivers);
    udpInput(ip, l4, l4Len, flags, ADDRS, broadcast);
  } else if (proto == PROTO_ICMP) {
    count(CNT_IpInDelivers);
    icmpInput(l4, l4Len, ADDRS);
  } else count(CNT_IpInUnknownProtos);
}

/** RFC 1122 §3.2.1.8: options are well formed, and none is a source route, which a host must not follow on. */
function optionsFine(p: u32, end: u32): bool {
  while (p < end) {
    const kind = <u32>load<u8>(p);
    if (kind == IPOPT_EOL) return true;
    if (kind == IPOPT_NOP) {
      p++;
      continue;
    }
    if (kind == IPOPT_LSRR || kind == IPOPT_SSRR || p + 1 == end) return false;
    const bytes = <u32>load<u8>(p, 1);
    if (bytes < 2 || bytes > end - p) return false;
    p += bytes;
  }
  return true;
}

/**
 * The checksum is right, or is the bare pseudo-header sum that a sender leaves when the checksum was to be filled
 * in by a device the packet never met (veth), and the link says that this may be.
 */
function tcpSumFine(l4: u32, l4Len: u32, src: u32, dst: u32, flags: u32): bool {
  const pseudo = pseudo4(src, dst, PROTO_TCP, l4Len);
  if (fold(sum16(l4, l4Len, pseudo)) == 0xffff) return true;
  if ((flags & RXF_L4_CSUM_PARTIAL) == 0 || load<u16>(l4, TCP_CHECKSUM) != <u16>fold(pseudo)) return false;
  count(CNT_TcpExtCsumPartial);
  return true;
}
