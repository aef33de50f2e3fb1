// The kernel's tables as netlink sync sees them, against what iproute2 says of the same namespace.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { createNamespaces, INTERFACE, type NamespacePair, until } from '../helpers/netns.js';
import { type Program, startProgram } from '../helpers/program.js';
import type { TablesReport } from './programs/netlink-tables.js';

let pair: NamespacePair;
let program: Program;

const report = (): Promise<TablesReport> => program.ask<TablesReport>({ ask: 'report' });
const ip = async (...args: string[]): Promise<string> => (await pair.a.run('ip', args)).stdout;
const host = (last: number): string => pair.a.address.replace(/\.1$/, `.${last}`);

interface JsonRoute {
  dst: string;
  gateway?: string;
  dev?: string;
  metric?: number;
}

function mappedPrefix(text: string): string {
  if (text === 'default') return '0.0.0.0/96';
  const [address, length] = text.split('/');
  return `${address}/${96 + Number(length ?? 32)}`;
}

/** What `ip -j route` says of the interface, as the core is told it. */
async function expectedRoutes(): Promise<Record<string, string>> {
  const routes = JSON.parse(await ip('-j', 'route', 'show', 'table', 'main')) as JsonRoute[];
  const best = new Map<string, JsonRoute>();
  for (const route of routes) {
    if (route.dev !== INTERFACE) continue;
    const key = mappedPrefix(route.dst);
    const other = best.get(key);
    if (other === undefined || (route.metric ?? 0) < (other.metric ?? 0)) best.set(key, route);
  }
  return Object.fromEntries([...best].map(([key, route]) => [key, route.gateway ?? 'link']));
}

async function expectedNeighbours(): Promise<Record<string, string>> {
  const neighbours = JSON.parse(await ip('-j', '-4', 'neigh', 'show', 'dev', INTERFACE)) as {
    dst: string;
    lladdr?: string;
    state: string[];
  }[];
  return Object.fromEntries(
    neighbours
      .filter((one) => one.lladdr !== undefined && !one.state.includes('FAILED'))
      .map((one) => [one.dst, (one.lladdr as string).replaceAll(':', '')]),
  );
}

async function agrees(): Promise<void> {
  await until('the tables agree with iproute2', async () => {
    const seen = await report();
    assert.equal(sorted(seen.routes), sorted(await expectedRoutes()));
    assert.equal(sorted(seen.neighbours), sorted(await expectedNeighbours()));
    return true;
  });
}

function sorted(record: Record<string, string>): [string, string][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

test.before(
  loudly(async () => {
    pair = createNamespaces();
    await ip('route', 'add', 'default', 'via', host(254));
    await ip('route', 'add', '10.20.0.0/16', 'via', host(253), 'metric', '200');
    await ip('route', 'add', '10.20.0.0/16', 'via', host(252), 'metric', '100');
    await ip('route', 'add', '10.21.0.0/16', 'dev', 'lo');
    await ip('neigh', 'add', host(9), 'lladdr', '02:00:00:00:00:09', 'dev', INTERFACE, 'nud', 'permanent');
    program = await startProgram(pair.a, 'netlink-tables', [INTERFACE]);
  }),
);

test.after(() => pair.dispose());

test('the dump is what iproute2 shows', async () => {
  const seen = await report();
  const [link] = JSON.parse(await ip('-j', 'link', 'show', INTERFACE)) as { address: string; mtu: number }[];
  assert.is(seen.link, `${link.address.replaceAll(':', '')} ${link.mtu}`);
  assert.equal(seen.addresses, [`${pair.a.address}/120`]);
  assert.is(seen.up, true);
  assert.is(seen.info.kind, 'veth');
  assert.ok(seen.info.addresses.includes(pair.a.prefix));
  await agrees();
  assert.is(seen.routes['10.20.0.0/112'], host(252));
  assert.is(seen.routes['10.21.0.0/112'], undefined);
});

test('routes follow: added, replaced, deleted, rejecting', async () => {
  await ip('route', 'add', '10.30.0.0/16', 'via', host(253));
  await agrees();
  await ip('route', 'replace', '10.30.0.0/16', 'via', host(252));
  await agrees();
  await ip('route', 'del', '10.20.0.0/16', 'via', host(252), 'metric', '100');
  await agrees();
  await ip('route', 'del', '10.30.0.0/16');
  await agrees();
  await ip('route', 'add', 'unreachable', '10.31.0.0/16');
  await until('the rejecting route is there', async () => {
    return (await report()).routes['10.31.0.0/112'] === '0'.repeat(32);
  });
  await ip('route', 'del', 'unreachable', '10.31.0.0/16');
  await agrees();
});

test('a hundred routes at once all arrive', async () => {
  const batch = Array.from({ length: 100 }, (_, i) => `route add 10.40.${i}.0/24 via ${host(253)}\n`).join('');
  await pair.a.run('ip', ['-batch', '-'], { input: batch });
  await agrees();
  await ip('route', 'flush', 'root', '10.40.0.0/16');
  await agrees();
});

test('notifications that did not fit into the socket are made up for by a dump', async () => {
  const { dumps } = await report();
  const routes = Array.from({ length: 40_000 }, (_, i) => `10.${60 + (i >> 14)}.${(i >> 6) & 255}.${(i & 63) << 2}/30`);
  program.send({ ask: 'sleep', ms: 2000 });
  const add = routes.map((route) => `route add ${route} via ${host(253)}\n`).join('');
  await pair.a.run('ip', ['-batch', '-'], { input: add });
  await until('it has dumped again', async () => (await report()).dumps > dumps);
  await agrees();
  assert.ok(Object.keys((await report()).routes).length > routes.length);
  await pair.a.run('ip', ['-batch', '-'], { input: add.replaceAll(' add ', ' del ') });
  await agrees();
});

test('the kernel resolves a neighbour that is there, and says so of one that is not', async () => {
  const mapped = (last: number): number[] => [
    ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255],
    ...host(last).split('.').map(Number),
  ];
  program.send({ ask: 'resolve', address: mapped(2) });
  await until('B is resolved', async () => {
    return (await report()).neighbours[pair.b.address] === pair.b.mac.replaceAll(':', '');
  });
  await agrees();
  program.send({ ask: 'resolve', address: mapped(99) });
  await until('nobody answers for an address that nobody has', async () => {
    return (await report()).calls.includes(`neighFail ${host(99)}`);
  });
});

test('a neighbour that changes its MAC is followed', async () => {
  await pair.b.run('ip', ['link', 'set', INTERFACE, 'address', '02:00:00:00:00:77']);
  await pair.b.run('arping', ['-A', '-c', '1', '-I', INTERFACE, pair.b.address], { anyStatus: true });
  await pair.b.run('ping', ['-c', '1', '-w', '5', pair.a.address]);
  await until('the new MAC is known', async () => {
    return (await report()).neighbours[pair.b.address] === '020000000077';
  });
  await agrees();
});

test('an address and an MTU are followed', async () => {
  await ip('address', 'add', '10.50.0.1/24', 'dev', INTERFACE);
  await ip('link', 'set', INTERFACE, 'mtu', '1400');
  await until('both are known', async () => {
    const seen = await report();
    return seen.addresses.includes('10.50.0.1/120') && seen.link.endsWith(' 1400');
  });
  await agrees();
  await ip('route', 'add', '10.51.0.0/16', 'via', '10.50.0.2');
  await agrees();
  // The kernel drops the route with the address, without telling.
  await ip('address', 'del', '10.50.0.1/24', 'dev', INTERFACE);
  await until('the address is gone', async () => !(await report()).addresses.includes('10.50.0.1/120'));
  await agrees();
});

test('down and up again, the tables are the kernel’s', async () => {
  await ip('link', 'set', INTERFACE, 'down');
  await until('it is down', async () => !(await report()).up);
  await agrees();
  await ip('link', 'set', INTERFACE, 'up');
  await until('it is up', async () => (await report()).up);
  await agrees();
});

test.run();
