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

/** Sends 997-byte pieces of a pattern, `bytes` in all, to an inline server; `taken` gets each piece and its reference. */
async function transfer(stack: Stack, bytes: number, taken: (addr: number) => void): Promise<void> {
  const { core } = stack;
  const PIECE = 997;
  const IOV = 8;
  let got = 0;
  let wrong = 0;
  stack.listen(
    { port: 80, inline: true },
    {
      accept(handle) {
        stack.setHandler(handle, {
          data(addr, length) {
            for (let i = 0; i < length; i++) if (core.u8[addr + i] !== ((got + i) % PIECE) % 251) wrong++;
            got += length;
            taken(addr);
          },
        });
      },
    },
  );
  const piece = core.alloc(PIECE);
  const iov = core.alloc(IOV * L.IOV_SIZE);
  for (let i = 0; i < PIECE; i++) core.u8[piece + i] = i % 251;
  for (let i = 0; i < IOV; i++) core.u32.set([piece, PIECE], (iov + i * L.IOV_SIZE) >> 2);
  let sent = 0;
  const more = (handle: number): void => {
    while (sent < bytes && core.sendv(handle, iov, IOV) > 0) sent += IOV * PIECE;
  };
  const handle = stack.connect(
    { address: '10.0.0.1', port: 80, inline: true },
    { connect: () => more(handle), writable: () => more(handle) },
  );
  const until = performance.now() + 20_000;
  while ((sent < bytes || got < sent) && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(sent >= bytes);
  assert.is(got, sent);
  assert.is(wrong, 0);
  core.free(piece);
  core.free(iov);
}

for (const query of ['', '?csum=off', '?mtu=9000', '?mtu=1499']) {
  test(`loopback:${query}: segments of several odd pieces have checksums that the receiver finds right`, async () => {
    const stack = await openStack({ link: `loopback:${query}`, address: '10.0.0.1/24' });
    const { flags } = stack.core.config;
    assert.is((flags & L.CFGF_TX_CSUM) !== 0, query !== '?csum=off');
    assert.is(flags & (L.CFGF_TX_NO_CSUM | L.CFGF_RX_TRUST), 0);
    await transfer(stack, 1_000_000, (addr) => stack.core.free(addr));
    assert.is(stack.core.counter(L.CNT_TcpInCsumErrors), 0);
    assert.is(stack.core.counter(L.CNT_TcpRetransSegs), 0);
    await stack.close();
  });
}

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
  // The application keeps everything until there is nothing left to receive in.
  const kept: number[] = [];
  const timer = setInterval(() => {
    if (stack.link.stats().rxNoObject > 0) for (const addr of kept.splice(0)) stack.core.free(addr);
  }, 1);
  await transfer(stack, 4_000_000, (addr) => kept.push(addr));
  clearInterval(timer);
  assert.ok(stack.link.stats().rxNoObject > 0);
  assert.ok(stack.core.counter(L.CNT_TcpRetransSegs) > 0);
  for (const addr of kept) stack.core.free(addr);
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
