// IP output: one frame is built at a time, straight into the transmit ring's free slots.
//
//   const f = frameBegin(pieces);            // 0: no room now (CNT_TxRingFull); try again in the next flush()
//   const h = frameL4(f);                    // where the L4 header goes, up to 64 bytes
//   … write the L4 header, checksum field 0 …
//   framePayload(addr, len);                 // once per piece, at most `pieces`; takes its own reference
//   ipOutput(dst, addrs, PROTO_TCP, l4Len, payloadLen, service);
//
// frameBegin() reserves nothing beyond a header object; frameDrop() gives back a frame that will not be sent.
// ipOutput() ends the frame in every case: it fills in the TCP checksum, the IPv4 and the Ethernet header and
// publishes the descriptors, or hands the frame to the neighbour's pending queue while its MAC is unknown. It
// returns false, and releases the frame, when there is no route.
//
// `dst` is what dstGet() gave for the remote address, DST_BROADCAST, or 0. It is a hint: ipOutput() sees by itself when routes,
// neighbours or the slot's owner have changed. `addrs` points at 32 bytes: local address, remote address.
//
// Header object (128 bytes), the frame in front of the L4 header and the options' room behind it:
//   0        10         24           30         44            64                       128
//   ├ unused ┼ (IPv6: ethernet, header ┼ ethernet ┼ ipv4 header)┼ L4 header, ≤ 64 bytes ─┤
//
// A frame that begins in an object's headroom (ip/headroom.ts) is laid out alike from an address `f` before its L4
// header, and the header object's part is that object's.

import {
  CNT_Ip6OutNoRoutes,
  CNT_Ip6OutRequests,
  CNT_IpOutNoRoutes,
  CNT_IpOutRequests,
  CNT_TxBytes,
  CNT_TxFrames,
  CNT_TxRingFull,
} from '../abi/counters';
import {
  CFG_FLAGS,
  CFGF_TX_CSUM,
  CFGF_TX_NO_CSUM,
  CTL_TX_AT,
  CTL_TX_HEAD,
  CTL_TX_SIZE,
  CTL_TX_TAIL,
  TX_TSO_MAX_SEGS,
  TXD_ADDR,
  TXD_FLAGS,
  TXD_LEN,
  TXD_OFFLOAD,
  TXD_SIZE,
  TXF_END,
  TXF_START,
  TXF_TCP_CSUM,
  TXF_TSO,
  TXF_TSO_MSS_SHIFT,
} from '../abi/layout';
import { count, countAdd } from '../abi/runtime';
import { fold, pseudo4, pseudo6, sum16, sumAppend } from '../wire/checksum';
import { ETHERTYPE_IPV4_RAW, ETHERTYPE_IPV6_RAW, ETH_HEADER, MAC_BROADCAST, setEth } from '../wire/ethernet';
import { IPV4_HEADER, IPV4_TTL_DEFAULT, PROTO_TCP, isMapped, mappedRaw, setIpv4 } from '../wire/ipv4';
import { setTcpChecksum } from '../wire/tcp';
import { PROTO_UDP, setUdpChecksum } from '../wire/udp';
import { headerRelease } from '../zbuf/headroom';
import { zbufAllocHeader, zbufRef, zbufUnref } from '../zbuf/zbuf';
import { ourMac } from './interface';
import { neighbourMac, neighbourQueue, neighbourUsable } from './neighbour';
import { DST_BROADCAST, dstCurrent, dstIs, dstNeighbour } from './route';
import { IPV6_HEADER, IPV6_HOP_LIMIT_DEFAULT, setIpv6 } from '../wire/ipv6';
import { ICMPV6_CHECKSUM } from '../wire/icmpv6';

@inline const AT_ETH: u32 = 30;
@inline const AT_L3: u32 = 44;
@inline const AT_L4: u32 = 64;
@inline const AT_IPV6: u32 = 24;

/** Header object of the frame being built, 0 when there is none. */
let frame: u32 = 0;
/** Its payload segments so far: in the ring behind the slot at the head. */
let pieces: u32 = 0;
/** Bytes of payload right behind the L4 header, in its segment. */
let attached: u32 = 0;
/** Bytes of payload in each TCP segment that the link is to cut the frame into, 0 = it is one. */
let cut: u32 = 0;

let ringAt: u32 = 0;
let ringMask: u32 = 0;

export function outputInit(): void {
  frame = 0;
  pieces = 0;
  cut = 0;
  ringAt = load<u32>(CTL_TX_AT);
  ringMask = load<u32>(CTL_TX_SIZE) - 1;
}

/** Segments that fit into the transmit ring now. */
@inline
export function txRoom(): u32 {
  return ringMask + 1 - (load<u32>(CTL_TX_HEAD) - load<u32>(CTL_TX_TAIL));
}

/** Ring slot of the descriptor number `head`. */
@inline
export function txSlotAt(head: u32): u32 {
  return ringAt + (head & ringMask) * TXD_SIZE;
}

/** Ring slot `index` behind the head. */
@inline
export function txSlot(index: u32): u32 {
  return txSlotAt(load<u32>(CTL_TX_HEAD) + index);
}

/** Begins a frame of at most `maxPieces` payload segments; 0 when there is no room for it. */
export function frameBegin(maxPieces: u32): u32 {
  assert(frame == 0, 'a frame is being built already');
  assert(maxPieces < TX_TSO_MAX_SEGS, 'too many segments');
  if (txRoom() <= maxPieces) {
    count(CNT_TxRingFull);
    return 0;
  }
  const f = zbufAllocHeader();
  if (f == 0) {
    count(CNT_TxRingFull);
    return 0;
  }
  frameAdopt(f);
  return f;
}

/** Where the IP header (or an ARP packet) goes. */
@inline
export function frameL3(f: u32): u32 {
  return f + AT_L3;
}

/** Where the IPv6 header of a frame is. */
@inline
export function frameIpv6(f: u32): u32 {
  return f + AT_IPV6;
}

/** Where the L4 header goes. */
@inline
export function frameL4(f: u32): u32 {
  return f + AT_L4;
}

/** Adds payload by reference. */
export function framePayload(addr: u32, len: u32): void {
  zbufRef(addr);
  frameAppend(addr, len);
}

/** Adds payload, a reference to which comes with it. */
export function frameAppend(addr: u32, len: u32): void {
  const at = txSlot(++pieces);
  store<u32>(at, addr, TXD_ADDR);
  store<u32>(at, len, TXD_LEN);
  store<u32>(at, 0, TXD_FLAGS);
  store<u32>(at, 0, TXD_OFFLOAD);
}

/** Payload that lies right behind the last piece, in the same object, becomes part of it. */
export function frameExtend(len: u32): void {
  const at = txSlot(pieces);
  store<u32>(at, load<u32>(at, TXD_LEN) + len, TXD_LEN);
}

/** Pieces that the frame has. */
@inline
export function framePieces(): u32 {
  return pieces;
}

/** The frame is for the link to cut into TCP segments of `mss` bytes of payload: IPv4 only, with CFGF_TX_TSO. */
@inline
export function frameCut(mss: u32): void {
  cut = mss;
}

/** Whether frames to this destination go out at once. `dst` as ipOutput() takes it. */
export function pathReady(dst: u32, remote: u32): bool {
  if (!dstIs(dst, remote)) return false;
  const neighbour = dstNeighbour(dst);
  return neighbour != 0 && neighbourUsable(neighbour);
}

/** Gives back a frame that was begun and will not be sent. */
export function frameDrop(): void {
  for (let i: u32 = 1; i <= pieces; i++) zbufUnref(load<u32>(txSlot(i), TXD_ADDR));
  headerRelease(frame);
  frame = 0;
}

/** Checksum of the L4 header and the payload pieces behind the ring's head. */
function l4Sum(l4: u32, l4Len: u32, acc: u64): u32 {
  acc = sum16(l4, l4Len + attached, acc);
  let odd = (attached & 1) != 0;
  for (let i: u32 = 1; i <= pieces; i++) {
    const at = txSlot(i);
    const len = load<u32>(at, TXD_LEN);
    acc = sumAppend(acc, odd, load<u32>(at, TXD_ADDR), len);
    if (len & 1) odd = !odd;
  }
  return ~fold(acc);
}

/** Fills in UDP's checksum (RFC 768; RFC 8200 §8.1). Returns the flags of the frame. */
function udpFinish(l4: u32, l4Len: u32, pseudo: u64): u32 {
  if (!(load<u32>(CFG_FLAGS) & CFGF_TX_NO_CSUM)) setUdpChecksum(l4, ~l4Sum(l4, l4Len, pseudo));
  return TXF_START;
}

/** Fills in TCP's checksum or leaves it to the link. Returns the flags of the frame. */
function tcpChecksum(l4: u32, l4Len: u32, pseudo: u64, v4: bool): u32 {
  const config = load<u32>(CFG_FLAGS);
  if (config & CFGF_TX_NO_CSUM) return TXF_START;
  // Links are asked to do it for IPv4 only.
  if (v4 && config & CFGF_TX_CSUM) {
    setTcpChecksum(l4, <u16>fold(pseudo));
    return TXF_START | TXF_TCP_CSUM;
  }
  setTcpChecksum(l4, <u16>l4Sum(l4, l4Len, pseudo));
  return TXF_START;
}

/** Writes the IPv6 header and the checksum, which in IPv6 every protocol has. Returns the flags of the frame. */
function finish6(addrs: u32, proto: u32, l4Len: u32, payloadLen: u32, service: u32): u32 {
  const l4 = frame + AT_L4;
  const hopLimit = service >> 8;
  const len = l4Len + payloadLen;
  setIpv6(frame + AT_IPV6, len, proto, addrs, addrs + 16, service & 0xff, hopLimit ? hopLimit : IPV6_HOP_LIMIT_DEFAULT);
  const pseudo = pseudo6(addrs, addrs + 16, proto, len);
  count(CNT_Ip6OutRequests);
  if (proto == PROTO_TCP) return tcpChecksum(l4, l4Len, pseudo, false);
  if (proto == PROTO_UDP) return udpFinish(l4, l4Len, pseudo);
  store<u16>(l4, <u16>l4Sum(l4, l4Len, pseudo), ICMPV6_CHECKSUM);
  return TXF_START;
}

function finish4(addrs: u32, proto: u32, l4Len: u32, payloadLen: u32, service: u32): u32 {
  const src = mappedRaw(addrs);
  const to = mappedRaw(addrs + 16);
  const ttl = service >> 8;
  const len = l4Len + payloadLen;
  setIpv4(frame + AT_L3, IPV4_HEADER + len, proto, src, to, service & 0xff, ttl ? ttl : IPV4_TTL_DEFAULT);
  count(CNT_IpOutRequests);
  if (proto == PROTO_UDP) return udpFinish(frame + AT_L4, l4Len, pseudo4(src, to, PROTO_UDP, len));
  if (proto != PROTO_TCP) return TXF_START;
  if (cut != 0) {
    setTcpChecksum(frame + AT_L4, <u16>fold(pseudo4(src, to, PROTO_TCP, 0)));
    const flags = TXF_START | TXF_TCP_CSUM | TXF_TSO | (cut << TXF_TSO_MSS_SHIFT);
    cut = 0;
    return flags;
  }
  return tcpChecksum(frame + AT_L4, l4Len, pseudo4(src, to, PROTO_TCP, len), true);
}

/** Ends the frame: see the top of this file. `service`: traffic class, and the TTL or hop limit (0 = default) above its eight bits. */
export function ipOutput(dst: u32, addrs: u32, proto: u32, l4Len: u32, payloadLen: u32, service: u32): bool {
  assert(frame != 0, 'no frame is being built');
  const remote = addrs + 16;
  const v4 = isMapped(remote);
  dst = dstCurrent(dst, remote);
  if (dst == 0) {
    count(v4 ? CNT_IpOutNoRoutes : CNT_Ip6OutNoRoutes);
    frameDrop();
    return false;
  }
  const flags = v4
    ? finish4(addrs, proto, l4Len, payloadLen, service)
    : finish6(addrs, proto, l4Len, payloadLen, service);
  frameSend(dst, v4, l4Len, payloadLen, flags);
  return true;
}

/**
 * Ends a frame whose headers are written, IP's as well: `l4Len` bytes behind the IP header, then the payload. Publishes
 * it, or has it wait for the neighbour's MAC.
 */
export function frameSend(dst: u32, v4: bool, l4Len: u32, payloadLen: u32, flags: u32): void {
  const type = v4 ? ETHERTYPE_IPV4_RAW : ETHERTYPE_IPV6_RAW;
  const ipLen = v4 ? IPV4_HEADER : IPV6_HEADER;
  // From here on the first segment is what counts, not where in it the payload begins.
  const headerLen = ETH_HEADER + ipLen + l4Len + attached;
  payloadLen -= attached;
  const offload = ETH_HEADER | (ipLen << 8) | (l4Len << 16);
  if (dst == DST_BROADCAST) {
    framePublish(MAC_BROADCAST, type, headerLen, payloadLen, flags, offload);
    return;
  }
  const neighbour = dstNeighbour(dst);
  if (neighbour != 0 && neighbourUsable(neighbour)) {
    framePublish(neighbourMac(neighbour), type, headerLen, payloadLen, flags, offload);
  } else {
    // Resolution may build a frame of its own, so this one is out of the way first.
    const f = frame;
    const n = pieces;
    frame = 0;
    neighbourQueue(neighbour, f, n, headerLen, payloadLen, flags, offload);
  }
}

/** Ends an IPv6 frame without payload for a MAC that is known, without asking routes or neighbours (nd.ts). */
export function ipOutputTo(mac: u64, addrs: u32, proto: u32, l4Len: u32, service: u32): void {
  const flags = finish6(addrs, proto, l4Len, 0, service);
  framePublish(
    mac,
    ETHERTYPE_IPV6_RAW,
    ETH_HEADER + IPV6_HEADER + l4Len,
    0,
    flags,
    ETH_HEADER | (IPV6_HEADER << 8) | (l4Len << 16),
  );
}

/** Makes a frame that had been put aside, from frameBegin() to ipOutput(), the one being built again. */
export function frameAdopt(f: u32): void {
  assert(frame == 0, 'a frame is being built already');
  frame = f;
  pieces = 0;
  attached = 0;
}

/** `len` bytes of payload lie right behind the L4 header of the frame that has just been begun. */
export function frameAttach(len: u32): void {
  attached = len;
}

/** Ends the frame with its Ethernet header: `headerLen` bytes from there in one segment, then the payload's pieces. */
export function framePublish(mac: u64, typeRaw: u32, headerLen: u32, payloadLen: u32, flags: u32, offload: u32): void {
  const eth = frame + (typeRaw == ETHERTYPE_IPV6_RAW ? AT_IPV6 - ETH_HEADER : AT_ETH);
  setEth(eth, mac, ourMac, typeRaw);
  framePut(eth, headerLen, flags, offload);
  count(CNT_TxFrames);
  countAdd(CNT_TxBytes, headerLen + payloadLen);
}

/** Publishes the descriptors of the frame, whose headers are `headerLen` bytes from `eth` on. Counting is the caller's. */
@inline
export function framePut(eth: u32, headerLen: u32, flags: u32, offload: u32): void {
  const n = pieces;
  const at = txSlot(0);
  store<u32>(at, eth, TXD_ADDR);
  store<u32>(at, headerLen, TXD_LEN);
  store<u32>(at, offload, TXD_OFFLOAD);
  if (n == 0) store<u32>(at, flags | TXF_END, TXD_FLAGS);
  else {
    store<u32>(at, flags, TXD_FLAGS);
    store<u32>(txSlot(n), TXF_END, TXD_FLAGS);
  }
  store<u32>(CTL_TX_HEAD, load<u32>(CTL_TX_HEAD) + n + 1);
  frame = 0;
}
