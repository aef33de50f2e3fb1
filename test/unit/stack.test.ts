// Two stacks of one process on a memory hub, in real time: what the loop and the event dispatch promise.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { memoryLink, openStack, type SocketHandler, type Stack, type StackOptions } from '../../src/host/index.js';

let hubs = 0;

async function pair(options: Partial<StackOptions> = {}): Promise<[Stack, Stack]> {
  const hub = `stack-${hubs++}`;
  const open = (address: string): Promise<Stack> =>
    openStack({ link: memoryLink(hub), address, zones: 12, rxZones: 2, maxConnections: 64, ...options });
  return [await open('10.0.0.1/24'), await open('10.0.0.2/24')];
}

async function until(condition: () => boolean, what: string, ms = 3000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Puts `text` into an object and sends it; the object is the core's alone afterwards. */
function sendText(stack: Stack, handle: number, text: string): number {
  const addr = stack.core.alloc(text.length);
  stack.core.u8.set(Buffer.from(text), addr);
  const sent = stack.core.send(handle, addr, text.length);
  stack.core.free(addr);
  stack.kick();
  return sent;
}

/** Reads everything that is queued. */
function receiveText(stack: Stack, handle: number): string {
  const { core } = stack;
  let text = '';
  for (let pieces = core.recv(handle, core.scratch, 16); pieces > 0; pieces = core.recv(handle, core.scratch, 16)) {
    for (let i = 0; i < pieces; i++) {
      const addr = core.u32[(core.scratch >> 2) + 2 * i];
      text += Buffer.from(core.u8.subarray(addr, addr + core.u32[(core.scratch >> 2) + 2 * i + 1])).toString();
    }
    for (let i = 0; i < pieces; i++) core.free(core.u32[(core.scratch >> 2) + 2 * i]);
  }
  return text;
}

async function finish(...stacks: Stack[]): Promise<void> {
  for (const stack of stacks) await stack.close();
  for (const { core } of stacks) {
    assert.is(core.zbufInUse(), 0);
    assert.is(core.rxInUse(), 0);
  }
}

test('a batch server answers a batch client', async () => {
  const [server, client] = await pair();
  server.listen(
    { port: 80 },
    {
      accept(handle) {
        server.setHandler(handle, {
          data: () => sendText(server, handle, receiveText(server, handle).toUpperCase()),
          eof() {
            server.core.close(handle);
            server.release(handle);
          },
        });
      },
    },
  );
  let answer = '';
  let closed = false;
  const handle = client.connect(
    { address: '10.0.0.1', port: 80 },
    {
      connect: () => sendText(client, handle, 'hello'),
      data() {
        answer += receiveText(client, handle);
        client.core.shutdown(handle);
        client.kick();
      },
      closed() {
        closed = true;
        client.core.close(handle);
        client.release(handle);
      },
    },
  );
  await until(() => closed, 'both sides closed');
  assert.is(answer, 'HELLO');
  await finish(server, client);
});

test('an inline server sends received objects on without copying', async () => {
  const [server, client] = await pair();
  const { core } = server;
  server.listen(
    { port: 80, inline: true },
    {
      accept(handle) {
        server.setHandler(handle, {
          data(addr, length) {
            core.send(handle, addr, length);
            core.free(addr);
          },
        });
      },
    },
  );
  let got = 0;
  const total = 200_000;
  const addr = client.core.alloc(50_000);
  const handle = client.connect(
    { address: '10.0.0.1', port: 80, inline: true },
    {
      connect() {
        for (let i = 0; i < total / 50_000; i++) assert.is(client.core.send(handle, addr, 50_000), 50_000);
        client.core.free(addr);
      },
      data(piece, length) {
        got += length;
        client.core.free(piece);
      },
    },
  );
  await until(() => got === total, 'all bytes came back');
  for (const stack of [server, client]) {
    assert.is(stack.core.counter(L.CNT_CopiedBytes), 0);
    assert.is(stack.core.counter(L.CNT_TcpRetransSegs), 0);
  }
  await finish(server, client);
});

test('an exception in an inline callback surfaces as uncaught and the stack goes on', async () => {
  const [server, client] = await pair();
  const seen: unknown[] = [];
  const listener = (error: unknown): void => {
    seen.push(error);
  };
  process.on('uncaughtException', listener);
  let calls = 0;
  server.listen(
    { port: 80, inline: true },
    {
      accept(handle) {
        server.setHandler(handle, {
          data(addr) {
            server.core.free(addr);
            if (++calls === 1) throw new Error('from the application');
          },
        });
      },
    },
  );
  const handle = client.connect({ address: '10.0.0.1', port: 80 }, { connect: () => sendText(client, handle, 'a') });
  await until(() => calls === 1, 'first call');
  sendText(client, handle, 'b');
  await until(() => calls === 2, 'second call');
  process.off('uncaughtException', listener);
  assert.is((seen[0] as Error).message, 'from the application');
  await finish(server, client);
});

test('a port nobody listens on refuses', async () => {
  const [server, client] = await pair();
  let errno = 0;
  client.connect({ address: '10.0.0.1', port: 81 }, { error: (e) => (errno = e) });
  await until(() => errno !== 0, 'an error');
  assert.is(errno, L.ECONNREFUSED);
  await finish(server, client);
});

test('listening twice is EADDRINUSE, an unreachable network ENETUNREACH, in the shape of Node’s errors', async () => {
  const [server, client] = await pair();
  server.listen({ port: 80 }, {});
  assert.throws(
    () => server.listen({ port: 80 }, {}),
    (e: { code: string; port: number; syscall: string }) =>
      e.code === 'EADDRINUSE' && e.port === 80 && e.syscall === 'listen',
  );
  assert.throws(
    () => client.connect({ address: '192.0.2.1', port: 80 }, {}),
    (e: { code: string; address: string }) => e.code === 'ENETUNREACH' && e.address === '192.0.2.1',
  );
  await finish(server, client);
});

test('options that cannot be are refused by code before anything is opened for good', async () => {
  for (const [code, options] of [
    ['ERR_LUNET_ADDRESS', { address: undefined }],
    ['ERR_INVALID_ADDRESS', { address: '10.0.0.1/99' }],
    ['ERR_INVALID_ADDRESS', { gateway: 'somewhere' }],
    ['ERR_INVALID_ARG_VALUE', { profile: 'bogus' }],
    ['ERR_OUT_OF_RANGE', { maxConnections: 0 }],
    ['ERR_OUT_OF_RANGE', { zones: 2, rxZones: 2 }],
    ['ERR_OUT_OF_RANGE', { portRange: [5, 1] }],
    ['ERR_OUT_OF_RANGE', { delackUs: 500_000 }],
    ['ERR_LUNET_CORE', { zones: 5000 }],
    ['ERR_LUNET_URI', { link: 'carrier-pigeon:' }],
  ] as const) {
    const all = { link: 'memory:refused', address: '10.0.0.1/24', ...options } as StackOptions;
    try {
      await openStack(all);
      assert.unreachable(JSON.stringify(options));
    } catch (error) {
      assert.is((error as { code: string }).code, code, (error as Error).message);
    }
  }
});

test('closing a stack resets its connections and frees everything', async () => {
  const [server, client] = await pair();
  let errno = 0;
  server.listen({ port: 80 }, { accept: (handle) => server.setHandler(handle, {} as SocketHandler) });
  let connected = false;
  const handle = client.connect(
    { address: '10.0.0.1', port: 80 },
    {
      connect: () => (connected = true),
      error(e) {
        errno = e;
        client.core.close(handle);
        client.release(handle);
      },
    },
  );
  await until(() => connected, 'a connection');
  await server.close();
  await until(() => errno !== 0, 'a reset');
  assert.is(errno, L.ECONNRESET);
  await finish(server, client);
});

test('an idle stack with a listener and an open connection uses under 5 % of a core', async () => {
  const [server, client] = await pair();
  let accepted = false;
  server.listen(
    { port: 80 },
    {
      accept(handle) {
        accepted = true;
        server.setHandler(handle, {});
      },
    },
  );
  client.connect({ address: '10.0.0.1', port: 80 }, {});
  await until(() => accepted, 'a connection');
  await new Promise((resolve) => setTimeout(resolve, 100));
  const before = process.cpuUsage();
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const used = process.cpuUsage(before);
  const share = (used.user + used.system) / 1000 / (performance.now() - start);
  assert.ok(share < 0.05, `both stacks together used ${(share * 100).toFixed(1)} % of a core`);
  await finish(server, client);
});

test('a stack that nothing holds runs at full speed all the same while the process lives', async () => {
  const hub = memoryLink(`stack-${hubs++}`);
  let bursts = 0;
  const link = {
    ...hub,
    burst: (): number => {
      bursts++;
      return hub.burst();
    },
  };
  const options = { address: '10.0.0.1/24', zones: 12, rxZones: 2, maxConnections: 64, loop: { idleSpinUs: 500_000 } };
  const stack = await openStack({ link, ...options });
  // Nothing but the timer is left to wake libuv.
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(bursts > 100, `${bursts} bursts`);
  await finish(stack);
});

test('checksums are filled in and checked unless trustLink says otherwise (RFC 9293 MUST-2, MUST-3)', async () => {
  const hub = `stack-${hubs++}`;
  const open = (address: string, options: Partial<StackOptions>): Promise<Stack> =>
    openStack({ link: memoryLink(hub), address, zones: 12, rxZones: 2, maxConnections: 64, ...options });
  const usual = await open('10.0.0.1/24', {});
  const trusting = await open('10.0.0.2/24', { trustLink: true });
  assert.is(usual.core.config.flags & (L.CFGF_TX_NO_CSUM | L.CFGF_RX_TRUST), 0);
  let accepted = 0;
  usual.listen({ port: 80 }, { accept: () => accepted++ });
  const handle = trusting.connect({ address: '10.0.0.1', port: 80 }, {});
  await until(() => usual.core.counter(L.CNT_TcpInCsumErrors) > 1, 'segments without a checksum');
  assert.is(accepted, 0);
  trusting.core.abort(handle);
  trusting.release(handle);
  await Promise.all([usual.close(), trusting.close()]);
});

test.run();
