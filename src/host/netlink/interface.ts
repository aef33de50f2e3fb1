// One interface of the kernel: what it is, for links that share it with the kernel's stack.

import { readAddress } from '../core/address.js';
import { MAPPED_BITS } from './address.js';
import * as nl from './constants.js';
import { netlinkError } from './errors.js';
import {
  type AddressMessage,
  addressHeader,
  LINK_HEADER_BYTES,
  parseAddress,
  parseLink,
  textValue,
} from './messages.js';
import { type NetlinkAddon, type NetlinkSocket, onlyAnswer, openNetlinkSocket } from './socket.js';

/** Linux's IFNAMSIZ without the terminating zero. */
const INTERFACE_NAME_BYTES = 15;

export interface InterfaceAddress {
  address: string;
  /** As people write it: 24 for an IPv4 /24. */
  prefixLength: number;
  family: 'IPv4' | 'IPv6';
}

export interface InterfaceInfo {
  name: string;
  index: number;
  mac: Uint8Array;
  mtuBytes: number;
  /** rtnl_link kind ('veth', 'tun', 'bridge'…), '' for hardware and loopback. */
  kind: string;
  /** Administratively up. */
  up: boolean;
  /** With carrier. */
  carrier: boolean;
  loopback: boolean;
  /** Index of the bridge or bond that it belongs to, 0 if none. */
  masterIndex: number;
  rxQueues: number;
  txQueues: number;
  addresses: InterfaceAddress[];
}

/** @throws ENODEV when there is no such interface in this network namespace; EINVAL when there cannot be. */
export async function interfaceInfo(addon: NetlinkAddon, name: string): Promise<InterfaceInfo> {
  const socket = openNetlinkSocket(addon, 0);
  try {
    return await queryInterface(socket, name);
  } finally {
    socket.close();
  }
}

export async function queryInterface(socket: NetlinkSocket, name: string): Promise<InterfaceInfo> {
  const what = `look-up of interface "${name}"`;
  if (name === '' || Buffer.byteLength(name) > INTERFACE_NAME_BYTES || /[\s/\0]/.test(name)) {
    throw netlinkError(22, what, `an interface name has 1 to ${INTERFACE_NAME_BYTES} bytes, no space and no slash`);
  }
  const answers = await socket.request({
    what,
    type: nl.RTM_GETLINK,
    fixed: new Uint8Array(LINK_HEADER_BYTES),
    attributes: [{ type: nl.IFLA_IFNAME, value: textValue(name) }],
  });
  const link = parseLink(onlyAnswer(answers, what).body);
  const addresses: InterfaceAddress[] = [];
  await dumpAddresses(
    socket,
    nl.AF_UNSPEC,
    link.index,
    (message) => addresses.push(forPeople(message)),
    () => {
      addresses.length = 0;
    },
  );
  return {
    name: link.name,
    index: link.index,
    mac: link.mac,
    mtuBytes: link.mtuBytes,
    kind: link.kind,
    up: (link.flags & nl.IFF_UP) !== 0,
    carrier: (link.flags & nl.IFF_LOWER_UP) !== 0,
    loopback: (link.flags & nl.IFF_LOOPBACK) !== 0,
    masterIndex: link.masterIndex,
    rxQueues: link.rxQueues,
    txQueues: link.txQueues,
    addresses,
  };
}

export function dumpAddresses(
  socket: NetlinkSocket,
  family: number,
  index: number,
  each: (message: AddressMessage) => void,
  restart?: () => void,
): Promise<void> {
  return socket.dump(
    { what: 'dump of addresses', type: nl.RTM_GETADDR, fixed: addressHeader(family, index) },
    (message) => {
      const address = parseAddress(message.body);
      // A kernel without strict checking dumps every interface.
      if (address !== null && address.index === index) each(address);
    },
    restart,
  );
}

function forPeople(message: AddressMessage): InterfaceAddress {
  const four = message.family === nl.AF_INET;
  return {
    address: readAddress(message.address, 0),
    prefixLength: four ? message.prefixLength - MAPPED_BITS : message.prefixLength,
    family: four ? 'IPv4' : 'IPv6',
  };
}
