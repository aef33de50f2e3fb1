// Option blocks that are right, garbage, or anything between: every kind, in any order, several times over, with
// lengths that lie.
import type { Random } from '../../../helpers/random.js';

const MOST_BYTES = 40;
const bytesOf = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

export interface Plausible {
  /** A timestamp value, and an echo. */
  value: number;
  echo: number;
  /** Edges that SACK blocks may have. */
  edges: readonly number[];
}

function contentOf(kind: number, r: Random, p: Plausible): number[] {
  switch (kind) {
    case 2:
      return r.pick([
        [0, 0],
        [0, 1],
        [2, 24],
        [5, 180],
        [255, 255],
        [r.below(256), r.below(256)],
      ]);
    case 3:
      return [r.pick([0, 1, 7, 14, 15, 255])];
    case 4:
      return [];
    case 5: {
      const list: number[] = [];
      for (let blocks = r.pick([1, 1, 2, 3, 4]); blocks > 0; blocks--) {
        const edge = (): number => (r.oneIn(12) ? r.u32() : r.pick(p.edges)) + (r.oneIn(8) ? r.pick([-1, 1]) : 0);
        list.push(...bytesOf(edge()), ...bytesOf(edge()));
      }
      return list;
    }
    case 8: {
      const value = p.value + r.pick([0, 0, 0, 1, -1, 1000, -1000, 0x7fffffff, r.oneIn(2) ? r.u32() : 0]);
      return [...bytesOf(value), ...bytesOf(r.oneIn(4) ? r.u32() : p.echo)];
    }
    default:
      return [...r.bytes(r.below(12))];
  }
}

function oneOption(r: Random, p: Plausible): number[] {
  const kind = r.oneIn(6)
    ? r.pick([0, 1, 6, 7, 9, 19, 28, 29, 34, 253, 254, 255, r.below(256)])
    : r.pick([2, 3, 4, 5, 8]);
  if (kind < 2) return [kind];
  const content = contentOf(kind, r, p);
  const length = content.length + 2;
  const lie = r.oneIn(10) ? r.pick([0, 1, 2, length - 1, length + 1, 40, 255, r.below(256)]) : length;
  // Sometimes the content is as long as the length says, so that what follows is read as options again.
  const body = lie > length && r.oneIn(2) ? [...content, ...r.bytes(lie - length)] : content;
  return [kind, lie & 255, ...body];
}

/** At most 40 bytes, in whole words as the data offset counts them: what pads them is an end of list. */
function block(list: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Math.min(MOST_BYTES, (list.length + 3) & ~3));
  bytes.set(list.slice(0, bytes.length));
  return bytes;
}

export function someOptions(r: Random, p: Plausible): Uint8Array {
  if (r.oneIn(8)) return block([...r.bytes(r.below(MOST_BYTES + 1))]);
  const list: number[] = [];
  // The usual beginning, which the fast path knows.
  if (r.oneIn(3)) list.push(1, 1, 8, 10, ...bytesOf(p.value + r.pick([0, 0, 1, 5, -1])), ...bytesOf(p.echo));
  for (let left = r.pick([0, 1, 2, 3, 6]); left > 0; left--) list.push(...oneOption(r, p));
  return block(r.oneIn(10) ? list.slice(0, r.below(MOST_BYTES + 1)) : list);
}

/** The four options of a SYN, each there or not, in any order, and garbage among them. */
export function someSynOptions(r: Random, p: Plausible): Uint8Array {
  if (r.oneIn(4)) return someOptions(r, p);
  const kinds = [2, 3, 4, 8].filter(() => !r.oneIn(4));
  for (let i = kinds.length - 1; i > 0; i--) {
    const j = r.below(i + 1);
    [kinds[i], kinds[j]] = [kinds[j], kinds[i]];
  }
  const list = kinds.flatMap((kind) => {
    const content = contentOf(kind, r, p);
    return [...(r.oneIn(4) ? [1] : []), kind, content.length + 2, ...content];
  });
  if (r.oneIn(6)) list.splice(r.below(list.length + 1), 0, ...oneOption(r, p));
  return block(list);
}
