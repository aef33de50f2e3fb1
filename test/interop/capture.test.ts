// What tshark's TCP analysis thinks of lunet's connections.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNamespaces, finished, INTERFACE, type NamespacePair, until } from '../helpers/netns.js';
import type { Program } from '../helpers/program.js';
import { curlGet, curlPut, drained, LUNET_PORT, MIB, startLunetServer } from '../helpers/transfer.js';
import { contentHash } from './programs/content.js';

const BYTES = 16 * MIB;
/** Expert severities of Wireshark: chat, note, warning, error. */
const PI_NOTE = 0x400000;

let pair: NamespacePair;
let server: Program;
let folder: string;

test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lunet-capture-'));
  pair = createNamespaces();
  server = await startLunetServer(pair.a);
});

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
      ...['-r', file, '-o', 'tcp.check_checksum:FALSE', '--disable-protocol', 'http'],
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

test('without loss tshark has nothing to say about a transfer either way', async () => {
  const down = await captured('down', async () => {
    assert.is((await curlGet(pair.b, pair.a.address, 1, BYTES)).hash, contentHash(1, BYTES));
  });
  assert.equal(await complaints(down), []);
  const up = await captured('up', async () => {
    assert.is((await curlPut(pair.b, pair.a.address, 2, BYTES)).hash, contentHash(2, BYTES));
  });
  assert.equal(await complaints(up), []);
});

test('with loss tshark sees what loss causes and nothing else', async () => {
  const drop = `numgen random mod 100 < 1 drop`;
  const rules = `table inet lunet {
    chain in { type filter hook input priority 0; tcp sport ${LUNET_PORT} ${drop} }
    chain out { type filter hook output priority 0; tcp dport ${LUNET_PORT} ${drop} }
  }\n`;
  await pair.b.run('ip', ['link', 'set', INTERFACE, 'gso_max_segs', '1']);
  await pair.b.run('nft', ['-f', '-'], { input: rules });
  const file = await captured('loss', async () => {
    assert.is((await curlGet(pair.b, pair.a.address, 3, BYTES)).hash, contentHash(3, BYTES));
    assert.is((await curlPut(pair.b, pair.a.address, 4, BYTES)).hash, contentHash(4, BYTES));
  });
  const causedByLoss =
    /retransmission|Duplicate ACK|out-of-order|Previous segment|ACKed segment that wasn't captured|D-SACK/i;
  const others = (await complaints(file)).filter((line) => {
    return line
      .split('\t')[3]
      .split('|')
      .some((message) => !causedByLoss.test(message) && !message.includes('SYN'));
  });
  assert.equal(others, []);
});

test.run();
