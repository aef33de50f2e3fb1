// What the kernel has said about one interface, and the core kept equal to it.
//
// Routes. The core has one table and one route a prefix. Of the kernel's routes to a prefix (main table, no TOS) the
// one with the lowest metric is installed, the first of equals, if it leaves by our interface; of a multipath route the
// first live hop that does. Routes by other interfaces are left out before metrics are compared, as for a socket bound
// to the device: lunet cannot send by them.
// A route that rejects (unreachable, prohibit, blackhole, throw) competes by its metric too and, if it wins, goes into
// the core with the gateway `::`. That neighbour is never resolved, and the answer to asking for it is neighFail() at
// once (sync.ts), so that a connection to the prefix fails with EHOSTUNREACH and cannot slip out by a shorter prefix.
//
// Sweeps. A dump and the notifications arrive on one socket in the order in which the kernel made them. So both are
// applied as they come, and what neither has mentioned between beginSweep() and endSweep() is gone.

import { ADDRESS_DEPRECATED } from '../core/layout.js';
import { ADDRESS_BYTES, addressKey } from './address.js';
import * as nl from './constants.js';
import type { AddressMessage, LinkMessage, NeighbourMessage, RouteMessage } from './messages.js';

/** The tables of the core, as src/host/core/ gives them. Every function returns 0 or a negative errno. */
export interface CoreTables {
  /** Bytes of the core's memory. */
  readonly u8: Uint8Array;
  /** Address of room for arguments passed by pointer. */
  readonly scratch: number;
  linkConfig(macAt: number, mtuBytes: number, flags: number): number;
  addressAdd(addressAt: number, prefixLength: number): number;
  addressDel(addressAt: number, prefixLength: number): number;
  routeAdd(destinationAt: number, prefixLength: number, gatewayAt: number, mtuBytes: number): number;
  routeDel(destinationAt: number, prefixLength: number, gatewayAt: number): number;
  neighSet(addressAt: number, macAt: number): number;
  neighDel(addressAt: number): number;
  neighFail(addressAt: number): number;
}

export type TableKind = 'address' | 'route' | 'neighbour';

/** Gateway of routes that reject: `::`. */
export const REJECT_GATEWAY: Uint8Array = new Uint8Array(ADDRESS_BYTES);

const MAC_BYTES = 6;
const NUD_VALID = nl.NUD_PERMANENT | nl.NUD_NOARP | nl.NUD_REACHABLE | nl.NUD_PROBE | nl.NUD_STALE | nl.NUD_DELAY;
const REJECTS = new Set([nl.RTN_BLACKHOLE, nl.RTN_UNREACHABLE, nl.RTN_PROHIBIT, nl.RTN_THROW]);

interface Route {
  identity: string;
  metric: number;
  /** null: on the link. */
  gateway: Uint8Array | null;
  mtuBytes: number;
  sweep: number;
}

interface Prefix {
  destination: Uint8Array;
  prefixLength: number;
  /** By metric; equals in the order in which the kernel told of them. */
  routes: Route[];
  installed: Route | null;
}

interface Neighbour {
  address: Uint8Array;
  mac: Uint8Array;
  sweep: number;
}

export interface InterfaceState {
  index: number;
  mac: Uint8Array;
  mtuBytes: number;
  /** Administratively up and with carrier. */
  up: boolean;
}

export interface InterfaceTables {
  readonly state: InterfaceState;
  /** @returns whether the tables must be dumped again. */
  link(message: LinkMessage, removed: boolean): boolean;
  address(message: AddressMessage, removed: boolean): boolean;
  /** @param replaces the kernel put it in the place of another, which it does not tell about. */
  route(message: RouteMessage, removed: boolean, replaces: boolean): boolean;
  neighbour(message: NeighbourMessage, removed: boolean): void;
  /** Tells the core again what is known of a neighbour. @returns false if nothing is. */
  repeatNeighbour(address: Uint8Array): boolean;
  failNeighbour(address: Uint8Array): void;
  beginSweep(kind: TableKind): void;
  endSweep(kind: TableKind): void;
  sizes(): { addresses: number; routes: number; neighbours: number };
}

/** @param refused hears of what the core had no room for. */
export function createTables(
  core: CoreTables,
  index: number,
  refused: (call: string, errno: number) => void,
): InterfaceTables {
  const state: InterfaceState = { index, mac: new Uint8Array(0), mtuBytes: 0, up: false };
  const addresses = new Map<
    string,
    { address: Uint8Array; prefixLength: number; deprecated: boolean; sweep: number }
  >();
  const prefixes = new Map<string, Prefix>();
  const neighbours = new Map<string, Neighbour>();
  const sweeps: Record<TableKind, number> = { address: 0, route: 0, neighbour: 0 };

  const firstAt = core.scratch;
  const secondAt = core.scratch + ADDRESS_BYTES;

  function put(at: number, bytes: Uint8Array): number {
    core.u8.set(bytes, at);
    return at;
  }

  function check(call: string, result: number): boolean {
    if (result < 0) refused(call, -result);
    return result >= 0;
  }

  function removeRoute(prefix: Prefix): void {
    const route = prefix.installed;
    if (route === null) return;
    const gatewayAt = route.gateway === null ? 0 : put(secondAt, route.gateway);
    core.routeDel(put(firstAt, prefix.destination), prefix.prefixLength, gatewayAt);
    prefix.installed = null;
  }

  /** Installs the winner of a prefix, if it is not there already. */
  function settle(key: string, prefix: Prefix): void {
    const winner = prefix.routes.length > 0 ? prefix.routes[0] : null;
    const installed = prefix.installed;
    const unchanged =
      winner !== null &&
      installed !== null &&
      sameGateway(winner.gateway, installed.gateway) &&
      winner.mtuBytes === installed.mtuBytes;
    if (unchanged) {
      prefix.installed = winner;
      return;
    }
    removeRoute(prefix);
    if (winner === null) {
      prefixes.delete(key);
      return;
    }
    const gatewayAt = winner.gateway === null ? 0 : put(secondAt, winner.gateway);
    const result = core.routeAdd(put(firstAt, prefix.destination), prefix.prefixLength, gatewayAt, winner.mtuBytes);
    if (check('routeAdd', result)) prefix.installed = winner;
  }

  /** The route as ours: its gateway, or undefined if it does not leave by our interface. */
  function gatewayFor(message: RouteMessage): Uint8Array | null | undefined {
    if (REJECTS.has(message.type)) return REJECT_GATEWAY;
    if (message.type !== nl.RTN_UNICAST) return undefined;
    const hop = message.hops.find((one) => one.index === index && (one.flags & nl.RTNH_F_DEAD) === 0);
    return hop?.gateway === undefined ? undefined : hop.gateway;
  }

  function route(message: RouteMessage, removed: boolean, replaces: boolean): boolean {
    if (message.table !== nl.RT_TABLE_MAIN || message.tos !== 0) return false;
    if ((message.flags & nl.RTM_F_CLONED) !== 0) return false;
    const key = `${addressKey(message.destination)}/${message.prefixLength}`;
    let prefix = prefixes.get(key);
    const gateway = gatewayFor(message);
    if (replaces && prefix !== undefined) {
      prefix.routes = prefix.routes.filter((one) => one.metric !== message.metric);
    }
    if (gateway !== undefined) {
      const identity = `${message.metric} ${gateway === null ? '' : addressKey(gateway)}`;
      if (prefix === undefined) {
        if (removed) return false;
        prefix = { destination: message.destination, prefixLength: message.prefixLength, routes: [], installed: null };
        prefixes.set(key, prefix);
      }
      const at = prefix.routes.findIndex((one) => one.identity === identity);
      if (removed) {
        if (at >= 0) prefix.routes.splice(at, 1);
      } else {
        const entry = { identity, metric: message.metric, gateway, mtuBytes: message.mtuBytes, sweep: sweeps.route };
        if (at >= 0) {
          prefix.routes[at] = entry;
        } else {
          prefix.routes.push(entry);
          prefix.routes.sort((a, b) => a.metric - b.metric);
        }
      }
    }
    if (prefix !== undefined) settle(key, prefix);
    // Which of several routes of one metric was replaced is the kernel's secret.
    return replaces;
  }

  function addressDel(key: string): void {
    const known = addresses.get(key);
    if (known === undefined) return;
    addresses.delete(key);
    core.addressDel(put(firstAt, known.address), known.prefixLength);
  }

  function address(message: AddressMessage, removed: boolean): boolean {
    if (message.index !== index) return false;
    const key = `${addressKey(message.address)}/${message.prefixLength}`;
    if (removed) {
      addressDel(key);
      // The kernel drops IPv4 routes that depended on the address without a word.
      return true;
    }
    if ((message.flags & (nl.IFA_F_TENTATIVE | nl.IFA_F_DADFAILED)) !== 0) {
      // Detection is repeated when the link comes back.
      addressDel(key);
      return false;
    }
    const deprecated = message.family === nl.AF_INET6 && (message.flags & nl.IFA_F_DEPRECATED) !== 0;
    const known = addresses.get(key);
    if (known?.deprecated === deprecated) {
      known.sweep = sweeps.address;
      return false;
    }
    const lengthAndFlag = message.prefixLength + (deprecated ? ADDRESS_DEPRECATED : 0);
    if (check('addressAdd', core.addressAdd(put(firstAt, message.address), lengthAndFlag))) {
      const { address, prefixLength } = message;
      addresses.set(key, { address, prefixLength, deprecated, sweep: sweeps.address });
    }
    return false;
  }

  function link(message: LinkMessage, removed: boolean): boolean {
    if (message.index !== index) return false;
    if (removed) {
      state.up = false;
      return true;
    }
    const wasUp = state.up;
    state.up = (message.flags & nl.IFF_UP) !== 0 && (message.flags & nl.IFF_LOWER_UP) !== 0;
    const changed = message.mtuBytes !== state.mtuBytes || !sameBytes(message.mac, state.mac);
    if (changed && message.mac.length === MAC_BYTES) {
      state.mac = message.mac;
      state.mtuBytes = message.mtuBytes;
      check('linkConfig', core.linkConfig(put(firstAt, message.mac), message.mtuBytes, 0));
    }
    // Routes by an interface that goes down vanish without notifications, and neighbours are flushed.
    return wasUp !== state.up;
  }

  function neighbourDel(key: string): void {
    const known = neighbours.get(key);
    if (known === undefined) return;
    neighbours.delete(key);
    core.neighDel(put(firstAt, known.address));
  }

  function neighbourSet(known: Neighbour): void {
    check('neighSet', core.neighSet(put(firstAt, known.address), put(secondAt, known.mac)));
  }

  function neighbour(message: NeighbourMessage, removed: boolean): void {
    if (message.index !== index || (message.flags & nl.NTF_PROXY) !== 0 || message.type !== nl.RTN_UNICAST) return;
    const key = addressKey(message.address);
    // A failed entry is also told about when it is swept away: then it is only forgotten.
    if (!removed && (message.state & nl.NUD_FAILED) !== 0) {
      failNeighbour(message.address);
      return;
    }
    if (removed) {
      neighbourDel(key);
      return;
    }
    if ((message.state & NUD_VALID) === 0 || message.mac === null || message.mac.length !== MAC_BYTES) return;
    const known = neighbours.get(key);
    const entry = { address: message.address, mac: message.mac, sweep: sweeps.neighbour };
    neighbours.set(key, entry);
    if (known === undefined || !sameBytes(known.mac, message.mac)) neighbourSet(entry);
  }

  function failNeighbour(failed: Uint8Array): void {
    neighbours.delete(addressKey(failed));
    core.neighFail(put(firstAt, failed));
  }

  function endSweep(kind: TableKind): void {
    const current = sweeps[kind];
    if (kind === 'address') {
      for (const [key, known] of addresses) if (known.sweep !== current) addressDel(key);
    } else if (kind === 'neighbour') {
      for (const [key, known] of neighbours) if (known.sweep !== current) neighbourDel(key);
    } else {
      for (const [key, prefix] of prefixes) {
        prefix.routes = prefix.routes.filter((one) => one.sweep === current);
        settle(key, prefix);
      }
    }
  }

  return {
    state,
    link,
    address,
    route,
    neighbour,
    repeatNeighbour(wanted) {
      const known = neighbours.get(addressKey(wanted));
      if (known === undefined) return false;
      neighbourSet(known);
      return true;
    },
    failNeighbour,
    beginSweep(kind) {
      sweeps[kind]++;
    },
    endSweep,
    sizes: () => ({ addresses: addresses.size, routes: prefixes.size, neighbours: neighbours.size }),
  };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function sameGateway(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  return sameBytes(a, b);
}
