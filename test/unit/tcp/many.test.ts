// Bursts of many connections (tcp/ahead.ts), and what is remembered of those that were used last (tcp/flow.ts, tcp/handle.ts):
// faster when they are cold, and otherwise as one by one, looked up each time.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import { assertContent, MSS, mss, Peer } from '../../helpers/peer.js';
import { type Random, random } from '../../helpers/random.js';

const CONNECTIONS = 48;
const FROM = 20_000;

/** Connections by the peer's port, each with what its application does with data: it answers. */
class Answering extends Peer {
  readonly handles = new Map<number, number>();
  readonly isses = new Map<number, number>();
  /** Bytes of each piece that has come. */
  readonly pieces: number[] = [];

  constructor(activeConnections: number) {
    super({ maxConnections: 64, activeConnections, rxRing: 256 }, (handle, kind, a, b) => {
      const { core } = this.m;
      if (kind === L.EV_ACCEPT) this.handles.set(this.from, a);
      if (kind !== L.EV_DATA) return;
      this.pieces.push(b);
      assert.is(core.send(handle, a, b), b);
      core.free(a);
    });
    this.listen(L.SOCK_INLINE, 64);
  }

  from = 0;

  open(from: number): void {
    this.from = from;
    this.in('S', { from, seq: 0, options: mss(MSS) });
    this.heard();
    this.isses.set(from, this.iss);
    this.in('.', { from });
  }

  data(from: number, seq: number, len: number, flags = 'P.'): Uint8Array {
    this.iss = this.isses.get(from) ?? 0;
    return this.frame(flags, { from, seq, len });
  }

  /** What has left the core, in an order that does not tell when. */
  frames(): string[] {
    return this.m
      .take()
      .map((frame) => Buffer.from(frame).toString('hex'))
      .sort();
  }
}

function opened(activeConnections: number): Answering {
  const p = new Answering(activeConnections);
  for (let i = 0; i < CONNECTIONS; i++) p.open(FROM + i);
  assert.is(p.handles.size, CONNECTIONS);
  return p;
}

/** A frame as it may come, and mostly one that is fine. */
function spoilt(r: Random, frame: Uint8Array): Uint8Array {
  const kind = r.below(10);
  if (kind === 0) return frame.slice(0, r.below(frame.length));
  if (kind === 1) frame[r.below(F.ETH + 40)] ^= 1 << r.below(8);
  return frame;
}

/** The same frames by `size` at a time. */
function inBursts(seed: number, size: number, activeConnections: number): unknown {
  const r = random(seed);
  const p = opened(activeConnections);
  p.frames();
  const frames: Uint8Array[] = [];
  for (let i = 0; i < CONNECTIONS; i++) {
    const from = FROM + ((i * 29) % CONNECTIONS);
    frames.push(spoilt(r, p.data(from, 1, 1 + r.below(200))));
    if (r.oneIn(8)) frames.push(p.data(from + CONNECTIONS, 1, 10));
  }
  for (let i = 0; i < frames.length; i += size) p.m.inject(...frames.slice(i, i + size));
  const { core } = p.m;
  const counters = core.counters();
  // How often connections change places is a matter of how many are wanted at a time.
  for (const name of ['TcpExtTCPParked', 'TcpExtTCPUnparked'] as const)
    delete (counters as Record<string, bigint>)[name];
  return { frames: p.frames(), pieces: p.pieces.sort((a, b) => a - b), counters, rx: core.rxInUse() };
}

for (const [slots, name] of [
  [64, 'with a slot for each'],
  [60, 'some of which are parked'],
] as const) {
  test(`a burst of many connections is taken as its frames one by one, ${name}`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const alone = inBursts(seed, 1, slots);
      for (const size of [2, 7, 100])
        assert.equal(inBursts(seed, size, slots), alone, `seed ${seed}, ${size} at a time`);
    }
  });
}

test('a descriptor that points anywhere is not followed', () => {
  const p = opened(64);
  const { core } = p.m;
  const at = core.u32[L.CTL_RX_AT >> 2] >> 2;
  const end = core.u8.length;
  const wild = [0, 1, 63, end - 64, end - 33, end - 1, end, end + 1, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff];
  const before = p.count(L.CNT_ZbufMisuse);
  wild.forEach((address, i) => {
    // Behind a frame that nobody keeps, whose object is used twice.
    const frame = p.data(FROM + CONNECTIONS, 1, 0, '.');
    p.m.inject(frame);
    core.u32.set([core.u32[at], frame.length, 0, 0, address, 2000, 0, 0], at);
    core.ingest(2, p.m.nowUs);
    assert.is(p.count(L.CNT_ZbufMisuse), before + i + 1, `address ${address}`);
  });
});

test('a new connection with the ports and addresses of one that is gone is found, wherever the old slot is', () => {
  const p = new Answering(64);
  for (const from of [FROM, FROM + 1]) p.open(from);
  // It has sent: something is expected to come for it.
  p.m.inject(p.data(FROM, 1, 10));
  p.frames();
  const { core } = p.m;
  const old = p.handles.get(FROM) ?? 0;
  // The slot that is given back last is taken first: not that of the connection that will have the same ports.
  for (const from of [FROM, FROM + 1]) assert.is(core.abort(p.handles.get(from) ?? 0), 0);
  core.flush(p.m.nowUs);
  p.frames();
  p.pieces.length = 0;
  p.open(FROM);
  const handle = p.handles.get(FROM) ?? 0;
  assert.is.not(handle, old);
  p.m.inject(p.data(FROM, 1, 100));
  assert.equal(p.pieces, [100]);
  const [answer] = p.heard();
  assert.is(answer.payload.length, 100);
  assertContent(answer.payload, 0);
  assert.is(core.send(old, core.scratch, 1), -L.EBADF);
  assert.is(core.send(handle, core.scratch, 0), 0);
});

test('a handle is stale at once, and another connection’s is not taken for it', () => {
  const p = new Answering(64);
  p.open(FROM);
  p.open(FROM + 1);
  const { core } = p.m;
  const [a, b] = [p.handles.get(FROM) ?? 0, p.handles.get(FROM + 1) ?? 0];
  p.m.inject(p.data(FROM, 1, 10));
  assert.is(core.send(a, core.scratch, 0), 0);
  assert.is(core.close(a), 0);
  assert.is(core.send(a, core.scratch, 0), -L.EBADF);
  assert.is(core.send(b, core.scratch, 0), 0);
  // An orphan's segments are found still, and do not bring the handle back.
  p.m.inject(p.data(FROM, 11, 0, '.'));
  assert.is(core.send(a, core.scratch, 0), -L.EBADF);
});

test.run();
