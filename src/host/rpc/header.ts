// The header of every message, the same both ways: 32 bytes, little-endian, then `payload length` bytes.
//
//        0            1            2            3
//    0   ├ 'R' ───────┼ 'P' ───────┼ version ───┼ kind ──────┤
//    4   ├ flags ──────────────────┼ header length ──────────┤
//    8   ├ id: generation << 16 | slot ──────────────────────┤
//   12   ├ method ───────────────────────────────────────────┤
//   16   ├ payload length ───────────────────────────────────┤
//   20   ├ deadline, µs that are left; 0: none ──────────────┤
//   24   ├ status ───────────────────────────────────────────┤
//   28   ├ credit ───────────────────────────────────────────┤
//
// Bytes of a header beyond the 32, and flags, that a receiver does not know are ignored. An id is the client's: its
// slot, and how often the slot has been used. It is free again when the server has said its last word about it, which it
// says once: RESPONSE, ERROR, or DATA with FLAG_END.

export const HEADER_BYTES = 32;
export const MAX_HEADER_BYTES = 256;

/** 'R', 'P' and the version as the low three bytes of the first word. */
const MAGIC = 0x01_50_52;
const MAGIC_MASK = 0xff_ff_ff;

const H_MAGIC = 0;
const H_KIND = 3;
const H_FLAGS = 4;
const H_HEADER_LENGTH = 6;
const H_ID = 8;
const H_METHOD = 12;
const H_PAYLOAD_LENGTH = 16;
const H_DEADLINE = 20;
const H_STATUS = 24;
const H_CREDIT = 28;

/**
 * The first message of each end. method: requests it takes at a time; payload length: 0; deadline: bytes of the largest
 * message it takes; credit: the window of each stream.
 */
export const KIND_HELLO = 1;
export const KIND_REQUEST = 2;
export const KIND_RESPONSE = 3;
/** status says what went wrong, the payload is text. */
export const KIND_ERROR = 4;
/** The client is no longer interested in a request. */
export const KIND_CANCEL = 5;
/** A part of a stream's body. */
export const KIND_DATA = 6;
/** The receiver of a stream takes `credit` bytes more. */
export const KIND_CREDIT = 7;
export const KIND_PING = 8;
export const KIND_PONG = 9;
/** The sender takes no new requests: those in flight are answered, later ones refused. */
export const KIND_GOAWAY = 10;
const KIND_LAST = KIND_GOAWAY;

/** REQUEST: the bodies of request and response are streams. */
export const FLAG_STREAM = 1;
/** REQUEST, DATA: the body ends with this message. */
export const FLAG_END = 2;

/** Kinds that have a payload. */
const WITH_PAYLOAD = (1 << KIND_REQUEST) | (1 << KIND_RESPONSE) | (1 << KIND_ERROR) | (1 << KIND_DATA);

export const MAX_U32 = 0xffff_ffff;

/** What a header says. One object per connection and direction; parsing allocates nothing. */
export class Header {
  kind = 0;
  flags = 0;
  headerLength = 0;
  id = 0;
  method = 0;
  length = 0;
  deadlineUs = 0;
  status = 0;
  credit = 0;

  /** Reads the header at `at` of `view`; null, or what is wrong with it. */
  parse(view: DataView, at: number): string | null {
    if ((view.getUint32(at + H_MAGIC, true) & MAGIC_MASK) !== MAGIC) return 'not the protocol, or not its version 1';
    this.kind = view.getUint8(at + H_KIND);
    this.flags = view.getUint16(at + H_FLAGS, true);
    this.headerLength = view.getUint16(at + H_HEADER_LENGTH, true);
    this.id = view.getUint32(at + H_ID, true);
    this.method = view.getUint32(at + H_METHOD, true);
    this.length = view.getUint32(at + H_PAYLOAD_LENGTH, true);
    this.deadlineUs = view.getUint32(at + H_DEADLINE, true);
    this.status = view.getUint32(at + H_STATUS, true);
    this.credit = view.getUint32(at + H_CREDIT, true);
    if (this.kind < KIND_HELLO || this.kind > KIND_LAST) return `kind ${this.kind}`;
    if (this.headerLength < HEADER_BYTES || this.headerLength > MAX_HEADER_BYTES) {
      return `a header of ${this.headerLength} bytes`;
    }
    if (this.length !== 0 && !(WITH_PAYLOAD & (1 << this.kind))) return `a payload in kind ${this.kind}`;
    return null;
  }
}

/** Writes a header at `at` of `view`. */
export function writeHeader(
  view: DataView,
  at: number,
  kind: number,
  flags: number,
  id: number,
  method: number,
  length: number,
  deadlineUs: number,
  status: number,
  credit: number,
): void {
  view.setUint32(at + H_MAGIC, MAGIC | (kind << 24), true);
  view.setUint32(at + H_FLAGS, flags | (HEADER_BYTES << 16), true);
  view.setUint32(at + H_ID, id, true);
  view.setUint32(at + H_METHOD, method, true);
  view.setUint32(at + H_PAYLOAD_LENGTH, length, true);
  view.setUint32(at + H_DEADLINE, deadlineUs, true);
  view.setUint32(at + H_STATUS, status, true);
  view.setUint32(at + H_CREDIT, credit, true);
}
