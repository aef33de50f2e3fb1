import { readFileSync } from 'node:fs';
import { Child, killChildren } from './child.js';
import { type Cell, type Contender, contenderName, failedRecord, markBaseline, recordOf, sizeText } from './results.js';
import type {
  ClientFigures,
  EndInfo,
  EndSpec,
  Mode,
  Placement,
  RunRecord,
  StackName,
  Usage,
  Wire,
  Workload,
} from './types.js';
import { carries, isVeth, needVeth, type OpenWire, openWire, type WireOptions, wiresOf } from './wire.js';

export interface RunOptions {
  stacks: readonly { stack: StackName; mode: Mode }[];
  /**
   * One direct link (`memif`, `memif:PATH`, `memory:`, or the server's link of a pair, with `clientLink`), or `xdp`, or both:
   * then every stack is measured on the one and on the other.
   */
  links: readonly string[];
  clientLink?: string;
  /** What is measured: every combination of the three, or exactly `cells`. */
  sizesBytes: readonly number[];
  depths: readonly number[];
  connections: readonly number[];
  cells?: readonly Cell[];
  seconds: number;
  warmupSeconds: number;
  rounds: number;
  mtu?: number;
  /** Of the veth pair, lunet and kernel alike; 1500 by default. */
  vethMtu?: number;
  /** lunet computes and verifies no checksums: for links in shared memory. */
  trustLink: boolean;
  verify: boolean;
  /** The CPUs of server and client; empty: do not pin. */
  cpus: readonly number[];
  onProgress?: (progress: Progress) => void;
}

export interface Progress {
  done: number;
  total: number;
  what: string;
}

const PORT = 7077;
const OPEN_SECONDS = 20;
const USAGE_SECONDS = 5;
/** Connecting, draining and closing, on top of the time that is measured. */
const SLACK_SECONDS = 15;

/** One or two processes with a server and a client end between them. */
class Pair {
  private constructor(
    private readonly server: Child,
    private readonly client: Child,
    private readonly wire: OpenWire,
    readonly info: EndInfo,
  ) {}

  static async open(contender: Contender, options: RunOptions): Promise<Pair> {
    const { stack, mode, placement } = contender;
    const wire = await openWire(contender.wire, stack, wireOptions(options));
    const started: Child[] = [];
    const start = async (what: string, cpu: number, namespace = wire.serverNamespace): Promise<Child> => {
      const name = `the ${stack === 'kernel' && mode === 'copy' ? 'kernel' : `${stack} ${mode}`} ${what}`;
      const child = await Child.start(name, options.cpus[cpu], namespace);
      started.push(child);
      return child;
    };
    const common = { stack, mode, port: PORT, trustLink: options.trustLink };
    const open = async (child: Child, spec: EndSpec): Promise<EndInfo> =>
      (await child.ask({ type: 'open', spec }, 'opened', OPEN_SECONDS)).info;
    try {
      if (placement === 'one thread') {
        const both = await start('process', 0);
        const mtu = options.mtu === undefined ? {} : { mtu: options.mtu };
        const port = stack === 'kernel' ? 0 : PORT;
        return new Pair(both, both, wire, await open(both, { ...common, ...mtu, role: 'both', port }));
      }
      const server = await start('server', 0);
      const client = await start('client', placement === 'two CPUs' ? 1 : 0, wire.clientNamespace);
      const info = await open(server, { ...common, ...wire.server, role: 'server' });
      await open(client, { ...common, ...wire.client, role: 'client', port: info.port });
      return new Pair(server, client, wire, info);
    } catch (error) {
      for (const child of started) child.kill();
      await wire.close();
      throw error;
    }
  }

  async measure(workload: Workload): Promise<{ figures: ClientFigures; usage: Usage }> {
    const limit = workload.warmupSeconds + workload.seconds + SLACK_SECONDS;
    const before = await this.client.ask({ type: 'run', workload }, 'measuring', limit);
    const shared = this.server === this.client;
    const usage = (): Promise<{ usage: Usage }> => this.server.ask({ type: 'usage' }, 'usage', USAGE_SECONDS);
    const serverBefore = shared ? undefined : await usage();
    const after = await this.client.expect('result', limit);
    const serverAfter = shared ? undefined : await usage();
    const spent = (key: keyof Usage): number =>
      after.usage[key] -
      before.usage[key] +
      (serverBefore !== undefined && serverAfter !== undefined ? serverAfter.usage[key] - serverBefore.usage[key] : 0);
    return {
      figures: after.figures,
      usage: {
        cpuSeconds: spent('cpuSeconds'),
        copiedBytes: spent('copiedBytes'),
        retransmits: spent('retransmits'),
      },
    };
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.client.close(), ...(this.server === this.client ? [] : [this.server.close()])]);
    await this.wire.close();
  }

  async kill(): Promise<void> {
    this.client.kill();
    this.server.kill();
    await this.wire.close();
  }
}

export const isMemoryLink = (link: string): boolean => link === 'memory' || link.startsWith('memory:');

/** CPUs this process may run on, from the kernel's list format (`0-3,8`). */
export function allowedCpus(list = readCpuList()): number[] {
  return list
    .trim()
    .split(',')
    .filter((range) => range !== '')
    .flatMap((range) => {
      const [from, to = from] = range.split('-').map(Number) as [number, number?];
      return Array.from({ length: to! - from + 1 }, (_, i) => from + i);
    });
}

function readCpuList(): string {
  try {
    return /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  } catch {
    return '';
  }
}

function wireOptions(options: RunOptions): WireOptions {
  const { clientLink, mtu, vethMtu } = options;
  return { link: options.links.find((link) => !isVeth(link)) ?? '', clientLink, mtu, vethMtu };
}

function contendersOf(options: RunOptions): Contender[] {
  return wiresOf(options.links).flatMap((wire) =>
    options.stacks
      .filter(({ stack }) => carries(wire, stack))
      .flatMap((entry) => placementsOf(entry, wire, options).map((placement) => ({ ...entry, wire, placement }))),
  );
}

function placementsOf({ stack, mode }: { stack: StackName; mode: Mode }, wire: Wire, options: RunOptions): Placement[] {
  const program = mode === 'epoll' || mode === 'busy';
  if (wire === 'direct' && !program && options.links.some(isMemoryLink)) return ['one thread'];
  if (options.cpus.length === 1) return ['one CPU'];
  // Who polls on one CPU keeps the other end from it; the rest of the kernel's users may be better off together.
  return stack === 'lunet' || mode === 'busy' ? ['two CPUs'] : ['one CPU', 'two CPUs'];
}

function combinations({ connections, sizesBytes, depths }: RunOptions): Cell[] {
  return connections.flatMap((count) =>
    sizesBytes.flatMap((sizeBytes) => depths.map((depth) => ({ sizeBytes, depth, connections: count }))),
  );
}

/** Runs every cell of every stack in every round, the stacks in turn within a round, and marks the kernel's best. */
export async function runMatrix(options: RunOptions): Promise<RunRecord[]> {
  const contenders = contendersOf(options);
  const cells = options.cells ?? combinations(options);
  const total = contenders.length * cells.length * options.rounds;
  const records: RunRecord[] = [];
  if (options.links.some(isVeth)) needVeth();
  let pair: Pair | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    killChildren();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    for (let round = 1; round <= options.rounds; round++) {
      // Each round begins with another stack, so that a drift of the machine does not fall on one of them alone.
      const turn = contenders.map((_, i) => contenders[(i + round - 1) % contenders.length]);
      for (const contender of turn) {
        // A pair that does not open would not open for the next cell either.
        let unopened: unknown;
        for (const cell of cells) {
          options.onProgress?.({ done: records.length, total, what: progressText(contender, cell, round, options) });
          try {
            if (unopened !== undefined) throw unopened;
            pair ??= await Pair.open(contender, options).catch((error: unknown) => {
              unopened = error;
              throw error;
            });
            const workload = {
              ...cell,
              seconds: options.seconds,
              warmupSeconds: options.warmupSeconds,
              verify: options.verify,
            };
            const { figures, usage } = await pair.measure(workload);
            records.push(recordOf(contender, cell, round, pair.info, figures, usage));
          } catch (error) {
            await pair?.kill();
            const message = error instanceof Error ? error.message : String(error);
            records.push(failedRecord(contender, cell, round, pair?.info, wireOptions(options).link, message));
            pair = undefined;
          }
        }
        await pair?.close();
        pair = undefined;
      }
    }
    options.onProgress?.({ done: total, total, what: 'done' });
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await pair?.kill();
  }
  markBaseline(records.map((record) => record.result));
  return records;
}

function progressText(contender: Contender, cell: Cell, round: number, options: RunOptions): string {
  const where = `${sizeText(cell.sizeBytes)}, iodepth ${cell.depth}`;
  return `round ${round}/${options.rounds}, ${contenderName(contender)}, ${where}`;
}
