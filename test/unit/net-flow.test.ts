// lunet/net: much data, slow readers, many connections.
import { createHash } from 'node:crypto';
import { pipeline, Readable, Transform, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Socket } from '../../src/host/net/socket.js';
import { connected, finish, listening, next, openEnds, readAll, SERVER_ADDRESS, until } from '../helpers/net-pair.js';

const MIB = 1024 * 1024;

/** The same pseudo-random bytes for the same length and seed, made piece by piece. */
function* pattern(bytes: number, seed: number): Generator<Buffer> {
  const block = Buffer.alloc(64 * 1024 - 13);
  let state = seed >>> 0 || 1;
  for (let made = 0; made < bytes; ) {
    for (let i = 0; i + 4 <= block.length; i += 4) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      block.writeInt32LE(state, i);
    }
    const n = Math.min(block.length, bytes - made);
    made += n;
    yield Buffer.from(block.subarray(0, n));
  }
}

function digest(chunks: Iterable<Buffer>): string {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
}

test('64 MiB both ways at once arrive whole', async () => {
  const ends = await openEnds();
  const bytes = 64 * MIB;
  // Neither side may end its own when it has heard the other's end.
  const both = { allowHalfOpen: true };
  const { near, far, server } = await connected(ends, { server: both, client: both });
  // Not `for await`: at its end it destroys the socket, and with it the half that still sends.
  const hashed = (socket: Socket): Promise<string> =>
    new Promise((resolve) => {
      const hash = createHash('sha256');
      socket.on('data', (chunk: Buffer) => hash.update(chunk));
      socket.on('end', () => resolve(hash.digest('hex')));
    });
  const received = [hashed(near), hashed(far)];
  Readable.from(pattern(bytes, 1), { objectMode: false }).pipe(near);
  Readable.from(pattern(bytes, 2), { objectMode: false }).pipe(far);
  assert.is(await received[0], digest(pattern(bytes, 2)));
  assert.is(await received[1], digest(pattern(bytes, 1)));
  assert.is(near.bytesRead, bytes);
  assert.is(near.bytesWritten, bytes);
  server.close();
  await finish(ends);
});

test('a slow reader holds the writer back: what is queued stays bounded', async () => {
  const ends = await openEnds({ sndBufBytes: 128 * 1024, rcvBufBytes: 128 * 1024 });
  const { near, far, server } = await connected(ends);
  let written = 0;
  const chunk = Buffer.alloc(32 * 1024, 'y');
  const fill = (): void => {
    while (near.write(chunk)) written += chunk.length;
    written += chunk.length;
  };
  near.on('drain', fill);
  fill();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const stalled = written;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.is(written, stalled, 'the writer waits');
  // Both core queues, the streams' own marks and an object under way.
  assert.ok(stalled < 128 * 1024 * 4 + 4 * 64 * 1024, `${stalled} bytes accepted`);
  near.off('drain', fill);
  near.end();
  // Slowly at first, then as fast as it goes.
  let received = 0;
  let reads = 0;
  const slow = new Writable({
    highWaterMark: 16 * 1024,
    write(data: Buffer, _encoding, done) {
      received += data.length;
      if (reads++ < 20) setTimeout(done, 2);
      else done();
    },
  });
  await promisify(pipeline)(far, slow);
  assert.is(received, written);
  server.close();
  await finish(ends);
});

test('a batch of small writes becomes few objects, in order', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  const before = ends.clientStack.core.counters().ZbufAllocs;
  const received = readAll(far);
  near.cork();
  let expected = '';
  for (let i = 0; i < 2000; i++) {
    near.write(i % 2 === 0 ? `line ${i}\n` : Buffer.from(`line ${i}\n`));
    expected += `line ${i}\n`;
  }
  near.uncork();
  near.end();
  assert.is((await received).toString(), expected);
  const objects = ends.clientStack.core.counters().ZbufAllocs - before;
  assert.ok(objects < 100n, `${objects} objects for ${expected.length} bytes`);
  server.close();
  await finish(ends);
});

test('500 connections at once each get their own answer', async () => {
  const ends = await openEnds();
  const upper = (): Transform =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        done(null, chunk.toString().toUpperCase());
      },
    });
  const server = ends.server.createServer((socket) => {
    socket.pipe(upper()).pipe(socket);
  });
  const port = await listening(server);
  const talk = async (i: number): Promise<void> => {
    const socket = ends.client.connect(port, SERVER_ADDRESS);
    const text = `connection ${i} `.repeat(200);
    socket.end(text);
    assert.is((await readAll(socket)).toString(), text.toUpperCase());
  };
  await Promise.all(Array.from({ length: 500 }, (_, i) => talk(i)));
  server.close();
  await next(server, 'close');
  await finish(ends);
});

test('a sender that finds the object pools empty goes on when there is memory', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  const { core } = ends.clientStack;
  const hoard: number[] = [];
  for (let size = 65536; size >= 64; size /= 2) {
    for (let addr = core.alloc(size); addr !== 0; addr = core.alloc(size)) hoard.push(addr);
  }
  let text = '';
  far.on('data', (data: Buffer) => {
    text += data.toString();
  });
  near.write('starved');
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.is(text, '');
  for (const addr of hoard) core.free(addr);
  await until(() => text === 'starved', 'the write goes on');
  near.destroy();
  far.destroy();
  server.close();
  await finish(ends);
});

test.run();
