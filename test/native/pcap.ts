// Capture files, as far as the tests need them: nanosecond or microsecond, little-endian, Ethernet.
import { readFileSync, writeFileSync } from 'node:fs';

export function writePcap(path: string, frames: readonly Uint8Array[]): void {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(65535, 16);
  head.writeUInt32LE(1, 20);
  const parts: Uint8Array[] = [head];
  for (const frame of frames) {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    parts.push(record, frame);
  }
  writeFileSync(path, Buffer.concat(parts));
}

export function readPcap(path: string): Uint8Array[] {
  const bytes = readFileSync(path);
  const frames: Uint8Array[] = [];
  for (let at = 24; at + 16 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at + 8);
    frames.push(Uint8Array.from(bytes.subarray(at + 16, at + 16 + length)));
    at += 16 + length;
  }
  return frames;
}
