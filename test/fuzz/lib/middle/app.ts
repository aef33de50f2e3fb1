// Two applications on two cores, and what each byte between them must be. They rely on events alone to go on, so that an
// event which never comes leaves a connection unfinished.
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../../src/host/core/address.js';
import type { DrivenCore } from '../../../../src/host/core/driven.js';
import * as L from '../../../../src/host/core/layout.js';
import type { Random } from '../../../helpers/random.js';
import { type Cores, introduce } from '../cores.js';

export const PORT = 80;
export const ADDRESSES = ['10.0.0.1', '10.0.0.2'] as const;
export const MACS = [new Uint8Array([2, 0, 0, 0, 0, 1]), new Uint8Array([2, 0, 0, 0, 0, 2])] as const;
const CHUNK = 4096;
const PIECES = 32;

/** One side's half of a connection, and the byte stream that goes out of it. */
export interface End {
  readonly side: number;
  readonly connection: Connection;
  handle: number;
  /** Bytes the application will write in all, and has written. */
  plan: number;
  written: number;
  /** Bytes of the other side's stream that it has read. */
  read: number;
  blocked: boolean;
  /** Batch sockets: data waits, and the application does not want it now. */
  paused: boolean;
  finished: boolean;
  eof: boolean;
  /** errno that ended it; 0 = none. */
  error: number;
  /** The application has no more to do with it. */
  gone: boolean;
  /** First sequence number of its stream, once a SYN of this end has been seen on the wire. */
  isn: number | null;
  /** Ranges of its stream that the middle has forged, by offset. */
  readonly forged: [number, number][];
}

export interface Connection {
  readonly id: number;
  readonly port: number;
  /** Client and server. */
  readonly ends: [End, End];
  /** The middle has done what may end or stall the connection. */
  tainted: boolean;
  /** The middle has changed what the streams are counted from. */
  lost: boolean;
}

function contentAt(id: number, side: number, offset: number): number {
  return (offset * 31 + (offset >> 8) * 7 + id * 59 + side * 101) & 255;
}

export class Apps {
  readonly hosts: readonly [DrivenCore, DrivenCore];
  readonly connections: Connection[] = [];
  readonly #ends = [new Map<number, End>(), new Map<number, End>()] as const;
  readonly #inline: readonly boolean[];
  nowUs = 1_000_000;

  constructor(r: Random, cores: Cores, config: () => Parameters<Cores['open']>[0]) {
    const open = (side: number): DrivenCore =>
      cores.open(
        { ...config(), mac: MACS[side] },
        (handle, kind, a, b) => this.#event(side, handle, kind, a, b),
        ADDRESSES[side],
      );
    this.hosts = [open(0), open(1)];
    this.#inline = [r.oneIn(3), r.oneIn(3)];
    for (const side of [0, 1]) introduce(this.hosts[side].core, ADDRESSES[1 - side], MACS[1 - side]);
    const { core } = this.hosts[1];
    core.u8.fill(0, core.scratch, core.scratch + 16);
    assert.ok(core.listen(core.scratch, PORT, 8, this.#inline[1] ? L.SOCK_INLINE : 0) > 0);
  }

  connect(clientBytes: number, serverBytes: number): void {
    const id = this.connections.length;
    const port = 50_000 + id;
    const connection: Connection = { id, port, ends: [] as unknown as [End, End], tainted: false, lost: false };
    const end = (side: number, plan: number): End => ({
      side,
      connection,
      handle: 0,
      plan,
      written: 0,
      read: 0,
      blocked: true,
      paused: false,
      finished: false,
      eof: false,
      error: 0,
      gone: false,
      isn: null,
      forged: [],
    });
    connection.ends.push(end(0, clientBytes), end(1, serverBytes));
    const { core } = this.hosts[0];
    writeAddress(core.u8, core.scratch, ADDRESSES[1]);
    const handle = core.connect(core.scratch, PORT, 0, port, this.#inline[0] ? L.SOCK_INLINE : 0);
    if (handle < 0) return;
    connection.ends[0].handle = handle;
    this.connections.push(connection);
    this.#ends[0].set(handle, connection.ends[0]);
  }

  #event(side: number, handle: number, kind: number, a: number, b: number): void {
    const { core } = this.hosts[side];
    if (kind === L.EV_ACCEPT) {
      if (a !== 0) this.#accepted(a);
      else for (let h = core.accept(handle); h >= 0; h = core.accept(handle)) this.#accepted(h);
      return;
    }
    const end = this.#ends[side].get(handle);
    if (kind === L.EV_DATA && b !== 0) {
      if (end) this.#check(end, a, b);
      assert.is(core.free(a), 0);
    }
    if (!end) return;
    if (kind === L.EV_DATA && b === 0) this.drain(end);
    else if (kind === L.EV_CONNECT || kind === L.EV_WRITE) {
      end.blocked = false;
      this.write(end);
    } else if (kind === L.EV_EOF) {
      end.eof = true;
    } else if (kind === L.EV_ERROR) {
      end.error = a;
      this.leave(end, 'close');
    }
    this.settle(end);
  }

  #accepted(handle: number): void {
    const { core } = this.hosts[1];
    assert.is(core.info(handle, core.scratch), 0);
    const port = core.dv.getUint32(core.scratch + L.INFO_remote_port, true);
    const end = this.connections.find((c) => c.port === port)?.ends[1];
    if (end?.handle !== 0) {
      // What a forged SYN has opened.
      core.abort(handle);
      return;
    }
    end.handle = handle;
    end.blocked = false;
    this.#ends[1].set(handle, end);
    this.write(end);
  }

  /** Writes until the core has enough. */
  write(end: End): void {
    const { core } = this.hosts[end.side];
    while (!end.gone && !end.finished && !end.blocked && end.handle > 0) {
      const length = Math.min(CHUNK, end.plan - end.written);
      if (length === 0) {
        // An end that has been reset meanwhile hears of that by its event.
        core.shutdown(end.handle);
        end.finished = true;
        break;
      }
      const addr = core.alloc(length);
      // Memory is short: each round of the loop tries again.
      if (addr === 0) return;
      for (let i = 0; i < length; i++) core.u8[addr + i] = contentAt(end.connection.id, end.side, end.written + i);
      const result = core.send(end.handle, addr, length);
      core.free(addr);
      if (result < 0) end.blocked = true;
      else end.written += length;
    }
  }

  drain(end: End): void {
    const { core } = this.hosts[end.side];
    while (!end.gone && !end.paused) {
      const pieces = core.recv(end.handle, core.scratch, PIECES);
      if (pieces <= 0) return;
      const list = Array.from({ length: 2 * pieces }, (_, i) => core.u32[(core.scratch >> 2) + i]);
      for (let i = 0; i < list.length; i += 2) {
        this.#check(end, list[i], list[i + 1]);
        assert.is(core.free(list[i]), 0);
      }
    }
  }

  /** What has arrived must be what the other side has written, but for what the middle forged. */
  #check(end: End, addr: number, length: number): void {
    const { core } = this.hosts[end.side];
    const { connection } = end;
    const from = connection.ends[1 - end.side];
    const at = end.read;
    end.read += length;
    if (connection.lost) return;
    for (let i = 0; i < length; i++) {
      const offset = at + i;
      const isForged = from.forged.some(([start, stop]) => offset >= start && offset < stop);
      if (isForged) continue;
      const where = `byte ${offset} from ${from.side === 0 ? 'the client' : 'the server'} of connection ${connection.id}`;
      assert.ok(offset < from.written, `${where} was never sent`);
      assert.is(core.u8[addr + i], contentAt(connection.id, from.side, offset), `${where} is right`);
    }
  }

  /** Lets go of an end that has nothing left to do. */
  settle(end: End): void {
    if (!end.gone && end.eof && end.finished && !end.paused) this.leave(end, 'close');
  }

  leave(end: End, how: 'close' | 'abort'): void {
    if (end.gone || end.handle === 0) return;
    end.gone = true;
    this.hosts[end.side].core[how](end.handle);
  }

  /** Events of batch sockets, and writes that lacked memory. */
  serve(): void {
    for (const side of [0, 1]) {
      for (const [handle, kind, a, b] of this.hosts[side].events()) this.#event(side, handle, kind, a, b);
      for (const { ends } of this.connections) this.write(ends[side]);
      for (const { ends } of this.connections) this.settle(ends[side]);
    }
  }

  /** No connection may fail that the middle has not tampered with, and each has all its bytes. */
  assertFinished({ id, ends }: Connection): void {
    for (const end of ends) {
      const name = `the ${end.side === 0 ? 'client' : 'server'} of connection ${id}`;
      assert.is(end.error, 0, `${name} has no error`);
      assert.is(end.read, ends[1 - end.side].plan, `${name} has read everything`);
      assert.ok(end.eof && end.gone, `${name} has come to its end`);
    }
  }
}
