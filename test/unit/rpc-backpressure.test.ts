// lunet/rpc: what a slow consumer does not take stays with the sender, over each of lunet's transports.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import type { RpcRequest, RpcStream } from '../../src/host/rpc/index.js';
import type { Stack } from '../../src/host/stack.js';
import { until } from '../helpers/net-pair.js';
import { random } from '../helpers/random.js';
import { openRpc } from '../helpers/rpc-pair.js';

const HOLD = 1;
const STREAM = 2;
const RCV_BUF = 65_536;
const SND_BUF = 131_072;
const BUFFERS = { rcvBufBytes: RCV_BUF, rcvBufMaxBytes: RCV_BUF, sndBufBytes: SND_BUF };

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Bytes that the connections of a stack hold for their application (`INFO_rcv_…`) or for the peer (`INFO_snd_…`). */
function queued({ core }: Stack, field: number): number {
  let bytes = 0;
  for (let i = 0; i < core.config.maxConnections; i++) {
    if (core.connectionAt(i, core.scratch) === 0) bytes += core.dv.getUint32(core.scratch + field, true);
  }
  return bytes;
}

for (const stack of ['lunet/zc', 'lunet/net'] as const) {
  test(`${stack}: while requests wait the connection is not read, and TCP holds the client back`, async () => {
    const bodyBytes = 16_384;
    const total = 200;
    const ends = await openRpc(stack, { maxInFlight: 1 }, BUFFERS);
    const held: RpcRequest[] = [];
    ends.server.handle(HOLD, (request) => void held.push(request));
    const client = ends.connect();
    // All of them before the server's HELLO says how many it takes.
    const body = (i: number): Buffer => Buffer.alloc(bodyBytes, `${i} `);
    const order: string[] = [];
    const replies = Array.from({ length: total }, (_, i) =>
      client.request(HOLD, body(i)).then((reply) => order.push(reply.take().toString())),
    );
    const [serverStack] = ends.stacks;
    const { core } = serverStack;
    await until(() => core.counter(L.CNT_TcpExtTCPToZeroWindowAdv) > 0, 'the window closes');
    await sleep(20);
    // A socket of lunet/net has read up to its highWaterMark ahead, and what it reads at a time.
    const read = stack === 'lunet/zc' ? 1 : Math.ceil((2 * RCV_BUF) / bodyBytes) + 1;
    assert.ok(ends.server.inFlight <= 1 + read, `${ends.server.inFlight} requests have been read`);
    assert.ok(queued(serverStack, L.INFO_rcv_queued_bytes) > RCV_BUF / 2, 'the others wait in the receive buffer');
    const received = queued(serverStack, L.INFO_bytes_received);
    assert.ok(received <= RCV_BUF + (2 + read) * bodyBytes, 'the rest is still with the client');
    let most = 0;
    for (let i = 0; i < total; i++) {
      await until(() => held.length > 0, `request ${i}`);
      assert.is(held.length, 1);
      const request = held.pop()!;
      most = Math.max(most, ends.server.inFlight);
      assert.ok(queued(serverStack, L.INFO_rcv_queued_bytes) <= RCV_BUF);
      assert.ok(queued(ends.stacks[1], L.INFO_unacked) <= RCV_BUF);
      assert.ok(request.bytes().equals(body(i)), `request ${i} is what was sent as such`);
      request.reply(`${i}`);
    }
    await Promise.all(replies);
    assert.equal(
      order,
      Array.from({ length: total }, (_, i) => `${i}`),
    );
    assert.ok(most <= 1 + read, `${most} requests at once`);
    await ends.finish();
  });

  test(`${stack}: a stream that is taken slowly holds a bounded number of bytes, and loses none`, async () => {
    const windowBytes = 65_536;
    const total = 3_000_000;
    const byteAt = (i: number): number => (i * 31 + (i >> 8)) & 255;
    const bytes = Buffer.from(Uint8Array.from({ length: total }, (_, i) => byteAt(i)));
    const ends = await openRpc(stack, { windowBytes }, BUFFERS);
    const r = random(3);
    let consumed = 0;
    let pauses = 0;
    let over = false;
    let taken: RpcStream | null = null;
    ends.server.handle(STREAM, (request) => {
      const stream = request.stream!;
      taken = stream;
      stream.onData = (addr, len) => {
        const view = request.memory.view(addr, len);
        for (let i = 0; i < len; i++) if (view[i] !== byteAt(consumed + i)) assert.unreachable(`byte ${consumed + i}`);
        consumed += len;
        request.memory.free(addr);
        if (r.below(65_536) > len) return;
        stream.pause();
        pauses++;
        setTimeout(() => stream.resume(), 1);
      };
      stream.onEnd = () => {
        over = true;
        request.reply();
      };
    });
    const stream = ends.connect().stream(STREAM);
    let sent = 0;
    let ahead = 0;
    const sending = (async () => {
      for (let at = 0; at < total; at += 10_000) {
        await stream.write(bytes.subarray(at, at + 10_000));
        sent = at + 10_000;
        ahead = Math.max(ahead, sent - consumed);
      }
      stream.end();
    })();
    let mostWaiting = 0;
    while (!over) {
      await sleep(1);
      const waiting = (taken as RpcStream | null)?.readableBytes ?? 0;
      mostWaiting = Math.max(mostWaiting, waiting);
      assert.ok(queued(ends.stacks[0], L.INFO_rcv_queued_bytes) <= RCV_BUF);
      assert.ok(queued(ends.stacks[1], L.INFO_snd_queued_bytes) <= SND_BUF);
    }
    await sending;
    assert.is(consumed, total);
    assert.ok(pauses > 20, `${pauses} pauses`);
    assert.ok(mostWaiting > 0 && mostWaiting <= windowBytes, `${mostWaiting} bytes waited`);
    assert.ok(ahead <= windowBytes + 10_000, `the sender was ${ahead} bytes ahead`);
    await ends.finish();
  });

  test(`${stack}: a client whose answer to a ping is not read is not taken for lost`, async () => {
    const ends = await openRpc(stack, { maxInFlight: 1, keepAliveMs: 20, keepAliveTimeoutMs: 20 });
    const held: RpcRequest[] = [];
    ends.server.handle(HOLD, (request) => void held.push(request));
    const client = ends.connect();
    const replies = ['a', 'b', 'c'].map((text) => client.request(HOLD, text));
    for (let i = 0; i < 3; i++) {
      await until(() => held.length > i, `request ${i}`);
      await sleep(100);
      held[i].reply(`${i}`);
      assert.is((await replies[i]).text(), `${i}`);
    }
    assert.is(client.isOpen, true);
    await ends.finish();
  });
}

test.run();
