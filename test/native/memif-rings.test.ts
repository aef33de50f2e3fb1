// The shim's own data path of memif: what it counts, frames over several slots, and peers that write nonsense into the rings.
import { closeSync, openSync, readdirSync, readlinkSync, readSync, writeSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TXF_END, TXF_START } from '../../src/host/core/layout.js';
import { until } from '../helpers/netns.js';
import { collectedBy, frame, hex, pair } from './memif-pair.js';
import type { RingEnd } from './ring-end.js';

const LONGEST = 16_384;
let places = 0;

/** Queues a frame of two segments, the second right behind the first, from memory that send() does not use. */
function sendLong(end: RingEnd, whole: Uint8Array, firstBytes: number): void {
  const at = end.scratch + 4 * 1024 * 1024 + (places++ % 64) * LONGEST;
  end.u8.set(whole, at);
  end.sendRaw([at, firstBytes, TXF_START], [at + firstBytes, whole.length - firstBytes, TXF_END]);
}

async function received(end: RingEnd, count: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  await until(`${count} frames`, () => {
    for (const { bytes } of end.turn()) frames.push(bytes);
    return frames.length >= count;
  });
  return frames;
}

for (const role of ['server', 'client'] as const) {
  test(`${role}: frames that the peer has not read are counted`, async () => {
    const { end, peer } = await pair(role);
    peer.child.kill('SIGSTOP');
    for (let i = 0; i < 5; i++) end.send(frame(i, 100));
    end.turn();
    assert.is(end.link.stats().txUnread, 5);
    peer.child.kill('SIGCONT');
    await until('the peer to have read', () => {
      end.turn();
      return end.link.stats().txUnread === 0;
    });
    end.close();
    assert.is(end.link.stats().txUnread, 0);
    await peer.kill('SIGKILL');
  });

  for (const stream of ['on', 'off']) {
    test(`${role}, stream=${stream}: frames of all lengths and alignments are what arrives`, async () => {
      const { end, peer } = await pair(role, `&stream=${stream}`);
      const before = (await peer.report()).collected.length;
      const sent: string[] = [];
      const lengths = [60, 511, 512, 513, 575, 576, 577, 700, 1514, 4095, 4160, 8999, 9014];
      for (const length of lengths) {
        for (const head of [14, 66]) {
          const whole = frame(length + head, length);
          sendLong(end, whole, head % length);
          sent.push(hex(whole));
          end.turn();
        }
      }
      assert.equal(await collectedBy(end, peer, before, sent.length), sent);
      const { txPastCacheBytes } = end.link.stats();
      assert.is(txPastCacheBytes > 0, stream === 'on', `${txPastCacheBytes} bytes past the cache`);
      end.close();
      await peer.kill('SIGKILL');
    });
  }

  test(`${role}: a frame longer than a slot takes several, and waits when there are too few`, async () => {
    const { end, peer } = await pair(role, '&bsize=1024&rings=4');
    const before = (await peer.report()).collected.length;
    peer.child.kill('SIGSTOP');
    const sent: string[] = [];
    for (let i = 0; i < 4; i++) {
      const whole = frame(i, 5000);
      sendLong(end, whole, 66);
      sent.push(hex(whole));
    }
    end.turn();
    assert.is(end.link.stats().txUnread, 15, 'three frames of five slots; a fourth does not fit into 16');
    assert.ok(end.link.stats().txRefused > 0);
    peer.child.kill('SIGCONT');
    assert.equal(await collectedBy(end, peer, before, sent.length), sent);
    end.close();
    await peer.kill('SIGKILL');
  });
}

/** The rings a client shares, written to as a client out of its mind would. */
class SharedRings {
  private readonly fd: number;

  constructor(pid: number) {
    const fds = `/proc/${pid}/fd`;
    const name = readdirSync(fds).find((fd) => readlinkSync(`${fds}/${fd}`).startsWith('/memfd:memif_region_0'));
    if (name === undefined) throw new Error('the client shares no region');
    this.fd = openSync(`${fds}/${name}`, 'r+');
  }

  u16(at: number): number {
    const bytes = Buffer.alloc(2);
    readSync(this.fd, bytes, 0, 2, at);
    return bytes.readUInt16LE();
  }

  setU16(at: number, value: number): void {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value & 0xffff);
    writeSync(this.fd, bytes, 0, 2, at);
  }

  /** Fills slot `slot` of the ring at `ring`. */
  describe(ring: number, slot: number, flags: number, region: number, length: number, offset: number): void {
    const bytes = Buffer.alloc(12);
    bytes.writeUInt16LE(flags, 0);
    bytes.writeUInt16LE(region, 2);
    bytes.writeUInt32LE(length, 4);
    bytes.writeUInt32LE(offset >>> 0, 8);
    writeSync(this.fd, bytes, 0, 12, ring + 128 + slot * 16);
  }

  close(): void {
    closeSync(this.fd);
  }
}

// The protocol's layout: a ring is 128 bytes and 16 for each slot, C2S first; head at 6, tail at 64.
const SLOTS = 128;
const C2S = 0;
const S2C = 128 + SLOTS * 16;
const HEAD = 6;
const NEXT = 1;

test('server: what a client describes wrongly is counted and skipped, never read', async () => {
  const { end, peer } = await pair('server');
  peer.child.kill('SIGSTOP');
  const shared = new SharedRings(peer.child.pid as number);
  const give = (...slots: [flags: number, region: number, length: number, offset: number][]): void => {
    const head = shared.u16(C2S + HEAD);
    for (const [i, slot] of slots.entries()) shared.describe(C2S, (head + i) % SLOTS, ...slot);
    shared.setU16(C2S + HEAD, head + slots.length);
  };
  const cases: [string, 'rxInvalid' | 'rxTooLong', Parameters<typeof give>][] = [
    ['outside the region', 'rxInvalid', [[0, 0, 100, 0xfffffff0]]],
    ['longer than all memory', 'rxInvalid', [[0, 0, 0xffffffff, 4096]]],
    ['in a region that is not there', 'rxInvalid', [[0, 1, 100, 4096]]],
    ['without a byte', 'rxInvalid', [[0, 0, 0, 4096]]],
    ['without an end', 'rxInvalid', [[NEXT, 0, 100, 4096]]],
    [
      'right in its first slot alone',
      'rxInvalid',
      [
        [NEXT, 0, 100, 4096],
        [0, 7, 100, 4096],
      ],
    ],
    ['longer than a frame', 'rxTooLong', [[0, 0, 60_000, 4096]]],
    [
      'longer than a frame in all',
      'rxTooLong',
      [
        [NEXT, 0, 9000, 4096],
        [0, 0, 9000, 4096],
      ],
    ],
  ];
  const objects = end.link.stats().rxFreeObjects;
  for (const [what, counter, slots] of cases) {
    const before = end.link.stats()[counter];
    give(...slots);
    assert.equal(end.turn(), [], what);
    assert.is(end.link.stats()[counter], before + 1, what);
  }
  end.turn();
  assert.is(end.link.stats().rxFreeObjects, objects, 'every object is free again');

  const head = shared.u16(C2S + HEAD);
  shared.setU16(C2S + HEAD, head + SLOTS + 1);
  assert.equal(end.turn(), [], 'a ring with more frames than slots');
  shared.setU16(C2S + HEAD, head);

  give([0, 0, 100, 4096]);
  assert.is(end.turn().length, 1, 'and what is right still passes');
  shared.close();
  end.close();
  await peer.kill('SIGKILL');
});

test('server: nothing is written where a client offers a slot outside its region', async () => {
  const { end, peer } = await pair('server');
  peer.child.kill('SIGSTOP');
  const shared = new SharedRings(peer.child.pid as number);
  const slot = shared.u16(S2C + 64) % SLOTS;
  for (const [what, region, length, offset] of [
    ['outside the region', 0, 9024, 0xfffffff0],
    ['in a region that is not there', 5, 9024, 4096],
    ['of no bytes', 0, 0, 4096],
  ] as const) {
    shared.describe(S2C, slot, 0, region, length, offset);
    const { txFrames, txRefused } = end.link.stats();
    end.send(frame(1, 200));
    end.turn();
    assert.is(end.link.stats().txFrames, txFrames, what);
    assert.ok(end.link.stats().txRefused > txRefused, what);
  }
  shared.close();
  end.close();
  await peer.kill('SIGKILL');
});

test('what waits in the ring is received when more than one turn may take', async () => {
  const { end, peer } = await pair('server');
  const count = 60;
  const { txFrames } = (await peer.report()).stats;
  for (let i = 0; i < count; i++) peer.tell(`send ${hex(frame(i, 1500))}`);
  await until('the frames to be sent', async () => (await peer.report()).stats.txFrames === txFrames + count);
  const most = end.turn();
  assert.ok(most.length > 0 && most.length < count, `${most.length} frames in one turn`);
  const rest = await received(end, count - most.length);
  assert.equal(
    [...most.map(({ bytes }) => hex(bytes)), ...rest.map(hex)],
    Array.from({ length: count }, (_, i) => hex(frame(i, 1500))),
  );
  end.close();
  await peer.kill('SIGKILL');
});

test.run();
