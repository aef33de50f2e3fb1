// Where an attack takes place: a server, a legitimate client and an attacker on one switch, in virtual time. The client
// has one connection on which it makes RPCs all the time, and opens another one every few milliseconds for a single RPC. What
// the server sends to anybody else reaches the attacker, whose frames come as if from wherever he likes.
import { writeAddress } from '../core/address.js';
import { type Core, type CoreBuild, type CoreConfig, WITHOUT_UDP } from '../core/core.js';
import { type DrivenCore, driveCore } from '../core/driven.js';
import * as L from '../core/layout.js';
import { profiles } from '../profiles.js';
import { type Random, random } from '../sim/random.js';
import { ATTACKER_MAC, CLIENT_MAC, type Family, IPV4, IPV6, ipText, SERVER_MAC } from './frames.js';
import { Legitimate } from './legitimate.js';

/** What the server's applications do with a connection. */
export const ECHO = 80;
/** Sends for as long as there is room. */
export const SOURCE = 81;
/** Accepts, and reads nothing. */
export const LAZY = 82;
/** Sends FAREWELL_BYTES and closes. */
export const FAREWELL = 83;
export const FAREWELL_BYTES = 4096;
const PIECE_BYTES = 16384;
const BACKLOG = 64;

/** One way, and what a turn of both hosts takes. */
export const STEP_US = 200;
/** Frames to one ingest() at most. */
const BURST = 64;
/** Turns between two looks at what is held: counting records walks their lists. */
const LOOK_EVERY = 64;

export const worldConfig: CoreConfig = {
  ...profiles.internet,
  ...WITHOUT_UDP,
  congestion: L.CC_RENO,
  rcvBufMaxBytes: 0,
  seed: 1n,
  maxConnections: 1024,
  maxListeners: 8,
  rxRing: 256,
  txRing: 1024,
  eventRing: 1024,
  segmentRecords: 16384,
  sndBufBytes: 262144,
  rcvBufBytes: 65536,
  portLo: 20000,
  portHi: 65535,
  maxNeighbours: 64,
  maxRoutes: 16,
  oooObjects: 256,
  zones: 24,
  rxZones: 4,
  flags: L.CFGF_ARP | L.CFGF_ICMP_ECHO | L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE,
  mtu: 1500,
  mac: SERVER_MAC,
};

/** Timestamps stop much of what is forged (PAWS): settings under which sequence numbers alone must. */
export const BARE: Partial<CoreConfig> = { flags: worldConfig.flags & ~L.CFGF_TIMESTAMPS };

export interface WorldOptions {
  seed: number;
  /** Of the server. */
  config?: Partial<CoreConfig>;
  /** Of the server's IPv4 address. Default 24. */
  prefixLength?: number;
  /** All of it over IPv6, with a /64. */
  six?: boolean;
  /** Of a turn; default STEP_US. */
  stepUs?: number;
  build?: CoreBuild;
}

/** The most that the server held at any time that was looked at. */
export interface Held {
  zbuf: number;
  rx: number;
  records: number;
  slots: number;
}

export class World {
  readonly r: Random;
  readonly stepUs: number;
  readonly ip: Family;
  readonly server: DrivenCore;
  readonly client: DrivenCore;
  readonly legitimate: Legitimate;
  nowUs = 1_000_000;
  /** Hostile frames so far, and what the core needed for one, on the average of each burst. */
  frames = 0;
  readonly burstNs: number[] = [];
  /** Frames that the server has sent to anybody but the client. */
  answers = 0;
  readonly most: Held = { zbuf: 0, rx: 0, records: 0, slots: 0 };
  /** The attacker hears what the server sends to him and to those he pretends to be. */
  onAnswer: ((frame: Uint8Array) => void) | null = null;
  /** Someone on the path does something about a frame between the client and the server: null = it is lost. */
  onPath: ((frame: Uint8Array, toServer: boolean) => Uint8Array | null) | null = null;
  readonly failures: string[] = [];
  #toServer: Uint8Array[] = [];
  #toClient: Uint8Array[] = [];
  #turns = 0;
  /** Handles of the server's application by the port that they came in at. */
  readonly served = new Map<number, number>();
  #portOf = new Map<number, number>();
  #lazyListener = 0;

  constructor(options: WorldOptions) {
    const { seed, build, prefixLength = 24 } = options;
    this.r = random(seed);
    this.stepUs = options.stepUs ?? STEP_US;
    this.ip = options.six ? IPV6 : IPV4;
    const { server: serverIp, client: clientIp, attacker: attackerIp } = this.ip;
    const ownPrefix = options.six ? 64 : 96 + prefixLength;
    const own = build ? { build } : {};
    this.server = driveCore(
      { ...worldConfig, seed: BigInt(seed), ...options.config },
      { ...own, onEvent: (handle, kind, a, b) => this.#serve(handle, kind, a, b) },
    );
    this.client = driveCore(
      { ...worldConfig, seed: BigInt(seed + 1), mac: CLIENT_MAC, maxConnections: 8192, timeWaitUs: 100_000 },
      { ...own, onEvent: (handle, kind, a, b) => this.legitimate.event(handle, kind, a, b) },
    );
    this.server.nowUs = this.client.nowUs = this.nowUs;
    const { core } = this.server;
    this.#address(core, serverIp);
    core.addressAdd(core.scratch, ownPrefix);
    this.#neighbour(core, clientIp, CLIENT_MAC);
    this.#neighbour(core, attackerIp, ATTACKER_MAC);
    // Everybody else is behind the attacker.
    this.#address(
      core,
      serverIp.map(() => 0),
    );
    core.u8.set(core.u8.slice(core.scratch, core.scratch + 16), core.scratch + 32);
    this.#address(core, attackerIp);
    core.u8.copyWithin(core.scratch + 16, core.scratch, core.scratch + 16);
    core.routeAdd(core.scratch + 32, options.six ? 0 : 96, core.scratch + 16, 0);
    this.#listen(core, ECHO, L.SOCK_INLINE);
    this.#listen(core, SOURCE, L.SOCK_INLINE);
    this.#listen(core, FAREWELL, L.SOCK_INLINE);
    this.#lazyListener = this.#listen(core, LAZY, 0);
    this.#address(this.client.core, clientIp);
    this.client.core.addressAdd(this.client.core.scratch, options.six ? 64 : 120);
    this.#neighbour(this.client.core, serverIp, SERVER_MAC);
    this.legitimate = new Legitimate(this.client, ipText(serverIp));
  }

  #address(core: Core, ip: readonly number[]): void {
    writeAddress(core.u8, core.scratch, ipText(ip));
  }

  #neighbour(core: Core, ip: readonly number[], mac: Uint8Array): void {
    this.#address(core, ip);
    core.u8.set(mac, core.scratch + 16);
    core.neighSet(core.scratch, core.scratch + 16);
  }

  #listen(core: Core, port: number, flags: number): number {
    this.#address(core, this.ip.server);
    const listener = core.listen(core.scratch, port, BACKLOG, flags);
    if (listener < 0) throw new Error(`listen on ${port}: errno ${-listener}`);
    this.#portOf.set(listener, port);
    return listener;
  }

  /** Something that must hold. */
  expect(holds: boolean, otherwise: string): void {
    if (!holds && this.failures.length < 10) this.failures.push(otherwise);
  }

  // ---- the server's applications ----

  #serve(handle: number, kind: number, a: number, b: number): void {
    const { core } = this.server;
    if (kind === L.EV_ACCEPT) {
      const port = this.#portOf.get(handle) as number;
      this.served.set(a, port);
      if (port === SOURCE) this.#pour(a);
      else if (port === FAREWELL) {
        const addr = core.alloc(FAREWELL_BYTES);
        if (addr > 0) {
          core.u8.fill(7, addr, addr + FAREWELL_BYTES);
          core.send(a, addr, FAREWELL_BYTES);
          core.free(addr);
        }
        this.#leave(a, 'close');
      }
    } else if (kind === L.EV_DATA) {
      if (this.served.get(handle) === ECHO && !this.#echo(handle, a, b)) this.#leave(handle, 'abort');
      core.free(a);
    } else if (kind === L.EV_WRITE && this.served.get(handle) === SOURCE) this.#pour(handle);
    else if (kind === L.EV_EOF || kind === L.EV_ERROR || kind === L.EV_CLOSED) this.#leave(handle, 'close');
  }

  #leave(handle: number, how: 'close' | 'abort'): void {
    this.served.delete(handle);
    this.server.core[how](handle);
  }

  /** A copy: an answer by reference would leave it to the peer how long a receive object is kept. */
  #echo(handle: number, from: number, length: number): boolean {
    const { core } = this.server;
    const addr = core.alloc(length);
    if (addr <= 0) return false;
    core.u8.copyWithin(addr, from, from + length);
    const sent = core.send(handle, addr, length);
    core.free(addr);
    return sent === length;
  }

  #pour(handle: number): void {
    const { core } = this.server;
    for (;;) {
      const addr = core.alloc(PIECE_BYTES);
      if (addr <= 0) return;
      const sent = core.send(handle, addr, PIECE_BYTES);
      core.free(addr);
      if (sent < 0) return;
    }
  }

  // ---- time ----

  /** Hostile frames arrive now, as many to a burst as a link would hand over. */
  hostile(...frames: Uint8Array[]): void {
    for (let i = 0; i < frames.length; i += BURST) {
      const before = this.server.busyNs;
      const burst = frames.slice(i, i + BURST);
      this.server.inject(...burst);
      this.burstNs.push((this.server.busyNs - before) / burst.length);
      this.#switch();
    }
    this.frames += frames.length;
  }

  /** Sends what the server has sent where it belongs. */
  #switch(): void {
    for (const frame of this.server.take()) {
      if (frame[5] === CLIENT_MAC[5]) {
        const passed = this.onPath ? this.onPath(frame, false) : frame;
        if (passed) this.#toClient.push(passed);
      } else {
        this.answers++;
        this.onAnswer?.(frame);
      }
    }
  }

  /** One turn: what was on the wire arrives, timers run, the application works. */
  turn(us = this.stepUs): void {
    this.nowUs += us;
    this.server.nowUs = this.client.nowUs = this.nowUs;
    const toServer = this.#toServer;
    const toClient = this.#toClient;
    this.#toServer = [];
    this.#toClient = [];
    for (let i = 0; i < toServer.length; i += BURST) this.server.inject(...toServer.slice(i, i + BURST));
    for (let i = 0; i < toClient.length; i += BURST) this.client.inject(...toClient.slice(i, i + BURST));
    this.server.poll();
    for (const [handle, kind] of this.server.events()) {
      if (handle === this.#lazyListener && kind === L.EV_ACCEPT) {
        for (let got = this.server.core.accept(handle); got > 0; got = this.server.core.accept(handle)) {
          this.served.set(got, LAZY);
        }
      } else if ((kind === L.EV_ERROR || kind === L.EV_CLOSED) && this.served.has(handle)) this.#leave(handle, 'close');
    }
    this.#switch();
    this.legitimate.work(this.nowUs);
    this.client.poll();
    for (const frame of this.client.take()) {
      const passed = this.onPath ? this.onPath(frame, true) : frame;
      if (passed) this.#toServer.push(passed);
    }
    if (this.#turns++ % LOOK_EVERY === 0) this.look();
  }

  /** Turns for so long. */
  pass(us: number): void {
    for (const end = this.nowUs + us; this.nowUs < end; ) this.turn();
  }

  /** CPU time of the core for a hostile frame: the median of all bursts from number `from` on. */
  nsPerFrame(from = 0): number {
    const sorted = this.burstNs.slice(from).sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? 0;
  }

  // ---- what is held ----

  slots(): number {
    const { core } = this.server;
    let used = 0;
    for (let i = 0; i < core.config.maxConnections; i++) if (core.connectionAt(i, core.scratch) === 0) used++;
    return used;
  }

  look(): void {
    const { core } = this.server;
    const { most } = this;
    most.zbuf = Math.max(most.zbuf, core.zbufInUse());
    most.rx = Math.max(most.rx, core.rxInUse());
    most.records = Math.max(most.records, core.recordsInUse());
    most.slots = Math.max(most.slots, this.slots());
  }

  count(counter: number): number {
    return this.server.core.counter(counter);
  }

  /** A number of the server's about one of its connections, INFO_…. */
  info(handle: number, offset: number): number {
    const { core } = this.server;
    return core.info(handle, core.scratch) < 0 ? -1 : core.dv.getUint32(core.scratch + offset, true);
  }

  /** Everybody goes; after all waits have passed the server must hold nothing. */
  end(): void {
    this.onPath = null;
    this.onAnswer = null;
    this.legitimate.stop();
    const { core } = this.server;
    for (const handle of this.served.keys()) core.abort(handle);
    for (const listener of this.#portOf.keys()) core.close(listener);
    core.flush(this.nowUs);
    this.pass(100 * this.stepUs);
    // Longer than TIME-WAIT, FIN-WAIT-2, and an orphan's last timeout.
    for (let i = 0; i < 40; i++) this.turn(60e6);
    const left = { zbuf: core.zbufInUse(), rx: core.rxInUse(), slots: this.slots() };
    for (const [what, number] of Object.entries(left)) this.expect(number === 0, `${number} ${what} held at the end`);
    // Frames that wait for a neighbour have none left either: all records are free.
    const records = core.recordsInUse();
    this.expect(records === 0, `${records} records held at the end`);
  }
}
