// What the host's interfaces pass on: reports, urgent data, user timeout and linger, in lunet/net and lunet/zc.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import { memoryLink, openStack, type Stack } from '../../src/host/index.js';
import type { ConnectionReport } from '../../src/host/net/index.js';
import { createZc, ZC_IN, ZC_NEW, ZC_OUT, ZC_PRI, type Zc, type ZcConnection } from '../../src/host/zc/index.js';
import { connected, finish, next, openEnds, SERVER_ADDRESS, until } from '../helpers/net-pair.js';

/** The host no longer hears what is sent to its address. */
function deafen(stack: Stack): void {
  writeAddress(stack.core.u8, stack.core.scratch, SERVER_ADDRESS);
  assert.is(stack.core.addressDel(stack.core.scratch, 120), 0);
}

function hearAgain(stack: Stack): void {
  writeAddress(stack.core.u8, stack.core.scratch, SERVER_ADDRESS);
  assert.is(stack.core.addressAdd(stack.core.scratch, 120), 0);
}

test('lunet/net: a peer that no longer answers is reported, and ends the connection after the user timeout', async () => {
  const ends = await openEnds({ profile: 'datacenter' });
  const { near, far, server } = await connected(ends, { client: { userTimeout: 400 } });
  const reports: ConnectionReport[] = [];
  near.on('report', (report: ConnectionReport) => reports.push(report));
  deafen(ends.serverStack);
  const began = performance.now();
  near.write('is anybody there?');
  const error = await next<NodeJS.ErrnoException>(near, 'error');
  const tookMs = performance.now() - began;
  assert.is(error.code, 'ETIMEDOUT');
  assert.ok(tookMs >= 380 && tookMs < 3000, `${tookMs} ms`);
  assert.equal(reports, [{ error: null, unanswered: true, urgentBytes: 0 }]);
  hearAgain(ends.serverStack);
  far.destroy();
  server.close();
  await finish(ends);
});

test('lunet/net: the user timeout can be set before, during and after connecting, and is checked', async () => {
  const ends = await openEnds();
  const { near, far, server } = await connected(ends);
  assert.throws(
    () => near.setUserTimeout(-1),
    (e: NodeJS.ErrnoException) => e.code === 'ERR_OUT_OF_RANGE',
  );
  assert.throws(() => ends.client.connect({ port: 1, userTimeout: Number.NaN }), /userTimeout/);
  assert.is(near.setUserTimeout(300), near);
  deafen(ends.serverStack);
  near.write('hello?');
  assert.is((await next<NodeJS.ErrnoException>(near, 'error')).code, 'ETIMEDOUT');
  hearAgain(ends.serverStack);
  far.destroy();
  server.close();
  await finish(ends);
});

interface ZcPair {
  stacks: Stack[];
  server: Zc;
  client: Zc;
}

let hubs = 0;

async function openZc(): Promise<ZcPair> {
  const hub = `reports-${process.pid}-${hubs++}`;
  const stack = (address: string): Promise<Stack> =>
    openStack({
      link: memoryLink(hub),
      address: `${address}/24`,
      zones: 16,
      rxZones: 4,
      maxConnections: 256,
      profile: 'datacenter',
    });
  const stacks = [await stack(SERVER_ADDRESS), await stack('10.0.0.2')];
  return { stacks, server: createZc(stacks[0]), client: createZc(stacks[1]) };
}

async function finishZc({ stacks }: ZcPair): Promise<void> {
  try {
    await until(() => stacks.every(({ core }) => core.zbufInUse() + core.rxInUse() === 0), 'objects in use');
  } finally {
    for (const stack of stacks) await stack.close();
  }
}

test('lunet/zc: urgent data is announced to a handler before it comes', async () => {
  const pair = await openZc();
  const { server, client } = pair;
  const seen: (string | number)[] = [];
  let accepted: ZcConnection | null = null;
  const listener = server.listen(
    { port: 7 },
    {
      accept: (connection) => {
        accepted = connection;
      },
      report: (connection, { error, unanswered, urgentBytes }) => {
        assert.is(error, null);
        assert.is(unanswered, false);
        assert.is(connection.urgentBytes, urgentBytes);
        seen.push(urgentBytes);
      },
      data: (_, addr, len) => {
        seen.push(server.text(addr, len));
        server.free(addr);
      },
    },
  );
  const connection = client.connect(
    { port: 7, address: SERVER_ADDRESS },
    {
      connect: (c) => {
        const addr = client.alloc(16);
        assert.ok(c.sendUrgent(addr, client.write(addr, 'interrupt')));
        client.free(addr);
      },
    },
  );
  await until(() => seen.length === 2, 'the report and the data');
  assert.equal(seen, [9, 'interrupt']);
  assert.is((accepted as ZcConnection | null)?.urgentBytes, 0);
  connection.abort();
  (accepted as ZcConnection | null)?.abort();
  listener.close();
  await finishZc(pair);
});

test('lunet/zc: a poll has ZC_PRI and the report, and none when reports are turned off', async () => {
  for (const wanted of [true, false]) {
    const pair = await openZc();
    const { server, client } = pair;
    const bits: number[] = [];
    const reports: (ConnectionReport | null)[] = [];
    let accepted: ZcConnection | null = null;
    const poll = server.poll((ready) => {
      for (let i = 0; i < ready.length; i++) {
        if (ready.events(i) & ZC_NEW) {
          accepted = ready.at(i).setReports(wanted);
          continue;
        }
        bits.push(ready.events(i));
        reports.push(ready.report(i));
        const iov = server.iov();
        while (ready.at(i).recv(iov) > 0) for (let k = 0; k < iov.length; k++) server.free(iov.addr(k));
      }
    });
    const listener = server.listen({ port: 7 }, poll);
    const mine = client.poll();
    const connection = client.connect({ port: 7, address: SERVER_ADDRESS }, mine);
    await mine.wait();
    assert.is(mine.events(0), ZC_OUT);
    mine.clear();
    await until(() => accepted !== null, 'the connection');
    const addr = client.alloc(16);
    assert.ok(connection.sendUrgent(addr, 5));
    client.free(addr);
    await until(() => bits.length > 0, 'the data');
    assert.equal(bits, [wanted ? ZC_IN | ZC_PRI : ZC_IN]);
    assert.equal(reports, [wanted ? { error: null, unanswered: false, urgentBytes: 5 } : null]);
    connection.abort();
    (accepted as ZcConnection | null)?.close();
    listener.close();
    await finishZc(pair);
  }
});

test('lunet/zc: a connection closed with a linger time of 0 is reset, settings are checked', async () => {
  const pair = await openZc();
  const { server, client } = pair;
  let errors = 0;
  const listener = server.listen(
    { port: 7 },
    {
      error: (_, error) => {
        assert.is((error as NodeJS.ErrnoException).code, 'ECONNRESET');
        errors++;
      },
    },
  );
  let open = false;
  const connection = client.connect({ port: 7, address: SERVER_ADDRESS }, { connect: () => (open = true) });
  await until(() => open, 'the connection');
  connection.setKeepAlive(true, 10_000).setUserTimeout(1000).setLinger(Infinity).setLinger(0);
  assert.throws(
    () => connection.setLinger(-1),
    (e: NodeJS.ErrnoException) => e.code === 'EINVAL',
  );
  assert.throws(
    () => connection.setUserTimeout(Number.NaN),
    (e: NodeJS.ErrnoException) => e.code === 'EINVAL',
  );
  connection.close();
  await until(() => errors === 1, 'the reset');
  assert.throws(
    () => connection.setLinger(0),
    (e: NodeJS.ErrnoException) => e.code === 'EBADF',
  );
  listener.close();
  await finishZc(pair);
});

test.run();
