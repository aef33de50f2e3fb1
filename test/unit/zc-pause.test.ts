// lunet/zc: a connection that is paused is handed nothing, its peer is held back, and nothing is lost by it.
import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import type { TransportSink } from '../../src/host/rpc/transport.js';
import { ZcTransport, zcHandler } from '../../src/host/rpc/transport-zc.js';
import { Iov, type Zc, type ZcConnection, type ZcHandler } from '../../src/host/zc/index.js';
import { until } from '../helpers/net-pair.js';
import { random } from '../helpers/random.js';
import { code, finish, open, SERVER, say } from '../helpers/zc-pair.js';

const PORT = 5;
const CHUNK = 16_384;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const hashOf = (parts: Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

const content = (length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 37 + (i >> 9)) & 255));

/** A handler that sends all of `bytes`, and how much of it the stack has taken. */
function sender(zc: Zc, bytes: Buffer): { handler: ZcHandler; sent: number } {
  const more = (connection: ZcConnection): void => {
    while (self.sent < bytes.length) {
      const part = bytes.subarray(self.sent, self.sent + CHUNK);
      const addr = zc.alloc(part.length);
      zc.write(addr, part);
      const taken = connection.send(addr, part.length);
      zc.free(addr);
      if (!taken) return;
      self.sent += part.length;
    }
    connection.end();
  };
  const self = { handler: { connect: more, writable: more }, sent: 0 };
  return self;
}

/** Bytes that the server's core holds for its application. */
function waiting({ core }: { core: Zc['stack']['core'] }, connection: ZcConnection): number {
  assert.is(core.info(connection.handle, core.scratch), 0);
  return core.dv.getUint32(core.scratch + L.INFO_rcv_queued_bytes, true);
}

test('a consumer that pauses again and again gets everything in order, while little waits at either end', async () => {
  const rcvBufBytes = 65_536;
  const sndBufBytes = 131_072;
  const pair = await open({ rcvBufBytes, rcvBufMaxBytes: rcvBufBytes, sndBufBytes });
  const { server, client } = pair;
  const { core } = pair.stacks[0];
  const bytes = content(2_000_000);
  const parts: Buffer[] = [];
  const r = random(1);
  let received = 0;
  let pauses = 0;
  let eof = false;
  const mine: ZcConnection[] = [];
  const other = sender(client, bytes);
  server.listen(
    { port: PORT },
    {
      accept: (connection) => mine.push(connection),
      data(connection, addr, len) {
        assert.is(connection.isPaused, false);
        parts.push(Buffer.from(server.view(addr, len)));
        server.free(addr);
        received += len;
        if (!r.oneIn(30)) return;
        connection.pause();
        pauses++;
      },
      eof(connection) {
        assert.is(connection.isPaused, false);
        eof = true;
        connection.end();
      },
    },
  );
  client.connect({ port: PORT, address: SERVER }, other.handler);
  let mostWaiting = 0;
  let mostAhead = 0;
  let seen = -1;
  while (!eof) {
    await sleep(1);
    const [connection] = mine;
    if (!connection?.isPaused) continue;
    if (pauses === 1) await until(() => core.counter(L.CNT_TcpExtTCPToZeroWindowAdv) > 0, 'the window closes');
    mostWaiting = Math.max(mostWaiting, waiting(pair.stacks[0], connection));
    mostAhead = Math.max(mostAhead, other.sent - received);
    assert.is.not(received, seen, 'resume() has moved it on');
    seen = received;
    connection.resume();
    assert.is(received, seen, 'not within the call');
  }
  assert.is(hashOf(parts), hashOf([bytes]));
  assert.ok(pauses > 20, `${pauses} pauses`);
  assert.is(mostWaiting, rcvBufBytes);
  assert.ok(mostAhead <= rcvBufBytes + sndBufBytes, `the sender was ${mostAhead} bytes ahead`);
  await finish(pair);
});

test('paused while the application has pinned the receive pool: all of it comes when both are over', async () => {
  const pair = await open({ rxZones: 1, rcvBufBytes: 700_000, rcvBufMaxBytes: 700_000, sndBufBytes: 4 << 20 });
  const { server, client } = pair;
  const bytes = content(3_000_000);
  const held: [number, number][] = [];
  const parts: Buffer[] = [];
  const mine: ZcConnection[] = [];
  let pinning = true;
  let eof = false;
  const keep = (addr: number, len: number): void => {
    parts.push(Buffer.from(server.view(addr, len)));
    server.free(addr);
  };
  const most = (pair.stacks[0].link.stats().rxFreeObjects * 3) >> 2;
  server.listen(
    { port: PORT },
    {
      data(connection, addr, len) {
        mine[0] = connection;
        if (!pinning) return keep(addr, len);
        held.push([addr, len]);
        if (held.length === most) connection.pause();
      },
      eof(connection) {
        eof = true;
        connection.end();
      },
    },
  );
  client.connect({ port: PORT, address: SERVER }, sender(client, bytes).handler);
  const { link } = pair.stacks[0];
  await until(() => held.length === most && link.stats().rxFreeObjects === 0, 'a pool without an object');
  await sleep(20);
  assert.is(held.length, most, 'nothing is handed over');
  pinning = false;
  for (const [addr, len] of held) keep(addr, len);
  await sleep(20);
  assert.is(parts.length, most);
  mine[0].resume();
  await until(() => eof, 'the end', 20_000);
  assert.is(hashOf(parts), hashOf([bytes]));
  await finish(pair);
});

test('the end waits behind the data, an error does not', async () => {
  const pair = await open();
  const { server, client } = pair;
  const told: string[] = [];
  const mine: ZcConnection[] = [];
  server.listen(
    { port: PORT },
    {
      accept: (connection) => mine.push(connection.pause()),
      data(_connection, addr, len) {
        told.push(server.text(addr, len));
        server.free(addr);
      },
      eof(connection) {
        told.push('eof');
        connection.end();
      },
      error: (_connection, error) => told.push((error as NodeJS.ErrnoException).code ?? ''),
      closed: () => told.push('closed'),
    },
  );
  const connect = (act: (connection: ZcConnection) => void): ZcConnection =>
    client.connect({ port: PORT, address: SERVER }, { connect: act });
  connect((connection) => {
    say(client, connection, 'first');
    connection.end();
  });
  await until(() => mine.length === 1 && waiting(pair.stacks[0], mine[0]) === 5, 'what was said');
  await sleep(5);
  assert.equal(told, []);
  mine[0].resume();
  await until(() => told.includes('closed'), 'the end');
  assert.equal(told.splice(0), ['first', 'eof', 'closed']);

  const second = connect((connection) => void say(client, connection, 'second'));
  await until(() => mine.length === 2 && waiting(pair.stacks[0], mine[1]) === 6, 'what was said');
  second.abort();
  await until(() => told.length > 0, 'the reset');
  assert.equal(told, ['ECONNRESET']);
  assert.is(mine[1].isOpen, false);
  assert.is(mine[1].resume().pause(), mine[1], 'nothing to be done about a connection that is gone');
  await finish(pair);
});

test('what resume() has to hand over does not come while the application calls something else', async () => {
  const pair = await open();
  const { server, client } = pair;
  const mine: ZcConnection[] = [];
  let calling = false;
  let received = 0;
  server.listen(
    { port: PORT },
    {
      accept: (connection) => mine.push(connection.pause()),
      data(_connection, addr, len) {
        assert.is(calling, false);
        server.free(addr);
        received += len;
      },
    },
  );
  const other = client.connect({ port: PORT, address: SERVER }, { connect: (c) => void say(client, c, 'waits') });
  await until(() => mine.length === 1 && waiting(pair.stacks[0], mine[0]) === 5, 'what was said');
  calling = true;
  mine[0].resume();
  say(server, mine[0], 'an answer to something else');
  calling = false;
  assert.is(received, 0);
  await until(() => received === 5, 'what waited');
  mine[0].abort();
  other.abort();
  await finish(pair);
});

test('recv() takes what waits on a paused connection; a poll’s cannot be paused', async () => {
  const pair = await open();
  const { server, client } = pair;
  const mine: ZcConnection[] = [];
  server.listen({ port: PORT }, { accept: (connection) => mine.push(connection.pause()) });
  const poll = client.poll();
  const connection = client.connect({ port: PORT, address: SERVER }, poll);
  await poll.wait();
  assert.is(
    code(() => connection.pause()),
    'EINVAL',
  );
  say(client, connection, 'taken by hand');
  await until(() => mine.length === 1 && waiting(pair.stacks[0], mine[0]) === 13, 'what was said');
  const iov = server.iov();
  assert.is(mine[0].recv(iov), 1);
  assert.is(server.text(iov.addr(0), iov.len(0)), 'taken by hand');
  server.free(iov.addr(0));
  assert.is(mine[0].recv(iov), 0);
  mine[0].abort();
  connection.close();
  await finish(pair);
});

test('an idle connection for which there is no slot at the moment is paused as soon as there is', async () => {
  const pair = await open({ activeConnections: 1 });
  const { server, client } = pair;
  const { core } = pair.stacks[0];
  const mine: ZcConnection[] = [];
  const got: ZcConnection[] = [];
  server.listen(
    { port: PORT },
    {
      accept: (connection) => mine.push(connection),
      data(connection, addr) {
        server.free(addr);
        got.push(connection);
      },
    },
  );
  const connect = (): Promise<ZcConnection> =>
    new Promise((resolve) => client.connect({ port: PORT, address: SERVER }, { connect: resolve }));
  const first = await connect();
  await until(() => core.counter(L.CNT_TcpExtTCPParked) > 0, 'it is packed');
  const second = await connect();
  await until(() => mine.length === 2, 'both');
  mine[1].pause();
  say(client, second, 'keeps the slot');
  await until(() => core.counter(L.CNT_TcpExtTCPSlotsMissing) > 0 || waiting(pair.stacks[0], mine[1]) > 0, 'data');
  const missing = core.counter(L.CNT_TcpExtTCPSlotsMissing);
  mine[0].pause();
  assert.ok(core.counter(L.CNT_TcpExtTCPSlotsMissing) > missing, 'there is no slot');
  mine[1].resume();
  await until(() => core.getOption(mine[0].handle, L.OPT_PAUSED) === 1, 'it is paused');
  say(client, first, 'for later');
  await sleep(20);
  assert.equal(got, [mine[1]]);
  for (const connection of [...mine, first, second]) connection.abort();
  await finish(pair);
});

test('lunet/rpc: a transport that ends while it is paused delivers what it has sent', async () => {
  const pair = await open();
  const { server, client } = pair;
  const transports: ZcTransport[] = [];
  let ended = false;
  const sink: TransportSink = {
    opened() {},
    receive: () => assert.unreachable('paused'),
    writable() {},
    ended() {},
    closed: () => assert.unreachable('end() was called'),
  };
  const accept = (connection: ZcConnection): void => {
    const made = new ZcTransport(server, connection, true, () => {
      ended = true;
    });
    made.pause();
    made.start(sink);
    transports.push(made);
  };
  server.listen({ port: PORT }, zcHandler(accept));
  const told: string[] = [];
  client.connect(
    { port: PORT, address: SERVER },
    {
      connect: (connection) => void say(client, connection, 'nobody reads this'),
      data(_connection, addr, len) {
        told.push(client.text(addr, len));
        client.free(addr);
      },
      eof(connection) {
        told.push('eof');
        connection.end();
      },
      error: (_connection, error) => told.push(error.message),
    },
  );
  const { core } = pair.stacks[0];
  await until(() => core.rxInUse() > 0, 'what was said');
  const addr = server.alloc(3);
  assert.is(transports[0].sendv(new Iov(1).push(addr, server.write(addr, 'bye'))), true);
  server.free(addr);
  transports[0].end();
  assert.is(ended, true);
  await until(() => told.length === 2, 'the end');
  assert.equal(told, ['bye', 'eof']);
  await finish(pair);
});

test.run();
