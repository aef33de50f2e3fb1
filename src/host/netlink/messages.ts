// rtnetlink messages (RFC 3549, rtnetlink(7)): the framing, the attributes, and the four kinds of object that lunet
// follows. Parsers throw `EBADMSG` on anything that does not add up and never read past their message.
//
//   nlmsghdr   0 ├ length ┤ 4 ├ type ┤ 6 ├ flags ┤ 8 ├ sequence ┤ 12 ├ port id ┤ 16    everything in host order,
//   rtattr     0 ├ length ┤ 2 ├ type ┤ 4  value, padded to 4 bytes                       addresses in network order

import { MAPPED_BITS, mappedAddress, zeroAddress } from './address.js';
import * as nl from './constants.js';
import { malformed } from './errors.js';

const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
export const LINK_HEADER_BYTES = 16;
export const ADDRESS_HEADER_BYTES = 8;
export const ROUTE_HEADER_BYTES = 12;
export const NEIGHBOUR_HEADER_BYTES = 12;

/** Wasm memory is shared with the link as it is, so lunet runs on little-endian machines only. */
const LITTLE_ENDIAN = true;

export interface NetlinkMessage {
  type: number;
  flags: number;
  sequence: number;
  portId: number;
  /** What follows the header. A view of the datagram. */
  body: Uint8Array;
}

export type Attributes = ReadonlyMap<number, Uint8Array>;

export interface LinkMessage {
  index: number;
  name: string;
  /** IFF_… */
  flags: number;
  mac: Uint8Array;
  mtuBytes: number;
  /** rtnl_link kind: 'veth', 'tun', 'bridge'…; '' for hardware and loopback. */
  kind: string;
  /** Index of the other end (veth) or lower device, 0 if none. */
  peerIndex: number;
  /** Index of the bridge, bond… that this interface belongs to, 0 if none. */
  masterIndex: number;
  rxQueues: number;
  txQueues: number;
}

export interface AddressMessage {
  index: number;
  family: number;
  /** 16 bytes. */
  address: Uint8Array;
  /** In the 128-bit space. */
  prefixLength: number;
  flags: number;
}

export interface NextHop {
  index: number;
  gateway: Uint8Array | null;
  flags: number;
}

export interface RouteMessage {
  family: number;
  table: number;
  /** RTN_… */
  type: number;
  tos: number;
  flags: number;
  destination: Uint8Array;
  /** In the 128-bit space. */
  prefixLength: number;
  /** RTA_PRIORITY; the lowest wins. */
  metric: number;
  /** RTAX_MTU, 0 if the interface's applies. */
  mtuBytes: number;
  /** In the kernel's order; empty for routes that reject. */
  hops: readonly NextHop[];
}

export interface NeighbourMessage {
  index: number;
  family: number;
  /** NUD_… */
  state: number;
  /** NTF_… */
  flags: number;
  /** RTN_… of the address. */
  type: number;
  address: Uint8Array;
  mac: Uint8Array | null;
}

/** The error or acknowledgement in an NLMSG_ERROR message. */
export interface ErrorMessage {
  /** Positive errno, 0 for an acknowledgement. */
  errno: number;
  /** The kernel's own words (extended acknowledgement), '' if it had none. */
  text: string;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// ---- building ----------------------------------------------------------------------------------------------

export interface AttributeSpec {
  type: number;
  value: Uint8Array | readonly AttributeSpec[];
}

export function u32Value(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value >>> 0, LITTLE_ENDIAN);
  return bytes;
}

export function u16Value(value: number): Uint8Array {
  const bytes = new Uint8Array(2);
  viewOf(bytes).setUint16(0, value, LITTLE_ENDIAN);
  return bytes;
}

/** NUL-terminated text, as the kernel writes names. */
export function textValue(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(`${text}\0`, 'utf8'));
}

export function encodeAttributes(attributes: readonly AttributeSpec[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let total = 0;
  for (const { type, value } of attributes) {
    const nested = !(value instanceof Uint8Array);
    const payload = nested ? encodeAttributes(value) : value;
    const part = new Uint8Array(align(ATTRIBUTE_HEADER_BYTES + payload.length));
    const view = viewOf(part);
    view.setUint16(0, ATTRIBUTE_HEADER_BYTES + payload.length, LITTLE_ENDIAN);
    view.setUint16(2, nested ? type | nl.NLA_F_NESTED : type, LITTLE_ENDIAN);
    part.set(payload, ATTRIBUTE_HEADER_BYTES);
    parts.push(part);
    total += part.length;
  }
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A whole message: header, the fixed struct of its kind, attributes. */
export function encodeMessage(
  type: number,
  flags: number,
  sequence: number,
  fixed: Uint8Array,
  attributes: readonly AttributeSpec[] = [],
): Uint8Array {
  const encoded = encodeAttributes(attributes);
  const bytes = new Uint8Array(HEADER_BYTES + align(fixed.length) + encoded.length);
  const view = viewOf(bytes);
  view.setUint32(0, bytes.length, LITTLE_ENDIAN);
  view.setUint16(4, type, LITTLE_ENDIAN);
  view.setUint16(6, flags, LITTLE_ENDIAN);
  view.setUint32(8, sequence >>> 0, LITTLE_ENDIAN);
  bytes.set(fixed, HEADER_BYTES);
  bytes.set(encoded, HEADER_BYTES + align(fixed.length));
  return bytes;
}

/** struct ndmsg. */
export function neighbourHeader(family: number, index: number, state: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(NEIGHBOUR_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint8(0, family);
  view.setInt32(4, index, LITTLE_ENDIAN);
  view.setUint16(8, state, LITTLE_ENDIAN);
  view.setUint8(10, flags);
  return bytes;
}

/** struct ifaddrmsg. */
export function addressHeader(family: number, index: number): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_HEADER_BYTES);
  bytes[0] = family;
  viewOf(bytes).setUint32(4, index, LITTLE_ENDIAN);
  return bytes;
}

/** struct rtmsg. */
export function routeHeader(family: number, table: number): Uint8Array {
  const bytes = new Uint8Array(ROUTE_HEADER_BYTES);
  bytes[0] = family;
  bytes[4] = table;
  return bytes;
}

// ---- parsing -----------------------------------------------------------------------------------------------

/** Splits a datagram into its messages. */
export function parseMessages(datagram: Uint8Array): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  const view = viewOf(datagram);
  let at = 0;
  while (at < datagram.length) {
    if (datagram.length - at < HEADER_BYTES) throw malformed(`${datagram.length - at} bytes left for a header`);
    const length = view.getUint32(at, LITTLE_ENDIAN);
    if (length < HEADER_BYTES || length > datagram.length - at) throw malformed(`message length ${length}`);
    messages.push({
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      flags: view.getUint16(at + 6, LITTLE_ENDIAN),
      sequence: view.getUint32(at + 8, LITTLE_ENDIAN),
      portId: view.getUint32(at + 12, LITTLE_ENDIAN),
      body: datagram.subarray(at + HEADER_BYTES, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** The attributes from `at` to the end of the body; of a repeated one the last counts, as in the kernel. */
export function parseAttributes(body: Uint8Array, at: number): Attributes {
  const attributes = new Map<number, Uint8Array>();
  const view = viewOf(body);
  let offset = align(at);
  while (offset < body.length) {
    if (body.length - offset < ATTRIBUTE_HEADER_BYTES) throw malformed('truncated attribute header');
    const length = view.getUint16(offset, LITTLE_ENDIAN);
    const type = view.getUint16(offset + 2, LITTLE_ENDIAN) & nl.NLA_TYPE_MASK;
    if (length < ATTRIBUTE_HEADER_BYTES || length > body.length - offset) {
      throw malformed(`attribute ${type} of length ${length}`);
    }
    attributes.set(type, body.subarray(offset + ATTRIBUTE_HEADER_BYTES, offset + length));
    offset += align(length);
  }
  return attributes;
}

function need(body: Uint8Array, length: number, what: string): DataView {
  if (body.length < length) throw malformed(`${what} of ${body.length} bytes`);
  return viewOf(body);
}

function u32Attribute(attributes: Attributes, type: number, otherwise: number): number {
  const value = attributes.get(type);
  if (value === undefined) return otherwise;
  if (value.length !== 4) throw malformed(`attribute ${type} has ${value.length} bytes, not 4`);
  return viewOf(value).getUint32(0, LITTLE_ENDIAN);
}

function textAttribute(attributes: Attributes, type: number): string {
  const value = attributes.get(type);
  if (value === undefined) return '';
  const end = value.indexOf(0);
  return Buffer.from(end < 0 ? value : value.subarray(0, end)).toString('utf8');
}

function addressAttribute(attributes: Attributes, type: number, family: number): Uint8Array | null {
  const value = attributes.get(type);
  if (value === undefined) return null;
  const address = mappedAddress(family, value);
  if (address === null) throw malformed(`attribute ${type}: ${value.length} bytes in an address of family ${family}`);
  return address;
}

/** RTM_NEWLINK, RTM_DELLINK. */
export function parseLink(body: Uint8Array): LinkMessage {
  const view = need(body, LINK_HEADER_BYTES, 'ifinfomsg');
  const attributes = parseAttributes(body, LINK_HEADER_BYTES);
  const info = attributes.get(nl.IFLA_LINKINFO);
  return {
    index: view.getInt32(4, LITTLE_ENDIAN),
    flags: view.getUint32(8, LITTLE_ENDIAN),
    name: textAttribute(attributes, nl.IFLA_IFNAME),
    mac: attributes.get(nl.IFLA_ADDRESS)?.slice() ?? new Uint8Array(0),
    mtuBytes: u32Attribute(attributes, nl.IFLA_MTU, 0),
    kind: info === undefined ? '' : textAttribute(parseAttributes(info, 0), nl.IFLA_INFO_KIND),
    peerIndex: u32Attribute(attributes, nl.IFLA_LINK, 0),
    masterIndex: u32Attribute(attributes, nl.IFLA_MASTER, 0),
    rxQueues: u32Attribute(attributes, nl.IFLA_NUM_RX_QUEUES, 1),
    txQueues: u32Attribute(attributes, nl.IFLA_NUM_TX_QUEUES, 1),
  };
}

/** RTM_NEWADDR, RTM_DELADDR; null for families other than IPv4 and IPv6. */
export function parseAddress(body: Uint8Array): AddressMessage | null {
  const view = need(body, ADDRESS_HEADER_BYTES, 'ifaddrmsg');
  const family = view.getUint8(0);
  if (family !== nl.AF_INET && family !== nl.AF_INET6) return null;
  const attributes = parseAttributes(body, ADDRESS_HEADER_BYTES);
  // On a point-to-point interface IFA_ADDRESS is the peer's; IFA_LOCAL is always ours but IPv6 leaves it out.
  const address =
    addressAttribute(attributes, nl.IFA_LOCAL, family) ?? addressAttribute(attributes, nl.IFA_ADDRESS, family);
  if (address === null) throw malformed('ifaddrmsg without an address');
  return {
    family,
    index: view.getUint32(4, LITTLE_ENDIAN),
    address,
    prefixLength: prefixLength(family, view.getUint8(1)),
    flags: u32Attribute(attributes, nl.IFA_FLAGS, view.getUint8(2)),
  };
}

/** RTM_NEWROUTE, RTM_DELROUTE; null for families other than IPv4 and IPv6. */
export function parseRoute(body: Uint8Array): RouteMessage | null {
  const view = need(body, ROUTE_HEADER_BYTES, 'rtmsg');
  const family = view.getUint8(0);
  if (family !== nl.AF_INET && family !== nl.AF_INET6) return null;
  const attributes = parseAttributes(body, ROUTE_HEADER_BYTES);
  const metrics = attributes.get(nl.RTA_METRICS);
  return {
    family,
    table: u32Attribute(attributes, nl.RTA_TABLE, view.getUint8(4)),
    type: view.getUint8(7),
    tos: view.getUint8(3),
    flags: view.getUint32(8, LITTLE_ENDIAN),
    destination: addressAttribute(attributes, nl.RTA_DST, family) ?? zeroAddress(family),
    prefixLength: prefixLength(family, view.getUint8(1)),
    metric: u32Attribute(attributes, nl.RTA_PRIORITY, 0),
    mtuBytes: metrics === undefined ? 0 : u32Attribute(parseAttributes(metrics, 0), nl.RTAX_MTU, 0),
    hops: nextHops(attributes, family, view.getUint32(8, LITTLE_ENDIAN)),
  };
}

function prefixLength(family: number, length: number): number {
  const bits = family === nl.AF_INET ? 32 : 128;
  if (length > bits) throw malformed(`prefix length ${length}`);
  return family === nl.AF_INET ? length + MAPPED_BITS : length;
}

function nextHops(attributes: Attributes, family: number, flags: number): NextHop[] {
  const multipath = attributes.get(nl.RTA_MULTIPATH);
  if (multipath === undefined) {
    const index = u32Attribute(attributes, nl.RTA_OIF, 0);
    return index === 0 ? [] : [{ index, gateway: gatewayOf(attributes, family), flags: flags & 0xff }];
  }
  // struct rtnexthop: 0 ├ length ┤ 2 ├ flags ┤ 3 ├ weight - 1 ┤ 4 ├ interface ┤ 8 attributes
  const hops: NextHop[] = [];
  const view = viewOf(multipath);
  let at = 0;
  while (at < multipath.length) {
    if (multipath.length - at < 8) throw malformed('truncated rtnexthop');
    const length = view.getUint16(at, LITTLE_ENDIAN);
    if (length < 8 || length > multipath.length - at) throw malformed(`rtnexthop of length ${length}`);
    const nested = parseAttributes(multipath.subarray(at, at + length), 8);
    hops.push({
      index: view.getInt32(at + 4, LITTLE_ENDIAN),
      gateway: gatewayOf(nested, family),
      flags: view.getUint8(at + 2),
    });
    at += align(length);
  }
  return hops;
}

function gatewayOf(attributes: Attributes, family: number): Uint8Array | null {
  const via = attributes.get(nl.RTA_VIA);
  if (via === undefined) return addressAttribute(attributes, nl.RTA_GATEWAY, family);
  // struct rtvia: an IPv4 route through an IPv6 gateway (RFC 5549).
  if (via.length < 2) throw malformed('truncated rtvia');
  const gateway = mappedAddress(viewOf(via).getUint16(0, LITTLE_ENDIAN), via.subarray(2));
  if (gateway === null) throw malformed('rtvia of an unknown family');
  return gateway;
}

/** RTM_NEWNEIGH, RTM_DELNEIGH; null for families other than IPv4 and IPv6 (bridges' forwarding tables). */
export function parseNeighbour(body: Uint8Array): NeighbourMessage | null {
  const view = need(body, NEIGHBOUR_HEADER_BYTES, 'ndmsg');
  const family = view.getUint8(0);
  if (family !== nl.AF_INET && family !== nl.AF_INET6) return null;
  const attributes = parseAttributes(body, NEIGHBOUR_HEADER_BYTES);
  const address = addressAttribute(attributes, nl.NDA_DST, family);
  if (address === null) throw malformed('ndmsg without an address');
  return {
    family,
    index: view.getInt32(4, LITTLE_ENDIAN),
    state: view.getUint16(8, LITTLE_ENDIAN),
    flags: view.getUint8(10),
    type: view.getUint8(11),
    address,
    mac: attributes.get(nl.NDA_LLADDR)?.slice() ?? null,
  };
}

/** NLMSG_ERROR, and the status that ends a dump (NLMSG_DONE), which has the same beginning. */
export function parseError(message: NetlinkMessage): ErrorMessage {
  const { body, flags, type } = message;
  // A dump's end may come without a status from old kernels.
  if (type === nl.NLMSG_DONE && body.length < 4) return { errno: 0, text: '' };
  const view = need(body, 4, 'nlmsgerr');
  const errno = -view.getInt32(0, LITTLE_ENDIAN);
  if ((flags & nl.NLM_F_ACK_TLVS) === 0) return { errno, text: '' };
  // The attributes follow the status, then (in an error) the request's header, then (unless capped) its payload.
  let at = 4;
  if (type === nl.NLMSG_ERROR) {
    need(body, 4 + HEADER_BYTES, 'nlmsgerr');
    at += (flags & nl.NLM_F_CAPPED) !== 0 ? HEADER_BYTES : align(view.getUint32(4, LITTLE_ENDIAN));
    if (at > body.length) throw malformed('nlmsgerr shorter than the request it echoes');
  }
  return { errno, text: textAttribute(parseAttributes(body, at), nl.NLMSGERR_ATTR_MSG) };
}
