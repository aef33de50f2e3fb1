// Two cores on a wire that loses, doubles, damages and reorders frames: what arrives is what was sent.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../src/host/core/address.js';
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import type { ManualCore } from '../../helpers/manual.js';
import { assertContent, content } from '../../helpers/peer.js';
import { Wire, type WireOptions } from '../../helpers/wire.js';

const PORT = 80;

/** One direction of a connection, seen from one end. */
class Half {
  sent = 0;
  received = 0;
  ended = false;
  error = 0;
  handle = 0;
  readonly end: ManualCore;
  readonly total: number;
  readonly wire: Wire;

  constructor(wire: Wire, end: ManualCore, total: number) {
    this.wire = wire;
    this.end = end;
    this.total = total;
  }

  /** Writes as much as the queue takes, in pieces of random size; then shuts down. */
  write(): void {
    const { core } = this.end;
    while (this.handle > 0 && this.sent < this.total) {
      const size = Math.min(this.total - this.sent, 1 + this.wire.r.below(this.wire.r.oneIn(3) ? 100 : 20_000));
      const addr = core.alloc(size);
      if (addr === 0) return;
      core.u8.set(content(this.sent, size), addr);
      const result = core.send(this.handle, addr, size);
      core.free(addr);
      if (result < 0) return;
      this.sent += size;
      if (this.sent === this.total) core.shutdown(this.handle);
    }
  }

  read(): void {
    const { core } = this.end;
    for (let pieces = core.recv(this.handle, core.scratch, 32); pieces > 0; ) {
      const iov = core.u32.slice(core.scratch >> 2, (core.scratch >> 2) + 2 * pieces);
      for (let i = 0; i < pieces; i++) {
        const addr = iov[2 * i];
        const length = iov[2 * i + 1];
        assertContent(core.u8.subarray(addr, addr + length), this.received);
        this.received += length;
        core.free(addr);
      }
      pieces = core.recv(this.handle, core.scratch, 32);
    }
  }

  event(kind: number, a: number): void {
    if (kind === L.EV_DATA) this.read();
    else if (kind === L.EV_EOF) this.ended = true;
    else if (kind === L.EV_ERROR) this.error = a;
  }
}

/** Sends `bytes` both ways and closes. Returns the wire, with every pool known to be full. */
function exchange(seed: number, options: WireOptions, bytes: number, config: Partial<CoreConfig> = {}): Wire {
  const wire = new Wire(seed, options, { rxZones: 2, zones: 16, timeWaitUs: 1e6, ...config });
  const [server, client] = wire.ends;
  const halves = [new Half(wire, server, bytes), new Half(wire, client, bytes)];
  server.core.u8.fill(0, server.core.scratch, server.core.scratch + 16);
  const listener = server.core.listen(server.core.scratch, PORT, 8, 0);
  writeAddress(client.core.u8, client.core.scratch, '10.0.0.1');
  const connecting = client.core.connect(client.core.scratch, PORT, 0, 0, 0);
  assert.ok(listener > 0 && connecting > 0);
  halves[1].handle = 0;
  const limitUs = wire.nowUs + 3600e6;
  const open = (): boolean => halves.some((h) => h.error === 0 && (h.received < bytes || !h.ended || h.sent < bytes));
  while (open() && wire.step(limitUs)) {
    wire.ends.forEach((end, i) => {
      for (const [handle, kind, a] of end.events()) {
        if (kind === L.EV_ACCEPT) halves[i].handle = end.core.accept(listener);
        else if (kind === L.EV_CONNECT) halves[i].handle = handle;
        else halves[i].event(kind, a);
      }
      halves[i].write();
    });
  }
  for (const half of halves) {
    assert.is(half.error, 0, 'no error');
    assert.is(half.received, bytes, 'everything arrived');
    assert.ok(half.ended, 'and then the end of it');
    half.end.core.close(half.handle);
  }
  server.core.close(listener);
  const healed = { ...options, loss: 0, corrupt: 0, duplicate: 0, reorder: 0 };
  wire.options = healed;
  const end = wire.nowUs + 900e6;
  while (wire.step(end)) for (const core of wire.ends) core.events();
  for (const { core, freeRxObjects, rxObjects } of wire.ends) {
    assert.is(core.zbufInUse(), 0, 'every Zbuf object is free');
    assert.is(core.rxInUse(), 0, 'no receive object is held');
    assert.is(freeRxObjects(), rxObjects);
  }
  return wire;
}

function total(wire: Wire, counter: number): number {
  return wire.ends.reduce((sum, { core }) => sum + core.counter(counter), 0);
}

function replay(seeds: number[], run: (seed: number) => void): void {
  for (const seed of seeds) {
    try {
      run(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).stack}`);
    }
  }
}

const SEEDS = Array.from({ length: Number(process.env.LUNET_WIRE_SEEDS ?? 12) }, (_, i) => i + 1);

test('a wire without loss sees no retransmission, whatever its delay', () => {
  for (const delayUs of [1, 50, 1000, 20_000, 150_000]) {
    const wire = exchange(delayUs, { delayUs }, 500_000);
    assert.is(total(wire, L.CNT_TcpRetransSegs), 0, `delay ${delayUs} µs`);
    assert.is(total(wire, L.CNT_TcpExtTCPDSACKOldSent), 0);
    assert.is(total(wire, L.CNT_CopiedBytes), 0);
  }
});

test('the same seed gives the same run', () => {
  const run = (): string =>
    exchange(7, { delayUs: 100, loss: 20, reorder: 20 }, 100_000)
      .ends.map(({ core }) => Object.values(core.counters()).join())
      .join(';');
  assert.is(run(), run());
});

test('1 % loss: everything arrives', () => {
  let retransmitted = 0;
  replay(SEEDS, (seed) => {
    retransmitted += total(exchange(seed, { delayUs: 500, loss: 10 }, 300_000), L.CNT_TcpRetransSegs);
  });
  assert.ok(retransmitted > 0);
});

test('10 % loss, duplication, corruption and reordering together: everything arrives', () => {
  replay(SEEDS, (seed) => {
    exchange(seed, { delayUs: 300, loss: 100, duplicate: 30, corrupt: 30, reorder: 100, reorderUs: 2000 }, 60_000);
  });
});

test('without SACK, timestamps and window scale it works as well', () => {
  const flags = L.CFGF_ARP | L.CFGF_ICMP_ECHO;
  replay(SEEDS, (seed) => exchange(seed, { delayUs: 400, loss: 30, reorder: 20 }, 80_000, { flags }));
});

test('tiny buffers and an MTU of 576', () => {
  replay(SEEDS, (seed) => {
    exchange(seed, { delayUs: 200, loss: 20 }, 40_000, { rcvBufBytes: 2048, sndBufBytes: 2048, mtu: 576 });
  });
});

test('a transmit ring of 16 segments', () => {
  replay(SEEDS, (seed) => exchange(seed, { delayUs: 200, loss: 10 }, 100_000, { txRing: 16 }));
});

test('the data-centre profile’s 4 ms timeouts', () => {
  const config = { rtoMinUs: 4000, rtoInitUs: 20_000, delackUs: 1000 };
  replay(SEEDS, (seed) => exchange(seed, { delayUs: 20, loss: 30, reorder: 30, reorderUs: 500 }, 100_000, config));
});

test.run();
