// Shared memory between two processes: data, connecting in either order and again, what is left behind, waking up.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../helpers/netns.js';
import { type EndProcess, startEnd, startFails } from './end-process.js';
import { openEnd } from './ring-end.js';

const folder = mkdtempSync(join(tmpdir(), 'lunet-memif-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
let sockets = 0;
const socket = (): string => join(folder, `${sockets++}.sock`);

const freePages = (): number =>
  Number(readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 'utf8'));

function frame(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 3 + seed * 29 + (i >> 7)) & 0xff);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Sends frames of many sizes and shapes, `window` at a time, and compares what comes back. */
async function exchange(end: Awaited<ReturnType<typeof openEnd>>, count: number, window = 64): Promise<void> {
  let sent = 0;
  let received = 0;
  const deadline = Date.now() + 15_000;
  while (received < count) {
    while (sent < count && sent - received < window) {
      const whole = frame(sent, 60 + ((sent * 37) % 1455));
      if (sent % 3 === 0) end.send(whole);
      else end.send(whole.subarray(0, 54), whole.subarray(54));
      sent++;
    }
    for (const { bytes } of end.turn()) {
      assert.is(hex(bytes), hex(frame(received, 60 + ((received * 37) % 1455))));
      received++;
    }
    if (Date.now() > deadline) throw new Error(`${received} of ${count} frames came back`);
    if (received % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

async function linked(end: Awaited<ReturnType<typeof openEnd>>): Promise<void> {
  let seen = 0;
  await until('an echo', () => {
    end.send(frame(0, 60));
    for (let i = 0; i < 100; i++) seen += end.turn().length;
    return seen > 0;
  });
  // Let what is still under way arrive, so that the next exchange begins in order.
  const quiet = Date.now() + 100;
  while (Date.now() < quiet) {
    end.turn();
    await delay(5);
  }
}

test('frames of all sizes, of one and of several segments, come back as they were', async () => {
  const path = socket();
  const server = await startEnd(`memif:${path}?role=server`);
  const end = await openEnd(`memif:${path}?role=client`);
  await exchange(end, 20_000);
  assert.is(end.link.stats().rxLinearised, 0);
  assert.is(end.linkCopiedBytes(), 0);
  const { frames, stats } = await server.report();
  assert.is(frames, 20_000);
  assert.is(stats.rxLinearised, 0);
  end.close();
  server.tell('quit');
  assert.is((await server.ended).status, 0);
  assert.not.ok(existsSync(path));
});

test('frames larger than 1,500 bytes pass when both ends say so', async () => {
  const path = socket();
  const server = await startEnd(`memif:${path}?role=server&mtu=9000`);
  const end = await openEnd(`memif:${path}?role=client&mtu=9000`);
  await linked(end);
  // Payload spans several of the test's slots, which are 2 KiB.
  const bytes = frame(1, 9014);
  end.u8.set(bytes, end.scratch + 100_000);
  end.sendRaw([end.scratch + 100_000, bytes.length, 3]);
  const got: string[] = [];
  await until('the frame', () => {
    for (const { bytes: back } of end.turn()) got.push(hex(back));
    return got.length > 0;
  });
  assert.equal(got, [hex(bytes)]);
  end.close();
  await server.kill('SIGKILL');
});

test('the two ends have addresses of their own, the same in every run', async () => {
  const path = socket();
  const server = await startEnd(`memif:${path}?role=server`);
  const client = await startEnd(`memif:${path}?role=client`);
  const [one, two] = [await server.report(), await client.report()];
  assert.is.not(one.info.mac, two.info.mac);
  await server.kill('SIGKILL');
  const again = await startEnd(`memif:${path}?role=server`);
  assert.is((await again.report()).info.mac, one.info.mac);
  const chosen = await startEnd(`memif:${socket()}?role=server&mac=02:11:22:33:44:55`);
  assert.is((await chosen.report()).info.mac, '021122334455');
  for (const end of [client, again, chosen]) await end.kill('SIGKILL');
});

test('a client started before its server connects when it comes', async () => {
  const path = socket();
  const client = await startEnd(`memif:${path}?role=client`);
  const server = await openEnd(`memif:${path}?role=server`);
  await linked(server);
  await exchange(server, 500);
  server.close();
  await client.kill('SIGKILL');
});

test('a client connects again when its server was killed and restarted', async () => {
  const path = socket();
  const end = await (async () => {
    const server = await startEnd(`memif:${path}?role=server`);
    const client = await openEnd(`memif:${path}?role=client`);
    await exchange(client, 500);
    await server.kill('SIGKILL');
    return client;
  })();
  assert.ok(existsSync(path), 'a killed server leaves its socket');
  // Frames sent to nobody are lost and completed, as on a cable that is unplugged.
  const before = end.completed.length;
  await until('frames to be given up', () => {
    end.send(frame(1, 60));
    for (let i = 0; i < 70; i++) end.turn();
    return end.completed.length > before;
  });
  const server = await startEnd(`memif:${path}?role=server`);
  await linked(end);
  await exchange(end, 500);
  end.close();
  await server.kill('SIGKILL');
});

test('a server goes on with the next client when one was killed, under load, again and again', async () => {
  const path = socket();
  const server = await openEnd(`memif:${path}?role=server`);
  for (let i = 0; i < 8; i++) {
    const client = await startEnd(`memif:${path}?role=client`);
    await linked(server);
    const end = Date.now() + 150;
    let killed: Promise<void> | null = null;
    while (Date.now() < end) {
      for (let k = 0; k < 200; k++) {
        if (k % 4 === 0) server.send(frame(k, 1000));
        server.turn();
      }
      if (Date.now() > end - 75) killed ??= client.kill('SIGKILL');
      await new Promise((resolve) => setImmediate(resolve));
    }
    await killed;
  }
  server.close();
});

test('a socket in use is refused, and one that is no socket', async () => {
  const path = socket();
  const server = await startEnd(`memif:${path}?role=server`);
  assert.is((await startFails(`memif:${path}?role=server`)).failed, 'EADDRINUSE');
  await server.kill('SIGKILL');
  const file = socket();
  writeFileSync(file, 'precious');
  assert.is((await startFails(`memif:${file}?role=server`)).failed, 'EADDRINUSE');
  assert.is(readFileSync(file, 'utf8'), 'precious');
  const other = socket();
  const listener = createServer().listen(other);
  await new Promise((resolve) => listener.once('listening', resolve));
  assert.is((await startFails(`memif:${other}?role=server`)).failed, 'EADDRINUSE');
  assert.ok(existsSync(other));
  listener.close();
});

test('a folder that is not there is named', async () => {
  const { failed, message } = await startFails(`memif:${folder}/absent/x.sock?role=server`);
  assert.ok(failed);
  assert.match(message, /absent/);
});

for (const [way, expected] of [
  ['SIGINT', 'SIGINT'],
  ['SIGTERM', 'SIGTERM'],
  ['SIGHUP', 'SIGHUP'],
  ['crash throw', 1],
  ['crash exit', 0],
] as const) {
  test(`a process that ends by ${way} leaves no socket and no hugepage`, async () => {
    const pages = freePages();
    const path = socket();
    const server = await startEnd(`memif:${path}?role=server`);
    assert.ok(existsSync(path));
    if (way.startsWith('crash')) server.tell(way);
    else server.child.kill(way as NodeJS.Signals);
    const { status, signal } = await server.ended;
    assert.is(signal ?? status, expected);
    assert.not.ok(existsSync(path));
    await until('the hugepages', () => freePages() === pages);
  });
}

test('after SIGKILL the hugepages are free at once and the next start takes the socket over', async () => {
  const pages = freePages();
  const path = socket();
  const first = await startEnd(`memif:${path}?role=server`);
  await first.kill('SIGKILL');
  await until('the hugepages', () => freePages() === pages);
  assert.ok(existsSync(path));
  const second = await startEnd(`memif:${path}?role=server`);
  second.tell('quit');
  await second.ended;
  assert.not.ok(existsSync(path));
});

/** Sleeps on the link. Resolves with the milliseconds until it was woken. */
function sleep(end: Awaited<ReturnType<typeof openEnd>>, limitMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const limit = setTimeout(() => reject(new Error('not woken')), limitMs);
    const armed = end.link.armWakeup(() => {
      clearTimeout(limit);
      resolve(performance.now() - begun);
    });
    if (!armed) {
      clearTimeout(limit);
      reject(new Error('the link cannot wake'));
    }
  });
}

async function wakeTest(roles: readonly ['server' | 'client', 'server' | 'client']): Promise<void> {
  const path = socket();
  const [own, far] = roles;
  let peer: EndProcess;
  let end: Awaited<ReturnType<typeof openEnd>>;
  if (own === 'server') {
    end = await openEnd(`memif:${path}?role=server`);
    peer = await startEnd(`memif:${path}?role=${far}`);
  } else {
    peer = await startEnd(`memif:${path}?role=${far}`);
    end = await openEnd(`memif:${path}?role=client`);
  }
  await linked(end);
  peer.tell('collect');
  for (let round = 0; round < 20; round++) {
    setTimeout(() => peer.tell(`send ${hex(frame(round, 64))}`), 10 + round);
    const sleptMs = await sleep(end, 5000);
    assert.ok(sleptMs > 5, `woken after ${sleptMs} ms although nothing had come`);
    const got: string[] = [];
    await until('the frame', () => {
      for (const { bytes } of end.turn()) got.push(hex(bytes));
      return got.length > 0;
    });
    assert.equal(got, [hex(frame(round, 64))]);
  }
  // Frames that came before the call are not slept over.
  peer.tell(`send ${hex(frame(99, 64))}`);
  await delay(50);
  assert.ok((await sleep(end, 5000)) < 20);
  end.turn();
  end.close();
  await peer.kill('SIGKILL');
}

test('a sleeping server is woken by a frame', () => wakeTest(['server', 'client']));
test('a sleeping client is woken by a frame', () => wakeTest(['client', 'server']));

test('a sleeper is woken when its peer goes, and when another one comes', async () => {
  const path = socket();
  const end = await openEnd(`memif:${path}?role=server`);
  const first = await startEnd(`memif:${path}?role=client`);
  await linked(end);
  const woken = sleep(end, 5000);
  await delay(30);
  await first.kill('SIGKILL');
  await woken;
  let frames = 0;
  // It is asleep until the next client is there, whose first frame is then received.
  const alone = sleep(end, 15_000);
  const second = await startEnd(`memif:${path}?role=client`);
  const sleptMs = await alone;
  assert.ok(sleptMs > 20 && sleptMs < 14_000, `woken after ${sleptMs} ms`);
  second.tell(`send ${hex(frame(1, 64))}`);
  await until('the frame', () => {
    frames += end.turn().length;
    return frames > 0;
  });
  end.close();
  await second.kill('SIGKILL');
});

test('nothing calls back after disarmWakeup()', async () => {
  const path = socket();
  const end = await openEnd(`memif:${path}?role=server`);
  const peer = await startEnd(`memif:${path}?role=client`);
  await linked(end);
  peer.tell('collect');
  let called = false;
  assert.ok(
    end.link.armWakeup(() => {
      called = true;
    }),
  );
  end.link.disarmWakeup();
  peer.tell(`send ${hex(frame(1, 64))}`);
  await delay(100);
  assert.not.ok(called);
  end.close();
  await peer.kill('SIGKILL');
});

test.run();
