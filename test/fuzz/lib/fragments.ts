// Frames cut into fragments: as a sender or a router would do it, and as nobody should.
import { type Cut, cuts, fragment4 } from '../../helpers/fragments.js';
import { ETH } from '../../helpers/frames.js';
import type { Random } from '../../helpers/random.js';

const FRAGMENTS_MOST = 24;

/** An IPv4 frame as fragments of it, shuffled, some twice, or overlapping and out of bounds; alone when it cannot be cut. */
export function inFragments(r: Random, frame: Uint8Array): Uint8Array[] {
  const ipv4 = frame.length > ETH + 20 && frame[12] === 8 && frame[13] === 0;
  const at = ETH + (frame[ETH] & 15) * 4;
  const total = frame.length - at;
  if (!ipv4 || at < ETH + 20 || total <= 8) return [frame];
  // Few identifications, so that datagrams meet each other's leftovers.
  const id = r.below(16);
  const least = Math.ceil(total / FRAGMENTS_MOST / 8) * 8;
  const list = cuts(total, Math.max(least, 8 * (1 + r.below(Math.ceil(total / 8)))));
  const wild = r.oneIn(4);
  for (let i = list.length; i > 1; i--) {
    const j = r.oneIn(3) ? i - 1 : r.below(i);
    [list[i - 1], list[j]] = [list[j], list[i - 1]];
  }
  if (r.oneIn(4)) list.splice(r.below(list.length + 1), 0, r.pick(list));
  if (r.oneIn(8)) list.splice(r.below(list.length), 1);
  if (wild) list.splice(r.below(list.length + 1), 0, wildCut(r, total));
  return list.map((cut) => fragment4(frame, id, cut));
}

/** A fragment that overlaps others, has the wrong length, contradicts them, or reaches beyond what a datagram may have. */
function wildCut(r: Random, total: number): Cut {
  const offset = r.pick([0, 8, 8 * r.below(Math.ceil(total / 8)), 8 * r.below(8192), 65528]);
  return { offset, len: r.pick([0, 8, 16, r.below(1400), 1400]), more: r.oneIn(2) };
}
