// What happens to a connection that gets no answer or an ICMP error: RFC 9293 §3.8.3, §3.9.1.8, §3.9.2.2.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CoreConfig } from '../../../src/host/core/core.js';
import * as L from '../../../src/host/core/layout.js';
import { type ProfileName, profiles } from '../../../src/host/profiles.js';
import * as F from '../../helpers/frames.js';
import { PEER_MAC } from '../../helpers/manual.js';
import { MSS, mss, PEER_PORT, Peer } from '../../helpers/peer.js';

type Event = [kind: number, a: number];

function events(p: Peer): Event[] {
  return p.m
    .events()
    .filter(([h]) => h === p.handle)
    .map(([, kind, a]) => [kind, a]);
}

/** The beginning of the core's last segment, as a router would quote it. */
function quote(p: Peer): Uint8Array {
  const frames = p.m.take();
  return frames[frames.length - 1].slice(14, 14 + 28);
}

const icmp = (errno: number): Event => [L.EV_REPORT, L.REPORT_ICMP | (errno << 8)];

const SOFT: readonly (readonly [name: string, type: number, code: number, errno: number])[] = [
  ['network unreachable', 3, 0, L.ENETUNREACH],
  ['host unreachable', 3, 1, L.EHOSTUNREACH],
  ['source route failed', 3, 5, L.EHOSTUNREACH],
  ['network unknown', 3, 6, L.ENETUNREACH],
  ['administratively prohibited', 3, 13, L.EHOSTUNREACH],
  ['TTL exceeded', 11, 0, L.EHOSTUNREACH],
  ['reassembly time exceeded', 11, 1, L.EHOSTUNREACH],
  ['parameter problem', 12, 0, L.EPROTO],
];

test('soft ICMP errors are reported and do not end an open connection (MUST-47, MUST-56, SHLD-25)', () => {
  for (const [name, type, code, errno] of SOFT) {
    const p = new Peer().accept();
    p.write(100);
    p.m.inject(F.icmpError(type, code, 0, quote(p)));
    assert.equal(events(p), [icmp(errno)], name);
    assert.is(p.state(), L.TCP_ESTABLISHED, name);
    p.in('.', { ack: 101 });
    assert.is(p.info(L.INFO_unacked), 0);
    p.done();
  }
});

test('soft ICMP errors are reported and do not end an attempt to open (MUST-56)', () => {
  for (const [name, type, code, errno] of SOFT) {
    const p = new Peer();
    p.connect();
    p.heard();
    p.pass(1e6);
    p.m.inject(F.icmpError(type, code, 0, quote(p)));
    assert.equal(events(p), [icmp(errno)], name);
    assert.is(p.state(), L.TCP_SYN_SENT, name);
    p.pass(2e6);
    assert.equal(p.out(), ['S 0']);
    p.in('S.', { seq: 0, ack: 1, options: mss(MSS) });
    assert.is(p.state(), L.TCP_ESTABLISHED);
    p.done();
  }
});

test('protocol and port unreachable end an attempt to open, and are soft on an open connection (RFC 5927 §5.2)', () => {
  for (const code of [2, 3]) {
    const p = new Peer();
    p.connect();
    p.m.inject(F.icmpError(3, code, 0, quote(p)));
    assert.equal(events(p), [[L.EV_ERROR, L.ECONNREFUSED]]);
    p.done();
    const open = new Peer().accept();
    open.write(100);
    open.m.inject(F.icmpError(3, code, 0, quote(open)));
    assert.equal(events(open), [icmp(L.ECONNREFUSED)]);
    assert.is(open.state(), L.TCP_ESTABLISHED);
    open.done();
  }
});

test('an ICMP error is directed to the connection that it quotes, and to no other', () => {
  const p = new Peer();
  const other = p.connect({ port: PEER_PORT + 1 });
  p.m.take();
  p.connect();
  p.m.inject(F.icmpError(3, 3, 0, quote(p)));
  assert.equal(p.m.events(), [[p.handle, L.EV_ERROR, L.ECONNREFUSED, 0]]);
  assert.is(p.state(other), L.TCP_SYN_SENT);
  p.m.core.abort(other);
  p.done();
});

test('source quench is discarded in silence', () => {
  const p = new Peer().accept();
  p.write(100);
  const before = p.info(L.INFO_snd_cwnd);
  p.m.inject(F.icmpError(4, 0, 0, quote(p)));
  assert.equal(events(p), []);
  assert.equal(p.out(), []);
  assert.is(p.info(L.INFO_snd_cwnd), before);
  p.done();
});

test('ICMP reports can be turned off, by a listener for its connections too', () => {
  const p = new Peer();
  p.listen();
  p.m.core.setOption(p.listener, L.OPT_REPORTS, 0);
  p.accept();
  p.write(100);
  p.m.inject(F.icmpError(3, 1, 0, quote(p)));
  assert.equal(events(p), []);
  p.done();
});

/** The errno that a connection which nobody answers ends with. */
function outcome(p: Peer): number {
  for (let i = 0; i < 600; i++) {
    p.pass(1e5);
    p.m.take();
    const end = events(p).find(([kind]) => kind === L.EV_ERROR);
    if (end) return end[1];
  }
  return 0;
}

test('a connection that times out after an ICMP error fails with what the error said', () => {
  const p = new Peer({ retries: 5 }).accept();
  p.write(100);
  p.m.inject(F.icmpError(3, 1, 0, quote(p)));
  assert.is(outcome(p), L.EHOSTUNREACH);
  p.done();
  const answered = new Peer({ retries: 5 }).accept();
  answered.write(100);
  answered.m.inject(F.icmpError(3, 1, 0, quote(answered)));
  answered.pass(1e5);
  answered.in('.', { ack: 101 });
  answered.write(100);
  assert.is(outcome(answered), L.ETIMEDOUT, 'not an error from before the last answer');
  answered.done();
});

/** Number of ARP requests to the peer's own MAC among the frames sent. */
function arpProbes(p: Peer): number {
  return p.m.take().filter((f) => f[12] === 8 && f[13] === 6 && f[0] === PEER_MAC[0] && f[5] === PEER_MAC[5]).length;
}

/** The neighbour is known by ARP, and not from the test. */
function byArp(p: Peer): Peer {
  p.m.core.neighDel(p.address(F.PEER_IP));
  p.m.inject(F.arpFrame(1));
  p.m.take();
  return p;
}

test('after three retransmissions the neighbour is asked whether it is still there and the application is told (R1)', () => {
  const p = byArp(new Peer().accept());
  p.write(100);
  p.m.take();
  let retransmissions = 0;
  while (retransmissions < 3) {
    p.pass(1e4);
    assert.is(arpProbes(p) > 0, p.info(L.INFO_retransmits) >= 3);
    retransmissions = p.info(L.INFO_retransmits);
    assert.equal(events(p), retransmissions < 3 ? [] : [[L.EV_REPORT, L.REPORT_RETRANSMISSIONS]]);
  }
  p.pass(4e6, 1e5);
  assert.ok(p.info(L.INFO_retransmits) > 3);
  assert.equal(events(p), [], 'told once');
  p.in('.', { ack: 101 });
  assert.is(p.state(), L.TCP_ESTABLISHED);
  p.done();
});

test('doubts about a neighbour make one question a second, however many connections have them', () => {
  const p = byArp(new Peer({ rtoInitUs: 20_000, rtoMaxUs: 20_000, synRetries: 255 }));
  const handles = Array.from({ length: 50 }, (_, i) => p.connect({ port: PEER_PORT + i }));
  p.m.take();
  let asked = 0;
  for (let i = 0; i < 400; i++) {
    p.pass(1e4);
    const probes = arpProbes(p);
    asked += probes;
    if (probes > 0) p.m.inject(F.arpFrame(2));
  }
  assert.ok(asked >= 2 && asked <= 4, `${asked} questions in 4 s`);
  for (const handle of handles) p.m.core.abort(handle);
  p.handle = 0;
  p.done();
});

test('where the kernel resolves neighbours, it is told of the doubt (R1)', () => {
  const p = new Peer({ flags: L.CFGF_NEIGH_EVENTS }).accept();
  p.write(100);
  p.m.take();
  let told = 0;
  while (p.info(L.INFO_retransmits) < 3) {
    p.pass(1e4);
    p.m.take();
    told += p.m.events().filter(([h, kind]) => h === 0 && kind === L.EV_NEIGH).length;
    assert.is(told, p.info(L.INFO_retransmits) < 3 ? 0 : 1);
  }
  p.in('.', { ack: 101 });
  p.done();
});

test('a SYN is treated as data is: advice and a report after three retransmissions, then the end (R2)', () => {
  const p = byArp(new Peer({ synRetries: 5 }));
  p.connect();
  p.m.take();
  let asked = 0;
  const seen: Event[] = [];
  for (let i = 0; i < 70 && !seen.some(([kind]) => kind === L.EV_ERROR); i++) {
    p.pass(1e6);
    const probes = arpProbes(p);
    asked += probes;
    if (probes > 0) p.m.inject(F.arpFrame(2));
    seen.push(...events(p));
  }
  assert.ok(asked > 0);
  assert.equal(seen, [
    [L.EV_REPORT, L.REPORT_RETRANSMISSIONS],
    [L.EV_ERROR, L.ETIMEDOUT],
  ]);
  p.done();
});

/** Seconds from the first transmission to the error, with nobody answering. */
function givesUpAfter(p: Peer, limitSeconds: number): number {
  const began = p.m.nowUs;
  while (p.m.nowUs - began < limitSeconds * 1e6) {
    p.pass(1e5);
    p.m.take();
    if (events(p).some(([kind]) => kind === L.EV_ERROR)) return (p.m.nowUs - began) / 1e6;
  }
  return Infinity;
}

const silent = (profile: ProfileName): Partial<CoreConfig> => ({ ...profiles[profile], rcvBufMaxBytes: 0 });

test('data is tried for 100 s at least and a SYN for 3 minutes, in every profile of our own (MUST-23, SHLD-11)', () => {
  for (const profile of ['internet', 'datacenter'] as const) {
    const p = new Peer(silent(profile)).accept();
    p.write(100);
    const data = givesUpAfter(p, 2000);
    assert.ok(data >= 100 && data < 2000, `${profile}: data for ${data} s`);
    p.done();
    const q = new Peer(silent(profile));
    q.connect();
    const syn = givesUpAfter(q, 600);
    assert.ok(syn >= 180 && syn < 600, `${profile}: SYN for ${syn} s`);
    q.done();
  }
});

test('the application sets R2: shorter or longer than the number of retransmissions would be', () => {
  for (const [seconds, retries] of [
    [7, 15],
    [300, 3],
    [40, 3],
  ]) {
    const p = new Peer({ retries }).accept();
    p.m.core.setOption(p.handle, L.OPT_USER_TIMEOUT_US, seconds * 1e6);
    p.write(100);
    const took = givesUpAfter(p, 1000);
    assert.ok(took >= seconds && took < seconds + 1, `${took} s, not ${seconds} s`);
    p.done();
  }
});

test('a user timeout bounds how long a closed window keeps data back, whether the peer answers or not', () => {
  for (const answers of [false, true]) {
    for (const timeout of [0, 7]) {
      const p = new Peer({ rtoMaxUs: 2e6, retries: 50 }).accept(mss(MSS), { win: 0 });
      p.m.core.setOption(p.handle, L.OPT_USER_TIMEOUT_US, timeout * 1e6);
      p.write(100);
      let firstUs = 0;
      while (p.state() === L.TCP_ESTABLISHED && p.m.nowUs < firstUs + 60e6) {
        p.pass(5e4);
        if (p.heard().length === 0) continue;
        if (firstUs === 0) firstUs = p.m.nowUs;
        if (answers) p.in('.', { win: 0 });
      }
      const took = (p.m.nowUs - firstUs) / 1e6;
      if (timeout === 0) assert.ok(took >= 60, `${took} s without a user timeout`);
      else assert.ok(took >= 6.9 && took < 7.2, `${took} s since the first probe, answers: ${answers}`);
      p.done();
    }
  }
});

test('a user timeout bounds how long keepalive probes go unanswered, instead of their number', () => {
  for (const [seconds, probes] of [
    [25, 100],
    [25, 2],
  ]) {
    const p = new Peer({ keepaliveIntvlUs: 2e6, keepaliveProbes: probes }).accept();
    p.m.core.setOption(p.handle, L.OPT_USER_TIMEOUT_US, seconds * 1e6);
    p.m.core.setOption(p.handle, L.OPT_KEEPALIVE_TIME_US, 10e6);
    p.m.core.setOption(p.handle, L.OPT_KEEPALIVE, 1);
    const took = givesUpAfter(p, 1000);
    assert.ok(took >= seconds && took <= seconds + 2.1, `${took} s`);
    p.done();
  }
});

test('a user timeout is inherited from the listener and bounds an attempt to open', () => {
  const p = new Peer();
  p.listen();
  p.m.core.setOption(p.listener, L.OPT_USER_TIMEOUT_US, 5e6);
  p.accept();
  assert.is(p.m.core.getOption(p.handle, L.OPT_USER_TIMEOUT_US), 5e6);
  p.done();
});

test('close() with a linger time of 0 resets, without one it delivers for as long as it takes', () => {
  const p = new Peer().accept();
  const { core } = p.m;
  assert.is(core.getOption(p.handle, L.OPT_LINGER_US), 2 ** 53);
  assert.is(core.setOption(p.handle, L.OPT_LINGER_US, 0), 0);
  assert.is(core.getOption(p.handle, L.OPT_LINGER_US), 0);
  p.write(100);
  p.out();
  core.close(p.handle);
  core.flush(p.m.nowUs);
  assert.equal(p.out(), ['R. 101 ack 1']);
  p.handle = 0;
  p.done();
});

test('close() with a linger time resets when what is queued is not acknowledged by then', () => {
  for (const acknowledged of [false, true]) {
    const p = new Peer().accept();
    const { core } = p.m;
    core.setOption(p.handle, L.OPT_LINGER_US, 5e6);
    p.write(100);
    core.close(p.handle);
    core.flush(p.m.nowUs);
    assert.equal(p.out(), ['P. 1:101 ack 1', 'F. 101 ack 1']);
    if (acknowledged) p.in('.', { ack: 102 });
    p.pass(4.5e6, 1e5);
    assert.ok(p.out().every((s) => !s.includes('R')));
    p.pass(1e6, 1e5);
    assert.is(
      p.out().some((s) => s.includes('R')),
      !acknowledged,
    );
    if (acknowledged) {
      p.in('F.', { ack: 102 });
      assert.equal(p.out(), ['. 102 ack 2']);
    }
    p.handle = 0;
    p.done();
  }
});

test('turning lingering off again, and a linger time on a connection in TIME-WAIT', () => {
  const p = new Peer({ timeWaitUs: 20e6 }).accept();
  const { core } = p.m;
  core.setOption(p.handle, L.OPT_LINGER_US, 0);
  core.setOption(p.handle, L.OPT_LINGER_US, 2 ** 53);
  assert.is(core.getOption(p.handle, L.OPT_LINGER_US), 2 ** 53);
  core.setOption(p.handle, L.OPT_LINGER_US, 1e6);
  core.shutdown(p.handle);
  core.flush(p.m.nowUs);
  p.in('F.', { ack: 2 });
  assert.is(p.state(), L.TCP_TIME_WAIT);
  core.close(p.handle);
  p.out();
  p.pass(15e6, 1e6);
  p.in('F.', { ack: 2 });
  assert.equal(p.out(), ['. 2 ack 2'], 'the wait goes on');
  p.handle = 0;
  p.done();
});

test.run();
