import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as nl from '../../src/host/netlink/constants.js';
import { type NetlinkSync, openNetlinkSync } from '../../src/host/netlink/sync.js';
import {
  addressEntry,
  createFakeCore,
  createFakeKernel,
  type FakeCore,
  type FakeKernel,
  type FakeRoute,
  linkEntry,
  neighbourEntry,
  routeEntry,
} from '../helpers/fake-kernel.js';

const MAC = [2, 0, 0, 0, 0, 9];

interface Bench {
  kernel: FakeKernel;
  core: FakeCore;
  sync: NetlinkSync;
  warnings: string[];
}

async function open(routes: FakeRoute[] = [], prepare?: (kernel: FakeKernel, core: FakeCore) => void): Promise<Bench> {
  const kernel = createFakeKernel();
  const core = createFakeCore();
  const warnings: string[] = [];
  kernel.tables.set(nl.RTM_NEWLINK, [linkEntry()]);
  kernel.tables.set(nl.RTM_NEWADDR, [addressEntry('10.0.0.1', 24)]);
  kernel.tables.set(nl.RTM_NEWROUTE, routes.map(routeEntry));
  kernel.tables.set(nl.RTM_NEWNEIGH, [neighbourEntry('10.0.0.9', nl.NUD_STALE, MAC)]);
  prepare?.(kernel, core);
  const sync = await openNetlinkSync(core, 'eth0', {
    addon: kernel.addon,
    warning: (error) => warnings.push(error.message),
  });
  return { kernel, core, sync, warnings };
}

/** Lets everything that the fake kernel has to say be said. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function mapped(last: number): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, last]);
}

test('the first dump gives the core link, addresses, neighbours and routes', async () => {
  const { core, kernel } = await open([
    { to: '10.0.0.0', length: 24 },
    { to: '', length: 0, via: '10.0.0.254', mtu: 1400 },
  ]);
  assert.is(core.link, '020000000001 1500');
  assert.equal([...core.addresses], ['10.0.0.1/120']);
  assert.equal(Object.fromEntries(core.neighbours), { '10.0.0.9': '020000000009' });
  assert.equal(Object.fromEntries(core.routes), { '10.0.0.0/120': 'link', '0.0.0.0/96': '10.0.0.254 mtu 1400' });
  assert.is(kernel.groups, nl.RTMGRP_LINK | nl.RTMGRP_NEIGH | nl.RTMGRP_IPV4_IFADDR | nl.RTMGRP_IPV4_ROUTE);
});

test('of several routes to a prefix the lowest metric wins, whatever the order', async () => {
  const slow = { to: '10.5.0.0', length: 16, via: '10.0.0.5', metric: 200 };
  const fast = { to: '10.5.0.0', length: 16, via: '10.0.0.6', metric: 100 };
  for (const order of [
    [slow, fast],
    [fast, slow],
  ]) {
    const { core, kernel } = await open(order);
    assert.is(core.routes.get('10.5.0.0/112'), '10.0.0.6');
    kernel.notify(nl.RTM_DELROUTE, routeEntry(fast));
    assert.is(core.routes.get('10.5.0.0/112'), '10.0.0.5');
    kernel.notify(nl.RTM_DELROUTE, routeEntry(slow));
    assert.is(core.routes.has('10.5.0.0/112'), false);
  }
});

test('routes of other interfaces, tables and types are not ours', async () => {
  const { core } = await open([
    { to: '10.1.0.0', length: 16, via: '10.0.0.5', index: 3 },
    { to: '10.2.0.0', length: 16, via: '10.0.0.5', table: 100 },
    { to: '10.0.0.1', length: 32, table: 255 },
    { to: '10.3.0.0', length: 16, type: 3 },
  ]);
  assert.is(core.routes.size, 0);
});

test('of a multipath route the first live hop by our interface is taken', async () => {
  const hops = [
    { index: 3, via: '10.3.0.1' },
    { index: 7, via: '10.0.0.2', flags: nl.RTNH_F_DEAD },
    { index: 7, via: '10.0.0.3' },
    { index: 7, via: '10.0.0.4' },
  ];
  const { core } = await open([{ to: '10.9.0.0', length: 16, hops }]);
  assert.is(core.routes.get('10.9.0.0/112'), '10.0.0.3');
});

test('a route that rejects has a gateway that is never resolved', async () => {
  const { core, sync, kernel } = await open([{ to: '10.9.0.0', length: 16, type: nl.RTN_UNREACHABLE }]);
  assert.is(core.routes.get('10.9.0.0/112'), '0'.repeat(32));
  const asked = kernel.requests.length;
  sync.resolve(new Uint8Array(16));
  assert.is(core.calls.at(-1), `neighFail ${'0'.repeat(32)}`);
  assert.is(kernel.requests.length, asked);
});

test('a route that rejects loses against a better metric', async () => {
  const { core } = await open([
    { to: '10.9.0.0', length: 16, type: nl.RTN_BLACKHOLE, metric: 50 },
    { to: '10.9.0.0', length: 16, via: '10.0.0.5', metric: 10 },
  ]);
  assert.is(core.routes.get('10.9.0.0/112'), '10.0.0.5');
});

test('a route replaced in the kernel is replaced in the core, and all are read again', async () => {
  const { core, kernel, sync } = await open([{ to: '10.5.0.0', length: 16, via: '10.0.0.5' }]);
  const next = routeEntry({ to: '10.5.0.0', length: 16, via: '10.0.0.6' });
  kernel.tables.set(nl.RTM_NEWROUTE, [next]);
  kernel.notify(nl.RTM_NEWROUTE, next, nl.NLM_F_REPLACE);
  assert.is(core.routes.get('10.5.0.0/112'), '10.0.0.6');
  await settled();
  assert.is(sync.dumps, 2);
  assert.is(core.routes.get('10.5.0.0/112'), '10.0.0.6');
});

test('a route replaced by one of another interface is gone', async () => {
  const { core, kernel } = await open([{ to: '10.5.0.0', length: 16, via: '10.0.0.5' }]);
  const next = routeEntry({ to: '10.5.0.0', length: 16, via: '10.3.0.6', index: 3 });
  kernel.tables.set(nl.RTM_NEWROUTE, [next]);
  kernel.notify(nl.RTM_NEWROUTE, next, nl.NLM_F_REPLACE);
  assert.is(core.routes.size, 0);
});

test('neighbours follow notifications: known, changed, failed, forgotten', async () => {
  const { core, kernel } = await open();
  core.calls.length = 0;
  kernel.notify(nl.RTM_NEWNEIGH, neighbourEntry('10.0.0.7', nl.NUD_INCOMPLETE, null));
  kernel.notify(nl.RTM_NEWNEIGH, neighbourEntry('10.0.0.7', nl.NUD_REACHABLE, MAC));
  kernel.notify(nl.RTM_NEWNEIGH, neighbourEntry('10.0.0.7', nl.NUD_STALE, MAC));
  kernel.notify(nl.RTM_NEWNEIGH, neighbourEntry('10.0.0.7', nl.NUD_REACHABLE, [2, 0, 0, 0, 0, 8]));
  kernel.notify(nl.RTM_NEWNEIGH, neighbourEntry('10.0.0.7', nl.NUD_FAILED, null));
  kernel.notify(nl.RTM_DELNEIGH, neighbourEntry('10.0.0.7', nl.NUD_FAILED, null));
  kernel.notify(nl.RTM_DELNEIGH, neighbourEntry('10.0.0.9', nl.NUD_STALE, MAC));
  kernel.notify(nl.RTM_NEWNEIGH, neighbourEntry('10.0.0.7', nl.NUD_REACHABLE, MAC, 99));
  assert.equal(core.calls, [
    'neighSet 10.0.0.7 020000000009',
    'neighSet 10.0.0.7 020000000008',
    'neighFail 10.0.0.7',
    'neighDel 10.0.0.9',
  ]);
});

test('resolving asks the kernel to use the neighbour', async () => {
  const { kernel, sync } = await open();
  sync.resolve(mapped(77));
  const request = kernel.requests.at(-1);
  assert.is(request?.type, nl.RTM_NEWNEIGH);
  assert.is(request?.flags, nl.NLM_F_REQUEST | nl.NLM_F_ACK | nl.NLM_F_CREATE);
  assert.is(
    Buffer.from(request?.body ?? []).toString('hex'),
    // ndmsg: AF_INET, interface 7, NUD_NONE, NTF_USE; NDA_DST 10.0.0.77
    '0200000007000000000001000800' + '01000a00004d',
  );
});

test('a neighbour that the kernel already knows is told at once', async () => {
  const { kernel, sync, core } = await open();
  const asked = kernel.requests.length;
  core.calls.length = 0;
  sync.resolve(mapped(9));
  assert.equal(core.calls, ['neighSet 10.0.0.9 020000000009']);
  assert.is(kernel.requests.length, asked);
});

test('a resolution that the kernel refuses has failed', async () => {
  const { kernel, sync, core } = await open();
  kernel.failures.set(nl.RTM_NEWNEIGH, { errno: 100, text: '' });
  sync.resolve(mapped(77));
  await settled();
  assert.is(core.calls.at(-1), 'neighFail 10.0.0.77');
});

test('after an overrun what has gone is removed and what has come is added', async () => {
  const { kernel, core, sync } = await open([{ to: '10.5.0.0', length: 16, via: '10.0.0.5' }]);
  kernel.tables.set(nl.RTM_NEWROUTE, [routeEntry({ to: '10.6.0.0', length: 16, via: '10.0.0.6' })]);
  kernel.tables.set(nl.RTM_NEWADDR, [addressEntry('10.0.0.2', 24)]);
  kernel.tables.set(nl.RTM_NEWNEIGH, []);
  core.calls.length = 0;
  kernel.overrun();
  await settled();
  assert.is(sync.dumps, 2);
  assert.equal([...core.routes], [['10.6.0.0/112', '10.0.0.6']]);
  assert.equal([...core.addresses], ['10.0.0.2/120']);
  assert.is(core.neighbours.size, 0);
});

test('a dump that changes nothing touches nothing in the core', async () => {
  const { core, sync } = await open([
    { to: '10.0.0.0', length: 24 },
    { to: '', length: 0, via: '10.0.0.254' },
  ]);
  core.calls.length = 0;
  await sync.resync();
  assert.equal(core.calls, []);
});

test('what is told during a dump survives its end', async () => {
  const { kernel, core, sync } = await open();
  const dump = sync.resync();
  await Promise.resolve();
  kernel.notify(nl.RTM_NEWNEIGH, neighbourEntry('10.0.0.7', nl.NUD_REACHABLE, MAC));
  kernel.notify(nl.RTM_NEWROUTE, routeEntry({ to: '10.6.0.0', length: 16, via: '10.0.0.6' }));
  kernel.tables.get(nl.RTM_NEWNEIGH)?.push(neighbourEntry('10.0.0.7', nl.NUD_REACHABLE, MAC));
  kernel.tables.get(nl.RTM_NEWROUTE)?.push(routeEntry({ to: '10.6.0.0', length: 16, via: '10.0.0.6' }));
  await dump;
  assert.is(core.neighbours.get('10.0.0.7'), '020000000009');
  assert.is(core.routes.get('10.6.0.0/112'), '10.0.0.6');
});

test('an address that goes, and a link that goes down, make everything be read again', async () => {
  const { kernel, sync, core } = await open([{ to: '10.0.0.0', length: 24 }]);
  kernel.tables.set(nl.RTM_NEWROUTE, []);
  kernel.tables.set(nl.RTM_NEWADDR, []);
  kernel.notify(nl.RTM_DELADDR, addressEntry('10.0.0.1', 24));
  await settled();
  assert.is(sync.dumps, 2);
  assert.is(core.routes.size, 0);
  assert.is(core.addresses.size, 0);
  const down = linkEntry({ flags: nl.IFF_UP });
  kernel.tables.set(nl.RTM_NEWLINK, [down]);
  kernel.notify(nl.RTM_NEWLINK, down);
  assert.is(sync.up, false);
  await settled();
  assert.is(sync.dumps, 3);
});

test('a new MAC or MTU reaches the core', async () => {
  const { kernel, core } = await open();
  kernel.notify(nl.RTM_NEWLINK, linkEntry({ mtu: 9000 }));
  assert.is(core.link, '020000000001 9000');
  kernel.notify(nl.RTM_NEWLINK, linkEntry({ mtu: 9000, mac: [2, 0, 0, 0, 0, 5] }));
  assert.is(core.link, '020000000005 9000');
});

test('a namespace without a main table has no routes', async () => {
  const { core, warnings } = await open([], (kernel) => {
    kernel.failures.set(nl.RTM_GETROUTE, { errno: 2, text: 'FIB table does not exist' });
  });
  assert.is(core.routes.size, 0);
  assert.equal(warnings, []);
});

test('an interface that does not exist is ENODEV', async () => {
  const kernel = createFakeKernel();
  kernel.failures.set(nl.RTM_GETLINK, { errno: 19, text: '' });
  let code = '';
  await openNetlinkSync(createFakeCore(), 'eth9', { addon: kernel.addon }).catch((error: NodeJS.ErrnoException) => {
    code = error.code ?? '';
  });
  assert.is(code, 'ENODEV');
  assert.is(kernel.closed, true);
});

test('what the core has no room for is told', async () => {
  const { warnings } = await open([{ to: '10.5.0.0', length: 16, via: '10.0.0.5' }], (_, core) => {
    core.result = -12;
  });
  assert.ok(warnings.some((text) => text.includes('routeAdd') && text.includes('ENOMEM')));
});

test.run();
