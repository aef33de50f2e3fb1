// What a network card's driver does that was asked to fill in checksums or to cut a frame into TCP segments: the contract of
// TXF_TCP_CSUM and TXF_TSO, in a few lines.
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { FIN, fixChecksums, PSH } from './frames.js';

const FLAGS = 13;
const CHECKSUM = 16;

function sumOf(bytes: Uint8Array, from: number, to: number, start = 0): number {
  let sum = start;
  for (let i = from; i < to; i += 2) sum += (bytes[i] << 8) | (i + 1 < to ? bytes[i + 1] : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** The frames that leave the card. Checks that the core has left what it must: lengths, and the pseudo-header's sum. */
export function completeFrame(frame: Uint8Array, flags: number, lengths: number): Uint8Array[] {
  if (!(flags & L.TXF_TCP_CSUM)) return [frame];
  const l2 = lengths & 0xff;
  const l3 = (lengths >> 8) & 0xff;
  const l4 = (lengths >> 16) & 0xff;
  const dv = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const tcp = l2 + l3;
  const header = tcp + l4;
  assert.equal([l2, l3, (frame[tcp + 12] >> 4) * 4], [14, 20, l4], 'the lengths of the headers');
  assert.is(dv.getUint16(l2 + 2), frame.length - l2, 'the total length');
  const cuts = (flags & L.TXF_TSO) !== 0;
  const pseudo = sumOf(frame, l2 + 12, l2 + 20, 6 + (cuts ? 0 : frame.length - tcp));
  assert.is(dv.getUint16(tcp + CHECKSUM), pseudo, 'the sum of the pseudo-header');
  if (!cuts) {
    fixChecksums(frame);
    return [frame];
  }
  const mss = flags >>> L.TXF_TSO_MSS_SHIFT;
  const payload = frame.length - header;
  assert.ok(mss > 0 && payload > mss && payload <= mss * L.TX_TSO_MAX_CUTS, `${payload} bytes in segments of ${mss}`);
  const segments: Uint8Array[] = [];
  for (let at = 0; at < payload; at += mss) {
    const bytes = Math.min(mss, payload - at);
    const segment = new Uint8Array(header + bytes);
    segment.set(frame.subarray(0, header));
    segment.set(frame.subarray(header + at, header + at + bytes), header);
    const out = new DataView(segment.buffer);
    out.setUint16(l2 + 2, segment.length - l2);
    out.setUint32(tcp + 4, (dv.getUint32(tcp + 4) + at) >>> 0);
    if (at + bytes < payload) segment[tcp + FLAGS] &= ~(PSH | FIN);
    fixChecksums(segment);
    segments.push(segment);
  }
  return segments;
}
