// `loopback:`: a link that gives back what it is given. Client and server are sockets of one stack, on one core and one
// thread. The moving is done in WebAssembly (assembly/loopback), by one call a turn, and with it the sums for TCP's checksums.
import { readFileSync } from 'node:fs';
import { codeError } from '../core/errors.js';
import * as L from '../core/layout.js';
import { ETHERNET_BYTES, linkMtu, type MemoryLinkOptions, nextMac } from './embedded.js';
import type { Link, LinkAttachment, LinkInfo, LinkPlacement } from './link.js';

interface Mover {
  attach(base: number, stride: number, count: number): void;
  turn(burst: number): number;
  waiting(): number;
  framesMoved(): number;
  framesWithoutObject(): number;
  framesTooLong(): number;
}

/** What an object holds beside the frame: its headroom, and what the copy may overshoot by. */
const OBJECT_EXTRA = 66 + 16;
const OBJECT_ALIGN = 64;
/** Of a free object, on the stack of them. */
const STACK_BYTES = 4;
const DEFAULT_BURST = 64;

let compiled: WebAssembly.Module | null = null;

/** Throws ERR_LUNET_NO_CORE when it has not been built. */
function moverModule(): WebAssembly.Module {
  if (!compiled) {
    let bytes: Buffer;
    try {
      bytes = readFileSync(new URL('../../../../build/loopback.wasm', import.meta.url));
    } catch (error) {
      throw codeError(
        'ERR_LUNET_NO_CORE',
        `the loopback link is not built (${(error as Error).message}): run "npm run setup"`,
      );
    }
    compiled = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  }
  return compiled;
}

export function loopbackLink(options: MemoryLinkOptions = {}): Link {
  const mtu = linkMtu('loopback:', options.mtu);
  const burstFrames = options.burstFrames ?? DEFAULT_BURST;
  const clockNs = options.clockNs ?? ((): number => performance.now() * 1e6);
  const csum = options.csum ?? true;
  const info: LinkInfo = {
    uri: 'loopback:',
    driver: 'loopback',
    mac: nextMac(options.mac),
    mtu,
    rxChecksumTrusted: false,
    offloads: Object.freeze({
      txChecksum: csum,
      checksumsInCopy: csum ? 'tx' : 'none',
      rxChecksum: false,
      tso: false,
      multiSegment: true,
      gso: options.gso ?? true,
      gro: options.gro ?? true,
    }),
    loopback: true,
    kernelInterface: null,
    description: 'a stack alone with itself',
    copiesPerPayloadByte: '1 (from the sent object to a receive object)',
  };
  let mover: Mover | null = null;
  let f64 = new Float64Array(0);
  let wakeup: (() => void) | null = null;

  function wake(): void {
    if (!wakeup) return;
    const callback = wakeup;
    wakeup = null;
    setImmediate(callback);
  }

  return {
    info,
    attach({ memory, arenaEnd, rxZones }: LinkPlacement): LinkAttachment {
      f64 = new Float64Array(memory.buffer);
      const bytes = mtu + ETHERNET_BYTES + OBJECT_EXTRA;
      const stride = Math.max(Math.ceil(bytes / OBJECT_ALIGN) * OBJECT_ALIGN, 1024);
      const count = Math.floor((rxZones * L.ZONE_BYTES) / (stride + STACK_BYTES));
      mover = new WebAssembly.Instance(moverModule(), { env: { memory } }).exports as unknown as Mover;
      mover.attach(arenaEnd, stride, count);
      return { zoneBase: arenaEnd, rxPools: [{ base: arenaEnd, stride, count }], hugepages: false };
    },
    start(): void {},
    burst(): number {
      f64[L.CTL_CLOCK_NS >> 3] = clockNs();
      return mover ? mover.turn(burstFrames) : 0;
    },
    clockNs,
    armWakeup(callback): boolean {
      wakeup = callback;
      if (mover?.waiting()) wake();
      return true;
    },
    disarmWakeup(): void {
      wakeup = null;
    },
    stats: () => ({
      txFrames: mover?.framesMoved() ?? 0,
      rxNoObject: mover?.framesWithoutObject() ?? 0,
      rxTooLong: mover?.framesTooLong() ?? 0,
    }),
    close(): void {
      wakeup = null;
      mover = null;
    },
  };
}
