// The core: one WebAssembly instance over one linear memory. Everything else in the host reaches the core through
// this module.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { instantiateSync } from '@assemblyscript/loader';
import { codeError } from './errors.js';
import * as L from './layout.js';

export type CoreBuild = 'debug' | 'release';

/** Called for events of inline sockets: `host.event(handle, kind, a, b)`. */
export type InlineEvent = (handle: number, kind: number, a: number, b: number) => void;

/** Every number has its unit in its name; see assembly/abi/layout.ts for their meaning. */
export interface CoreConfig {
  seed: bigint;
  maxConnections: number;
  maxListeners: number;
  /** Connections that may be doing something at the same time; 0 or left out, all may. The others are kept packed. */
  activeConnections?: number;
  rxRing: number;
  txRing: number;
  eventRing: number;
  segmentRecords: number;
  sndBufBytes: number;
  rcvBufBytes: number;
  portLo: number;
  portHi: number;
  rtoMinUs: number;
  rtoMaxUs: number;
  rtoInitUs: number;
  delackUs: number;
  timeWaitUs: number;
  finWait2Us: number;
  synRetries: number;
  synackRetries: number;
  retries: number;
  keepaliveTimeUs: number;
  keepaliveIntvlUs: number;
  keepaliveProbes: number;
  initCwndSegments: number;
  /** CC_… */
  congestion: number;
  rtoSteadyUs: number;
  tlpSlackUs: number;
  rcvBufMaxBytes: number;
  /** SYN_COOKIES_… */
  synCookies: number;
  /** Challenge ACKs of all connections together (RFC 5961 §7); 0: limited by connection alone. */
  challengeAcksPerSecond: number;
  /** Connections that the application has closed and the protocol has not; 0: a quarter of maxConnections. */
  maxOrphans: number;
  /** Timeouts or window probes of one segment after which such a connection is given up. */
  orphanRetries: number;
  /** Fragmented datagrams that may be incomplete at a time; 0: fragments are dropped. */
  reasmDatagrams: number;
  /** Receive objects and payload bytes that fragments may hold. */
  reasmObjects: number;
  reasmBytes: number;
  /** When an incomplete datagram is given up, IPv4 and IPv6. */
  reasmTimeoutUs: number;
  reasmTimeout6Us: number;
  /** Receive objects that out-of-order data of all connections may hold; 0: a quarter of all. */
  oooTotalObjects: number;
  /** How long a run of received segments stays open beyond its burst, for the next one to come; 0: it ends with the burst. */
  groHoldUs: number;
  synLinear: number;
  /** FAST_OPEN_… */
  fastOpen: number;
  /** Key of the cookies, and after a comma the one before it, as Linux's tcp_fastopen_key; null: one from the seed. */
  fastOpenKey: string | null;
  /** CFGF_… of TCP's behaviour, beside those in `flags`. */
  tcpFlags: number;
  /** UDP sockets there may be; 0: no UDP. */
  udpSockets: number;
  /** Received datagrams, and their bytes, that may wait in all UDP sockets together. */
  udpDatagrams: number;
  udpMemBytes: number;
  /** The same for one socket; the bytes are a default. */
  udpRcvBufBytes: number;
  udpRcvBufDatagrams: number;
  maxNeighbours: number;
  maxRoutes: number;
  oooObjects: number;
  zones: number;
  rxZones: number;
  /** CFGF_… */
  flags: number;
  mtu: number;
  mac: Uint8Array;
}

/** For a core that is to speak TCP alone. */
export const WITHOUT_UDP = {
  udpSockets: 0,
  udpDatagrams: 0,
  udpMemBytes: 0,
  udpRcvBufBytes: 0,
  udpRcvBufDatagrams: 0,
} as const satisfies Partial<CoreConfig>;

export interface Placement {
  zoneBase: number;
  rxPools: readonly { base: number; stride: number; count: number }[];
}

/** The exports of assembly/index.ts: results ≥ 0 are fine, negative ones are -errno. */
type CoreExports = {
  init(): number;
  arenaNeeded(): number;
  rxPoolAdd(base: number, stride: number, count: number): number;
  zoneSetIova(zone: number, lo: number, hi: number): number;
  ingest(frames: number, nowUs: number): void;
  poll(nowUs: number): number;
  flush(nowUs: number): void;
  enter(nowUs: number): void;
  alloc(size: number): number;
  allocMessage(size: number): number;
  dup(addr: number): number;
  free(addr: number): number;
  check(addr: number, len: number): number;
  objectEnd(addr: number): number;
  refCount(addr: number): number;
  zbufInUse(): number;
  rxInUse(): number;
  recordsInUse(): number;
  listen(addr: number, port: number, backlog: number, flags: number): number;
  accept(listener: number): number;
  connect(addr: number, port: number, localAddr: number, localPort: number, flags: number): number;
  send(handle: number, addr: number, len: number): number;
  sendUrgent(handle: number, addr: number, len: number): number;
  sendWith(handle: number, addr: number, len: number, flags: number): number;
  sendv(handle: number, iov: number, count: number): number;
  recv(handle: number, iov: number, maxPieces: number): number;
  shutdown(handle: number): number;
  close(handle: number): number;
  abort(handle: number): number;
  setOption(handle: number, option: number, value: number): number;
  getOption(handle: number, option: number): number;
  info(handle: number, at: number): number;
  connectionAt(index: number, at: number): number;
  fastOpenRoom(addr: number): number;
  udpOpen(flags: number): number;
  udpBind(handle: number, addr: number, port: number): number;
  udpConnect(handle: number, addr: number, port: number): number;
  udpDisconnect(handle: number): number;
  udpSend(handle: number, iov: number, count: number, addr: number, port: number): number;
  udpRecv(handle: number, at: number, maxDatagrams: number): number;
  udpInfo(handle: number, at: number): number;
  udpClose(handle: number): number;
  udpSetOption(handle: number, option: number, value: number): number;
  udpGetOption(handle: number, option: number): number;
  udpSocketsOpen(): number;
  udpQueued(): number;
  linkConfig(mac: number, mtu: number, flags: number): number;
  addressAdd(addr: number, prefixLength: number): number;
  addressDel(addr: number, prefixLength: number): number;
  routeAdd(dst: number, prefixLength: number, gateway: number, mtu: number): number;
  routeDel(dst: number, prefixLength: number, gateway: number): number;
  routeClear(): number;
  neighSet(addr: number, mac: number): number;
  neighDel(addr: number): number;
  neighFail(addr: number): number;
  routeAt(index: number, at: number): number;
  neighAt(index: number, at: number): number;
};

/** One core. The functions are the exports themselves: no wrapper stands between a caller and the hot path. */
export interface Core extends Omit<CoreExports, 'init' | 'arenaNeeded' | 'rxPoolAdd'> {
  readonly build: CoreBuild;
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly dv: DataView;
  /** SCRATCH_SIZE bytes for arguments passed by pointer. Valid until the next call that uses them. */
  readonly scratch: number;
  readonly config: Readonly<CoreConfig>;
  /** All counters by name. */
  counters(): Record<string, bigint>;
  /** One counter, indexed by CNT_…. */
  counter(index: number): number;
  /** Adds to a counter the host keeps (CNT_HostCopiedBytes). */
  countAdd(index: number, by: number): void;
}

export interface CreateCoreOptions {
  config: CoreConfig;
  build?: CoreBuild;
  /** Instead of the build's own: an instrumented one. */
  module?: WebAssembly.Module;
  onEvent: InlineEvent;
  /** Places zones in the memory at or after arenaEnd; returns where they are. */
  place(memory: WebAssembly.Memory, arenaEnd: number): Placement;
}

const PAGE_BYTES = 65536;
/** Linear memory stays under 2 GiB, so that an address is the same number signed and unsigned. */
const MAX_PAGES = 32768;
/** Room for the core's static data below the arena and for the receive pools' context arrays. */
const STATIC_BYTES = 4 * PAGE_BYTES;
/** Receive objects are never smaller than this, which bounds their number before the link has chosen their size. */
export const MIN_RX_STRIDE = 1024;

const compiled = new Map<CoreBuild, WebAssembly.Module>();

/** The compiled core, compiled once per process. Throws ERR_LUNET_NO_CORE when it has not been built. */
export function coreModule(build: CoreBuild): WebAssembly.Module {
  let module = compiled.get(build);
  if (!module) {
    const url = new URL(`../../../../build/core.${build}.wasm`, import.meta.url);
    let bytes: Buffer;
    try {
      bytes = readFileSync(url);
    } catch (error) {
      throw codeError('ERR_LUNET_NO_CORE', `the core is not built (${(error as Error).message}): run "npm run setup"`);
    }
    module = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
    compiled.set(build, module);
  }
  return module;
}

/** The build that LUNET_CORE names, release without it. */
export function defaultBuild(): CoreBuild {
  return process.env.LUNET_CORE === 'debug' ? 'debug' : 'release';
}

/** Instantiates and initialises a core. Throws ERR_LUNET_CORE when the configuration does not fit. */
export function createCore(options: CreateCoreOptions): Core {
  const { config } = options;
  const build = options.build ?? defaultBuild();
  const module = options.module ?? coreModule(build);
  const instantiate = (memory: WebAssembly.Memory): CoreExports =>
    instantiateSync<CoreExports>(module, { env: { memory }, host: { event: options.onEvent } }).exports;

  // A throw-away instance over a memory of its statics only tells how large the arena must be.
  const scratchMemory = new WebAssembly.Memory({ initial: 4, maximum: 4 });
  writeConfig(new DataView(scratchMemory.buffer), config, 0, 0);
  const rxContextBytes = ((config.rxZones * L.ZONE_BYTES) / MIN_RX_STRIDE) * L.CONTEXT_BYTES;
  const needed = instantiate(scratchMemory).arenaNeeded() >>> 0;
  const arenaEnd = roundUp(STATIC_BYTES + needed + rxContextBytes, PAGE_BYTES);
  // One more zone than asked for: hugepages must begin at a multiple of 2 MiB, wherever the memory begins.
  const pages = (arenaEnd + (config.zones + 1) * L.ZONE_BYTES) / PAGE_BYTES;
  if (pages > MAX_PAGES) {
    throw codeError(
      'ERR_LUNET_CORE',
      `${config.zones} zones and ${config.maxConnections} connections need ${pages * 64} KiB: a core may have 2 GiB`,
    );
  }
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const placement = options.place(memory, arenaEnd);
  const dv = new DataView(memory.buffer);
  writeConfig(dv, config, arenaEnd, placement.zoneBase);
  const exports = instantiate(memory);
  check(exports.init(), 'init');
  for (const pool of placement.rxPools) check(exports.rxPoolAdd(pool.base, pool.stride, pool.count), 'rxPoolAdd');

  const countersAt = dv.getUint32(L.CTL_COUNTERS_AT, true);
  const counters64 = new BigUint64Array(memory.buffer, countersAt, L.CNT_COUNT);
  const u8 = new Uint8Array(memory.buffer);
  const u32 = new Uint32Array(memory.buffer);
  return Object.freeze({
    ...exports,
    build,
    memory,
    u8,
    u32,
    dv,
    scratch: dv.getUint32(L.CTL_SCRATCH_AT, true),
    config,
    counters(): Record<string, bigint> {
      const all: Record<string, bigint> = {};
      for (let i = 0; i < L.CNT_COUNT; i++) if (L.counterNames[i]) all[L.counterNames[i]] = counters64[i];
      return all;
    },
    counter: (index: number): number => Number(counters64[index]),
    countAdd(index: number, by: number): void {
      // By halves: a BigInt would be an allocation for every read and write of a socket.
      const low = (countersAt >> 2) + 2 * index;
      const sum = u32[low] + by;
      u32[low] = sum;
      if (sum > 0xffffffff) u32[low + 1]++;
    },
  });
}

function writeConfig(dv: DataView, config: CoreConfig, arenaEnd: number, zoneBase: number): void {
  const freeRing = powerOfTwo((config.rxZones * L.ZONE_BYTES) / MIN_RX_STRIDE);
  const words: readonly (readonly [number, number])[] = [
    [L.CFG_ARENA_END, arenaEnd],
    [L.CFG_ZONE_BASE, zoneBase],
    [L.CFG_ZONE_COUNT, config.zones],
    [L.CFG_RX_ZONES, config.rxZones],
    [L.CFG_SEED_LO, Number(config.seed & 0xffffffffn)],
    [L.CFG_SEED_HI, Number((config.seed >> 32n) & 0xffffffffn)],
    [L.CFG_MAX_CONNECTIONS, config.maxConnections],
    [L.CFG_MAX_LISTENERS, config.maxListeners],
    [L.CFG_ACTIVE_CONNECTIONS, config.activeConnections ?? 0],
    [L.CFG_RX_RING, config.rxRing],
    [L.CFG_TX_RING, config.txRing],
    [L.CFG_FREE_RING, freeRing],
    [L.CFG_EVENT_RING, config.eventRing],
    [L.CFG_SEGMENT_RECORDS, config.segmentRecords],
    [L.CFG_PORT_LO, config.portLo],
    [L.CFG_PORT_HI, config.portHi],
    [L.CFG_MTU, config.mtu],
    [L.CFG_MAX_NEIGHBOURS, config.maxNeighbours],
    [L.CFG_MAX_ROUTES, config.maxRoutes],
    [L.CFG_OOO_OBJECTS, config.oooObjects],
    [L.CFG_UDP_SOCKETS, config.udpSockets],
    [L.CFG_UDP_DATAGRAMS, config.udpDatagrams],
    [L.CFG_UDP_MEM_BYTES, config.udpMemBytes],
    [L.CFG_UDP_RCV_BUF_BYTES, config.udpRcvBufBytes],
    [L.CFG_UDP_RCV_BUF_DATAGRAMS, config.udpRcvBufDatagrams],
    [L.CFG_REASM_DATAGRAMS, config.reasmDatagrams],
    [L.CFG_REASM_OBJECTS, config.reasmObjects],
  ];
  writeWords(dv, words);
  writeParameters(dv, config);
  for (let i = 0; i < 6; i++) dv.setUint8(L.CFG_MAC + i, config.mac[i]);
}

/** Writes what the core reads anew whenever it needs it: these may change while it runs. */
export function writeParameters(dv: DataView, config: Omit<CoreConfig, 'mac'>): void {
  writeWords(dv, [
    [L.CFG_SND_BUF_BYTES, config.sndBufBytes],
    [L.CFG_RCV_BUF_BYTES, config.rcvBufBytes],
    [L.CFG_RTO_MIN_US, config.rtoMinUs],
    [L.CFG_RTO_MAX_US, config.rtoMaxUs],
    [L.CFG_RTO_INIT_US, config.rtoInitUs],
    [L.CFG_DELACK_US, config.delackUs],
    [L.CFG_TIME_WAIT_US, config.timeWaitUs],
    [L.CFG_FIN_WAIT2_US, config.finWait2Us],
    [L.CFG_SYN_RETRIES, config.synRetries],
    [L.CFG_SYNACK_RETRIES, config.synackRetries],
    [L.CFG_RETRIES, config.retries],
    [L.CFG_KEEPALIVE_TIME_MS, Math.ceil(config.keepaliveTimeUs / 1000)],
    [L.CFG_KEEPALIVE_INTVL_MS, Math.ceil(config.keepaliveIntvlUs / 1000)],
    [L.CFG_KEEPALIVE_PROBES, config.keepaliveProbes],
    [L.CFG_INIT_CWND_SEGMENTS, config.initCwndSegments],
    [L.CFG_FLAGS, (config.flags | config.tcpFlags) >>> 0],
    [L.CFG_CONGESTION, config.congestion],
    [L.CFG_RTO_STEADY_US, config.rtoSteadyUs],
    [L.CFG_TLP_SLACK_US, config.tlpSlackUs],
    [L.CFG_RCV_BUF_MAX_BYTES, config.rcvBufMaxBytes],
    [L.CFG_SYN_COOKIES, config.synCookies],
    [L.CFG_CHALLENGE_ACKS, config.challengeAcksPerSecond],
    [L.CFG_MAX_ORPHANS, config.maxOrphans],
    [L.CFG_ORPHAN_RETRIES, config.orphanRetries],
    [L.CFG_REASM_BYTES, config.reasmBytes],
    [L.CFG_REASM_TIMEOUT_US, config.reasmTimeoutUs],
    [L.CFG_REASM_TIMEOUT6_US, config.reasmTimeout6Us],
    [L.CFG_OOO_TOTAL_OBJECTS, config.oooTotalObjects],
    [L.CFG_GRO_HOLD_US, config.groHoldUs],
    [L.CFG_SYN_LINEAR, config.synLinear],
    [L.CFG_FAST_OPEN, config.fastOpen | (config.fastOpenKey?.includes(',') ? L.FAST_OPEN_OLD_KEY : 0)],
    ...keyWords(config.fastOpenKey ?? keyOfSeed(config.seed)),
  ]);
}

/** One key or two as Linux's tcp_fastopen_key writes them, four words each. */
function keyWords(keys: string): [number, number][] {
  if (!/^[\da-f]{1,8}(-[\da-f]{1,8}){3}(,[\da-f]{1,8}(-[\da-f]{1,8}){3})?$/i.test(keys)) {
    throw codeError(
      'ERR_OUT_OF_RANGE',
      `fastOpenKey must be like 0-1-2-3 or 0-1-2-3,4-5-6-7 in hexadecimal, not ${keys}`,
    );
  }
  // CFG_FAST_OPEN_OLD_KEY follows CFG_FAST_OPEN_KEY.
  return keys.split(/[-,]/).map((word, i) => [L.CFG_FAST_OPEN_KEY + 4 * i, Number.parseInt(word, 16)]);
}

function keyOfSeed(seed: bigint): string {
  return createHash('sha256').update(`fast open ${seed}`).digest('hex').slice(0, 32).match(/.{8}/g)?.join('-') ?? '';
}

function writeWords(dv: DataView, words: readonly (readonly [number, number])[]): void {
  for (const [at, value] of words) {
    if (!(value >= 0 && value <= 0xffffffff)) {
      const name = Object.entries(L).find(([key, word]) => key.startsWith('CFG_') && word === at)?.[0];
      throw codeError('ERR_OUT_OF_RANGE', `${name?.slice(4)} must be 0 to ${0xffffffff}, not ${value}`);
    }
    dv.setUint32(at, value, true);
  }
}

function check(result: number, call: string): void {
  if (result < 0) {
    throw codeError(
      'ERR_LUNET_CORE',
      `${call}() of the core failed with errno ${-result}: the configuration does not fit`,
    );
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

export function powerOfTwo(atLeast: number): number {
  let power = 1;
  while (power < atLeast) power *= 2;
  return power;
}
