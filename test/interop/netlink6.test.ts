// The kernel's IPv6 tables as netlink sync sees them, against what iproute2 says of the same namespace: with duplicate
// address detection, router advertisements and neighbour discovery as the kernel does them.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import { ADDRESS_DEPRECATED } from '../../src/host/core/layout.js';
import { loudly } from '../helpers/before.js';
import { createNamespaces, INTERFACE, type NamespacePair, until } from '../helpers/netns.js';
import { type Program, startProgram } from '../helpers/program.js';
import type { TablesReport } from './programs/netlink-tables.js';

let pair: NamespacePair;
let program: Program;

const report = (): Promise<TablesReport> => program.ask<TablesReport>({ ask: 'report' });
const ip = async (...args: string[]): Promise<string> => (await pair.a.run('ip', ['-6', ...args])).stdout;

function bytesOf(address: string): number[] {
  const bytes = new Uint8Array(16);
  writeAddress(bytes, 0, address);
  return [...bytes];
}

/** As the program reports addresses. */
const hex = (address: string): string => Buffer.from(bytesOf(address)).toString('hex');

function prefix(text: string): string {
  if (text === 'default') return `${hex('::')}/0`;
  const [address, length] = text.split('/');
  return `${hex(address)}/${length ?? 128}`;
}

interface JsonRoute {
  dst: string;
  gateway?: string;
  dev?: string;
  metric: number;
}

async function expectedRoutes(): Promise<Record<string, string>> {
  const routes = JSON.parse(await ip('-j', 'route', 'show', 'table', 'main')) as JsonRoute[];
  const best = new Map<string, JsonRoute>();
  for (const route of routes) {
    if (route.dev !== INTERFACE) continue;
    const other = best.get(prefix(route.dst));
    if (other === undefined || route.metric < other.metric) best.set(prefix(route.dst), route);
  }
  return Object.fromEntries([...best].map(([key, { gateway }]) => [key, gateway ? hex(gateway) : 'link']));
}

interface JsonAddress {
  local: string;
  prefixlen: number;
  tentative?: boolean;
  dadfailed?: boolean;
  deprecated?: boolean;
}

/** iproute2 leaves empty objects where it has filtered something out. */
async function addresses(of: 'a' | 'b' = 'a', ...scope: string[]): Promise<JsonAddress[]> {
  const { stdout } = await pair[of].run('ip', ['-6', '-j', 'address', 'show', 'dev', INTERFACE, ...scope]);
  return (JSON.parse(stdout) as { addr_info?: JsonAddress[] }[])
    .flatMap(({ addr_info }) => addr_info ?? [])
    .filter(({ local }) => local !== undefined);
}

async function expectedAddresses(): Promise<string[]> {
  return (await addresses())
    .filter(({ tentative, dadfailed }) => !tentative && !dadfailed)
    .map(({ local, prefixlen, deprecated }) => `${hex(local)}/${prefixlen + (deprecated ? ADDRESS_DEPRECATED : 0)}`);
}

async function expectedNeighbours(): Promise<Record<string, string>> {
  const neighbours = JSON.parse(await ip('-j', 'neigh', 'show', 'dev', INTERFACE)) as {
    dst: string;
    lladdr?: string;
    state: string[];
  }[];
  return Object.fromEntries(
    neighbours
      .filter((one) => one.lladdr !== undefined && !one.state.includes('FAILED'))
      .map((one) => [hex(one.dst), (one.lladdr as string).replaceAll(':', '')]),
  );
}

const sorted = (record: Record<string, string>): [string, string][] =>
  Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));

async function agrees(): Promise<void> {
  await until('the tables agree with iproute2', async () => {
    const seen = await report();
    assert.equal(seen.addresses.sort(), (await expectedAddresses()).sort());
    assert.equal(sorted(seen.routes), sorted(await expectedRoutes()));
    assert.equal(sorted(seen.neighbours), sorted(await expectedNeighbours()));
    return true;
  });
}

async function linkLocal(of: 'a' | 'b'): Promise<string> {
  return (await addresses(of, 'scope', 'link'))[0].local;
}

/** A router advertisement (RFC 4861 §4.2) from B with a prefix to make addresses of. */
async function advertise(routerSeconds: number, preferredSeconds: number): Promise<void> {
  const program = `
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
mac = bytes.fromhex("${pair.b.mac.replaceAll(':', '')}")
prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 86400, ${preferredSeconds}, 0) + socket.inet_pton(socket.AF_INET6, "fd78::")
body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, ${routerSeconds}, 0, 0) + bytes([1, 1]) + mac + prefix
s.sendto(body, ("ff02::1", 0, 0, socket.if_nametoindex("${INTERFACE}")))
`;
  await pair.b.run('python3', ['-'], { input: program });
}

test.before(
  loudly(async () => {
    pair = createNamespaces();
    await pair.a.run('sysctl', ['-qw', `net.ipv6.conf.${INTERFACE}.accept_ra=1`]);
    await pair.a.run('sysctl', ['-qw', `net.ipv6.conf.${INTERFACE}.autoconf=1`]);
    await ip('route', 'add', '2001:db8:1::/48', 'via', 'fd77::99', 'dev', INTERFACE, 'onlink', 'metric', '200');
    await ip('route', 'add', '2001:db8:1::/48', 'via', 'fd77::98', 'dev', INTERFACE, 'onlink', 'metric', '100');
    await ip('neigh', 'add', 'fd77::9', 'lladdr', '02:00:00:00:00:09', 'dev', INTERFACE, 'nud', 'permanent');
    for (const end of ['a', 'b'] as const) {
      await until(`${end}’s link-local address is past detection`, async () => {
        const [one] = await addresses(end, 'scope', 'link');
        return one !== undefined && !one.tentative;
      });
    }
    program = await startProgram(pair.a, 'netlink-tables', [INTERFACE, 'IPv6']);
  }),
);

test.after(() => pair.dispose());

test('the dump is what iproute2 shows, link-local address and route included', async () => {
  await agrees();
  const seen = await report();
  assert.ok(seen.addresses.includes(`${hex(pair.a.address6)}/64`));
  assert.ok(seen.addresses.includes(`${hex(await linkLocal('a'))}/64`));
  assert.is(seen.routes[`${hex('fe80::')}/64`], 'link');
  assert.is(seen.routes[prefix('2001:db8:1::/48')], hex('fd77::98'));
  assert.is(seen.neighbours[hex('fd77::9')], '020000000009');
});

test('routes follow: added, replaced, deleted, rejecting', async () => {
  await ip('route', 'add', '2001:db8:2::/48', 'via', pair.b.address6);
  await agrees();
  await ip('route', 'replace', '2001:db8:2::/48', 'via', await linkLocal('b'), 'dev', INTERFACE);
  await agrees();
  assert.is((await report()).routes[prefix('2001:db8:2::/48')], hex(await linkLocal('b')));
  await ip('route', 'del', '2001:db8:1::/48', 'via', 'fd77::98', 'metric', '100');
  await agrees();
  await ip('route', 'add', 'unreachable', '2001:db8:3::/48');
  await until('the rejecting route is there', async () => {
    return (await report()).routes[prefix('2001:db8:3::/48')] === '0'.repeat(32);
  });
  await ip('route', 'del', 'unreachable', '2001:db8:3::/48');
  await ip('route', 'del', '2001:db8:2::/48');
  await agrees();
});

test('a router advertisement brings a default route by a link-local gateway, and an address; another takes the route back', async () => {
  await advertise(1800, 3600);
  await until('the default route is there', async () => {
    return (await report()).routes[prefix('default')] === hex(await linkLocal('b'));
  });
  await until('the address is there', async () => {
    return (await report()).addresses.some((one) => one.startsWith('fd78') && one.endsWith('/64'));
  });
  await agrees();
  // No longer preferred (RFC 4862 §5.5.4).
  await advertise(0, 0);
  await until('the default route is gone', async () => {
    return (await report()).routes[prefix('default')] === undefined;
  });
  await until('the address is deprecated', async () => {
    return (await report()).addresses.some(
      (one) => one.startsWith('fd78') && one.endsWith(`/${64 + ADDRESS_DEPRECATED}`),
    );
  });
  await agrees();
});

test('an address is not ours before duplicate address detection has passed, and never when it has failed', async () => {
  await ip('address', 'add', 'fd79::1/64', 'dev', INTERFACE);
  await ip('address', 'add', `${pair.b.address6}/64`, 'dev', INTERFACE);
  const key = `${hex('fd79::1')}/64`;
  const taken = `${hex(pair.b.address6)}/64`;
  await until('detection has passed', async () => (await report()).addresses.includes(key));
  await until('detection has failed', async () => (await addresses()).some(({ dadfailed }) => dadfailed));
  await agrees();
  const { calls } = await report();
  assert.not.ok(calls.some((call) => call.includes(taken)));
  await ip('address', 'del', `${pair.b.address6}/64`, 'dev', INTERFACE);
  await ip('address', 'change', 'fd79::1/64', 'dev', INTERFACE, 'preferred_lft', '0');
  await until('it is deprecated', async () =>
    (await report()).addresses.includes(`${hex('fd79::1')}/${64 + ADDRESS_DEPRECATED}`),
  );
  await agrees();
  await ip('address', 'del', 'fd79::1/64', 'dev', INTERFACE);
  await agrees();
});

test('the kernel resolves a neighbour that is there, global and link-local, and says so of one that is not', async () => {
  for (const address of [pair.b.address6, await linkLocal('b')]) {
    program.send({ ask: 'resolve', address: bytesOf(address) });
    await until(`${address} is resolved`, async () => {
      return (await report()).neighbours[hex(address)] === pair.b.mac.replaceAll(':', '');
    });
  }
  await agrees();
  program.send({ ask: 'resolve', address: bytesOf(pair.a.address6.replace(/1$/, '99')) });
  await until('nobody answers for an address that nobody has', async () => {
    return (await report()).calls.includes(`neighFail ${hex(pair.a.address6.replace(/1$/, '99'))}`);
  });
});

test('down and up again, the tables are the kernel’s', async () => {
  await ip('link', 'set', INTERFACE, 'down');
  await until('it is down', async () => !(await report()).up);
  await agrees();
  await ip('link', 'set', INTERFACE, 'up');
  await until('it is up', async () => (await report()).up);
  await until('its link-local address is back', async () => {
    return (await report()).addresses.includes(`${hex(await linkLocal('a'))}/64`);
  });
  await agrees();
});

test.run();
