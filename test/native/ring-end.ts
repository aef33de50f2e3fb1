// The smallest possible core: rings that the test lays out in a WebAssembly memory, and plain code that works them.
// What the shim must keep to is thus checked without the core.
import * as L from '../../src/host/core/layout.js';
import { openDpdkLink } from '../../src/host/link/dpdk.js';
import type { Link, LinkAttachment } from '../../src/host/link/link.js';
import { parseLinkUri } from '../../src/host/link/uri.js';

export interface EndOptions {
  zones?: number;
  rxZones?: number;
  /** Entries of the completion ring. */
  doneEntries?: number;
}

export type Descriptor = readonly [addr: number, len: number, flags: number, offload?: number];

export interface RingEnd {
  readonly link: Link;
  readonly memory: WebAssembly.Memory;
  readonly attachment: LinkAttachment;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly dv: DataView;
  /** Linear addresses whose transmission has been completed, in order. */
  readonly completed: number[];
  /** First linear address the test may use for payload. */
  readonly scratch: number;
  /** Copies the parts into zone memory and queues them as one frame. */
  send(...parts: Uint8Array[]): number[];
  /** Queues descriptors as they are: [addr, len, flags, offload]. */
  sendRaw(...descriptors: Descriptor[]): void;
  /** One burst; returns copies of the frames received and gives their objects back. */
  turn(): { bytes: Uint8Array; flags: number }[];
  /** Turns until `done` says so. Throws when it takes too long. */
  until(what: string, done: () => boolean, timeoutMs?: number): Promise<void>;
  /** One burst; sends what came back as it is, without a copy. Returns the frames received. */
  echo(): number;
  linkCopiedBytes(): number;
  close(): void;
}

export const ARENA_END = 16 * 65536;
const RINGS_AT = 65536;
const PAGES_PER_ZONE = L.ZONE_BYTES / 65536;
const SLOT_BYTES = 2048;
const TX_ENTRIES = 4096;
const FREE_ENTRIES = 16384;

/** Opens the link, attaches a memory, sets up the rings and starts. */
export async function openEnd(uri: string, options: EndOptions = {}): Promise<RingEnd> {
  const parsed = parseLinkUri(uri);
  if (parsed.scheme === 'memory' || parsed.scheme === 'loopback') throw new Error('not a DPDK link');
  const link = openDpdkLink(parsed);
  try {
    return await attachEnd(link, options);
  } catch (error) {
    link.close();
    throw error;
  }
}

async function attachEnd(link: Link, options: EndOptions): Promise<RingEnd> {
  const zoneCount = options.zones ?? 8;
  const rxZones = options.rxZones ?? 4;
  const pages = ARENA_END / 65536 + (zoneCount + 1) * PAGES_PER_ZONE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const attachment = link.attach({ memory, ctl: L.CTL, arenaEnd: ARENA_END, zoneCount, rxZones });
  const u8 = new Uint8Array(memory.buffer);
  const u32 = new Uint32Array(memory.buffer);
  const dv = new DataView(memory.buffer);
  const doneEntries = options.doneEntries ?? 4096;
  let at = RINGS_AT;
  for (const [atField, sizeField, entries, bytes] of [
    [L.CTL_RX_AT, L.CTL_RX_SIZE, 512, L.RXD_SIZE],
    [L.CTL_TX_AT, L.CTL_TX_SIZE, TX_ENTRIES, L.TXD_SIZE],
    [L.CTL_DONE_AT, L.CTL_DONE_SIZE, doneEntries, 4],
    [L.CTL_FREE_AT, L.CTL_FREE_SIZE, FREE_ENTRIES, 4],
  ]) {
    u32[atField >> 2] = at;
    u32[sizeField >> 2] = entries;
    at += entries * bytes;
  }
  const counters = at;
  u32[L.CTL_COUNTERS_AT >> 2] = counters;
  await link.start();

  const [pool] = attachment.rxPools;
  const scratch = attachment.zoneBase + rxZones * L.ZONE_BYTES;
  const scratchEnd = attachment.zoneBase + zoneCount * L.ZONE_BYTES;
  const rxAt = u32[L.CTL_RX_AT >> 2] >> 2;
  const txAt = u32[L.CTL_TX_AT >> 2] >> 2;
  const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
  const freeAt = u32[L.CTL_FREE_AT >> 2] >> 2;
  const completed: number[] = [];
  let next = scratch;

  const objectOf = (addr: number): number => addr - ((addr - pool.base) % pool.stride);

  function giveBack(addr: number): void {
    const head = u32[L.CTL_FREE_HEAD >> 2];
    u32[freeAt + (head & (FREE_ENTRIES - 1))] = objectOf(addr);
    u32[L.CTL_FREE_HEAD >> 2] = head + 1;
  }

  function takeCompletions(): void {
    let tail = u32[L.CTL_DONE_TAIL >> 2];
    for (; tail !== u32[L.CTL_DONE_HEAD >> 2]; tail = (tail + 1) >>> 0) {
      const addr = u32[doneAt + (tail & (doneEntries - 1))];
      // Below the payload area lie the receive objects that an echo lent to the transmitter.
      if (addr < scratch && addr >= pool.base) giveBack(addr);
      else completed.push(addr);
    }
    u32[L.CTL_DONE_TAIL >> 2] = tail;
  }

  function sendRaw(...descriptors: Descriptor[]): void {
    let head = u32[L.CTL_TX_HEAD >> 2];
    for (const [addr, len, flags, offload = 0] of descriptors) {
      const entry = txAt + ((head & (TX_ENTRIES - 1)) << 2);
      u32[entry] = addr;
      u32[entry + 1] = len;
      u32[entry + 2] = flags;
      u32[entry + 3] = offload;
      head = (head + 1) >>> 0;
    }
    u32[L.CTL_TX_HEAD >> 2] = head;
  }

  function turn(): { bytes: Uint8Array; flags: number }[] {
    const count = link.burst();
    const frames: { bytes: Uint8Array; flags: number }[] = [];
    for (let i = 0; i < count; i++) {
      const entry = rxAt + (i << 2);
      frames.push({ bytes: u8.slice(u32[entry], u32[entry] + u32[entry + 1]), flags: u32[entry + 2] });
      giveBack(u32[entry]);
    }
    takeCompletions();
    return frames;
  }

  return {
    link,
    memory,
    attachment,
    u8,
    u32,
    dv,
    completed,
    scratch,
    send(...parts) {
      const addresses = parts.map((part) => {
        if (next + SLOT_BYTES > scratchEnd) next = scratch;
        const addr = next;
        next += SLOT_BYTES;
        u8.set(part, addr);
        return addr;
      });
      sendRaw(
        ...parts.map((part, i): [number, number, number] => [
          addresses[i],
          part.length,
          (i === 0 ? L.TXF_START : 0) | (i === parts.length - 1 ? L.TXF_END : 0),
        ]),
      );
      return addresses;
    },
    sendRaw,
    turn,
    async until(what, done, timeoutMs = 5000) {
      const end = performance.now() + timeoutMs;
      while (!done()) {
        if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    echo() {
      const count = link.burst();
      for (let i = 0; i < count; i++) {
        const entry = rxAt + (i << 2);
        sendRaw([u32[entry], u32[entry + 1], L.TXF_START | L.TXF_END]);
      }
      takeCompletions();
      return count;
    },
    linkCopiedBytes: () => dv.getUint32(counters + 8 * L.CNT_LinkCopiedBytes, true),
    close: () => link.close(),
  };
}
