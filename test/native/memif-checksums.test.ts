// TCP's checksums on memif, which the shim fills in and verifies with its copies of the frames.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  CFG_FLAGS,
  CFGF_RX_TRUST,
  RXF_L4_CSUM_OK,
  TXF_END,
  TXF_START,
  TXF_TCP_CSUM,
} from '../../src/host/core/layout.js';
import { until } from '../helpers/netns.js';
import { collectedBy, frame, hex, pair, socket } from './memif-pair.js';
import { type Descriptor, openEnd, type RingEnd } from './ring-end.js';
import { tcpFrame } from './tcp-frame.js';

const HEADERS = 54;
const CHECKSUM = 50;
const OFFLOAD = 14 | (20 << 8) | (20 << 16);
const PLACE_BYTES = 16_384;
const from = { mac: '02:00:00:00:00:01', address: '10.1.0.1', port: 4000 };
const to = { mac: '02:00:00:00:00:02', address: '10.1.0.2', port: 5000 };
const LENGTHS = [0, 1, 2, 15, 16, 17, 63, 64, 65, 511, 512, 513, 577, 1459, 1460, 4096, 8945];
/** Where a frame is cut into segments, counted from its beginning. */
const CUTS = [[], [HEADERS], [HEADERS, HEADERS + 1, HEADERS + 8], [HEADERS + 5, HEADERS + 700], [HEADERS + 513]];

const right = (length: number): Uint8Array => tcpFrame({ from, to, payload: frame(length, length) });

/** The sum of the pseudo-header, which the core leaves where the checksum belongs. */
function pseudoSum(whole: Uint8Array): number {
  const dv = new DataView(whole.buffer, whole.byteOffset);
  let sum = 6 + whole.length - 34;
  for (let at = 26; at < 34; at += 2) sum += dv.getUint16(at);
  return (sum & 0xffff) + (sum >>> 16);
}

let places = 0;

/** Queues a frame without its checksum, cut into segments that lie apart. */
function sendUnsummed(end: RingEnd, whole: Uint8Array, cuts: readonly number[]): void {
  const bytes = Uint8Array.from(whole);
  new DataView(bytes.buffer).setUint16(CHECKSUM, pseudoSum(bytes));
  const edges = [0, ...cuts.filter((cut) => cut < bytes.length), bytes.length];
  const place = end.scratch + 4 * 1024 * 1024 + (places++ % 64) * PLACE_BYTES;
  const descriptors = edges.slice(1).map((edge, i): Descriptor => {
    const at = place + edges[i] + 3 * i;
    end.u8.set(bytes.subarray(edges[i], edge), at);
    const flags = (i === 0 ? TXF_START | TXF_TCP_CSUM : 0) | (edge === bytes.length ? TXF_END : 0);
    return [at, edge - edges[i], flags, i === 0 ? OFFLOAD : 0];
  });
  end.sendRaw(...descriptors);
}

for (const parameters of ['stream=off', 'stream=on', 'stream=auto', 'bsize=64&rings=10', 'bsize=1024']) {
  for (const role of ['server', 'client'] as const) {
    test(`${role}, ${parameters}: the checksum of a frame in any number of pieces is filled in`, async () => {
      const { end, peer } = await pair(role, `&${parameters}`);
      assert.ok(end.link.info.offloads.txChecksum);
      const before = (await peer.report()).collected.length;
      const sent: string[] = [];
      for (const length of LENGTHS) {
        for (const cuts of CUTS) {
          const whole = right(length);
          sendUnsummed(end, whole, cuts);
          sent.push(hex(whole));
          end.turn();
        }
      }
      assert.equal(await collectedBy(end, peer, before, sent.length), sent);
      const flags = (await peer.report()).collected.slice(before).map((one) => one.flags);
      assert.ok(
        flags.every((flag) => flag === RXF_L4_CSUM_OK),
        'and the other end has found it right',
      );
      end.close();
      await peer.kill('SIGKILL');
    });
  }
}

test('headers that are not where the descriptor says are counted, and nothing is sent', async () => {
  const { end, peer } = await pair('client');
  const { txFrames, txInvalid } = end.link.stats();
  const offloads = [0, 14 | (20 << 8), 14 | (20 << 8) | (61 << 16), 14 | (60 << 8) | (20 << 16), 0xffffffff];
  end.u8.set(right(40), end.scratch);
  for (const offload of offloads) end.sendRaw([end.scratch, 94, TXF_START | TXF_END | TXF_TCP_CSUM, offload]);
  end.turn();
  assert.is(end.link.stats().txInvalid, txInvalid + offloads.length);
  assert.is(end.link.stats().txFrames, txFrames);
  end.close();
  await peer.kill('SIGKILL');
});

/** Frames of the peer's, and the flags they are received with. */
async function flagsOf(parameters: string, frames: readonly Uint8Array[], trust = false): Promise<number[]> {
  const { end, peer } = await pair('server', parameters);
  if (trust) end.u32[CFG_FLAGS >> 2] = CFGF_RX_TRUST;
  for (const one of frames) peer.tell(`send ${hex(one)}`);
  const received: { bytes: Uint8Array; flags: number }[] = [];
  await until('the frames', () => {
    received.push(...end.turn());
    return received.length >= frames.length;
  });
  assert.equal(
    received.map(({ bytes }) => hex(bytes)),
    frames.map(hex),
  );
  end.close();
  await peer.kill('SIGKILL');
  return received.map(({ flags }) => flags);
}

const changed = (whole: Uint8Array, at: number, value: number): Uint8Array => {
  const bytes = Uint8Array.from(whole);
  bytes[at] ^= value;
  return bytes;
};

test('what is received is marked where its checksum is right, over any slots, and nothing else is', async () => {
  // As long as the peer's places for them.
  const good = LENGTHS.filter((length) => length < 1900).map(right);
  for (const slots of ['', '&bsize=64&rings=10', '&bsize=101&rings=10']) {
    assert.equal(
      await flagsOf(slots, good),
      good.map(() => RXF_L4_CSUM_OK),
      slots,
    );
  }
  const whole = right(1001);
  const others: [string, Uint8Array][] = [
    ['a wrong checksum', changed(whole, CHECKSUM, 1)],
    ['a wrong first byte of the header', changed(whole, 34, 0x40)],
    ['a wrong last byte', changed(whole, whole.length - 1, 0x80)],
    ['another source', changed(whole, 26, 1)],
    ['another destination', changed(whole, 33, 1)],
    ['another EtherType', changed(whole, 12, 0x80)],
    ['another version', changed(whole, 14, 0x20)],
    ['another protocol', changed(whole, 23, 6 ^ 17)],
    ['padding', Uint8Array.from([...whole, 0, 0])],
    ['less than its length', whole.subarray(0, whole.length - 2)],
    ['a fragment', tcpFrame({ from, to, payload: frame(1, 96), fragment: 0x2000 })],
    ['a later fragment', tcpFrame({ from, to, payload: frame(1, 96), fragment: 12 })],
    ['only a header', whole.subarray(0, 34)],
    ['less than a header', whole.subarray(0, 20)],
  ];
  const flags = await flagsOf(
    '',
    others.map(([, bytes]) => bytes),
  );
  assert.equal(
    others.filter((_, i) => flags[i] !== 0).map(([what]) => what),
    [],
  );
  const dontFragment = tcpFrame({ from, to, payload: frame(1, 96), fragment: 0x4000 });
  assert.equal(await flagsOf('', [dontFragment]), [RXF_L4_CSUM_OK]);
});

test('no checksum is looked at with csum=off, or by a core that does not want to know', async () => {
  const good = [right(100)];
  assert.equal(await flagsOf('&csum=off', good), [0]);
  assert.equal(await flagsOf('', good, true), [0]);
});

test('beside another memif port, when the driver moves the frames, the shim fills them in first', async () => {
  const { end, peer } = await pair('client');
  const other = await openEnd(`memif:${socket()}?role=server`);
  const before = (await peer.report()).collected.length;
  const sent: string[] = [];
  for (const cuts of CUTS) {
    const whole = right(1301);
    sendUnsummed(end, whole, cuts);
    sent.push(hex(whole));
    end.turn();
  }
  assert.equal(await collectedBy(end, peer, before, sent.length), sent);
  other.close();
  end.close();
  await peer.kill('SIGKILL');
});

test.run();
