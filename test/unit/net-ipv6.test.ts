// lunet/net over IPv6: between two stacks with addresses of both families.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linkLocal } from '../../src/host/core/address.js';
import * as L from '../../src/host/core/layout.js';
import { memoryLink, openStack, type Stack } from '../../src/host/index.js';
import { createNet } from '../../src/host/net/index.js';
import type { Socket } from '../../src/host/net/socket.js';
import { next } from '../helpers/net-pair.js';

let hubs = 0;

async function pair(a: string[], b: string[]): Promise<[Stack, Stack]> {
  const hub = `v6-${process.pid}-${hubs++}`;
  const open = (address: string[]): Promise<Stack> =>
    openStack({ link: memoryLink(hub), address, zones: 24, rxZones: 4, profile: 'internet' });
  return [await open(a), await open(b)];
}

const A = ['10.0.0.1/24', 'fd00::1/64'];
const B = ['10.0.0.2/24', 'fd00::2/64'];

async function echo(client: Stack, to: string, port: number, bytes: Buffer): Promise<Socket> {
  const socket = createNet(client).connect({ port, host: to });
  await next(socket, 'connect');
  socket.end(bytes);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  assert.is(Buffer.compare(Buffer.concat(chunks), bytes), 0);
  return socket;
}

test('a megabyte is echoed over IPv6, neighbours found by solicitation', async () => {
  const [a, b] = await pair(A, B);
  const server = createNet(a).createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  server.listen(7);
  await next(server, 'listening');
  assert.equal(server.address(), { address: '::', family: 'IPv6', port: 7 });
  const accepted = next<Socket>(server, 'connection');
  const bytes = Buffer.alloc(1 << 20, 'lunet');
  const socket = createNet(b).connect({ port: 7, host: 'fd00::1' });
  await next(socket, 'connect');
  assert.equal(
    [socket.remoteAddress, socket.remoteFamily, socket.remotePort, socket.localAddress, socket.localFamily],
    ['fd00::1', 'IPv6', 7, 'fd00::2', 'IPv6'],
  );
  assert.is((await accepted).remoteAddress, 'fd00::2');
  assert.is(socket.tcpInfo()?.tcpi_advmss, 1440);
  socket.end(bytes);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  assert.is(Buffer.compare(Buffer.concat(chunks), bytes), 0);
  assert.ok(b.core.counter(L.CNT_Icmp6OutNeighborSolicits) > 0);
  assert.ok(a.core.counter(L.CNT_Icmp6OutNeighborAdvertisements) > 0);
  assert.is(b.core.counter(L.CNT_ArpOutRequests), 0);
  assert.is(a.core.counter(L.CNT_TcpInErrs), 0);
  const closed = next(server, 'close');
  server.close();
  await closed;
  await Promise.all([a.close(), b.close()]);
});

test('a server on :: takes IPv4 too, one with ipv6Only and one on 0.0.0.0 share a port', async () => {
  const [a, b] = await pair(A, B);
  const net = createNet(a);
  const dual = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  dual.listen({ port: 7, host: '::' });
  await next(dual, 'listening');
  await echo(b, '10.0.0.1', 7, Buffer.from('four'));
  await echo(b, 'fd00::1', 7, Buffer.from('six'));
  const other = net.createServer();
  other.listen({ port: 7, host: '0.0.0.0' });
  assert.is((await next<NodeJS.ErrnoException>(other, 'error')).code, 'EADDRINUSE');
  dual.close();
  await next(dual, 'close');

  const families: string[] = [];
  const six = net.createServer((socket) => families.push(`six ${socket.remoteFamily}`) && socket.resume().end());
  const four = net.createServer((socket) => families.push(`four ${socket.remoteFamily}`) && socket.resume().end());
  six.listen({ port: 8, host: '::', ipv6Only: true });
  four.listen({ port: 8, host: '0.0.0.0' });
  await Promise.all([next(six, 'listening'), next(four, 'listening')]);
  for (const host of ['fd00::1', '10.0.0.1']) {
    const socket = createNet(b).connect({ port: 8, host }).resume();
    await next(socket, 'close');
  }
  assert.equal(families, ['six IPv6', 'four IPv4']);
  const closed = [next(six, 'close'), next(four, 'close')];
  six.close();
  four.close();
  await Promise.all(closed);
  await Promise.all([a.close(), b.close()]);
});

test('link-local addresses come with the link, and are spoken from towards their like', async () => {
  const [a, b] = await pair(A, B);
  const server = createNet(a).createServer((socket) => socket.resume().end('hello'));
  server.listen(9);
  await next(server, 'listening');
  const local = linkLocal(a.link.info.mac);
  const socket = createNet(b).connect({ port: 9, host: local });
  await next(socket, 'connect');
  assert.is(socket.localAddress, linkLocal(b.link.info.mac));
  socket.resume();
  await next(socket, 'close');
  const closed = next(server, 'close');
  server.close();
  await closed;
  await Promise.all([a.close(), b.close()]);
});

test('a gateway of each family; addresses nobody has are an error of connect()', async () => {
  const hub = `v6-${process.pid}-${hubs++}`;
  const stack = await openStack({
    link: memoryLink(hub),
    address: A,
    gateway: ['10.0.0.254', 'fd00::fe'],
    zones: 24,
    rxZones: 4,
    profile: 'datacenter',
  });
  const { core } = stack;
  const routes: number[] = [];
  for (let i = 0; core.routeAt(i, core.scratch) === 0; i++) {
    if (core.dv.getUint32(core.scratch + L.ROUTE_flags, true) & L.ROUTEF_GATEWAY) {
      routes.push(core.dv.getUint32(core.scratch + L.ROUTE_prefix_length, true));
    }
  }
  assert.equal(
    routes.sort((x, y) => x - y),
    [0, 96],
  );
  const socket = createNet(stack).connect({ port: 1, host: 'fd00::99' });
  assert.is((await next<NodeJS.ErrnoException>(socket, 'error', 20_000)).code, 'EHOSTUNREACH');
  await stack.close();
});

test('an address that cannot be one of ours is refused by name', async () => {
  for (const address of ['ff02::5/64', '::1/128', '::/0']) {
    let code = '';
    await openStack({ link: memoryLink(`v6-${process.pid}-${hubs++}`), address }).catch((error) => {
      code = error.code;
    });
    assert.is(code, 'ERR_LUNET_ADDRESS', address);
  }
});

test.run();
