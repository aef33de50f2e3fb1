// `memory:NAME`: links of one process that name the same hub see each other's frames, as on a switch. Pure
// TypeScript: it runs wherever the core runs. The only link whose clock can be chosen, for virtual time.
import * as L from '../core/layout.js';
import { ETHERNET_BYTES, linkMtu, type MemoryLinkOptions, nextMac } from './embedded.js';
import type { Link, LinkAttachment, LinkInfo, LinkPlacement } from './link.js';

const OBJECT_ALIGN = 64;
const DEFAULT_BURST = 32;
/** A frame that nobody cuts. */
const WHOLE_BYTES = 65535 + ETHERNET_BYTES;
const INBOX_WORDS = 3;

const hubs = new Map<string, Set<Port>>();

/** What a hub knows of a link: how to hand it a frame that is being gathered from a sender's segments. */
interface Port {
  readonly mac: Uint8Array;
  /** Copies a frame out of the sender's memory; false when there was no receive object for it. `flags`: RXF_…. */
  deliver(from: Uint8Array, segments: Uint32Array, count: number, frameBytes: number, flags: number): boolean;
}

/** Opens a link on the hub `name`. */
export function memoryLink(name: string, options: MemoryLinkOptions = {}): Link {
  const mtu = linkMtu(`memory:${name}`, options.mtu);
  const burstFrames = options.burstFrames ?? DEFAULT_BURST;
  const clockNs = options.clockNs ?? ((): number => performance.now() * 1e6);
  const { csum = false, tso = false, gso = true, gro = true } = options;
  const mac = nextMac(options.mac);
  const info: LinkInfo = {
    uri: `memory:${name}`,
    driver: 'memory',
    mac,
    mtu,
    rxChecksumTrusted: false,
    loopback: false,
    offloads: Object.freeze({ txChecksum: csum, rxChecksum: csum, tso: tso && csum, multiSegment: true, gso, gro }),
    kernelInterface: null,
    description: `hub "${name}" in this process`,
    copiesPerPayloadByte: '1 (from the sender’s memory to the receiver’s)',
  };
  const counts = { txFrames: 0, rxFrames: 0, rxNoObject: 0, rxTooLong: 0 };

  let u32 = new Uint32Array(0);
  let u8 = new Uint8Array(0);
  let f64 = new Float64Array(0);
  let stride = 0;
  // Free receive objects, a stack: the one used last is the warmest.
  let free = new Uint32Array(0);
  let freeCount = 0;
  // Frames that wait for our burst: address, length and flags, a ring as large as the pool.
  let inbox = new Uint32Array(0);
  let inboxHead = 0;
  let inboxTail = 0;
  let wakeup: (() => void) | null = null;
  const segments = new Uint32Array(2 * L.TX_TSO_MAX_SEGS);

  const port: Port = {
    mac,
    deliver(from, parts, count, frameBytes, flags) {
      if (frameBytes > stride) {
        counts.rxTooLong++;
        return false;
      }
      if (freeCount === 0) {
        counts.rxNoObject++;
        return false;
      }
      const addr = free[--freeCount];
      let at = addr;
      for (let i = 0; i < count; i++) {
        const start = parts[2 * i];
        const length = parts[2 * i + 1];
        u8.set(from.subarray(start, start + length), at);
        at += length;
      }
      const slot = INBOX_WORDS * (inboxHead % (inbox.length / INBOX_WORDS));
      inbox[slot] = addr;
      inbox[slot + 1] = frameBytes;
      inbox[slot + 2] = flags;
      inboxHead++;
      wake();
      return true;
    },
  };

  let hub = hubs.get(name);
  if (!hub) {
    hub = new Set();
    hubs.set(name, hub);
  }
  const members = hub;
  members.add(port);

  function wake(): void {
    if (!wakeup) return;
    const callback = wakeup;
    wakeup = null;
    setImmediate(callback);
  }

  function takeFreed(): void {
    const head = u32[L.CTL_FREE_HEAD >> 2];
    let tail = u32[L.CTL_FREE_TAIL >> 2];
    const at = u32[L.CTL_FREE_AT >> 2] >> 2;
    const mask = u32[L.CTL_FREE_SIZE >> 2] - 1;
    for (; tail !== head; tail = (tail + 1) >>> 0) free[freeCount++] = u32[at + (tail & mask)];
    u32[L.CTL_FREE_TAIL >> 2] = tail;
  }

  function transmit(): void {
    const head = u32[L.CTL_TX_HEAD >> 2];
    let tail = u32[L.CTL_TX_TAIL >> 2];
    if (head === tail) return;
    const at = u32[L.CTL_TX_AT >> 2] >> 2;
    const mask = u32[L.CTL_TX_SIZE >> 2] - 1;
    const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
    const doneSize = u32[L.CTL_DONE_SIZE >> 2];
    const doneTail = u32[L.CTL_DONE_TAIL >> 2];
    let doneHead = u32[L.CTL_DONE_HEAD >> 2];
    while (tail !== head && doneSize - ((doneHead - doneTail) >>> 0) >= L.TX_TSO_MAX_SEGS) {
      let count = 0;
      let bytes = 0;
      let last = false;
      const flags = u32[at + ((tail & mask) << 2) + 2];
      do {
        const entry = at + ((tail & mask) << 2);
        tail = (tail + 1) >>> 0;
        segments[2 * count] = u32[entry];
        segments[2 * count + 1] = u32[entry + 1];
        bytes += u32[entry + 1];
        last = (u32[entry + 2] & L.TXF_END) !== 0;
        count++;
      } while (!last);
      forward(count, bytes, flags & L.TXF_TCP_CSUM ? L.RXF_L4_CSUM_OK : 0);
      for (let i = 0; i < count; i++) {
        u32[doneAt + (doneHead & (doneSize - 1))] = segments[2 * i];
        doneHead = (doneHead + 1) >>> 0;
      }
    }
    u32[L.CTL_TX_TAIL >> 2] = tail;
    u32[L.CTL_DONE_HEAD >> 2] = doneHead;
  }

  function forward(count: number, bytes: number, flags: number): void {
    counts.txFrames++;
    const dst = segments[0];
    const toAll = (u8[dst] & 1) === 1;
    for (const member of members) {
      if (member === port) continue;
      if (toAll || sameMac(u8, dst, member.mac)) member.deliver(u8, segments, count, bytes, flags);
    }
  }

  function receive(): number {
    const at = u32[L.CTL_RX_AT >> 2] >> 2;
    const limit = Math.min(burstFrames, u32[L.CTL_RX_SIZE >> 2]);
    const size = inbox.length / INBOX_WORDS;
    let frames = 0;
    while (frames < limit && inboxTail !== inboxHead) {
      const slot = INBOX_WORDS * (inboxTail % size);
      inboxTail++;
      const entry = at + (frames << 2);
      u32[entry] = inbox[slot];
      u32[entry + 1] = inbox[slot + 1];
      u32[entry + 2] = inbox[slot + 2];
      frames++;
    }
    counts.rxFrames += frames;
    return frames;
  }

  return {
    info,
    attach(placement: LinkPlacement): LinkAttachment {
      u32 = new Uint32Array(placement.memory.buffer);
      u8 = new Uint8Array(placement.memory.buffer);
      f64 = new Float64Array(placement.memory.buffer);
      const longest = info.offloads.tso ? WHOLE_BYTES : mtu + ETHERNET_BYTES;
      stride = Math.ceil(longest / OBJECT_ALIGN) * OBJECT_ALIGN;
      stride = Math.max(stride, 2048);
      const count = Math.floor((placement.rxZones * L.ZONE_BYTES) / stride);
      const base = placement.arenaEnd;
      free = new Uint32Array(count);
      for (let i = 0; i < count; i++) free[i] = base + (count - 1 - i) * stride;
      freeCount = count;
      inbox = new Uint32Array(INBOX_WORDS * count);
      return { zoneBase: base, rxPools: [{ base, stride, count }], hugepages: false };
    },
    start(): void {},
    burst(): number {
      takeFreed();
      transmit();
      f64[L.CTL_CLOCK_NS >> 3] = clockNs();
      return receive();
    },
    clockNs,
    armWakeup(callback): boolean {
      wakeup = callback;
      if (inboxTail !== inboxHead) wake();
      return true;
    },
    disarmWakeup(): void {
      wakeup = null;
    },
    stats: () => ({ ...counts, rxFreeObjects: freeCount }),
    close(): void {
      wakeup = null;
      members.delete(port);
      if (members.size === 0) hubs.delete(name);
    },
  };
}

function sameMac(bytes: Uint8Array, at: number, mac: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (bytes[at + i] !== mac[i]) return false;
  return true;
}
