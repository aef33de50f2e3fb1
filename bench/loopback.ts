// A link whose transmitted frames are its received ones: the least a link can do. Each frame is gathered into a receive
// object, and its IPv4 addresses change places, so that what a core sends to its neighbour comes from that neighbour.
// Neither the header's checksum nor TCP's depends on the order of the two.
import * as L from '../src/host/core/layout.js';
import type { Link, LinkAttachment, LinkPlacement } from '../src/host/link/link.js';

const BURST = 32;
const OBJECT_ALIGN = 64;
const ETHERNET_BYTES = 14;
/** Of the source address in a frame, in halves of a word; the destination follows. */
const SRC_AT = (ETHERNET_BYTES + 12) >> 1;

export function loopbackLink(mtu: number, clockNs: () => number): Link {
  let u8 = new Uint8Array(0);
  let u16 = new Uint16Array(0);
  let u32 = new Uint32Array(0);
  let f64 = new Float64Array(0);
  let free = new Uint32Array(0);
  let freeCount = 0;

  function takeFreed(): void {
    const head = u32[L.CTL_FREE_HEAD >> 2];
    let tail = u32[L.CTL_FREE_TAIL >> 2];
    const at = u32[L.CTL_FREE_AT >> 2] >> 2;
    const mask = u32[L.CTL_FREE_SIZE >> 2] - 1;
    for (; tail !== head; tail = (tail + 1) >>> 0) free[freeCount++] = u32[at + (tail & mask)];
    u32[L.CTL_FREE_TAIL >> 2] = tail;
  }

  function swapAddresses(object: number): void {
    const at = (object >> 1) + SRC_AT;
    const [low, high] = [u16[at], u16[at + 1]];
    u16[at] = u16[at + 2];
    u16[at + 1] = u16[at + 3];
    u16[at + 2] = low;
    u16[at + 3] = high;
  }

  /** Moves up to a burst of frames from the transmit ring to the receive descriptors. What is left waits in the ring. */
  function move(): number {
    const head = u32[L.CTL_TX_HEAD >> 2];
    let tail = u32[L.CTL_TX_TAIL >> 2];
    if (head === tail) return 0;
    const at = u32[L.CTL_TX_AT >> 2] >> 2;
    const mask = u32[L.CTL_TX_SIZE >> 2] - 1;
    const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
    const doneMask = u32[L.CTL_DONE_SIZE >> 2] - 1;
    let doneHead = u32[L.CTL_DONE_HEAD >> 2];
    let descriptor = u32[L.CTL_RX_AT >> 2] >> 2;
    let frames = 0;
    while (tail !== head && frames < BURST && freeCount > 0) {
      const object = free[--freeCount];
      let end = object;
      for (let last = false; !last; tail = (tail + 1) >>> 0) {
        const entry = at + ((tail & mask) << 2);
        const from = u32[entry];
        const bytes = u32[entry + 1];
        u8.copyWithin(end, from, from + bytes);
        end += bytes;
        last = (u32[entry + 2] & L.TXF_END) !== 0;
        u32[doneAt + (doneHead & doneMask)] = from;
        doneHead = (doneHead + 1) >>> 0;
      }
      swapAddresses(object);
      u32[descriptor] = object;
      u32[descriptor + 1] = end - object;
      u32[descriptor + 2] = 0;
      descriptor += 4;
      frames++;
    }
    u32[L.CTL_TX_TAIL >> 2] = tail;
    u32[L.CTL_DONE_HEAD >> 2] = doneHead;
    return frames;
  }

  return {
    info: {
      uri: 'loopback',
      driver: 'loopback',
      mac: new Uint8Array([2, 0, 0, 0, 0, 1]),
      mtu,
      multiSegment: true,
      txChecksum: false,
      rxChecksumTrusted: false,
      kernelInterface: null,
      // As between two hosts: the pair gives the core a neighbour.
      loopback: false,
      description: 'the core’s own transmitted frames',
      copiesPerPayloadByte: '1',
    },
    attach(placement: LinkPlacement): LinkAttachment {
      const { buffer } = placement.memory;
      u8 = new Uint8Array(buffer);
      u16 = new Uint16Array(buffer);
      u32 = new Uint32Array(buffer);
      f64 = new Float64Array(buffer);
      const stride = Math.max(2048, Math.ceil((mtu + ETHERNET_BYTES) / OBJECT_ALIGN) * OBJECT_ALIGN);
      const count = Math.floor((placement.rxZones * L.ZONE_BYTES) / stride);
      const base = placement.arenaEnd;
      free = Uint32Array.from({ length: count }, (_, i) => base + (count - 1 - i) * stride);
      freeCount = count;
      return { zoneBase: base, rxPools: [{ base, stride, count }], hugepages: false };
    },
    start: () => undefined,
    burst() {
      takeFreed();
      f64[L.CTL_CLOCK_NS >> 3] = clockNs();
      return move();
    },
    clockNs,
    armWakeup: () => false,
    disarmWakeup: () => undefined,
    stats: () => ({ rxFreeObjects: freeCount }),
    close: () => undefined,
  };
}
