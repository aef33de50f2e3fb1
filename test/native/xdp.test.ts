// AF_XDP beside the kernel's own stack, on veth between two namespaces. lunet's end is a process in A that works raw
// frames; everything else is the real kernel.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNamespaces, INTERFACE, type Namespace, type NamespacePair, until } from '../helpers/netns.js';
import { type EndProcess, startEnd, startFails } from './end-process.js';
import { tcpFrame } from './tcp-frame.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const xdpObject = join(root, 'build', 'xdp', 'lunet.o');

let pair: NamespacePair;
test.before.each(() => {
  pair = createNamespaces();
});
test.after.each(() => pair.dispose());

const startXdp = (query = '', namespace = pair.a): Promise<EndProcess> =>
  startEnd(`xdp:${INTERFACE}${query}`, { namespace, zones: 12, rxZones: 8 });

/** Id of the XDP program on A's interface, undefined when there is none. */
async function programOf(namespace: Namespace): Promise<number | undefined> {
  const { stdout } = await namespace.run('ip', ['-j', 'link', 'show', INTERFACE]);
  const [link] = JSON.parse(stdout) as { xdp?: { prog?: { id: number } } }[];
  return link.xdp?.prog?.id;
}

/** A connection attempt from B; resolves with what bash says: '' when it connected. */
async function attempt(port: number, seconds = 0.4): Promise<string> {
  const { stderr, status } = await pair.b.run(
    'timeout',
    [`${seconds}`, 'bash', '-c', `exec 3<>/dev/tcp/${pair.a.address}/${port}`],
    { anyStatus: true },
  );
  return status === 124 ? 'no answer' : stderr;
}

/** Sends raw frames from B. */
async function inject(...frames: Uint8Array[]): Promise<void> {
  const script = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('${INTERFACE}', 0))
for line in sys.stdin: s.send(bytes.fromhex(line))`;
  await pair.b.run('python3', ['-c', script], {
    input: frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join(''),
  });
}

const dports = (report: Awaited<ReturnType<EndProcess['report']>>): number[] =>
  report.collected.map(({ hex }) => Number.parseInt(hex.slice(72, 76), 16));

test('chosen TCP ports come to lunet; ping, ARP, other ports and a kernel server stay with the kernel', async () => {
  const server = pair.a.spawn('python3', ['-m', 'http.server', '9000', '--bind', pair.a.address]);
  const end = await startXdp('?ports=7777,8000-8003');
  end.tell('collect');
  for (const port of [7777, 8000, 8003]) assert.is(await attempt(port), 'no answer');
  for (const port of [7776, 7999, 8004, 61440]) assert.match(await attempt(port), /refused/);
  await pair.b.run('ping', ['-c', '3', '-i', '0.05', pair.a.address]);
  await pair.b.run('ip', ['neigh', 'flush', 'all']);
  await pair.b.run('ping', ['-c', '1', pair.a.address]);
  await until('the kernel server', async () => {
    const { stdout } = await pair.b.run('curl', ['-sS', `http://${pair.a.address}:9000/`]);
    return stdout.includes('</html>');
  });
  const report = await end.report();
  assert.equal([...new Set(dports(report))].sort(), [7777, 8000, 8003]);
  assert.is(report.info.mac, pair.a.mac.replaceAll(':', ''));
  assert.is(report.info.driver, 'net_af_xdp');
  assert.is(report.info.mtu, 1500);
  assert.ok(report.info.groHoldUs > 0, 'the kernel hands over frames one by one');
  assert.ok(
    report.collected.every(({ flags }) => flags === 4),
    'frames from veth may have partial checksums',
  );
  end.tell('quit');
  await end.ended;
  server.kill('SIGKILL');
});

test('fragments, VLANs and truncated headers go to the kernel', async () => {
  const end = await startXdp('?ports=7777');
  end.tell('collect');
  const from = { mac: pair.b.mac, address: pair.b.address, port: 1000 };
  const to = { mac: pair.a.mac, address: pair.a.address, port: 7777 };
  const plain = tcpFrame({ from, to });
  const vlan = Buffer.concat([plain.subarray(0, 12), Buffer.from('81000005', 'hex'), plain.subarray(12)]);
  await inject(
    tcpFrame({ from, to, fragment: 0x2000, payload: new Uint8Array(16) }),
    tcpFrame({ from, to, fragment: 0x0010, payload: new Uint8Array(16) }),
    vlan,
    plain.subarray(0, 40),
    plain,
  );
  await delay(100);
  const report = await end.report();
  assert.is(report.collected.length, 1);
  assert.is(report.collected[0].hex, Buffer.from(plain).toString('hex'));
  end.tell('quit');
  await end.ended;
});

test('frames that lunet sends reach the kernel beyond, gathered from their segments and counted', async () => {
  const end = await startXdp('?ports=7777');
  // A SYN to a port nobody listens on: the kernel in B answers with RST to our port.
  const from = { mac: pair.a.mac, address: pair.a.address, port: 7777 };
  const to = { mac: pair.b.mac, address: pair.b.address, port: 4242 };
  end.tell('collect');
  const payload = Uint8Array.from({ length: 1400 }, (_, i) => i & 0xff);
  const frame = Buffer.from(tcpFrame({ from, to, payload })).toString('hex');
  for (let i = 0; i < 50; i++) end.tell(`send ${frame.slice(0, 108)} ${frame.slice(108)}`);
  const report = await until('answers', async () => {
    const now = await end.report();
    return now.collected.length >= 50 && now.completed === 100 && now;
  });
  assert.ok(report.collected.every(({ hex }) => (Number.parseInt(hex.slice(94, 96), 16) & 4) === 4));
  assert.is(report.copied, 50 * 1400);
  end.tell('quit');
  await end.ended;
});

test('echoed frames lose no buffer over many rounds of the rings', async () => {
  const end = await startXdp('?ports=7777');
  end.tell('swap');
  const from = { mac: pair.b.mac, address: pair.b.address, port: 1000 };
  const to = { mac: pair.a.mac, address: pair.a.address, port: 7777 };
  const frames = Array.from({ length: 2000 }, (_, i) => tcpFrame({ from, to, payload: new Uint8Array(i % 1400) }));
  const before = (await end.report()).stats.rxFreeObjects;
  for (let round = 0; round < 6; round++) await inject(...frames);
  const report = await until('all frames', async () => {
    const now = await end.report();
    return now.frames >= 12_000 && now;
  });
  assert.is(report.stats.rxLent, 0);
  assert.is(report.stats.freeInvalid, 0);
  assert.is(report.stats.txInvalid, 0);
  // The kernel's rings hold some at any time, in either direction.
  assert.ok(report.stats.rxFreeObjects > before - 2100, `${report.stats.rxFreeObjects} of ${before}`);
  end.tell('quit');
  await end.ended;
});

test('an idle end sleeps, uses next to no CPU, and answers when a frame comes', async () => {
  const end = await startXdp('?ports=7777');
  end.tell('collect');
  end.tell('sleep');
  // The process has only just begun, and has code to compile.
  await delay(1500);
  const before = await end.report();
  assert.is(before.canSleep, true);
  await delay(1000);
  const from = { mac: pair.b.mac, address: pair.b.address, port: 1000 };
  const to = { mac: pair.a.mac, address: pair.a.address, port: 7777 };
  const idle = await end.report();
  assert.ok(idle.cpuMs - before.cpuMs < 50, `${idle.cpuMs - before.cpuMs} ms of CPU in 1 s`);
  for (let i = 1; i <= 10; i++) {
    await inject(tcpFrame({ from, to }));
    const frames = await until('the frame', async () => {
      const now = await end.report();
      return now.frames >= i && now.frames;
    });
    assert.is(frames, i);
    await delay(20);
  }
  assert.ok((await end.report()).wakeups >= 10);
  end.tell('quit');
  await end.ended;
});

test('listening steers a port to lunet and back, when the URI leaves the choice open', async () => {
  const end = await startXdp();
  end.tell('collect');
  assert.match(await attempt(5555), /refused/);
  assert.is(await attempt(61440), 'no answer');
  assert.is(await attempt(65535), 'no answer');
  end.tell('steer tcp 5555 true');
  await end.report();
  assert.is(await attempt(5555), 'no answer');
  end.tell('steer tcp 5555 false');
  end.tell('steer tcp 61440 false');
  await end.report();
  assert.match(await attempt(5555), /refused/);
  assert.is(await attempt(61440), 'no answer');
  end.tell('quit');
  await end.ended;
});

for (const way of ['quit', 'SIGINT', 'SIGTERM', 'SIGHUP', 'crash throw', 'crash exit'] as const) {
  test(`the program is gone after ${way}, and the kernel has its ports back`, async () => {
    const end = await startXdp('?ports=7777');
    assert.type(await programOf(pair.a), 'number');
    if (way.startsWith('SIG')) process.kill(await pidOf(end), way);
    else end.tell(way);
    await end.ended;
    assert.is(await programOf(pair.a), undefined);
    assert.match(await attempt(7777), /refused/);
  });
}

/** `ip netns exec` becomes the program it runs. */
async function pidOf(end: EndProcess): Promise<number> {
  if (end.child.pid === undefined) throw new Error('no process');
  return end.child.pid;
}

test('after SIGKILL the kernel goes on, and a restart serves within a second', async () => {
  const first = await startXdp('?ports=7777');
  await first.kill('SIGKILL');
  assert.type(await programOf(pair.a), 'number', 'a killed process leaves its program');
  await pair.b.run('ping', ['-c', '2', '-i', '0.05', pair.a.address]);
  // No socket is in the map any more: the port is the kernel's.
  assert.match(await attempt(7777), /refused/);
  const begun = Date.now();
  const second = await startXdp('?ports=7777');
  assert.ok(Date.now() - begun < 1000, `${Date.now() - begun} ms`);
  second.tell('collect');
  assert.is(await attempt(7777), 'no answer');
  assert.ok((await second.report()).frames > 0);
  second.tell('quit');
  await second.ended;
  assert.is(await programOf(pair.a), undefined);
});

test('killed and restarted at once, ten times', async () => {
  for (let i = 0; i < 10; i++) {
    const end = await startXdp('?ports=7777');
    end.child.kill('SIGKILL');
  }
  const end = await startXdp('?ports=7777');
  end.tell('quit');
  await end.ended;
  assert.is(await programOf(pair.a), undefined);
});

test('an interface another running process has is refused with EBUSY, and its traffic goes on', async () => {
  const end = await startXdp('?ports=7777');
  const { failed, message } = await startFails(`xdp:${INTERFACE}?ports=7778`, { namespace: pair.a });
  assert.is(failed, 'EBUSY');
  assert.match(message, new RegExp(`${await pidOf(end)}`));
  end.tell('collect');
  assert.is(await attempt(7777), 'no answer');
  assert.ok((await end.report()).frames > 0);
  end.tell('quit');
  await end.ended;
});

test('somebody else’s XDP program is left alone', async () => {
  // The same object under another program name would be ours: this is a program that only passes.
  const source = '/tmp/lunet-foreign-xdp.c';
  writeFileSync(source, 'int other(void *c) { return 2; }\n__attribute__((section("license"))) char l[] = "GPL";\n');
  await pair.a.run('clang', ['-O2', '-target', 'bpf', '-c', source, '-o', `${source}.o`]);
  await pair.a.run('ip', ['link', 'set', INTERFACE, 'xdp', 'obj', `${source}.o`, 'sec', '.text']);
  const before = await programOf(pair.a);
  const { failed, message } = await startFails(`xdp:${INTERFACE}`, { namespace: pair.a });
  assert.is(failed, 'EEXIST');
  assert.match(message, /xdp off/);
  assert.is(await programOf(pair.a), before);
});

test('what is wrong with an interface is said', async () => {
  assert.is((await startFails('xdp:absent0', { namespace: pair.a })).failed, 'ENODEV');
  await pair.a.run('ip', ['link', 'set', INTERFACE, 'down']);
  assert.is((await startFails(`xdp:${INTERFACE}`, { namespace: pair.a })).failed, 'ENETDOWN');
  await pair.a.run('ip', ['link', 'set', INTERFACE, 'up', 'mtu', '9000']);
  const { failed, message } = await startFails(`xdp:${INTERFACE}`, { namespace: pair.a });
  assert.is(failed, 'ERR_LUNET_MTU');
  assert.match(message, /mtu 1500/);
  await pair.a.run('ip', ['link', 'set', INTERFACE, 'mtu', '1500']);
  const few = await startFails(`xdp:${INTERFACE}`, { namespace: pair.a, zones: 4, rxZones: 2 });
  assert.is(few.failed, 'ERR_LUNET_RX_ZONES');
  assert.match(few.message, /rxZones: \d+/);
  assert.is((await startFails(`xdp:${INTERFACE}?queue=9`, { namespace: pair.a })).failed, 'ERR_LUNET_URI');
});

test('the largest MTU that AF_XDP takes works both ways', async () => {
  const mtu = 3490;
  for (const side of [pair.a, pair.b]) await side.run('ip', ['link', 'set', INTERFACE, 'mtu', `${mtu}`]);
  const end = await startXdp('?ports=7777');
  end.tell('collect');
  const from = { mac: pair.b.mac, address: pair.b.address, port: 1000 };
  const to = { mac: pair.a.mac, address: pair.a.address, port: 7777 };
  const large = tcpFrame({ from, to, payload: Uint8Array.from({ length: mtu - 40 }, (_, i) => i % 251) });
  await inject(large);
  const report = await until('the frame', async () => {
    const now = await end.report();
    return now.collected.length > 0 && now;
  });
  assert.is(report.collected[0].hex, Buffer.from(large).toString('hex'));
  assert.is(report.info.mtu, mtu);
  end.tell('quit');
  await end.ended;
});

test('the program names its maps as the driver and the next start expect', async () => {
  const { stdout } = await pair.a.run('llvm-objdump', ['-t', xdpObject], { anyStatus: true });
  if (stdout === '') return;
  assert.match(stdout, /xsks_map/);
  assert.match(stdout, /lunet_ports/);
});

test('payload is copied once and counted, whether it follows the headers in their segment or not', async () => {
  const end = await startXdp('?ports=7777');
  end.tell('collect');
  const headers = Buffer.alloc(54, 2).toString('hex');
  const payload = Buffer.alloc(300, 7).toString('hex');
  end.tell(`send ${headers} ${payload}`);
  await until('the first frame', async () => (await end.report()).completed === 2);
  assert.is((await end.report()).copied, 300);
  end.tell(`message ${headers}${payload}`);
  await until('the second frame', async () => (await end.report()).completed === 3);
  assert.is((await end.report()).copied, 600);
  end.tell('quit');
  await end.ended;
});

test.run();
