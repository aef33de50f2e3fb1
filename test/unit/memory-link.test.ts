import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import type { Link } from '../../src/host/link/link.js';
import { memoryLink } from '../../src/host/link/memory.js';

const PAGES = 70;
const RING_AT = 8192;

interface End {
  link: Link;
  u32: Uint32Array;
  u8: Uint8Array;
  pool: { base: number; stride: number; count: number };
  send(parts: Uint8Array[]): void;
}

let names = 0;

/** A link on a memory whose rings the test lays out itself. */
function end(name: string, options: Parameters<typeof memoryLink>[1] = {}): End {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  const u32 = new Uint32Array(memory.buffer);
  const u8 = new Uint8Array(memory.buffer);
  const ring = (at: number, sizeAt: number, index: number, size: number): void => {
    u32[at >> 2] = RING_AT + index * 16384;
    u32[sizeAt >> 2] = size;
  };
  ring(L.CTL_RX_AT, L.CTL_RX_SIZE, 0, 64);
  ring(L.CTL_TX_AT, L.CTL_TX_SIZE, 1, 64);
  ring(L.CTL_DONE_AT, L.CTL_DONE_SIZE, 2, 128);
  ring(L.CTL_FREE_AT, L.CTL_FREE_SIZE, 3, 2048);
  const link = memoryLink(name, options);
  const attachment = link.attach({ memory, ctl: L.CTL, arenaEnd: 131072, zoneCount: 2, rxZones: 1 });
  link.start();
  const scratch = attachment.zoneBase + L.ZONE_BYTES;
  return {
    link,
    u32,
    u8,
    pool: attachment.rxPools[0],
    send(parts) {
      let at = scratch;
      parts.forEach((part, i) => {
        u8.set(part, at);
        const entry = (u32[L.CTL_TX_AT >> 2] >> 2) + 4 * (u32[L.CTL_TX_HEAD >> 2]++ & 63);
        u32[entry] = at;
        u32[entry + 1] = part.length;
        u32[entry + 2] = (i === 0 ? L.TXF_START : 0) | (i === parts.length - 1 ? L.TXF_END : 0);
        at += part.length;
      });
      link.burst();
    },
  };
}

function received(e: End): Uint8Array[] {
  const frames = e.link.burst();
  const at = e.u32[L.CTL_RX_AT >> 2] >> 2;
  return Array.from({ length: frames }, (_, i) => {
    const addr = e.u32[at + 4 * i];
    return e.u8.slice(addr, addr + e.u32[at + 4 * i + 1]);
  });
}

function header(to: Uint8Array | number[], from: Uint8Array): Uint8Array {
  return Uint8Array.from([...to, ...from, 8, 0]);
}

const BROADCAST = [255, 255, 255, 255, 255, 255];

test('a frame of several segments arrives as one, and each segment completes', () => {
  const name = `t${names++}`;
  const a = end(name);
  const b = end(name);
  a.send([header(b.link.info.mac, a.link.info.mac), Uint8Array.of(1, 2, 3), Uint8Array.of(4)]);
  const frames = received(b);
  assert.is(frames.length, 1);
  assert.equal([...frames[0].slice(14)], [1, 2, 3, 4]);
  assert.is(a.u32[L.CTL_DONE_HEAD >> 2], 3);
  assert.is(a.u32[L.CTL_TX_TAIL >> 2], 3);
  a.link.close();
  b.link.close();
});

test('unicast reaches its address only, broadcast everyone but the sender', () => {
  const name = `t${names++}`;
  const [a, b, c] = [end(name), end(name), end(name)];
  a.send([header(b.link.info.mac, a.link.info.mac)]);
  assert.is(received(b).length, 1);
  assert.is(received(c).length, 0);
  a.send([header(BROADCAST, a.link.info.mac)]);
  assert.is(received(a).length, 0);
  assert.is(received(b).length, 1);
  assert.is(received(c).length, 1);
  for (const e of [a, b, c]) e.link.close();
});

test('a receiver without objects loses the frame and counts it; freed objects serve again', () => {
  const name = `t${names++}`;
  const a = end(name);
  const b = end(name);
  const frame = header(b.link.info.mac, a.link.info.mac);
  for (let i = 0; i < b.pool.count + 5; i++) {
    a.send([frame]);
    a.u32[L.CTL_DONE_TAIL >> 2] = a.u32[L.CTL_DONE_HEAD >> 2];
  }
  assert.is(b.link.stats().rxNoObject, 5);
  let taken = 0;
  for (let n = b.link.burst(); n > 0; n = b.link.burst()) taken += n;
  assert.is(taken, b.pool.count);
  b.u32[b.u32[L.CTL_FREE_AT >> 2] >> 2] = b.pool.base;
  b.u32[L.CTL_FREE_HEAD >> 2] = 1;
  assert.is(b.link.burst(), 0);
  a.send([frame]);
  assert.is(received(b).length, 1);
  a.link.close();
  b.link.close();
});

test('transmission stops before the completion ring could overflow', () => {
  const name = `t${names++}`;
  const a = end(name);
  const b = end(name);
  const frame = header(b.link.info.mac, a.link.info.mac);
  for (let i = 0; i < 200; i++) {
    if (a.u32[L.CTL_TX_HEAD >> 2] - a.u32[L.CTL_TX_TAIL >> 2] < 64) a.send([frame]);
  }
  assert.ok(a.u32[L.CTL_DONE_HEAD >> 2] <= 128);
  assert.is(a.u32[L.CTL_DONE_HEAD >> 2], a.u32[L.CTL_TX_TAIL >> 2]);
  a.link.close();
  b.link.close();
});

test('told so, the link passes on whole frames whose checksums nobody has filled in', () => {
  const name = `t${names++}`;
  const told = { csum: true, tso: true };
  const a = end(name, told);
  const b = end(name, told);
  assert.is(a.link.info.offloads.tso, true);
  const part = new Uint8Array(30_000);
  const send = (flags: number): void => {
    const first = (a.u32[L.CTL_TX_AT >> 2] >> 2) + 4 * (a.u32[L.CTL_TX_HEAD >> 2] & 63);
    a.send([header(b.link.info.mac, a.link.info.mac), part, part]);
    // Sent once more, with the flags in place.
    a.u32[first + 2] |= flags;
    a.u32[L.CTL_TX_TAIL >> 2] -= 3;
    b.link.burst();
    a.link.burst();
  };
  const rxAt = b.u32[L.CTL_RX_AT >> 2] >> 2;
  send(L.TXF_TCP_CSUM | L.TXF_TSO | (1000 << L.TXF_TSO_MSS_SHIFT));
  assert.is(received(b)[0].length, 60_014);
  assert.is(b.u32[rxAt + 2], L.RXF_L4_CSUM_OK);
  send(0);
  assert.is(received(b).length, 1);
  assert.is(b.u32[rxAt + 2], 0);
  a.link.close();
  b.link.close();
});

test('by default it is a wire: a frame longer than its MTU is lost, and the core fills in checksums', () => {
  const name = `t${names++}`;
  const a = end(name);
  const b = end(name);
  const { txChecksum, rxChecksum, tso, gso, gro } = a.link.info.offloads;
  assert.equal([txChecksum, rxChecksum, tso, gso, gro], [false, false, false, true, true]);
  a.send([header(b.link.info.mac, a.link.info.mac), new Uint8Array(3000)]);
  assert.is(received(b).length, 0);
  assert.is(b.link.stats().rxTooLong, 1);
  a.link.close();
  b.link.close();
});

test('the clock is the one that was given', () => {
  let now = 5e9;
  const a = end(`t${names++}`, { clockNs: () => now });
  a.link.burst();
  const clock = new Float64Array(a.u8.buffer);
  assert.is(clock[L.CTL_CLOCK_NS >> 3], 5e9);
  now = 6e9;
  a.link.burst();
  assert.is(clock[L.CTL_CLOCK_NS >> 3], 6e9);
  a.link.close();
});

test('a sleeping receiver is woken once by a frame, also by one that came before it slept', async () => {
  const name = `t${names++}`;
  const a = end(name);
  const b = end(name);
  const frame = header(b.link.info.mac, a.link.info.mac);
  let wakeups = 0;
  assert.is(
    b.link.armWakeup(() => wakeups++),
    true,
  );
  a.send([frame]);
  a.send([frame]);
  await new Promise(setImmediate);
  assert.is(wakeups, 1);
  b.link.armWakeup(() => wakeups++);
  await new Promise(setImmediate);
  assert.is(wakeups, 2);
  a.link.close();
  b.link.close();
});

test('an MTU that no frame could have is refused', () => {
  for (const mtu of [0, 575, 70000, 1500.5]) {
    assert.throws(
      () => memoryLink('x', { mtu }),
      (error: { code: string }) => error.code === 'ERR_LUNET_URI',
    );
  }
});

test.run();
