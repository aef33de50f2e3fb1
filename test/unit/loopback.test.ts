// A stack alone with itself: client and server on one core.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { openStack, type Stack } from '../../src/host/index.js';
import { createNet } from '../../src/host/net/index.js';

async function echo(stack: Stack, address: string, bytes: number): Promise<Buffer> {
  const net = createNet(stack);
  const server = net.createServer((socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => server.listen(7, resolve));
  const sent = Buffer.alloc(bytes, 'loopback');
  const parts: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    const socket = net.connect(7, address, () => socket.end(sent));
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('error', reject);
    socket.on('close', () => resolve());
  });
  await new Promise<void>((resolve) => server.close(() => resolve()));
  const received = Buffer.concat(parts);
  assert.ok(received.equals(sent), `${received.length} of ${bytes} bytes`);
  return received;
}

for (const [family, address, prefix] of [
  ['IPv4', '10.0.0.1', 24],
  ['IPv6', 'fd00::1', 64],
] as const) {
  test(`over ${family} a stack speaks with itself, with checksums`, async () => {
    const stack = await openStack({ link: 'loopback:', address: `${address}/${prefix}` });
    await echo(stack, address, 3_000_000);
    const counters = stack.core.counters();
    assert.is(counters.TcpRetransSegs, 0n);
    assert.is(counters.TcpInCsumErrors, 0n);
    assert.is(counters.ArpOutRequests ?? 0n, 0n);
    assert.is(stack.link.stats().rxNoObject, 0);
    await stack.close();
    assert.is(stack.core.rxInUse(), 0);
  });
}

test('two addresses of one stack speak with each other', async () => {
  const stack = await openStack({ link: 'loopback:?mtu=9000', address: ['10.0.0.1/24', '10.0.0.2/24'] });
  const net = createNet(stack);
  const peer = new Promise<string | undefined>((resolve) => {
    net
      .createServer((socket) => {
        resolve(socket.remoteAddress);
        socket.on('error', () => {}).end();
      })
      .listen(7, '10.0.0.2');
  });
  net
    .connect({ port: 7, host: '10.0.0.2', localAddress: '10.0.0.1' })
    .on('error', () => {})
    .resume();
  assert.is(await peer, '10.0.0.1');
  await stack.close();
});

test('a frame that no receive object can take is dropped and counted, and comes again', async () => {
  const stack = await openStack({
    link: 'loopback:',
    address: '10.0.0.1/24',
    zones: 24,
    rxZones: 1,
    sndBufBytes: 8 << 20,
    rcvBufBytes: 8 << 20,
    initCwndSegments: 2000,
  });
  await echo(stack, '10.0.0.1', 8_000_000);
  assert.ok(stack.link.stats().rxNoObject > 0);
  assert.ok(stack.core.counter(L.CNT_TcpRetransSegs) > 0);
  await stack.close();
});

test('on any other link a packet from ourselves is forged, and our own address is out of reach', async () => {
  const stack = await openStack({ link: 'memory:not-loopback', address: '10.0.0.1/24' });
  assert.throws(
    () => stack.connect({ address: '10.0.0.1', port: 7 }, {}),
    (error: NodeJS.ErrnoException) => error.code === 'ENETUNREACH' || error.code === 'EADDRNOTAVAIL',
  );
  await stack.close();
});

test.run();
