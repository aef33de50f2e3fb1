// Keeps the core's link, addresses, routes and neighbours equal to the kernel's for one interface: a dump, then
// notifications, and a dump again whenever something may have been missed. Neighbours that the core lacks are resolved
// by the kernel, which sends the ARP requests and sees the answers.

import { isMapped } from './address.js';
import * as nl from './constants.js';
import { netlinkError } from './errors.js';
import { dumpAddresses, type InterfaceInfo, queryInterface } from './interface.js';
import {
  LINK_HEADER_BYTES,
  type NetlinkMessage,
  neighbourHeader,
  parseAddress,
  parseLink,
  parseNeighbour,
  parseRoute,
  routeHeader,
  textValue,
  u32Value,
} from './messages.js';
import { type NetlinkAddon, type NetlinkSocket, onlyAnswer, openNetlinkSocket } from './socket.js';
import { type CoreTables, createTables, type InterfaceTables, REJECT_GATEWAY } from './tables.js';

export interface NetlinkSyncOptions {
  addon: NetlinkAddon;
  /** Which address families to follow. */
  families?: readonly ('IPv4' | 'IPv6')[];
  /** Called after notifications or a dump may have changed the core: packets may wait to be sent. */
  changed?: () => void;
  /** The interface went up or down, or away. */
  linkState?: (up: boolean) => void;
  /** Something could not be followed: the core had no room, a message made no sense, a dump failed. */
  warning?: (error: Error) => void;
}

export interface NetlinkSync {
  /** The interface at the start. */
  readonly info: InterfaceInfo;
  readonly up: boolean;
  /** How often everything was dumped, the first time included. */
  readonly dumps: number;
  sizes(): { addresses: number; routes: number; neighbours: number };
  /**
   * Answers EV_NEIGH: asks the kernel to resolve a 16-byte address. The answer comes as neighSet() or neighFail().
   * The array may be a view of memory that changes afterwards.
   */
  resolve(address: Uint8Array): void;
  /** Resolves when everything has been dumped again. */
  resync(): Promise<void>;
  ref(): void;
  unref(): void;
  close(): void;
}

const RESOLUTIONS_AT_ONCE = 1024;
/** After a dump that failed. */
const RETRY_MS = 1000;

/**
 * Resolves after the first dump.
 * @throws ENODEV when the interface does not exist.
 */
export async function openNetlinkSync(
  core: CoreTables,
  ifname: string,
  options: NetlinkSyncOptions,
): Promise<NetlinkSync> {
  const families: readonly number[] = (options.families ?? ['IPv4']).map((family) =>
    family === 'IPv4' ? nl.AF_INET : nl.AF_INET6,
  );
  let groups = nl.RTMGRP_LINK | nl.RTMGRP_NEIGH;
  if (families.includes(nl.AF_INET)) groups |= nl.RTMGRP_IPV4_IFADDR | nl.RTMGRP_IPV4_ROUTE;
  if (families.includes(nl.AF_INET6)) groups |= nl.RTMGRP_IPV6_IFADDR | nl.RTMGRP_IPV6_ROUTE;

  let tables: InterfaceTables | null = null;
  let closed = false;
  let dumps = 0;
  let resolving = 0;
  let dirty = false;
  let running: Promise<void> | null = null;
  let retry: NodeJS.Timeout | null = null;

  const warn = (error: Error): void => options.warning?.(error);
  const socket: NetlinkSocket = openNetlinkSocket(options.addon, groups, {
    notify: onNotification,
    overrun: requestResync,
    malformed: warn,
  });

  function onNotification(message: NetlinkMessage): void {
    // Before the first dump nothing is lost by not listening.
    if (tables === null) return;
    const wasUp = tables.state.up;
    if (apply(tables, message)) requestResync();
    if (tables.state.up !== wasUp) options.linkState?.(tables.state.up);
    options.changed?.();
  }

  /** @returns whether a dump is wanted. */
  function apply(to: InterfaceTables, message: NetlinkMessage): boolean {
    const { type, body } = message;
    switch (type) {
      case nl.RTM_NEWLINK:
      case nl.RTM_DELLINK:
        // Bridges tell about their ports with messages of their own family and the same types.
        return body[0] === nl.AF_UNSPEC && to.link(parseLink(body), type === nl.RTM_DELLINK);
      case nl.RTM_NEWADDR:
      case nl.RTM_DELADDR: {
        const address = parseAddress(body);
        return address !== null && families.includes(address.family) && to.address(address, type === nl.RTM_DELADDR);
      }
      case nl.RTM_NEWROUTE:
      case nl.RTM_DELROUTE: {
        const route = parseRoute(body);
        if (route === null || !families.includes(route.family)) return false;
        const replaces = type === nl.RTM_NEWROUTE && (message.flags & nl.NLM_F_REPLACE) !== 0;
        return to.route(route, type === nl.RTM_DELROUTE, replaces);
      }
      case nl.RTM_NEWNEIGH:
      case nl.RTM_DELNEIGH: {
        const neighbour = parseNeighbour(body);
        if (neighbour !== null && families.includes(neighbour.family)) {
          to.neighbour(neighbour, type === nl.RTM_DELNEIGH);
        }
        return false;
      }
      default:
        return false;
    }
  }

  async function dumpLink(to: InterfaceTables): Promise<void> {
    const what = `look-up of interface "${ifname}"`;
    const answers = await socket.request({
      what,
      type: nl.RTM_GETLINK,
      fixed: new Uint8Array(LINK_HEADER_BYTES),
      attributes: [{ type: nl.IFLA_IFNAME, value: textValue(ifname) }],
    });
    to.link(parseLink(onlyAnswer(answers, what).body), false);
  }

  async function dumpAll(to: InterfaceTables, index: number): Promise<void> {
    await dumpLink(to);
    to.beginSweep('address');
    for (const family of families) {
      await dumpAddresses(
        socket,
        family,
        index,
        (address) => to.address(address, false),
        () => to.beginSweep('address'),
      );
    }
    to.endSweep('address');

    // The core must know a gateway's or peer's MAC before it routes to it, or it would ask for what is on its way.
    to.beginSweep('neighbour');
    await socket.dump(
      {
        what: 'dump of neighbours',
        type: nl.RTM_GETNEIGH,
        fixed: neighbourHeader(nl.AF_UNSPEC, 0, nl.NUD_NONE, 0),
        attributes: [{ type: nl.NDA_IFINDEX, value: u32Value(index) }],
      },
      (message) => {
        const neighbour = parseNeighbour(message.body);
        if (neighbour !== null && families.includes(neighbour.family)) to.neighbour(neighbour, false);
      },
    );
    to.endSweep('neighbour');

    to.beginSweep('route');
    for (const family of families) await dumpRoutes(to, family);
    to.endSweep('route');
    dumps++;
    options.changed?.();
  }

  async function dumpRoutes(to: InterfaceTables, family: number): Promise<void> {
    try {
      await socket.dump(
        {
          what: 'dump of routes',
          type: nl.RTM_GETROUTE,
          fixed: routeHeader(family, nl.RT_TABLE_MAIN),
          attributes: [{ type: nl.RTA_TABLE, value: u32Value(nl.RT_TABLE_MAIN) }],
        },
        (message) => {
          const route = parseRoute(message.body);
          if (route !== null) to.route(route, false, false);
        },
      );
    } catch (error) {
      // A namespace in which no route was ever set has no main table.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  /** Runs until a dump has begun after the last request. */
  async function resyncUntilClean(): Promise<void> {
    try {
      while (dirty && !closed && tables !== null) {
        dirty = false;
        await dumpAll(tables, tables.state.index);
      }
    } finally {
      running = null;
    }
  }

  function requestResync(): void {
    if (tables === null || closed) return;
    resync().catch((error: NodeJS.ErrnoException) => {
      // ENODEV: the interface is gone, as DELLINK has said.
      if (closed || error.code === 'ENODEV') return;
      warn(error);
      retry ??= setTimeout(() => {
        retry = null;
        requestResync();
      }, RETRY_MS).unref();
    });
  }

  function resync(): Promise<void> {
    dirty = true;
    running ??= resyncUntilClean();
    return running;
  }

  function resolve(address: Uint8Array): void {
    if (closed || tables === null) return;
    const wanted = address.slice();
    if (Buffer.compare(wanted, REJECT_GATEWAY) === 0) {
      tables.failNeighbour(wanted);
      return;
    }
    if (tables.repeatNeighbour(wanted)) return;
    // Beyond the limit the request is dropped: the core's retransmission will ask again.
    if (resolving >= RESOLUTIONS_AT_ONCE) return;
    resolving++;
    const four = isMapped(wanted);
    const current = tables;
    socket
      .request({
        what: 'resolution of a neighbour',
        type: nl.RTM_NEWNEIGH,
        flags: nl.NLM_F_CREATE,
        fixed: neighbourHeader(four ? nl.AF_INET : nl.AF_INET6, current.state.index, nl.NUD_NONE, nl.NTF_USE),
        attributes: [{ type: nl.NDA_DST, value: four ? wanted.subarray(12) : wanted }],
      })
      .catch((error: NodeJS.ErrnoException) => {
        if (closed || error.code === 'ENOBUFS') return;
        current.failNeighbour(wanted);
        options.changed?.();
      })
      .finally(() => {
        resolving--;
      });
  }

  try {
    const info = await queryInterface(socket, ifname);
    tables = createTables(core, info.index, (call, errno) => {
      warn(netlinkError(errno, `${call}() of the core`, 'the table entry is not followed'));
    });
    await resync();
    const current = tables;
    return {
      info,
      get up() {
        return current.state.up;
      },
      get dumps() {
        return dumps;
      },
      sizes: () => current.sizes(),
      resolve,
      resync,
      ref: () => socket.ref(),
      unref: () => socket.unref(),
      close() {
        closed = true;
        if (retry !== null) clearTimeout(retry);
        socket.close();
      },
    };
  } catch (error) {
    closed = true;
    socket.close();
    throw error;
  }
}
