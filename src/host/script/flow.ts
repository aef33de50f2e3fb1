// The connection that a script's packets belong to. A script numbers bytes from the initial sequence numbers it names
// itself; the remote side's are used as they are, the core's are translated, and so are its timestamps.
import type { TcpOption, TcpPacket } from './ast.js';
import { flagsFrom, flagsText, optionsText, type Segment, type SentSegment } from './wire.js';

export interface Flow {
  readonly localPort: number;
  readonly remotePort: number;
  /** The core's sequence number minus the script's. */
  offset: number;
  /** A SYN from either side may bring a new initial sequence number. */
  opening: boolean;
  /** TS val of the script → of the core. */
  readonly timestamps: Map<number, { readonly val: number; readonly atUs: number }>;
}

export function newFlow(localPort: number, remotePort: number): Flow {
  return { localPort, remotePort, offset: 0, opening: true, timestamps: new Map() };
}

/** What the remote host puts on the wire for an inbound packet of the script. */
export function toWire(flow: Flow, packet: TcpPacket): Segment {
  const flags = flagsFrom(packet.flags);
  const hasAck = (flags & flagsFrom('.')) !== 0;
  return {
    seq: packet.seq >>> 0,
    ack: hasAck ? (packet.ack ?? 0) + flow.offset : (packet.ack ?? 0),
    flags,
    window: packet.window ?? 0,
    urgent: packet.urgent ?? 0,
    length: packet.length,
    options: (packet.options ?? []).map((option): TcpOption => {
      if (option.kind === 'sack') {
        return {
          kind: 'sack',
          blocks: option.blocks.map(([a, b]) => [(a + flow.offset) >>> 0, (b + flow.offset) >>> 0]),
        };
      }
      return option.kind === 'TS' ? { ...option, ecr: echoed(flow, option.ecr ?? 0) } : option;
    }),
  };
}

/** The core's timestamp behind one that the script made up; between known ones by the millisecond. */
function echoed(flow: Flow, ecr: number): number {
  const known = flow.timestamps.get(ecr);
  if (known !== undefined) return known.val;
  const first = flow.timestamps.entries().next();
  if (first.done || ecr === 0) return ecr;
  return (first.value[1].val + ecr - first.value[0]) >>> 0;
}

function signed(value: number): number {
  return value | 0;
}

/** What differs between an expected packet and what the core sent, or null. */
export function difference(flow: Flow, expected: TcpPacket, sent: SentSegment, tsTickUs: number): string | null {
  const flags = flagsFrom(expected.flags);
  if (flags !== sent.flags) return `the flags are ${flagsText(sent.flags)}`;
  if (flags & flagsFrom('S') && flow.opening) {
    flow.offset = signed(sent.seq - expected.seq);
    flow.opening = false;
  }
  const seq = (sent.seq - flow.offset) >>> 0;
  if (seq !== expected.seq >>> 0) return `the sequence number is ${seq}`;
  if (sent.length !== expected.length) return `it carries ${sent.length} bytes`;
  if (expected.ack !== null && sent.ack !== expected.ack >>> 0) return `it acknowledges ${sent.ack}`;
  if (expected.window !== null && sent.window !== expected.window) return `the window is ${sent.window}`;
  if (expected.urgent !== null && sent.urgent !== expected.urgent) return `the urgent pointer is ${sent.urgent}`;
  return expected.options === null ? null : optionsDifference(flow, expected.options, sent, tsTickUs);
}

function optionsDifference(
  flow: Flow,
  expected: readonly TcpOption[],
  sent: SentSegment,
  tsTickUs: number,
): string | null {
  const found = `the options are ${optionsText(sent.options)}`;
  if (expected.length !== sent.options.length) return found;
  for (const [i, option] of expected.entries()) {
    const actual = sent.options[i];
    if (option.kind === 'TS' && actual.kind === 'TS') {
      if (option.ecr !== null && option.ecr !== actual.ecr) return `${found}, so ecr is ${actual.ecr}`;
      const wrong =
        option.val === null ? null : timestampDifference(flow, option.val, actual.val ?? 0, sent.atUs, tsTickUs);
      if (wrong !== null) return wrong;
    } else if (optionsText([option]) !== optionsText([actual])) return found;
  }
  return null;
}

/** Notes which of the core's timestamps a script's stands for; checks its progress when the script names a tick. */
function timestampDifference(flow: Flow, script: number, actual: number, atUs: number, tickUs: number): string | null {
  const first = flow.timestamps.entries().next();
  flow.timestamps.set(script, { val: actual, atUs });
  if (tickUs === 0 || first.done) return null;
  const wantedTicks = script - first.value[0];
  const ticks = signed(actual - first.value[1].val);
  return Math.abs(ticks - wantedTicks) * tickUs <= tickUs + 4000
    ? null
    : `TS val went on by ${ticks}, not ${wantedTicks}`;
}

/** A sent segment in the script's language. */
export function sentText(flow: Flow | null, sent: SentSegment): string {
  const seq = (sent.seq - (flow?.offset ?? 0)) >>> 0;
  const ack = sent.flags & flagsFrom('.') ? ` ack ${sent.ack}` : '';
  const options = sent.options.length > 0 ? ` ${optionsText(sent.options)}` : '';
  return `${flagsText(sent.flags)} ${seq}:${(seq + sent.length) >>> 0}(${sent.length})${ack} win ${sent.window}${options}`;
}
