// A kernel of a few tables that speaks rtnetlink, for tests of src/host/netlink/ without privileges: it answers as the
// messages arrive, in later microtasks, and says what the test tells it to say.

import { ADDRESS_DEPRECATED } from '../../src/host/core/layout.js';
import * as nl from '../../src/host/netlink/constants.js';
import { type AttributeSpec, encodeMessage, parseMessages, u32Value } from '../../src/host/netlink/messages.js';
import type { NetlinkAddon } from '../../src/host/netlink/socket.js';
import type { CoreTables } from '../../src/host/netlink/tables.js';

export const IFINDEX = 7;
export const PORT_ID = 4242;

export interface FakeEntry {
  fixed: Uint8Array;
  attributes: readonly AttributeSpec[];
}

export interface SeenRequest {
  type: number;
  flags: number;
  sequence: number;
  body: Uint8Array;
}

export interface FakeKernel {
  addon: NetlinkAddon;
  /** By the type of the answers: RTM_NEWLINK, RTM_NEWADDR… */
  tables: Map<number, FakeEntry[]>;
  requests: SeenRequest[];
  /** Dumps that shall end with NLM_F_DUMP_INTR. */
  interruptedDumps: number;
  /** Answers the next request of the type with an error. */
  failures: Map<number, { errno: number; text: string }>;
  /** Types of requests that get no answer at all. */
  silent: Set<number>;
  groups: number;
  closed: boolean;
  notify(type: number, entry: FakeEntry, flags?: number): void;
  deliver(datagram: Uint8Array): void;
  overrun(): void;
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function answer(type: number, flags: number, sequence: number, portId: number, entry: FakeEntry): Uint8Array {
  const bytes = encodeMessage(type, flags, sequence, entry.fixed, entry.attributes);
  new DataView(bytes.buffer).setUint32(12, portId, true);
  return bytes;
}

export function errorEntry(errno: number, request: Uint8Array, text: string): FakeEntry {
  return {
    fixed: concat(u32Value(-errno), request.subarray(0, 16)),
    attributes: text === '' ? [] : [{ type: nl.NLMSGERR_ATTR_MSG, value: new Uint8Array(Buffer.from(`${text}\0`)) }],
  };
}

export function createFakeKernel(): FakeKernel {
  let onMessage: (bytes: Uint8Array) => void = () => undefined;
  let onOverrun: () => void = () => undefined;

  const kernel: FakeKernel = {
    addon: {
      openNetlink(groups, message, overrun) {
        kernel.groups = groups;
        onMessage = message;
        onOverrun = overrun;
        return {
          pid: PORT_ID,
          send,
          ref: () => undefined,
          unref: () => undefined,
          close: () => {
            kernel.closed = true;
          },
        };
      },
    },
    tables: new Map(),
    requests: [],
    interruptedDumps: 0,
    failures: new Map(),
    silent: new Set(),
    groups: 0,
    closed: false,
    notify(type, entry, flags = 0) {
      if (!kernel.closed) onMessage(answer(type, flags, 0, 0, entry));
    },
    deliver(datagram) {
      onMessage(datagram);
    },
    overrun() {
      onOverrun();
    },
  };

  function send(bytes: Uint8Array): void {
    const [request] = parseMessages(bytes.slice());
    kernel.requests.push(request);
    if (!kernel.silent.has(request.type)) queueMicrotask(() => reply(request, bytes.slice()));
  }

  function reply(request: SeenRequest, bytes: Uint8Array): void {
    if (kernel.closed) return;
    const failure = kernel.failures.get(request.type);
    const error = (errno: number, text: string): Uint8Array =>
      answer(
        nl.NLMSG_ERROR,
        nl.NLM_F_CAPPED | (text === '' ? 0 : nl.NLM_F_ACK_TLVS),
        request.sequence,
        PORT_ID,
        errorEntry(errno, bytes, text),
      );
    if (failure !== undefined) {
      kernel.failures.delete(request.type);
      onMessage(error(failure.errno, failure.text));
      return;
    }
    const entries = kernel.tables.get(request.type - 2) ?? [];
    if ((request.flags & nl.NLM_F_DUMP) === nl.NLM_F_DUMP) {
      const interrupted = kernel.interruptedDumps > 0 ? nl.NLM_F_DUMP_INTR : 0;
      if (interrupted !== 0) kernel.interruptedDumps--;
      for (const entry of entries) {
        onMessage(answer(request.type - 2, nl.NLM_F_MULTI, request.sequence, PORT_ID, entry));
      }
      onMessage(
        answer(nl.NLMSG_DONE, nl.NLM_F_MULTI | interrupted, request.sequence, PORT_ID, {
          fixed: u32Value(0),
          attributes: [],
        }),
      );
      return;
    }
    const gets = request.type % 4 === 2;
    const answers = gets ? entries.map((entry) => answer(request.type - 2, 0, request.sequence, PORT_ID, entry)) : [];
    onMessage(concat(...answers, error(0, '')));
  }

  return kernel;
}

// ---- entries ----------------------------------------------------------------------------------------------

export function ipv4(text: string): Uint8Array {
  return Uint8Array.from(text.split('.'), Number);
}

export function linkEntry(o: { mac?: number[]; mtu?: number; flags?: number; name?: string } = {}): FakeEntry {
  const fixed = new Uint8Array(16);
  const view = new DataView(fixed.buffer);
  view.setUint16(2, 1, true);
  view.setInt32(4, IFINDEX, true);
  view.setUint32(8, o.flags ?? nl.IFF_UP | nl.IFF_RUNNING | nl.IFF_LOWER_UP, true);
  return {
    fixed,
    attributes: [
      { type: nl.IFLA_IFNAME, value: new Uint8Array(Buffer.from(`${o.name ?? 'eth0'}\0`)) },
      { type: nl.IFLA_ADDRESS, value: Uint8Array.from(o.mac ?? [2, 0, 0, 0, 0, 1]) },
      { type: nl.IFLA_MTU, value: u32Value(o.mtu ?? 1500) },
      {
        type: nl.IFLA_LINKINFO,
        value: [{ type: nl.IFLA_INFO_KIND, value: new Uint8Array(Buffer.from('veth\0')) }],
      },
    ],
  };
}

export function addressEntry(address: string, length: number, index = IFINDEX): FakeEntry {
  const fixed = new Uint8Array(8);
  fixed[0] = nl.AF_INET;
  fixed[1] = length;
  new DataView(fixed.buffer).setUint32(4, index, true);
  return {
    fixed,
    attributes: [
      { type: nl.IFA_ADDRESS, value: ipv4(address) },
      { type: nl.IFA_LOCAL, value: ipv4(address) },
    ],
  };
}

export interface FakeRoute {
  to: string;
  length: number;
  via?: string;
  metric?: number;
  mtu?: number;
  index?: number;
  type?: number;
  table?: number;
  hops?: readonly { index: number; via: string; flags?: number }[];
}

export function routeEntry(o: FakeRoute): FakeEntry {
  const fixed = new Uint8Array(12);
  fixed[0] = nl.AF_INET;
  fixed[1] = o.length;
  fixed[4] = o.table ?? nl.RT_TABLE_MAIN;
  fixed[7] = o.type ?? nl.RTN_UNICAST;
  const attributes: AttributeSpec[] = [{ type: nl.RTA_TABLE, value: u32Value(o.table ?? nl.RT_TABLE_MAIN) }];
  if (o.length > 0) attributes.push({ type: nl.RTA_DST, value: ipv4(o.to) });
  if (o.metric !== undefined) attributes.push({ type: nl.RTA_PRIORITY, value: u32Value(o.metric) });
  if (o.mtu !== undefined) {
    attributes.push({ type: nl.RTA_METRICS, value: [{ type: nl.RTAX_MTU, value: u32Value(o.mtu) }] });
  }
  if (o.hops !== undefined) {
    const encoded = o.hops.map((hop) => {
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, 16, true);
      bytes[2] = hop.flags ?? 0;
      view.setInt32(4, hop.index, true);
      view.setUint16(8, 8, true);
      view.setUint16(10, nl.RTA_GATEWAY, true);
      bytes.set(ipv4(hop.via), 12);
      return bytes;
    });
    attributes.push({ type: nl.RTA_MULTIPATH, value: concat(...encoded) });
  } else if (o.type === undefined || o.type === nl.RTN_UNICAST) {
    attributes.push({ type: nl.RTA_OIF, value: u32Value(o.index ?? IFINDEX) });
    if (o.via !== undefined) attributes.push({ type: nl.RTA_GATEWAY, value: ipv4(o.via) });
  }
  return { fixed, attributes };
}

export function neighbourEntry(address: string, state: number, mac: number[] | null, index = IFINDEX): FakeEntry {
  const fixed = new Uint8Array(12);
  const view = new DataView(fixed.buffer);
  fixed[0] = nl.AF_INET;
  view.setInt32(4, index, true);
  view.setUint16(8, state, true);
  fixed[11] = nl.RTN_UNICAST;
  const attributes: AttributeSpec[] = [{ type: nl.NDA_DST, value: ipv4(address) }];
  if (mac !== null) attributes.push({ type: nl.NDA_LLADDR, value: Uint8Array.from(mac) });
  return { fixed, attributes };
}

// ---- a core that remembers --------------------------------------------------------------------------------

export interface FakeCore extends CoreTables {
  /** 'addressAdd 10.0.0.1/24' … in order. */
  calls: string[];
  routes: Map<string, string>;
  neighbours: Map<string, string>;
  addresses: Set<string>;
  link: string;
  /** Result of every call that adds. */
  result: number;
}

export function createFakeCore(): FakeCore {
  const u8 = new Uint8Array(256);
  const text = (at: number): string => {
    const bytes = u8.subarray(at, at + 16);
    const v4 = bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
    return v4 ? bytes.subarray(12).join('.') : Buffer.from(bytes).toString('hex');
  };
  const mac = (at: number): string => Buffer.from(u8.subarray(at, at + 6)).toString('hex');
  const core: FakeCore = {
    u8,
    scratch: 64,
    calls: [],
    routes: new Map(),
    neighbours: new Map(),
    addresses: new Set(),
    link: '',
    result: 0,
    linkConfig(macAt, mtu) {
      core.link = `${mac(macAt)} ${mtu}`;
      core.calls.push(`linkConfig ${core.link}`);
      return core.result;
    },
    addressAdd(at, length) {
      core.calls.push(`addressAdd ${text(at)}/${length}`);
      core.addresses.delete(`${text(at)}/${length ^ ADDRESS_DEPRECATED}`);
      core.addresses.add(`${text(at)}/${length}`);
      return core.result;
    },
    addressDel(at, length) {
      core.calls.push(`addressDel ${text(at)}/${length}`);
      for (const flag of [0, ADDRESS_DEPRECATED]) core.addresses.delete(`${text(at)}/${length + flag}`);
      return 0;
    },
    routeAdd(at, length, gatewayAt, mtu) {
      const key = `${text(at)}/${length}`;
      const value = `${gatewayAt === 0 ? 'link' : text(gatewayAt)}${mtu === 0 ? '' : ` mtu ${mtu}`}`;
      core.calls.push(`routeAdd ${key} ${value}`);
      if (core.result >= 0) core.routes.set(key, value);
      return core.result;
    },
    routeDel(at, length) {
      core.calls.push(`routeDel ${text(at)}/${length}`);
      core.routes.delete(`${text(at)}/${length}`);
      return 0;
    },
    neighSet(at, macAt) {
      core.calls.push(`neighSet ${text(at)} ${mac(macAt)}`);
      core.neighbours.set(text(at), mac(macAt));
      return core.result;
    },
    neighDel(at) {
      core.calls.push(`neighDel ${text(at)}`);
      core.neighbours.delete(text(at));
      return 0;
    },
    neighFail(at) {
      core.calls.push(`neighFail ${text(at)}`);
      core.neighbours.delete(text(at));
      return 0;
    },
  };
  return core;
}
