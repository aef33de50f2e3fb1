// Captures of what a simulated host sends and receives: classic pcap with nanoseconds, Ethernet.
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface PcapWriter {
  /** Appends bytes[from, from + length) as one frame. */
  frame(atNs: number, bytes: Uint8Array, from: number, length: number): void;
  close(): void;
}

const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const SECOND_NS = 1_000_000_000;
const CHUNK_BYTES = 1 << 20;

/** Makes the file and its folder. */
export function pcapWriter(path: string): PcapWriter {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, 'w');
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let used = 24;
  chunk.writeUInt32LE(MAGIC_NANOSECONDS, 0);
  chunk.writeUInt16LE(2, 4);
  chunk.writeUInt16LE(4, 6);
  chunk.writeUInt32LE(0xffff, 16);
  chunk.writeUInt32LE(LINKTYPE_ETHERNET, 20);
  const write = (): void => {
    writeSync(file, chunk, 0, used);
    used = 0;
  };
  return {
    frame(atNs, bytes, from, length) {
      if (used + 16 + length > CHUNK_BYTES) write();
      chunk.writeUInt32LE(Math.floor(atNs / SECOND_NS), used);
      chunk.writeUInt32LE(atNs % SECOND_NS, used + 4);
      chunk.writeUInt32LE(length, used + 8);
      chunk.writeUInt32LE(length, used + 12);
      chunk.set(bytes.subarray(from, from + length), used + 16);
      used += 16 + length;
    },
    close() {
      write();
      closeSync(file);
    },
  };
}
