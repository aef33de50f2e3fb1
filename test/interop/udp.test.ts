// UDP against the kernel over AF_XDP, both roles, both families: node:dgram, netcat and socat at the other end, and the
// kernel's own sockets on the other ports of the same interface.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { createNamespaces, INTERFACE, type NamespacePair, until } from '../helpers/netns.js';
import { type Program, startProgram } from '../helpers/program.js';
import type { EchoRequest, TalkReport } from './programs/dgram-echo.js';

const PORT = 5353;
/** Sizes up to what fits into a frame, and of every remainder by 4. */
const SIZES = [0, 1, 2, 3, 64, 512, 1001, 1432, 1452];

let pair: NamespacePair;
let lunet: Program;
let kernel: Program;

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

const request = (of: Partial<EchoRequest>): EchoRequest => ({
  ask: 'talk',
  type: 'udp4',
  port: PORT,
  host: '',
  sizes: SIZES,
  connected: false,
  ...of,
});

function host(of: 'lunet' | 'kernel', family: Family): string {
  const side = of === 'lunet' ? pair.a : pair.b;
  return family === 4 ? side.address : side.address6;
}

test.before(
  loudly(async () => {
    pair = createNamespaces();
    lunet = await startProgram(pair.a, 'dgram-echo', ['lunet', `xdp:${INTERFACE}`]);
    kernel = await startProgram(pair.b, 'dgram-echo', ['kernel']);
    for (const program of [lunet, kernel]) {
      // One socket for both families.
      assert.is(await program.ask(request({ ask: 'serve', type: 'udp6' })), 'serving');
    }
  }),
);

test.after(async () => {
  await pair.dispose();
});

for (const family of FAMILIES) {
  const type = family === 4 ? 'udp4' : 'udp6';

  for (const connected of [false, true]) {
    const how = connected ? 'connected' : 'not connected';

    test(`IPv${family}: node:dgram on the kernel, ${how}, talks to lunet`, async () => {
      const of = request({ type, host: host('lunet', family), connected });
      assert.equal(await kernel.ask<TalkReport>(of, 60_000), { echoed: SIZES, error: '' });
    });

    test(`IPv${family}: lunet, ${how}, talks to node:dgram on the kernel`, async () => {
      const of = request({ type, host: host('kernel', family), connected });
      assert.equal(await lunet.ask<TalkReport>(of, 60_000), { echoed: SIZES, error: '' });
    });
  }

  test(`IPv${family}: netcat and socat are clients of lunet`, async () => {
    const to = host('lunet', family);
    const script = `echo -n hello | nc -u -w 1 ${to} ${PORT}`;
    const { stdout } = await pair.b.run('bash', ['-c', script], { anyStatus: true });
    assert.is(stdout, 'hello');
    const target = family === 4 ? to : `[${to}]`;
    const socat = await pair.b.run('bash', ['-c', `echo -n hello | socat -t 1 - UDP${family}:${target}:${PORT}`]);
    assert.is(socat.stdout, 'hello');
  });

  test(`IPv${family}: socat is a server of lunet's, and a datagram in fragments reaches it whole`, async () => {
    const port = 6000 + family;
    const socat = pair.b.spawn('socat', ['-b', '9000', `UDP${family}-RECVFROM:${port},fork`, 'SYSTEM:wc -c']);
    await until('socat listens', async () => {
      const { stdout } = await pair.b.run('ss', ['-Hlun', `( sport = :${port} )`]);
      return stdout.trim() !== '';
    });
    const counters = async (): Promise<Record<string, number>> => lunet.ask(request({ ask: 'report' }));
    const before = await counters();
    // The answer is the number of bytes that came, not what was sent.
    await lunet.ask<TalkReport>(request({ type, port, host: host('kernel', family), sizes: [10, 8000] }), 60_000);
    const after = await counters();
    assert.ok(after.UdpInDatagrams >= before.UdpInDatagrams + 2, 'both are answered');
    const name = family === 4 ? 'IpFragCreates' : 'Ip6FragCreates';
    assert.is(after[name] - before[name], 6);
    socat.kill('SIGTERM');
  });
}

test('the largest datagrams reach the kernel whole, which sees their checksums', async () => {
  for (const family of FAMILIES) {
    const type = family === 4 ? 'udp4' : 'udp6';
    const snmp = async (): Promise<number> => {
      const key = family === 4 ? 'UdpInDatagrams' : 'Udp6InDatagrams';
      const { stdout } = await pair.b.run('nstat', ['-asz', key]);
      return Number(new RegExp(`${key}\\s+(\\d+)`).exec(stdout)?.[1]);
    };
    const before = await snmp();
    // What comes back is in fragments, too, which are the kernel's.
    const of = request({ type, host: host('kernel', family), sizes: [3000, 9000, 30_000] });
    await lunet.ask<TalkReport>(of, 60_000);
    assert.is((await snmp()) - before, 3, `IPv${family}`);
  }
});

test('a TCP port is not the UDP port of the same number, and the kernel keeps those that lunet has not', async () => {
  // The kernel in A has UDP 5354 and TCP 5353; lunet has UDP 5353.
  const own = await startProgram(pair.a, 'dgram-echo', ['kernel']);
  assert.is(await own.ask(request({ ask: 'serve', port: 5354 })), 'serving');
  const tcp = pair.a.spawn('socat', [`TCP4-LISTEN:${PORT},reuseaddr,fork`, 'EXEC:cat']);
  await until('socat listens', async () => {
    const { stdout } = await pair.a.run('ss', ['-Hltn', `( sport = :${PORT} )`]);
    return stdout.trim() !== '';
  });
  const { stdout } = await pair.b.run('bash', ['-c', `echo -n tcp | socat -t 2 - TCP4:${pair.a.address}:${PORT}`]);
  assert.is(stdout, 'tcp');
  const toKernel = request({ host: pair.a.address, port: 5354, sizes: [10] });
  assert.equal(await kernel.ask(toKernel), { echoed: [10], error: '' });
  const toLunet = request({ host: pair.a.address, sizes: [11] });
  assert.equal(await kernel.ask(toLunet), { echoed: [11], error: '' });
  await own.stop();
  tcp.kill('SIGTERM');
});

test('closing gives the port back to the kernel, and leaves nothing in the stack', async () => {
  assert.is(await lunet.ask(request({ ask: 'close' })), 0);
  const refused = request({ host: pair.a.address, sizes: [5], connected: true });
  assert.equal(await kernel.ask(refused), { echoed: [], error: 'ECONNREFUSED' });
});

test.run();
