// Two cores on one memory link, driven by hand in one thread: no event loop, no system call.
import { parsePrefix, writeAddress } from '../src/host/core/address.js';
import { type Core, type CoreConfig, createCore, type InlineEvent, WITHOUT_UDP } from '../src/host/core/core.js';
import * as L from '../src/host/core/layout.js';
import type { Link } from '../src/host/link/link.js';
import { memoryLink } from '../src/host/link/memory.js';
import { type OffloadSwitches, offloadsText } from '../src/host/link/offloads.js';
import { profiles } from '../src/host/profiles.js';

export interface End {
  readonly core: Core;
  readonly link: Link;
  /** Events of inline sockets; set it before anything happens. */
  onEvent: InlineEvent;
  turn(): void;
}

export interface Pair {
  readonly server: End;
  readonly client: End;
  /** What is on, in words. */
  readonly offloads: string;
  /** One turn of each. */
  turn(): void;
  close(): void;
}

export const SERVER_ADDRESS = '10.0.0.1';

export const defaultConfig: Omit<CoreConfig, 'mtu' | 'mac'> = {
  ...profiles.datacenter,
  seed: 1n,
  maxConnections: 16384,
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

let hubs = 0;

function openEnd(hub: string, address: string, mtu: number, flags: number, offloads: Partial<OffloadSwitches>): End {
  const link = memoryLink(hub, { mtu, ...offloads });
  const { txChecksum, tso } = link.info.offloads;
  const end = { link, onEvent: (): void => {} } as unknown as { -readonly [K in keyof End]: End[K] };
  const core = createCore({
    config: {
      ...defaultConfig,
      flags: defaultConfig.flags | flags | (txChecksum ? L.CFGF_TX_CSUM : 0) | (tso ? L.CFGF_TX_TSO : 0),
      mtu,
      mac: link.info.mac,
    },
    build: 'release',
    onEvent: (handle, kind, a, b) => end.onEvent(handle, kind, a, b),
    place: (memory, arenaEnd) =>
      link.attach({
        memory,
        ctl: L.CTL,
        arenaEnd,
        zoneCount: defaultConfig.zones,
        rxZones: defaultConfig.rxZones,
      }),
  });
  const own = parsePrefix(address);
  writeAddress(core.u8, core.scratch, own.address);
  core.addressAdd(core.scratch, own.prefixLength);
  end.core = core;
  let turns = 0;
  end.turn = () => {
    const frames = link.burst();
    const nowUs = core.dv.getFloat64(L.CTL_CLOCK_NS, true) / 1000;
    core.ingest(frames, nowUs);
    if ((++turns & 15) === 0) core.poll(nowUs);
    else core.flush(nowUs);
  };
  return end;
}

/** `flags` are added to the default ones (CFGF_TX_NO_CSUM | CFGF_RX_TRUST: no checksums), `offloads` to the link's. */
export function openPair(mtu = 1500, flags = 0, offloads: Partial<OffloadSwitches> = {}): Pair {
  const hub = `bench${hubs++}`;
  const server = openEnd(hub, `${SERVER_ADDRESS}/24`, mtu, flags, offloads);
  const client = openEnd(hub, '10.0.0.2/24', mtu, flags, offloads);
  const gso = (flags & L.CFGF_NO_GSO) === 0;
  const gro = (flags & L.CFGF_NO_GRO) === 0;
  const words = offloadsText({ ...client.link.info.offloads, gso, gro });
  return {
    server,
    client,
    offloads: flags & L.CFGF_TX_NO_CSUM ? `no checksums at all; ${words}` : words,
    turn() {
      client.turn();
      server.turn();
    },
    close() {
      client.link.close();
      server.link.close();
    },
  };
}

/** Takes turns until `done`, or throws when it does not come. */
export function turnUntil(pair: Pair, done: () => boolean, what: string): void {
  for (let i = 0; i < 1_000_000; i++) {
    if (done()) return;
    pair.turn();
  }
  throw new Error(`${what} did not happen`);
}

/** Begins a connection from the client to the server; both sockets inline. */
export function connectInline(end: End, port: number): number {
  const { core } = end;
  writeAddress(core.u8, core.scratch, SERVER_ADDRESS);
  const handle = core.connect(core.scratch, port, 0, 0, L.SOCK_INLINE);
  if (handle < 0) throw new Error(`connect failed with errno ${-handle}`);
  return handle;
}

export function listenInline(end: End, port: number): void {
  const { core } = end;
  core.u8.fill(0, core.scratch, core.scratch + 16);
  const handle = core.listen(core.scratch, port, 511, L.SOCK_INLINE);
  if (handle < 0) throw new Error(`listen failed with errno ${-handle}`);
}
