// A second opinion on TCP options, written from the RFCs and not from the core: a list of options first, their meaning
// after it.

export interface Option {
  kind: number;
  /** Of the whole option. */
  bytes: Uint8Array;
}

export interface OptionList {
  options: Option[];
  /** The list ends in the middle of an option, or in one whose length cannot be. */
  isBroken: boolean;
}

/** What the options of a segment say; the last of several of one kind counts. */
export interface Meaning {
  mss: number | null;
  wscale: number | null;
  sackPermitted: boolean;
  timestamps: { value: number; echo: number } | null;
  sack: [number, number][];
  /** Something was not as its RFC has it. */
  isBad: boolean;
}

/** RFC 9293 §3.1: end of list, no-operation, and everything else with a length that counts kind and length too. */
export function listOptions(block: Uint8Array): OptionList {
  const options: Option[] = [];
  let rest = block;
  while (rest.length > 0 && rest[0] !== 0) {
    if (rest[0] === 1) {
      rest = rest.subarray(1);
      continue;
    }
    const length = rest.length > 1 ? rest[1] : 0;
    if (length < 2 || length > rest.length) return { options, isBroken: true };
    options.push({ kind: rest[0], bytes: rest.subarray(0, length) });
    rest = rest.subarray(length);
  }
  return { options, isBroken: false };
}

const word = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);

export function readOptions(block: Uint8Array): Meaning {
  const { options, isBroken } = listOptions(block);
  const meaning: Meaning = {
    mss: null,
    wscale: null,
    sackPermitted: false,
    timestamps: null,
    sack: [],
    isBad: isBroken,
  };
  const known: Readonly<Record<number, (bytes: Uint8Array) => boolean>> = {
    // RFC 9293 §3.7.1
    2: (bytes) => {
      if (bytes.length !== 4) return false;
      meaning.mss = bytes[2] * 256 + bytes[3];
      return true;
    },
    // RFC 7323 §2.2; §2.3: more than 14 is 14.
    3: (bytes) => {
      if (bytes.length !== 3) return false;
      meaning.wscale = Math.min(14, bytes[2]);
      return true;
    },
    // RFC 2018 §2
    4: (bytes) => {
      if (bytes.length !== 2) return false;
      meaning.sackPermitted = true;
      return true;
    },
    // RFC 2018 §3
    5: (bytes) => {
      if (bytes.length < 10 || bytes.length % 8 !== 2) return false;
      meaning.sack = [];
      for (let at = 2; at < bytes.length; at += 8) meaning.sack.push([word(bytes, at), word(bytes, at + 4)]);
      return true;
    },
    // RFC 7323 §3.2
    8: (bytes) => {
      if (bytes.length !== 10) return false;
      meaning.timestamps = { value: word(bytes, 2), echo: word(bytes, 6) };
      return true;
    },
  };
  for (const { kind, bytes } of options) {
    const read = known[kind];
    if (read && !read(bytes)) meaning.isBad = true;
  }
  return meaning;
}

/** Signed distance of two numbers of a 32-bit space. */
export const distance = (from: number, to: number): number => (to - from) | 0;

/**
 * Bytes of the segments [start, end) that the blocks cover, by RFC 2018 §5: a block counts when it lies below what has
 * been sent, and a segment when one block holds all of it. A first block inside the second is no more than the report of
 * a duplicate (RFC 2883 §4.2).
 */
export function sackedBytes(
  segments: readonly [number, number][],
  blocks: readonly [number, number][],
  nxt: number,
): number {
  const holds = ([start, end]: readonly [number, number], [from, to]: readonly [number, number]): boolean =>
    distance(start, from) >= 0 && distance(to, end) >= 0;
  const isReport = blocks.length > 1 && distance(...blocks[0]) > 0 && holds(blocks[1], blocks[0]);
  const acceptable = (isReport ? blocks.slice(1) : blocks).filter(
    ([start, end]) => distance(start, end) > 0 && distance(end, nxt) >= 0,
  );
  return segments
    .filter((segment) => acceptable.some((block) => holds(block, segment)))
    .reduce((sum, [from, to]) => sum + distance(from, to), 0);
}
