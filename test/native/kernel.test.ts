// AF_PACKET and TAP links: the kernel at the other end.
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNamespaces, INTERFACE, type Namespace, type NamespacePair, until } from '../helpers/netns.js';
import { type EndProcess, startEnd, startFails } from './end-process.js';
import { tcpFrame } from './tcp-frame.js';

let pair: NamespacePair;
test.before.each(() => {
  pair = createNamespaces();
});
test.after.each(() => pair.dispose());

const TAP = 'lunettap0';

/** TCP segments with RST, which the kernel sends to a port nobody listens on. */
const resets = (report: Awaited<ReturnType<EndProcess['report']>>, port: number): string[] =>
  report.collected
    .map(({ hex }) => hex)
    .filter((hex) => hex.slice(24, 28) === '0800' && hex.slice(46, 48) === '06')
    .filter(
      (hex) => Number.parseInt(hex.slice(72, 76), 16) === port && (Number.parseInt(hex.slice(94, 96), 16) & 4) === 4,
    );

async function macOf(namespace: Namespace, name: string): Promise<string> {
  const { stdout } = await namespace.run('ip', ['-j', 'link', 'show', name]);
  return (JSON.parse(stdout) as { address: string }[])[0].address;
}

async function exchange(end: EndProcess, frames: readonly Uint8Array[], port: number): Promise<void> {
  for (const frame of frames) {
    const hex = Buffer.from(frame).toString('hex');
    end.tell(`send ${hex.slice(0, 108)}${hex.length > 108 ? ` ${hex.slice(108)}` : ''}`);
  }
  await until('answers', async () => resets(await end.report(), port).length >= frames.length);
}

test('packet: frames go out and answers come in; the kernel’s own stack works beside it', async () => {
  const end = await startEnd(`packet:${INTERFACE}`, { namespace: pair.a });
  end.tell('collect');
  const from = { mac: pair.a.mac, address: pair.a.address, port: 7777 };
  const to = { mac: pair.b.mac, address: pair.b.address, port: 4242 };
  const frames = Array.from({ length: 40 }, (_, i) => tcpFrame({ from, to, payload: new Uint8Array(i * 36) }));
  await exchange(end, frames, 7777);
  await pair.b.run('ping', ['-c', '2', '-i', '0.05', pair.a.address]);
  const report = await end.report();
  assert.is(report.info.driver, 'net_af_packet');
  assert.is(report.info.groHoldUs, 0);
  assert.is(report.info.mac, pair.a.mac.replaceAll(':', ''));
  assert.is(report.copied, 0);
  assert.ok(report.collected.every(({ flags }) => flags === 4));
  assert.is(report.stats.rxLent, 0);
  assert.is(report.stats.txInvalid, 0);
  end.tell('quit');
  assert.is((await end.ended).status, 0);
});

test('packet: an idle end sleeps and is woken', async () => {
  const end = await startEnd(`packet:${INTERFACE}`, { namespace: pair.a });
  end.tell('collect');
  end.tell('sleep');
  // The process has only just begun, and has code to compile.
  await delay(1500);
  const before = await end.report();
  assert.is(before.canSleep, true);
  await delay(500);
  const idle = await end.report();
  assert.ok(idle.cpuMs - before.cpuMs < 50, `${idle.cpuMs - before.cpuMs} ms of CPU in 0.5 s`);
  await pair.b.run('ping', ['-c', '3', '-i', '0.1', pair.a.address]);
  await until('frames', async () => (await end.report()).frames >= idle.frames + 3);
  assert.ok((await end.report()).wakeups > idle.wakeups);
  end.tell('quit');
  await end.ended;
});

test('packet: an interface that is not there is named', async () => {
  assert.is((await startFails('packet:absent0', { namespace: pair.a })).failed, 'ENODEV');
});

test('tap: the kernel sees an interface, which is gone after close', async () => {
  const end = await startEnd(`tap:${TAP}`, { namespace: pair.a });
  end.tell('collect');
  await pair.a.run('ip', ['address', 'add', '10.99.0.1/24', 'dev', TAP]);
  await pair.a.run('ip', ['link', 'set', TAP, 'up']);
  const { info } = await end.report();
  const own = (info.mac.match(/../g) ?? []).join(':');
  await pair.a.run('ip', ['neigh', 'add', '10.99.0.2', 'lladdr', own, 'dev', TAP]);
  assert.is.not(await macOf(pair.a, TAP), own);
  const from = { mac: own, address: '10.99.0.2', port: 7777 };
  const to = { mac: await macOf(pair.a, TAP), address: '10.99.0.1', port: 4242 };
  const frames = Array.from({ length: 40 }, (_, i) => tcpFrame({ from, to, payload: new Uint8Array(i * 36) }));
  await exchange(end, frames, 7777);
  const report = await end.report();
  assert.is(report.copied, 0);
  assert.is(report.stats.rxLent, 0);
  end.tell('quit');
  assert.is((await end.ended).status, 0);
  const { status } = await pair.a.run('ip', ['link', 'show', TAP], { anyStatus: true });
  assert.is.not(status, 0);
});

test('tap: an idle end sleeps and is woken', async () => {
  const end = await startEnd(`tap:${TAP}`, { namespace: pair.a });
  await pair.a.run('ip', ['address', 'add', '10.99.0.1/24', 'dev', TAP]);
  await pair.a.run('ip', ['link', 'set', TAP, 'up']);
  end.tell('collect');
  end.tell('sleep');
  await delay(1500);
  const before = await end.report();
  assert.is(before.canSleep, true);
  await delay(500);
  const idle = await end.report();
  assert.ok(idle.cpuMs - before.cpuMs < 100, `${idle.cpuMs - before.cpuMs} ms of CPU in 0.5 s`);
  await pair.a.run('ping', ['-c', '2', '-i', '0.1', '-W', '0.2', '10.99.0.2'], { anyStatus: true });
  await until('ARP requests', async () => (await end.report()).frames > idle.frames);
  end.tell('quit');
  await end.ended;
});

test('tap: a killed process leaves no interface', async () => {
  const end = await startEnd(`tap:${TAP}`, { namespace: pair.a });
  await end.kill('SIGKILL');
  const again = await startEnd(`tap:${TAP}?mtu=1400`, { namespace: pair.a });
  const { stdout } = await pair.a.run('ip', ['-j', 'link', 'show', TAP]);
  assert.is((JSON.parse(stdout) as { mtu: number }[])[0].mtu, 1400);
  again.tell('quit');
  await again.ended;
});

test.run();
