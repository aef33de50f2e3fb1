// Sending and receiving without loss: segmentation, windows, Nagle, delayed ACK, probes (RFC 9293 §3.7, §3.8, RFC 5681).
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { assertContent, MSS, mss, Peer, timestamps, wscale } from '../../helpers/peer.js';

test('a large write leaves as full segments in order, PSH on the last', () => {
  const p = new Peer().accept();
  assert.is(p.write(4000), 4000);
  const heard = p.heard();
  assert.equal(
    heard.map((s) => [s.flags, s.seq, s.payload.length]),
    [
      ['.', 1, 1460],
      ['.', 1461, 1460],
      ['P.', 2921, 1080],
    ],
  );
  for (const s of heard) assertContent(s.payload, s.seq - 1);
  p.in('.', { ack: 4001 });
  assert.is(p.m.core.zbufInUse(), 0, 'acknowledged and transmitted: released');
  p.done();
});

test('timestamps take their 12 bytes out of the segment', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...timestamps(1, 0)] });
  p.out();
  p.in('.', { options: timestamps(1, 0) });
  p.handle = p.m.core.accept(p.listener);
  p.write(2000);
  assert.equal(
    p.heard().map((s) => s.payload.length),
    [1448, 552],
  );
  p.done();
});

test('the initial window is ten segments, and each ACK opens it further', () => {
  const p = new Peer().accept();
  p.write(60000);
  assert.is(p.heard().length, 10);
  p.in('.', { ack: 1 + 2 * MSS });
  assert.is(p.heard().length, 4, 'two acknowledged, two more by slow start');
  p.done();
});

test('nothing is sent beyond the peer’s window', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, win: 3000, options: mss(MSS) });
  p.out();
  p.in('.', { win: 3000 });
  p.handle = p.m.core.accept(p.listener);
  p.write(10000);
  const end = Math.max(...p.heard().map((s) => s.seq + s.payload.length));
  assert.ok(end <= 3001, `sent up to ${end}`);
  p.done();
});

test('small writes wait for the acknowledgement of the last one (Nagle), and leave together', () => {
  const p = new Peer().accept();
  p.write(10);
  assert.equal(p.out(), ['P. 1:11 ack 1']);
  p.write(10);
  p.write(10);
  assert.equal(p.out(), []);
  p.in('.', { ack: 11 });
  assert.equal(p.out(), ['P. 11:31 ack 1']);
  p.done();
});

test('with NODELAY small writes leave at once', () => {
  const p = new Peer().accept();
  assert.is(p.m.core.setOption(p.handle, L.OPT_NODELAY, 1), 0);
  for (let i = 0; i < 3; i++) p.write(10);
  assert.is(p.heard().length, 3);
  p.done();
});

test('many small pieces share a segment as far as a frame has descriptors', () => {
  const p = new Peer().accept();
  p.write(1);
  p.out();
  for (let i = 0; i < 20; i++) p.write(10);
  p.in('.', { ack: 2 });
  const heard = p.heard();
  p.in('.', { ack: 162 });
  heard.push(...p.heard());
  assert.equal(
    heard.map((s) => s.payload.length),
    [80, 80, 40],
    'eight pieces and the header fill a frame',
  );
  for (const s of heard) assertContent(s.payload, s.seq - 1);
  p.done();
});

test('received data is queued in order and read by reference', () => {
  const p = new Peer().accept();
  p.in('P.', { len: 100 });
  p.in('P.', { seq: 101, len: 200 });
  assert.equal(p.kinds(), [L.EV_DATA], 'one event until it is drained');
  assert.is(p.read(0), 300);
  p.in('P.', { seq: 301, len: 1 });
  assert.equal(p.kinds(), [L.EV_DATA]);
  assert.is(p.read(300), 1);
  assert.is(p.count(L.CNT_CopiedBytes), 0);
  p.done();
});

test('a lone segment is acknowledged after the delay, a second full one at once', () => {
  const p = new Peer().accept();
  // Past the quick ACKs of a young connection, and with an application that answers.
  for (let i = 0; i < 20; i++) p.in('.', { seq: 1 + i * MSS, len: MSS });
  p.read(0);
  p.write(1);
  p.in('.', { seq: 1 + 20 * MSS, ack: 2 });
  p.out();
  p.in('.', { seq: 1 + 20 * MSS, ack: 2, len: MSS });
  assert.equal(p.out(), []);
  p.pass(39_000);
  assert.equal(p.out(), []);
  p.pass(2_000);
  assert.equal(p.out(), [`. 2 ack ${1 + 21 * MSS}`]);
  assert.is(p.count(L.CNT_TcpExtDelayedACKs), 1);
  p.in('.', { seq: 1 + 21 * MSS, ack: 2, len: MSS });
  p.in('.', { seq: 1 + 22 * MSS, ack: 2, len: MSS });
  assert.equal(p.out(), [`. 2 ack ${1 + 23 * MSS}`]);
  p.done();
});

test('an answer carries the acknowledgement', () => {
  const p = new Peer().accept();
  p.in('P.', { len: 10 });
  p.read(0);
  p.out();
  p.in('P.', { seq: 11, len: 10 });
  p.read(10);
  p.write(5);
  const flags = p.out();
  assert.ok(flags[flags.length - 1].endsWith('ack 21'), flags.join());
  p.done();
});

test('a reader that does not read closes the window; reading opens it with an update', () => {
  const p = new Peer({ rcvBufBytes: 8192 }).accept();
  let sent = 0;
  let win = 8192;
  for (let i = 0; i < 20 && win > 0; i++) {
    const len = Math.min(1000, win);
    p.in('P.', { seq: 1 + sent, len });
    sent += len;
    p.pass(200_000);
    const heard = p.heard();
    if (heard.length > 0) win = heard[heard.length - 1].ack + heard[heard.length - 1].win - (1 + sent);
  }
  assert.ok(sent >= 8192 - 1460 && sent <= 8192, `${sent} bytes taken`);
  assert.is(p.read(0), sent);
  const [update] = p.heard();
  assert.ok(update.win >= 4096, `window ${update.win}`);
  p.done();
});

test('the right edge of the window never moves left', () => {
  const p = new Peer({ rcvBufBytes: 20000 }).accept();
  let edge = 0;
  let taken = 0;
  let seq = 1;
  for (let i = 0; i < 60; i++) {
    p.in('P.', { seq, len: 700 });
    seq += 700;
    if (i % 9 === 8) taken += p.read(taken);
    p.pass(50_000);
    for (const s of p.heard()) {
      assert.ok(s.ack + s.win >= edge, `edge ${s.ack + s.win} after ${edge}`);
      edge = s.ack + s.win;
    }
  }
  assert.ok(taken > 20000, 'the window has moved');
  p.done();
});

test('a small opening of the window is not announced (silly-window avoidance)', () => {
  const p = new Peer({ rcvBufBytes: 8192 }).accept();
  const { core } = p.m;
  for (let i = 0; i < 8; i++) p.in('P.', { seq: 1 + i * 1024, len: 1024 });
  p.pass(200_000);
  const closed = p.heard();
  assert.is(closed[closed.length - 1].win, 0);
  assert.is(core.recv(p.handle, core.scratch, 1), 1);
  core.free(core.u32[core.scratch >> 2]);
  core.flush(p.m.nowUs);
  assert.equal(p.out(), [], '1,024 of 8,192 bytes are less than a segment');
  p.read(1024);
  assert.is(p.heard().length, 1);
  p.done();
});

test('data beyond the window is not taken, and answered with an ACK', () => {
  const p = new Peer({ rcvBufBytes: 4096 }).accept();
  p.in('P.', { seq: 1 + 5000, len: 100 });
  assert.equal(p.out(), ['. 1 ack 1']);
  assert.is(p.count(L.CNT_TcpExtOutOfWindow), 1);
  p.done();
});

test('a closed window is probed with backoff, for as long as the peer answers', () => {
  const p = new Peer().accept();
  p.write(100);
  p.out();
  p.in('.', { ack: 101, win: 0 });
  p.write(100);
  assert.equal(p.out(), []);
  let probes = 0;
  let last = 0;
  const gaps: number[] = [];
  for (let second = 0; second < 400; second++) {
    p.pass(1e6, 100_000);
    for (const s of p.heard()) {
      assert.ok(s.payload.length <= 1);
      probes++;
      gaps.push(second - last);
      last = second;
      p.in('.', { ack: 101, win: 0 });
    }
  }
  assert.ok(probes >= 5 && probes < 40, `${probes} probes`);
  assert.ok(gaps[gaps.length - 1] > gaps[2], 'the gaps grow');
  assert.is(p.state(), L.TCP_ESTABLISHED);
  p.in('.', { ack: 101, win: 5000 });
  assert.equal(p.out(), ['P. 101:201 ack 1']);
  p.done();
});

test('a peer that stops answering probes is given up with ETIMEDOUT', () => {
  const p = new Peer({ retries: 5 }).accept();
  p.in('.', { win: 0 });
  p.write(100);
  let error = 0;
  for (let i = 0; i < 600 && error === 0; i++) {
    p.pass(1e6);
    p.m.take();
    for (const [h, kind, a] of p.m.events()) if (h === p.handle && kind === L.EV_ERROR) error = a;
  }
  assert.is(error, L.ETIMEDOUT);
  p.done();
});

test('a window too small for a segment is used after the override timeout, not before', () => {
  const p = new Peer().accept();
  p.write(10);
  p.out();
  p.in('.', { ack: 11, win: 100 });
  p.write(1000);
  assert.equal(p.out(), []);
  p.pass(5e6, 50_000);
  const heard = p.heard();
  assert.ok(heard.length > 0 && heard[0].payload.length === 100, p.out().join());
  p.done();
});

test('a connection that found no record for its first write hears when others give theirs back', () => {
  const p = new Peer({ segmentRecords: 8 });
  p.listen();
  const [a, b, c] = [40000, 40001, 40002].map((from) => {
    p.in('S', { seq: 0, from, options: mss(MSS) });
    p.out();
    p.in('.', { from });
    return { from, iss: p.iss, handle: p.m.core.accept(p.listener) };
  });
  const write = (connection: typeof a, pieces: number): number => {
    p.handle = connection.handle;
    let taken = 0;
    while (taken < pieces && p.write(1000) === 1000) taken++;
    return taken;
  };
  assert.is(write(a, 5), 4, 'one connection takes half of all records');
  assert.is(write(b, 5), 4);
  p.m.events();
  assert.is(write(c, 1), 0);
  p.m.poll();
  assert.equal(p.kinds(c.handle), [], 'nothing has changed');
  p.iss = a.iss;
  p.in('.', { from: a.from, ack: 3001 });
  assert.equal(p.kinds(c.handle), [L.EV_WRITE]);
  assert.is(write(c, 1), 1);
  for (const { handle } of [a, b]) p.m.core.abort(handle);
  p.handle = c.handle;
  p.done();
});

test('a write of more pieces than there can ever be room for is EMSGSIZE', () => {
  const p = new Peer({ segmentRecords: 8 }).accept();
  const { core } = p.m;
  const addr = core.alloc(100);
  for (let i = 0; i < 5; i++) core.u32.set([addr + i, 1], (core.scratch >> 2) + 2 * i);
  assert.is(core.sendv(p.handle, core.scratch, 5), -L.EMSGSIZE);
  assert.is(core.sendv(p.handle, core.scratch, 4), 4);
  core.free(addr);
  p.done();
});

test('a full send queue is EAGAIN, and room is announced once', () => {
  const p = new Peer({ sndBufBytes: 16384 }).accept();
  let queued = 0;
  for (;;) {
    const result = p.write(4096);
    if (result < 0) {
      assert.is(result, -L.EAGAIN);
      break;
    }
    queued += result;
  }
  assert.ok(queued >= 16384 - 4096 && queued <= 16384 + 4096, `${queued} queued`);
  const sent = p.heard().reduce((sum, s) => sum + s.payload.length, 0);
  assert.equal(p.kinds(), []);
  p.in('.', { ack: 1 + sent });
  assert.equal(p.kinds(), [L.EV_WRITE]);
  assert.is(p.write(4096), 4096);
  p.done();
});

test('sendv queues all pieces or none', () => {
  const p = new Peer({ sndBufBytes: 16384 }).accept();
  const { core } = p.m;
  const addr = core.alloc(8192);
  const iov = (pieces: [number, number][]): number => {
    pieces.forEach(([a, n], i) => {
      core.u32[(core.scratch >> 2) + 2 * i] = a;
      core.u32[(core.scratch >> 2) + 2 * i + 1] = n;
    });
    return core.sendv(p.handle, core.scratch, pieces.length);
  };
  assert.is(
    iov([
      [addr, 100],
      [addr + 100, 200],
    ]),
    300,
  );
  assert.ok(
    iov([
      [addr, 100],
      [12, 5],
    ]) < 0,
  );
  assert.is(
    iov([
      [addr, 8192],
      [addr, 8192],
      [addr, 8192],
    ]),
    -L.EAGAIN,
  );
  assert.is(p.info(L.INFO_snd_queued_bytes), 300);
  core.free(addr);
  p.done();
});

test('one object on many connections is released when the last has it acknowledged', () => {
  const p = new Peer();
  p.listen();
  const handles: number[] = [];
  const { core } = p.m;
  const addr = core.alloc(1000);
  for (let i = 0; i < 5; i++) {
    p.in('S', { seq: 0, from: 1000 + i, options: mss(MSS) });
    p.heard();
    const { iss } = p;
    p.in('.', { from: 1000 + i });
    handles.push(core.accept(p.listener));
    assert.is(core.send(handles[i], addr, 1000), 1000);
    core.flush(p.m.nowUs);
    p.m.take();
    p.iss = iss;
  }
  core.free(addr);
  assert.is(core.refCount(addr), 5);
  for (const handle of handles) core.abort(handle);
  p.m.take();
  assert.is(core.zbufInUse(), 0);
  p.done();
});

test('received objects can be sent on', () => {
  const p = new Peer().accept();
  const { core } = p.m;
  p.in('P.', { len: 500 });
  assert.is(core.recv(p.handle, core.scratch, 4), 1);
  const addr = core.u32[core.scratch >> 2];
  assert.is(core.send(p.handle, addr, 500), 500);
  core.free(addr);
  core.flush(p.m.nowUs);
  const [echo] = p.heard().filter((s) => s.payload.length > 0);
  assertContent(echo.payload, 0);
  assert.is(core.rxInUse(), 1, 'held until acknowledged');
  p.in('.', { seq: 501, ack: 501 });
  assert.is(core.rxInUse(), 0);
  p.done();
});

test('many tiny segments do not hold an object each: they are put together, counted', () => {
  const p = new Peer({ rcvBufBytes: 65535 }).accept();
  for (let i = 0; i < 900; i++) p.in('P.', { seq: 1 + i, len: 1 });
  assert.ok(p.m.core.rxInUse() < 900, `${p.m.core.rxInUse()} objects for 900 bytes`);
  assert.ok(p.count(L.CNT_CopiedBytes) > 0);
  assert.is(p.read(0), 900);
  p.done();
});

test('a full transmit ring loses nothing: segments follow when there is room', () => {
  const p = new Peer({ txRing: 16 }).accept();
  p.write(14000);
  let seen = 0;
  for (let i = 0; i < 20; i++) {
    for (const s of p.heard()) {
      assert.is(s.seq, 1 + seen);
      assertContent(s.payload, seen);
      seen += s.payload.length;
    }
    p.m.core.flush(p.m.nowUs);
  }
  assert.is(seen, 14000);
  assert.ok(p.count(L.CNT_TxRingFull) > 0);
  assert.is(p.count(L.CNT_TcpRetransSegs), 0);
  p.done();
});

test('keepalive probes an idle connection and gives up when nothing answers', () => {
  const p = new Peer({ keepaliveTimeUs: 10e6, keepaliveIntvlUs: 2e6, keepaliveProbes: 3 }).accept();
  p.m.core.setOption(p.handle, L.OPT_KEEPALIVE, 1);
  p.pass(9e6, 500_000);
  assert.equal(p.out(), []);
  p.pass(2e6, 500_000);
  const [probe] = p.heard();
  assert.ok(probe.seq === 0 && probe.payload.length <= 1, 'an old sequence number');
  p.in('.');
  p.pass(9e6, 500_000);
  assert.equal(p.out(), [], 'an answer starts the time anew');
  let error = 0;
  for (let i = 0; i < 20 && error === 0; i++) {
    p.pass(1e6, 500_000);
    p.m.take();
    for (const [h, kind, a] of p.m.events()) if (h === p.handle && kind === L.EV_ERROR) error = a;
  }
  assert.is(error, L.ETIMEDOUT);
  p.done();
});

test('a connection with a scaled window fills more than 64 KiB', () => {
  const p = new Peer({ initCwndSegments: 100 });
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...wscale(7)] });
  p.out();
  p.in('.', { win: 1024 });
  p.handle = p.m.core.accept(p.listener);
  p.m.core.setOption(p.handle, L.OPT_NODELAY, 1);
  p.write(60000);
  p.write(60000);
  assert.is(
    p.heard().reduce((sum, s) => sum + s.payload.length, 0),
    120000,
  );
  p.done();
});

test.run();
