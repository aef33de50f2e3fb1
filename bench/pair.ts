// Two ends in one thread, driven by hand: no event loop, no system call. Either two cores on a memory link, or one core
// whose transmitted frames are its received ones.
import { parsePrefix, writeAddress } from '../src/host/core/address.js';
import { type Core, type CoreConfig, createCore, type InlineEvent, WITHOUT_UDP } from '../src/host/core/core.js';
import * as L from '../src/host/core/layout.js';
import type { Link } from '../src/host/link/link.js';
import { loopbackLink } from '../src/host/link/loopback.js';
import { memoryLink } from '../src/host/link/memory.js';
import { loadNative, type NativeAddon } from '../src/host/link/native.js';
import { profiles } from '../src/host/profiles.js';

export type Join = 'loopback' | 'two instances';

export interface Pair {
  readonly join: Join;
  /** On the loopback the same core. */
  readonly server: Core;
  readonly client: Core;
  /** Bytes of one core's memory below its zones: static data, and the tables its configuration sizes. */
  readonly tableBytes: number;
  /** Events of inline sockets of all cores; set it before anything happens. */
  onEvent: (core: Core, handle: number, kind: number, a: number, b: number) => void;
  /** Brings the clocks up to date after a rest: a SYN that is timed from the past would be sent again at once. */
  enter(): void;
  /** One turn of each core. */
  turn(): void;
  close(): void;
}

export interface PairOptions {
  mtu?: number;
  /** False: neither compute nor verify them. */
  checksums?: boolean;
  config?: Partial<CoreConfig>;
  /** Addresses of the client, and of the server on two instances. */
  clientAddresses?: readonly string[];
  /** The clock of both; the machine's by default. */
  clockNs?: () => number;
}

export const SERVER_ADDRESS = '10.0.0.1';
const CLIENT = '10.0.0.2';
/** The clock is read once in so many turns: a link stamps it by a register where lunet drives one itself. */
const TURNS_PER_CLOCK = 16;
const TURNS_PER_POLL = 16;

export const defaultConfig: Omit<CoreConfig, 'mtu' | 'mac'> = {
  ...profiles.local,
  seed: 1n,
  maxConnections: 1024,
  maxListeners: 16,
  rxRing: 1024,
  txRing: 4096,
  eventRing: 4096,
  segmentRecords: 65536,
  sndBufBytes: 2 * 1024 * 1024,
  rcvBufBytes: 2 * 1024 * 1024,
  portLo: 61440,
  portHi: 65535,
  ...WITHOUT_UDP,
  maxNeighbours: 64,
  maxRoutes: 64,
  oooObjects: 256,
  zones: 48,
  rxZones: 8,
  flags: L.CFGF_ARP | L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE,
};

/** Gives the cores of these links what those of DPDK links have; null without the addon. */
const native = optionalNative();

/** Behind the cores' tables and objects, for a benchmark to print. */
export const pages = native ? 'transparent hugepages, where the kernel has them' : 'ordinary pages (no addon)';

let hubs = 0;

export function openPair(join: Join, options: PairOptions = {}): Pair {
  const { mtu = 1500, checksums = true, clientAddresses = [CLIENT] } = options;
  const readNs = options.clockNs ?? (() => performance.now() * 1e6);
  let nowNs = readNs();
  const clockNs = (): number => nowNs;
  const loopback = join === 'loopback' ? L.CFGF_LOOPBACK : 0;
  const flags = defaultConfig.flags | loopback | (checksums ? 0 : L.CFGF_TX_NO_CSUM | L.CFGF_RX_TRUST);
  const config = { ...defaultConfig, ...options.config, mtu };

  function open(link: Link, addresses: readonly string[]): Core {
    const core: Core = createCore({
      config: { ...config, mac: link.info.mac, flags: flags | (link.info.offloads.txChecksum ? L.CFGF_TX_CSUM : 0) },
      build: 'release',
      onEvent: ((handle, kind, a, b) => pair.onEvent(core, handle, kind, a, b)) satisfies InlineEvent,
      place(memory, arenaEnd) {
        tableBytes = arenaEnd;
        native?.adviseHugepages(memory);
        return link.attach({ memory, ctl: L.CTL, arenaEnd, zoneCount: config.zones, rxZones: config.rxZones });
      },
    });
    for (const address of addresses) {
      const own = parsePrefix(`${address}/16`);
      writeAddress(core.u8, core.scratch, own.address);
      core.addressAdd(core.scratch, own.prefixLength);
    }
    return core;
  }

  let tableBytes = 0;
  let links: Link[];
  let cores: Core[];
  if (join === 'loopback') {
    links = [loopbackLink({ mtu, clockNs })];
    cores = [open(links[0], [SERVER_ADDRESS])];
  } else {
    const hub = `bench${hubs++}`;
    links = [memoryLink(hub, { mtu, clockNs }), memoryLink(hub, { mtu, clockNs })];
    cores = [open(links[0], [SERVER_ADDRESS]), open(links[1], clientAddresses)];
  }
  let turns = 0;
  const pair: Pair = {
    join,
    server: cores[0],
    client: cores[cores.length - 1],
    tableBytes,
    onEvent: () => undefined,
    enter() {
      nowNs = readNs();
      for (const core of cores) core.flush(nowNs / 1000);
    },
    turn() {
      turns++;
      if (turns % TURNS_PER_CLOCK === 0) nowNs = readNs();
      const nowUs = nowNs / 1000;
      for (let i = cores.length - 1; i >= 0; i--) {
        const core = cores[i];
        core.ingest(links[i].burst(), nowUs);
        if (turns % TURNS_PER_POLL === 0) core.poll(nowUs);
        else core.flush(nowUs);
      }
    },
    close() {
      for (const link of links) link.close();
    },
  };
  return pair;
}

function optionalNative(): NativeAddon | null {
  try {
    return loadNative();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_LUNET_NO_ADDON') return null;
    throw error;
  }
}

/** Takes turns until `done`, or throws when it does not come. */
export function turnUntil(pair: Pair, done: () => boolean, what: string): void {
  for (let i = 0; i < 10_000_000; i++) {
    if (done()) return;
    pair.turn();
  }
  throw new Error(`${what} did not happen`);
}

/** Begins a connection from the client to the server; both sockets inline. Returns the client's handle. */
export function connectInline(pair: Pair, port: number, localAddress?: string): number {
  const { client: core } = pair;
  pair.enter();
  writeAddress(core.u8, core.scratch, SERVER_ADDRESS);
  if (localAddress !== undefined) writeAddress(core.u8, core.scratch + 16, localAddress);
  const local = localAddress === undefined ? 0 : core.scratch + 16;
  const handle = core.connect(core.scratch, port, local, 0, L.SOCK_INLINE);
  if (handle < 0) throw new Error(`connect failed with errno ${-handle}`);
  return handle;
}

/** Returns the listener's handle. */
export function listenInline({ server: core }: Pair, port: number, backlog = 511): number {
  core.u8.fill(0, core.scratch, core.scratch + 16);
  const handle = core.listen(core.scratch, port, backlog, L.SOCK_INLINE);
  if (handle < 0) throw new Error(`listen failed with errno ${-handle}`);
  return handle;
}

/** A handle's index in its core: below this power of two. */
export function handleMask({ config }: Core): number {
  return 2 ** Math.ceil(Math.log2(config.maxConnections + config.maxListeners)) - 1;
}
