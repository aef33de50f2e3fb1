import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadNative } from '../../src/host/link/native.js';
import * as nl from '../../src/host/netlink/constants.js';
import { interfaceInfo } from '../../src/host/netlink/interface.js';
import { encodeMessage } from '../../src/host/netlink/messages.js';

const native = loadNative();

/** kDatagramsPerWakeup of native/netlink.cc. */
const MOST_DATAGRAMS = 16;

test('the loopback interface is described', async () => {
  const info = await interfaceInfo(native, 'lo');
  assert.is(info.loopback, true);
  assert.is(info.index, 1);
});

test('an interface that does not exist is ENODEV', async () => {
  let code = '';
  await interfaceInfo(native, 'lunet-none').catch((error: NodeJS.ErrnoException) => {
    code = error.code ?? '';
  });
  assert.is(code, 'ENODEV');
});

test('wrong arguments throw and open nothing', () => {
  const code = (error: NodeJS.ErrnoException): boolean => error.code === 'ERR_INVALID_ARG_TYPE';
  const open = native.openNetlink as (...args: unknown[]) => unknown;
  assert.throws(() => open(), code);
  assert.throws(() => open(0, () => undefined), code);
  const socket = native.openNetlink(
    0,
    () => undefined,
    () => undefined,
  );
  assert.throws(() => (socket.send as (bytes: unknown) => void)('text'), code);
  socket.close();
});

test('a closed socket says EBADF, and closing twice is harmless', () => {
  const socket = native.openNetlink(
    0,
    () => undefined,
    () => undefined,
  );
  socket.close();
  socket.close();
  socket.ref();
  socket.unref();
  assert.throws(
    () => socket.send(new Uint8Array(16)),
    (error: NodeJS.ErrnoException) => error.code === 'EBADF',
  );
});

test('what a callback throws is an uncaught exception and not a crash', async () => {
  const caught = new Promise<Error>((resolve) => process.once('uncaughtException', resolve));
  const socket = native.openNetlink(
    0,
    () => {
      throw new Error('from the callback');
    },
    () => undefined,
  );
  // An empty RTM_GETLINK is answered with an error message.
  const request = new Uint8Array(16);
  new DataView(request.buffer).setUint32(0, 16, true);
  request[4] = 18;
  request[6] = 1 | 4;
  socket.send(request);
  assert.is((await caught).message, 'from the callback');
  socket.close();
});

test('a flood of datagrams is taken a few at a time, with a turn of libuv in between', async () => {
  let taken = 0;
  const socket = native.openNetlink(
    0,
    () => taken++,
    () => assert.unreachable('nothing is lost'),
  );
  const total = 200;
  // The kernel answers within the call.
  for (let i = 0; i < total; i++) {
    socket.send(encodeMessage(nl.NLMSG_NOOP, nl.NLM_F_REQUEST | nl.NLM_F_ACK, i, new Uint8Array(0)));
  }
  const turns: number[] = [];
  for (let last = 0; last < total && turns.length < 1000; last = taken) {
    await new Promise((resolve) => setImmediate(resolve));
    turns.push(taken - last);
  }
  assert.is(taken, total);
  assert.ok(Math.max(...turns) <= MOST_DATAGRAMS, `${turns} in the turns of libuv`);
  socket.close();
});

test('a worker that ends with its socket open takes nothing down', async () => {
  const module = new URL('../../src/host/link/native.js', import.meta.url).href;
  const source = `
    import(${JSON.stringify(module)}).then(({ loadNative }) => {
      loadNative().openNetlink(1, () => undefined, () => undefined);
      require('node:worker_threads').parentPort.postMessage('open');
    });`;
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(source, { eval: true });
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    assert.is(await worker.terminate(), 1);
  }
});

test.run();
