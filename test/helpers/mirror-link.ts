// A link that ends in a mirror: what a stack sends to MIRROR comes back from there. A stack with one address can so talk
// to itself, over a link that allocates nothing.
import { writeAddress } from '../../src/host/core/address.js';
import * as L from '../../src/host/core/layout.js';
import { openStack } from '../../src/host/index.js';
import type { Link, LinkAttachment, LinkPlacement } from '../../src/host/link/link.js';
import type { LoopOptions } from '../../src/host/loop/loop.js';
import { createZc, type Zc } from '../../src/host/zc/index.js';

/** Where the mirror seems to be, in the stack's own subnet. */
export const MIRROR = '10.0.0.2';
const MIRROR_MAC = new Uint8Array([2, 0, 0, 0, 0, 2]);
const OWN_MAC = new Uint8Array([2, 0, 0, 0, 0, 1]);
const STRIDE = 2048;
const BURST = 32;
/** Every burst takes as long: performance.now() gives an object each time. */
const BURST_NS = 1000;
const SRC_IP = 26;
const DST_IP = 30;

export function mirrorLink(): Link {
  let u8 = new Uint8Array(0);
  let u32 = new Uint32Array(0);
  let f64 = new Float64Array(0);
  let free = new Uint32Array(0);
  let freeCount = 0;
  let inbox = new Uint32Array(0);
  let head = 0;
  let tail = 0;

  function takeFreed(): void {
    const at = u32[L.CTL_FREE_AT >> 2] >> 2;
    const mask = u32[L.CTL_FREE_SIZE >> 2] - 1;
    while (u32[L.CTL_FREE_TAIL >> 2] !== u32[L.CTL_FREE_HEAD >> 2]) {
      free[freeCount++] = u32[at + (u32[L.CTL_FREE_TAIL >> 2]++ & mask)];
    }
  }

  /** Each address takes the other's place: no checksum changes by that. */
  function turnRound(frame: number): void {
    for (let i = 0; i < 6; i++) {
      u8[frame + i] = OWN_MAC[i];
      u8[frame + 6 + i] = MIRROR_MAC[i];
    }
    for (let i = 0; i < 4; i++) {
      const from = u8[frame + SRC_IP + i];
      u8[frame + SRC_IP + i] = u8[frame + DST_IP + i];
      u8[frame + DST_IP + i] = from;
    }
  }

  function transmit(): void {
    const at = u32[L.CTL_TX_AT >> 2] >> 2;
    const mask = u32[L.CTL_TX_SIZE >> 2] - 1;
    const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
    const doneMask = u32[L.CTL_DONE_SIZE >> 2] - 1;
    while (u32[L.CTL_TX_TAIL >> 2] !== u32[L.CTL_TX_HEAD >> 2]) {
      const object = freeCount > 0 ? free[--freeCount] : 0;
      let to = object;
      let last = false;
      while (!last) {
        const entry = at + 4 * (u32[L.CTL_TX_TAIL >> 2]++ & mask);
        const from = u32[entry];
        const length = u32[entry + 1];
        if (object !== 0) u8.copyWithin(to, from, from + length);
        to += length;
        last = (u32[entry + 2] & L.TXF_END) !== 0;
        u32[doneAt + (u32[L.CTL_DONE_HEAD >> 2]++ & doneMask)] = from;
      }
      if (object === 0) continue;
      turnRound(object);
      inbox[head] = object;
      inbox[head + 1] = to - object;
      head = (head + 2) % inbox.length;
    }
  }

  const clock = L.CTL_CLOCK_NS >> 3;

  return {
    info: {
      uri: 'memory:mirror',
      driver: 'memory',
      mac: OWN_MAC,
      mtu: 1500,
      offloads: { txChecksum: false, rxChecksum: false, tso: false, multiSegment: true, gso: true, gro: true },
      rxChecksumTrusted: false,
      loopback: false,
      kernelInterface: null,
      description: 'a mirror',
      copiesPerPayloadByte: '1',
    },
    attach(placement: LinkPlacement): LinkAttachment {
      u8 = new Uint8Array(placement.memory.buffer);
      u32 = new Uint32Array(placement.memory.buffer);
      f64 = new Float64Array(placement.memory.buffer);
      const count = (placement.rxZones * L.ZONE_BYTES) / STRIDE;
      free = Uint32Array.from({ length: count }, (_, i) => placement.arenaEnd + i * STRIDE);
      freeCount = count;
      inbox = new Uint32Array(2 * (count + 1));
      return {
        zoneBase: placement.arenaEnd,
        rxPools: [{ base: placement.arenaEnd, stride: STRIDE, count }],
        hugepages: false,
      };
    },
    start() {},
    burst() {
      takeFreed();
      if (u32[L.CTL_TX_TAIL >> 2] !== u32[L.CTL_TX_HEAD >> 2]) transmit();
      f64[clock] += BURST_NS;
      const at = u32[L.CTL_RX_AT >> 2] >> 2;
      let frames = 0;
      for (; frames < BURST && tail !== head; frames++) {
        u32[at + 4 * frames] = inbox[tail];
        u32[at + 4 * frames + 1] = inbox[tail + 1];
        u32[at + 4 * frames + 2] = 0;
        tail = (tail + 2) % inbox.length;
      }
      return frames;
    },
    clockNs: () => f64[clock],
    // Who sends is awake, and what comes back is there at the next burst.
    armWakeup: () => true,
    disarmWakeup() {},
    stats: () => ({}),
    close() {},
  };
}

/** lunet/zc on a mirror. */
export async function openMirrored(loop: LoopOptions = {}): Promise<Zc> {
  const stack = await openStack({
    link: mirrorLink(),
    address: '10.0.0.1/24',
    zones: 8,
    rxZones: 2,
    maxConnections: 64,
    loop,
  });
  const { core } = stack;
  writeAddress(core.u8, core.scratch, MIRROR);
  core.u8.set(MIRROR_MAC, core.scratch + 16);
  core.neighSet(core.scratch, core.scratch + 16);
  return createZc(stack);
}
