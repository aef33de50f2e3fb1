// ARP, RFC 826, for links without a kernel behind them (CFGF_ARP).

import {
  CNT_ArpInErrors,
  CNT_ArpInReplies,
  CNT_ArpInRequests,
  CNT_ArpOutReplies,
  CNT_ArpOutRequests,
} from '../abi/counters';
import { CFG_FLAGS, CFGF_ARP } from '../abi/layout';
import { count } from '../abi/runtime';
import {
  ARP_BYTES,
  ARP_REPLY,
  ARP_REQUEST,
  arpFits,
  arpOp,
  arpSenderIpRaw,
  arpSenderMac,
  arpTargetIpRaw,
  setArp,
} from '../wire/arp';
import { ETH_HEADER, ETHERTYPE_ARP_RAW, macIsGroup } from '../wire/ethernet';
import { ipv4IsMartian, mappedStore } from '../wire/ipv4';
import { isBroadcastRaw, isOursRaw, ourMac } from './interface';
import { neighbourLearn } from './neighbour';
import { frameBegin, frameL3, framePublish } from './output';

/** The sender's address as the neighbour table wants it. */
const SENDER: u32 = <u32>memory.data(16, 16);

function send(op: u32, to: u64, senderRaw: u32, targetMac: u64, targetRaw: u32): bool {
  const f = frameBegin(0);
  if (f == 0) return false;
  setArp(frameL3(f), op, ourMac, senderRaw, targetMac, targetRaw);
  framePublish(to, ETHERTYPE_ARP_RAW, ETH_HEADER + ARP_BYTES, 0, 1, 0);
  return true;
}

/** Asks `to` (a MAC, or broadcast) who has `targetRaw`. */
export function arpRequest(senderRaw: u32, targetRaw: u32, to: u64): void {
  if (send(ARP_REQUEST, to, senderRaw, 0, targetRaw)) count(CNT_ArpOutRequests);
}

/** Packet reception, RFC 826. */
export function arpInput(p: u32, len: u32): void {
  if (!arpFits(p, len)) {
    count(CNT_ArpInErrors);
    return;
  }
  const op = arpOp(p);
  if (op == ARP_REQUEST) count(CNT_ArpInRequests);
  else if (op == ARP_REPLY) count(CNT_ArpInReplies);
  else {
    count(CNT_ArpInErrors);
    return;
  }
  if ((load<u32>(CFG_FLAGS) & CFGF_ARP) == 0) return;
  const mac = arpSenderMac(p);
  const sender = arpSenderIpRaw(p);
  const target = arpTargetIpRaw(p);
  // A sender address of zero is a probe (RFC 5227 §2.1.1): it is answered, and nothing is learnt from it.
  if (
    mac == 0 ||
    mac == ourMac ||
    macIsGroup(mac) ||
    isOursRaw(sender) ||
    isBroadcastRaw(sender) ||
    (ipv4IsMartian(sender) && sender != 0)
  ) {
    count(CNT_ArpInErrors);
    return;
  }
  const forUs = isOursRaw(target);
  if (sender != 0) {
    mappedStore(SENDER, sender);
    // An entry that is there is always updated; one is made only for who wants to talk to us.
    neighbourLearn(SENDER, mac, forUs && op == ARP_REQUEST);
  }
  if (forUs && op == ARP_REQUEST && send(ARP_REPLY, mac, target, mac, sender)) count(CNT_ArpOutReplies);
}
