// Bulk flows over one bottleneck: each sender is a host of its own, all send to one receiver.
import type { CoreBuild, CoreConfig } from '../core/core.js';
import * as L from '../core/layout.js';
import { type ProfileName, profiles } from '../profiles.js';
import type { SimHost } from './host.js';
import type { Path, PathOptions } from './path.js';
import { createSimulation, type Simulation } from './simulation.js';

export interface BulkOptions {
  seed: number;
  flows?: number;
  profile?: ProfileName;
  mtu?: number;
  /** Send and receive buffer of each connection. */
  bufferBytes?: number;
  /** From the senders to the receiver, shared by all. */
  forward: PathOptions;
  /** From the receiver to the senders. */
  back: PathOptions;
  config?: Partial<CoreConfig>;
  /** Congestion control of each flow in turn, CC_…; the configuration's when there are none. */
  congestion?: readonly number[];
  build?: CoreBuild;
  captureFolder?: string;
}

export interface BulkFlow {
  readonly host: SimHost;
  handle: number;
  /** In-order bytes the receiving application has got. */
  deliveredBytes: number;
  /** When the last of them came, µs of virtual time. */
  lastDeliveryUs: number;
  error: number;
}

export interface Bulk {
  readonly simulation: Simulation;
  readonly receiver: SimHost;
  readonly flows: readonly BulkFlow[];
  readonly forward: Path;
  readonly back: Path;
  /** Of all senders together. */
  sent(counter: number): number;
  close(): void;
}

const PORT = 5001;
const PIECE_BYTES = 65536;
/** Flows begin this far apart at most, so that they do not move in step. */
const STAGGER_US = 5000;
const SERVER = '10.0.0.1';

/** Opens the connections; data flows as virtual time goes on. */
export function openBulk(options: BulkOptions): Bulk {
  const { seed } = options;
  const flowCount = options.flows ?? 1;
  const mtu = options.mtu ?? 1500;
  const bufferBytes = options.bufferBytes ?? 4 << 20;
  const simulation = createSimulation({
    seed,
    frameBytes: mtu + 64,
    captureFolder: options.captureFolder ?? null,
  });
  // Every segment of the buffers may lie in an object of its own, and of all objects five eighths are for them.
  const segments = flowCount * Math.ceil(bufferBytes / (mtu - 100)) + 1024;
  const objects = Math.ceil((segments * 8) / 5);
  const objectBytes = Math.max(2048, Math.ceil((mtu + 14) / 64) * 64);
  const base: Partial<CoreConfig> = {
    ...profiles[options.profile ?? 'internet'],
    mtu,
    sndBufBytes: bufferBytes,
    rcvBufBytes: bufferBytes,
    segmentRecords: 4 * segments,
    ...options.config,
  };
  const build = options.build ? { build: options.build } : {};
  const rxZones = Math.ceil((objects * objectBytes) / L.ZONE_BYTES);
  const receiver = simulation.host({
    name: 'receiver',
    address: `${SERVER}/24`,
    mac: '02:00:00:00:00:01',
    config: {
      ...base,
      seed: BigInt(seed),
      zones: rxZones + 4,
      rxZones,
      oooObjects: objects,
      oooTotalObjects: 2 * objects,
    },
    ...build,
  });
  const flows: BulkFlow[] = [];
  for (let i = 0; i < flowCount; i++) {
    const host = simulation.host({
      name: `sender${i + 1}`,
      address: `10.0.0.${i + 2}/24`,
      mac: `02:00:00:00:01:0${i + 1}`,
      config: {
        ...base,
        ...(options.congestion ? { congestion: options.congestion[i % options.congestion.length] } : {}),
        seed: BigInt(seed + i + 1),
        zones: 8,
        rxZones: 4,
        txRing: 4096,
      },
      ...build,
    });
    flows.push({ host, handle: 0, deliveredBytes: 0, lastDeliveryUs: 0, error: 0 });
  }
  const forward = simulation.path(options.forward, receiver.receive);
  const toSenders = simulation.switchTo(flows.map(({ host }) => ({ host, deliver: host.receive })));
  const back = simulation.path(options.back, flowCount === 1 ? flows[0].host.receive : toSenders);
  receiver.egress = back;
  for (const { host } of flows) host.egress = forward;
  simulation.introduce();
  serve(simulation, receiver, flows);
  flows.forEach((flow, i) => {
    startSender(simulation, flow, i === 0 ? 0 : (Math.imul(seed + i, 0x9e3779b1) >>> 0) % STAGGER_US);
  });
  return {
    simulation,
    receiver,
    flows,
    forward,
    back,
    sent: (counter) => flows.reduce((sum, { host }) => sum + host.core.counter(counter), 0),
    close: () => simulation.close(),
  };
}

function serve(simulation: Simulation, receiver: SimHost, flows: readonly BulkFlow[]): void {
  const { core } = receiver;
  const byHandle = new Map<number, BulkFlow>();
  receiver.onEvent = (handle, kind, a, b) => {
    if (kind === L.EV_DATA) {
      const flow = byHandle.get(handle);
      if (flow) {
        flow.deliveredBytes += b;
        flow.lastDeliveryUs = simulation.nowUs();
      }
      core.free(a);
    } else if (kind === L.EV_ACCEPT) {
      core.info(a, core.scratch);
      const last = core.u8[core.scratch + L.INFO_remote_address + 15];
      byHandle.set(a, flows[last - 2]);
    } else if (kind === L.EV_ERROR) {
      const flow = byHandle.get(handle);
      if (flow) flow.error = a;
    }
  };
  receiver.at(0, () => {
    core.u8.fill(0, core.scratch, core.scratch + 16);
    core.listen(core.scratch, PORT, 16, L.SOCK_INLINE);
  });
}

/** Keeps the send queue full with the same bytes: what is measured is the path. */
function startSender(simulation: Simulation, flow: BulkFlow, afterUs: number): void {
  const { core } = flow.host;
  let piece = 0;
  const fill = (): void => {
    while (core.send(flow.handle, piece, PIECE_BYTES) > 0);
  };
  flow.host.onEvent = (_handle, kind, a) => {
    if (kind === L.EV_CONNECT || kind === L.EV_WRITE) fill();
    else if (kind === L.EV_ERROR) flow.error = a;
  };
  flow.host.at(simulation.events.nowNs() + afterUs * 1000, () => {
    piece = core.alloc(PIECE_BYTES);
    core.u8.set(simulation.hosts[0].address, core.scratch);
    flow.handle = core.connect(core.scratch, PORT, 0, 0, L.SOCK_INLINE);
  });
}

export interface Goodput {
  /** Payload bits per second of each flow. */
  bps: number[];
  retransmitted: number;
  timeouts: number;
  segments: number;
}

/** Lets the flows settle for `warmupUs` and measures them for `measureUs`. */
export function measure(bulk: Bulk, warmupUs: number, measureUs: number): Goodput {
  bulk.simulation.runUs(warmupUs);
  const bytes = bulk.flows.map((flow) => flow.deliveredBytes);
  const retransmitted = bulk.sent(L.CNT_TcpRetransSegs);
  const timeouts = bulk.sent(L.CNT_TcpExtTCPTimeouts);
  const segments = bulk.sent(L.CNT_TcpOutSegs);
  bulk.simulation.runUs(measureUs);
  return {
    bps: bulk.flows.map((flow, i) => ((flow.deliveredBytes - bytes[i]) * 8e6) / measureUs),
    retransmitted: bulk.sent(L.CNT_TcpRetransSegs) - retransmitted,
    timeouts: bulk.sent(L.CNT_TcpExtTCPTimeouts) - timeouts,
    segments: bulk.sent(L.CNT_TcpOutSegs) - segments,
  };
}
