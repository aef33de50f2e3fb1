// A simulated host: one core, its receive pool, and a network card that hands frames to a path.
import { parseMac, parsePrefix, writeAddress } from '../core/address.js';
import { type Core, type CoreBuild, type CoreConfig, createCore, type InlineEvent, WITHOUT_UDP } from '../core/core.js';
import * as L from '../core/layout.js';
import { profiles } from '../profiles.js';
import type { EventQueue } from './events.js';
import type { FrameStore } from './frames.js';
import type { Path } from './path.js';
import type { PcapWriter } from './pcap.js';

export interface SimHostOptions {
  name: string;
  /** With its prefix length, e.g. 10.0.0.1/24. */
  address: string;
  mac: string;
  /** Over the defaults of simConfig. */
  config?: Partial<CoreConfig>;
  build?: CoreBuild;
  /** Events of both kinds of sockets: an inline EV_DATA has b ≠ 0. */
  onEvent?: InlineEvent;
  capture?: PcapWriter | null;
}

export interface SimHost {
  readonly name: string;
  readonly core: Core;
  readonly mac: Uint8Array;
  /** 16 bytes. */
  readonly address: Uint8Array;
  /** Where its frames go. Set before anything is sent. */
  egress: Path | null;
  onEvent: InlineEvent;
  /** A frame has come for it; takes over the slot. */
  receive(slot: number): void;
  /** Runs `work` as the application at `atNs`, or when the host is awake again. */
  at(atNs: number, work: () => void): void;
  /** The host's clock moves forward by this much at once. */
  jump(us: number): void;
  /** The process gets no CPU until then: frames wait in the card, timers are late. */
  pause(untilNs: number): void;
  /** Its timers never expire again: what a lost timer looks like. */
  stopTimers(): void;
  /** The simulation's clock, nanoseconds: what at() counts in. */
  simNowNs(): number;
  /** Its own clock, microseconds. */
  nowUs(): number;
  /** Frames dropped because the receive pool was empty, or too long for its objects. */
  readonly drops: { noObject: number; tooLong: number };
  freeRxObjects(): number;
  readonly rxObjects: number;
}

export const simConfig: Omit<CoreConfig, 'mac'> = {
  ...profiles.internet,
  congestion: L.CC_RENO,
  rcvBufMaxBytes: 0,
  seed: 1n,
  maxConnections: 64,
  maxListeners: 4,
  rxRing: 64,
  txRing: 1024,
  eventRing: 256,
  segmentRecords: 16384,
  sndBufBytes: 262144,
  rcvBufBytes: 262144,
  portLo: 61440,
  portHi: 65535,
  ...WITHOUT_UDP,
  maxNeighbours: 64,
  maxRoutes: 16,
  oooObjects: 512,
  zones: 6,
  rxZones: 2,
  flags: L.CFGF_ARP | L.CFGF_ICMP_ECHO | L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE,
  mtu: 1500,
};

/** What a host's clock shows at the start. */
const EPOCH_NS = 1_000_000_000;
const ETHERNET_BYTES = 14;
const MIN_STRIDE = 2048;

export function createHost(events: EventQueue, frames: FrameStore, options: SimHostOptions): SimHost {
  const mac = parseMac(options.mac);
  const config: CoreConfig = { ...simConfig, ...options.config, mac };
  const stride = Math.max(MIN_STRIDE, Math.ceil((config.mtu + ETHERNET_BYTES) / 64) * 64);
  const rxObjects = Math.floor((config.rxZones * L.ZONE_BYTES) / stride);
  const own = parsePrefix(options.address);
  const address = new Uint8Array(16);
  writeAddress(address, 0, own.address);
  let poolBase = 0;
  const core = createCore({
    config,
    ...(options.build ? { build: options.build } : {}),
    onEvent: (handle, kind, a, b) => host.onEvent(handle, kind, a, b),
    place(_memory, arenaEnd) {
      poolBase = arenaEnd;
      return { zoneBase: arenaEnd, rxPools: [{ base: arenaEnd, stride, count: rxObjects }] };
    },
  });
  const { u32, u8 } = core;
  u8.set(address, core.scratch);
  core.addressAdd(core.scratch, own.prefixLength);
  const ring = (at: number, size: number): readonly [number, number] => [u32[at >> 2] >> 2, u32[size >> 2] - 1];
  const [rxAt, rxMask] = ring(L.CTL_RX_AT, L.CTL_RX_SIZE);
  const [txAt, txMask] = ring(L.CTL_TX_AT, L.CTL_TX_SIZE);
  const [doneAt, doneMask] = ring(L.CTL_DONE_AT, L.CTL_DONE_SIZE);
  const [freeAt, freeMask] = ring(L.CTL_FREE_AT, L.CTL_FREE_SIZE);
  const [eventAt, eventMask] = ring(L.CTL_EVENT_AT, L.CTL_EVENT_SIZE);
  const TX_TAIL = L.CTL_TX_TAIL >> 2;
  const TX_HEAD = L.CTL_TX_HEAD >> 2;
  const DONE_HEAD = L.CTL_DONE_HEAD >> 2;
  const DONE_TAIL = L.CTL_DONE_TAIL >> 2;
  const FREE_HEAD = L.CTL_FREE_HEAD >> 2;
  const FREE_TAIL = L.CTL_FREE_TAIL >> 2;
  const EVENT_HEAD = L.CTL_EVENT_HEAD >> 2;
  const EVENT_TAIL = L.CTL_EVENT_TAIL >> 2;

  const free = new Uint32Array(rxObjects);
  for (let i = 0; i < rxObjects; i++) free[i] = poolBase + (rxObjects - 1 - i) * stride;
  let freeCount = rxObjects;
  // Frames the card has received: address and length by turns, a ring as large as the pool.
  const inbox = new Uint32Array(2 * rxObjects);
  let inboxHead = 0;
  let inboxTail = 0;
  const capture = options.capture ?? null;
  const drops = { noObject: 0, tooLong: 0 };
  let offsetNs = EPOCH_NS;
  let asleepUntilNs = 0;
  let timerAtNs = Number.POSITIVE_INFINITY;
  let blocked = false;
  let timersRun = true;

  const nowUs = (): number => (events.nowNs() + offsetNs) / 1000;
  const asleep = (): boolean => asleepUntilNs > events.nowNs();

  function takeFreed(): void {
    while (u32[FREE_TAIL] !== u32[FREE_HEAD]) free[freeCount++] = u32[freeAt + (u32[FREE_TAIL]++ & freeMask)];
  }

  function drainEvents(): void {
    while (u32[EVENT_TAIL] !== u32[EVENT_HEAD]) {
      const entry = eventAt + 4 * (u32[EVENT_TAIL]++ & eventMask);
      host.onEvent(u32[entry], u32[entry + 1], u32[entry + 2], u32[entry + 3]);
    }
  }

  const unblock = (): void => {
    blocked = false;
    if (!asleep()) pump();
  };

  /** Takes frames from the transmit ring while the path does. Returns how many. */
  function transmit(): number {
    const { egress } = host;
    if (!egress) return 0;
    let count = 0;
    while (u32[TX_TAIL] !== u32[TX_HEAD] && !blocked) {
      if (doneMask + 1 - ((u32[DONE_HEAD] - u32[DONE_TAIL]) >>> 0) < L.TX_MAX_SEGS) break;
      if (egress.full(unblock)) {
        blocked = true;
        break;
      }
      let length = 0;
      let tail = u32[TX_TAIL];
      for (let last = false; !last; tail++) {
        const entry = txAt + 4 * (tail & txMask);
        length += u32[entry + 1];
        last = (u32[entry + 2] & L.TXF_END) !== 0;
      }
      const slot = frames.take(length);
      const bytes = frames.bytes();
      let to = slot * frames.stride;
      for (let i = u32[TX_TAIL]; i !== tail; i++) {
        const entry = txAt + 4 * (i & txMask);
        const from = u32[entry];
        const partBytes = u32[entry + 1];
        bytes.set(u8.subarray(from, from + partBytes), to);
        to += partBytes;
        u32[doneAt + (u32[DONE_HEAD]++ & doneMask)] = from;
      }
      u32[TX_TAIL] = tail;
      capture?.frame(events.nowNs(), bytes, slot * frames.stride, length);
      egress.offer(slot);
      count++;
    }
    return count;
  }

  /** Runs timers and sends until there is nothing more to do at this instant. */
  function pump(): void {
    let deadlineUs: number;
    do {
      // With its timers stopped the core is only asked to send.
      if (timersRun) deadlineUs = core.poll(nowUs());
      else {
        core.flush(nowUs());
        deadlineUs = Number.POSITIVE_INFINITY;
      }
      drainEvents();
    } while (transmit() > 0);
    const dueNs = Math.ceil(deadlineUs * 1000 - offsetNs);
    if (dueNs < timerAtNs) {
      timerAtNs = dueNs;
      events.push(dueNs, timer, 0);
    }
  }

  function serve(): void {
    while (inboxTail !== inboxHead) {
      let count = 0;
      while (inboxTail !== inboxHead && count <= rxMask) {
        const slot = 2 * (inboxTail++ % rxObjects);
        const entry = rxAt + 4 * count++;
        u32[entry] = inbox[slot];
        u32[entry + 1] = inbox[slot + 1];
        u32[entry + 2] = 0;
      }
      core.ingest(count, nowUs());
      drainEvents();
    }
    pump();
  }

  const timer = events.handler(() => {
    // Of several pushed for ever earlier deadlines only the earliest counts; pump() pushes the next one.
    if (events.nowNs() < timerAtNs || asleep()) return;
    timerAtNs = Number.POSITIVE_INFINITY;
    pump();
  });

  const host: SimHost = {
    name: options.name,
    core,
    mac,
    address,
    egress: null,
    onEvent: options.onEvent ?? ((): void => {}),
    receive(slot) {
      const length = frames.length(slot);
      takeFreed();
      if (length > stride) drops.tooLong++;
      else if (freeCount === 0) drops.noObject++;
      else {
        const object = free[--freeCount];
        const from = slot * frames.stride;
        const bytes = frames.bytes();
        capture?.frame(events.nowNs(), bytes, from, length);
        u8.set(bytes.subarray(from, from + length), object);
        const entry = 2 * (inboxHead++ % rxObjects);
        inbox[entry] = object;
        inbox[entry + 1] = length;
      }
      frames.give(slot);
      if (!asleep()) serve();
    },
    at(atNs, work) {
      events.at(atNs, () => {
        if (asleep()) {
          host.at(asleepUntilNs, work);
          return;
        }
        work();
        pump();
      });
    },
    jump(us) {
      offsetNs += us * 1000;
      timerAtNs = Number.POSITIVE_INFINITY;
      if (!asleep()) serve();
    },
    pause(untilNs) {
      asleepUntilNs = Math.max(asleepUntilNs, untilNs);
      timerAtNs = Number.POSITIVE_INFINITY;
      events.at(asleepUntilNs, () => {
        if (!asleep()) serve();
      });
    },
    stopTimers() {
      timersRun = false;
    },
    simNowNs: () => events.nowNs(),
    nowUs,
    drops,
    rxObjects,
    freeRxObjects() {
      takeFreed();
      return freeCount;
    },
  };
  return host;
}
