// The urgent mechanism: RFC 9293 §3.8.5, RFC 6093.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { InlineEvent } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { content, MSS, mss, Peer } from '../../helpers/peer.js';

type Event = [kind: number, a: number, b: number];

function events(p: Peer): Event[] {
  return p.m
    .events()
    .filter(([h]) => h === p.handle)
    .map(([, kind, a, b]) => [kind, a, b]);
}

const left = (p: Peer): number => p.m.core.getOption(p.handle, L.OPT_URGENT_BYTES);
const urgent = (bytes: number): Event => [L.EV_REPORT, L.REPORT_URGENT, bytes];

/** The core's application sends `length` bytes as urgent data. */
function writeUrgent(p: Peer, length: number): number {
  const { core } = p.m;
  const addr = core.alloc(length);
  core.u8.set(content(p.written, length), addr);
  const result = core.sendUrgent(p.handle, addr, length);
  core.free(addr);
  if (result > 0) p.written += length;
  core.flush(p.m.nowUs);
  return result;
}

test('urgent data is announced before it is delivered, and delivered in its place in the stream', () => {
  const p = new Peer().accept();
  p.in('PU.', { len: 100, urg: 50 });
  assert.equal(events(p), [urgent(50), [L.EV_DATA, 100, 0]]);
  assert.is(left(p), 50);
  assert.is(p.read(0), 100);
  assert.is(left(p), 0);
  p.done();
});

test('the urgent pointer points behind the last urgent byte, in both directions', () => {
  const p = new Peer().accept();
  p.in('U.', { len: 49, urg: 50 });
  assert.is(p.read(0), 49);
  assert.is(left(p), 1);
  p.in('P.', { seq: 50, len: 1 });
  assert.is(p.read(49), 1);
  assert.is(left(p), 0);
  p.out();
  p.m.core.setOption(p.handle, L.OPT_NODELAY, 1);
  p.write(10);
  assert.is(writeUrgent(p, 5), 5);
  const heard = p.heard();
  assert.equal(
    heard.map((s) => [s.flags, s.seq, s.urg]),
    [
      ['P.', 1, 0],
      ['PU.', 11, 5],
    ],
  );
  p.done();
});

test('urgent data may be longer than the pointer’s field reaches', () => {
  const p = new Peer({ initCwndSegments: 200 }).accept([...mss(MSS), 1, 3, 3, 4], { win: 65535 });
  let segments = 0;
  for (const length of [65536, 40000]) {
    assert.is(writeUrgent(p, length), length);
    for (const s of p.heard()) {
      assert.match(s.flags, /U/);
      assert.is(s.urg, Math.min(1 + p.written - s.seq, 65535));
      segments++;
    }
  }
  assert.ok(segments > 70, `${segments} segments`);
  p.done();
  const q = new Peer().accept();
  let announced = 0;
  for (let i = 0; i < 80; i++) {
    const end = 1 + 80 * 1000;
    const seq = 1 + i * 1000;
    q.in('U.', { seq, len: 1000, urg: Math.min(end - seq, 65535) });
    announced += events(q).filter(([kind]) => kind === L.EV_REPORT).length;
    assert.is(q.read(seq - 1), 1000);
  }
  assert.is(announced, 16, 'once for the first pointer, and for each that reaches farther');
  assert.is(left(q), 0);
  q.done();
});

test('a pointer that advances is announced again; the same, an older one, and one behind what was read are not', () => {
  const p = new Peer().accept();
  p.in('U.', { len: 10, urg: 20 });
  assert.equal(events(p)[0], urgent(20));
  p.in('U.', { seq: 11, len: 5, urg: 10 });
  assert.equal(events(p), []);
  p.in('U.', { seq: 16, len: 1, urg: 2 });
  assert.equal(events(p), []);
  assert.is(left(p), 20);
  p.in('U.', { seq: 17, len: 1, urg: 30 });
  assert.equal(events(p), [urgent(46)]);
  assert.is(p.read(0), 17);
  assert.is(left(p), 29);
  p.in('U.', { seq: 18, len: 50, urg: 0 });
  p.read(17);
  assert.is(left(p), 0);
  p.in('U.', { seq: 68, len: 1, urg: 0 });
  assert.equal(
    events(p).map(([kind]) => kind),
    [L.EV_DATA, L.EV_DATA],
    'nothing is urgent any more',
  );
  p.done();
});

test('a closed receive window hides neither an urgent pointer nor a reset', () => {
  const p = new Peer({ rcvBufBytes: 2048 }).accept();
  p.in('P.', { len: 1460 });
  p.in('P.', { seq: 1461, len: 588 });
  assert.is(p.heard().at(-1)?.win, 0);
  events(p);
  p.in('PU.', { seq: 2049, len: 100, urg: 100 });
  assert.equal(events(p), [urgent(2148)]);
  p.in('R', { seq: 2049 });
  assert.equal(events(p), [[L.EV_ERROR, L.ECONNRESET, 0]]);
  p.done();
});

test('a closed send window does not hide what is urgent from the peer', () => {
  const p = new Peer().accept(mss(MSS), { win: 0 });
  assert.is(writeUrgent(p, 3), 3);
  const [s] = p.heard();
  assert.equal([s.flags, s.seq, s.urg, s.payload.length], ['U.', 1, 3, 0]);
  p.in('.', { win: 1000 });
  assert.equal(
    p.heard().map((h) => [h.flags, h.urg, h.payload.length]),
    [['PU.', 3, 3]],
  );
  p.done();
});

test('a retransmission is urgent as well, and nothing is once it is acknowledged', () => {
  const p = new Peer().accept();
  writeUrgent(p, 100);
  p.heard();
  p.pass(3e6, 1e5);
  const again = p.heard();
  assert.ok(again.length > 0);
  for (const s of again) assert.equal([s.flags, s.seq, s.urg], ['PU.', 1, 100]);
  p.in('.', { ack: 101 });
  p.write(100);
  assert.equal(
    p.heard().map((s) => [s.flags, s.urg]),
    [['P.', 0]],
  );
  p.done();
});

test('after the peer’s FIN its urgent pointer means nothing', () => {
  const p = new Peer().accept();
  p.in('F.', { len: 10 });
  events(p);
  p.in('U.', { seq: 12, urg: 1000 });
  assert.equal(events(p), []);
  assert.is(left(p), 0);
  p.done();
});

test('urgent data is sent with at least one byte, all or none of it', () => {
  const p = new Peer({ sndBufBytes: 2048 }).accept();
  const { core } = p.m;
  const addr = core.alloc(4096);
  assert.is(core.sendUrgent(p.handle, addr, 0), -L.EINVAL);
  assert.is(core.sendUrgent(p.handle, 64, 10), -L.EFAULT);
  assert.is(core.sendUrgent(0x7fffffff, addr, 10), -L.EBADF);
  assert.is(core.send(p.handle, addr, 2000), 2000);
  assert.is(core.sendUrgent(p.handle, addr, 100), -L.EAGAIN);
  core.flush(p.m.nowUs);
  assert.ok(p.heard().every((s) => !s.flags.includes('U')));
  core.free(addr);
  p.done();
});

test('an inline connection is told before it is given the bytes', () => {
  const calls: Event[] = [];
  const onEvent: InlineEvent = (_handle, kind, a, b) => {
    if (kind === L.EV_ACCEPT) p.handle = a;
    else calls.push([kind, kind === L.EV_DATA ? 0 : a, b]);
    if (kind === L.EV_DATA) p.m.core.free(a);
  };
  const p = new Peer({}, onEvent);
  p.accept(mss(MSS), { flags: L.SOCK_INLINE });
  p.in('PU.', { len: 100, urg: 40 });
  p.in('P.', { seq: 101, len: 100 });
  assert.equal(calls, [urgent(40), [L.EV_DATA, 0, 100], [L.EV_DATA, 0, 100]]);
  p.done();
});

test('reports that are not wanted do not come, and what is urgent can be asked all the same', () => {
  const p = new Peer().accept();
  const { core } = p.m;
  const all = L.REPORT_ICMP | L.REPORT_RETRANSMISSIONS | L.REPORT_URGENT;
  assert.is(core.getOption(p.handle, L.OPT_REPORTS), all, 'all by default');
  assert.is(core.setOption(p.handle, L.OPT_REPORTS, all + 1), -L.EINVAL);
  assert.is(core.setOption(p.handle, L.OPT_REPORTS, L.REPORT_ICMP), 0);
  assert.is(core.getOption(p.handle, L.OPT_REPORTS), L.REPORT_ICMP);
  p.in('PU.', { len: 10, urg: 5 });
  assert.equal(events(p), [[L.EV_DATA, 10, 0]]);
  assert.is(left(p), 5);
  assert.is(core.setOption(p.handle, L.OPT_URGENT_BYTES, 1), -L.ENOPROTOOPT);
  p.done();
});

test.run();
