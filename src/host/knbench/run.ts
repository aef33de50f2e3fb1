import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, killChildren } from './child.js';
import { type Cell, type Contender, contenderName, failedRecord, markBaseline, recordOf, sizeText } from './results.js';
import type { ClientFigures, EndInfo, EndSpec, Mode, RunRecord, StackName, Usage, Workload } from './types.js';

export interface RunOptions {
  stacks: readonly { stack: StackName; mode: Mode }[];
  /** `memif`, `memif:PATH`, `memory:`, or the server's link of a pair (with `clientLink`). */
  link: string;
  clientLink?: string;
  sizesBytes: readonly number[];
  depths: readonly number[];
  connections: readonly number[];
  seconds: number;
  warmupSeconds: number;
  rounds: number;
  mtu?: number;
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

const SERVER_ADDRESS = '10.77.0.1';
const CLIENT_ADDRESS = '10.77.0.2';
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
    readonly info: EndInfo,
  ) {}

  static async open(contender: Contender, links: LinkPair, options: RunOptions): Promise<Pair> {
    const { stack, mode, placement } = contender;
    const name = stack === 'kernel' && mode === 'copy' ? 'kernel' : `${stack} ${mode}`;
    const common = {
      stack,
      mode,
      trustLink: options.trustLink,
      ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    };
    const [serverCpu, clientCpu] = placement === 'two CPUs' ? [0, 1] : [0, 0];
    const started: Child[] = [];
    try {
      if (placement === 'one thread') {
        const both = await Child.start(`the ${name} process`, options.cpus[serverCpu]);
        started.push(both);
        const port = stack === 'kernel' ? 0 : PORT;
        const spec: EndSpec = { ...common, role: 'both', port };
        return new Pair(both, both, (await both.ask({ type: 'open', spec }, 'opened', OPEN_SECONDS)).info);
      }
      const server = await Child.start(`the ${name} server`, options.cpus[serverCpu]);
      started.push(server);
      const client = await Child.start(`the ${name} client`, options.cpus[clientCpu]);
      started.push(client);
      const kernel = stack === 'kernel';
      const serverSpec: EndSpec = kernel
        ? { ...common, role: 'server', port: 0 }
        : { ...common, role: 'server', link: links.server, address: `${SERVER_ADDRESS}/24`, port: PORT };
      const { info } = await server.ask({ type: 'open', spec: serverSpec }, 'opened', OPEN_SECONDS);
      const clientSpec: EndSpec = kernel
        ? { ...common, role: 'client', port: info.port }
        : {
            ...common,
            role: 'client',
            link: links.client,
            address: `${CLIENT_ADDRESS}/24`,
            server: SERVER_ADDRESS,
            port: info.port,
          };
      await client.ask({ type: 'open', spec: clientSpec }, 'opened', OPEN_SECONDS);
      return new Pair(server, client, info);
    } catch (error) {
      for (const child of started) child.kill();
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
  }

  kill(): void {
    this.client.kill();
    this.server.kill();
  }
}

interface LinkPair {
  server: string;
  client: string;
  remove(): void;
}

/** The two links of a pair. A memif without a path gets a socket of its own, removed afterwards. */
function linkPair(link: string, clientLink: string | undefined): LinkPair {
  if (clientLink !== undefined) return { server: link, client: clientLink, remove: () => undefined };
  if (link === 'memif' || link === 'memif:') {
    const folder = mkdtempSync(join(tmpdir(), 'lunet-knbench-'));
    const pair = linkPair(`memif:${join(folder, 'memif.sock')}`, undefined);
    return { ...pair, remove: () => rmSync(folder, { recursive: true, force: true }) };
  }
  const withRole = (role: string): string => `${link}${link.includes('?') ? '&' : '?'}role=${role}`;
  return { server: withRole('server'), client: withRole('client'), remove: () => undefined };
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

function contendersOf(options: RunOptions): Contender[] {
  if (isMemoryLink(options.link)) {
    return options.stacks.map((entry) => ({ ...entry, placement: 'one thread' }));
  }
  const two = options.cpus.length !== 1;
  return options.stacks.flatMap((entry): Contender[] => {
    if (entry.stack === 'lunet') return [{ ...entry, placement: two ? 'two CPUs' : 'one CPU' }];
    const one: Contender = { ...entry, placement: 'one CPU' };
    return two ? [one, { ...entry, placement: 'two CPUs' }] : [one];
  });
}

/** Runs every cell of every stack in every round, the stacks in turn within a round, and marks the kernel's baseline. */
export async function runMatrix(options: RunOptions): Promise<RunRecord[]> {
  const contenders = contendersOf(options);
  const cells: Cell[] = options.connections.flatMap((connections) =>
    options.sizesBytes.flatMap((sizeBytes) => options.depths.map((depth) => ({ sizeBytes, depth, connections }))),
  );
  const total = contenders.length * cells.length * options.rounds;
  const records: RunRecord[] = [];
  const links = linkPair(options.link, options.clientLink);
  let pair: Pair | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    killChildren();
    links.remove();
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
            pair ??= await Pair.open(contender, links, options).catch((error: unknown) => {
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
            pair?.kill();
            const message = error instanceof Error ? error.message : String(error);
            records.push(failedRecord(contender, cell, round, pair?.info, options.link, message));
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
    pair?.kill();
    links.remove();
  }
  markBaseline(records.map((record) => record.result));
  return records;
}

function progressText(contender: Contender, cell: Cell, round: number, options: RunOptions): string {
  const where = `${sizeText(cell.sizeBytes)}, iodepth ${cell.depth}`;
  return `round ${round}/${options.rounds}, ${contenderName(contender)}, ${where}`;
}
