// An application that calls UDP with anything at any time, from inside the inline callback too, and remembers what it is
// entitled to: which sockets are its own, and which payload it holds.
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../../src/host/core/address.js';
import type { DrivenCore } from '../../../../src/host/core/driven.js';
import * as L from '../../../../src/host/core/layout.js';
import * as F from '../../../helpers/frames.js';
import type { Random } from '../../../helpers/random.js';
import type { Cores } from '../cores.js';

const ERRNOS: readonly number[] = Object.entries(L)
  .filter(([name, value]) => /^E[A-Z]+$/.test(name) && typeof value === 'number')
  .map(([, value]) => value as number);
const PORTS: readonly number[] = [90, 91, 92, 93];
/** A callback may call what calls back. */
const DEEPEST = 3;
const MOST_HELD = 32;
/** Bytes of the scratch space behind which the application keeps its arguments. */
const ARGUMENTS = 3584;
const BATCH = 16;

export class UdpApp {
  readonly handles = new Set<number>();
  #dead: number[] = [];
  readonly #held: number[] = [];
  #depth = 0;
  /** The beginning of a datagram of the core's, which errors quote. */
  #quoted: Uint8Array | null = null;
  readonly #r: Random;
  readonly #cores: Cores;
  readonly #host: DrivenCore;
  readonly #own: string;
  readonly #peer: string;

  constructor(r: Random, cores: Cores, host: DrivenCore, own: string, peer: string) {
    this.#r = r;
    this.#cores = cores;
    this.#host = host;
    this.#own = own;
    this.#peer = peer;
  }

  // ---- arguments ----

  #handle(): number {
    const r = this.#r;
    if (this.handles.size > 0 && !r.oneIn(6)) return r.pick([...this.handles]);
    if (this.#dead.length > 0 && r.oneIn(2)) return r.pick(this.#dead);
    return r.pick([0, -1, 1, 0x40000000, 0x7fffffff, 2 ** 32, Number.NaN, 1e300, r.u32(), 0x40000000 + r.below(4096)]);
  }

  #wildPointer(): number {
    const bytes = this.#host.core.memory.buffer.byteLength;
    return this.#r.pick([bytes - 4, bytes - 1, bytes, 2 ** 31, 2 ** 32 - 16, -1, 2 ** 31 - 1]);
  }

  #address(): number {
    const { core } = this.#host;
    const r = this.#r;
    if (r.oneIn(10)) return this.#wildPointer();
    const some = [
      this.#own,
      '0.0.0.0',
      '::',
      '10.0.0.255',
      '255.255.255.255',
      '224.0.0.1',
      '10.9.9.9',
      'fd00::9',
      '::1',
    ];
    const at = core.scratch + ARGUMENTS + 16 * r.below(4);
    writeAddress(core.u8, at, r.oneIn(2) ? this.#peer : r.pick(some));
    return at;
  }

  #port(): number {
    const r = this.#r;
    return r.oneIn(8) ? r.pick([0, 65535, 65536, -1, 2 ** 32, r.u32()]) : r.pick(PORTS);
  }

  /** A result must be what such a call can say. Notes it, so that builds can be compared. */
  #check(name: string, handle: number, result: number): number {
    assert.ok(Number.isInteger(result), `${name} gives an integer, not ${result}`);
    assert.ok(result >= 0 || ERRNOS.includes(-result), `${name} gives a known errno, not ${result}`);
    if (!this.handles.has(handle | 0)) assert.is(result, -L.EBADF, `${name} on a handle that is not ours`);
    this.#cores.note(result);
    return result;
  }

  // ---- calls ----

  #open(): void {
    const { core } = this.#host;
    const handle = core.udpOpen(this.#r.below(8));
    this.#cores.note(handle);
    if (handle < 0) {
      assert.is(handle, -L.ENOBUFS);
      assert.is(this.handles.size, core.config.udpSockets, 'as many as may be');
      return;
    }
    assert.ok(!this.handles.has(handle), 'a handle names one socket');
    this.handles.add(handle);
    if (!this.#r.oneIn(4)) {
      const at = this.#address();
      this.#check('udpBind', handle, core.udpBind(handle, at, this.#port()));
    }
  }

  #send(): void {
    const { core } = this.#host;
    const r = this.#r;
    const handle = this.#handle();
    const size = r.pick([0, 1, 100, 1400, 1472, 3000, 9000, 65507, 65536]);
    const addr = core.alloc(size);
    const own = addr !== 0;
    if (own) core.u8.fill(1 + r.below(255), addr, addr + size);
    const iov = core.scratch + ARGUMENTS + 128;
    const pieces = r.oneIn(12) ? r.pick([9, 2 ** 31, r.u32()]) : 1 + r.below(3);
    let total = 0;
    for (let i = 0; i < Math.min(pieces, 3); i++) {
      const wild = r.oneIn(30);
      const from = own ? r.below(size + 1) : 0;
      const length = wild ? r.u32() : r.below(size - from + 1);
      core.u32.set([wild ? r.u32() : addr + from, own ? length : 0], (iov + 8 * i) >> 2);
      total += own ? length : 0;
    }
    const to = r.oneIn(4) ? 0 : this.#address();
    const result = core.udpSend(handle, r.oneIn(20) ? this.#wildPointer() : iov, pieces, to, this.#port());
    this.#check('udpSend', handle, result);
    if (result > 0) assert.is(result, total, 'all or nothing');
    if (own) assert.is(core.free(addr), 0);
  }

  /** One reference of the payload that the descriptor at `at` names is ours. */
  #take(at: number): void {
    const { core } = this.#host;
    const addr = core.u32[(at + L.UDPD_addr) >> 2];
    assert.ok(core.refCount(addr) > 0, 'what is given is alive');
    assert.ok(core.objectEnd(addr) - addr >= core.u32[(at + L.UDPD_len) >> 2], 'in one object');
    this.#held.push(addr);
  }

  #drop(): void {
    const { core } = this.#host;
    const keep = this.#r.oneIn(4) ? MOST_HELD : 0;
    while (this.#held.length > keep) assert.is(core.free(this.#held.pop() as number), 0);
  }

  #recv(handle: number): void {
    const { core } = this.#host;
    const r = this.#r;
    const wild = r.oneIn(12);
    const most = r.oneIn(12) ? r.pick([0, 1025, 2 ** 31, r.u32()]) : 1 + r.below(BATCH);
    // Behind the scratch space nothing is ours to have written to.
    if (!wild && most >>> 0 > BATCH && most >>> 0 <= 1024) return;
    const at = wild ? this.#wildPointer() : core.scratch + 1024;
    const count = this.#check('udpRecv', handle, core.udpRecv(handle, at, most));
    if (count <= 0) return;
    assert.ok(!wild && count <= most);
    for (let i = 0; i < count; i++) this.#take(at + i * L.UDPD_SIZE);
    this.#drop();
  }

  #close(handle: number): void {
    if (this.#check('udpClose', handle, this.#host.core.udpClose(handle)) !== 0) return;
    this.handles.delete(handle | 0);
    this.#dead.push(handle | 0);
    if (this.#dead.length > 32) this.#dead = this.#dead.slice(-16);
  }

  #options(): void {
    const { core } = this.#host;
    const r = this.#r;
    const handle = this.#handle();
    const option = r.pick([L.OPT_BROADCAST, L.OPT_TOS, L.OPT_TTL, L.OPT_RCV_BUF_BYTES, r.below(64), r.u32()]);
    const value = r.pick([0, 1, 64, 255, 256, 1e6, 2 ** 53, -1, Number.NaN, Number.POSITIVE_INFINITY]);
    const set = this.#check('udpSetOption', handle, core.udpSetOption(handle, option, value));
    const got = core.udpGetOption(handle, option);
    if (set === 0 && option === L.OPT_TTL) assert.is(got, value);
    const info = this.#check('udpInfo', handle, core.udpInfo(handle, r.oneIn(4) ? this.#wildPointer() : core.scratch));
    if (info === 0 && core.u32[(core.scratch + L.UDPI_rcv_datagrams) >> 2] === 0) {
      assert.is(core.u32[(core.scratch + L.UDPI_rcv_bytes) >> 2], 0);
    }
  }

  /** One call of any kind. */
  act(): void {
    const { core } = this.#host;
    const r = this.#r;
    const kind = r.below(20);
    if (kind < 7) this.#send();
    else if (kind < 10) this.#recv(this.#handle());
    else if (kind < 13) this.#open();
    else if (kind < 14) this.#close(this.#handle());
    else if (kind < 16) this.#options();
    else if (kind < 18) {
      const handle = this.#handle();
      this.#check('udpConnect', handle, core.udpConnect(handle, this.#address(), this.#port()));
    } else if (kind < 19) {
      const handle = this.#handle();
      this.#check('udpDisconnect', handle, core.udpDisconnect(handle));
    } else {
      const handle = this.#handle();
      this.#check('udpBind', handle, core.udpBind(handle, this.#address(), this.#port()));
    }
  }

  /** Events of the ring, and the inline callback. False when it is none of UDP's. */
  event(handle: number, kind: number, a: number, b: number): boolean {
    if (kind !== L.EV_DATAGRAM && !this.handles.has(handle) && !this.#dead.includes(handle)) return false;
    const r = this.#r;
    this.#cores.note(kind);
    if (kind === L.EV_DATAGRAM && b !== 0) {
      assert.is(b, L.UDPD_SIZE);
      assert.ok(this.handles.has(handle), 'an inline event is of an open socket');
      this.#take(a);
      this.#drop();
    }
    if (this.#depth >= DEEPEST) return true;
    this.#depth++;
    if (kind === L.EV_DATAGRAM && b === 0 && !r.oneIn(3)) this.#recv(handle);
    while (r.oneIn(4)) this.act();
    if (r.oneIn(16) && this.handles.has(handle)) this.#close(handle);
    this.#depth--;
    return true;
  }

  /** A beginning that makes sense: a batch and an inline socket. */
  begin(): void {
    const { core } = this.#host;
    for (const [flags, port] of [
      [0, PORTS[0]],
      [L.SOCK_INLINE, PORTS[1]],
    ]) {
      const handle = core.udpOpen(flags);
      core.u8.fill(0, core.scratch, core.scratch + 16);
      assert.is(core.udpBind(handle, core.scratch, port), 0);
      this.handles.add(handle);
    }
  }

  // ---- the peer ----

  hear(frame: Uint8Array): void {
    if (frame.length >= 42 && frame[12] === 8 && frame[23] === 17) this.#quoted = frame.slice(14, 42);
  }

  /** A datagram to one of the sockets, or an error about one of theirs. */
  frame(): Uint8Array {
    const r = this.#r;
    if (this.#quoted && r.oneIn(5)) {
      return F.icmpError(r.pick([3, 3, 11, 12]), r.below(16), r.pick([0, 68, 600, 1400, 9000]), this.#quoted);
    }
    const payload = r.bytes(r.pick([0, 1, 100, 1400]));
    const fields = { srcPort: r.pick([0, ...PORTS, 5000]), dstPort: r.pick([...PORTS, 9, 61440]), payload };
    if (!r.oneIn(6)) return F.udpFrame(fields);
    const frame = F.udpFrame(fields, F.PEER_IP, r.pick([[10, 0, 0, 255], [255, 255, 255, 255], F.OWN_IP]));
    frame.fill(255, 0, 6);
    return frame;
  }

  /** Lets go of everything. */
  leave(): void {
    const { core } = this.#host;
    for (const handle of [...this.handles]) this.#close(handle);
    while (this.#held.length > 0) assert.is(core.free(this.#held.pop() as number), 0);
  }
}
