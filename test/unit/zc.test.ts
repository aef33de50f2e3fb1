// lunet/zc: memory by reference, callbacks inside the packet's processing, and polls once a burst.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import {
  type Iov,
  ZC_ERR,
  ZC_HUP,
  ZC_IN,
  ZC_NEW,
  ZC_OUT,
  ZC_RDHUP,
  type ZcConnection,
  type ZcPoll,
} from '../../src/host/zc/index.js';
import { until } from '../helpers/net-pair.js';
import { code, finish, open, SERVER, say } from '../helpers/zc-pair.js';

test('memory is written, viewed, shared and given back', async () => {
  const pair = await open();
  const zc = pair.server;
  const addr = zc.alloc(100);
  assert.ok(zc.room(addr) >= 100);
  assert.is(zc.write(addr, 'grüße'), 7);
  assert.is(zc.text(addr, 7), 'grüße');
  const view = zc.view(addr, 7);
  assert.is(zc.view(addr, 7), view, 'the view is cached');
  view[0] = 0x47;
  assert.is(zc.text(addr, 7), 'Grüße');
  assert.is(zc.memory[addr], 0x47);
  zc.dup(addr + 3);
  assert.is(zc.refCount(addr), 2);
  zc.free(addr);
  zc.free(addr + 50);
  assert.is(zc.refCount(addr), 0);
  assert.is(zc.stack.core.zbufInUse(), 0);
  await finish(pair);
});

test('misuse is an error with a code and harms nothing', async () => {
  const pair = await open();
  const zc = pair.server;
  assert.is(
    code(() => zc.alloc(0)),
    'ERR_OUT_OF_RANGE',
  );
  assert.is(
    code(() => zc.alloc(65537)),
    'ERR_OUT_OF_RANGE',
  );
  assert.is(
    code(() => zc.free(8192)),
    'ERR_LUNET_ZBUF_FOREIGN',
  );
  assert.is(
    code(() => zc.dup(0xffffff00)),
    'ERR_LUNET_ZBUF_FOREIGN',
  );
  const addr = zc.alloc(64);
  assert.is(
    code(() => zc.write(addr, Buffer.alloc(100_000))),
    'ERR_LUNET_ZBUF_RANGE',
  );
  assert.is(
    code(() => zc.view(addr, 70_000)),
    'ERR_LUNET_ZBUF_RANGE',
  );
  zc.free(addr);
  assert.is(
    code(() => zc.free(addr)),
    'ERR_LUNET_ZBUF_FREED',
  );
  assert.is(
    code(() => zc.dup(addr)),
    'ERR_LUNET_ZBUF_FREED',
  );
  assert.is(
    code(() => zc.view(addr, 1)),
    'ERR_LUNET_ZBUF_FREED',
  );
  const hoard: number[] = [];
  for (let next = zc.tryAlloc(65536); next !== 0; next = zc.tryAlloc(65536)) hoard.push(next);
  assert.is(
    code(() => zc.alloc(65536)),
    'ERR_LUNET_ZBUF_EXHAUSTED',
  );
  for (const each of hoard) zc.free(each);
  await finish(pair, 1n);
});

test('callback style: received pieces are sent back without a copy', async () => {
  const pair = await open();
  const { server, client } = pair;
  const order: string[] = [];
  const listener = server.listen(
    { port: 7 },
    {
      accept: (connection) => order.push(`accept ${connection.remoteAddress}`),
      data(connection, addr, len) {
        assert.ok(connection.send(addr, len));
        server.free(addr);
      },
      eof: (connection) => connection.end(),
      closed: () => order.push('server closed'),
    },
  );
  let received = '';
  let done = false;
  const connection = client.connect(
    { port: 7, address: SERVER },
    {
      connect(c) {
        order.push('connect');
        c.user = 'mine';
        say(client, c, 'ping');
      },
      data(c, addr, len) {
        received += client.text(addr, len);
        client.free(addr);
        assert.is(c.user, 'mine');
        if (received === 'ping') say(client, c, ' pong');
        else c.end();
      },
      closed() {
        done = true;
      },
    },
  );
  await until(() => done, 'the end');
  assert.is(received, 'ping pong');
  assert.is(connection.isOpen, false);
  await until(() => order.length === 3, 'the server’s end');
  assert.equal(order.slice().sort(), ['accept 10.0.0.2', 'connect', 'server closed'].sort());
  for (const { core } of pair.stacks) assert.is(core.counter(L.CNT_HostCopiedBytes), 0);
  listener.close();
  await finish(pair);
});

test('one object goes to many connections, and its memory comes back when all have it', async () => {
  const pair = await open();
  const { server, client } = pair;
  const members: ZcConnection[] = [];
  server.listen({ port: 9 }, { accept: (connection) => members.push(connection), eof: (c) => c.close() });
  const heard: string[] = [];
  const listeners: ZcConnection[] = [];
  for (let i = 0; i < 10; i++) {
    heard.push('');
    listeners.push(
      client.connect(
        { port: 9, address: SERVER },
        {
          data(_connection, addr, len) {
            heard[i] += client.text(addr, len);
            client.free(addr);
          },
        },
      ),
    );
  }
  await until(() => members.length === 10, 'ten members');
  const text = 'all of you '.repeat(300);
  const addr = server.alloc(text.length);
  server.write(addr, text);
  for (const member of members)
    assert.ok(
      member.sendv([
        { addr, len: 1000 },
        { addr: addr + 1000, len: text.length - 1000 },
      ]),
    );
  server.free(addr);
  assert.is(server.stack.core.zbufInUse() >= 1, true);
  await until(() => heard.every((each) => each === text), 'all have heard');
  for (const connection of listeners) connection.close();
  await finish(pair);
});

test('poll style: ready connections once a burst, pieces by recv()', async () => {
  const pair = await open();
  const { server, client } = pair;
  const iov: Iov = server.iov(16);
  let bursts = 0;
  const seen = new Set<number>();
  const serve = (poll: ZcPoll): void => {
    bursts++;
    for (let i = 0; i < poll.length; i++) {
      const connection = poll.at(i);
      const events = poll.events(i);
      for (const bit of [ZC_NEW, ZC_IN, ZC_RDHUP, ZC_HUP]) if (events & bit) seen.add(bit);
      if (events & ZC_IN) {
        while (connection.recv(iov) > 0) {
          assert.ok(connection.sendv(iov));
          for (let k = 0; k < iov.length; k++) server.free(iov.addr(k));
        }
      }
      if (events & ZC_RDHUP) connection.end();
      if (events & (ZC_HUP | ZC_ERR)) connection.close();
    }
  };
  const listener = server.listen({ port: 7 }, server.poll(serve));
  const poll = client.poll();
  const connection = client.connect({ port: 7, address: SERVER }, poll);
  assert.is(await poll.wait(), 1);
  assert.is(poll.at(0), connection);
  assert.ok(poll.events(0) & ZC_OUT);
  poll.clear();
  const text = 'by the burst '.repeat(1000);
  for (let at = 0; at < text.length; at += 5000) say(client, connection, text.slice(at, at + 5000));
  let echoed = '';
  const mine = client.iov(64);
  while (echoed.length < text.length) {
    await poll.wait();
    poll.clear();
    while (connection.recv(mine) > 0) {
      for (let k = 0; k < mine.length; k++) {
        echoed += client.text(mine.addr(k), mine.len(k));
        client.free(mine.addr(k));
      }
    }
  }
  assert.is(echoed, text);
  connection.end();
  let bits = 0;
  while (!(bits & ZC_HUP)) {
    await poll.wait();
    bits |= poll.events(0);
    poll.clear();
  }
  connection.close();
  await until(() => seen.has(ZC_HUP), 'the server’s end');
  assert.equal([...seen].sort(), [ZC_NEW, ZC_IN, ZC_RDHUP, ZC_HUP].sort());
  assert.ok(bursts > 0);
  listener.close();
  await finish(pair);
});

test('a full send queue says false, and writable follows', async () => {
  const pair = await open();
  const { server, client } = pair;
  let received = 0;
  server.listen(
    { port: 5 },
    {
      data(_connection, addr, len) {
        received += len;
        server.free(addr);
      },
      eof: (connection) => connection.close(),
    },
  );
  const total = 4 * 1024 * 1024;
  let sent = 0;
  let refusals = 0;
  const addr = client.alloc(65536);
  const fill = (connection: ZcConnection): void => {
    while (sent < total) {
      if (!connection.send(addr, 65536)) {
        refusals++;
        return;
      }
      sent += 65536;
    }
    connection.close();
  };
  client.connect({ port: 5, address: SERVER }, { connect: fill, writable: fill });
  await until(() => received === total, 'all bytes');
  assert.ok(refusals > 0);
  client.free(addr);
  await finish(pair);
});

test('closing a stack ends its connections with ECONNABORTED, in callbacks and in polls, and nothing begins on it afterwards', async () => {
  const pair = await open();
  const { server, client } = pair;
  const told: string[] = [];
  server.listen(
    { port: 5 },
    {
      error: (_connection, error) => told.push(`server ${(error as NodeJS.ErrnoException).code}`),
    },
  );
  let connected = false;
  const failing = client.connect(
    { port: 5, address: SERVER },
    {
      connect: () => (connected = true),
      error(_connection, error) {
        told.push(`client ${(error as NodeJS.ErrnoException).code}`);
      },
    },
  );
  const poll = client.poll();
  const polled = client.connect({ port: 5, address: SERVER }, poll);
  await until(() => connected, 'the connection');
  assert.is(await poll.wait(), 1);
  poll.clear();
  const waiting = poll.wait();
  const addr = client.alloc(100);
  polled.send(addr, 100);
  client.free(addr);
  await client.stack.close();
  assert.is(await waiting, 1);
  assert.is(poll.at(0), polled);
  assert.is(poll.events(0), ZC_ERR);
  assert.is(poll.errno(0), L.ECONNABORTED);
  await until(() => told.length === 3, 'both resets');
  assert.equal(told, ['client ECONNABORTED', 'server ECONNRESET', 'server ECONNRESET']);
  assert.is(failing.isOpen, false);
  polled.close();
  for (const call of [
    () => client.listen({ port: 6 }, {}),
    () => client.connect({ port: 5, address: SERVER }, {}),
    () => client.stack.bind({ port: 0 }, {}),
  ]) {
    assert.is(code(call), 'ECONNABORTED', String(call));
  }
  await finish(pair);
});

test('errors: refused connections, sends after end and close, unusable arguments', async () => {
  const pair = await open();
  const { server, client } = pair;
  let failure: NodeJS.ErrnoException | null = null;
  const refused = client.connect(
    { port: 1, address: SERVER },
    {
      error(_connection, error) {
        failure = error;
      },
    },
  );
  await until(() => failure !== null, 'the error');
  assert.is(failure!.code, 'ECONNREFUSED');
  assert.is(refused.isOpen, false);

  const accepted: ZcConnection[] = [];
  server.listen({ port: 5 }, { accept: (connection) => accepted.push(connection), error: () => undefined });
  let connected = false;
  const connection = client.connect({ port: 5, address: SERVER }, { connect: () => (connected = true) });
  await until(() => connected && accepted.length === 1, 'the connection');
  assert.is(
    code(() => connection.send(8192, 10)),
    'ERR_LUNET_ZBUF_FOREIGN',
  );
  const addr = client.alloc(100);
  assert.is(
    code(() => connection.send(addr, 100_000)),
    'ERR_LUNET_ZBUF_RANGE',
  );
  connection.end();
  assert.is(
    code(() => connection.send(addr, 10)),
    'EPIPE',
  );
  connection.close();
  assert.is(
    code(() => connection.send(addr, 10)),
    'EBADF',
  );
  client.free(addr);
  assert.is(
    code(() => connection.send(addr, 10)),
    'EBADF',
  );
  accepted[0].abort();
  assert.is(
    code(() => server.listen({ port: 5 }, {})),
    'EADDRINUSE',
  );
  assert.is(
    code(() => server.listen({ port: 70000 }, {})),
    'ERR_SOCKET_BAD_PORT',
  );
  assert.is(
    code(() => server.listen({ port: 1 }, null as never)),
    'ERR_INVALID_ARG_TYPE',
  );
  assert.is(
    code(() => client.connect({ port: 1, address: '192.0.2.1' }, {})),
    'ENETUNREACH',
  );
  await finish(pair, 1n);
});

test.run();
