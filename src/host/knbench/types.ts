// What the processes of a benchmark tell each other, and what a run is reported as.

export type StackName = 'lunet' | 'kernel';
/**
 * lunet: `zc`, `copy`. kernel: `copy` is node:net; `epoll` and `busy` are a C program that waits, or asks on and on. Either:
 * `rpc`, programs of lunet/rpc, over lunet/zc or over node:net.
 */
export type Mode = 'zc' | 'copy' | 'rpc' | 'epoll' | 'busy';

/** What joins the ends: see wire.ts. */
export type Wire = 'direct' | 'veth' | 'bare veth';

/**
 * Where the two ends of each thread run. `one thread`: both in one process, on one event loop. `by hand`: started separately.
 */
export type Placement = 'two CPUs' | 'one CPU' | 'one thread' | 'by hand';

export interface EndSpec {
  role: 'server' | 'client' | 'both';
  stack: StackName;
  mode: Mode;
  /** lunet: the link of this end. Role `both` has two ends on one memory link and ignores it. */
  link?: string;
  /** lunet: own address with prefix, `10.77.0.1/24`. kernel server: address to bind. */
  address?: string;
  /** Client: address of the server. */
  server?: string;
  /** Server: 0 lets the kernel choose; lunet needs a number. */
  port: number;
  mtu?: number;
  /** lunet: neither compute nor verify checksums. */
  trustLink?: boolean;
}

/** The shape of one measured cell. */
export interface Workload {
  sizeBytes: number;
  depth: number;
  connections: number;
  warmupSeconds: number;
  seconds: number;
  /** Compare every byte of every response, not only its length and id. */
  verify: boolean;
}

/** What one end knows of itself once it is open. */
export interface EndInfo {
  port: number;
  link: string;
  driver: string;
  mtu: number;
  offloads: string;
  hugepages: boolean;
  /** What the driver itself copies per payload byte, in words. */
  driverCopies: string;
}

/** Running totals of one process; a run reports differences. */
export interface Usage {
  cpuSeconds: number;
  copiedBytes: number;
  retransmits: number;
}

/** What the client measured: times by its own clock, latencies in nanoseconds. */
export interface ClientFigures {
  seconds: number;
  rpcs: number;
  errors: number;
  /** Buckets of the latency histogram that are not empty: lowest value and count in turn. */
  latencyNs: number[];
}

export type Command =
  | { type: 'open'; spec: EndSpec }
  | { type: 'run'; workload: Workload }
  | { type: 'usage' }
  | { type: 'close' };

export type Reply =
  | { type: 'ready' }
  | { type: 'opened'; info: EndInfo }
  | { type: 'measuring'; usage: Usage }
  | { type: 'result'; figures: ClientFigures; usage: Usage }
  | { type: 'usage'; usage: Usage }
  | { type: 'closed' }
  | { type: 'failed'; message: string };

/** One row of `knbench run --json`. */
export interface RunResult {
  stack: StackName;
  mode: Mode;
  placement: Placement;
  wire: Wire;
  /**
   * The kernel at its best: of its programs and placements on wires of this kind (the direct one, or a veth pair), this had
   * the highest median RPC/s of the cell. Ratios are taken against it.
   */
  baseline: boolean;
  link: string;
  driver: string;
  round: number;
  sizeBytes: number;
  depth: number;
  /** Of each thread. */
  connections: number;
  /** Of each end, measured at the same time: requests, rates, copies, retransmissions, errors and processor time are sums. */
  threads: number;
  /** Of the thread that took longest. */
  seconds: number;
  rpcs: number;
  rpcPerSecond: number;
  /** Payload bits per second in each direction. */
  gbps: number;
  p50Us: number | null;
  p90Us: number | null;
  p99Us: number | null;
  p999Us: number | null;
  copiedBytes: number;
  /** lunet counts its copies; the kernel's are computed: into and out of the socket at both ends. */
  copiedBytesSource: 'counted' | 'computed';
  driverCopies: string;
  /** lunet: all ends' own. kernel: Tcp RetransSegs of the whole network namespace. */
  retransmits: number;
  errors: number;
  /** All processes, user and system, over the measured time. */
  cpuSeconds: number;
  mtu: number;
  offloads: string;
  hugepages: boolean;
  /** Why the run failed; its figures are zero then. */
  error?: string;
  /** What keeps the figures from meaning what they seem to. */
  warning?: string;
}

/** A result with its latency distribution, which the JSON rows leave out. */
export interface RunRecord {
  result: RunResult;
  latencyNs: number[];
}
