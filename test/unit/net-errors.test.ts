// lunet/net: what goes wrong, and how it says so.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Socket } from '../../src/host/net/socket.js';
import { connected, finish, listening, next, openEnds, SERVER_ADDRESS, until } from '../helpers/net-pair.js';

type Failure = NodeJS.ErrnoException & { address?: string; port?: number };

function thrown(act: () => unknown): Failure {
  try {
    act();
  } catch (error) {
    return error as Failure;
  }
  throw new Error('nothing was thrown');
}

test('nobody listening is ECONNREFUSED with Node’s fields, then close', async () => {
  const ends = await openEnds();
  const socket = ends.client.connect(81, SERVER_ADDRESS);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const { code, errno, syscall, address, port, message } = await next<Failure>(socket, 'error');
  assert.equal(
    { code, errno, syscall, address, port, message },
    {
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: SERVER_ADDRESS,
      port: 81,
      message: `connect ECONNREFUSED ${SERVER_ADDRESS}:81`,
    },
  );
  assert.is(await closed, true);
  assert.is(socket.connecting, false);
  await finish(ends);
});

test('no route is ENETUNREACH, a silent neighbour EHOSTUNREACH', async () => {
  const ends = await openEnds();
  const far = ends.client.connect(80, '192.0.2.1');
  assert.is((await next<Failure>(far, 'error')).code, 'ENETUNREACH');
  const silent = ends.client.connect(80, '10.0.0.77');
  assert.is((await next<Failure>(silent, 'error', 20_000)).code, 'EHOSTUNREACH');
  await finish(ends);
});

test('a host name is looked up with the caller’s lookup, and its failure is the socket’s', async () => {
  const ends = await openEnds();
  const server = ends.server.createServer((socket) => socket.end());
  const port = await listening(server);
  const asked: unknown[] = [];
  const socket = ends.client.connect({
    port,
    host: 'server.test',
    lookup: (host, options, callback) => {
      asked.push(host, options.family);
      setTimeout(() => callback(null, SERVER_ADDRESS, 4), 1);
    },
  });
  const looked = new Promise<unknown[]>((resolve) => socket.once('lookup', (...args) => resolve(args)));
  assert.equal(await looked, [null, SERVER_ADDRESS, 4, 'server.test']);
  assert.equal(asked, ['server.test', 4]);
  await next(socket, 'connect');
  socket.destroy();

  const failing = ends.client.connect({
    port,
    host: 'nowhere.test',
    lookup: (_host, _options, callback) => {
      const error = Object.assign(new Error('getaddrinfo ENOTFOUND nowhere.test'), { code: 'ENOTFOUND' });
      callback(error, '', 4);
    },
  });
  assert.is((await next<Failure>(failing, 'error')).code, 'ENOTFOUND');
  server.close();
  await finish(ends);
});

test('bad arguments throw what node:net throws', async () => {
  const ends = await openEnds();
  const { connect, createServer, Socket } = ends.client;
  assert.is(thrown(() => connect(65536)).code, 'ERR_SOCKET_BAD_PORT');
  assert.is(thrown(() => connect(-1)).code, 'ERR_SOCKET_BAD_PORT');
  assert.is(thrown(() => connect({} as { port: number })).code, 'ERR_MISSING_ARGS');
  assert.is(thrown(() => connect({ port: true as unknown as number })).code, 'ERR_INVALID_ARG_TYPE');
  assert.is(thrown(() => connect('/tmp/a.sock')).code, 'ERR_INVALID_ARG_VALUE');
  assert.is(thrown(() => connect({ port: 1, host: 5 as unknown as string })).code, 'ERR_INVALID_ARG_TYPE');
  assert.is(thrown(() => connect({ port: 1, localAddress: 'x' })).code, 'ERR_INVALID_IP_ADDRESS');
  assert.is(thrown(() => connect({ port: 1, lookup: 1 as never })).code, 'ERR_INVALID_ARG_TYPE');
  assert.is(thrown(() => createServer().listen(70000)).code, 'ERR_SOCKET_BAD_PORT');
  assert.is(thrown(() => createServer().listen({} as never)).code, 'ERR_INVALID_ARG_VALUE');
  assert.is(thrown(() => createServer(7 as never)).code, 'ERR_INVALID_ARG_TYPE');
  const socket = new Socket();
  assert.is(thrown(() => socket.setTimeout('1' as never)).code, 'ERR_INVALID_ARG_TYPE');
  assert.is(thrown(() => socket.setTimeout(-1)).code, 'ERR_OUT_OF_RANGE');
  assert.is(thrown(() => socket.write(5 as never)).code, 'ERR_INVALID_ARG_TYPE');
  assert.is(thrown(() => new Socket({ fd: 1 } as never)).code, 'ERR_INVALID_ARG_VALUE');
  await finish(ends);
});

test('a port in use is EADDRINUSE, and listen() twice an error of its own', async () => {
  const ends = await openEnds();
  const first = ends.server.createServer();
  const port = await listening(first);
  const second = ends.server.createServer();
  second.listen(port, SERVER_ADDRESS);
  const { code, syscall, address, port: named, message } = await next<Failure>(second, 'error');
  assert.equal(
    { code, syscall, address, port: named },
    { code: 'EADDRINUSE', syscall: 'listen', address: SERVER_ADDRESS, port },
  );
  assert.is(message, `listen EADDRINUSE: address already in use ${SERVER_ADDRESS}:${port}`);
  assert.is(thrown(() => first.listen(1)).code, 'ERR_SERVER_ALREADY_LISTEN');
  first.close();
  await next(first, 'close');
  second.listen(port, SERVER_ADDRESS);
  await next(second, 'listening');
  second.close();
  const error = await new Promise<Failure | undefined>((resolve) => first.close((e) => resolve(e as Failure)));
  assert.is(error?.code, 'ERR_SERVER_NOT_RUNNING');
  await finish(ends);
});

test('an aborted signal destroys the socket with an AbortError and closes a server', async () => {
  const ends = await openEnds();
  const abort = new AbortController();
  const { near, far, server } = await connected(ends, { client: { signal: abort.signal } });
  far.on('error', () => undefined).resume();
  const error = next<Failure>(near, 'error');
  abort.abort();
  assert.is((await error).name, 'AbortError');
  server.close();
  const other = new AbortController();
  const second = ends.server.createServer();
  second.listen({ port: 0, signal: other.signal });
  await next(second, 'listening');
  other.abort();
  await next(second, 'close');
  assert.is(second.listening, false);
  await finish(ends);
});

test('a write to a connection that the peer has reset fails', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  near.pause();
  far.resetAndDestroy();
  const error = next<Failure>(near, 'error');
  const writer = setInterval(() => near.write('x'), 5);
  const { code } = await error;
  clearInterval(writer);
  assert.ok(code === 'EPIPE' || code === 'ECONNRESET', code);
  server.close();
  await finish(ends);
});

test('maxConnections drops what is too many', async () => {
  const ends = await openEnds();
  const server = ends.server.createServer((socket) => socket.on('error', () => undefined));
  server.maxConnections = 2;
  const port = await listening(server);
  const drops: unknown[] = [];
  server.on('drop', (data) => drops.push(data));
  const sockets: Socket[] = [];
  for (let i = 0; i < 3; i++) {
    const socket = ends.client.connect(port, SERVER_ADDRESS);
    socket.on('error', () => undefined);
    sockets.push(socket);
  }
  await until(() => drops.length === 1, 'a drop');
  assert.is((drops[0] as { localPort: number }).localPort, port);
  const count = await new Promise((resolve) => server.getConnections((_error, n) => resolve(n)));
  assert.is(count, 2);
  for (const socket of sockets) socket.destroy();
  server.close();
  await next(server, 'close');
  await finish(ends);
});

test('close() of a server waits for its connections', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  far.resume();
  let closed = false;
  server.close(() => {
    closed = true;
  });
  assert.is(server.listening, false);
  assert.is(server.address(), null);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(closed, false);
  near.end();
  await until(() => closed, 'the server closes');
  await finish(ends);
});

test('a paused connection of pauseOnConnect keeps its bytes', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends, { server: { pauseOnConnect: true } });
  let text = '';
  far.on('data', (data: Buffer) => {
    text += data.toString();
  });
  near.end('kept');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(text, '');
  assert.is(far.isPaused(), true);
  far.resume();
  await until(() => text === 'kept' && far.destroyed, 'the bytes');
  server.close();
  await finish(ends);
});

test('closing a stack closes its sockets and servers with ECONNABORTED', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  const nearError = next<Failure>(near, 'error');
  const farError = next<Failure>(far, 'error');
  near.write(Buffer.alloc(10_000));
  const serverClosed = next(server, 'close');
  await ends.clientStack.close();
  assert.is((await nearError).code, 'ECONNABORTED');
  assert.is((await farError).code, 'ECONNRESET');
  server.close();
  await serverClosed;
  const late = ends.client.connect(80, SERVER_ADDRESS);
  assert.is((await next<Failure>(late, 'error')).code, 'ECONNABORTED');
  assert.is(ends.clientStack.core.zbufInUse(), 0);
  assert.is(ends.clientStack.core.rxInUse(), 0);
  await finish(ends);
});

test.run();
