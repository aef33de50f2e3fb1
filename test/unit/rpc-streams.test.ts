// Streams of lunet/rpc, the same over each stack it runs on.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RpcError, RpcRequest, RpcStream } from '../../src/host/rpc/index.js';
import type { Piece } from '../../src/host/zc/index.js';
import { until } from '../helpers/net-pair.js';
import { failure, openRpc, pattern, RPC_STACKS, sleep } from '../helpers/rpc-pair.js';

const HOLD = 2;
const STREAM = 5;

for (const stack of RPC_STACKS) {
  const over = (what: string, run: () => Promise<void>): void => test(`${stack}: ${what}`, run);

  over('bodies larger than the windows stream both ways, and never more than a window waits', async () => {
    const windowBytes = 64 * 1024;
    const ends = await openRpc(stack, { windowBytes });
    const total = 3 * 1024 * 1024;
    let mostWaiting = 0;
    let received = 0;
    ends.server.handle(STREAM, async (request) => {
      const stream = request.stream!;
      for await (const piece of stream) {
        mostWaiting = Math.max(mostWaiting, stream.readableBytes);
        received += piece.len;
        await stream.write([piece]);
        stream.memory.free(piece.addr);
      }
      stream.end();
    });
    const client = ends.connect({ windowBytes });
    const stream = client.stream(STREAM);
    const chunk = pattern(48_000);
    const send = async (): Promise<void> => {
      for (let sent = 0; sent < total; sent += chunk.length) await stream.write(chunk);
      stream.end();
    };
    const sending = send();
    let at = 0;
    for await (const { addr, len } of stream) {
      const bytes = stream.memory.view(addr, len);
      for (let i = 0; i < len; i += 97) assert.is(bytes[i], chunk[(at + i) % chunk.length]);
      at += len;
      stream.memory.free(addr);
      mostWaiting = Math.max(mostWaiting, stream.readableBytes);
    }
    await sending;
    assert.is(at, Math.ceil(total / chunk.length) * chunk.length);
    assert.is(received, at);
    assert.ok(mostWaiting <= windowBytes, `${mostWaiting} bytes waited`);
    assert.equal([client.counters.responses, ends.server.counters.responses], [1, 1]);
    await ends.finish();
  });

  over('a consumer that pauses stops its sender at the window', async () => {
    const windowBytes = 32 * 1024;
    const ends = await openRpc(stack);
    let sent = 0;
    let blocked = 0;
    const streams: RpcStream[] = [];
    ends.server.handle(STREAM, (request) => {
      const stream = request.stream!;
      streams.push(stream);
      const addr = stream.memory.alloc(1000);
      stream.memory.view(addr, 1000).fill(9);
      const fill = (): void => {
        while (sent < 200) {
          if (!stream.send([{ addr, len: 1000 }])) {
            blocked++;
            return;
          }
          sent++;
        }
        stream.memory.free(addr);
        stream.end();
      };
      stream.onWritable = fill;
      fill();
    });
    const client = ends.connect({ windowBytes });
    await client.ping();
    const stream = client.stream(STREAM, 'go', { end: true });
    let got = 0;
    let ended: RpcError | null | undefined;
    stream.pause();
    stream.onData = (addr, len) => {
      got += len;
      client.memory.free(addr);
    };
    stream.onEnd = (error) => (ended = error);
    await until(() => stream.readableBytes === 32_000, 'the window is full');
    await sleep(20);
    assert.is(sent, 32);
    assert.is(got, 0);
    stream.resume();
    await until(() => ended !== undefined, 'the end');
    assert.is(ended, null);
    assert.is(got, 200_000);
    assert.ok(blocked > 0);
    await ends.finish();
  });

  over('a stream may be answered with one message, an error, or be cancelled by either end', async () => {
    const ends = await openRpc(stack);
    let serverEnd: RpcError | null | undefined;
    ends.server
      .handle(STREAM, async (request) => {
        let bytes = 0;
        for await (const { addr, len } of request.stream!) {
          bytes += len;
          request.memory.free(addr);
        }
        request.reply(`${bytes} bytes and ${request.text()}`);
      })
      .handle(STREAM + 1, (request) => void request.fail(300, 'not today'))
      .handle(STREAM + 2, (request) => {
        request.stream!.onEnd = (error) => {
          serverEnd = error;
          request.reply();
        };
        void request.stream!.write('first words');
      });
    const client = ends.connect();
    const sum = client.stream(STREAM, 'the first');
    await sum.write(pattern(100_000));
    sum.end();
    let text = '';
    for await (const { addr, len } of sum) {
      text += client.memory.text(addr, len);
      client.memory.free(addr);
    }
    assert.is(text, '100000 bytes and the first');

    const refused = client.stream(STREAM + 1);
    const error = await failure(refused.next());
    assert.equal([error.code, error.status, error.message], ['ERR_RPC_APPLICATION', 300, 'not today']);
    assert.is(refused.send([{ addr: 1, len: 1 }]), false);

    const abandoned = client.stream(STREAM + 2);
    for await (const { addr, len } of abandoned) {
      assert.is(client.memory.text(addr, len), 'first words');
      client.memory.free(addr);
      break;
    }
    await until(() => serverEnd !== undefined, 'the server is told');
    assert.is(serverEnd?.code, 'ERR_RPC_CANCELLED');
    await until(() => client.counters.late === 1, 'the server’s last word');
    await ends.finish();
  });

  over('a stream that waits for its turn keeps what was said to it', async () => {
    const ends = await openRpc(stack);
    const held: RpcRequest[] = [];
    ends.server
      .handle(HOLD, (request) => void held.push(request))
      .handle(STREAM, async (request) => {
        for await (const { addr } of request.stream!) request.memory.free(addr);
        request.reply('over');
      });
    const client = ends.connect({ maxInFlight: 1 });
    const first = client.request(HOLD);
    const stream = client.stream(STREAM, 'body');
    assert.is(stream.writableBytes, 0);
    stream.end();
    await until(() => held.length === 1, 'the first');
    held[0].reply();
    (await first).free();
    const { value } = await stream.next();
    const piece = value as Piece;
    assert.is(client.memory.text(piece.addr, piece.len), 'over');
    client.memory.free(piece.addr);
    assert.is((await stream.next()).done, true);
    await ends.finish();
  });
}

test.run();
