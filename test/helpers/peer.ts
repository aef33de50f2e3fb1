// The other end of one TCP connection, played by the test segment by segment. Sequence numbers in tests are relative
// to each side's initial one, and both begin just below the wrap.
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import type { CoreConfig, InlineEvent } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import * as F from './frames.js';
import { type ManualCore, manualCore, PEER_MAC } from './manual.js';

export const PORT = 80;
export const PEER_PORT = 40000;
export const MSS = 1460;
/** The peer's initial sequence number: the third byte of data wraps. */
const IRS = 0xfffffffd;

const LETTERS: readonly (readonly [string, number])[] = [
  ['S', F.SYN],
  ['F', F.FIN],
  ['R', F.RST],
  ['P', F.PSH],
  ['U', F.URG],
  ['.', F.ACK],
  ['E', F.ECE],
  ['W', F.CWR],
];

export interface SegmentOptions {
  seq?: number;
  ack?: number;
  win?: number;
  /** The urgent pointer's field. */
  urg?: number;
  /** Bytes of payload, or the payload. */
  len?: number;
  payload?: Uint8Array;
  options?: readonly number[];
  from?: number;
  to?: number;
  /** ECN field of the IP header. */
  ecn?: number;
}

/** One segment of the core's, relative to the initial sequence numbers. */
export interface Heard {
  flags: string;
  seq: number;
  ack: number;
  win: number;
  urg: number;
  payload: Uint8Array;
  options: Uint8Array;
  /** Traffic class of the IP header. */
  tos: number;
  srcPort: number;
  dstPort: number;
}

export const mss = (value: number): number[] => [2, 4, value >> 8, value & 255];
export const wscale = (shift: number): number[] => [1, 3, 3, shift];
export const sackPermitted = (): number[] => [1, 1, 4, 2];
const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
export const timestamps = (val: number, ecr: number): number[] => [1, 1, 8, 10, ...word(val), ...word(ecr)];

/** The value of byte `i` of every stream in these tests. */
export function contentAt(i: number): number {
  return (i * 31 + (i >> 8)) & 255;
}

export function content(from: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => contentAt(from + i));
}

/** That `bytes` are the stream's from byte `from` on. */
export function assertContent(bytes: Uint8Array, from: number): void {
  assert.is(Buffer.compare(bytes, content(from, bytes.length)), 0, `the content of byte ${from} on`);
}

export class Peer {
  readonly m: ManualCore;
  /** The core's initial sequence number, once heard. */
  iss = 0;
  /** The core's own port. */
  port = PORT;
  listener = 0;
  handle = 0;
  /** Bytes the core's application has been given a queue for, for content(). */
  written = 0;

  constructor(config: Partial<CoreConfig> = {}, onEvent: InlineEvent = () => {}) {
    this.m = manualCore({ rcvBufBytes: 65535, sndBufBytes: 1 << 20, ...config }, onEvent);
    const { core } = this.m;
    this.address(F.PEER_IP);
    core.u8.set(PEER_MAC, core.scratch + 16);
    core.neighSet(core.scratch, core.scratch + 16);
  }

  address(ip: readonly number[]): number {
    const { core } = this.m;
    writeAddress(core.u8, core.scratch, ip.join('.'));
    return core.scratch;
  }

  listen(flags = 0, backlog = 16): number {
    const { core } = this.m;
    core.u8.fill(0, core.scratch, core.scratch + 16);
    this.listener = core.listen(core.scratch, PORT, backlog, flags);
    assert.ok(this.listener > 0, `listen: ${this.listener}`);
    return this.listener;
  }

  /** Sends a segment: flags as tcpdump writes them, sequence numbers relative. */
  in(flags: string, o: SegmentOptions = {}): void {
    this.m.inject(this.frame(flags, o));
  }

  frame(flags: string, o: SegmentOptions = {}): Uint8Array {
    let bits = 0;
    for (const letter of flags) bits |= LETTERS.find(([l]) => l === letter)?.[1] ?? 0;
    const frame = F.tcpFrame({
      srcPort: o.from ?? PEER_PORT,
      dstPort: o.to ?? this.port,
      seq: IRS + (o.seq ?? 1),
      ack: bits & F.ACK ? this.iss + (o.ack ?? 1) : 0,
      flags: bits,
      window: o.win ?? 65535,
      urgent: o.urg ?? 0,
      options: Uint8Array.from(o.options ?? []),
      payload: o.payload ?? content((o.seq ?? 1) - 1, o.len ?? 0),
    });
    if (o.ecn) {
      frame[F.ETH + 1] |= o.ecn;
      F.fixChecksums(frame);
    }
    return frame;
  }

  /** What the core has sent since, except ARP. */
  heard(): Heard[] {
    const list: Heard[] = [];
    for (const frame of this.m.take()) {
      const segment = F.parseTcp(frame);
      if (!segment) continue;
      if (segment.flags & F.SYN) this.iss = segment.seq;
      const signed = (value: number): number => value | 0;
      list.push({
        flags: LETTERS.filter(([, bit]) => segment.flags & bit)
          .map(([letter]) => letter)
          .join(''),
        seq: signed(segment.seq - this.iss),
        ack: segment.flags & F.ACK ? signed(segment.ack - IRS) : 0,
        win: segment.window,
        urg: segment.urgent,
        payload: segment.payload,
        options: segment.options,
        tos: frame[F.ETH + 1],
        srcPort: segment.srcPort,
        dstPort: segment.dstPort,
      });
    }
    return list;
  }

  /** What the core has sent since, in tcpdump's manner: `P. 1:101 ack 1`. */
  out(): string[] {
    return this.heard().map((s) => {
      const range = s.payload.length > 0 ? `${s.seq}:${s.seq + s.payload.length}` : `${s.seq}`;
      return `${s.flags} ${range}${s.flags.includes('.') ? ` ack ${s.ack}` : ''}`;
    });
  }

  /** A passive open by the core, done. */
  accept(synOptions: readonly number[] = mss(MSS), o: { flags?: number; win?: number } = {}): this {
    if (!this.listener) this.listen(o.flags ?? 0);
    this.in('S', { seq: 0, win: o.win ?? 65535, options: synOptions });
    assert.equal(this.out(), ['S. 0 ack 1']);
    this.in('.', { win: o.win ?? 65535 });
    if (!o.flags) this.handle = this.m.core.accept(this.listener);
    this.m.events();
    return this;
  }

  /** Begins an active open by the core. */
  connect(o: { flags?: number; port?: number; localPort?: number } = {}): number {
    const { core } = this.m;
    this.handle = core.connect(this.address(F.PEER_IP), o.port ?? PEER_PORT, 0, o.localPort ?? 0, o.flags ?? 0);
    if (this.handle > 0) {
      core.flush(this.m.nowUs);
      const at = core.scratch;
      core.info(this.handle, at);
      this.port = core.dv.getUint32(at + L.INFO_local_port, true);
    }
    return this.handle;
  }

  /** The core's application writes `length` bytes. Returns what send() said. */
  write(length: number): number {
    const { core } = this.m;
    const addr = core.alloc(Math.max(length, 1));
    assert.ok(addr > 0, 'memory to write');
    core.u8.set(content(this.written, length), addr);
    const result = core.send(this.handle, addr, length);
    core.free(addr);
    if (result > 0) this.written += length;
    core.flush(this.m.nowUs);
    return result;
  }

  /** The core's application reads everything. Checks the content from byte `from` on; returns the number of bytes. */
  read(from: number): number {
    const { core } = this.m;
    let at = from;
    for (;;) {
      const pieces = core.recv(this.handle, core.scratch, 16);
      if (pieces <= 0) break;
      const list: [number, number][] = [];
      for (let i = 0; i < pieces; i++) {
        list.push([core.u32[(core.scratch >> 2) + 2 * i], core.u32[(core.scratch >> 2) + 2 * i + 1]]);
      }
      for (const [addr, length] of list) {
        assertContent(core.u8.subarray(addr, addr + length), at);
        at += length;
        assert.is(core.free(addr), 0);
      }
    }
    core.flush(this.m.nowUs);
    return at - from;
  }

  /** Time passes, in steps no longer than `stepUs`, with the timers run after each. */
  pass(us: number, stepUs = us): void {
    for (let left = us; left > 0; left -= stepUs) {
      this.m.nowUs += Math.min(left, stepUs);
      this.m.poll();
    }
  }

  kinds(handle = this.handle): number[] {
    return this.m
      .events()
      .filter(([h]) => h === handle)
      .map(([, kind]) => kind);
  }

  state(handle = this.handle): number {
    const { core } = this.m;
    return core.info(handle, core.scratch) < 0 ? -1 : core.dv.getUint32(core.scratch + L.INFO_state, true);
  }

  info(offset: number): number {
    const { core } = this.m;
    assert.is(core.info(this.handle, core.scratch), 0);
    return core.dv.getUint32(core.scratch + offset, true);
  }

  count(index: number): number {
    return this.m.core.counter(index);
  }

  /** Every teardown ends here: nothing is held, nobody is left but listeners. */
  done(): void {
    const { core } = this.m;
    if (this.handle > 0) core.abort(this.handle);
    if (this.listener > 0) core.close(this.listener);
    core.flush(this.m.nowUs);
    for (let i = 0; i < 60; i++) {
      this.m.take();
      this.m.events();
      this.pass(60e6);
    }
    this.m.take();
    assert.is(core.zbufInUse(), 0, 'Zbuf objects held at the end');
    assert.is(core.rxInUse(), 0, 'receive objects held at the end');
    for (let i = 0; i < core.config.maxConnections; i++) {
      assert.ok(core.connectionAt(i, core.scratch) < 0, `slot ${i} is in use at the end`);
    }
  }
}
