// Sequence-number arithmetic (RFC 9293 §3.4): u32 values that wrap, ordered by the sign of their difference. Two
// numbers may be compared only when they lie less than 2^31 apart, which every window guarantees.

/** A 32-bit TCP sequence number. */
export type Seq = u32;

@inline
export function seqLt(a: Seq, b: Seq): bool {
  return <i32>(a - b) < 0;
}

@inline
export function seqLe(a: Seq, b: Seq): bool {
  return <i32>(a - b) <= 0;
}

@inline
export function seqGt(a: Seq, b: Seq): bool {
  return <i32>(a - b) > 0;
}

@inline
export function seqGe(a: Seq, b: Seq): bool {
  return <i32>(a - b) >= 0;
}

@inline
export function seqMax(a: Seq, b: Seq): Seq {
  return seqLt(a, b) ? b : a;
}

@inline
export function seqMin(a: Seq, b: Seq): Seq {
  return seqLt(a, b) ? a : b;
}
