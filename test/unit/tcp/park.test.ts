// Idle connections are packed when there are fewer slots than connections (tcp/park.ts): nobody may notice.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { MSS, mss, Peer, sackPermitted, timestamps, wscale } from '../../helpers/peer.js';
import { random } from '../../helpers/random.js';

const SYN_OPTIONS = [...mss(MSS), ...sackPermitted(), ...timestamps(1000, 0), ...wscale(3)];
const CONNECTIONS = 40;
const BASE_PORT = 20_000;

/** A core with `slots` slots, and what the test knows of each of its connections. */
class Many extends Peer {
  readonly handles: number[] = [];
  readonly isses: number[] = [];
  readonly sent: number[] = [];
  readonly received: number[] = [];
  /** Everything that has left the core, and every event. */
  readonly log: string[] = [];

  constructor(activeConnections: number, config = {}) {
    super({ maxConnections: 64, activeConnections, keepaliveTimeUs: 20e6, rtoInitUs: 1e6, ...config });
    this.listen();
  }

  note(): void {
    for (const frame of this.m.take()) this.log.push(Buffer.from(frame).toString('hex'));
    for (const event of this.m.events()) this.log.push(`event ${event.join(' ')}`);
  }

  open(i: number): void {
    this.in('S', { from: BASE_PORT + i, seq: 0, options: SYN_OPTIONS });
    const [synAck] = this.heard();
    this.isses[i] = this.iss;
    this.sent[i] = this.received[i] = 0;
    this.segment(i, '.', 0, Buffer.from(synAck.options).readUInt32BE(8));
    this.handles[i] = this.m.core.accept(this.listener);
    assert.ok(this.handles[i] > 0, `connection ${i}: ${this.handles[i]}`);
    this.note();
  }

  segment(i: number, flags: string, len: number, tsEcr = 0): void {
    this.iss = this.isses[i];
    this.in(flags, {
      from: BASE_PORT + i,
      seq: 1 + this.received[i],
      ack: 1 + this.sent[i],
      len,
      options: timestamps(1000 + Math.floor(this.m.nowUs / 1000), tsEcr),
    });
    this.received[i] += len;
  }

  readAll(i: number): void {
    this.handle = this.handles[i];
    const { core } = this.m;
    let pieces = core.recv(this.handle, core.scratch, 16);
    for (; pieces > 0; pieces = core.recv(this.handle, core.scratch, 16)) {
      for (let k = 0; k < pieces; k++) core.free(core.u32[(core.scratch >> 2) + 2 * k]);
    }
    this.log.push(`recv ${pieces}`);
    core.flush(this.m.nowUs);
  }

  send(i: number, len: number): void {
    this.handle = this.handles[i];
    this.written = 0;
    this.log.push(`send ${this.write(len)}`);
    this.sent[i] += len;
  }

  /** What connectionAt() says of all, by handle. */
  table(): string[] {
    const { core } = this.m;
    const rows: string[] = [];
    for (let i = 0; i < 64; i++) {
      if (core.connectionAt(i, core.scratch) < 0) continue;
      rows.push(Buffer.from(core.u8.slice(core.scratch, core.scratch + L.INFO_SIZE)).toString('hex'));
    }
    return rows;
  }

  end(): void {
    for (const handle of this.handles) this.m.core.abort(handle);
    this.handle = 0;
    this.done();
  }
}

test('a core that packs idle connections sends, tells and answers what one does that has a slot for each', () => {
  for (const congestion of [L.CC_RENO, L.CC_CUBIC]) {
    const packing = new Many(8, { congestion });
    const roomy = new Many(0, { congestion });
    const both = [packing, roomy];
    const same = (step: string): void => {
      for (const p of both) p.note();
      assert.equal(packing.log, roomy.log, step);
      assert.equal(packing.table(), roomy.table(), step);
      assert.is(packing.count(L.CNT_TcpExtTCPSlotsMissing), 0, step);
      for (const p of both) p.log.length = 0;
    };
    for (let i = 0; i < CONNECTIONS; i++) {
      for (const p of both) {
        p.open(i);
        p.m.core.setOption(p.handles[i], L.OPT_NODELAY, 1);
        if (i % 3 === 0) p.m.core.setOption(p.handles[i], L.OPT_KEEPALIVE, 1);
        if (i % 5 === 0) p.m.core.setOption(p.handles[i], L.OPT_TOS, 8 * i);
        p.pass(1000);
      }
      same(`opening ${i}`);
    }
    const r = random(congestion + 1);
    for (let step = 0; step < 1500; step++) {
      const i = r.below(CONNECTIONS);
      const action = r.below(6);
      const len = 1 + r.below(3000);
      const us = r.below(10) === 0 ? r.below(5e6) : 1000;
      for (const p of both) {
        if (action < 2) {
          p.segment(i, 'P.', Math.min(len, MSS - 12));
          p.readAll(i);
        } else if (action < 4) {
          p.send(i, len);
          p.note();
          p.segment(i, '.', 0);
        } else if (action === 4) p.segment(i, '.', 0);
        else p.log.push(`option ${p.m.core.getOption(p.handles[i], L.OPT_SND_BUF_BYTES)}`);
        p.pass(us, 1000);
      }
      same(`step ${step}`);
    }
    assert.ok(packing.count(L.CNT_TcpExtTCPParked) > 1000, 'connections were packed');
    assert.is(roomy.count(L.CNT_TcpExtTCPParked), 0);
    for (const p of both) p.end();
  }
});

test('keepalive of a packed connection probes, and ends it when nobody answers', () => {
  const p = new Many(4);
  for (let i = 0; i < 20; i++) {
    p.open(i);
    p.m.core.setOption(p.handles[i], L.OPT_KEEPALIVE, 1);
    p.pass(1000);
  }
  assert.ok(p.count(L.CNT_TcpExtTCPParked) >= 16);
  p.note();
  p.log.length = 0;
  p.pass(21e6, 1000);
  p.note();
  assert.is(p.log.filter((line) => !line.startsWith('event')).length, 20, 'each has been probed');
  p.pass(60 * 75e6, 100_000);
  p.note();
  const ended = p.log.filter((line) => line.startsWith('event') && line.split(' ')[2] === `${L.EV_ERROR}`);
  assert.is(ended.length, 20);
  p.end();
});

test('a handle of a packed connection is stale once that is closed, and never another', () => {
  const p = new Many(4);
  for (let i = 0; i < 20; i++) {
    p.open(i);
    p.pass(1000);
  }
  const [handle] = p.handles;
  assert.is(p.m.core.abort(handle), 0);
  assert.is(p.m.core.close(handle), -L.EBADF);
  assert.is(p.m.core.send(handle, 0, 0), -L.EBADF);
  // As it would be if it were packed, but of another generation.
  assert.is(p.m.core.abort(p.handles[1] ^ (1 << 20)), -L.EBADF);
  p.end();
});

test('while every slot is busy a packed connection says ENOBUFS and loses what comes, without a reset', () => {
  const p = new Many(8);
  for (let i = 0; i < 30; i++) {
    p.open(i);
    p.pass(1000);
  }
  // Those that are written to wait for an acknowledgment and cannot be packed.
  let busy = 0;
  let refused = -1;
  for (let i = 0; i < 30 && refused < 0; i++) {
    p.handle = p.handles[i];
    if (p.write(100) === -L.ENOBUFS) refused = i;
    else busy++;
    p.pass(1000);
  }
  assert.ok(busy >= 8 && refused >= 0, `${busy} were busy`);
  p.note();
  p.log.length = 0;
  const missing = p.count(L.CNT_TcpExtTCPSlotsMissing);
  p.segment(refused, 'P.', 10);
  p.note();
  assert.equal(p.log, [], 'no reset');
  assert.is(p.count(L.CNT_TcpExtTCPSlotsMissing), missing + 1);
  assert.is(p.m.core.listen(p.address([0, 0, 0, 0]), 81, 1, 0) > 0, true, 'a listener is sure of a slot');
  const other = p.m.core.listen(p.address([0, 0, 0, 0]), 82, 1, 0);
  // Acknowledged, they are packed again, and there is room.
  for (let i = 0; i < refused; i++) {
    p.sent[i] = 100;
    p.segment(i, '.', 0);
  }
  p.pass(2000, 500);
  p.received[refused] = 0;
  p.segment(refused, 'P.', 10);
  p.note();
  assert.ok(p.log.some((line) => line.startsWith(`event ${p.handles[refused]} ${L.EV_DATA} `)));
  p.readAll(refused);
  p.m.core.close(other);
  for (let index = 0; index < 3; index++) p.m.core.close(other - index);
  p.end();
});

test.run();
