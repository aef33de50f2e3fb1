// lunet/dgram: what programs written for node:dgram rely on, over the in-memory link.
import dgram from 'node:dgram';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createDgram, type Dgram, type RemoteInfo, type Socket } from '../../src/host/dgram/index.js';
import { memoryLink, openStack, type Stack, type StackOptions } from '../../src/host/index.js';
import { CLIENT_ADDRESS, next, SERVER_ADDRESS, until } from '../helpers/net-pair.js';

const SERVER6 = 'fd00::1';
const CLIENT6 = 'fd00::2';
let hubs = 0;

interface Ends {
  stacks: [Stack, Stack];
  server: Dgram;
  client: Dgram;
}

async function openEnds(options: Partial<StackOptions> = {}): Promise<Ends> {
  const hub = `dgram-${process.pid}-${hubs++}`;
  const open = (...address: string[]): Promise<Stack> =>
    openStack({ link: memoryLink(hub), address, zones: 16, rxZones: 2, maxConnections: 256, ...options });
  const stacks: [Stack, Stack] = [
    await open(`${SERVER_ADDRESS}/24`, `${SERVER6}/64`),
    await open(`${CLIENT_ADDRESS}/24`, `${CLIENT6}/64`),
  ];
  return { stacks, server: createDgram(stacks[0]), client: createDgram(stacks[1]) };
}

async function finish({ stacks }: Ends): Promise<void> {
  try {
    for (const { core } of stacks) {
      await until(
        () => core.zbufInUse() + core.rxInUse() + core.udpSocketsOpen() + core.udpQueued() === 0,
        'all is given back',
      );
      assert.is(core.counters().ZbufMisuse, 0n);
    }
  } finally {
    for (const stack of stacks) await stack.close();
  }
}

/** A test with two ends that leave nothing behind. */
function ended(name: string, body: (ends: Ends) => Promise<void>, options: Partial<StackOptions> = {}): void {
  test(name, async () => {
    const ends = await openEnds(options);
    try {
      await body(ends);
    } catch (error) {
      for (const stack of ends.stacks) await stack.close();
      throw error;
    }
    await finish(ends);
  });
}

async function bound(module: Dgram, type: 'udp4' | 'udp6' = 'udp4', port = 0, address?: string): Promise<Socket> {
  const socket = module.createSocket(type);
  socket.bind(port, address);
  await next(socket, 'listening');
  return socket;
}

function message(socket: Socket): Promise<{ text: string; remote: RemoteInfo }> {
  return new Promise((resolve) => {
    socket.once('message', (data, remote) => resolve({ text: data.toString(), remote }));
  });
}

/** So that nothing waits for the neighbour's MAC, of which few can. */
async function introduce(near: Socket, far: Socket, port: number): Promise<void> {
  const heard = message(far);
  near.send('first', port, SERVER_ADDRESS);
  await heard;
}

const code = (call: () => unknown): string => {
  try {
    call();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'nothing thrown';
};

ended('an echo: who sent what, and back, without a bind of the client’s own', async ({ server, client }) => {
  const far = await bound(server, 'udp4', 5353);
  far.on('message', (data, { port, address }) => far.send(data, port, address));
  assert.equal(far.address(), { address: '0.0.0.0', family: 'IPv4', port: 5353 });
  const near = client.createSocket('udp4');
  const echoed = message(near);
  const sent = new Promise((resolve) => {
    near.send('hello', 5353, SERVER_ADDRESS, (error, bytes) => resolve([error, bytes]));
  });
  assert.equal(await sent, [null, 5]);
  assert.equal(await echoed, {
    text: 'hello',
    remote: { address: SERVER_ADDRESS, family: 'IPv4', port: 5353, size: 5 },
  });
  assert.ok(near.address().port >= 61440);
  near.close();
  far.close();
});

ended('IPv6, and IPv4 as its mapped addresses', async ({ server, client }) => {
  const far = await bound(server, 'udp6', 5353);
  assert.equal(far.address(), { address: '::', family: 'IPv6', port: 5353 });
  const six = await bound(client, 'udp6');
  const four = await bound(client);
  let heard = message(far);
  six.send('six', 5353, SERVER6);
  assert.equal((await heard).remote.address, CLIENT6);
  heard = message(far);
  four.send('four', 5353, SERVER_ADDRESS);
  const { remote } = await heard;
  assert.equal([remote.address, remote.family], [`::ffff:${CLIENT_ADDRESS}`, 'IPv6']);
  const back = message(four);
  far.send('back', remote.port, remote.address);
  assert.is((await back).text, 'back');
  const only = client.createSocket({ type: 'udp6', ipv6Only: true });
  only.send('x', 5353, `::ffff:${SERVER_ADDRESS}`, (error) => {
    assert.is((error as NodeJS.ErrnoException).code, 'ENETUNREACH');
    only.close();
  });
  await next(only, 'close');
  for (const socket of [far, six, four]) socket.close();
});

ended(
  'datagrams that go in fragments arrive whole, the largest too, over IPv4 and IPv6',
  async ({ server, client, stacks }) => {
    const far = await bound(server, 'udp6', 5353);
    far.setRecvBufferSize(1 << 20);
    const received: Buffer[] = [];
    far.on('message', (data) => received.push(data));
    const ways = [
      { address: SERVER_ADDRESS, near: await bound(client), sizes: [1473, 8192, 65507] },
      // With its headers a datagram that is put together has at most 65,536 bytes.
      { address: SERVER6, near: await bound(client, 'udp6'), sizes: [1453, 8192, 65488] },
    ];
    for (const { address, near, sizes } of ways) {
      // The neighbour is known then, and no fragment waits for it.
      near.send('first', 5353, address);
      await until(() => received.length === 1, 'the first one');
      received.length = 0;
      for (const size of sizes) {
        const sent = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 255));
        near.send(sent, 5353, address);
        await until(() => received.length === 1, `${size} bytes to ${address}`);
        assert.is(Buffer.compare(received[0], sent), 0, `${size} bytes to ${address}`);
        received.length = 0;
      }
      near.close();
    }
    const { IpReasmOKs, Ip6ReasmOKs } = stacks[0].core.counters();
    assert.equal([IpReasmOKs, Ip6ReasmOKs], [3n, 3n]);
    far.close();
  },
);

ended('every form of send()', async ({ server, client }) => {
  const far = await bound(server, 'udp4', 7);
  const near = await bound(client);
  await introduce(near, far, 7);
  const texts: string[] = [];
  far.on('message', (data) => texts.push(data.toString('latin1')));
  const buffer = Buffer.from('abcdef');
  near.send(buffer, 7, SERVER_ADDRESS);
  near.send(buffer, 1, 3, 7, SERVER_ADDRESS);
  near.send(buffer, 2, 2, 7, SERVER_ADDRESS, () => {});
  near.send(['ab', Buffer.from('c'), Uint8Array.of(100)], 7, SERVER_ADDRESS);
  near.send(new Uint16Array(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + 2)), 7, SERVER_ADDRESS);
  near.send('', 7, SERVER_ADDRESS, undefined);
  near.connect(7, SERVER_ADDRESS);
  await next(near, 'connect');
  near.send(buffer);
  near.send(buffer, 4, 2);
  await new Promise((resolve) => near.send('last', resolve));
  await until(() => texts.length === 9, 'all datagrams');
  assert.equal(texts, ['abcdef', 'bcd', 'cd', 'abcd', 'ab', '', 'abcdef', 'ef', 'last']);
  near.close();
  far.close();
});

ended('arguments that node:dgram refuses are refused with its codes', async ({ server }) => {
  const socket = server.createSocket('udp4');
  const any = socket as unknown as Record<string, (...args: unknown[]) => unknown>;
  const node = dgram.createSocket('udp4');
  const theirs = node as unknown as Record<string, (...args: unknown[]) => unknown>;
  const calls: [string, ...unknown[]][] = [
    ['send', 'x', 0, SERVER_ADDRESS],
    ['send', 'x', 65536, SERVER_ADDRESS],
    ['send', 'x', -1],
    ['send', 5, 7, SERVER_ADDRESS],
    ['send', ['a', 5], 7, SERVER_ADDRESS],
    ['send', Buffer.alloc(4), 5, 1, 7, SERVER_ADDRESS],
    ['send', Buffer.alloc(4), 1, 4, 7, SERVER_ADDRESS],
    ['send', 'x', 7, 5],
    ['connect', 0],
    ['connect', 70000],
    ['disconnect'],
    ['remoteAddress'],
    ['address'],
    ['setTTL', 5],
    ['setTTL', 'x'],
    ['setBroadcast', true],
    ['getRecvBufferSize'],
    ['setRecvBufferSize', -1],
    ['setSendBufferSize', 5.5],
  ];
  for (const [name, ...args] of calls) {
    const expected = code(() => theirs[name](...args));
    assert.is.not(expected, 'nothing thrown', name);
    assert.is(
      code(() => any[name](...args)),
      expected,
      `${name}(${args.join(', ')})`,
    );
  }
  assert.is(
    code(() => server.createSocket('udp5' as 'udp4')),
    'ERR_SOCKET_BAD_TYPE',
  );
  assert.is(
    code(() => socket.bind(70000)),
    'ERR_SOCKET_BAD_PORT',
  );
  socket.bind(1);
  assert.is(
    code(() => socket.bind(2)),
    'ERR_SOCKET_ALREADY_BOUND',
  );
  await next(socket, 'listening');
  assert.is(
    code(() => socket.bind(2)),
    'ERR_SOCKET_ALREADY_BOUND',
  );
  assert.is(
    code(() => socket.addMembership('224.0.0.114')),
    'ENOTSUP',
  );
  assert.is(
    code(() => socket.setTTL(256)),
    'EINVAL',
  );
  assert.is(socket.setTTL(7), 7);
  socket.connect(9, CLIENT_ADDRESS);
  assert.is(
    code(() => socket.connect(9, CLIENT_ADDRESS)),
    'ERR_SOCKET_DGRAM_IS_CONNECTED',
  );
  await next(socket, 'connect');
  assert.equal(socket.remoteAddress(), { address: CLIENT_ADDRESS, family: 'IPv4', port: 9 });
  assert.is(
    code(() => socket.send('x', 9, CLIENT_ADDRESS)),
    'ERR_SOCKET_DGRAM_IS_CONNECTED',
  );
  socket.disconnect();
  assert.is(
    code(() => socket.remoteAddress()),
    'ERR_SOCKET_DGRAM_NOT_CONNECTED',
  );
  socket.close();
  node.close();
  for (const call of [() => socket.close(), () => socket.send('x', 7), () => socket.bind(), () => socket.address()]) {
    assert.is(code(call), 'ERR_SOCKET_DGRAM_NOT_RUNNING');
  }
});

ended('a port is one socket’s, unless they share it, and the error says which', async ({ server }) => {
  const first = await bound(server, 'udp4', 53);
  const second = server.createSocket('udp4');
  second.bind(53, SERVER_ADDRESS);
  const error = await next<NodeJS.ErrnoException & { address: string; port: number }>(second, 'error');
  assert.is(error.message, `bind EADDRINUSE ${SERVER_ADDRESS}:53`);
  assert.equal([error.code, error.syscall, error.address, error.port], ['EADDRINUSE', 'bind', SERVER_ADDRESS, 53]);
  second.bind(54);
  await next(second, 'listening');
  const sharing = ['a', 'b'].map(() => server.createSocket({ type: 'udp4', reuseAddr: true }));
  for (const socket of sharing) {
    socket.bind({ port: 60, exclusive: true });
    await next(socket, 'listening');
  }
  const wrong = server.createSocket('udp4');
  wrong.bind(0, '10.9.9.9');
  assert.is((await next<NodeJS.ErrnoException>(wrong, 'error')).code, 'EADDRNOTAVAIL');
  wrong.close();
  for (const socket of [first, second, ...sharing]) socket.close();
});

ended('a connected socket is told when nobody is there, and too much at once is EMSGSIZE', async ({ client }) => {
  const near = await bound(client);
  near.connect(9, SERVER_ADDRESS);
  await next(near, 'connect');
  near.send('anybody?');
  const error = await next<NodeJS.ErrnoException>(near, 'error');
  assert.equal([error.code, error.syscall], ['ECONNREFUSED', 'recvmsg']);
  for (const size of [65508, 65537, 1 << 20]) {
    const refused = await new Promise<Error | null>((resolve) => near.send(Buffer.alloc(size), resolve));
    assert.is((refused as NodeJS.ErrnoException | null)?.code, 'EMSGSIZE', `${size}`);
  }
  near.close();
});

ended('broadcast: EACCES without setBroadcast(), every host with it', async ({ server, client }) => {
  const far = await bound(server, 'udp4', 67);
  const near = await bound(client);
  const refused = await new Promise<Error | null>((resolve) => near.send('x', 67, '255.255.255.255', resolve));
  assert.is((refused as NodeJS.ErrnoException | null)?.code, 'EACCES');
  near.setBroadcast(true);
  const heard = message(far);
  near.send('all', 67, '10.0.0.255');
  assert.is((await heard).text, 'all');
  near.close();
  far.close();
});

ended('what the transmit ring has no room for waits its turn', async ({ server, client, stacks }) => {
  const far = await bound(server, 'udp4', 9);
  far.setRecvBufferSize(1 << 22);
  const near = await bound(client);
  await introduce(near, far, 9);
  let heard = 0;
  far.on('message', () => heard++);
  near.connect(9, SERVER_ADDRESS);
  await next(near, 'connect');
  let called = 0;
  const total = 6000;
  for (let i = 0; i < total; i++) {
    near.send(`${i}`, (error) => {
      assert.is(error, null);
      called++;
    });
  }
  assert.ok(near.getSendQueueCount() > 0);
  assert.ok(near.getSendQueueSize() > near.getSendQueueCount());
  await until(() => called === total, 'all are sent');
  assert.is(near.getSendQueueCount(), 0);
  assert.ok(stacks[1].core.counters().UdpSndbufErrors > 0n);
  await until(() => heard > 0, 'some are heard');
  near.close();
  far.close();
});

ended('a lookup of one’s own, a name that is none, and an address of the other family', async ({ server, client }) => {
  const far = await bound(server, 'udp4', 53);
  const asked: unknown[] = [];
  const near = client.createSocket({
    type: 'udp4',
    lookup: (name, { family }, callback) => {
      asked.push([name, family]);
      const known: Record<string, string> = { server: SERVER_ADDRESS, me: CLIENT_ADDRESS };
      const error = name in known ? null : Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
      setImmediate(callback, error, known[name] ?? '', 4);
    },
  });
  near.bind(0, 'me');
  await next(near, 'listening');
  assert.is(near.address().address, CLIENT_ADDRESS);
  const heard = message(far);
  near.send('x', 53, 'server');
  assert.is((await heard).text, 'x');
  near.send('x', 53, 'nobody');
  assert.is((await next<NodeJS.ErrnoException>(near, 'error')).code, 'ENOTFOUND');
  assert.equal(asked, [
    ['me', 4],
    ['server', 4],
    ['nobody', 4],
  ]);
  const error = await new Promise<Error | null>((resolve) => far.send('x', 53, SERVER6, resolve));
  assert.is((error as NodeJS.ErrnoException | null)?.code, 'EINVAL');
  near.close();
  far.close();
});

ended('close(): after what was sent before the bind, with the signal, and with the stack', async (ends) => {
  const { server, client } = ends;
  const far = await bound(server, 'udp4', 53);
  const near = client.createSocket('udp4');
  const heard = message(far);
  near.send('before', 53, SERVER_ADDRESS);
  near.close();
  assert.is((await heard).text, 'before');
  const abort = new AbortController();
  const signalled = client.createSocket({ type: 'udp4', signal: abort.signal });
  signalled.bind();
  await next(signalled, 'listening');
  abort.abort();
  await next(signalled, 'close');
  const aborted = client.createSocket({ type: 'udp4', signal: AbortSignal.abort() });
  await next(aborted, 'close');
  const closed = next(far, 'close');
  await ends.stacks[0].close();
  await closed;
  const late = server.createSocket('udp4');
  late.bind(1);
  assert.is((await next<NodeJS.ErrnoException>(late, 'error')).code, 'ECONNABORTED');
});

ended('an exception of a listener costs no other datagram', async ({ server, client }) => {
  const far = await bound(server, 'udp4', 53);
  const texts: string[] = [];
  far.on('message', (data) => {
    texts.push(data.toString());
    if (texts.length === 1) throw new Error('on purpose');
  });
  const caught = new Promise<Error>((resolve) => process.once('uncaughtException', resolve));
  const near = await bound(client);
  for (const text of ['a', 'b', 'c']) near.send(text, 53, SERVER_ADDRESS);
  assert.is((await caught).message, 'on purpose');
  await until(() => texts.length === 3, 'the others');
  near.close();
  far.close();
});

ended('copies are counted, and buffer sizes are what was asked for', async ({ server, client, stacks }) => {
  const far = server.createSocket({ type: 'udp4', recvBufferSize: 10_000, sendBufferSize: 5000 });
  far.bind(53);
  await next(far, 'listening');
  assert.equal([far.getRecvBufferSize(), far.getSendBufferSize()], [10_000, 5000]);
  far.setSendBufferSize(6000);
  far.setRecvBufferSize(20_000);
  assert.equal([far.getRecvBufferSize(), far.getSendBufferSize()], [20_000, 6000]);
  const near = await bound(client);
  const heard = message(far);
  near.send(Buffer.alloc(1000), 53, SERVER_ADDRESS);
  await heard;
  for (const { core } of stacks) assert.is(core.counters().HostCopiedBytes, 1000n);
  assert.is(near.unref().ref(), near);
  near.close();
  far.close();
});

ended(
  'a stack that is to have no UDP says so',
  async ({ server }) => {
    const socket = server.createSocket('udp4');
    socket.bind(1);
    assert.is((await next<NodeJS.ErrnoException>(socket, 'error')).code, 'ENOBUFS');
    socket.close();
  },
  { maxUdpSockets: 0 },
);

test.run();
