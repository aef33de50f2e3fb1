// The core with loops around its inner functions, for benchmarks alone: what they measure is called as the core itself
// calls it, and not through a boundary of the language for each operation.

import { TCP_SYN_SENT } from '../../assembly/abi/layout';
import { nowUs } from '../../assembly/abi/runtime';
import { segAck, segLen, segRead, segSeq, segWindow } from '../../assembly/tcp/arrival';
import { flowFind, flowInsert } from '../../assembly/tcp/flow';
import { slotAlloc } from '../../assembly/tcp/handle';
import { NODE_DELACK, SLOT_SIZE, addressesOf, tcbAt, tcbTableAt } from '../../assembly/tcp/tcb';
import { timerArm, timerCancel, timerRemove } from '../../assembly/timer/wheel';
import { fold, sum16 } from '../../assembly/wire/checksum';
import { ETHERTYPE_IPV4_RAW, ETH_HEADER, ethDst, ethFits, ethTypeRaw } from '../../assembly/wire/ethernet';
import {
  ipv4DstRaw,
  ipv4Fits,
  ipv4HeaderBytes,
  ipv4IsFragment,
  ipv4IsMartian,
  ipv4Proto,
  ipv4SrcRaw,
  ipv4Sum,
  ipv4Total,
  mappedStore,
  PROTO_TCP,
} from '../../assembly/wire/ipv4';
import { tcpFits } from '../../assembly/wire/tcp';
import { zbufAlloc, zbufEnd, zbufRef, zbufUnref } from '../../assembly/zbuf/zbuf';

export * from '../../assembly/index';

/** Allocates and frees an object of `size` bytes, `times` over. */
export function hotAllocFree(times: u32, size: u32): void {
  for (let i: u32 = 0; i < times; i++) zbufUnref(zbufAlloc(size));
}

/** Takes and gives up a reference by interior pointers of the 2,048-byte object at `addr`. */
export function hotDupFree(times: u32, addr: u32): void {
  for (let i: u32 = 0; i < times; i++) {
    zbufRef(addr + (i & 2047));
    zbufUnref(addr + (i & 2047));
  }
}

/** Address → object: where the object ends that an interior pointer lies in. */
export function hotObject(times: u32, addr: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < times; i++) sum += zbufEnd(addr + (i & 2047));
  return sum;
}

/** The checksum of `len` bytes at `at`. */
export function hotChecksum(times: u32, at: u32, len: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < times; i++) sum = fold(sum16(at, len, sum));
  return sum;
}

/** Copies `len` bytes, as a yardstick. */
export function hotCopy(times: u32, to: u32, from: u32, len: u32): void {
  for (let i: u32 = 0; i < times; i++) memory.copy(to, from, len);
}

const ADDRESSES: u32 = <u32>memory.data(32, 16);

/** Checks and reads the headers of 32 frames that lie `stride` bytes apart, in turn. Returns how many were TCP. */
export function hotHeaders(times: u32, frames: u32, stride: u32, len: u32): u32 {
  let tcp: u32 = 0;
  const own = ethDst(frames);
  for (let i: u32 = 0; i < times; i++) {
    const p = frames + (i & 31) * stride;
    if (!ethFits(len) || ethDst(p) != own || ethTypeRaw(p) != ETHERTYPE_IPV4_RAW) continue;
    const ip = p + ETH_HEADER;
    if (!ipv4Fits(ip, len - ETH_HEADER) || ipv4Total(ip) > len - ETH_HEADER || ipv4Sum(ip) != 0xffff) continue;
    if (ipv4IsFragment(ip) || ipv4IsMartian(ipv4SrcRaw(ip)) || ipv4Proto(ip) != PROTO_TCP) continue;
    store<u32>(ADDRESSES, ipv4DstRaw(ip), 12);
    store<u32>(ADDRESSES, ipv4SrcRaw(ip), 28);
    const header = ipv4HeaderBytes(ip);
    const l4Len = ipv4Total(ip) - header;
    if (!tcpFits(ip + header, l4Len)) continue;
    segRead(ip + header, l4Len, ADDRESSES);
    tcp += <u32>(segSeq + segAck + segWindow + segLen != 0);
  }
  return tcp;
}

const KEY: u32 = <u32>memory.data(32, 16);
const OWN_RAW: u32 = 0x0100000a;
const PORT: u32 = 80;

/** Writes the addresses of connection `i` to KEY and returns its ports: 16,384 to each remote address. */
@inline
function keyOf(i: u32): u32 {
  mappedStore(KEY + 16, 0x0a | ((i >> 14) << 8));
  return PORT | ((1024 + (i & 16383)) << 16);
}

/** Puts `connections` connections into the flow table. Returns how many found room. */
export function hotFlowFill(connections: u32): u32 {
  mappedStore(KEY, OWN_RAW);
  for (let i: u32 = 0; i < connections; i++) {
    const at = slotAlloc();
    if (!at) return i;
    const t = tcbAt(at);
    t.state = <u8>TCP_SYN_SENT;
    t.ports = keyOf(i);
    memory.copy(addressesOf(t), KEY, 32);
    flowInsert(t);
  }
  return connections;
}

let draw: u32 = 1;

/** Looks up connections at random among the first `connections`. Returns how many were found. */
export function hotFlowFind(times: u32, connections: u32): u32 {
  let found: u32 = 0;
  for (let i: u32 = 0; i < times; i++) {
    draw = draw * 1664525 + 1013904223;
    const ports = keyOf(<u32>((<u64>draw * connections) >> 32));
    found += <u32>(flowFind(KEY, ports) != 0);
  }
  return found;
}

/** Delayed-ACK timers of free slots: when they expire nothing follows. */
@inline
function node(i: u32): u32 {
  return tcbTableAt() + i * SLOT_SIZE + NODE_DELACK;
}

/** Arms `timers` timers, from `fromUs` after now on, `stepUs` apart. */
export function hotTimerArm(timers: u32, fromUs: u32, stepUs: u32): void {
  for (let i: u32 = 0; i < timers; i++) timerArm(node(i), nowUs + fromUs + i * stepUs);
}

/** Cancels what hotTimerArm() armed, as TCP does: the node stays filed. */
export function hotTimerCancel(timers: u32): void {
  for (let i: u32 = 0; i < timers; i++) timerCancel(node(i));
}

/** Takes what hotTimerArm() armed out of the wheel. */
export function hotTimerRemove(timers: u32): void {
  for (let i: u32 = 0; i < timers; i++) timerRemove(node(i));
}
