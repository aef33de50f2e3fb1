// The loop beside the rest of the process: neither starves the other, it sleeps and wakes without losing a frame, and
// connections share a link that is full.
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import type { Zc, ZcConnection, ZcHandler } from '../../src/host/zc/index.js';
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
