// Frames like the last one are recognised by their words (ip/repeat.ts): whatever is in a frame, a core that does so does
// and says what one does that looks at every field.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import * as F from '../helpers/frames.js';
import { testConfig } from '../helpers/manual.js';
import { MSS, mss, Peer, timestamps } from '../helpers/peer.js';

const IP = 20;
const HEADERS = F.ETH + IP + 32;
const OPTIONS = timestamps(2, 0);

/** A connection with timestamps whose last segment has gone the fast way. */
function primed(flags: number): Peer {
  const p = new Peer({ flags: testConfig.flags | flags });
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(1, 0)] });
  p.out();
  p.in('.', { options: OPTIONS });
  p.handle = p.m.core.accept(p.listener);
  p.m.events();
  for (let i = 0; i < 3; i++) p.in('.', { seq: 1 + 100 * i, len: 100, options: OPTIONS });
  assert.ok(p.count(L.CNT_TcpExtTCPHPHits) >= 2, 'the fast path has been taken');
  p.read(0);
  p.m.take();
  p.m.events();
  return p;
}

interface Outcome {
  counters: Record<string, bigint>;
  frames: string[];
  events: unknown;
  read: number;
  held: number[];
}

function outcome(flags: number, change: (frame: Uint8Array) => Uint8Array): Outcome {
  const p = primed(flags);
  const { core } = p.m;
  p.m.inject(change(p.frame('P.', { seq: 301, len: 100, options: OPTIONS })));
  const events = p.m.events();
  const pieces = core.recv(p.handle, core.scratch, 16);
  let read = 0;
  for (let i = 0; i < pieces; i++) {
    const [addr, length] = [core.u32[(core.scratch >> 2) + 2 * i], core.u32[(core.scratch >> 2) + 2 * i + 1]];
    read += length;
    assert.is(core.free(addr), 0);
  }
  const frames = p.m.take().map((frame) => Buffer.from(frame).toString('hex'));
  return { counters: core.counters(), frames, events, read, held: [core.rxInUse(), core.zbufInUse()] };
}

function same(change: (frame: Uint8Array) => Uint8Array, what: string): void {
  assert.equal(outcome(0, change), outcome(L.CFGF_NO_GRO, change), what);
}

test('a frame that is as the last one is taken with the same result', () => {
  same((frame) => frame, 'unchanged');
  assert.is(outcome(0, (frame) => frame).read, 100);
});

for (const [fixed, name] of [
  [true, 'with checksums that fit'],
  [false, 'with checksums as they were'],
] as const) {
  test(`any byte of the headers changed, ${name}`, () => {
    for (let at = 0; at < HEADERS; at++) {
      for (const mask of [0x01, 0x80]) {
        same((frame) => {
          frame[at] ^= mask;
          // The lengths of the packet say where the checksums are taken over.
          if (fixed && at !== F.ETH && (at < F.ETH + 2 || at > F.ETH + 3)) F.fixChecksums(frame);
          return frame;
        }, `byte ${at} by ${mask}`);
      }
    }
  });
}

test('a packet that ends in its TCP header or before the frame does', () => {
  for (let total = IP; total <= IP + 32 + 100; total++) {
    same((frame) => {
      const short = frame.slice(0, F.ETH + total);
      new DataView(short.buffer).setUint16(F.ETH + 2, total);
      F.fixChecksums(short);
      // And once more with Ethernet's padding.
      return total % 2 === 0 ? short : Uint8Array.from([...short, ...new Uint8Array(60)]);
    }, `total length ${total}`);
  }
  for (let length = F.ETH; length < HEADERS + 100; length++) same((frame) => frame.slice(0, length), `${length} bytes`);
});

test.run();
