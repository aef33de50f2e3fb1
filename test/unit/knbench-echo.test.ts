// The zero-copy echo against a core of the test's own, which refuses and takes sends as the test wants.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listenZc } from '../../src/host/knbench/zc.js';
import type { SocketHandler, Stack } from '../../src/host/stack.js';
import { random } from '../helpers/random.js';

const HANDLE = 5;
const EAGAIN = 11;
const EPIPE = 32;

interface Echo {
  handler: SocketHandler;
  /** Bytes the send queue takes before it says EAGAIN. */
  room: number;
  sendResult: number | undefined;
  sent: number[];
  /** References held on objects, by object. */
  references: Map<number, number>;
  ended: string[];
  /** Puts bytes into an object of their own and hands it over as the core does. */
  receive(bytes: Uint8Array): void;
}

const OBJECT = 4096;

function echo(): Echo {
  const memory = new Uint8Array(8 * 1024 * 1024);
  const dv = new DataView(memory.buffer);
  const scratch = 0;
  let nextObject = OBJECT;
  const objectOf = (addr: number): number => addr - (addr % OBJECT);
  const hold = (addr: number, by: number): number => {
    const object = objectOf(addr);
    const count = (state.references.get(object) ?? 0) + by;
    assert.ok(count >= 0, 'an object was freed twice');
    if (count === 0) state.references.delete(object);
    else state.references.set(object, count);
    return 0;
  };
  const take = (pieces: readonly (readonly [number, number])[]): number => {
    if (state.sendResult !== undefined) return state.sendResult;
    const total = pieces.reduce((sum, [, len]) => sum + len, 0);
    if (total > state.room) return -EAGAIN;
    state.room -= total;
    for (const [addr, len] of pieces) {
      assert.ok(state.references.has(objectOf(addr)), 'a freed object was sent');
      state.sent.push(...memory.subarray(addr, addr + len));
    }
    return total;
  };
  const core = {
    dv,
    scratch,
    dup: (addr: number) => hold(addr, 1),
    free: (addr: number) => hold(addr, -1),
    send: (_handle: number, addr: number, len: number) => take([[addr, len]]),
    sendv: (_handle: number, iov: number, count: number) =>
      take(
        Array.from({ length: count }, (_, i) => [dv.getUint32(iov + 8 * i, true), dv.getUint32(iov + 8 * i + 4, true)]),
      ),
    close: () => state.ended.push('close'),
    abort: () => state.ended.push('abort'),
  };
  const state: Echo = {
    handler: {},
    room: Number.POSITIVE_INFINITY,
    sendResult: undefined,
    sent: [],
    references: new Map(),
    ended: [],
    receive(bytes) {
      const addr = nextObject + 66;
      nextObject += OBJECT;
      if (nextObject + OBJECT > memory.length) nextObject = OBJECT;
      memory.set(bytes, addr);
      hold(addr, 1);
      state.handler.data?.(addr, bytes.length);
    },
  };
  const stack = {
    core,
    listen: (_options: unknown, handler: SocketHandler) => {
      handler.accept?.(HANDLE);
      return 1;
    },
    setHandler: (_handle: number, handler: SocketHandler) => {
      state.handler = handler;
    },
    release: () => state.ended.push('release'),
  };
  listenZc(stack as unknown as Stack, 7);
  return state;
}

function message(length: number, id: number): Uint8Array {
  const bytes = new Uint8Array(length).map((_, i) => (i * 7 + id) & 0xff);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setUint32(4, id, true);
  return bytes;
}

test('a message that is whole in one piece goes straight back', () => {
  const e = echo();
  e.receive(message(100, 1));
  assert.equal(e.sent, [...message(100, 1)]);
  assert.is(e.references.size, 0);
});

test('nothing is sent before a message is complete', () => {
  const e = echo();
  const whole = message(3000, 1);
  e.receive(whole.subarray(0, 1460));
  e.receive(whole.subarray(1460, 2999));
  assert.is(e.sent.length, 0);
  assert.is(e.references.size, 2);
  e.receive(whole.subarray(2999));
  assert.equal(e.sent, [...whole]);
  assert.is(e.references.size, 0);
});

test('a piece that ends one message and begins another is held for the second', () => {
  const e = echo();
  const both = Uint8Array.from([...message(50, 1), ...message(60, 2)]);
  e.receive(both.subarray(0, 70));
  assert.is(e.sent.length, 50);
  assert.is(e.references.size, 1);
  e.receive(both.subarray(70));
  assert.equal(e.sent, [...both]);
  assert.is(e.references.size, 0);
});

test('streams in random pieces through a queue that is often full come back whole and in order', () => {
  const { below, oneIn } = random(11);
  for (let round = 0; round < 20; round++) {
    const e = echo();
    const stream = Buffer.concat(Array.from({ length: 60 }, (_, i) => message(16 + below(4000), i)));
    e.room = 0;
    for (let at = 0; at < stream.length; ) {
      const n = Math.min(stream.length - at, oneIn(3) ? 1 + below(9) : 1 + below(1460));
      e.receive(stream.subarray(at, at + n));
      at += n;
      if (oneIn(4)) {
        e.room += below(6000);
        e.handler.writable?.();
      }
    }
    e.room = Number.POSITIVE_INFINITY;
    e.handler.writable?.();
    assert.is(Buffer.compare(Buffer.from(e.sent), stream), 0, `round ${round}`);
    assert.is(e.references.size, 0, 'every reference is given back');
    assert.equal(e.ended, []);
  }
});

test('more pieces than one call takes go out in several', () => {
  const e = echo();
  const whole = message(1200, 3);
  for (const byte of whole) e.receive(Uint8Array.of(byte));
  assert.equal(e.sent, [...whole]);
  assert.is(e.references.size, 0);
});

for (const [name, cause, how] of [
  [
    'a stream that is not ours',
    (e: Echo) => {
      e.receive(message(40, 1).subarray(5));
      e.receive(new Uint8Array(40));
    },
    'abort',
  ],
  ['the end of the peer’s stream', (e: Echo) => e.handler.eof?.(), 'close'],
  ['an error', (e: Echo) => e.handler.error?.(104), 'close'],
  [
    'a refused send',
    (e: Echo) => {
      e.sendResult = -EPIPE;
      e.receive(message(16, 9));
    },
    'abort',
  ],
] as const) {
  test(`${name} ends the connection once and gives everything back`, () => {
    const e = echo();
    e.receive(message(40, 1).subarray(0, 5));
    if (name === 'a refused send') e.receive(message(40, 1).subarray(5));
    cause(e);
    e.handler.closed?.();
    assert.equal(e.ended, [how, 'release']);
    assert.is(e.references.size, 0);
    e.receive(new Uint8Array(10));
    assert.is(e.references.size, 0, 'late data is freed');
  });
}

test.run();
