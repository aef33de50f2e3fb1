// The arena: [heapBase, CFG_ARENA_END), handed out once by init() and never given back. Wasm memory starts as
// zeros and init() runs once per instance, so what the arena gives is zero-filled.

import { CFG_ARENA_END, EINVAL } from './layout';
import { inMemory } from './runtime';

let top: u32 = 0;
let end: u32 = 0;

/** First address the arena may use: what follows the core's static data. */
@inline
export function arenaBase(): u32 {
  return <u32>((__heap_base + 63) & ~63);
}

/** Opens the arena; -EINVAL when it would end outside the memory. */
export function arenaReset(): i32 {
  top = arenaBase();
  end = load<u32>(CFG_ARENA_END);
  return inMemory(end, 0) ? 0 : -EINVAL;
}

/** `bytes` of zeros at a multiple of `align` (a power of two); 0 when the arena is full. */
export function arenaAlloc(bytes: u32, align: u32): u32 {
  const at = (<u64>top + align - 1) & ~(<u64>align - 1);
  if (at + bytes > <u64>end) return 0;
  top = <u32>(at + bytes);
  return <u32>at;
}
