import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as nl from '../../src/host/netlink/constants.js';
import { interfaceInfo } from '../../src/host/netlink/interface.js';
import { openNetlinkSocket } from '../../src/host/netlink/socket.js';
import { addressEntry, createFakeKernel, linkEntry, routeEntry } from '../helpers/fake-kernel.js';

const dumpOfRoutes = { what: 'dump of routes', type: nl.RTM_GETROUTE, fixed: new Uint8Array(12) };
const lookUp = { what: 'look-up', type: nl.RTM_GETLINK, fixed: new Uint8Array(16) };

async function failure(work: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  try {
    await work;
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
  throw new Error('nothing was thrown');
}

test('an error has the code of its errno and the kernel’s words', async () => {
  const kernel = createFakeKernel();
  kernel.failures.set(nl.RTM_GETLINK, { errno: 19, text: 'no such thing' });
  const error = await failure(openNetlinkSocket(kernel.addon, 0).request(lookUp));
  assert.is(error.code, 'ENODEV');
  assert.is(error.message, 'netlink look-up: ENODEV: no such thing');
});

test('the answers to a request come before its acknowledgement', async () => {
  const kernel = createFakeKernel();
  kernel.tables.set(nl.RTM_NEWLINK, [linkEntry()]);
  const answers = await openNetlinkSocket(kernel.addon, 0).request(lookUp);
  assert.equal(
    answers.map((message) => message.type),
    [nl.RTM_NEWLINK],
  );
});

test('dumps asked for at once run one after the other', async () => {
  const kernel = createFakeKernel();
  kernel.tables.set(nl.RTM_NEWROUTE, [routeEntry({ to: '10.0.0.0', length: 8 })]);
  const socket = openNetlinkSocket(kernel.addon, 0);
  const seen: number[] = [];
  const first = socket.dump(dumpOfRoutes, () => seen.push(1));
  const second = socket.dump(dumpOfRoutes, () => seen.push(2));
  await Promise.resolve();
  assert.is(kernel.requests.length, 1);
  await Promise.all([first, second]);
  assert.equal(seen, [1, 2]);
  assert.is(kernel.requests.length, 2);
});

test('a dump under which the table changed is made again', async () => {
  const kernel = createFakeKernel();
  kernel.tables.set(nl.RTM_NEWROUTE, [routeEntry({ to: '10.0.0.0', length: 8 })]);
  kernel.interruptedDumps = 2;
  let entries: number[] = [];
  await openNetlinkSocket(kernel.addon, 0).dump(
    dumpOfRoutes,
    (message) => entries.push(message.type),
    () => {
      entries = [];
    },
  );
  assert.is(kernel.requests.length, 3);
  assert.is(entries.length, 1);
});

test('a table that never holds still is given up with EINTR', async () => {
  const kernel = createFakeKernel();
  kernel.interruptedDumps = 1000;
  const error = await failure(openNetlinkSocket(kernel.addon, 0).dump(dumpOfRoutes, () => undefined));
  assert.is(error.code, 'EINTR');
});

test('what nobody asked for is a notification', () => {
  const kernel = createFakeKernel();
  const types: number[] = [];
  openNetlinkSocket(kernel.addon, nl.RTMGRP_LINK, { notify: (message) => types.push(message.type) });
  assert.is(kernel.groups, nl.RTMGRP_LINK);
  kernel.notify(nl.RTM_NEWROUTE, routeEntry({ to: '10.0.0.0', length: 8 }));
  assert.equal(types, [nl.RTM_NEWROUTE]);
});

test('an overrun fails requests whose answer may be lost, and is told', async () => {
  const kernel = createFakeKernel();
  kernel.silent.add(nl.RTM_GETLINK);
  let overruns = 0;
  const socket = openNetlinkSocket(kernel.addon, 0, { overrun: () => overruns++ });
  const answer = failure(socket.request(lookUp));
  kernel.overrun();
  assert.is((await answer).code, 'ENOBUFS');
  assert.is(overruns, 1);
});

test('a datagram that makes no sense is reported and makes a dump necessary', () => {
  const kernel = createFakeKernel();
  const events: string[] = [];
  openNetlinkSocket(kernel.addon, 0, {
    malformed: () => events.push('malformed'),
    overrun: () => events.push('overrun'),
  });
  kernel.deliver(new Uint8Array(5));
  assert.equal(events, ['malformed', 'overrun']);
});

test('closing fails what is outstanding with ECANCELED', async () => {
  const kernel = createFakeKernel();
  kernel.silent.add(nl.RTM_GETLINK);
  const socket = openNetlinkSocket(kernel.addon, 0);
  const answer = failure(socket.request(lookUp));
  socket.close();
  assert.is((await answer).code, 'ECANCELED');
  assert.is((await failure(socket.request(lookUp))).code, 'ECANCELED');
  assert.is(kernel.closed, true);
});

test('an interface is described with its addresses', async () => {
  const kernel = createFakeKernel();
  kernel.tables.set(nl.RTM_NEWLINK, [linkEntry({ name: 'eth0', mtu: 1400 })]);
  kernel.tables.set(nl.RTM_NEWADDR, [addressEntry('10.0.0.1', 24), addressEntry('10.9.9.9', 24, 99)]);
  const info = await interfaceInfo(kernel.addon, 'eth0');
  assert.equal([info.kind, info.mtuBytes, info.up, info.carrier], ['veth', 1400, true, true]);
  assert.equal(info.addresses, [{ address: '10.0.0.1', prefixLength: 24, family: 'IPv4' }]);
  assert.is(kernel.closed, true);
});

test('a name that no interface can have is EINVAL', async () => {
  for (const name of ['', 'sixteen-bytes-xx', 'a b', 'a/b']) {
    assert.is((await failure(interfaceInfo(createFakeKernel().addon, name))).code, 'EINVAL');
  }
});

test.run();
