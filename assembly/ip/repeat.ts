// Segments that come one behind the other on one connection: the addresses, ports and fixed fields of a frame are those
// of one that the fast path has taken before, and need not be looked at again one by one. What may differ is checked
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

// What is remembered of a connection, by the ports of the frame:
//
//   0     4        8            12         16              32          40      44  64
//   ├ tcb ┼ handle ┼ generation ┼ fragment ┼ bytes 0 … 15 ─┼ addresses ┼ ports ┼ ── ┤
//
// handle: another connection may have come into the slot.
@inline const HANDLE: usize = 4;
@inline const GENERATION: usize = 8;
@inline const FRAGMENT: usize = 12;
@inline const WORD0: usize = 16;
@inline const WORD8: usize = 24;
@inline const ADDRESSES: usize = 32;
@inline const PORTS: usize = 40;
@inline const MEMORY_SHIFT: u32 = 6;
/** As many connections may take turns in a burst, or in the two directions of a loopback. */
@inline const REMEMBERED_BITS: u32 = 4;

const memories: u32 = <u32>memory.data(1024, 64);

/** Where a frame with these ports is remembered, if it is. */
@inline
function memoryFor(ports: u32): u32 {
  // The upper bits of a product are of all bits, and the two directions of a connection do not meet.
  return memories + (((ports * 0x9e3779b1) >>> (32 - REMEMBERED_BITS)) << MEMORY_SHIFT);
}

/** The packet at `ip` is one of the connection at `at`, which is in ESTABLISHED: others like it are recognised. */
export function repeatRemember(ip: u32, at: u32): void {
  if (load<u8>(ip) != NO_OPTIONS) return;
  const p = ip - ETH_HEADER;
  const ports = load<u32>(p, 34);
  const m = memoryFor(ports);
  store<u32>(m, at);
  store<u32>(m, tcbAt(at).handle, HANDLE);
  store<u32>(m, generation, GENERATION);
  store<u32>(m, load<u32>(p, 20), FRAGMENT);
  store<u64>(m, load<u64>(p), WORD0);
  store<u64>(m, load<u64>(p, 8), WORD8);
  store<u64>(m, load<u64>(p, 26), ADDRESSES);
  store<u32>(m, ports, PORTS);
}

/** Whether a frame with these ports, as they lie in memory, is remembered. */
@inline
export function repeatKnown(ports: u32): bool {
  return load<u32>(memoryFor(ports), PORTS) == ports;
}

/** Takes the frame of `len` bytes at `p` if it is as one that is remembered. False leaves everything untouched. */
@inline
export function repeatInput(p: u32, len: u32, flags: u32): bool {
  if (len < AT_L4 + TCP_HEADER) return false;
  const m = memoryFor(load<u32>(p, 34));
  const tcb = load<u32>(m);
  if (
    tcb == 0 ||
    load<u32>(m, GENERATION) != generation ||
    load<u64>(p) != load<u64>(m, WORD0) ||
    load<u64>(p, 8) != load<u64>(m, WORD8) ||
    load<u32>(p, 20) != load<u32>(m, FRAGMENT) ||
    load<u64>(p, 26) != load<u64>(m, ADDRESSES) ||
    load<u32>(p, 34) != load<u32>(m, PORTS)
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
  if (t.handle != load<u32>(m, HANDLE) || t.state != TCP_ESTABLISHED) return false;
  setIpEcn(ipv4Tos(ip));
  groNext(tcb);
  if (!fastPath(t, p + AT_L4, l4Len)) return false;
  count(CNT_IpInReceives);
  count(CNT_IpInDelivers);
  count(CNT_TcpInSegs);
  return true;
}
