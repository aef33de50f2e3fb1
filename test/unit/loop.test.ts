// The loop beside the rest of the process: neither starves the other, it sleeps and wakes without losing a frame, and
// connections share a link that is full.
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Core } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import { memoryLink, openStack } from '../../src/host/index.js';
import { createZc, type Zc, type ZcConnection, type ZcHandler } from '../../src/host/zc/index.js';
import { MIRROR, openMirrored } from '../helpers/mirror-link.js';
import { next, until } from '../helpers/net-pair.js';
import { random } from '../helpers/random.js';
import { finish, open, SERVER } from '../helpers/zc-pair.js';

/** Sends what comes straight back; ends when the peer does. */
function echo(zc: Zc): ZcHandler {
  return {
    data(connection, addr, len) {
      connection.send(addr, len);
      zc.free(addr);
    },
    eof: (connection) => connection.end(),
  };
}

function ask(zc: Zc, connection: ZcConnection): void {
  const addr = zc.alloc(64);
  zc.write(addr, 'question');
  connection.send(addr, 64);
  zc.free(addr);
}

/** Kernel sockets of this thread that send one another a byte as fast as they can. */
async function kernelTraffic(sockets: number): Promise<{ echoes(): number; end(): Promise<void> }> {
  // The clients hang up in the middle.
  const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen(0, '127.0.0.1');
  await next(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  let echoes = 0;
  const clients = await Promise.all(
    Array.from({ length: sockets }, async () => {
      const socket = net.connect(port, '127.0.0.1');
      await next(socket, 'connect');
      socket.on('data', (data) => {
        echoes++;
        socket.write(data);
      });
      socket.write('x');
      return socket;
    }),
  );
  return {
    echoes: () => echoes,
    async end() {
      for (const socket of clients) socket.destroy();
      server.close();
      await next(server, 'close');
    },
  };
}

for (const sockets of [1, 64]) {
  test(`with a link that never rests and ${sockets} kernel socket(s) that do not either, both get on, and timers too`, async () => {
    // The mirror's clock counts bursts as microseconds: as long as one of 50 µs is when they are full.
    const zc = await openMirrored({ yieldUs: 5 });
    zc.listen({ port: 7 }, echo(zc));
    let asked = 0;
    let stop = false;
    let open = 0;
    for (let i = 0; i < 16; i++) {
      zc.connect(
        { port: 7, address: MIRROR },
        {
          connect(connection) {
            open++;
            ask(zc, connection);
          },
          data(connection, addr) {
            zc.free(addr);
            asked++;
            if (stop) connection.end();
            else ask(zc, connection);
          },
          closed: () => open--,
        },
      );
    }
    await until(() => asked > 1000, 'traffic on the link');
    const kernel = await kernelTraffic(sockets);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 2);
    const before = [asked, kernel.echoes()];
    await delay(500);
    clearInterval(timer);
    const [onLink, onKernel] = [asked - before[0], kernel.echoes() - before[1]];
    const seen = `${onLink} questions on the link, ${onKernel} bytes through the kernel, ${ticks} ticks`;
    assert.ok(onLink > 500 && onKernel > 20 && ticks > 20, seen);
    await kernel.end();
    stop = true;
    await until(() => open === 0, 'the end');
    await finish({ stacks: [zc.stack] });
  });
}

test('a turn takes at most the link’s burst of frames, however many wait', async () => {
  const burstFrames = 4;
  const name = `loop-burst-${process.pid}`;
  const link = memoryLink(name, { burstFrames });
  const turns: number[] = [];
  let seen = 0;
  let core: Core | null = null;
  const receiver = await openStack({
    link: {
      ...link,
      burst() {
        // What the core has been given since the last one.
        const frames = core?.counter(L.CNT_RxFrames) ?? 0;
        turns.push(frames - seen);
        seen = frames;
        return link.burst();
      },
    },
    address: `${SERVER}/24`,
    zones: 16,
    rxZones: 4,
  });
  core = receiver.core;
  const sender = await openStack({ link: memoryLink(name), address: '10.0.0.2/24', zones: 16, rxZones: 4 });
  const server = createZc(receiver);
  const client = createZc(sender);
  const total = 4_000_000;
  let received = 0;
  server.listen(
    { port: 5 },
    {
      data(_connection, addr, len) {
        server.free(addr);
        received += len;
      },
      eof: (connection) => connection.end(),
    },
  );
  const addr = client.alloc(50_000);
  let sent = 0;
  const send = (connection: ZcConnection): void => {
    while (sent < total && connection.send(addr, 50_000)) sent += 50_000;
    if (sent === total) connection.end();
  };
  client.connect({ port: 5, address: SERVER }, { connect: send, writable: send });
  await until(() => received === total, 'all of it', 20_000);
  client.free(addr);
  const full = turns.filter((frames) => frames === burstFrames).length;
  assert.is(Math.max(...turns), burstFrames);
  assert.ok(full > 200, `${full} turns of ${turns.length} had more to take than they may`);
  await finish({ stacks: [receiver, sender] });
});

test('under a flood libuv has its turn after a bounded number of bursts', async () => {
  // The mirror's bursts take a microsecond each, by its clock.
  const yieldUs = 5;
  const zc = await openMirrored({ yieldUs });
  zc.listen({ port: 7 }, echo(zc));
  const { link } = zc.stack;
  const bursts = (): number => link.clockNs() / 1000;
  let answers = 0;
  const connections = Array.from({ length: 16 }, () =>
    zc.connect(
      { port: 7, address: MIRROR },
      {
        connect: (connection) => ask(zc, connection),
        data(connection, addr) {
          zc.free(addr);
          answers++;
          ask(zc, connection);
        },
      },
    ),
  );
  await until(() => answers > 1000, 'traffic on the link');
  const before = answers;
  const turns: number[] = [];
  let last = bursts();
  for (let i = 0; i < 2000; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = bursts();
    turns.push(Math.round(now - last));
    last = now;
  }
  assert.ok(answers - before > 2000, 'the link never rests');
  assert.ok(Math.max(...turns) > 1 && Math.max(...turns) <= yieldUs + 1, `${Math.max(...turns)} bursts at once`);
  for (const connection of connections) connection.abort();
  await finish({ stacks: [zc.stack] });
});

test('from spinning to sleeping and back no frame is lost, whenever the next one comes', async () => {
  // No timer of TCP's helps a loop that has slept through a frame.
  const pair = await open({ loop: { idleSpinUs: 500 }, rtoMinUs: 1_000_000, tlpSlackUs: 1_000_000 });
  const { server, client, stacks } = pair;
  server.listen({ port: 7 }, echo(server));
  let answers = 0;
  let connected = false;
  const connection = client.connect(
    { port: 7, address: SERVER },
    {
      connect: () => (connected = true),
      data(_connection, addr) {
        client.free(addr);
        answers++;
      },
    },
  );
  await until(() => connected, 'the connection');
  const { below } = random(5);
  for (let i = 0; i < 200; i++) {
    ask(client, connection);
    await until(() => answers === i + 1, `answer ${i}`, 900);
    // Around the moment at which both loops fall asleep.
    const end = performance.now() + below(15) / 10;
    while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
    if (i % 20 === 0) await delay(5);
  }
  for (const { core, link } of stacks) {
    assert.is(core.counter(L.CNT_TcpRetransSegs), 0);
    assert.is(link.stats().rxNoObject, 0);
  }
  connection.end();
  await finish(pair);
});

test('connections that all send as much as they can get their share each', async () => {
  const pair = await open();
  const { server, client } = pair;
  const connections = 8;
  const total = 40_000_000;
  const received = new Map<ZcConnection, number>();
  let all = 0;
  server.listen(
    { port: 5 },
    {
      data(connection, addr, len) {
        server.free(addr);
        if (all >= total) return;
        all += len;
        received.set(connection, (received.get(connection) ?? 0) + len);
      },
      eof: (connection) => connection.end(),
    },
  );
  const addr = client.alloc(65536);
  const fill = (connection: ZcConnection): void => {
    if (all >= total) connection.end();
    else while (connection.send(addr, 65536));
  };
  // All begin together: of the SYNs that wait for the first neighbour's MAC some are lost, and come later.
  let opened = 0;
  const senders: ZcConnection[] = [];
  const connect = (): void => {
    if (++opened === connections) for (const sender of senders) fill(sender);
  };
  for (let i = 0; i < connections; i++) {
    senders.push(client.connect({ port: 5, address: SERVER }, { connect, writable: fill }));
  }
  await until(() => all >= total, 'all bytes', 20_000);
  const shares = [...received.values()];
  assert.is(shares.length, connections);
  const least = Math.min(...shares) / (total / connections);
  assert.ok(least > 0.5, `the least has ${least} of its share: ${shares}`);
  for (const sender of senders) sender.abort();
  client.free(addr);
  await finish(pair);
});

test.run();
