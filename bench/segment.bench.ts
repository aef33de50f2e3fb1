// Segments of one established connection, with timestamps and SACK: the next data in, an ACK in, a segment out, data out
// of order in. The peer is played by hand; its frames lie in the cache.
import * as L from '../src/host/core/layout.js';
import { ETH } from '../test/helpers/frames.js';
import { MSS, mss, Peer, sackPermitted, timestamps, wscale } from '../test/helpers/peer.js';
import { begin, bench, type Case } from './harness.js';
import { openRings, type Rings } from './rings.js';

const BURST = 32;
/** Segments of one phase: more than a burst, so that reading the clock does not count. */
const PHASE = 2 * BURST;
const TS = timestamps(1, 0);
/** Timestamps take 12 bytes of every segment. */
const PAYLOAD = MSS - 12;
const SEQ_AT = ETH + 20 + 4;
const ACK_AT = ETH + 20 + 8;
const CHECKSUM_AT = ETH + 20 + 16;
const TRUST = L.CFGF_RX_TRUST | L.CFGF_TX_NO_CSUM;

class Connection {
  readonly peer: Peer;
  readonly rings: Rings;
  /** Next of each side's sequence numbers, as they stand in the peer's segments. */
  seq: number;
  ack: number;
  private handle = 0;

  constructor(flags: number, objects: number, frameOptions: { len: number }) {
    this.peer = new Peer(
      {
        flags: L.CFGF_ARP | L.CFGF_TIMESTAMPS | L.CFGF_SACK | L.CFGF_WINDOW_SCALE | flags,
        sndBufBytes: 1 << 20,
        rcvBufBytes: 1 << 20,
        oooObjects: 256,
      },
      (_handle, kind, a) => {
        if (kind === L.EV_ACCEPT) this.handle = a;
        if (kind === L.EV_DATA) this.peer.m.core.free(a);
      },
    );
    const { peer } = this;
    peer.listen(L.SOCK_INLINE);
    peer.in('S', { seq: 0, options: [...mss(MSS), ...sackPermitted(), ...TS, ...wscale(7)] });
    peer.heard();
    peer.in('.', { options: TS });
    if (this.handle === 0) throw new Error('the connection did not open');
    peer.handle = this.handle;
    const frame = peer.frame('.', { ...frameOptions, options: TS });
    const view = new DataView(frame.buffer);
    this.seq = view.getUint32(SEQ_AT);
    this.ack = view.getUint32(ACK_AT);
    this.frameBytes = frame.length;
    this.rest = view.getUint16(CHECKSUM_AT) + half(this.seq) + half(this.ack);
    this.rings = openRings(peer.m, objects);
    for (const object of this.rings.objects) peer.m.core.u8.set(frame, object);
  }

  readonly frameBytes: number;
  /** The template's checksum without its sequence numbers, not folded: a checksum is the complement of a sum. */
  private readonly rest: number;

  /** Makes the frame of object `i` say these numbers. */
  write(i: number, seq: number, ack: number): void {
    const { dv } = this.peer.m.core;
    const at = this.rings.objects[i];
    dv.setUint32(at + SEQ_AT, seq);
    dv.setUint32(at + ACK_AT, ack);
    let sum = this.rest + (0x1fffe - half(seq)) + (0x1fffe - half(ack));
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    dv.setUint16(at + CHECKSUM_AT, sum);
  }

  counter(index: number): number {
    return this.peer.m.core.counter(index);
  }
}

const half = (word: number): number => (word >>> 16) + (word & 0xffff);

/** Throws unless everything injected so far was taken for what it is. */
function expectTaken(connection: Connection, counter: number, what: string): void {
  if (connection.counter(L.CNT_TcpInCsumErrors) > 0) throw new Error(`${what}: wrong checksums`);
  if (connection.counter(counter) === 0) throw new Error(`${what} did not happen`);
}

function dataIn(name: string, flags: number, len: number): Case {
  const c = new Connection(flags, BURST, { len });
  const run = (): void => {
    for (let i = 0; i < BURST; i++) {
      c.write(i, c.seq, c.ack);
      c.seq = (c.seq + len) >>> 0;
    }
    c.rings.receive(0, BURST, c.frameBytes);
    c.rings.take();
  };
  run();
  expectTaken(c, L.CNT_TcpExtTCPHPHits, name);
  return { name, operations: BURST, bytes: len, run };
}

/** Sends segments and has them acknowledged one by one: the two phases of the next two cases. */
function sender(flags: number): { send(): void; acknowledge(): void; connection: Connection } {
  const connection = new Connection(flags, PHASE, { len: 0 });
  const { peer, rings } = connection;
  const { core } = peer.m;
  const object = core.alloc(PAYLOAD);
  let acked = connection.ack;
  return {
    connection,
    send() {
      for (let i = 0; i < PHASE; i++) {
        if (core.send(peer.handle, object, PAYLOAD) < 0) throw new Error('the send queue is full');
      }
      rings.flush();
    },
    acknowledge() {
      rings.take();
      for (let i = 0; i < PHASE; i++) {
        acked = (acked + PAYLOAD) >>> 0;
        connection.write(i, connection.seq, acked);
      }
      for (let i = 0; i < PHASE; i += BURST) rings.receive(i, BURST, connection.frameBytes);
      rings.take();
    },
  };
}

function segmentOut(name: string, flags: number): Case {
  const { send, acknowledge, connection } = sender(flags);
  send();
  acknowledge();
  expectTaken(connection, L.CNT_TcpExtTCPHPAcks, name);
  return { name, operations: PHASE, bytes: PAYLOAD, prepare() {}, run: send, settle: acknowledge };
}

function ackIn(name: string): Case {
  const { send, acknowledge, connection } = sender(TRUST);
  send();
  acknowledge();
  expectTaken(connection, L.CNT_TcpExtTCPHPAcks, name);
  return { name, operations: PHASE, prepare: send, run: acknowledge };
}

/** `order` of a burst behind a hole, which is filled afterwards. */
function outOfOrder(name: string, order: readonly number[]): Case {
  const c = new Connection(TRUST, BURST + 1, { len: PAYLOAD });
  const run = (): void => c.rings.receive(0, BURST, c.frameBytes);
  const prepare = (): void => {
    for (let i = 0; i < BURST; i++) c.write(i, (c.seq + (1 + order[i]) * PAYLOAD) >>> 0, c.ack);
    c.write(BURST, c.seq, c.ack);
  };
  const settle = (): void => {
    c.rings.receive(BURST, 1, c.frameBytes);
    c.rings.take();
    c.seq = (c.seq + (BURST + 1) * PAYLOAD) >>> 0;
  };
  prepare();
  run();
  settle();
  expectTaken(c, L.CNT_TcpExtTCPOFOQueue, name);
  return { name, operations: BURST, prepare, run, settle };
}

const ascending = Array.from({ length: BURST }, (_, i) => i);
/** 13 and 32 have no common divisor: every place comes up once, far from the one before. */
const scattered = ascending.map((i) => (i * 13) % BURST);

const setting = begin({
  what: 'Segments of one connection; the answers (every second ACK, SACK of each piece) are part of the figures',
  link: 'none: the rings are worked by hand',
  offloads: 'none: checksums in software except where trusted; no TSO, no GRO',
});
bench(setting, [
  dataIn(`in-order data in, ${PAYLOAD} B, checksum verified`, 0, PAYLOAD),
  dataIn(`in-order data in, ${PAYLOAD} B, checksum trusted`, TRUST, PAYLOAD),
  dataIn('in-order data in, 64 B, checksum trusted', TRUST, 64),
  ackIn('pure ACK in, of one segment'),
  segmentOut(`segment out, ${PAYLOAD} B, checksum computed`, L.CFGF_RX_TRUST),
  segmentOut(`segment out, ${PAYLOAD} B, no checksum`, TRUST),
  outOfOrder('out-of-order insert, at the end', ascending),
  outOfOrder('out-of-order insert, scattered', scattered),
]);
