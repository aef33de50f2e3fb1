// lunet/rpc, the same over each stack it runs on.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RPC_HEADROOM, type RpcError, type RpcRequest } from '../../src/host/rpc/index.js';
import { Iov, type ZcConnection } from '../../src/host/zc/index.js';
import { until } from '../helpers/net-pair.js';
import { failure, openRpc, pattern, RPC_STACKS, sleep } from '../helpers/rpc-pair.js';

const ECHO = 1;
const HOLD = 2;
const FAIL = 3;
const THROW = 4;

for (const stack of RPC_STACKS) {
  const over = (what: string, run: () => Promise<void>): void => test(`${stack}: ${what}`, run);

  over('calls are answered with the bytes that were sent, whatever their size', async () => {
    const ends = await openRpc(stack);
    ends.server.handle(ECHO, (request) => void request.reply(request.pieces));
    const client = ends.connect();
    for (const size of [0, 1, 31, 32, 33, 1500, 4096, 65536, 65537, 300_000]) {
      const body = pattern(size);
      const reply = await client.request(ECHO, body);
      assert.ok(reply.take().equals(body), `${size} bytes`);
    }
    assert.is(client.counters.responses, 10);
    assert.is(ends.server.counters.responses, 10);
    await client.close();
    await ends.finish();
  });

  over('many calls at once, by callback, with the header in the payload’s object', async () => {
    const ends = await openRpc(stack);
    ends.server.handle(ECHO, (request) => void request.reply(request.pieces));
    const client = ends.connect();
    const { memory } = client;
    const sent: number[] = [];
    const seen = new Map<number, string>();
    const total = 1000;
    const calls = Array.from({ length: 16 }, () => new Iov(1).push(memory.alloc(RPC_HEADROOM + 64) + RPC_HEADROOM, 64));
    let next = 0;
    const go = (slot: number): void => {
      if (next === total) return;
      const text = `call ${next++}`.padEnd(64);
      memory.write(calls[slot].addr(0), text);
      const id = client.call(ECHO, calls[slot], {
        headroom: true,
        onReply(error, pieces, replied) {
          assert.is(error, null);
          assert.is(replied, id);
          assert.is(memory.text(pieces.addr(0), pieces.len(0)), text);
          seen.set(Number(text.slice(5)), text);
          go(slot);
        },
      });
      sent.push(id);
    };
    for (let slot = 0; slot < calls.length; slot++) go(slot);
    await until(() => seen.size === total, 'all answers');
    assert.is(new Set(sent).size, total, 'an id is used once');
    assert.is(client.inFlight, 0);
    for (const call of calls) memory.free(call.addr(0));
    await ends.finish();
  });

  over('headroom that somebody still sends from is not written to', async () => {
    const ends = await openRpc(stack);
    ends.server.handle(ECHO, (request) => void request.reply(request.pieces));
    const client = ends.connect();
    const { memory } = client;
    const object = memory.alloc(RPC_HEADROOM + 8);
    memory.write(object + RPC_HEADROOM, 'the same');
    const pieces = [{ addr: object + RPC_HEADROOM, len: 8 }];
    const texts: string[] = [];
    const ids: number[] = [];
    for (let i = 0; i < 10; i++) {
      ids.push(
        client.call(ECHO, pieces, {
          headroom: true,
          onReply: (error, reply, id) => texts.push(`${ids.indexOf(id)} ${error ?? memory.text(reply.addr(0), 8)}`),
        }),
      );
    }
    memory.free(object);
    await until(() => texts.length === 10, 'ten answers');
    assert.equal(
      texts.sort(),
      Array.from({ length: 10 }, (_, i) => `${i} the same`),
    );
    await ends.finish();
  });

  over('answers come later and in another order, and find their calls', async () => {
    const ends = await openRpc(stack);
    const held: RpcRequest[] = [];
    ends.server.handle(HOLD, (request) => void held.push(request));
    const client = ends.connect();
    const replies = ['a', 'b', 'c', 'd'].map((text) => client.request(HOLD, text));
    await until(() => held.length === 4, 'four requests');
    assert.equal(
      held.map((request) => request.text()),
      ['a', 'b', 'c', 'd'],
    );
    for (const request of held.reverse()) assert.ok(request.reply(`${request.text()}!`));
    const texts = (await Promise.all(replies)).map((reply) => reply.text());
    assert.equal(texts, ['a!', 'b!', 'c!', 'd!']);
    assert.is(held[0].reply('again'), false, 'an answer is given once');
    await ends.finish();
  });

  over('errors travel as codes and text', async () => {
    const exceptions: unknown[] = [];
    const ends = await openRpc(stack, { onException: (error) => exceptions.push(error) });
    ends.server
      .handle(FAIL, (request) => void request.fail(404, 'no such block'))
      .handle(THROW, () => {
        throw new Error('a bug');
      })
      .handle(THROW + 100, async () => {
        await sleep(1);
        throw new Error('a late bug');
      })
      .handle(THROW + 101, async () => undefined);
    const client = ends.connect();
    const failed = await failure(client.request(FAIL));
    assert.equal(
      [failed.code, failed.status, failed.message, failed.mayHaveRun],
      ['ERR_RPC_APPLICATION', 404, 'no such block', true],
    );
    const threw = await failure(client.request(THROW, 'x'));
    assert.equal([threw.code, threw.message, threw.mayHaveRun], ['ERR_RPC_HANDLER', 'a bug', true]);
    assert.is((await failure(client.request(THROW + 100))).message, 'a late bug');
    assert.is((await failure(client.request(THROW + 101))).code, 'ERR_RPC_HANDLER');
    const unknown = await failure(client.request(77));
    assert.equal([unknown.code, unknown.mayHaveRun], ['ERR_RPC_METHOD', false]);
    assert.is(ends.server.counters.exceptions, 3);
    assert.is(exceptions.length, 3);
    assert.is(client.counters.errors, 5);
    assert.throws(() => ends.server.handle(-1, () => undefined), /a method is/);
    await ends.finish();
  });

  over('a deadline ends the call and tells the handler; the late answer is dropped and counted', async () => {
    const ends = await openRpc(stack);
    let held: RpcRequest | null = null;
    let aborted = 0;
    let budgetUs = 0;
    ends.server.handle(HOLD, (request) => {
      held = request;
      budgetUs = request.remainingUs;
      request.onAbort = () => aborted++;
    });
    ends.server.handle(ECHO, (request) => void request.reply(request.pieces));
    const client = ends.connect();
    (await client.request(ECHO, 'warm')).free();
    const begin = performance.now();
    const error = await failure(client.request(HOLD, 'slow', { deadlineUs: 30_000 }));
    const tookMs = performance.now() - begin;
    assert.equal([error.code, error.mayHaveRun], ['ERR_RPC_DEADLINE', true]);
    assert.ok(tookMs >= 29 && tookMs < 1000, `${tookMs} ms`);
    assert.ok(budgetUs > 0 && budgetUs <= 30_000, `${budgetUs} µs`);
    await until(() => aborted === 1, 'the handler is told');
    assert.is(held!.signal.aborted, true);
    assert.is(held!.text(), 'slow', 'the payload stays until the answer');
    assert.is(held!.reply('too late'), false);
    assert.is(ends.server.counters.late, 1);
    const reply = await client.request(ECHO, 'next', { deadlineUs: 5_000_000 });
    assert.is(reply.text(), 'next');
    await until(() => client.counters.late === 1, 'the server’s last word');
    assert.is(client.counters.deadlines, 1);
    await ends.finish();
  });

  over('cancelling tells the handler, by id and by signal', async () => {
    const ends = await openRpc(stack);
    const held: RpcRequest[] = [];
    ends.server.handle(HOLD, (request) => void held.push(request));
    const client = ends.connect();
    const controller = new AbortController();
    const promise = failure(client.request(HOLD, 'x', { signal: controller.signal }));
    let byId: RpcError | null = null;
    const id = client.call(HOLD, null, { onReply: (error) => (byId = error) });
    await until(() => held.length === 2, 'two requests');
    controller.abort(new Error('changed my mind'));
    assert.is((await promise).message, 'changed my mind');
    assert.is(client.cancel(id), true);
    assert.is(client.cancel(id), false);
    await until(() => byId !== null && held.every((request) => request.aborted), 'both are told');
    assert.is((byId as RpcError | null)?.code, 'ERR_RPC_CANCELLED');
    for (const request of held) request.reply();
    await until(() => client.counters.late === 2, 'the server’s last words');
    const gone = new AbortController();
    gone.abort(new Error('before it began'));
    assert.is((await failure(client.request(HOLD, 'x', { signal: gone.signal }))).message, 'before it began');
    await ends.finish();
  });

  over('calls beyond the limit wait, those beyond that are refused, and drain tells when not', async () => {
    const ends = await openRpc(stack);
    const held: RpcRequest[] = [];
    let most = 0;
    ends.server.handle(HOLD, (request) => {
      held.push(request);
      most = Math.max(most, ends.server.inFlight);
    });
    let drains = 0;
    const client = ends.connect({ maxInFlight: 2, maxWaiting: 3, onDrain: () => drains++ });
    const texts: string[] = [];
    const body = client.memory.alloc(1);
    client.memory.write(body, 'w');
    const call = (): number =>
      client.call(HOLD, [{ addr: body, len: 1 }], {
        onReply: (error, pieces) => texts.push(error?.code ?? client.memory.text(pieces.addr(0), pieces.len(0))),
      });
    const ids = Array.from({ length: 6 }, call);
    client.memory.free(body);
    assert.equal(
      ids.map((id) => id > 0),
      [true, true, true, true, true, false],
    );
    assert.equal([client.inFlight, client.waiting, client.counters.busy], [2, 3, 1]);
    assert.is((await failure(client.request(HOLD))).code, 'ERR_RPC_BUSY');
    assert.is(client.cancel(ids[4]), true, 'one that waits');
    for (let answered = 0; answered < 4; ) {
      await until(() => held.length > 0, 'a request');
      for (const request of held.splice(0)) {
        request.reply(request.pieces);
        answered++;
      }
    }
    await until(() => texts.length === 5, 'all answers');
    assert.equal(texts.sort(), ['ERR_RPC_CANCELLED', 'w', 'w', 'w', 'w']);
    assert.ok(most <= 2, `${most} at once`);
    assert.ok(drains > 0);
    assert.is(ends.server.counters.requests, 4, 'the cancelled one was never sent');
    await ends.finish();
  });

  over('the server’s limit is kept by the client', async () => {
    const ends = await openRpc(stack, { maxInFlight: 3 });
    let now = 0;
    let most = 0;
    ends.server.handle(HOLD, async (request) => {
      most = Math.max(most, ++now);
      await sleep(1);
      now--;
      request.reply(request.pieces);
    });
    const client = ends.connect();
    await client.ping();
    const replies = await Promise.all(Array.from({ length: 20 }, (_, i) => client.request(HOLD, `${i}`)));
    assert.equal(
      replies.map((reply) => reply.text()),
      Array.from({ length: 20 }, (_, i) => `${i}`),
    );
    assert.is(most, 3);
    assert.is(ends.server.counters.busy, 0);
    await ends.finish();
  });

  for (const overload of ['wait', 'reject'] as const) {
    over(`requests beyond the server’s limit that come before it is known: ${overload}`, async () => {
      const ends = await openRpc(stack, { maxInFlight: 2, overload });
      const held: RpcRequest[] = [];
      ends.server.handle(HOLD, (request) => void held.push(request));
      const client = ends.connect();
      const outcomes: string[] = [];
      for (let i = 0; i < 6; i++) {
        client.call(HOLD, null, { onReply: (error) => outcomes.push(error?.code ?? 'ok') });
      }
      await until(() => held.length === 2, 'two requests');
      if (overload === 'reject') await until(() => outcomes.length === 4, 'four refusals');
      const expected = overload === 'reject' ? 2 : 6;
      for (let answered = 0; answered < expected; ) {
        await until(() => held.length > 0, 'a request');
        assert.ok(held.length <= 2);
        for (const request of held.splice(0)) {
          request.reply();
          answered++;
        }
      }
      await until(() => outcomes.length === 6, 'all outcomes');
      assert.is(outcomes.filter((outcome) => outcome === 'ok').length, expected);
      assert.is(outcomes.filter((outcome) => outcome === 'ERR_RPC_BUSY').length, 6 - expected);
      assert.is(ends.server.counters.busy, 6 - expected);
      await ends.finish();
    });
  }

  over('messages beyond the limits are refused at either end, and nothing else suffers', async () => {
    const ends = await openRpc(stack, { maxMessageBytes: 100_000 });
    ends.server
      .handle(ECHO, (request) => void request.reply(request.pieces))
      .handle(FAIL, (request) => void request.reply(pattern(60_000)));
    const client = ends.connect({ maxMessageBytes: 50_000 });
    // Before the server's HELLO is here it is the server that refuses.
    const early = await failure(client.request(ECHO, pattern(150_000)));
    assert.equal([early.code, early.mayHaveRun], ['ERR_RPC_TOO_LARGE', false]);
    const known = await failure(client.request(ECHO, pattern(100_001)));
    assert.equal([known.code, known.mayHaveRun], ['ERR_RPC_TOO_LARGE', false]);
    assert.is((await failure(client.request(FAIL))).code, 'ERR_RPC_TOO_LARGE');
    assert.is((await client.request(ECHO, pattern(50_000))).take().length, 50_000);
    await ends.finish();
  });

  over('a lost connection tells of each call whether it may have been executed', async () => {
    const ends = await openRpc(stack);
    const held: RpcRequest[] = [];
    ends.server.handle(HOLD, (request) => void held.push(request));
    let closed: Error | null | undefined;
    const client = ends.connect({ maxInFlight: 1, onClose: (error) => (closed = error) });
    const sent = failure(client.request(HOLD, 'sent'));
    const waiting = failure(client.request(HOLD, 'waiting'));
    await until(() => held.length === 1, 'the request');
    client.abort();
    assert.equal([(await sent).code, (await sent).mayHaveRun], ['ERR_RPC_LOST', true]);
    assert.equal([(await waiting).code, (await waiting).mayHaveRun], ['ERR_RPC_UNSENT', false]);
    await until(() => held[0].aborted, 'the handler is told');
    held[0].reply('in vain');
    assert.is(closed, null);
    assert.is((await failure(client.request(HOLD))).code, 'ERR_RPC_CLOSED');
    assert.is(ends.server.counters.late, 1);

    const stream = ends.connect().stream(HOLD, 'streaming');
    await until(() => held.length === 2, 'the stream');
    await ends.server.close(0);
    assert.is((await failure(stream.next())).code, 'ERR_RPC_LOST');
    held[1].reply();
    await ends.finish();
  });

  if (stack === 'lunet/zc') {
    over('a connection that is closed behind its back ends its calls', async () => {
      const ends = await openRpc(stack);
      ends.server.handle(HOLD, (request) => {
        (request.peer as ZcConnection).close();
        request.reply('into the void');
      });
      const error = await failure(ends.connect().request(HOLD, 'x'));
      assert.is(error.code, 'ERR_RPC_LOST');
      await until(() => ends.server.connections === 0, 'the server has noticed');
      await ends.finish();
    });
  }

  if (stack !== 'node:net') {
    over('closing the stack ends the calls on it', async () => {
      const ends = await openRpc(stack);
      const held: RpcRequest[] = [];
      ends.server.handle(HOLD, (request) => void held.push(request));
      const call = failure(ends.connect().request(HOLD, 'x'));
      await until(() => held.length === 1, 'the request');
      await ends.stacks[1].close();
      assert.is((await call).code, 'ERR_RPC_LOST');
      await until(() => held[0].aborted, 'the handler is told');
      held[0].reply();
      await ends.finish();
    });
  }

  over('a connection that does not open fails its calls as not sent', async () => {
    const ends = await openRpc(stack);
    let reason: NodeJS.ErrnoException | null = null;
    const client = ends.networks.client.connect(
      { port: 1, address: ends.address },
      { onClose: (error) => (reason = error) },
    );
    const error = await failure(client.request(ECHO, 'x'));
    assert.equal([error.code, error.mayHaveRun], ['ERR_RPC_UNSENT', false]);
    assert.is((reason as NodeJS.ErrnoException | null)?.code, 'ECONNREFUSED');
    await ends.finish();
  });

  over('close() answers what is there: the client’s, and the server’s with no new requests', async () => {
    const ends = await openRpc(stack);
    const held: RpcRequest[] = [];
    ends.server.handle(HOLD, (request) => void held.push(request));
    let goAway = 0;
    let closed: Error | null | undefined;
    const client = ends.connect({ onGoAway: () => goAway++, onClose: (error) => (closed = error) });
    const other = ends.connect();
    const mine = client.request(HOLD, 'a');
    const others = other.request(HOLD, 'b');
    await until(() => held.length === 2, 'two requests');
    const otherClosed = other.close();
    assert.is((await failure(other.request(HOLD))).code, 'ERR_RPC_CLOSED');
    const serverClosed = ends.server.close();
    await until(() => goAway === 1, 'the client is told');
    assert.is((await failure(client.request(HOLD))).code, 'ERR_RPC_UNAVAILABLE');
    for (const request of held) request.reply('done');
    assert.is((await mine).text(), 'done');
    assert.is((await others).text(), 'done');
    await Promise.all([otherClosed, serverClosed]);
    await until(() => closed !== undefined, 'the client is closed');
    assert.is(closed, null);
    await ends.finish();
  });

  over('what is no method, deadline or body is refused, and calls nobody', async () => {
    const ends = await openRpc(stack);
    let called = 0;
    ends.server.handle(ECHO, (request) => {
      called++;
      request.reply(request.pieces);
    });
    const client = ends.connect();
    for (const method of [-1, 2 ** 32, 1.5, Number.NaN, undefined as never]) {
      assert.is((await failure(client.request(method, 'x'))).code, 'ERR_OUT_OF_RANGE', `method ${method}`);
    }
    for (const deadlineUs of [-1, Number.NaN]) {
      assert.is(
        (await failure(client.request(ECHO, 'x', { deadlineUs }))).code,
        'ERR_OUT_OF_RANGE',
        `${deadlineUs} µs`,
      );
      assert.throws(
        () => client.call(ECHO, null, { deadlineUs, onReply: () => assert.unreachable('no call') }),
        (error: { code?: string }) => error.code === 'ERR_OUT_OF_RANGE',
      );
      assert.throws(
        () => client.stream(ECHO, 'x', { deadlineUs }),
        (error: { code?: string }) => error.code === 'ERR_OUT_OF_RANGE',
      );
    }
    for (const body of [42, { length: 1 }] as never[]) {
      assert.is((await failure(client.request(ECHO, body))).code, 'ERR_INVALID_ARG_TYPE');
    }
    assert.is(client.inFlight, 0);
    assert.is((await client.request(ECHO, 'good', { deadlineUs: 10_000_000 })).text(), 'good');
    assert.is(called, 1);
    await ends.finish();
  });

  over('a handler that frees the payload, which is not its own, is an error, and the connection goes on', async () => {
    const ends = await openRpc(stack);
    ends.server.handle(ECHO, (request) => {
      const addr = request.pieces.addr(0);
      request.reply('answered');
      request.memory.free(addr);
    });
    const client = ends.connect();
    const before = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const errors: (string | undefined)[] = [];
    process.on('uncaughtException', (error) => errors.push((error as NodeJS.ErrnoException).code));
    try {
      for (let i = 1; i <= 3; i++) {
        assert.is((await client.request(ECHO, 'payload', { deadlineUs: 5_000_000 })).text(), 'answered');
        await until(() => errors.length === i, 'the error');
      }
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of before) process.on('uncaughtException', listener);
    }
    assert.equal(errors, new Array(3).fill('ERR_LUNET_ZBUF_FREED'));
    await ends.finish(true);
  });

  over('ping measures the way, and a silent peer is found out', async () => {
    const ends = await openRpc(stack);
    const client = ends.connect({ keepAliveMs: 20, keepAliveTimeoutMs: 500 });
    assert.ok((await client.ping()) > 0);
    await sleep(80);
    assert.is(client.isOpen, true, 'a peer that answers is kept');
    await ends.finish();
  });
}

test.run();
