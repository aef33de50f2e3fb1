// An application that calls anything with anything, and remembers what it is entitled to: which handles are its own and
// which are dead, which objects it holds, and what is in them.
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../../src/host/core/address.js';
import type { Core, CoreConfig } from '../../../../src/host/core/core.js';
import type { DrivenCore } from '../../../../src/host/core/driven.js';
import * as L from '../../../../src/host/core/layout.js';
import type { Random } from '../../../helpers/random.js';
import type { Cores } from '../cores.js';

/** An object that we hold references to. What is in it does not change. */
interface Held {
  readonly addr: number;
  readonly length: number;
  refs: number;
  readonly sum: number;
}

const ERRNOS: readonly number[] = Object.entries(L)
  .filter(([name, value]) => /^E[A-Z]+$/.test(name) && typeof value === 'number')
  .map(([, value]) => value as number);
const PORTS: readonly number[] = [80, 81, 82, 9];
/** A callback may call what calls back. */
const DEEPEST = 3;
const MOST_HELD = 64;
const OPTIONS = L.OPT_PAUSED + 1;
/** For what is over before the end of an input. */
const LONGEST_US = 100e6;

/** Of some of the bytes: what spoils an object is longer than a few. */
function sumOf(core: Core, addr: number, length: number): number {
  let sum = length;
  const step = 1 + (length >> 7);
  for (let i = 0; i < length; i += step) sum = (Math.imul(sum, 31) + core.u8[addr + i]) | 0;
  return sum;
}

export class Caller {
  readonly host: DrivenCore;
  readonly listeners = new Set<number>();
  readonly connections = new Set<number>();
  /** Those of them that are not to be handed anything. */
  readonly #paused = new Set<number>();
  #dead: number[] = [];
  readonly #held: Held[] = [];
  #depth = 0;
  readonly #r: Random;
  readonly #cores: Cores;
  readonly #own: string;
  readonly #peer: string;

  constructor(r: Random, cores: Cores, config: Partial<CoreConfig>, own: string, peer: string) {
    this.#r = r;
    this.#cores = cores;
    this.#own = own;
    this.#peer = peer;
    this.host = cores.open(config, (handle, kind, a, b) => this.event(handle, kind, a, b), own);
  }

  // ---- arguments ----

  #handles(): number[] {
    return [...this.listeners, ...this.connections];
  }

  #handle(): number {
    const r = this.#r;
    const all = this.#handles();
    if (all.length > 0 && !r.oneIn(5)) return r.pick(all);
    if (this.#dead.length > 0 && r.oneIn(2)) return r.pick(this.#dead);
    return r.pick([0, -1, 1, 0x7fffffff, 2 ** 32, 2 ** 32 - 1, Number.NaN, -0.5, 1e300, r.u32(), r.below(4096)]);
  }

  /** The handle that a number is, once it is an i32. */
  #owns(handle: number): boolean {
    return this.listeners.has(handle | 0) || this.connections.has(handle | 0);
  }

  /** Pointers that no call may read or write through. */
  #wildPointer(): number {
    const bytes = this.host.core.memory.buffer.byteLength;
    return this.#r.pick([0, bytes - 4, bytes - 1, bytes, 2 ** 31, 2 ** 32 - 16, -1, Number.NaN, 2 ** 31 - 1]);
  }

  /** Where an IP address is, or is not. */
  #address(): number {
    const { core } = this.host;
    const r = this.#r;
    if (r.oneIn(8)) return this.#wildPointer();
    const text = r.pick([
      this.#peer,
      this.#peer,
      this.#peer,
      this.#own,
      '0.0.0.0',
      '10.9.9.9',
      '224.0.0.1',
      '::',
      '::1',
    ]);
    const at = core.scratch + 16 * r.below(4);
    writeAddress(core.u8, at, text);
    return at;
  }

  #number(): number {
    const r = this.#r;
    return r.pick([
      0,
      1,
      2,
      3,
      100,
      1460,
      65536,
      65537,
      1e6,
      -1,
      2 ** 31,
      2 ** 32,
      2 ** 53,
      Number.NaN,
      1e300,
      r.u32(),
    ]);
  }

  /** A range of an object that we hold, or something else. */
  #range(): [number, number] {
    const r = this.#r;
    if (this.#held.length > 0 && !r.oneIn(8)) {
      const { addr, length } = r.pick(this.#held);
      if (length > 0 && !r.oneIn(8)) {
        const from = r.below(length);
        return [addr + from, r.below(length - from + 1)];
      }
      return [addr, this.#number()];
    }
    return [r.oneIn(2) ? this.#wildPointer() : r.below(this.host.core.config.mtu * 64), this.#number()];
  }

  /** A result must be what such a call can say. Notes it, so that builds can be compared. */
  #check(name: string, result: number, ours: boolean): number {
    assert.ok(Number.isInteger(result), `${name} gives an integer, not ${result}`);
    assert.ok(result >= 0 || ERRNOS.includes(-result), `${name} gives a known errno, not ${result}`);
    if (!ours) assert.is(result, -L.EBADF, `${name} on a handle that is not ours`);
    this.#cores.note(result);
    return result;
  }

  // ---- objects ----

  #hold(addr: number, length: number): void {
    const { core } = this.host;
    assert.ok(core.refCount(addr) > 0, 'an object that was given is alive');
    this.#held.push({ addr, length, refs: 1, sum: sumOf(core, addr, length) });
  }

  #letGo(held: Held): void {
    const { core } = this.host;
    assert.is(sumOf(core, held.addr, held.length), held.sum, 'what is in an object that is held does not change');
    assert.ok(core.refCount(held.addr) >= held.refs, 'references are counted');
    assert.is(core.free(held.addr), 0);
    held.refs--;
    if (held.refs === 0) this.#held.splice(this.#held.indexOf(held), 1);
  }

  #alloc(): void {
    const { core } = this.host;
    const size = this.#r.pick([1, 100, 1000, 4096, 65536, this.#number()]);
    const addr = this.#r.oneIn(2) ? core.alloc(size) : core.allocMessage(size);
    if (addr === 0) return;
    const length = size >>> 0;
    const end = core.objectEnd(addr);
    assert.ok(length <= 65536 && end - addr >= length, `${size} bytes fit an object of ${end - addr}`);
    for (const held of this.#held) {
      assert.ok(held.addr + held.length <= addr || held.addr >= end, 'an object is given to one holder');
    }
    core.u8.fill(1 + this.#r.below(255), addr, end);
    this.#hold(addr, end - addr);
  }

  #misuseMemory(): void {
    const { core } = this.host;
    const r = this.#r;
    const wild = this.#wildPointer();
    // No zone lies below the arena's end, nor at the memory's very end.
    const foreign = r.oneIn(2) ? wild : r.below(this.host.core.scratch);
    assert.ok(core.free(foreign) < 0);
    assert.ok(core.dup(foreign) < 0);
    assert.is(core.refCount(foreign), -L.EFAULT);
    assert.is(core.objectEnd(foreign), 0);
  }

  // ---- calls ----

  #send(): void {
    const { core } = this.host;
    const handle = this.#handle();
    const [addr, length] = this.#range();
    const call = this.#r.oneIn(6) ? 'sendUrgent' : 'send';
    const result = this.#check(call, core[call](handle, addr, length), this.#owns(handle));
    if (result > 0) assert.is(result, length >>> 0, 'all or nothing');
  }

  #sendv(): void {
    const { core } = this.host;
    const r = this.#r;
    const handle = this.#handle();
    const count = r.pick([0, 1, 2, 8, 64]);
    let total = 0;
    for (let i = 0; i < count; i++) {
      const [addr, length] = this.#range();
      core.u32.set([addr >>> 0, length >>> 0], (core.scratch >> 2) + 2 * i);
      total += length >>> 0;
    }
    const iov = r.oneIn(10) ? this.#wildPointer() : core.scratch;
    const n = r.oneIn(10) ? this.#number() : count;
    const result = this.#check('sendv', core.sendv(handle, iov, n), this.#owns(handle));
    if (iov === core.scratch && n === count && result > 0) assert.is(result, total, 'all or nothing');
  }

  recv(handle: number): void {
    const { core } = this.host;
    const r = this.#r;
    const at = r.oneIn(12) ? this.#wildPointer() : core.scratch;
    const most = r.oneIn(12) ? this.#number() : r.pick([1, 4, 500]);
    // What lies behind the scratch space is not ours to have written to.
    if (at === core.scratch && most >>> 0 > L.SCRATCH_SIZE / L.IOV_SIZE) return;
    const pieces = this.#check('recv', core.recv(handle, at, most), this.#owns(handle));
    if (pieces <= 0) return;
    assert.is(at, core.scratch, 'nothing is written through a wild pointer');
    assert.ok(pieces <= most);
    const list = Array.from({ length: 2 * pieces }, (_, i) => core.u32[(core.scratch >> 2) + i]);
    for (let i = 0; i < list.length; i += 2) this.#take(list[i], list[i + 1]);
  }

  /** A received piece is ours: to keep, or to free at once. */
  #take(addr: number, length: number): void {
    this.#hold(addr, length);
    if (this.#held.length > MOST_HELD || !this.#r.oneIn(4)) this.#letGo(this.#held[this.#held.length - 1]);
  }

  #end(): void {
    const { core } = this.host;
    const handle = this.#handle();
    const call = this.#r.pick(['close', 'close', 'abort', 'shutdown'] as const);
    const result = this.#check(call, core[call](handle), this.#owns(handle));
    if (result === 0 && call !== 'shutdown') this.#forget(handle | 0);
  }

  #forget(handle: number): void {
    this.listeners.delete(handle);
    this.connections.delete(handle);
    this.#paused.delete(handle);
    this.#dead.push(handle);
    if (this.#dead.length > 64) this.#dead = this.#dead.slice(-32);
  }

  #adopt(handle: number, into: Set<number>): void {
    assert.ok(!this.#owns(handle), 'a handle names one socket');
    into.add(handle);
  }

  #listen(): void {
    const { core } = this.host;
    const r = this.#r;
    const port = r.oneIn(10) ? this.#number() : r.pick(PORTS);
    const backlog = r.pick([0, 1, 8, -1, this.#number()]);
    const handle = this.#check('listen', core.listen(this.#address(), port, backlog, r.below(4)), true);
    if (handle >= 0) this.#adopt(handle, this.listeners);
  }

  #connect(): void {
    const { core } = this.host;
    const r = this.#r;
    const port = r.oneIn(10) ? this.#number() : r.pick(PORTS);
    const local = r.oneIn(3) ? this.#address() : 0;
    const localPort = r.oneIn(3) ? r.pick([1000, 1001, 61440, this.#number()]) : 0;
    const result = core.connect(this.#address(), port, local, localPort, r.below(4));
    const handle = this.#check('connect', result, true);
    if (handle >= 0) this.#adopt(handle, this.connections);
  }

  accept(listener: number): void {
    const handle = this.#check('accept', this.host.core.accept(listener), this.#owns(listener));
    if (handle >= 0) this.#adopt(handle, this.connections);
  }

  #options(): void {
    const { core } = this.host;
    const r = this.#r;
    const handle = this.#handle();
    const option = r.oneIn(8) ? this.#number() : r.below(OPTIONS);
    const any = r.pick([0, 1, 2, 3, 255, 256, 1000, 1e6, 1e9, 2 ** 53, -1, Number.NaN, Number.POSITIVE_INFINITY]);
    // A patience of days would be kept.
    const patience = option === L.OPT_USER_TIMEOUT_US || option === L.OPT_FIN_WAIT2_US;
    const value = patience ? Math.min(any, LONGEST_US) : any;
    const set = this.#check('setOption', core.setOption(handle, option, value), this.#owns(handle));
    const got = core.getOption(handle, option);
    if (!this.#owns(handle)) assert.is(got, -L.EBADF);
    else assert.ok(got >= 0 || ERRNOS.includes(-got), `option ${option} is ${got}`);
    if (set !== 0 || !this.#owns(handle)) return;
    if (option === L.OPT_PAUSED) this.#paused[value !== 0 ? 'add' : 'delete'](handle | 0);
    if (option === L.OPT_NODELAY || option === L.OPT_KEEPALIVE || option === L.OPT_PAUSED)
      assert.is(got, value !== 0 ? 1 : 0);
    if (option === L.OPT_SND_BUF_BYTES) assert.is(got, Math.min(Math.max(value, 2048), 1073725440));
  }

  #look(): void {
    const { core } = this.host;
    const r = this.#r;
    const handle = this.#handle();
    const at = r.oneIn(3) ? this.#wildPointer() : core.scratch;
    const result = this.#check('info', core.info(handle, at), this.#owns(handle));
    if (result === 0) {
      assert.is(at, core.scratch);
      assert.is(core.dv.getUint32(at + L.INFO_handle, true), handle | 0);
    }
    for (const call of ['connectionAt', 'routeAt', 'neighAt'] as const) {
      this.#check(call, core[call](r.oneIn(2) ? this.#number() : r.below(32), at), true);
    }
  }

  /** Addresses, routes and neighbours come and go; our own address and our peer stay. */
  #tables(): void {
    const { core } = this.host;
    const r = this.#r;
    const length = r.pick([0, 96, 104, 120, 128, 129, this.#number()]);
    const other = (at: number): number => {
      writeAddress(core.u8, at, r.pick(['10.0.0.77', '10.1.0.1', '192.168.7.7', '0.0.0.0', '::1', '224.0.0.5']));
      return at;
    };
    const at = r.oneIn(6) ? this.#wildPointer() : other(core.scratch);
    const gateway = r.pick([0, other(core.scratch + 16), this.#address(), this.#wildPointer()]);
    const calls: readonly (() => number)[] = [
      () => core.addressAdd(at, length),
      () => core.addressDel(at, length),
      () => core.routeAdd(at, length, gateway, this.#number()),
      () => core.routeDel(at, length, gateway),
      () => core.routeClear(),
      () => core.neighSet(at, r.oneIn(4) ? this.#wildPointer() : core.scratch + 64),
      () => core.neighDel(at),
      () => core.neighFail(at),
      () =>
        core.linkConfig(r.oneIn(3) ? this.#wildPointer() : L.CFG_MAC, r.pick([0, 575, 576, 1500, 9000]), r.below(2)),
    ];
    this.#check('a table', r.pick(calls)(), true);
  }

  /** Entry points of the loop with what a broken loop would say. */
  #turn(): void {
    const { core } = this.host;
    const r = this.#r;
    const now = r.pick([Number.NaN, -1, 0, this.host.nowUs - 1e6, this.host.nowUs]);
    core.u32.fill(
      r.pick([0, 0xffffffff, 4, core.scratch]),
      core.u32[L.CTL_RX_AT >> 2] >> 2,
      (core.u32[L.CTL_RX_AT >> 2] >> 2) + 32,
    );
    const calls: readonly (() => unknown)[] = [
      () => core.poll(now),
      () => core.flush(now),
      () => core.ingest(r.pick([0, 1, 8]), now),
      () => core.zoneSetIova(this.#number(), this.#number(), this.#number()),
    ];
    r.pick(calls)();
  }

  /** One call of any kind. */
  act(): void {
    const r = this.#r;
    const kind = r.below(32);
    if (kind < 6) this.#send();
    else if (kind < 8) this.#sendv();
    else if (kind < 11) this.recv(this.#handle());
    else if (kind < 14) this.#alloc();
    else if (kind < 16 && this.#held.length > 0) this.#letGo(r.pick(this.#held));
    else if (kind < 18) this.#connect();
    else if (kind < 20) this.#listen();
    else if (kind < 22) this.accept(this.#handle());
    else if (kind < 23) this.#end();
    else if (kind < 27) this.#options();
    else if (kind === 27) this.#look();
    else if (kind === 28) this.#tables();
    else if (kind === 29) this.#misuseMemory();
    // Not from a callback: a loop does not call itself.
    else if (kind === 30 && this.#depth === 0) this.#turn();
    else if (this.#held.length > 0 && this.#held.length < MOST_HELD) {
      const held = r.pick(this.#held);
      if (this.host.core.dup(held.addr) === 0) held.refs++;
    }
  }

  /** Events of the ring, and the inline callback: it may do anything, to the same socket too. */
  event(handle: number, kind: number, a: number, b: number): void {
    const r = this.#r;
    this.#cores.note(kind);
    if (this.#paused.has(handle))
      assert.not([L.EV_DATA, L.EV_EOF, L.EV_CLOSED].includes(kind), `event ${kind} while paused`);
    if (kind === L.EV_DATA && b !== 0 && this.host) this.#take(a, b);
    if (kind === L.EV_ACCEPT && a !== 0) this.#adopt(a, this.connections);
    if (this.#depth >= DEEPEST) return;
    this.#depth++;
    if (kind === L.EV_ACCEPT && a === 0 && r.oneIn(2)) this.accept(handle);
    if (kind === L.EV_DATA && b === 0 && r.oneIn(2)) this.recv(handle);
    while (r.oneIn(3)) this.act();
    if (r.oneIn(12)) this.#closeThis(handle);
    this.#depth--;
  }

  #closeThis(handle: number): void {
    if (!this.#owns(handle)) return;
    assert.is(this.host.core[this.#r.oneIn(2) ? 'close' : 'abort'](handle), 0);
    this.#forget(handle);
  }

  /** A beginning that makes sense: a server, and connections to the other side's. */
  begin(): void {
    const { core } = this.host;
    core.u8.fill(0, core.scratch, core.scratch + 16);
    this.#adopt(core.listen(core.scratch, PORTS[0], 4, this.#r.below(2)), this.listeners);
    for (let left = this.#r.below(3); left > 0; left--) {
      writeAddress(core.u8, core.scratch, this.#peer);
      this.#adopt(core.connect(core.scratch, PORTS[0], 0, 0, this.#r.below(2)), this.connections);
    }
  }

  /** Takes memory until there is none. */
  hoard(): void {
    while (this.#held.length < 4 * MOST_HELD) {
      const before = this.#held.length;
      this.#alloc();
      if (this.#held.length === before) return;
    }
  }

  /** Lets go of everything. */
  leave(): void {
    const { core } = this.host;
    for (const handle of this.#handles()) {
      assert.is(core[this.#r.oneIn(2) ? 'abort' : 'close'](handle), 0);
      this.#forget(handle);
    }
    while (this.#held.length > 0) this.#letGo(this.#held[0]);
  }

  /** Every listener can be had again. */
  assertListenersFree(): void {
    const { core } = this.host;
    const handles = Array.from({ length: core.config.maxListeners }, (_, i) => {
      core.u8.fill(0, core.scratch, core.scratch + 16);
      return core.listen(core.scratch, 7000 + i, 1, 0);
    });
    assert.ok(
      handles.every((handle) => handle > 0),
      `${handles} are handles of all listeners there can be`,
    );
    for (const handle of handles) assert.is(core.close(handle), 0);
  }
}
