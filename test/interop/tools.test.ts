// The programs people use every day at the other end: iperf3, netcat, socat and curl, as clients and as servers.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { createEndpoints, type Endpoints, FAMILIES, type Family } from '../helpers/endpoints.js';
import { finished, until } from '../helpers/netns.js';
import { type Program, startProgram } from '../helpers/program.js';
import { KERNEL_PORT, LUNET_PORT, XDP_LINK } from '../helpers/transfer.js';
import { chunks, contentHash } from './programs/content.js';
import type { Job, Outcome } from './programs/endpoint.js';
import type { Iperf3Report } from './programs/iperf3.js';

const MIB = 1 << 20;
const writer = fileURLToPath(new URL('programs/write-content.js', import.meta.url));

let ends: Endpoints;
let folder: string;

test.before(
  loudly(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lunet-tools-'));
    ends = await createEndpoints();
    await ends.open();
  }),
);

/** What iperf3 sums up. */
type End = Record<'sum_sent' | 'sum_received', Record<string, number>>;

/** A server of iperf3 knows one direction only. */
const rate = ({ sum_sent, sum_received }: End): number =>
  Math.max(sum_sent.bits_per_second, sum_received.bits_per_second);

/** A program on the interface; one at a time. */
let running: Program | null = null;

async function start(name: string, args: readonly string[]): Promise<Program> {
  running = await startProgram(ends.pair.a, name, args);
  return running;
}

test.after.each(async () => {
  await running?.stop('SIGTERM');
  running = null;
});

test.after(async () => {
  await ends.dispose();
  rmSync(folder, { recursive: true, force: true });
});

function whole(outcome: Outcome, from: { seed: number; bytes: number }): void {
  assert.is(outcome.error, '');
  assert.is(outcome.eof, true);
  assert.is(outcome.received, from.bytes);
  assert.is(outcome.hash, contentHash(from.seed, from.bytes));
}

/** Waits until something in B listens on the kernel's port. */
function kernelListens(): Promise<true> {
  return until('the tool listens', async () => {
    const { stdout } = await ends.pair.b.run('ss', ['-Hltn', `( sport = :${KERNEL_PORT} )`]);
    return stdout.trim() !== '';
  }) as Promise<true>;
}

const mine: Job = { seed: 1, bytes: 2 * MIB };
const theirs = { seed: 2, bytes: 3 * MIB };
const content = `"${process.execPath}" ${writer} ${theirs.seed} ${theirs.bytes} 0`;

/** A shell pipeline in B that sends `theirs` to `command` and writes what it hears to a file; resolves with its hash. */
async function exchangeWith(command: string): Promise<string> {
  const { stdout } = await ends.pair.b.run('bash', ['-c', `set -o pipefail; ${content} | ${command} | sha256sum`]);
  return stdout.split(' ')[0];
}

const brackets = (address: string, family: Family): string => (family === 4 ? address : `[${address}]`);

for (const family of FAMILIES) {
  const clients = {
    nc: () => `nc -N ${ends.address('lunet', family)} ${LUNET_PORT}`,
    // Half a minute for the other direction after the end of one.
    socat: () => `socat -t 30 - TCP${family}:${brackets(ends.address('lunet', family), family)}:${LUNET_PORT}`,
  };
  const servers = {
    nc: () => `nc -N -l ${ends.address('kernel', family)} ${KERNEL_PORT}`,
    socat: () => `socat -t 30 - TCP${family}-LISTEN:${KERNEL_PORT},reuseaddr`,
  };

  for (const tool of ['nc', 'socat'] as const) {
    for (const last of ['lunet', tool]) {
      test(`IPv${family}: ${tool} connects to lunet, and ${last} ends last`, async () => {
        const job: Job = last === 'lunet' ? { ...mine, begin: 'eof' } : mine;
        const listening = await ends.listen('lunet', { ...job, family });
        assert.is(await exchangeWith(clients[tool]()), contentHash(mine.seed, mine.bytes));
        whole((await listening.outcomes())[0], theirs);
      });

      // As a server, nc is done when its peer is.
      if (tool === 'nc' && last === 'nc') continue;

      test(`IPv${family}: lunet connects to ${tool}, and ${last} ends last`, async () => {
        const job: Job = last === 'lunet' ? { ...mine, begin: 'eof' } : mine;
        const heard = exchangeWith(servers[tool]());
        heard.catch(() => undefined);
        await kernelListens();
        const [outcome] = await ends.connect('lunet', { ...job, family });
        assert.is(await heard, contentHash(mine.seed, mine.bytes));
        whole(outcome, theirs);
      });
    }
  }

  test(`IPv${family}: socat echoes to lunet what lunet sends, a process for each connection`, async () => {
    const socat = ends.pair.b.spawn('socat', [`TCP${family}-LISTEN:${KERNEL_PORT},reuseaddr,fork`, 'EXEC:cat']);
    await kernelListens();
    const outcomes = await ends.connect('lunet', { ...mine, family, count: 20, parallel: 5 });
    assert.is(outcomes.length, 20);
    for (const outcome of outcomes) whole(outcome, mine);
    socat.kill('SIGTERM');
  });
}

test('afterwards lunet holds no memory, and no connection but in TIME-WAIT', () => ends.close());

for (const family of FAMILIES) {
  for (const reverse of [false, true]) {
    const direction = reverse ? 'lunet sends' : 'iperf3 sends';

    test(`IPv${family}: iperf3 is the client of lunet, ${direction}`, async () => {
      const lunet = await start('iperf3', [XDP_LINK]);
      for (const [parallel, amount] of [
        [1, ['-n', '64M']],
        [4, ['-t', '1']],
      ] as const) {
        const host = ends.address('lunet', family);
        await lunet.ask({ ask: 'serve', host, port: LUNET_PORT });
        // The kernel takes the first block whole, with which all others are compared.
        const options = [
          '-J',
          '-l',
          '16K',
          '-w',
          '512K',
          '-c',
          host,
          '-p',
          `${LUNET_PORT}`,
          '-P',
          `${parallel}`,
          ...amount,
        ];
        const { stdout } = await ends.pair.b.run('iperf3', reverse ? [...options, '-R'] : options);
        const { end } = JSON.parse(stdout) as { end: End };
        const report = (await lunet.next()) as Iperf3Report;
        show(`${direction}, ${parallel} streams`, report, rate(end), end.sum_sent.retransmits);
        assert.is(report.error, '');
        assert.is(report.wrong, 0);
        assert.ok(report.received > 0);
        assert.is(end.sum_received.bytes, report.received);
        onlyProbes(report);
      }
    });

    test(`IPv${family}: lunet is the client of iperf3, ${reverse ? 'iperf3 sends' : 'lunet sends'}`, async () => {
      const lunet = await start('iperf3', [XDP_LINK]);
      for (const parallel of [1, 4]) {
        const host = ends.address('kernel', family);
        const iperf3 = ends.pair.b.spawn('iperf3', ['-J', '-s', '-1', '-B', host, '-p', `${KERNEL_PORT}`]);
        const ended = finished(iperf3, 60_000);
        await kernelListens();
        const report = await lunet.ask<Iperf3Report>(
          { ask: 'run', host, port: KERNEL_PORT, bytes: 64 * MIB, parallel, reverse },
          60_000,
        );
        const { stdout } = await ended;
        const { end } = JSON.parse(stdout) as { end: End };
        show(`${parallel} streams`, report, rate(end), end.sum_sent.retransmits);
        assert.is(report.error, '');
        assert.is(report.wrong, 0);
        assert.ok(report.received >= 60 * MIB, `${report.received} bytes`);
        onlyProbes(report);
      }
    });
  }

  test(`IPv${family}: curl is the client of an http server on lunet`, async () => {
    await start('http-server', [`${LUNET_PORT}`, XDP_LINK]);
    const url = `http://${brackets(ends.address('lunet', family), family)}:${LUNET_PORT}`;
    const file = join(folder, 'got');
    // One connection for several requests, one of them refused, and an upload.
    const gets = [1, 2, 3].map((seed) => `${url}/${seed}/${MIB}`);
    const outputs = gets.flatMap((_, i) => ['-o', `${file}${i}`]);
    const { stdout } = await ends.pair.b.run('curl', ['-sS', '-w', '%{num_connects}\n', ...outputs, ...gets]);
    assert.is(stdout.trim().replaceAll('\n', ' '), '1 0 0');
    for (let i = 0; i < 3; i++) {
      assert.is(readFileSync(`${file}${i}`).equals(Buffer.concat([...chunks(i + 1, MIB)])), true);
    }
    const { stdout: code } = await ends.pair.b.run('curl', [
      '-sS',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      `${url}/no`,
    ]);
    assert.is(code, '404');
    const put = await ends.pair.b.run('bash', ['-c', `${content} | curl -sS -T - ${url}/`]);
    assert.is(put.stdout.trim(), contentHash(theirs.seed, theirs.bytes));
  });
}

/**
 * Nothing is lost. But Linux, while its application does not read, holds back the acknowledgment of what was sent last
 * for longer than a probe for a lost tail waits (RFC 8985 §7.2).
 */
function onlyProbes(report: Iperf3Report): void {
  assert.ok(report.retransmitted <= report.probes, `${report.retransmitted} retransmitted, ${report.probes} probes`);
  assert.is(report.timeouts, 0);
}

function show(what: string, report: Iperf3Report, bitsPerSecond: number, retransmitted: number | undefined): void {
  const gbps = (bitsPerSecond / 1e9).toFixed(2);
  const theirs = retransmitted === undefined ? '' : `, ${retransmitted} by Linux`;
  console.log(`    ${what}: ${gbps} Gbps, ${report.retransmitted} retransmitted by lunet${theirs}`);
}

test.run();
