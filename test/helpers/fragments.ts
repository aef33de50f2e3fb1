// Datagrams cut into fragments, as a sender or a router would do it, or as an attacker would.
import { checksum, ETH } from './frames.js';

const IPV6_HEADER = 40;
const FRAGMENT_HEADER = 8;

/** Which bytes of the datagram's payload a fragment has. */
export interface Cut {
  offset: number;
  len: number;
  /** By default whether anything of the payload is behind it. */
  more?: boolean;
}

/** Cuts of at most `bytes` bytes each, a multiple of 8. */
export function cuts(total: number, bytes: number): Cut[] {
  const list: Cut[] = [];
  for (let offset = 0; offset < total; offset += bytes) list.push({ offset, len: Math.min(bytes, total - offset) });
  return list;
}

/** A fragment of a whole IPv4 frame. What the cut has beyond the frame's payload is zeros. */
export function fragment4(frame: Uint8Array, id: number, cut: Cut): Uint8Array {
  const at = ETH + (frame[ETH] & 15) * 4;
  const payload = frame.subarray(at);
  const result = new Uint8Array(at + cut.len);
  result.set(frame.subarray(0, at));
  result.set(payload.subarray(cut.offset, cut.offset + cut.len), at);
  const dv = new DataView(result.buffer);
  dv.setUint16(ETH + 2, at - ETH + cut.len);
  dv.setUint16(ETH + 4, id);
  const more = cut.more ?? cut.offset + cut.len < payload.length;
  dv.setUint16(ETH + 6, (more ? 0x2000 : 0) | ((cut.offset >> 3) & 0x1fff));
  dv.setUint16(ETH + 10, 0);
  dv.setUint16(ETH + 10, checksum(result, ETH, at, 0));
  return result;
}

/** A fragment of a whole IPv6 frame; extension headers up to `unfragmentable` bytes stay in front of the fragment header. */
export function fragment6(frame: Uint8Array, id: number, cut: Cut, unfragmentable = 0): Uint8Array {
  const at = ETH + IPV6_HEADER + unfragmentable;
  const payload = frame.subarray(at);
  const result = new Uint8Array(at + FRAGMENT_HEADER + cut.len);
  result.set(frame.subarray(0, at));
  result.set(payload.subarray(cut.offset, cut.offset + cut.len), at + FRAGMENT_HEADER);
  const dv = new DataView(result.buffer);
  dv.setUint16(ETH + 4, unfragmentable + FRAGMENT_HEADER + cut.len);
  let said = ETH + 6;
  for (let p = ETH + IPV6_HEADER; p < at; p += (frame[p + 1] + 1) * 8) said = p;
  result[at] = frame[said];
  result[said] = 44;
  const more = cut.more ?? cut.offset + cut.len < payload.length;
  dv.setUint16(at + 2, (cut.offset & 0xfff8) | (more ? 1 : 0));
  dv.setUint32(at + 4, id);
  return result;
}
