// lunet/net: one connection, seen from both ends.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Socket } from '../../src/host/net/socket.js';
import {
  CLIENT_ADDRESS,
  connected,
  finish,
  listening,
  next,
  openEnds,
  readAll,
  SERVER_ADDRESS,
  until,
} from '../helpers/net-pair.js';

function record(socket: Socket, names: readonly string[]): string[] {
  const seen: string[] = [];
  for (const name of names) socket.on(name, (arg: unknown) => seen.push(name === 'close' ? `close ${arg}` : name));
  return seen;
}

test('an echo server answers, and events come in node:net’s order', async () => {
  const ends = await openEnds();
  const server = ends.server.createServer((socket) => socket.pipe(socket));
  const port = await listening(server);
  const socket = ends.client.connect(port, SERVER_ADDRESS);
  const seen = record(socket, ['lookup', 'connect', 'ready', 'data', 'end', 'finish', 'close', 'error']);
  assert.is(socket.connecting, true);
  assert.is(socket.pending, true);
  assert.is(socket.readyState, 'opening');
  let text = '';
  socket.on('data', (data: Buffer) => {
    text += data.toString();
    if (text === 'hello') socket.end();
  });
  socket.write('hello');
  await next(socket, 'close');
  assert.is(text, 'hello');
  assert.equal(seen, ['connect', 'ready', 'data', 'finish', 'end', 'close false']);
  assert.is(socket.readyState, 'closed');
  server.close();
  await next(server, 'close');
  await finish(ends);
});

test('both ends know their addresses, and the byte counts', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  assert.is(near.remoteAddress, SERVER_ADDRESS);
  assert.is(near.remotePort, server.address()!.port);
  assert.is(near.remoteFamily, 'IPv4');
  assert.is(near.localAddress, CLIENT_ADDRESS);
  assert.is(far.remotePort, near.localPort);
  assert.is(far.remoteAddress, CLIENT_ADDRESS);
  assert.equal(far.address(), { address: SERVER_ADDRESS, family: 'IPv4', port: server.address()!.port });
  assert.is(near.readyState, 'open');
  near.write('12345');
  near.write(Buffer.from('67890'));
  assert.is(near.bytesWritten, 10);
  far.on('data', () => undefined);
  await until(() => far.bytesRead === 10, 'ten bytes');
  assert.ok(ends.clientStack.core.counter(105) >= 10, 'copied bytes are counted');
  near.destroy();
  far.destroy();
  server.close();
  await finish(ends);
});

test('a half-closed connection still carries data the other way', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends, { server: { allowHalfOpen: true } });
  far.resume();
  near.end('last');
  await next(far, 'end');
  assert.is(far.readyState, 'writeOnly');
  far.write('still ');
  setTimeout(() => far.end('here'), 20);
  assert.is((await readAll(near)).toString(), 'still here');
  server.close();
  await next(server, 'close');
  await finish(ends);
});

test('without allowHalfOpen the peer’s end ends the socket, and a later write is an EPIPE', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  far.resume();
  near.end();
  await next(far, 'end');
  let failure: NodeJS.ErrnoException | undefined;
  far.on('error', (error: Error) => {
    failure = error;
  });
  far.write('too late');
  await next(near, 'close');
  await until(() => far.destroyed, 'the far end closes');
  if (failure) assert.ok(['EPIPE', 'ERR_STREAM_WRITE_AFTER_END'].includes(failure.code!), failure.code);
  server.close();
  await finish(ends);
});

test('write() after end() is ERR_STREAM_WRITE_AFTER_END', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  near.end();
  const error = next<NodeJS.ErrnoException>(near, 'error');
  near.write('more');
  assert.is((await error).code, 'ERR_STREAM_WRITE_AFTER_END');
  far.destroy();
  server.close();
  await finish(ends);
});

test('destroy() in mid-transfer closes both ends and leaks nothing', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  far.on('error', () => undefined);
  near.on('error', () => undefined);
  let received = 0;
  far.on('data', (data: Buffer) => {
    received += data.length;
    if (received > 1_000_000) far.destroy();
  });
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const pump = (): void => {
    while (!near.destroyed && near.write(chunk));
    near.once('drain', pump);
  };
  pump();
  await next(near, 'close').catch(() => undefined);
  await until(() => near.destroyed && far.destroyed, 'both ends destroyed');
  server.close();
  await finish(ends);
});

test('resetAndDestroy() is an ECONNRESET at the other end', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  far.resume();
  const error = next<NodeJS.ErrnoException>(far, 'error');
  const closed = new Promise((resolve) => far.once('close', resolve));
  near.resetAndDestroy();
  const { code, errno, syscall, message } = await error;
  assert.equal(
    { code, errno, syscall, message },
    {
      code: 'ECONNRESET',
      errno: -104,
      syscall: 'read',
      message: 'read ECONNRESET',
    },
  );
  assert.is(await closed, true);
  server.close();
  await finish(ends);
});

test('bytes written before the connection is there go out in order, with the end behind them', async () => {
  const ends = await openEnds();
  const server = ends.server.createServer();
  const port = await listening(server);
  const accepted = next<Socket>(server, 'connection');
  const near = ends.client.connect(port, SERVER_ADDRESS);
  near.write('one ');
  near.write(Buffer.from('two '));
  near.write('6472c3a569', 'hex');
  near.write(' fünf', 'utf8');
  near.write(' sechs', 'latin1');
  near.end(' end');
  const far = await accepted;
  assert.is((await readAll(far)).toString(), 'one two dråi fünf sechs end');
  server.close();
  await finish(ends);
});

test('write callbacks run once the bytes are queued', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    near.write('a', () => order.push('a'));
    near.write(Buffer.from('b'), () => order.push('b'));
    near.write(Buffer.alloc(100_000), () => {
      order.push('c');
      resolve();
    });
    far.resume();
  });
  assert.equal(order, ['a', 'b', 'c']);
  near.destroy();
  await next(far, 'close').catch(() => undefined);
  server.close();
  await finish(ends);
});

test('setEncoding(), pause(), resume() and async iteration work as on any stream', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  far.setEncoding('utf8');
  const got: string[] = [];
  far.on('data', (text: string) => got.push(text));
  near.write('é');
  await until(() => got.join('') === 'é', 'the first text');
  far.pause();
  near.write('two');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(got.join(''), 'é');
  far.resume();
  await until(() => got.join('') === 'étwo', 'the second text');
  far.end('bye');
  assert.is((await readAll(near)).toString(), 'bye');
  server.close();
  await finish(ends);
});

test('onread puts received bytes into the caller’s buffer', async () => {
  const ends = await openEnds();
  const buffer = new Uint8Array(7);
  let text = '';
  let calls = 0;
  const { near, far, server } = await connected(ends, {
    client: {
      onread: {
        buffer,
        callback(n: number, bytes: Uint8Array): boolean {
          text += Buffer.from(bytes.subarray(0, n)).toString();
          return ++calls !== 2;
        },
      },
    },
  });
  far.write('the quick brown fox');
  await until(() => calls === 2, 'two calls');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(text, 'the quick brow');
  near.resume();
  await until(() => text === 'the quick brown fox', 'the rest');
  near.destroy();
  far.destroy();
  server.close();
  await finish(ends);
});

test('an idle socket says so after its timeout, and stays open', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  let timeouts = 0;
  const start = performance.now();
  near.setTimeout(60, () => timeouts++);
  assert.is(near.timeout, 60);
  far.resume();
  const writer = setInterval(() => near.write('.'), 20);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.is(timeouts, 0, 'traffic keeps it quiet');
  clearInterval(writer);
  await until(() => timeouts === 1, 'the timeout');
  assert.ok(performance.now() - start > 180);
  assert.is(near.destroyed, false);
  near.setTimeout(0);
  near.destroy();
  far.destroy();
  server.close();
  await finish(ends);
});

test('a destroyed socket can connect again', async () => {
  const ends = await openEnds();
  const server = ends.server.createServer((socket) => socket.end('hi'));
  const port = await listening(server);
  const socket = new ends.client.Socket();
  for (let round = 0; round < 3; round++) {
    let text = '';
    const onData = (data: Buffer): void => {
      text += data.toString();
    };
    socket.on('data', onData);
    socket.connect(port, SERVER_ADDRESS);
    await next(socket, 'close');
    socket.off('data', onData);
    assert.is(text, 'hi', `round ${round}`);
  }
  // The far end of the last connection may still be on its way out.
  await new Promise((resolve) => server.close(resolve));
  await finish(ends);
});

test('noDelay and keepAlive settings are taken before and after connecting', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends, {
    client: { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1500 },
  });
  const option = (number: number): number => ends.clientStack.core.getOption(near.handle, number);
  assert.is(option(1), 1);
  assert.is(option(2), 1);
  assert.is(option(3), 1_500_000);
  near.setNoDelay(false).setKeepAlive(false);
  assert.is(option(1), 0);
  assert.is(option(2), 0);
  near.destroy();
  far.destroy();
  server.close();
  await finish(ends);
});

test('congestion control, traffic class and TTL are set on the connection, and its state is told as TCP_INFO', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends, {});
  const code = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      return (error as { code: string }).code;
    }
    return '';
  };
  near.setCongestionControl('dctcp').setTypeOfService(0xb8).setTTL(9);
  assert.is(near.getTypeOfService(), 0xb8);
  assert.is(
    code(() => near.setCongestionControl('bbr' as never)),
    'ERR_INVALID_ARG_VALUE',
  );
  assert.is(
    code(() => near.setTypeOfService(256)),
    'ERR_OUT_OF_RANGE',
  );
  assert.is(
    code(() => near.setTTL(0)),
    'ERR_OUT_OF_RANGE',
  );
  assert.is(
    code(() => near.setTTL('1' as never)),
    'ERR_INVALID_ARG_TYPE',
  );
  near.write('hello');
  await new Promise((resolve) => far.once('data', resolve));
  const info = near.tcpInfo();
  assert.is(info?.tcpi_state, 1);
  assert.is(info?.congestion, 'dctcp');
  assert.is(info?.tcpi_bytes_sent, 5);
  assert.is(info?.tcpi_data_segs_out, 1);
  assert.is(info?.tcpi_snd_cwnd, 10);
  assert.is(info?.tcpi_snd_ssthresh, 0x7fffffff);
  assert.is(far.tcpInfo()?.tcpi_bytes_received, 5);
  near.destroy();
  far.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  assert.is(near.tcpInfo(), null);
  server.close();
  await finish(ends);
});

test.run();
