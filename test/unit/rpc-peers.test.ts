// lunet/rpc against peers that do not keep to the protocol, on sockets of node:net.
import { type AddressInfo, createServer, connect as netConnect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  FLAG_STREAM,
  HEADER_BYTES,
  KIND_CREDIT,
  KIND_DATA,
  KIND_ERROR,
  KIND_GOAWAY,
  KIND_HELLO,
  KIND_PING,
  KIND_REQUEST,
  KIND_RESPONSE,
  writeHeader,
} from '../../src/host/rpc/header.js';
import { type RpcClient, type RpcClientOptions, type RpcRequest, rpcClient } from '../../src/host/rpc/index.js';
import { BufferMemory } from '../../src/host/rpc/memory.js';
import { until } from '../helpers/net-pair.js';
import { random } from '../helpers/random.js';
import { failure, openRpc, type RpcEnds } from '../helpers/rpc-pair.js';

const HOLD = 1;
const STREAM = 2;

interface Fields {
  flags?: number;
  id?: number;
  method?: number;
  status?: number;
  credit?: number;
  deadlineUs?: number;
}

function message(kind: number, fields: Fields = {}, payload = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const { flags = 0, id = 0, method = 0, status = 0, credit = 0, deadlineUs = 0 } = fields;
  const view = new DataView(header.buffer, header.byteOffset, HEADER_BYTES);
  writeHeader(view, 0, kind, flags, id, method, payload.length, deadlineUs, status, credit);
  return Buffer.concat([header, payload]);
}

const hello = (windowBytes = 65536): Buffer =>
  message(KIND_HELLO, { method: 100, deadlineUs: 1_000_000, credit: windowBytes });

interface RawClient {
  socket: Socket;
  received: Buffer;
  closed: boolean;
}

function rawClient(ends: RpcEnds): RawClient {
  const self: RawClient = {
    socket: netConnect(ends.port, ends.address),
    received: Buffer.alloc(0),
    closed: false,
  };
  self.socket.on('data', (data) => {
    self.received = Buffer.concat([self.received, data]);
  });
  self.socket.on('error', () => undefined);
  self.socket.on('close', () => {
    self.closed = true;
  });
  return self;
}

/** A server that has one raw client at a time; `send` answers what it says. */
async function rawServer(
  act: (client: RpcClient, socket: Socket) => Promise<void>,
  options: RpcClientOptions = {},
): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const memory = new BufferMemory();
  const client = rpcClient(netConnect((server.address() as AddressInfo).port, '127.0.0.1'), options, memory);
  const socket = await accepted;
  socket.on('error', () => undefined);
  try {
    await act(client, socket);
  } finally {
    client.abort();
    socket.destroy();
    server.close();
  }
  assert.is(memory.inUse, 0);
}

/** The id of the `n`th request in what a server has received. */
function nextRequestId(socket: Socket): Promise<number> {
  return new Promise((resolve) => {
    let got = Buffer.alloc(0);
    const onData = (data: Buffer): void => {
      got = Buffer.concat([got, data]);
      for (let at = 0; at + HEADER_BYTES <= got.length; at += HEADER_BYTES + got.readUInt32LE(at + 16)) {
        if (got[at + 3] !== KIND_REQUEST) continue;
        socket.off('data', onData);
        resolve(got.readUInt32LE(at + 8));
      }
    };
    socket.on('data', onData);
  });
}

for (const [what, bytes] of [
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: somewhere.example\r\n\r\n')],
  ['a server’s message', Buffer.concat([hello(), message(KIND_RESPONSE, { id: 65536 })])],
  ['two HELLOs', Buffer.concat([hello(), hello()])],
  [
    'an id that is in flight',
    Buffer.concat([
      hello(),
      message(KIND_REQUEST, { id: 9, method: HOLD }),
      message(KIND_REQUEST, { id: 9, method: HOLD }),
    ]),
  ],
  [
    'more of a stream than its window',
    Buffer.concat([
      hello(),
      message(KIND_REQUEST, { id: 9, method: STREAM, flags: FLAG_STREAM }),
      message(KIND_DATA, { id: 9 }, Buffer.alloc(5000)),
    ]),
  ],
  [
    'credit without end',
    Buffer.concat([
      hello(0xffff_ffff),
      message(KIND_REQUEST, { id: 9, method: STREAM, flags: FLAG_STREAM }),
      message(KIND_CREDIT, { id: 9, credit: 0xffff_ffff }),
    ]),
  ],
] as const) {
  test(`a client that sends ${what} is disconnected, and counted`, async () => {
    const ends = await openRpc('node:net', { windowBytes: 4096 });
    const held: RpcRequest[] = [];
    ends.server.handle(HOLD, (request) => void held.push(request));
    ends.server.handle(STREAM, (request) => void held.push(request));
    const raw = rawClient(ends);
    raw.socket.write(bytes);
    await until(() => raw.closed, 'the end of the connection');
    assert.is(ends.server.counters.protocolErrors, 1);
    assert.is(ends.server.connections, 0);
    for (const request of held) assert.is(request.reply(), false);
    await ends.finish();
  });
}

test('a client that ends inside a message is a protocol error, one that ends between them is not', async () => {
  const ends = await openRpc('node:net');
  ends.server.handle(HOLD, (request) => void request.reply(request.pieces));
  for (const [bytes, errors] of [
    [hello(), 0],
    [Buffer.concat([hello(), message(KIND_REQUEST, { id: 1, method: HOLD }, Buffer.alloc(100)).subarray(0, 90)]), 1],
  ] as const) {
    const raw = rawClient(ends);
    raw.socket.end(bytes);
    await until(() => raw.closed, 'the end of the connection');
    await until(() => ends.server.connections === 0, 'the end at the server');
    assert.is(ends.server.counters.protocolErrors, errors);
  }
  await ends.finish();
});

test('a client that asks and never reads is disconnected before its answers fill the memory', async () => {
  const ends = await openRpc('node:net');
  const raw = rawClient(ends);
  raw.socket.pause();
  raw.socket.write(hello());
  const pings = Buffer.concat(Array.from({ length: 1000 }, () => message(KIND_PING)));
  const unknown = Buffer.concat(Array.from({ length: 1000 }, (_, i) => message(KIND_REQUEST, { id: i, method: 99 })));
  const more = (): void => {
    while (!raw.socket.destroyed && raw.socket.write(pings) && raw.socket.write(unknown));
  };
  raw.socket.on('drain', more);
  more();
  await until(() => ends.server.counters.protocolErrors === 1, 'the server has had enough', 15_000);
  raw.socket.destroy();
  await ends.finish();
});

test('fuzz: whatever a client sends, the server goes on for others and leaks nothing', async () => {
  const ends = await openRpc('node:net', { maxInFlight: 4, maxWaiting: 4 });
  ends.server.handle(HOLD, (request) => void request.reply(request.pieces));
  ends.server.handle(STREAM, async (request) => {
    for await (const { addr } of request.stream ?? []) request.memory.free(addr);
    request.reply('over');
  });
  const good = ends.connect();
  for (let seed = 1; seed <= 60; seed++) {
    const rng = random(seed);
    const raw = rawClient(ends);
    const parts = [hello()];
    for (let i = 0; i < 40; i++) {
      const fields = { flags: rng.below(4), id: rng.below(6), method: rng.below(4), credit: rng.below(100_000) };
      parts.push(message(2 + rng.below(8), fields, rng.below(3) === 0 ? Buffer.alloc(rng.below(3000)) : undefined));
    }
    const bytes = Buffer.concat(parts);
    if (seed % 2 === 0) bytes[rng.below(bytes.length)] ^= 1 << rng.below(8);
    raw.socket.end(bytes.subarray(0, bytes.length - rng.below(100)));
    assert.is((await good.request(HOLD, `round ${seed}`)).text(), `round ${seed}`);
    await until(() => raw.closed, 'the end of the connection');
  }
  assert.ok(ends.server.counters.protocolErrors > 0);
  await ends.finish();
});

test('an answer to no call ends the connection; calls in flight may have been executed', () =>
  rawServer(async (client, socket) => {
    const call = failure(client.request(HOLD, 'x'));
    const id = await nextRequestId(socket);
    socket.write(Buffer.concat([hello(), message(KIND_RESPONSE, { id: (id + 0x10000) >>> 0 })]));
    const error = await call;
    assert.equal([error.code, error.mayHaveRun], ['ERR_RPC_LOST', true]);
    assert.is((error.cause as { code: string }).code, 'ERR_RPC_PROTOCOL');
    assert.is(client.counters.protocolErrors, 1);
  }));

test('a slot is not used again before the server has said its last word', () =>
  rawServer(async (client, socket) => {
    const first = failure(client.request(HOLD, 'x', { deadlineUs: 5000 }));
    const id = await nextRequestId(socket);
    socket.write(hello());
    assert.is((await first).code, 'ERR_RPC_DEADLINE');
    const second = client.request(HOLD, 'y');
    const other = await nextRequestId(socket);
    assert.is.not(other & 0xffff, id & 0xffff);
    socket.write(message(KIND_RESPONSE, { id }, Buffer.from('late')));
    socket.write(message(KIND_RESPONSE, { id: other }, Buffer.from('in time')));
    assert.is((await second).text(), 'in time');
    assert.is(client.counters.late, 1);
    const third = client.request(HOLD, 'z');
    const again = await nextRequestId(socket);
    assert.is.not(again, id, 'another generation');
    socket.write(message(KIND_ERROR, { id: again, status: 1000 }, Buffer.from('no')));
    assert.is((await failure(third)).message, 'no');
  }));

test('an unknown status is the application’s, and an unknown flag is ignored', () =>
  rawServer(async (client, socket) => {
    const call = client.request(HOLD, 'x');
    const id = await nextRequestId(socket);
    socket.write(Buffer.concat([hello(), message(KIND_RESPONSE, { id, flags: 0x8000 }, Buffer.from('fine'))]));
    assert.is((await call).text(), 'fine');
    const odd = failure(client.request(HOLD, 'x'));
    socket.write(message(KIND_ERROR, { id: await nextRequestId(socket), status: 77 }));
    assert.equal([(await odd).code, (await odd).status], ['ERR_RPC_APPLICATION', 77]);
  }));

test('a server that falls silent is found out by keepalive', () =>
  rawServer(
    async (client, socket) => {
      socket.resume();
      const call = failure(client.request(HOLD, 'x'));
      const error = await call;
      assert.is(error.code, 'ERR_RPC_LOST');
      assert.match(error.message, /silent/);
      assert.is(client.isOpen, false);
    },
    { keepAliveMs: 20, keepAliveTimeoutMs: 30 },
  ));

test('calls that wait when the server says goodbye end as not executed', () =>
  rawServer(
    async (client, socket) => {
      const first = client.request(HOLD, 'first');
      const second = failure(client.request(HOLD, 'second'));
      const id = await nextRequestId(socket);
      socket.write(Buffer.concat([hello(), message(KIND_GOAWAY)]));
      const error = await second;
      assert.equal([error.code, error.mayHaveRun], ['ERR_RPC_UNAVAILABLE', false]);
      socket.write(message(KIND_RESPONSE, { id }, Buffer.from('still')));
      assert.is((await first).text(), 'still');
      await until(() => !client.isOpen, 'the client closes');
    },
    { maxInFlight: 1 },
  ));

test.run();
