// What UDP puts on the wire and takes from it: RFC 768, RFC 1122 §4.1, RFC 8200 §8.1, ICMP errors both ways.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import * as F6 from '../../helpers/frames6.js';
import { bytes, PEER, PEER6, Udp } from '../../helpers/udp.js';

const L4 = 34;
const TTL = 22;
const TOS = 15;

/** A frame with some bytes changed and nothing put right. */
function changed(frame: Uint8Array, changes: readonly (readonly [number, number])[]): Uint8Array {
  const copy = frame.slice();
  for (const [at, value] of changes) copy[at] = value;
  return copy;
}

test('a datagram goes out by reference from pieces, with checksums, from the route’s address', () => {
  const u = new Udp();
  const handle = u.open('::', 1000);
  assert.is(u.send(handle, [bytes(3), bytes(0), bytes(500, 1), bytes(11, 2)], PEER, 53), 514);
  assert.is(u.send(handle, [bytes(7)], PEER6, 54), 7);
  assert.is(u.send(handle, [], PEER, 55), 0);
  const data = Uint8Array.from([...bytes(3), ...bytes(500, 1), ...bytes(11, 2)]);
  assert.equal(
    u.out().map(({ frame: _, ...rest }) => rest),
    [
      { from: '10.0.0.1', to: PEER, srcPort: 1000, dstPort: 53, data },
      { from: F6.OWN_IP6, to: PEER6, srcPort: 1000, dstPort: 54, data: bytes(7) },
      { from: '10.0.0.1', to: PEER, srcPort: 1000, dstPort: 55, data: bytes(0) },
    ],
  );
  assert.is(u.count('UdpOutDatagrams'), 3);
  assert.is(u.count('CopiedBytes'), 0);
  u.done(handle);
});

test('a checksum that comes to zero is sent as all ones (RFC 768)', () => {
  const u = new Udp();
  const handle = u.open('::', 1000);
  u.send(handle, [Uint8Array.of(0, 0)], PEER, 53);
  const [{ frame }] = u.out();
  const sum = new DataView(frame.buffer).getUint16(L4 + 6);
  // The payload that makes the rest of it 0xffff.
  u.send(handle, [Uint8Array.of(sum >> 8, sum & 255)], PEER, 53);
  const [zero] = u.out();
  assert.is(new DataView(zero.frame.buffer).getUint16(L4 + 6), 0xffff);
  u.done(handle);
});

test('checksums: none is fine over IPv4 and not over IPv6, a wrong one is counted and dropped', () => {
  const u = new Udp();
  const handle = u.open('::', 53);
  const good = F.udpFrame({ srcPort: 1, dstPort: 53, payload: bytes(5) });
  u.m.inject(
    changed(good, [
      [L4 + 6, 0],
      [L4 + 7, 0],
    ]),
  );
  assert.is(u.recv(handle).length, 1);
  u.m.inject(changed(good, [[L4 + 8, good[L4 + 8] ^ 1]]));
  const six = F6.frame6({ next: 17, payload: F.udpBytes({ srcPort: 1, dstPort: 53, payload: bytes(5) }) });
  u.m.inject(
    changed(six, [
      [60, 0],
      [61, 0],
    ]),
  );
  u.m.inject(
    changed(six, [
      [70, six[70]],
      [62, six[62] ^ 4],
    ]),
  );
  assert.equal(u.recv(handle), []);
  assert.is(u.count('UdpInCsumErrors'), 3);
  assert.is(u.count('UdpInErrors'), 3);
  assert.is(u.count('UdpNoPorts'), 0);
  u.done(handle);
});

test('a link told to trust has no checksum either way', () => {
  const trust = L.CFGF_ARP | L.CFGF_TX_NO_CSUM | L.CFGF_RX_TRUST;
  const [a, b] = [new Udp({ flags: trust }), new Udp({ flags: trust })];
  const from = a.open('::', 1000);
  const to = b.open('::', 53);
  for (const peer of [PEER, PEER6]) a.send(from, [bytes(9)], peer, 53);
  for (const frame of a.m.take()) {
    // The two have the same addresses: exchanged, a's frame is one to b.
    const copy = Uint8Array.from(frame);
    const v6 = copy[12] === 0x86;
    assert.equal([...copy.slice(v6 ? 60 : L4 + 6, (v6 ? 60 : L4 + 6) + 2)], [0, 0]);
    copy.set(frame.slice(0, 6), 6);
    copy.set(frame.slice(6, 12), 0);
    const [at, length] = v6 ? [22, 16] : [26, 4];
    copy.set(frame.slice(at, at + length), at + length);
    copy.set(frame.slice(at + length, at + 2 * length), at);
    if (!v6) F.fixChecksums(copy);
    b.m.inject(copy);
  }
  assert.is(b.recv(to).length, 2);
  a.done(from);
  b.done(to);
});

test('lengths: what is behind the datagram is not its own, and one that is too long or too short is counted', () => {
  const u = new Udp();
  const handle = u.open('::', 53);
  const frame = F.udpFrame({ srcPort: 1, dstPort: 53, payload: bytes(20) });
  const shorter = changed(frame, [[L4 + 5, 8 + 12]]);
  F.fixChecksums(shorter);
  u.m.inject(shorter, changed(frame, [[L4 + 5, 29]]), changed(frame, [[L4 + 5, 7]]));
  const stub = F.ipFrame(17, 7);
  F.fixChecksums(stub);
  u.m.inject(stub);
  assert.equal(
    u.recv(handle).map(({ data }) => data),
    [bytes(12)],
  );
  assert.is(u.count('UdpInErrors'), 3);
  u.done(handle);
});

test('a port that nobody has is answered by ICMP with what was sent (RFC 1122 §4.1.3.1), ten times and then ten a second', () => {
  const u = new Udp();
  const frame = F.udpFrame({ srcPort: 1, dstPort: 99, payload: bytes(1400) });
  u.m.inject(frame);
  const [answer] = u.m.take().map((f) => Uint8Array.from(f));
  assert.equal([...answer.slice(30, 34)], F.PEER_IP);
  assert.equal([answer[23], answer[34], answer[35]], [1, 3, 3]);
  assert.is(answer.length, 14 + 576);
  assert.equal(answer.slice(42), frame.slice(14, 14 + 548));
  const fixed = answer.slice();
  F.fixChecksums(fixed);
  assert.equal(fixed, answer, 'checksums are right');
  for (let i = 0; i < 30; i++) u.in(99);
  assert.is(u.m.take().length, 9);
  u.m.nowUs += 1_000_000;
  for (let i = 0; i < 30; i++) u.in6(99, bytes(1300));
  const six = u.m.take().map((f) => F6.parse6(f));
  assert.is(six.length, 10);
  assert.equal([six[0]?.next, six[0]?.payload[0], six[0]?.payload[1], six[0]?.sumFine], [58, 1, 4, true]);
  assert.is(six[0]?.payload.length, 1280 - 40);
  assert.is(u.count('IcmpOutDestUnreachs'), 10);
  assert.is(u.count('Icmp6OutDestUnreachs'), 10);
  assert.is(u.count('UdpNoPorts'), 61);
  u.done();
});

test('where a kernel is behind the link, it answers, not lunet', () => {
  const u = new Udp({ flags: L.CFGF_NEIGH_EVENTS });
  u.in(99);
  u.in6(99);
  assert.equal(u.m.take(), []);
  assert.is(u.count('UdpNoPorts'), 2);
  u.done();
});

/** A frame of the core's as an ICMP error quotes it. */
const quoted = (frame: Uint8Array): Uint8Array => frame.slice(14, 14 + 20 + 8);

test('a connected socket is told of the errors that Linux tells it of, and goes on; another is not', () => {
  const u = new Udp();
  const handle = u.open('::', 1000);
  const free = u.open('::', 1001);
  u.send(free, [bytes(1)], PEER, 53);
  const [of] = u.out();
  u.m.inject(F.icmpError(3, 3, 0, quoted(of.frame)));
  assert.equal(u.m.events(), [], 'not connected');
  u.connect(handle, PEER, 53);
  u.send(handle, [bytes(1)]);
  const [{ frame }] = u.out();
  const told = (type: number, code: number): number | undefined => {
    u.m.inject(F.icmpError(type, code, 0, quoted(frame)));
    const events = u.m.events();
    assert.ok(events.every(([h, kind]) => h === handle && kind === L.EV_ERROR));
    return events[0]?.[2];
  };
  assert.is(told(3, 3), L.ECONNREFUSED);
  assert.is(told(3, 13), L.EHOSTUNREACH);
  assert.is(told(12, 0), L.EPROTO);
  assert.is(told(3, 0), undefined, 'a network that is out of reach for now');
  assert.is(told(3, 1), undefined);
  assert.is(told(11, 0), undefined);
  u.m.inject(F.icmpError(3, 3, 0, quoted(changed(frame, [[L4 + 3, 54]]))));
  assert.equal(u.m.events(), [], 'a datagram to another port');
  assert.is(u.send(handle, [bytes(2)]), 2, 'the socket goes on');
  u.in(1000, bytes(3), 53);
  assert.is(u.recv(handle).length, 1);
  u.done(handle, free);
});

test('ICMPv6 errors, for an inline socket too', () => {
  const got: number[][] = [];
  const u: Udp = new Udp({}, (...event) => got.push(event));
  const handle = u.open('::', 1000, L.SOCK_INLINE);
  u.connect(handle, PEER6, 53);
  u.send(handle, [bytes(1)]);
  const [{ frame }] = u.out();
  const error = (type: number, code: number, word = 0): void => {
    u.m.inject(F6.frame6({ next: 58, payload: F6.icmp6(type, code, word, frame.slice(14)) }));
  };
  error(1, 4);
  error(1, 0);
  error(3, 0);
  assert.equal(got, [[handle, L.EV_ERROR, L.ECONNREFUSED, 0]]);
  u.done(handle);
});

test('TTL, hop limit and type of service are the socket’s', () => {
  const u = new Udp();
  const { core } = u.m;
  const handle = u.open('::', 1000);
  u.send(handle, [bytes(1)], PEER, 53);
  assert.equal([core.udpSetOption(handle, L.OPT_TTL, 3), core.udpSetOption(handle, L.OPT_TOS, 0xb8)], [0, 0]);
  u.send(handle, [bytes(1)], PEER, 53);
  u.send(handle, [bytes(1)], PEER6, 53);
  const [before, after, six] = u.out();
  assert.equal([before.frame[TTL], before.frame[TOS]], [64, 0]);
  assert.equal([after.frame[TTL], after.frame[TOS]], [3, 0xb8]);
  assert.equal([F6.parse6(six.frame)?.hopLimit, F6.parse6(six.frame)?.trafficClass], [3, 0xb8]);
  assert.is(core.udpSetOption(handle, L.OPT_TTL, 256), -L.EINVAL);
  assert.is(core.udpSetOption(handle, L.OPT_NODELAY, 1), -L.ENOPROTOOPT);
  assert.is(core.udpGetOption(handle, L.OPT_TOS), 0xb8);
  u.done(handle);
});

test('broadcast wants the option, and goes to every host of the link', () => {
  const u = new Udp();
  const handle = u.open('::', 1000);
  for (const to of ['255.255.255.255', '10.0.0.255']) assert.is(u.send(handle, [bytes(1)], to, 9), -L.EACCES);
  assert.is(u.m.core.udpSetOption(handle, L.OPT_BROADCAST, 1), 0);
  for (const to of ['255.255.255.255', '10.0.0.255']) assert.is(u.send(handle, [bytes(1)], to, 9), 1);
  const sent = u.out();
  assert.equal(
    sent.map(({ from, to }) => `${from} ${to}`),
    ['10.0.0.1 255.255.255.255', '10.0.0.1 10.0.0.255'],
  );
  for (const { frame } of sent) assert.equal([...frame.slice(0, 6)], [255, 255, 255, 255, 255, 255]);
  u.done(handle);
});

test('what cannot be sent is an error with a reason', () => {
  const u = new Udp();
  const { core } = u.m;
  const any = u.open('::', 1000);
  const v4 = u.open('10.0.0.1', 1001);
  const v6 = u.open('::', 1002, L.SOCK_V6ONLY);
  assert.is(u.send(any, [bytes(1)]), -L.EDESTADDRREQ);
  assert.is(u.send(any, [bytes(1)], PEER, 0), -L.EINVAL);
  assert.is(u.send(any, [bytes(1)], '192.0.2.1', 9), -L.ENETUNREACH);
  assert.is(u.send(any, [bytes(1)], '224.0.0.1', 9), -L.ENETUNREACH, 'groups are not spoken to');
  assert.is(u.send(any, [bytes(1)], '0.0.0.0', 9), -L.EINVAL);
  assert.is(u.send(v4, [bytes(1)], PEER6, 9), -L.EINVAL);
  assert.is(u.send(v6, [bytes(1)], PEER, 9), -L.ENETUNREACH);
  assert.is(
    u.send(
      any,
      Array.from({ length: 9 }, () => bytes(1)),
      PEER,
      9,
    ),
    -L.EINVAL,
  );
  core.u32.set([64, 10], core.scratch >> 2);
  assert.is(core.udpSend(any, core.scratch, 1, u.address(PEER), 9), -L.EFAULT);
  assert.is(core.udpSend(0x7fffffff, core.scratch, 1, u.address(PEER), 9), -L.EBADF);
  assert.is(core.counter(L.CNT_ZbufMisuse), 1);
  assert.equal(u.m.take(), []);
  for (const handle of [any, v4, v6]) core.udpClose(handle);
});

test('a full transmit ring is said at once and over when it is', () => {
  const u = new Udp({ txRing: 16 });
  const handle = u.open('::', 1000);
  let sent = 0;
  while (u.send(handle, [bytes(5)], PEER, 9) === 5) sent++;
  assert.is(sent, 8);
  assert.is(u.count('UdpSndbufErrors'), 1);
  u.m.poll();
  assert.equal(u.m.events(), []);
  assert.is(u.out().length, 8);
  u.m.poll();
  assert.equal(u.m.events(), [[handle, L.EV_WRITE, 0, 0]]);
  u.m.poll();
  assert.equal(u.m.events(), []);
  u.done(handle);
});

test.run();
