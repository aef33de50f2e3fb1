// Two cores and the wire between them, in virtual time: delay, rate-less, with seeded loss, duplication, reordering
// and corruption.
import { writeAddress } from '../../src/host/core/address.js';
import type { CoreConfig } from '../../src/host/core/core.js';
import { type ManualCore, manualCore, OWN_MAC, PEER_MAC } from './manual.js';
import { type Random, random } from './random.js';

export interface WireOptions {
  delayUs: number;
  /** Chances in a thousand. */
  loss?: number;
  duplicate?: number;
  reorder?: number;
  corrupt?: number;
  /** How much later a reordered frame arrives, at most. */
  reorderUs?: number;
  /** Sees every frame that an end sends, before anything happens to it. */
  sees?(from: number, frame: Uint8Array): void;
}

export const IPV4_ADDRESSES = ['10.0.0.1', '10.0.0.2'] as const;
export const IPV6_ADDRESSES = ['fd00::1', 'fd00::2'] as const;

interface Flight {
  atUs: number;
  order: number;
  to: number;
  frame: Uint8Array;
}

export class Wire {
  readonly ends: readonly [ManualCore, ManualCore];
  readonly r: Random;
  nowUs = 1_000_000;
  /** Frames that were dropped or damaged. */
  harmed = 0;
  options: WireOptions;
  #flights: Flight[] = [];
  #order = 0;
  readonly #deadlines = [0, 0];

  constructor(
    seed: number,
    options: WireOptions,
    config: Partial<CoreConfig> = {},
    addresses: readonly [string, string] = IPV4_ADDRESSES,
  ) {
    const open = (i: number, mac: Uint8Array): ManualCore =>
      manualCore({ ...config, seed: BigInt(seed + i), mac }, undefined, addresses[i], 120);
    this.r = random(seed);
    this.options = options;
    this.ends = [open(0, OWN_MAC), open(1, PEER_MAC)];
    this.ends.forEach((end, i) => {
      end.nowUs = this.nowUs;
      // Three lost ARP questions make a neighbour unreachable, which is not what a lossy wire is to test.
      const { core } = end;
      writeAddress(core.u8, core.scratch, addresses[1 - i]);
      core.u8.set(i === 0 ? PEER_MAC : OWN_MAC, core.scratch + 16);
      core.neighSet(core.scratch, core.scratch + 16);
    });
  }

  /** Puts on the wire what the ends have to send; the application has just used its sockets. */
  collect(): void {
    const { r, options } = this;
    for (const from of [0, 1]) {
      const end = this.ends[from];
      end.core.flush(this.nowUs);
      for (const frame of end.take()) {
        options.sees?.(from, frame);
        const chance = (perMille = 0): boolean => r.below(1000) < perMille;
        if (chance(options.loss)) {
          this.harmed++;
          continue;
        }
        if (chance(options.corrupt)) {
          this.harmed++;
          frame[r.below(frame.length)] ^= 1 << r.below(8);
        }
        const late = chance(options.reorder) ? r.below(options.reorderUs ?? 1000) : 0;
        for (let copies = chance(options.duplicate) ? 2 : 1; copies > 0; copies--) {
          this.#flights.push({ atUs: this.nowUs + options.delayUs + late, order: this.#order++, to: 1 - from, frame });
        }
      }
      this.#deadlines[from] = end.core.poll(this.nowUs);
    }
    this.#flights.sort((a, b) => a.atUs - b.atUs || a.order - b.order);
  }

  /** Goes on to the next arrival or timer, at most to `limitUs`. False when there is none before it. */
  step(limitUs: number): boolean {
    this.collect();
    const next = Math.min(this.#flights[0]?.atUs ?? Infinity, ...this.#deadlines);
    if (next > limitUs) {
      this.nowUs = limitUs;
      for (const end of this.ends) end.nowUs = limitUs;
      return false;
    }
    this.nowUs = Math.max(this.nowUs, Math.ceil(next));
    for (const end of this.ends) end.nowUs = this.nowUs;
    const arrivals: Uint8Array[][] = [[], []];
    while (
      this.#flights.length > 0 &&
      this.#flights[0].atUs <= this.nowUs &&
      arrivals[this.#flights[0].to].length < 64
    ) {
      const { to, frame } = this.#flights.shift() as Flight;
      arrivals[to].push(frame);
    }
    this.ends.forEach((end, i) => {
      if (arrivals[i].length > 0) end.inject(...arrivals[i]);
      end.poll();
    });
    return true;
  }
}
