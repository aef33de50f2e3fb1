// What lunet/rpc keeps of each call: slots, ids, deadlines. And that a call makes no garbage.
import { PerformanceObserver } from 'node:perf_hooks';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CALL_SENT, CallTable } from '../../src/host/rpc/calls.js';
import { RpcClient } from '../../src/host/rpc/client.js';
import { DeadlineWheel } from '../../src/host/rpc/deadlines.js';
import { RPC_HEADROOM, RpcServer, type RpcTransport, type TransportSink } from '../../src/host/rpc/index.js';
import type { RpcMemory } from '../../src/host/rpc/memory.js';
import { Iov } from '../../src/host/zc/index.js';
import { until } from '../helpers/net-pair.js';
import { random } from '../helpers/random.js';

test('ids are never 0, differ from use to use, and find their call only while it lasts', () => {
  const sizes: number[] = [];
  const calls = new CallTable(4, (slots) => sizes.push(slots));
  const seen = new Set<number>();
  for (let use = 0; use < 1000; use++) {
    const slot = calls.take();
    calls.state[slot] = CALL_SENT;
    const id = calls.idOf(slot);
    assert.ok(id > 0 && !seen.has(id));
    seen.add(id);
    assert.is(calls.slotOf(id), slot);
    calls.free(slot);
    assert.is(calls.slotOf(id), -1);
  }
  assert.equal(sizes, []);
  // The generation goes round, and leaves out 0.
  for (let use = 1000; use < 0x7fff; use++) calls.free(calls.take());
  assert.is(calls.idOf(calls.take()) >>> 16, 1);
});

test('the table grows to 65536 calls and no further', () => {
  const sizes: number[] = [];
  const calls = new CallTable(64, (slots) => sizes.push(slots));
  const slots = new Set<number>();
  for (let i = 0; i < 65536; i++) slots.add(calls.take());
  assert.is(slots.size, 65536);
  assert.is(slots.has(-1), false);
  assert.is(calls.take(), -1);
  assert.is(sizes.at(-1), 65536);
  calls.free(65535);
  assert.is(calls.take(), 65535);
});

test('deadlines end what is armed when they are due, near and further than the wheel turns', async () => {
  const slots = 300;
  const now = (): number => performance.now() * 1000;
  const due = new Map<number, number>();
  const lateMs: number[] = [];
  let expected = 0;
  const wheel = new DeadlineWheel(slots / 2, now, (slot) => {
    const deadline = due.get(slot);
    assert.ok(deadline !== undefined, 'armed, and once');
    due.delete(slot);
    lateMs.push((now() - deadline) / 1000);
  });
  wheel.grow(slots);
  const rng = random(1);
  for (let slot = 0; slot < slots; slot++) {
    const afterUs = slot % 50 === 0 ? 1_050_000 + rng.below(200_000) : 500 + rng.below(200_000);
    const at = now();
    wheel.arm(slot, at, afterUs);
    assert.ok(wheel.leftUs(slot, at) > afterUs - 2);
    if (slot % 3 === 0) {
      wheel.disarm(slot);
      wheel.disarm(slot);
      assert.is(wheel.leftUs(slot, at), 0);
      continue;
    }
    due.set(slot, at + afterUs);
    expected++;
  }
  await until(() => lateMs.length === expected, 'all deadlines');
  assert.ok(Math.min(...lateMs) >= 0, 'none early');
  wheel.stop();
});

const OBJECT_BYTES = 4096;

/** Objects in one array, and transports of two ends that hand each other pieces of it: nothing here makes garbage. */
class SharedMemory implements RpcMemory {
  readonly bytes = new Uint8Array(OBJECT_BYTES * 64);
  readonly dataView = new DataView(this.bytes.buffer);
  readonly references = new Uint32Array(64);

  alloc(): number {
    const object = this.references.indexOf(0, 1);
    this.references[object] = 1;
    return object * OBJECT_BYTES;
  }

  dup(addr: number): void {
    this.references[Math.floor(addr / OBJECT_BYTES)]++;
  }

  free(addr: number): void {
    const object = Math.floor(addr / OBJECT_BYTES);
    assert.ok(this.references[object] > 0, 'freed too often');
    this.references[object]--;
  }

  room(addr: number): number {
    return OBJECT_BYTES - (addr % OBJECT_BYTES);
  }

  refCount(addr: number): number {
    return this.references[Math.floor(addr / OBJECT_BYTES)];
  }

  view(addr: number, len: number): Uint8Array {
    return this.bytes.subarray(addr, addr + len);
  }

  write(addr: number, data: Uint8Array): number {
    this.bytes.set(data, addr);
    return data.length;
  }

  text(addr: number, len: number): string {
    return Buffer.from(this.view(addr, len)).toString();
  }
}

class SharedTransport implements RpcTransport {
  peer: SharedTransport | null = null;
  sink: TransportSink | null = null;
  readonly queue = new Iov(4096);

  constructor(readonly memory: SharedMemory) {}

  nowUs(): number {
    return 0;
  }

  start(sink: TransportSink): void {
    this.sink = sink;
    sink.opened();
  }

  sendv(iov: Iov): boolean {
    for (let i = 0; i < iov.length; i++) {
      this.memory.dup(iov.addr(i));
      this.peer!.queue.push(iov.addr(i), iov.len(i));
    }
    return true;
  }

  /** Delivers what the peer has sent. */
  deliver(): void {
    const { queue } = this;
    for (let i = 0; i < queue.length; i++) {
      this.sink!.receive(this.memory.dataView, queue.addr(i), queue.addr(i), queue.len(i));
    }
    queue.clear();
  }

  viewOf(): DataView {
    return this.memory.dataView;
  }

  offsetOf(addr: number): number {
    return addr;
  }

  pause(): void {}

  resume(): void {}

  end(): void {}

  abort(): void {}
}

test('a call, its request and its reply make no garbage', async () => {
  const memory = new SharedMemory();
  const near = new SharedTransport(memory);
  const far = new SharedTransport(memory);
  near.peer = far;
  far.peer = near;
  const server = new RpcServer();
  server.handle(1, (request) => void request.reply(request.pieces));
  server.accept(far);
  const client = new RpcClient(near);
  let answers = 0;
  const count = (error: Error | null): void => {
    if (error === null) answers++;
  };
  const plain = new Iov(1).push(memory.alloc(), 64);
  const roomy = new Iov(1).push(memory.alloc() + RPC_HEADROOM, 64);
  const calls = [
    { payload: plain, options: { onReply: count } },
    { payload: roomy, options: { onReply: count, headroom: true } },
  ];
  const run = (rounds: number): void => {
    for (let i = 0; i < rounds; i++) {
      const { payload, options } = calls[i & 1];
      client.call(1, payload, options);
      far.deliver();
      near.deliver();
    }
  };
  run(100_000);
  const collections: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) collections.push(entry.startTime);
  });
  observer.observe({ entryTypes: ['gc'] });
  const begin = performance.now();
  const rounds = 600_000;
  run(rounds);
  const end = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 20));
  observer.disconnect();
  const during = collections.filter((at) => at >= begin && at <= end).length;
  // An object of 16 bytes per call would fill the nursery many times over.
  assert.ok(during <= 1, `${during} collections in ${rounds} calls`);
  assert.is(answers, 700_000);
  client.abort();
  for (const { payload } of calls) memory.free(payload.addr(0));
  await server.close(0);
  for (let i = 0; i < near.queue.length; i++) memory.free(near.queue.addr(i));
  for (let i = 0; i < far.queue.length; i++) memory.free(far.queue.addr(i));
  assert.is(
    memory.references.reduce((sum, n) => sum + n, 0),
    0,
  );
});

test.run();
