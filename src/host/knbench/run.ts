import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { killChildren } from './child.js';
import { cpuWarning } from './cpus.js';
import { type LaneOptions, Lanes } from './lanes.js';
import { type Cell, type Contender, contenderName, failedRecord, markBaseline, recordOf, sizeText } from './results.js';
import type { Mode, Placement, RunRecord, StackName, Wire } from './types.js';
import { carries, isVeth, needVeth, wiresOf } from './wire.js';

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
  /** Of each thread. */
  connections: readonly number[];
  /** Of each end, each with a stack, a link and connections of its own; 1 by default. */
  threads?: number;
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
  /** For server and client of the first thread, of the second, …, in turn; empty: do not pin. */
  cpus: readonly number[];
  onProgress?: (progress: Progress) => void;
}

export interface Progress {
  done: number;
  total: number;
  what: string;
}

/** Lanes that begin further apart than this share of the measured time were not measured at the same time. */
const MOST_SKEW = 0.1;

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

function laneOptions(options: RunOptions): LaneOptions {
  const { clientLink, mtu, vethMtu, trustLink, cpus, threads = 1 } = options;
  const link = options.links.find((one) => !isVeth(one)) ?? '';
  return { threads, wire: { link, clientLink, mtu, vethMtu }, trustLink, cpus };
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
  const laning = laneOptions(options);
  if (options.links.some(isVeth)) needVeth();
  let lanes: Lanes | undefined;
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
        // Lanes that do not open would not open for the next cell either.
        let unopened: unknown;
        for (const cell of cells) {
          options.onProgress?.({ done: records.length, total, what: progressText(contender, cell, round, options) });
          try {
            if (unopened !== undefined) throw unopened;
            lanes ??= await Lanes.open(contender, laning).catch((error: unknown) => {
              unopened = error;
              throw error;
            });
            records.push(await measure(lanes, contender, cell, round, options));
          } catch (error) {
            await lanes?.kill();
            const message = error instanceof Error ? error.message : String(error);
            const { wire, threads } = laning;
            records.push(failedRecord(contender, cell, round, lanes?.info, wire.link, threads, message));
            lanes = undefined;
          }
        }
        await lanes?.close();
        lanes = undefined;
      }
    }
    options.onProgress?.({ done: total, total, what: 'done' });
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    await lanes?.kill();
  }
  markBaseline(records.map((record) => record.result));
  return records;
}

async function measure(
  lanes: Lanes,
  contender: Contender,
  cell: Cell,
  round: number,
  options: RunOptions,
): Promise<RunRecord> {
  const { seconds, warmupSeconds, verify, threads = 1, cpus } = options;
  const { figures, usage, skewSeconds } = await lanes.measure({ ...cell, seconds, warmupSeconds, verify });
  const apart = `threads began more than ${MOST_SKEW * 100} % of the measured time apart`;
  const warnings = [
    cpuWarning(contender, threads, cpus, availableParallelism()),
    skewSeconds > seconds * MOST_SKEW ? apart : undefined,
  ].filter((text) => text !== undefined);
  const record = recordOf(contender, cell, round, lanes.info, figures, usage);
  if (warnings.length > 0) record.result.warning = warnings.join('; ');
  return record;
}

function progressText(contender: Contender, cell: Cell, round: number, options: RunOptions): string {
  const where = `${sizeText(cell.sizeBytes)}, iodepth ${cell.depth}`;
  return `round ${round}/${options.rounds}, ${contenderName(contender)}, ${where}`;
}
