// Seeded randomness (mulberry32): a failure names the seed and can be run again.
export interface Random {
  /** An integer in [0, below). */
  below(below: number): number;
  /** True once in `n` times. */
  oneIn(n: number): boolean;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  u32(): number;
  bytes(length: number): Uint8Array;
}

export function random(seed: number): Random {
  let state = seed >>> 0;
  const u32 = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  const below = (limit: number): number => Math.floor((u32() / 0x100000000) * limit);
  return {
    below,
    u32,
    oneIn: (n) => below(n) === 0,
    chance: (probability) => u32() / 0x100000000 < probability,
    pick: (list) => list[below(list.length)],
    bytes(length) {
      const bytes = new Uint8Array(length);
      for (let i = 0; i < length; i++) bytes[i] = u32();
      return bytes;
    },
  };
}
