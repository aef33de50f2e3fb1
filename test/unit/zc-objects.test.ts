// Objects that many hold at once: multicast, forwarding, a receive pool that the application has pinned, and misuse.
import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { createZc, ZC_IN, ZC_RDHUP, type Zc, type ZcConnection, type ZcHandler } from '../../src/host/zc/index.js';
import { until } from '../helpers/net-pair.js';
import { code, finish, open, openStacks, SERVER, say } from '../helpers/zc-pair.js';

const content = (length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 37 + (i >> 9)) & 255));
const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

for (const message of [false, true]) {
  test(`one ${message ? 'message' : 'object'} to a thousand connections, some of them aborted: every reference is given up once`, async () => {
    const members = 1000;
    const pair = await open({ maxConnections: 2048, rxZones: 6, zones: 24, lossPermille: 10 });
    const { server, client } = pair;
    const accepted: ZcConnection[] = [];
    server.listen(
      { port: 9, backlog: members },
      { accept: (connection) => accepted.push(connection), eof: (c) => c.close() },
    );
    const bytes = content(3001);
    const heard = new Map<number, string>();
    const listeners: ZcConnection[] = [];
    for (let i = 0; i < members; i++) {
      const parts: Buffer[] = [];
      listeners.push(
        client.connect(
          { port: 9, address: SERVER },
          {
            data(connection, addr, len) {
              parts.push(Buffer.from(client.view(addr, len)));
              client.free(addr);
              const whole = Buffer.concat(parts);
              if (whole.length === bytes.length) heard.set(i, hashOf(whole));
              // A tenth of them hangs up in the middle.
              else if (i % 10 === 3) connection.abort();
            },
          },
        ),
      );
    }
    await until(() => accepted.length === members, 'all members', 20_000);
    const addr = message ? server.allocMessage(bytes.length) : server.alloc(bytes.length);
    server.write(addr, bytes);
    for (const member of accepted) assert.ok(member.send(addr, bytes.length));
    assert.ok(server.refCount(addr) >= 1 + members, 'ours, one each, and those of frames under way');
    for (let i = 0; i < members; i += 10) accepted[i].abort();
    const reached = listeners.filter((connection, i) => connection.isOpen && i % 10 !== 3);
    const open9 = (): number => listeners.filter((connection, i) => i % 10 !== 3 && connection.isOpen).length;
    assert.is(reached.length, 900);
    await until(() => server.refCount(addr) === 1, 'all acknowledged', 20_000);
    const right = hashOf(bytes);
    for (const hash of heard.values()) assert.is(hash, right);
    assert.is(heard.size >= open9(), true);
    server.free(addr);
    assert.is(server.refCount(addr), 0);
    assert.is(
      code(() => server.free(addr)),
      'ERR_LUNET_ZBUF_FREED',
    );
    for (const connection of listeners) connection.close();
    for (const connection of accepted) connection.close();
    await finish(pair, 1n);
  });
}

/** Sends `bytes` in pieces of an object each, then FIN. */
function sendAll(zc: Zc, connection: ZcConnection, bytes: Uint8Array, state: { sent: number }): void {
  while (state.sent < bytes.length) {
    const part = bytes.subarray(state.sent, state.sent + 5000);
    const addr = zc.alloc(part.length);
    zc.write(addr, part);
    const queued = connection.send(addr, part.length);
    zc.free(addr);
    if (!queued) return;
    state.sent += part.length;
  }
  connection.end();
}

/** What came from one side and the other's send queue had no room for yet, and whether the end follows. */
interface Half {
  other: ZcConnection;
  waiting: [number, number][];
  ended: boolean;
}

/** Callbacks that send what arrives on to `user.other`, by reference. */
function relay(zc: Zc): ZcHandler {
  const halfOf = (connection: ZcConnection): Half => connection.user as Half;
  const pump = (half: Half): void => {
    while (half.waiting.length > 0) {
      const [addr, len] = half.waiting[0];
      if (!half.other.send(addr, len)) return;
      zc.free(addr);
      half.waiting.shift();
    }
    if (half.ended) half.other.end();
  };
  return {
    data(connection, addr, len) {
      halfOf(connection).waiting.push([addr, len]);
      pump(halfOf(connection));
    },
    writable: (connection) => pump(halfOf(halfOf(connection).other)),
    eof(connection) {
      halfOf(connection).ended = true;
      pump(halfOf(connection));
    },
  };
}

const half = (other: ZcConnection): Half => ({ other, waiting: [], ended: false });

test('a proxy sends received objects on, both ways, through losses, and gives each back once', async () => {
  const stacks = await openStacks(3, { lossPermille: 20 });
  const [proxy, client, origin] = stacks.map(createZc);
  origin.listen(
    { port: 80 },
    {
      ...relay(origin),
      accept(connection) {
        connection.user = half(connection);
      },
    },
  );
  proxy.listen(
    { port: 8080 },
    {
      ...relay(proxy),
      accept(connection) {
        const other = proxy.connect({ port: 80, address: '10.0.0.3' }, relay(proxy));
        connection.user = half(other);
        other.user = half(connection);
      },
    },
  );
  const bytes = content(2_000_003);
  const state = { sent: 0 };
  const parts: Buffer[] = [];
  let done = false;
  client.connect(
    { port: 8080, address: SERVER },
    {
      connect: (connection) => sendAll(client, connection, bytes, state),
      writable: (connection) => sendAll(client, connection, bytes, state),
      data(_connection, addr, len) {
        parts.push(Buffer.from(client.view(addr, len)));
        client.free(addr);
      },
      closed: () => {
        done = true;
      },
    },
  );
  await until(() => done, 'the echo', 30_000);
  assert.is(hashOf(Buffer.concat(parts)), hashOf(bytes));
  const { core } = proxy.stack;
  assert.ok(core.counter(L.CNT_TcpRetransSegs) > 0, 'something was lost');
  assert.is(core.counter(L.CNT_HostCopiedBytes), 0);
  await finish({ stacks });
});

test('a receive pool that the application has pinned is full again when it lets go, and nothing is lost', async () => {
  const pair = await open({ rxZones: 1, rcvBufBytes: 4 << 20, sndBufBytes: 4 << 20 });
  const { server, client } = pair;
  const bytes = content(4_000_000);
  const held: [number, number][] = [];
  const parts: Buffer[] = [];
  let pinning = true;
  let eof = false;
  const keep = (addr: number, len: number): void => {
    parts.push(Buffer.from(server.view(addr, len)));
    server.free(addr);
  };
  server.listen(
    { port: 5 },
    {
      data(_connection, addr, len) {
        if (pinning) held.push([addr, len]);
        else keep(addr, len);
      },
      eof(connection) {
        eof = true;
        connection.end();
      },
    },
  );
  const state = { sent: 0 };
  client.connect(
    { port: 5, address: SERVER },
    {
      connect: (connection) => sendAll(client, connection, bytes, state),
      writable: (connection) => sendAll(client, connection, bytes, state),
    },
  );
  const free = (): number => pair.stacks[0].link.stats().rxFreeObjects;
  const whole = free();
  await until(() => pair.stacks[0].link.stats().rxNoObject > 0, 'a pool without an object');
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.is(held.length + free() >= whole - 1, true, `${held.length} held, ${free()} free of ${whole}`);
  pinning = false;
  for (const [addr, len] of held) keep(addr, len);
  await until(() => eof, 'the end', 20_000);
  assert.is(hashOf(Buffer.concat(parts)), hashOf(bytes));
  await until(() => free() === whole, 'the pool is full again');
  await finish(pair);
});

test('what is queued outlives the application’s last reference, and is out of its reach: an error each, and the peer gets it whole', async () => {
  const pair = await open({ rcvBufBytes: 8192 });
  const { server, client } = pair;
  const poll = server.poll();
  server.listen({ port: 5 }, poll);
  let connected = false;
  const connection = client.connect({ port: 5, address: SERVER }, { connect: () => (connected = true) });
  await until(() => connected, 'the connection');
  // The peer does not read, so this stays queued.
  const filler = client.alloc(60_000);
  client.view(filler, 60_000).fill(46);
  assert.ok(connection.send(filler, 60_000));
  client.free(filler);
  const queued = [client.alloc(100), client.allocMessage(100)];
  for (const addr of queued) {
    client.write(addr, 'mine');
    assert.ok(connection.send(addr, 4));
    client.free(addr);
    const references = client.refCount(addr);
    assert.ok(references >= 1, 'the queue’s');
    for (const call of [
      () => client.free(addr),
      () => client.free(addr + 3),
      () => client.dup(addr),
      () => client.view(addr, 4),
      () => client.write(addr, 'evil'),
      () => client.text(addr, 4),
      () => connection.send(addr, 4),
      () => connection.sendv([{ addr, len: 4 }]),
      () => connection.sendUrgent(addr, 4),
    ]) {
      assert.is(code(call), 'ERR_LUNET_ZBUF_FREED', String(call));
      assert.is(client.refCount(addr), references, String(call));
    }
    assert.is(client.room(addr), 0);
  }
  // Whoever asks for memory now gets other objects.
  for (let i = 0; i < 100; i++) client.write(client.alloc(100), 'evil');
  for (let i = 0; i < 100; i++) client.write(client.allocMessage(100), 'evil');
  connection.end();
  await until(() => poll.length > 0, 'the server’s end');
  const accepted = poll.at(0);
  const iov = server.iov(64);
  let text = '';
  await until(() => {
    while (accepted.recv(iov) > 0) {
      for (let i = 0; i < iov.length; i++) {
        text += server.text(iov.addr(i), iov.len(i));
        server.free(iov.addr(i));
      }
    }
    return text.length === 60_008;
  }, 'all of it');
  assert.is(text.slice(60_000), 'minemine');
  assert.is(client.stack.core.counter(L.CNT_ZbufMisuse), 18);
  accepted.close();
  await until(() => client.stack.core.zbufInUse() === 200, 'the queued objects are given up');
  for (const stack of pair.stacks) await stack.close();
});

test('a received piece that was sent on and freed cannot be freed from under the connection', async () => {
  const pair = await open();
  const { server, client } = pair;
  const codes: string[] = [];
  for (const style of ['callbacks', 'poll']) {
    const iov = server.iov(8);
    const echo = (connection: ZcConnection, addr: number, len: number): void => {
      connection.send(addr, len);
      server.free(addr);
      for (let i = 0; i < 3; i++) codes.push(code(() => server.free(addr)));
    };
    const listener = server.listen(
      { port: 5 },
      style === 'callbacks'
        ? { data: echo, eof: (connection) => connection.end() }
        : server.poll((ready) => {
            for (let i = 0; i < ready.length; i++) {
              const connection = ready.at(i);
              if (ready.events(i) & ZC_IN && connection.recv(iov) > 0) echo(connection, iov.addr(0), iov.len(0));
              if (ready.events(i) & ZC_RDHUP) connection.close();
            }
          }),
    );
    let heard = '';
    let closed = false;
    client.connect(
      { port: 5, address: SERVER },
      {
        connect: (connection) => say(client, connection, style),
        data(connection, addr, len) {
          heard += client.text(addr, len);
          client.free(addr);
          connection.end();
        },
        closed: () => (closed = true),
      },
    );
    await until(() => closed, 'the echo');
    assert.is(heard, style);
    listener.close();
  }
  assert.equal(codes, new Array(6).fill('ERR_LUNET_ZBUF_FREED'));
  await finish(pair, 6n);
});

test('sending, sharing, viewing and freeing what is freed or foreign: an error each, and nothing is sent or changed', async () => {
  const pair = await open();
  const { server, client } = pair;
  let heard = '';
  server.listen(
    { port: 5 },
    {
      data(_connection, addr, len) {
        heard += server.text(addr, len);
        server.free(addr);
      },
      eof: (connection) => connection.close(),
    },
  );
  let connected = false;
  const connection = client.connect({ port: 5, address: SERVER }, { connect: () => (connected = true) });
  await until(() => connected, 'the connection');
  const good = client.allocMessage(100);
  client.write(good, 'good');
  const freed = client.alloc(100);
  const view = client.view(freed, 4);
  assert.is(client.view(freed, 4), view);
  client.free(freed);
  const calls: [string, (addr: number) => unknown][] = [
    ['send', (addr) => connection.send(addr, 4)],
    ['sendUrgent', (addr) => connection.sendUrgent(addr, 4)],
    [
      'sendv',
      (addr) =>
        connection.sendv([
          { addr: good, len: 4 },
          { addr, len: 4 },
        ]),
    ],
    ['dup', (addr) => client.dup(addr)],
    ['free', (addr) => client.free(addr)],
    ['view', (addr) => client.view(addr, 4)],
    ['text', (addr) => client.text(addr, 4)],
    ['write', (addr) => client.write(addr, 'evil')],
  ];
  const zoneless = client.memory.length - 8;
  for (const [name, call] of calls) {
    assert.is(
      code(() => call(freed)),
      'ERR_LUNET_ZBUF_FREED',
      `${name} of a freed object`,
    );
    for (const addr of [0, 4096, good - 1, zoneless, -1, 2 ** 31, Number.NaN]) {
      assert.match(
        code(() => call(addr)),
        /^ERR_LUNET_ZBUF_(FOREIGN|FREED)$/,
        `${name} at ${addr}`,
      );
    }
  }
  assert.is(
    code(() =>
      connection.sendv([
        { addr: good, len: 4 },
        { addr: good, len: 60_000 },
      ]),
    ),
    'ERR_LUNET_ZBUF_RANGE',
  );
  // An address beyond those of WebAssembly is not the one that it would be cut to.
  for (const addr of [good + 2 ** 32, good + 0.5, -good, Number.NaN, undefined as never]) {
    for (const call of [
      () => client.free(addr),
      () => client.dup(addr),
      () => connection.send(addr, 1),
      () => connection.sendUrgent(addr, 1),
      () => connection.sendv([{ addr, len: 1 }]),
    ]) {
      assert.is(code(call), 'ERR_LUNET_ZBUF_FOREIGN', `${call} with ${addr}`);
    }
  }
  assert.is(
    code(() => connection.sendv([null as never])),
    'ERR_INVALID_ARG_TYPE',
  );
  // A length that is no length queues nothing: what was meant is not known.
  for (const len of [-1, 1.5, 2 ** 32 + 4, Number.NaN, undefined as never]) {
    for (const call of [
      () => connection.send(good, len),
      () => connection.sendUrgent(good, len),
      () => connection.sendv([{ addr: good, len }]),
      () => connection.sendv(client.iov(1).push(good, len)),
    ]) {
      assert.match(code(call), /^(ERR_LUNET_ZBUF_RANGE|EINVAL|ERR_OUT_OF_RANGE)$/, `${call} with ${len}`);
    }
  }
  for (const call of [
    () => connection.sendv(null as never),
    () => connection.sendv({ length: 1 } as never),
    () => connection.recv([] as never),
    () => client.write(good, 5 as never),
    () => client.write(good, new Uint32Array(1) as never),
  ]) {
    assert.is(code(call), 'ERR_INVALID_ARG_TYPE', String(call));
  }
  assert.is(client.refCount(good), 1);
  assert.ok(connection.send(good, 4));
  client.free(good);
  connection.end();
  await until(() => heard !== '', 'the good one');
  assert.is(heard, 'good');
  await finish(pair, 1n);
});

test.run();
