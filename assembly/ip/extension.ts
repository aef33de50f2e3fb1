// IPv6 extension headers (RFC 8200 §4): walked in a bounded number of steps, options by the two high bits of their
// type (§4.2). Results in the globals below.

import { NEXT_DESTINATION, NEXT_FRAGMENT, NEXT_HOP_BY_HOP, NEXT_ROUTING } from '../wire/ipv6';
import { ICMPV6_BAD_HEADER, ICMPV6_UNKNOWN_OPTION } from '../wire/icmpv6';

/** More headers than any sender has use for are an attack (RFC 9098 §6). */
const HEADERS_MAX: u32 = 8;
const OPTION_PAD1: u32 = 0;

/** Protocol of the upper layer and where it begins, or NEXT_FRAGMENT and where that header is. */
export let extNext: u32 = 0;
export let extAt: u32 = 0;
/** Why the packet is refused: code and pointer of a parameter problem. No answer with `extAnswer` false. */
export let extCode: u32 = 0;
export let extPointer: u32 = 0;
export let extAnswer: bool = false;
/** The packet, or the fragment, ends before its headers do. */
export let extCut: bool = false;

function refuse(answer: bool, code: u32, at: u32): bool {
  extAnswer = answer;
  extCode = code;
  extPointer = at;
  return false;
}

function cut(): bool {
  extCut = true;
  return refuse(false, 0, 0);
}

/** Options of [at, end). False when one of them forbids to go on. */
function optionsFine(at: u32, end: u32, multicast: bool): bool {
  while (at < end) {
    const type: u32 = load<u8>(at);
    if (type == OPTION_PAD1) {
      at++;
      continue;
    }
    if (at + 1 >= end || at + 2 + <u32>load<u8>(at, 1) > end) return refuse(false, 0, 0);
    const action = type >> 6;
    // PadN and all else with action 00 are skipped.
    if (action == 1) return refuse(false, 0, 0);
    if (action != 0) return refuse(action == 2 || !multicast, ICMPV6_UNKNOWN_OPTION, at);
    at += 2 + <u32>load<u8>(at, 1);
  }
  return true;
}

/**
 * Walks from header `next` at `at` to the upper layer or a fragment header. False when the packet is not to be
 * processed. `multicast`: it was sent to a group; `first`: `at` follows the fixed header, where hop-by-hop may be.
 */
export function extensionsWalk(next: u32, at: u32, end: u32, multicast: bool, first: bool): bool {
  extCut = false;
  for (let i: u32 = 0; i <= HEADERS_MAX; i++) {
    if (next != NEXT_HOP_BY_HOP && next != NEXT_DESTINATION && next != NEXT_ROUTING) {
      if (next == NEXT_FRAGMENT && at + 8 > end) return cut();
      extNext = next;
      extAt = at;
      return true;
    }
    // §4.1: only directly behind the fixed header.
    if (next == NEXT_HOP_BY_HOP && (i != 0 || !first)) return refuse(false, 0, 0);
    if (at + 8 > end) return cut();
    const bytes = (<u32>load<u8>(at, 1) + 1) << 3;
    if (at + bytes > end) return cut();
    if (next == NEXT_ROUTING) {
      // §4.4: a host forwards nothing. With segments left it does not know what to do; type 0 is dead (RFC 5095).
      if (load<u8>(at, 3) != 0) return refuse(!multicast, ICMPV6_BAD_HEADER, at + 2);
    } else if (!optionsFine(at + 2, at + bytes, multicast)) return false;
    next = load<u8>(at);
    at += bytes;
  }
  return refuse(false, 0, 0);
}
