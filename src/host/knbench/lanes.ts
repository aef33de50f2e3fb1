import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { Child } from './child.js';
import { laneCpus } from './cpus.js';
import { type Contender, mergeUsage } from './results.js';
import type { ClientFigures, EndInfo, EndSpec, Usage, Workload } from './types.js';
import { type OpenWire, openWire, type WireOptions } from './wire.js';

// One thread of each end, with a stack, a wire and connections of its own, is a lane. Lanes share nothing: those of a run
// are measured at the same time, and what they did is one result.

export interface LaneOptions {
  /** Lanes of a run. */
  threads: number;
  wire: WireOptions;
  trustLink: boolean;
  /** Those the lanes take in turn; empty: do not pin. */
  cpus: readonly number[];
}

/** What lanes measured at the same time. */
export interface Measured {
  /** Of each lane's client. */
  figures: ClientFigures[];
  /** Of all processes together. */
  usage: Usage;
  /** Between the lane that began first and the one that began last. */
  skewSeconds: number;
}

const PORT = 7077;
const OPEN_SECONDS = 20;
const USAGE_SECONDS = 5;
/** Connecting, draining and closing, on top of the time that is measured. */
const SLACK_SECONDS = 15;

/** One or two processes with a server and a client end between them. */
class Lane {
  private constructor(
    private readonly server: Child,
    private readonly client: Child,
    private readonly wire: OpenWire,
    readonly info: EndInfo,
    /** By how much more than alone it may take over everything: its share of the machine's CPUs is smaller. */
    private readonly patience: number,
  ) {}

  static async open(contender: Contender, options: LaneOptions, index: number): Promise<Lane> {
    const { stack, mode, placement } = contender;
    const { threads, trustLink, cpus } = options;
    const patience = Math.max(1, (2 * threads) / (cpus.length || availableParallelism()));
    const wire = await openWire(contender.wire, stack, options.wire, { index, count: threads });
    const started: Child[] = [];
    const start = async (what: string, cpu: number | undefined, namespace = wire.serverNamespace): Promise<Child> => {
      const name = `the ${stack === 'kernel' && mode === 'copy' ? 'kernel' : `${stack} ${mode}`} ${what}`;
      const child = await Child.start(threads > 1 ? `${name} of thread ${index}` : name, cpu, namespace);
      started.push(child);
      return child;
    };
    const common = { stack, mode, port: PORT, trustLink };
    const open = async (child: Child, spec: EndSpec): Promise<EndInfo> =>
      (await child.ask({ type: 'open', spec }, 'opened', OPEN_SECONDS * patience)).info;
    const cpu = laneCpus(placement, index, cpus);
    try {
      if (placement === 'one thread') {
        const both = await start('process', cpu.server);
        const mtu = options.wire.mtu === undefined ? {} : { mtu: options.wire.mtu };
        const port = stack === 'kernel' ? 0 : PORT;
        return new Lane(both, both, wire, await open(both, { ...common, ...mtu, role: 'both', port }), patience);
      }
      const server = await start('server', cpu.server);
      const client = await start('client', cpu.client, wire.clientNamespace);
      const info = await open(server, { ...common, ...wire.server, role: 'server' });
      await open(client, { ...common, ...wire.client, role: 'client', port: info.port });
      return new Lane(server, client, wire, info, patience);
    } catch (error) {
      for (const child of started) child.kill();
      await wire.close();
      throw error;
    }
  }

  /** Measures, and says when that began and what each process spent meanwhile. */
  async measure(workload: Workload): Promise<{ figures: ClientFigures; beganMs: number; usages: Usage[] }> {
    const limit = workload.warmupSeconds + workload.seconds + SLACK_SECONDS * this.patience;
    const before = await this.client.ask({ type: 'run', workload }, 'measuring', limit);
    const beganMs = performance.now();
    const shared = this.server === this.client;
    const usage = (): Promise<{ usage: Usage }> =>
      this.server.ask({ type: 'usage' }, 'usage', USAGE_SECONDS * this.patience);
    const serverBefore = shared ? undefined : await usage();
    const after = await this.client.expect('result', limit);
    const serverAfter = shared ? undefined : await usage();
    const usages = [spent(before.usage, after.usage)];
    if (serverBefore && serverAfter) usages.push(spent(serverBefore.usage, serverAfter.usage));
    return { figures: after.figures, beganMs, usages };
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

function spent(before: Usage, after: Usage): Usage {
  return {
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    copiedBytes: after.copiedBytes - before.copiedBytes,
    retransmits: after.retransmits - before.retransmits,
  };
}

/** The lanes of one contender. */
export class Lanes {
  private constructor(
    private readonly lanes: readonly Lane[],
    /** Every process reads the same counter of retransmissions. */
    private readonly oneCounter: boolean,
  ) {}

  /** Rejects with the error of the first lane that does not open, when the others have closed. */
  static async open(contender: Contender, options: LaneOptions): Promise<Lanes> {
    const opening = Array.from({ length: options.threads }, (_, index) => Lane.open(contender, options, index));
    const settled = await Promise.allSettled(opening);
    const open = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const lanes = new Lanes(open, contender.stack === 'kernel' && contender.wire === 'direct');
    const failure = settled.find((one) => one.status === 'rejected');
    if (failure === undefined) return lanes;
    await lanes.close();
    throw failure.reason;
  }

  /** The first lane's; on hugepages if all are. */
  get info(): EndInfo {
    return { ...this.lanes[0].info, hugepages: this.lanes.every(({ info }) => info.hugepages) };
  }

  /** Rejects with the first lane's failure; the others run on until they are killed. */
  async measure(workload: Workload): Promise<Measured> {
    const lanes = await Promise.all(this.lanes.map((lane) => lane.measure(workload)));
    const began = lanes.map(({ beganMs }) => beganMs);
    return {
      figures: lanes.map(({ figures }) => figures),
      usage: mergeUsage(
        lanes.flatMap(({ usages }) => usages),
        this.oneCounter,
      ),
      skewSeconds: (Math.max(...began) - Math.min(...began)) / 1000,
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.close()));
  }

  async kill(): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.kill()));
  }
}
