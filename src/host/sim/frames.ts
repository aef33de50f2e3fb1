// Frames on their way: slots of one size in one array, named by index. Whoever is handed a slot owns it.

export interface FrameStore {
  /** The bytes of slot `s` begin at s · stride. Read anew after take(): the array may have grown. */
  bytes(): Uint8Array;
  readonly stride: number;
  length(slot: number): number;
  /** A slot for a frame of `length` bytes. */
  take(length: number): number;
  /** A second slot with the same content. */
  copy(slot: number): number;
  give(slot: number): void;
  /** Slots that somebody owns. */
  inUse(): number;
}

export function frameStore(frameBytes: number): FrameStore {
  const stride = Math.ceil(frameBytes / 64) * 64;
  let capacity = 256;
  let bytes = new Uint8Array(capacity * stride);
  let lengths = new Uint32Array(capacity);
  let free = Array.from({ length: capacity }, (_, i) => capacity - 1 - i);

  function grow(): void {
    const old = capacity;
    capacity *= 2;
    const bytes2 = new Uint8Array(capacity * stride);
    const lengths2 = new Uint32Array(capacity);
    bytes2.set(bytes);
    lengths2.set(lengths);
    bytes = bytes2;
    lengths = lengths2;
    free = Array.from({ length: old }, (_, i) => capacity - 1 - i);
  }

  function take(length: number): number {
    if (length > stride) throw new RangeError(`a frame of ${length} bytes: this simulation carries ${stride}`);
    if (free.length === 0) grow();
    const slot = free.pop() ?? 0;
    lengths[slot] = length;
    return slot;
  }

  return {
    bytes: () => bytes,
    stride,
    length: (slot) => lengths[slot],
    take,
    copy(slot) {
      const to = take(lengths[slot]);
      bytes.copyWithin(to * stride, slot * stride, slot * stride + lengths[slot]);
      return to;
    },
    give(slot) {
      free.push(slot);
    },
    inUse: () => capacity - free.length,
  };
}
