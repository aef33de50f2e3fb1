import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Framer, nextId, slotOf, writeRequests } from '../../src/host/knbench/frame.js';
import { random } from '../helpers/random.js';

function requests(sizes: readonly number[]): Uint8Array {
  const parts = sizes.map((size, i) => {
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, size, true);
    view.setUint32(4, i + 1, true);
    return bytes;
  });
  return new Uint8Array(Buffer.concat(parts));
}

/** Feeds `stream` in pieces of the given sizes (the last repeated) and returns what the framer found. */
function scan(stream: Uint8Array, pieceSizes: readonly number[]): { id: number; length: number; end: number }[] {
  const framer = new Framer();
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const found: { id: number; length: number; end: number }[] = [];
  for (let at = 0, i = 0; at < stream.length; i++) {
    const end = Math.min(stream.length, at + pieceSizes[Math.min(i, pieceSizes.length - 1)]);
    for (let next = framer.next(view, at, end); next >= 0; next = framer.next(view, next, end)) {
      found.push({ id: framer.id, length: framer.length, end: next });
    }
    at = end;
  }
  assert.not.ok(framer.bad);
  return found;
}

const SIZES = [16, 64, 17, 4096, 100, 16, 16, 333];

function expected(sizes: readonly number[]): { id: number; length: number; end: number }[] {
  let end = 0;
  return sizes.map((length, i) => {
    end += length;
    return { id: i + 1, length, end };
  });
}

for (const piece of [1, 2, 3, 7, 8, 9, 15, 16, 17, 1460, 100_000]) {
  test(`messages are found in pieces of ${piece} bytes`, () => {
    assert.equal(scan(requests(SIZES), [piece]), expected(SIZES));
  });
}

test('messages are found in pieces of random sizes', () => {
  const { below } = random(7);
  const sizes = Array.from({ length: 200 }, () => 16 + below(3000));
  const stream = requests(sizes);
  for (let round = 0; round < 50; round++) {
    const pieces = Array.from({ length: 5000 }, () => 1 + below(200));
    assert.equal(scan(stream, pieces), expected(sizes));
  }
});

for (const length of [0, 8, 15, 16 * 1024 * 1024 + 1, 0xffffffff]) {
  test(`a message length of ${length} makes the stream bad`, () => {
    const framer = new Framer();
    const view = new DataView(new ArrayBuffer(64));
    view.setUint32(0, length, true);
    assert.is(framer.next(view, 0, 64), -1);
    assert.ok(framer.bad);
  });
}

test('a slot gets a new id with every use, and keeps its slot', () => {
  let id = 5;
  const seen = new Set<number>();
  for (let i = 0; i < 1000; i++) {
    assert.is(slotOf(id), 5);
    assert.not.ok(seen.has(id));
    seen.add(id);
    id = nextId(id);
  }
  assert.is(slotOf(nextId(0xfffffc05)), 5, 'across the wrap of 32 bits');
});

test('requests lie one behind the other with their slots as first ids', () => {
  const bytes = new Uint8Array(3 * 40);
  assert.equal([...writeRequests(bytes, 40, 3)], [0, 1, 2]);
  assert.equal(
    scan(bytes, [120]).map(({ id, length }) => [id, length]),
    [
      [0, 40],
      [1, 40],
      [2, 40],
    ],
  );
});

test.run();
