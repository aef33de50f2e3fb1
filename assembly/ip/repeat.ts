// Segments that come one behind the other on one connection: the addresses, ports and fixed fields of a frame are those
// of the last one that the fast path has taken, and need not be looked at again one by one. What may differ is checked
// here as in input.ts: lengths, both checksums. Anything unusual is left to frameInput(), which counts it.
//
// Ethernet and IPv4 (no options) in front of TCP, by the words that are compared:
//
//   0             8              16        18         20      22         24       26             34      38
//   ├ MAC, MAC ·· ┼ ·· type 4 5 tos ┼ total ┼ identification ┼ DF ┼ ttl, proto ┼ checksum ┼ addresses ┼ ports ┤
//     compared      compared        checked   free        compared  compared  checked    compared    compared

import { CNT_IpInDelivers, CNT_IpInReceives, CNT_TcpInSegs } from '../abi/counters';
import { CFGF_NO_GRO, CFGF_RX_TRUST, CFG_FLAGS, RXF_IP_CSUM_OK, RXF_L4_CSUM_OK, TCP_ESTABLISHED } from '../abi/layout';
import { count } from '../abi/runtime';
import { fastPath } from '../tcp/fastpath';
import { flowRecent } from '../tcp/flow';
import { groNext } from '../tcp/gro';
import { tcbAt } from '../tcp/tcb';
import { fold, pseudo4, sum16 } from '../wire/checksum';
import { ETH_HEADER } from '../wire/ethernet';
import { IPV4_HEADER, PROTO_TCP, ipv4DstRaw, ipv4SrcRaw, ipv4Sum, ipv4Tos, ipv4Total } from '../wire/ipv4';
import { TCP_HEADER, tcpFits } from '../wire/tcp';
import { setIpEcn } from './arrival';
import { generation } from './interface';

@inline const AT_L4: u32 = ETH_HEADER + IPV4_HEADER;
/** Version and header length of a packet without options, in the word at 8, and DF alone or nothing at 20. */
@inline const NO_OPTIONS: u8 = 0x45;

let tcb: u32 = 0;
/** Its handle: another connection may have come into its slot. */
let handle: u32 = 0;
let current: u32 = 0;
let word0: u64 = 0;
let word8: u64 = 0;
let fragment: u32 = 0;
let addresses: u64 = 0;
let ports: u32 = 0;

/** The fast path has taken the segment of the packet at `ip`, for the connection at `at`. */
export function repeatRemember(ip: u32, at: u32): void {
  if (load<u8>(ip) != NO_OPTIONS) return;
  const p = ip - ETH_HEADER;
  tcb = at;
  handle = tcbAt(at).handle;
  current = generation;
  word0 = load<u64>(p);
  word8 = load<u64>(p, 8);
  fragment = load<u32>(p, 20);
  addresses = load<u64>(p, 26);
  ports = load<u32>(p, 34);
}

/** Takes the frame of `len` bytes at `p` if it is as the last one. False leaves everything untouched. */
export function repeatInput(p: u32, len: u32, flags: u32): bool {
  if (
    tcb == 0 ||
    tcb != flowRecent() ||
    current != generation ||
    len < AT_L4 + TCP_HEADER ||
    load<u64>(p) != word0 ||
    load<u64>(p, 8) != word8 ||
    load<u32>(p, 20) != fragment ||
    load<u64>(p, 26) != addresses ||
    load<u32>(p, 34) != ports
  )
    return false;
  const config = load<u32>(CFG_FLAGS);
  const ip = p + ETH_HEADER;
  const total = ipv4Total(ip);
  if (total > len - ETH_HEADER || total < IPV4_HEADER + TCP_HEADER || config & CFGF_NO_GRO) return false;
  const l4Len = total - IPV4_HEADER;
  if (!tcpFits(p + AT_L4, l4Len)) return false;
  if (!(config & CFGF_RX_TRUST)) {
    if (!(flags & RXF_IP_CSUM_OK) && ipv4Sum(ip) != 0xffff) return false;
    const pseudo = pseudo4(ipv4SrcRaw(ip), ipv4DstRaw(ip), PROTO_TCP, l4Len);
    if (!(flags & RXF_L4_CSUM_OK) && fold(sum16(p + AT_L4, l4Len, pseudo)) != 0xffff) return false;
  }
  const t = tcbAt(tcb);
  if (t.handle != handle || t.state != TCP_ESTABLISHED) return false;
  setIpEcn(ipv4Tos(ip));
  groNext(tcb);
  if (!fastPath(t, p + AT_L4, l4Len)) return false;
  count(CNT_IpInReceives);
  count(CNT_IpInDelivers);
  count(CNT_TcpInSegs);
  return true;
}
