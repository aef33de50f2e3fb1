// A core's rings worked by hand, with the same receive objects over and over: what they hold is written once, and a
// benchmark changes a few bytes of it.
import * as L from '../src/host/core/layout.js';
import { ipFrame } from '../test/helpers/frames.js';
import type { ManualCore } from '../test/helpers/manual.js';

export interface Rings {
  /** Addresses of receive objects of 2,048 bytes. */
  readonly objects: readonly number[];
  /** Hands objects `from` … `from + count - 1`, each with a frame of `bytes`, to the core, and sends what follows. */
  receive(from: number, count: number, bytes: number): void;
  /** Sends what is queued. */
  flush(): void;
  /** Takes what the core has sent off its ring, and takes back every object it has freed. */
  take(): void;
}

/** Microseconds from one burst to the next. */
const BURST_US = 10;

export function openRings(manual: ManualCore, count: number): Rings {
  const { core } = manual;
  const { u32 } = core;
  const rxAt = u32[L.CTL_RX_AT >> 2] >> 2;
  const freeAt = u32[L.CTL_FREE_AT >> 2] >> 2;
  const freeMask = u32[L.CTL_FREE_SIZE >> 2] - 1;
  const txAt = u32[L.CTL_TX_AT >> 2] >> 2;
  const txMask = u32[L.CTL_TX_SIZE >> 2] - 1;
  const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
  const doneMask = u32[L.CTL_DONE_SIZE >> 2] - 1;
  const [freeHead, freeTail, txHead, txTail, doneHead] = [
    L.CTL_FREE_HEAD >> 2,
    L.CTL_FREE_TAIL >> 2,
    L.CTL_TX_HEAD >> 2,
    L.CTL_TX_TAIL >> 2,
    L.CTL_DONE_HEAD >> 2,
  ];
  // Frames of no protocol: the core frees their objects at once, and they are ours from then on.
  const objects: number[] = [];
  manual.inject(...Array.from({ length: count }, () => ipFrame(200, 40)));
  for (let i = u32[freeTail]; i !== u32[freeHead]; i++) objects.push(u32[freeAt + (i & freeMask)]);
  u32[freeTail] = u32[freeHead];
  if (objects.length !== count) throw new Error(`${count - objects.length} objects did not come back`);
  return {
    objects,
    receive(from, frames, bytes) {
      for (let i = 0; i < frames; i++) {
        const entry = rxAt + 4 * i;
        u32[entry] = objects[from + i];
        u32[entry + 1] = bytes;
        u32[entry + 2] = 0;
      }
      manual.nowUs += BURST_US;
      core.ingest(frames, manual.nowUs);
      core.flush(manual.nowUs);
    },
    flush: () => core.flush(manual.nowUs),
    take() {
      u32[freeTail] = u32[freeHead];
      let tail = u32[txTail];
      for (; tail !== u32[txHead]; tail = (tail + 1) >>> 0) {
        u32[doneAt + (u32[doneHead]++ & doneMask)] = u32[txAt + 4 * (tail & txMask)];
      }
      u32[txTail] = tail;
    },
  };
}
