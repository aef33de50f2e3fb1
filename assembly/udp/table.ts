// Which socket a datagram is for. Every bound socket is in the chain of its local port, a connected one also in that of
// its 4-tuple; both kinds of chain begin in tables of at least twice as many entries as there may be sockets.

import { arenaAlloc } from '../abi/arena';
import { CFG_PORT_HI, CFG_PORT_LO, CFG_UDP_SOCKETS } from '../abi/layout';
import { rand32 } from '../abi/random';
import { isMapped } from '../wire/ipv4';
import { flowHash } from '../tcp/flow';
import { isAnyAddress } from '../tcp/listen';
import {
  UF_ANY_V4,
  UF_REUSE,
  UF_V6ONLY,
  UdpSocket,
  isConnected,
  udpAddress,
  udpAddresses,
  udpAt,
  udpPort,
} from './socket';

let byPort: u32 = 0;
let byFlow: u32 = 0;
let mask: u32 = 0;

function capacity(): u32 {
  return 1 << (32 - clz(max<u32>(load<u32>(CFG_UDP_SOCKETS) * 2, 16) - 1));
}

export function udpTableNeeded(): u32 {
  return 2 * (capacity() * 4 + 64);
}

export function udpTableInit(): bool {
  const entries = capacity();
  mask = entries - 1;
  byPort = arenaAlloc(entries * 4, 64);
  byFlow = arenaAlloc(entries * 4, 64);
  return byPort != 0 && byFlow != 0;
}

@inline
function portChain(port: u32): u32 {
  return byPort + (port & mask) * 4;
}

@inline
function flowChain(addresses: u32, ports: u32): u32 {
  return byFlow + (flowHash(addresses, ports) & mask) * 4;
}

/** What the chain of a port begins with. */
@inline
export function udpFirst(port: u32): u32 {
  return load<u32>(portChain(port));
}

@inline
function sameAddress(a: u32, high: u64, low: u64): bool {
  return load<u64>(a, 8) == low && load<u64>(a) == high;
}

/** The connected socket with this 4-tuple, or 0. `ports`: local | remote << 16. */
export function udpFlowFind(addresses: u32, ports: u32): u32 {
  for (let at = load<u32>(flowChain(addresses, ports)); at; at = udpAt(at).flowNext) {
    const s = udpAt(at);
    if (
      s.ports == ports &&
      sameAddress(addresses, s.local0, s.local1) &&
      sameAddress(addresses + 16, s.remote0, s.remote1)
    ) {
      return at;
    }
  }
  return 0;
}

/** Whether a socket that is bound to any address takes what is sent to an address of this family. */
@inline
export function udpTakesFamily(s: UdpSocket, v4: bool): bool {
  return s.flags & UF_ANY_V4 ? v4 : !v4 || (s.flags & UF_V6ONLY) == 0;
}

/**
 * The socket that a datagram from elsewhere belongs to, 0 when there is none: the one that is connected to the sender,
 * else one that is bound to the address, else one that is bound to any, of its family before ::. Of several that share an
 * address, the one bound last.
 */
export function udpFind(addresses: u32, ports: u32): u32 {
  const connected = udpFlowFind(addresses, ports);
  if (connected) return connected;
  const port = ports & 0xffff;
  const v4 = isMapped(addresses);
  let any: u32 = 0;
  let anyOfFamily: u32 = 0;
  for (let at = udpFirst(port); at; at = udpAt(at).portNext) {
    const s = udpAt(at);
    if (s.ports != port) continue;
    if (sameAddress(addresses, s.local0, s.local1)) return at;
    if (!isAnyAddress(s.local0, s.local1) || !udpTakesFamily(s, v4)) continue;
    if (any == 0) any = at;
    if (anyOfFamily == 0 && v4 && s.flags & UF_ANY_V4) anyOfFamily = at;
  }
  return anyOfFamily ? anyOfFamily : any;
}

/** Whether two sockets on one port would get the same datagrams, as Linux sees it: any address overlaps with every other. */
function overlaps(s: UdpSocket, high: u64, low: u64, v6Only: bool): bool {
  if (s.local0 == high && s.local1 == low) return true;
  const any = isAnyAddress(high, low);
  const otherAny = isAnyAddress(s.local0, s.local1);
  if (!any && !otherAny) return false;
  const v4 = high == 0 && <u32>low == 0xffff0000;
  const otherV4 = s.local0 == 0 && <u32>s.local1 == 0xffff0000;
  if (v4 == otherV4) return true;
  // One of them is IPv4: the other must be :: and take IPv4 too.
  return v4 ? otherAny && (s.flags & UF_V6ONLY) == 0 : any && !v6Only;
}

/** Whether a socket on this address and port would take what another one has. Two that both share do not. */
export function udpTaken(high: u64, low: u64, port: u32, v6Only: bool, reuse: bool): bool {
  for (let at = udpFirst(port); at; at = udpAt(at).portNext) {
    const s = udpAt(at);
    if (udpPort(s) != port || (reuse && s.flags & UF_REUSE)) continue;
    if (overlaps(s, high, low, v6Only)) return true;
  }
  return false;
}

/** A free port in [CFG_PORT_LO, CFG_PORT_HI], 0 when there is none: RFC 6056 §3.3.1, algorithm 1. */
export function udpPortChoose(high: u64, low: u64, v6Only: bool): u32 {
  const first = load<u32>(CFG_PORT_LO);
  const span = load<u32>(CFG_PORT_HI) - first + 1;
  const offset = rand32() % span;
  for (let tried: u32 = 0; tried < span; tried++) {
    const port = first + ((offset + tried) % span);
    if (!udpTaken(high, low, port, v6Only, false)) return port;
  }
  return 0;
}

/** Puts a bound socket into the chain of its port. */
export function udpPortInsert(s: UdpSocket): void {
  const chain = portChain(udpPort(s));
  s.portNext = load<u32>(chain);
  store<u32>(chain, udpAddress(s));
}

/** Puts a connected socket into the chain of its 4-tuple. */
export function udpFlowInsert(s: UdpSocket): void {
  const chain = flowChain(udpAddresses(s), s.ports);
  s.flowNext = load<u32>(chain);
  store<u32>(chain, udpAddress(s));
}

function unlink(chain: u32, own: u32, next: u32): void {
  while (load<u32>(chain) != own) chain = load<u32>(chain) + next;
  store<u32>(chain, load<u32>(own + next));
}

/** Takes a socket out of the chain of its 4-tuple, if it is connected. */
export function udpFlowRemove(s: UdpSocket): void {
  if (!isConnected(s)) return;
  unlink(flowChain(udpAddresses(s), s.ports), udpAddress(s), <u32>offsetof<UdpSocket>('flowNext'));
}

/** Takes a socket out of the chain of its port, if it is bound. */
export function udpPortRemove(s: UdpSocket): void {
  if (s.ports == 0) return;
  unlink(portChain(udpPort(s)), udpAddress(s), <u32>offsetof<UdpSocket>('portNext'));
}
