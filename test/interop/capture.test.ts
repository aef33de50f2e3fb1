// What tshark's TCP analysis thinks of lunet's connections.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { loseOnePercent } from '../helpers/loss.js';
import { createNamespaces, finished, INTERFACE, type NamespacePair, until } from '../helpers/netns.js';
import type { Program } from '../helpers/program.js';
import { curlGet, curlPut, drained, LUNET_PORT, MIB, startLunetServer } from '../helpers/transfer.js';
import { contentHash } from './programs/content.js';

const BYTES = 16 * MIB;
/** Expert severities of Wireshark: chat, note, warning, error. */
const PI_NOTE = 0x400000;
const ATTEMPTS = 6;

let pair: NamespacePair;
let server: Program;
let folder: string;

test.before(
  loudly(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lunet-capture-'));
    pair = createNamespaces();
    server = await startLunetServer(pair.a);
  }),
);

test.after(async () => {
  await pair.dispose();
  rmSync(folder, { recursive: true, force: true });
});

async function captured(name: string, work: () => Promise<void>): Promise<string> {
  const file = join(folder, `${name}.pcap`);
  const filter = ['tcp', 'port', `${LUNET_PORT}`];
  const tcpdump = pair.b.spawn('tcpdump', ['-i', INTERFACE, '-s', '128', '-B', '131072', '-U', '-w', file, ...filter]);
  let said = '';
  tcpdump.stderr?.on('data', (text: Buffer) => {
    said += text.toString();
  });
  const ended = finished(tcpdump, 300_000);
  await until('tcpdump listens', () => said.includes('listening on'));
  await work();
  await drained(server);
  tcpdump.kill('SIGINT');
  const { stderr } = await ended;
  assert.match(stderr, /\b0 packets dropped by kernel/, 'the capture must be whole');
  return file;
}

/** The expert items of a capture at note or worse, and every mark of the TCP analysis, with their frames. */
async function complaints(file: string): Promise<string[]> {
  const fields = ['frame.number', 'tcp.srcport', '_ws.expert.severity', '_ws.expert.message'];
  const { stdout } = await pair.b.run(
    'tshark',
    // Only heads were captured: checksums cannot be verified, and payload is no protocol to dissect.
    [
      ...['-r', file, '-o', 'tcp.check_checksum:FALSE', '-d', `tcp.port==${LUNET_PORT},data`],
      ...['-Y', 'tcp.analysis.flags || _ws.expert', '-T', 'fields', '-E', 'aggregator=|'],
      ...fields.flatMap((field) => ['-e', field]),
    ],
    { timeoutMs: 120_000 },
  );
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .filter((line) => {
      const severities = line.split('\t')[2].split('|').map(Number);
      return severities.some((severity) => severity >= PI_NOTE);
    });
}

/**
 * A process that does not get its CPU for some milliseconds makes the kernel's probe timers go off, which is no fault of
 * the connection: of several captures one must be clean.
 */
async function oneIsClean(name: string, work: () => Promise<void>, allowed = /^$/): Promise<void> {
  let found: string[] = [];
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const all = await complaints(await captured(`${name}-${attempt}`, work));
    found = all.filter((line) => !allowed.test(line.split('\t')[3]));
    if (found.length === 0) return;
  }
  assert.equal(found, []);
}

test('without loss tshark has nothing to say about a download', () =>
  oneIsClean('down', async () => {
    assert.is((await curlGet(pair.b, pair.a.address, 1, BYTES)).hash, contentHash(1, BYTES));
  }));

test('without loss tshark has nothing to say about an upload', () =>
  // Paced, so that the kernel does not fill lunet's receive window, of which tshark would warn.
  oneIsClean('up', async () => {
    const put = await curlPut(pair.b, pair.a.address, 2, BYTES, { paceMs: 10 });
    assert.is(put.hash, contentHash(2, BYTES));
  }));

test('an upload at full speed is limited by the receive window and by nothing else', () =>
  oneIsClean(
    'window',
    async () => {
      assert.is((await curlPut(pair.b, pair.a.address, 2, BYTES)).hash, contentHash(2, BYTES));
    },
    /TCP window specified by the receiver is now completely full/,
  ));

test('with loss tshark sees what loss causes and nothing else', async () => {
  await loseOnePercent(pair.b);
  const file = await captured('loss', async () => {
    assert.is((await curlGet(pair.b, pair.a.address, 3, BYTES)).hash, contentHash(3, BYTES));
    assert.is((await curlPut(pair.b, pair.a.address, 4, BYTES)).hash, contentHash(4, BYTES));
  });
  // What follows a hole is kept by the receiver, and may fill its window before the hole is closed.
  const causedByLoss =
    /retransmission|Duplicate ACK|out-of-order|Previous segment|ACKed segment that wasn't captured|D-SACK|window .* completely full/i;
  // Said of every SYN, FIN and window update, on the same line as of one that loss has caused.
  const lifeOfAConnection = /SYN|FIN|connection closing|window update/;
  const others = (await complaints(file)).filter((line) => {
    return line
      .split('\t')[3]
      .split('|')
      .some((message) => !causedByLoss.test(message) && !lifeOfAConnection.test(message));
  });
  assert.equal(others, []);
});

test.run();
