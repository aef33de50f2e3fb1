// What a script says: options, then events in time. Times are microseconds from the start of the script.

/** A value in the argument list of a call. */
export type Value =
  | { readonly kind: 'any' }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'symbol'; readonly name: string }
  | { readonly kind: 'list'; readonly items: readonly Value[] }
  | { readonly kind: 'struct'; readonly fields: ReadonlyMap<string, Value>; readonly items: readonly Value[] };

export type Time =
  | { readonly kind: 'absolute' | 'relative'; readonly us: number }
  | { readonly kind: 'absolute-range' | 'relative-range'; readonly us: number; readonly endUs: number }
  | { readonly kind: 'any' };

export type TcpOption =
  | { readonly kind: 'nop' | 'eol' | 'sackOK' }
  | { readonly kind: 'mss' | 'wscale'; readonly value: number }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [number, number])[] }
  | { readonly kind: 'TS'; readonly val: number | null; readonly ecr: number | null }
  /** RFC 2385: 32 hexadecimal digits. */
  | { readonly kind: 'md5'; readonly digest: string }
  /** Hexadecimal digits, or one of the names in cookies.ts. `experiment`: FOEXP, by its number before RFC 7413. */
  | { readonly kind: 'FO'; readonly cookie: string; readonly experiment: boolean };

/** Null stands for "any" in an expected packet. */
export interface TcpPacket {
  readonly kind: 'tcp';
  readonly flags: string;
  readonly seq: number;
  readonly length: number;
  readonly ack: number | null;
  readonly window: number | null;
  readonly urgent: number | null;
  readonly options: readonly TcpOption[] | null;
}

export interface IcmpPacket {
  readonly kind: 'icmp';
  /** By name: IPv4 and IPv6 number them differently. */
  readonly type: string;
  readonly code: string | null;
  readonly mtu: number;
  /** Sequence number of the segment it quotes, null for the last one that was expected. */
  readonly quotedSeq: number | null;
}

export interface PacketEvent {
  readonly kind: 'packet';
  readonly direction: 'in' | 'out';
  readonly ecn: Ecn | null;
  readonly tos: number | null;
  readonly ttl: number | null;
  readonly flowLabel: number | null;
  readonly packet: TcpPacket | IcmpPacket;
}

export type Ecn = 'noecn' | 'ect0' | 'ect1' | 'ect01' | 'ce';

export interface CallEvent {
  readonly kind: 'call';
  readonly name: string;
  readonly args: readonly Value[];
  readonly result: Value;
  readonly errno: string | null;
  /** End of a blocking call, counted like the event's own time; null when it must not block. */
  readonly endUs: number | null;
}

export interface ShellEvent {
  readonly kind: 'shell';
  readonly command: string;
}

export interface CodeEvent {
  readonly kind: 'code';
  readonly text: string;
  readonly line: number;
}

export interface TimedEvent {
  readonly line: number;
  readonly time: Time;
  readonly event: PacketEvent | CallEvent | ShellEvent | CodeEvent;
}

export interface Script {
  readonly options: readonly { readonly name: string; readonly value: string; readonly line: number }[];
  /** Shell commands before the first event. */
  readonly setup: readonly { readonly command: string; readonly line: number }[];
  readonly events: readonly TimedEvent[];
}

/** The script asks for something that the runner or the core does not have. */
export class Unsupported extends Error {
  constructor(
    readonly line: number,
    message: string,
  ) {
    super(message);
  }
}

/** The core did something else than the script expects. */
export class Mismatch extends Error {
  constructor(
    readonly line: number,
    message: string,
  ) {
    super(message);
  }
}
