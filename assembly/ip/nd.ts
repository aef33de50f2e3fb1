// Neighbour discovery (RFC 4861) on links without a kernel behind them (CFGF_ARP, as ARP): solicitations and
// advertisements. Routers, redirects and duplicate address detection are not ours: routes and addresses come from
// the host.

import {
  CNT_Icmp6InErrors,
  CNT_Icmp6InNeighborAdvertisements,
  CNT_Icmp6InNeighborSolicits,
  CNT_Icmp6OutNeighborAdvertisements,
  CNT_Icmp6OutNeighborSolicits,
} from '../abi/counters';
import { CFG_FLAGS, CFGF_ARP } from '../abi/layout';
import { count } from '../abi/runtime';
import { macIsGroup, macLoad, macStore } from '../wire/ethernet';
import {
  ICMPV6_DATA,
  ICMPV6_NEIGHBOUR_ADVERT,
  ICMPV6_NEIGHBOUR_SOLICIT,
  NA_OVERRIDE,
  NA_SOLICITED,
  ND_BYTES,
  ND_LINK_BYTES,
  ND_SOURCE_LINK,
  ND_TARGET_LINK,
  icmpv6Code,
  setIcmpv6,
} from '../wire/icmpv6';
import {
  NEXT_ICMPV6,
  ipv6GroupMac,
  ipv6HopLimit,
  ipv6IsMulticast,
  ipv6IsUnspecified,
  setSolicitedNode,
} from '../wire/ipv6';
import { isOurs, ourMac } from './interface';
import { neighbourKnows, neighbourLearn } from './neighbour';
import { frameBegin, frameL4, ipOutputTo } from './output';

/** RFC 4861 §4.3: a packet with another hop limit has passed a router and does not count. */
const HOP_LIMIT: u32 = 255;

/** Local address, remote address of what is being sent. */
const ADDRS: u32 = <u32>memory.data(32, 16);

/** Sends a message with a link-layer address option. `mac`: where to. ADDRS is set. */
function send(type: u32, word: u32, target: u32, option: u32, mac: u64): bool {
  const f = frameBegin(0);
  if (f == 0) return false;
  const p = frameL4(f);
  setIcmpv6(p, type, 0, word);
  memory.copy(p + ICMPV6_DATA, target, 16);
  store<u16>(p + ND_BYTES, <u16>(option | ((ND_LINK_BYTES >> 3) << 8)));
  macStore(p + ND_BYTES + 2, ourMac);
  ipOutputTo(mac, ADDRS, NEXT_ICMPV6, ND_BYTES + ND_LINK_BYTES, HOP_LIMIT << 8);
  return true;
}

/** Asks who has `target`, from our address at `source`: the group of its nodes, or with `mac` (not 0) that node alone. */
export function ndSolicit(source: u32, target: u32, mac: u64): void {
  memory.copy(ADDRS, source, 16);
  if (mac != 0) memory.copy(ADDRS + 16, target, 16);
  else {
    setSolicitedNode(ADDRS + 16, target);
    mac = ipv6GroupMac(ADDRS + 16);
  }
  if (send(ICMPV6_NEIGHBOUR_SOLICIT, 0, target, ND_SOURCE_LINK, mac)) count(CNT_Icmp6OutNeighborSolicits);
}

// Result of options(): the link-layer address of the wanted kind, 0 when it is not there.
let linkAddress: u64 = 0;

/** Looks for an option among [at, end). False when they are malformed (§6.1: a length of 0). */
function options(at: u32, end: u32, kind: u32): bool {
  linkAddress = 0;
  while (at < end) {
    if (at + 2 > end) return false;
    const bytes = (<u32>load<u8>(at, 1)) << 3;
    if (bytes == 0 || at + bytes > end) return false;
    if (<u32>load<u8>(at) == kind && bytes == ND_LINK_BYTES) linkAddress = macLoad(at + 2);
    at += bytes;
  }
  return true;
}

/** The checks that both messages share (§7.1.1, §7.1.2). */
function fine(ip: u32, p: u32, len: u32, kind: u32): bool {
  if (ipv6HopLimit(ip) == HOP_LIMIT && icmpv6Code(p) == 0 && len >= ND_BYTES) {
    if (!ipv6IsMulticast(p + ICMPV6_DATA) && options(p + ND_BYTES, p + len, kind)) {
      if (linkAddress == 0 || !macIsGroup(linkAddress)) return true;
    }
  }
  count(CNT_Icmp6InErrors);
  return false;
}

/** A solicitation has arrived; `addrs`: what it was sent to, and from where. */
export function ndSolicited(ip: u32, p: u32, len: u32, addrs: u32, multicast: bool): void {
  count(CNT_Icmp6InNeighborSolicits);
  if ((load<u32>(CFG_FLAGS) & CFGF_ARP) == 0 || !fine(ip, p, len, ND_SOURCE_LINK)) return;
  const target = p + ICMPV6_DATA;
  const remote = addrs + 16;
  const probe = ipv6IsUnspecified(remote);
  // §7.1.1: whoever looks for duplicates has no address yet, asks the group, and gives no link-layer address.
  if (probe && (!multicast || linkAddress != 0)) {
    count(CNT_Icmp6InErrors);
    return;
  }
  if (!isOurs(target)) return;
  memory.copy(ADDRS, target, 16);
  if (probe) {
    // §7.2.4: all nodes shall know.
    store<u64>(ADDRS + 16, 0x02ff);
    store<u64>(ADDRS + 16, 0x0100000000000000, 8);
    advertise(target, NA_OVERRIDE, ipv6GroupMac(ADDRS + 16));
    return;
  }
  if (linkAddress != 0) neighbourLearn(remote, linkAddress, true);
  const mac = linkAddress != 0 ? linkAddress : neighbourKnows(remote);
  // Without an address to answer to the asker has to ask again, with its own.
  if (mac == 0) return;
  memory.copy(ADDRS + 16, remote, 16);
  advertise(target, NA_OVERRIDE | NA_SOLICITED, mac);
}

function advertise(target: u32, flags: u32, mac: u64): void {
  if (send(ICMPV6_NEIGHBOUR_ADVERT, flags << 24, target, ND_TARGET_LINK, mac))
    count(CNT_Icmp6OutNeighborAdvertisements);
}

/** An advertisement has arrived (§7.2.5). */
export function ndAdvert(ip: u32, p: u32, len: u32, multicast: bool): void {
  count(CNT_Icmp6InNeighborAdvertisements);
  if ((load<u32>(CFG_FLAGS) & CFGF_ARP) == 0 || !fine(ip, p, len, ND_TARGET_LINK)) return;
  const flags: u32 = load<u8>(p, 4);
  const target = p + ICMPV6_DATA;
  // §7.1.2: nobody solicits in a group's name. And an address of ours is not another's to give away.
  if ((multicast && flags & NA_SOLICITED) || isOurs(target)) {
    count(CNT_Icmp6InErrors);
    return;
  }
  const known = neighbourKnows(target);
  const mac = linkAddress != 0 ? linkAddress : known;
  if (mac == 0) return;
  // Without the override flag another address than the known one is not taken.
  if (known != 0 && mac != known && (flags & NA_OVERRIDE) == 0) return;
  // Unsolicited and unchanged, it says nothing about whether we can reach it.
  if ((flags & NA_SOLICITED) == 0 && mac == known) return;
  neighbourLearn(target, mac, false);
}
