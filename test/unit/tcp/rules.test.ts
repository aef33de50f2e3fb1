// Rules of RFC 9293 that have no other test, one by one: what docs/conformance.md names. Header, options, windows.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import { OWN_MAC } from '../../helpers/manual.js';
import { content, MSS, mss, PEER_PORT, Peer, sackPermitted, timestamps, wscale } from '../../helpers/peer.js';

/** The TCP checksum of a frame is what its bytes and its pseudo-header add up to. */
function checksumFine(frame: Uint8Array): boolean {
  const again = Uint8Array.from(frame);
  F.fixChecksums(again);
  return Buffer.compare(frame, again) === 0;
}

test('every segment leaves with the right checksum, whatever its length and its pieces (MUST-2)', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: [...mss(MSS), ...sackPermitted(), ...timestamps(1, 0)] });
  const frames = p.m.take();
  p.iss = F.parseTcp(frames[0])?.seq ?? 0;
  p.in('.', { options: timestamps(2, 0) });
  p.handle = p.m.core.accept(p.listener);
  // Behind the first, Nagle holds the small ones back until they fill a segment together: odd pieces in one frame.
  for (const length of [1, 3, 5, 2, 7, 1447, 1448, 1449, 3001]) p.write(length);
  p.in('.', { ack: 2, len: 7, options: timestamps(3, 0) });
  frames.push(...p.m.take());
  assert.ok(frames.length >= 6, `${frames.length} frames`);
  for (const frame of frames) assert.ok(checksumFine(frame));
  p.m.inject(F.tcpFrame({ srcPort: 5, dstPort: 5, seq: 1, ack: 1, flags: F.ACK, window: 0 }));
  assert.ok(checksumFine(p.m.take()[0]), 'a reset for no connection');
  p.done();
});

test('a segment with a wrong checksum is dropped, whichever bit is wrong (MUST-3)', () => {
  const p = new Peer().accept();
  const frame = p.frame('P.', { len: 33 });
  // TCP header and payload; the IP header has a checksum of its own.
  for (let bit = 34 * 8; bit < frame.length * 8; bit += 5) {
    const wrong = frame.slice();
    wrong[bit >> 3] ^= 1 << (bit & 7);
    p.m.inject(wrong);
  }
  assert.equal(p.out(), []);
  assert.is(p.info(L.INFO_rcv_queued_bytes), 0);
  assert.ok(p.count(L.CNT_TcpInCsumErrors) > 80);
  const misrouted = frame.slice();
  misrouted[29] = 3; // another source address: the pseudo-header is not what was summed
  p.m.inject(misrouted);
  assert.equal(p.out(), []);
  p.m.inject(frame);
  assert.is(p.read(0), 33);
  p.done();
});

test('a window above 32,767 is not negative (MUST-1)', () => {
  const p = new Peer({ initCwndSegments: 100 }).accept();
  p.write(60_000);
  p.write(40_000);
  const sent = p.heard().reduce((sum, s) => sum + s.payload.length, 0);
  assert.ok(sent > 65535 - MSS && sent <= 65535, `${sent} bytes`);
  p.done();
});

test('options are understood at any alignment, after NOPs and before an end of list (MUST-4, MUST-64)', () => {
  const orders = [
    [...mss(1000), ...wscale(3)],
    [1, ...mss(1000), ...wscale(3)],
    [1, 1, 1, ...mss(1000), 3, 3, 3],
    [3, 3, 3, ...mss(1000), 1],
    [3, 3, 3, ...mss(1000), 0, ...mss(700), ...wscale(9)],
  ];
  for (const options of orders) {
    const p = new Peer();
    p.listen();
    p.in('S', { seq: 0, options });
    assert.equal(p.out(), ['S. 0 ack 1']);
    p.in('.');
    p.handle = p.m.core.accept(p.listener);
    assert.is(p.info(L.INFO_snd_mss), 1000, String(options));
    assert.is(p.info(L.INFO_snd_wscale), 3, String(options));
    p.done();
  }
});

test('an option that is not known is skipped by its length, in any segment (MUST-5, MUST-6, MUST-68)', () => {
  const p = new Peer();
  p.listen();
  p.in('S', { seq: 0, options: [254, 6, 2, 4, 1, 0, 77, 2, ...mss(1200)] });
  assert.equal(p.out(), ['S. 0 ack 1']);
  p.in('.', { options: [254, 4, 9, 9] });
  p.handle = p.m.core.accept(p.listener);
  assert.is(p.info(L.INFO_snd_mss), 1200);
  p.in('P.', { len: 10, options: [77, 7, 8, 10, 0, 0, 0, 1] });
  p.in('P.', { seq: 11, len: 10, options: mss(600) });
  assert.is(p.read(0), 20);
  assert.is(p.info(L.INFO_snd_mss), 1200, 'an MSS outside a SYN means nothing');
  assert.is(p.count(L.CNT_TcpExtTCPBadOptions), 0);
  p.in('F.', { seq: 21, options: [254, 4, 9, 9] });
  assert.is(p.state(), L.TCP_CLOSE_WAIT);
  p.done();
});

/** Kinds of the options that a segment carries; asserts that they fill the header, padded with zeros if at all. */
function kinds(options: Uint8Array): number[] {
  const list: number[] = [];
  for (let at = 0; at < options.length; ) {
    const kind = options[at];
    if (kind === 0) {
      assert.ok(
        options.slice(at).every((b) => b === 0),
        'padding of zeros',
      );
      break;
    }
    list.push(kind);
    if (kind !== 1) assert.ok(options[at + 1] >= 2 && at + options[at + 1] <= options.length, 'a length that fits');
    at += kind === 1 ? 1 : options[at + 1];
  }
  return list;
}

test('our options have lengths that fit, nothing but zeros behind their end, and MSS in every SYN and nowhere else (MUST-14, MUST-65, MUST-69)', () => {
  for (const flags of [0, L.CFGF_TIMESTAMPS, L.CFGF_SACK, L.CFGF_SACK | L.CFGF_WINDOW_SCALE, L.CFGF_WINDOW_SCALE]) {
    const p = new Peer({ flags: flags | L.CFGF_ARP });
    const peerOptions = [...mss(MSS), ...wscale(2), ...sackPermitted(), ...timestamps(1, 0)];
    const stamp = flags & L.CFGF_TIMESTAMPS ? timestamps(2, 0) : [];
    p.listen();
    p.in('S', { seq: 0, options: peerOptions });
    const passive = p.heard();
    p.in('.', { options: stamp });
    p.handle = p.m.core.accept(p.listener);
    p.in('.', { seq: 1001, len: 500, options: stamp });
    p.in('.', { seq: 2001, len: 500, options: stamp });
    p.write(3000);
    p.m.core.shutdown(p.handle);
    p.m.core.flush(p.m.nowUs);
    const rest = p.heard();
    assert.ok(rest.length >= 4);
    for (const s of rest) assert.not(kinds(s.options).includes(2), s.flags);
    const own = p.m.core.connect(p.address(F.PEER_IP), PEER_PORT + 5, 0, 0, 0);
    p.m.core.flush(p.m.nowUs);
    for (const s of [...passive, ...p.heard()]) {
      assert.match(s.flags, /S/);
      assert.is(kinds(s.options).filter((kind) => kind === 2).length, 1);
      assert.equal([...s.options.slice(0, 4)], mss(1460));
    }
    p.m.core.abort(own);
    p.done();
  }
});

test('segments are as large as the smaller of the peer’s MSS and the path allows, options deducted (MUST-16)', () => {
  for (const [peer, mtu, expected] of [
    [1460, 1500, 1460],
    [1000, 1500, 1000],
    [1460, 1000, 960],
    [9000, 1500, 1460],
  ]) {
    const p = new Peer({ mtu, sndBufBytes: 1 << 20 }).accept(mss(peer));
    p.write(5000);
    const lengths = p.heard().map((s) => s.payload.length);
    assert.is(Math.max(...lengths), expected);
    p.done();
  }
});

test('nothing but the application’s silence delays what it has written (MUST-60)', () => {
  const p = new Peer().accept();
  p.write(10);
  assert.equal(p.out(), ['P. 1:11 ack 1'], 'at once');
  p.write(10);
  assert.equal(p.out(), [], 'Nagle waits for the acknowledgment');
  p.in('.', { ack: 11 });
  assert.equal(p.out(), ['P. 11:21 ack 1'], 'and no longer');
  p.done();
});

// ---- windows -------------------------------------------------------------------------------------------------

test('a window that shrinks below what is in flight stops new data; the old goes again, within the window and beyond it (MUST-34, SHLD-15, SHLD-16, MAY-7)', () => {
  const p = new Peer().accept();
  p.write(14600);
  assert.is(p.heard().length, 10);
  p.write(5000);
  p.in('.', { ack: 1461, win: 2000 });
  assert.equal(p.out(), [], 'no new data with 13,140 bytes in flight and a window of 2,000');
  const seen = new Set<number>();
  for (let i = 0; i < 200; i++) {
    p.pass(5e4);
    for (const s of p.heard()) {
      assert.ok(s.seq + s.payload.length <= 14601, 'nothing new');
      seen.add(s.seq);
    }
  }
  assert.ok(seen.has(1461), 'the oldest segment is retransmitted');
  for (let ack = 2921; ack <= 14601; ack += 1460) p.in('.', { ack, win: 2000 });
  p.in('.', { ack: 14601, win: 65535 });
  p.pass(2e6, 1e5);
  assert.is(Math.max(...p.heard().map((s) => s.seq + s.payload.length)), 19601, 'all of it once the window opens');
  p.done();
});

test('a connection whose data lies beyond a shrunk window is not given up while the peer answers (SHLD-17)', () => {
  for (const win of [0, 500]) {
    const p = new Peer({ retries: 4, rtoMaxUs: 5e6 }).accept();
    p.write(1460);
    p.heard();
    for (let i = 0; i < 60; i++) {
      p.pass(1e6);
      if (p.heard().length > 0) p.in('.', { win });
      assert.is(p.state(), L.TCP_ESTABLISHED, `after ${i} s with a window of ${win}`);
    }
    for (let i = 0; i < 60; i++) {
      p.pass(1e6);
      p.heard();
    }
    assert.is(p.state(), L.TCP_CLOSE, 'and it is when the peer falls silent');
    p.done();
  }
});

test('a window that shrinks to nothing is probed until it opens, with data in flight and without (MUST-35, MUST-37)', () => {
  for (const inFlight of [1000, 0]) {
    const p = new Peer({ retries: 3, rtoMaxUs: 2e6 }).accept();
    p.write(1460);
    p.heard();
    if (inFlight) p.write(inFlight);
    p.in('.', { ack: 1461, win: 0 });
    if (!inFlight) p.write(1000);
    let probes = 0;
    for (let i = 0; i < 1000; i++) {
      p.pass(1e5);
      const heard = p.heard();
      probes += heard.length;
      if (heard.length > 0) p.in('.', { ack: 1461, win: 0 });
    }
    assert.ok(probes >= 30, `${probes} probes in 100 s`);
    assert.is(p.state(), L.TCP_ESTABLISHED, 'as long as the peer answers');
    p.in('.', { ack: 1461, win: 5000 });
    p.pass(3e6, 1e5);
    assert.ok(p.heard().some((s) => s.seq === 1461 && s.payload.length === 1000));
    p.done();
  }
});

test('the right edge of the window stays where it was when the buffer becomes smaller or fills (SHLD-14)', () => {
  const p = new Peer({ rcvBufBytes: 20_000 }).accept();
  let edge = 0;
  const look = (): void => {
    for (const { ack, win } of p.heard()) {
      assert.ok(ack + win >= edge, `the right edge has moved from ${edge} to ${ack + win}`);
      edge = ack + win;
    }
  };
  let seq = 1;
  const send = (len: number): void => {
    p.in('.', { seq, len });
    seq += len;
    p.pass(1e5);
    look();
  };
  for (let i = 0; i < 20; i++) send(100);
  assert.ok(edge > 19_000);
  p.m.core.setOption(p.handle, L.OPT_RCV_BUF_BYTES, 4096);
  for (let i = 0; i < 20; i++) send(100);
  p.write(10);
  look();
  while (seq < edge) send(Math.min(1000, edge - seq));
  assert.is(p.read(0), seq - 1);
  look();
  p.done();
});

test('a link whose MTU changes announces what fits from then on (SHLD-6)', () => {
  const p = new Peer();
  const { core } = p.m;
  const announced = (): number => {
    const handle = core.connect(p.address(F.PEER_IP), 81, 0, 0, 0);
    core.flush(p.m.nowUs);
    const [syn] = p.heard();
    core.abort(handle);
    return (syn.options[2] << 8) | syn.options[3];
  };
  assert.is(announced(), 1460);
  for (const mtu of [1000, 1280, 1500]) {
    core.u8.set(OWN_MAC, core.scratch);
    assert.is(core.linkConfig(core.scratch, mtu, 0), 0);
    assert.is(announced(), mtu - 40);
  }
  p.done();
});

test('the right edge that an ACK announces does not move by less than a segment or half the buffer (MUST-39)', () => {
  const p = new Peer({ rcvBufBytes: 8192 }).accept();
  const { core } = p.m;
  for (let i = 0; i < 81; i++) p.in('.', { seq: 1 + i * 100, len: 100 });
  p.in('.', { seq: 8101, len: 92 });
  p.out();
  let announced = 0;
  for (let read = 100; read <= 2500; read += 100) {
    assert.is(core.recv(p.handle, core.scratch, 1), 1);
    core.free(core.u32[core.scratch >> 2]);
    core.flush(p.m.nowUs);
    p.pass(1e6);
    // An old segment asks for an ACK; 536 bytes are a segment as long as no larger one has come.
    p.in('.', { seq: 8000, len: 50 });
    for (const { win } of p.heard()) {
      assert.ok(win === announced || win >= announced + 536, `${win} bytes after ${announced}`);
      announced = win;
    }
  }
  assert.ok(announced > 1500, `${announced} bytes in the end`);
  p.done();
});

// ---- when to acknowledge -----------------------------------------------------------------------------------------

test('segments that arrive together get one ACK, or the answer carries it (MUST-58)', () => {
  const p = new Peer().accept();
  let seq = 1;
  const burst = (): void => {
    p.m.inject(...[0, 1, 2].map((i) => p.frame('.', { seq: seq + i * 100, len: 100 })));
    p.m.core.flush(p.m.nowUs);
    seq += 300;
  };
  // While the connection is young every segment is acknowledged.
  for (let i = 0; i < 5; i++) burst();
  p.pass(1e6);
  p.out();
  burst();
  assert.equal(p.out(), []);
  p.pass(1e5);
  assert.equal(p.out(), [`. 1 ack ${seq}`]);
  burst();
  p.write(10);
  assert.equal(p.out(), [`P. 1:11 ack ${seq}`]);
  p.done();
});

test('all segments that a gap has kept are processed before the ACK for it (MUST-59)', () => {
  const p = new Peer().accept();
  for (let i = 1; i < 9; i++) p.in('.', { seq: 1 + i * 1000, len: 1000 });
  p.out();
  p.in('.', { len: 1000 });
  assert.equal(p.out(), ['. 1 ack 9001']);
  assert.is(p.read(0), 9000);
  p.done();
});

test('an ACK is delayed less than half a second, and no configuration can make it more (MUST-40)', () => {
  const p = new Peer({ delackUs: 499_999 }).accept();
  for (let i = 0; i < 10; i++) p.in('.', { seq: 1 + i * 2920, len: 1460 });
  p.read(0);
  p.done();
  assert.throws(() => new Peer({ delackUs: 500_000 }), /errno 22/);
  const q = new Peer({ delackUs: 499_000 }).accept();
  let seq = 1;
  const send = (): void => {
    q.in('.', { seq, len: 100 });
    seq += 100;
  };
  for (let i = 0; i < 20; i++) send();
  q.read(0);
  q.pass(1e6);
  q.heard();
  send();
  assert.equal(q.out(), [], 'delayed');
  q.pass(499_900);
  assert.equal(q.out(), [`. 1 ack ${seq}`]);
  q.done();
});

// ---- keepalive -----------------------------------------------------------------------------------------------------

const SECOND = 1e6;

test('keepalive is off until it is asked for, and its interval can be set on a connection (MUST-24, MUST-25, MUST-27)', () => {
  const p = new Peer().accept();
  p.pass(10 * 86400 * SECOND, 3600 * SECOND);
  assert.equal(p.out(), []);
  const { core } = p.m;
  assert.is(core.getOption(p.handle, L.OPT_KEEPALIVE), 0);
  core.setOption(p.handle, L.OPT_KEEPALIVE_TIME_US, 100 * SECOND);
  core.setOption(p.handle, L.OPT_KEEPALIVE, 1);
  p.pass(99 * SECOND, SECOND);
  assert.equal(p.out().length <= 1, true);
  p.in('.');
  p.pass(99 * SECOND, SECOND);
  assert.equal(p.out(), [], 'nothing sooner than 100 s after the last segment');
  p.pass(2 * SECOND, SECOND);
  assert.equal(p.out(), ['. 0 ack 1'], 'a probe without data (SHLD-12)');
  core.setOption(p.handle, L.OPT_KEEPALIVE, 0);
  p.pass(7200 * SECOND, 60 * SECOND);
  assert.equal(p.out(), [], 'off again');
  p.done();
});

test('the keepalive interval is two hours unless it is set (MUST-28)', () => {
  const p = new Peer().accept();
  assert.ok(p.m.core.getOption(p.handle, L.OPT_KEEPALIVE_TIME_US) >= 7200 * SECOND);
  p.m.core.setOption(p.handle, L.OPT_KEEPALIVE, 1);
  p.pass(7199 * SECOND, 100 * SECOND);
  assert.equal(p.out(), []);
  p.pass(2 * SECOND, SECOND);
  assert.equal(p.out(), ['. 0 ack 1']);
  p.done();
});

test('no keepalive is sent while data is outstanding or has just come (MUST-26)', () => {
  const p = new Peer().accept();
  p.m.core.setOption(p.handle, L.OPT_KEEPALIVE_TIME_US, 2 * SECOND);
  p.m.core.setOption(p.handle, L.OPT_KEEPALIVE, 1);
  p.write(100);
  for (let i = 0; i < 60; i++) {
    p.pass(SECOND / 4);
    for (const s of p.heard()) assert.is(s.payload.length, 100, 'a retransmission, not a probe');
  }
  p.in('.', { ack: 101 });
  for (let i = 0; i < 20; i++) {
    p.pass(SECOND);
    p.in('.', { seq: 1 + i, ack: 101, len: 1 });
    assert.ok(
      p.heard().every((s) => s.seq === 101),
      'ACKs, no probe',
    );
  }
  p.done();
});

test('an unanswered keepalive probe does not end a connection, one answered late keeps it (MUST-29)', () => {
  const p = new Peer({ keepaliveIntvlUs: SECOND, keepaliveProbes: 5 }).accept();
  p.m.core.setOption(p.handle, L.OPT_KEEPALIVE_TIME_US, 10 * SECOND);
  p.m.core.setOption(p.handle, L.OPT_KEEPALIVE, 1);
  for (let round = 0; round < 5; round++) {
    let probes = 0;
    while (probes < 4) {
      p.pass(SECOND / 2);
      probes += p.heard().length;
      assert.is(p.state(), L.TCP_ESTABLISHED);
    }
    p.in('.');
  }
  p.done();
});

test('TIME-WAIT lasts twice the maximum segment lifetime: a minute, for a lifetime of 30 s (MUST-13)', () => {
  const p = new Peer().accept();
  p.m.core.shutdown(p.handle);
  p.m.core.flush(p.m.nowUs);
  p.in('F.', { ack: 2 });
  p.out();
  p.m.core.close(p.handle);
  p.handle = 0;
  p.pass(59 * SECOND, SECOND);
  p.in('F.', { ack: 2 });
  assert.equal(p.out(), ['. 2 ack 2'], 'still there, and the wait begins anew');
  p.pass(59 * SECOND, SECOND);
  p.in('.', { seq: 2, ack: 2, payload: content(0, 1) });
  assert.equal(p.out(), ['. 2 ack 2']);
  p.pass(2 * SECOND, SECOND);
  p.in('.', { seq: 2, ack: 2, payload: content(0, 1) });
  assert.equal(
    p.out().map((s) => s[0]),
    ['R'],
    'gone',
  );
  p.done();
});

test.run();
