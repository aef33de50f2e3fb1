// How much a socket takes at once, as Linux counts it: memory of what is queued against a send buffer that grows with
// the congestion window, and unsent bytes against TCP_NOTSENT_LOWAT.

/** What the model looks at. */
export interface SendState {
  queuedBytes: number;
  notSentBytes: number;
  mssBytes: number;
  cwndSegments: number;
  /** Largest window the peer has offered. */
  maxWindowBytes: number;
}

export interface SendLimits {
  /** Memory of SO_SNDBUF, null when the stack sizes the buffer itself. */
  lockedBytes: number | null;
  readonly initialBytes: number;
  readonly mostBytes: number;
  /** TCP_NOTSENT_LOWAT */
  lowWaterBytes: number;
}

/** A segment buffer's own size beside its payload, and what headers take of a linear one. */
const BUFFER_OVERHEAD = 1280;
const HEADERS = 320;
const MSS_DEFAULT = 536;
const LARGEST_SEGMENT = 65_215;

/** Bytes that one buffer of the queue takes: whole segments, at most half the peer's window. */
export function bufferBytes(state: SendState): number {
  const { maxWindowBytes: window } = state;
  const cutoff = window > MSS_DEFAULT ? Math.floor(window / 2) : window;
  const most = Math.min(LARGEST_SEGMENT, Math.max(cutoff, 1));
  return Math.max(Math.floor(most / state.mssBytes) * state.mssBytes, state.mssBytes);
}

function memoryOf(state: SendState, bytes: number): number {
  return bytes + BUFFER_OVERHEAD * Math.ceil(bytes / bufferBytes(state));
}

/** Memory of the send buffer: twice what a congestion window of segments takes, between the bounds. */
export function bufferLimit(state: SendState, limits: SendLimits): number {
  if (limits.lockedBytes !== null) return limits.lockedBytes;
  const linear = Math.max(state.mssBytes, MSS_DEFAULT) + 2 * HEADERS;
  const perSegment = 2 ** Math.ceil(Math.log2(linear)) + 256;
  const wanted = 2 * Math.max(state.cwndSegments, 10) * perSegment;
  return Math.min(Math.max(limits.initialBytes, wanted), Math.max(limits.mostBytes, limits.initialBytes));
}

/** Whether another buffer may be queued. */
export function maySend(state: SendState, limits: SendLimits): boolean {
  return memoryOf(state, state.queuedBytes) < bufferLimit(state, limits) && state.notSentBytes < limits.lowWaterBytes;
}

/** Whether poll() says that the socket is writable: a third of the buffer is free, and little is unsent. */
export function isWritable(state: SendState, limits: SendLimits): boolean {
  const memory = memoryOf(state, state.queuedBytes);
  return bufferLimit(state, limits) - memory >= memory / 2 && 2 * state.notSentBytes < limits.lowWaterBytes;
}
