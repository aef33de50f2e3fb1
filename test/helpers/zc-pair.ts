// Stacks of one process on a memory hub, each with its lunet/zc, for tests in real time.
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { type Link, memoryLink, openStack, type Stack, type StackOptions } from '../../src/host/index.js';
import { createZc, type Zc, type ZcConnection } from '../../src/host/zc/index.js';
import { until } from './net-pair.js';
import { random } from './random.js';

export const SERVER = '10.0.0.1';
let hubs = 0;

export interface Pair {
  stacks: Stack[];
  server: Zc;
  client: Zc;
}

export interface Lossy {
  /** Of a thousand frames received, so many have a byte changed, which TCP's checksum tells. */
  lossPermille?: number;
}

/** Stacks with the addresses 10.0.0.1, 10.0.0.2, … on a hub of their own. */
export async function openStacks(count: number, options: Partial<StackOptions> & Lossy = {}): Promise<Stack[]> {
  const { lossPermille = 0, ...rest } = options;
  const hub = `zc-${process.pid}-${hubs++}`;
  const stacks: Stack[] = [];
  for (let i = 1; i <= count; i++) {
    const link = memoryLink(hub);
    stacks.push(
      await openStack({
        link: lossPermille > 0 ? damaging(link, lossPermille, i) : link,
        address: `10.0.0.${i}/24`,
        zones: 16,
        rxZones: 4,
        maxConnections: 256,
        ...rest,
      }),
    );
  }
  return stacks;
}

export async function open(options: Partial<StackOptions> & Lossy = {}): Promise<Pair> {
  const stacks = await openStacks(2, options);
  return { stacks, server: createZc(stacks[0]), client: createZc(stacks[1]) };
}

const MIN_TCP_FRAME = 54;

function damaging(link: Link, permille: number, seed: number): Link {
  const { below } = random(seed);
  let u8 = new Uint8Array(0);
  let u32 = new Uint32Array(0);
  return {
    ...link,
    attach(placement) {
      u8 = new Uint8Array(placement.memory.buffer);
      u32 = new Uint32Array(placement.memory.buffer);
      return link.attach(placement);
    },
    burst() {
      const frames = link.burst();
      const at = u32[L.CTL_RX_AT >> 2] >> 2;
      for (let i = 0; i < frames; i++) {
        const length = u32[at + 4 * i + 1];
        if (length >= MIN_TCP_FRAME && below(1000) < permille) u8[u32[at + 4 * i] + length - 1] ^= 0xff;
      }
      return frames;
    },
  };
}

/** Nothing is held any more; then the stacks close. */
export async function finish({ stacks }: { stacks: Stack[] }, misuse = 0n): Promise<void> {
  const inUse = (): number => stacks.reduce((sum, { core }) => sum + core.zbufInUse() + core.rxInUse(), 0);
  try {
    await until(() => inUse() === 0, 'objects in use after the test');
    if (misuse === 0n) for (const { core } of stacks) assert.is(core.counters().ZbufMisuse, 0n);
  } finally {
    for (const stack of stacks) await stack.close();
  }
}

/** The code of what `act` throws. */
export function code(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'none';
  }
  return 'nothing thrown';
}

/** Sends text in an object of its own. */
export function say(zc: Zc, connection: ZcConnection, text: string): boolean {
  const addr = zc.alloc(Buffer.byteLength(text));
  const sent = connection.send(addr, zc.write(addr, text));
  zc.free(addr);
  return sent;
}
