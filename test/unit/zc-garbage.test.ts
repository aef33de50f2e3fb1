// What is claimed to allocate nothing allocates nothing: bytes of JavaScript heap for each message, measured over so many
// that an object for each would have filled the young generation, and no collection in between.
import { GCProfiler, getHeapStatistics } from 'node:v8';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ZC_IN, ZC_OUT, ZC_RDHUP, type Zc, type ZcConnection } from '../../src/host/zc/index.js';
import { MIRROR, openMirrored } from '../helpers/mirror-link.js';
import { finish } from '../helpers/zc-pair.js';

const WARM_UP = 60_000;
const MEASURED = 100_000;
/** An object has 12 bytes at least; what the loop itself needs for its turns of libuv is far less than this each. */
const MOST_BYTES = 4;

const CONNECTIONS = 28;

const heap = (): number => getHeapStatistics().used_heap_size;

/** Counts echoes: resolves with the bytes of heap that one of them took. */
function meter(): { echoed(): boolean; result: Promise<number> } {
  let echoes = 0;
  let before = 0;
  let resolve: (bytes: number) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const result = new Promise<number>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  const profiler = new GCProfiler();
  return {
    result,
    /** False when there have been enough. */
    echoed() {
      echoes++;
      if (echoes === WARM_UP) {
        profiler.start();
        before = heap();
      }
      if (echoes < WARM_UP + MEASURED) return true;
      const after = heap();
      const collections = profiler.stop()?.statistics.length ?? 0;
      if (collections > 0) reject(new Error(`${collections} collections while ${MEASURED} messages were echoed`));
      else resolve((after - before) / MEASURED);
      return false;
    },
  };
}

async function judge(zc: Zc, result: Promise<number>): Promise<void> {
  try {
    const bytes = await result;
    assert.ok(bytes < MOST_BYTES, `${bytes} bytes a message`);
  } catch (error) {
    await zc.stack.close();
    throw error;
  }
  await finish({ stacks: [zc.stack] });
}

test('callbacks, send() of received pieces and sendv() of an iov', async () => {
  const zc = await openMirrored({ yieldUs: 20_000 });
  const iov = zc.iov(2);
  zc.listen(
    { port: 7 },
    {
      data(connection, addr, len) {
        connection.send(addr, len);
        zc.free(addr);
      },
      eof: (connection) => connection.end(),
    },
  );
  const { echoed, result } = meter();
  const ask = (connection: ZcConnection): void => {
    const addr = zc.allocMessage(64);
    zc.memory[addr] = 1;
    iov
      .clear()
      .push(addr, 20)
      .push(addr + 20, 44);
    connection.sendv(iov);
    zc.free(addr);
  };
  zc.connect(
    { port: 7, address: MIRROR },
    {
      connect: ask,
      data(connection, addr, _len) {
        zc.free(addr);
        if (echoed()) ask(connection);
        else connection.end();
      },
    },
  );
  await judge(zc, result);
});

test('polls: what a turn takes, shared by the connections that were ready in it', async () => {
  const zc = await openMirrored({ yieldUs: 20_000 });
  const pieces = zc.iov(8);
  const take = (connection: ZcConnection, back: boolean): number => {
    let taken = 0;
    while (connection.recv(pieces) > 0) {
      if (back) connection.sendv(pieces);
      for (let k = 0; k < pieces.length; k++) zc.free(pieces.addr(k));
      taken += pieces.length;
    }
    return taken;
  };
  const serve = zc.poll((ready) => {
    for (let i = 0; i < ready.length; i++) {
      if (ready.events(i) & ZC_IN) take(ready.at(i), true);
      if (ready.events(i) & ZC_RDHUP) ready.at(i).close();
    }
  });
  zc.listen({ port: 7 }, serve);
  const { echoed, result } = meter();
  let enough = false;
  const asking = zc.poll((ready) => {
    for (let i = 0; i < ready.length; i++) {
      const connection = ready.at(i);
      if (ready.events(i) & ZC_IN) {
        for (let taken = take(connection, false); taken > 0; taken--) if (!enough) enough = !echoed();
      }
      if (enough) connection.close();
      else if (ready.events(i) & (ZC_IN | ZC_OUT)) {
        const addr = zc.allocMessage(64);
        zc.memory[addr] = 1;
        connection.send(addr, 64);
        zc.free(addr);
      }
    }
  });
  for (let i = 0; i < CONNECTIONS; i++) zc.connect({ port: 7, address: MIRROR }, asking);
  await judge(zc, result);
});

test.run();
