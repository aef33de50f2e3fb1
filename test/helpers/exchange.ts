// A connection between the two cores of a wire, over which both ends send and close: what arrives is what was sent, and in
// the end every pool is full.
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import type { CoreConfig } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import type { ManualCore } from './manual.js';
import { assertContent, content } from './peer.js';
import { IPV4_ADDRESSES, Wire, type WireOptions } from './wire.js';

const PORT = 80;

export interface ExchangeOptions extends WireOptions {
  addresses?: readonly [string, string];
  /** Writes of every kind: urgent, with more to come, with a record's end, pushed; socket options that change. */
  anyWrites?: boolean;
}

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

  readonly #any: boolean;

  constructor(wire: Wire, end: ManualCore, total: number, any = false) {
    this.wire = wire;
    this.end = end;
    this.total = total;
    this.#any = any;
  }

  #send(addr: number, size: number): number {
    const { core } = this.end;
    const { r } = this.wire;
    if (!this.#any || !r.oneIn(3)) return core.send(this.handle, addr, size);
    if (r.oneIn(4)) core.setOption(this.handle, L.OPT_NODELAY, r.below(2));
    if (r.oneIn(8)) core.setOption(this.handle, L.OPT_TOS, 4 * r.below(64));
    if (r.oneIn(8)) core.setOption(this.handle, L.OPT_TTL, r.below(256));
    if (r.oneIn(8)) return core.sendUrgent(this.handle, addr, size);
    return core.sendWith(this.handle, addr, size, r.below(16));
  }

  /** Writes as much as the queue takes, in pieces of random size; then shuts down. */
  write(): void {
    const { core } = this.end;
    while (this.handle > 0 && this.sent < this.total) {
      const size = Math.min(this.total - this.sent, 1 + this.wire.r.below(this.wire.r.oneIn(3) ? 100 : 20_000));
      const addr = core.alloc(size);
      if (addr === 0) return;
      core.u8.set(content(this.sent, size), addr);
      const result = this.#send(addr, size);
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
export function exchange(
  seed: number,
  options: ExchangeOptions,
  bytes: number,
  config: Partial<CoreConfig> = {},
): Wire {
  const addresses = options.addresses ?? IPV4_ADDRESSES;
  const wire = new Wire(seed, options, { rxZones: 2, zones: 16, timeWaitUs: 1e6, ...config }, addresses);
  const [server, client] = wire.ends;
  const halves = [new Half(wire, server, bytes, options.anyWrites), new Half(wire, client, bytes, options.anyWrites)];
  server.core.u8.fill(0, server.core.scratch, server.core.scratch + 16);
  const listener = server.core.listen(server.core.scratch, PORT, 8, 0);
  writeAddress(client.core.u8, client.core.scratch, addresses[0]);
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

export function total(wire: Wire, counter: number): number {
  return wire.ends.reduce((sum, { core }) => sum + core.counter(counter), 0);
}
