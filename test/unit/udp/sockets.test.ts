// UDP sockets of the core: binding, which socket gets a datagram, receive queues, events.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readAddress, writeAddress } from '../../../src/host/core/address.js';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import * as F6 from '../../helpers/frames6.js';
import { bytes, PEER, PEER6, Udp } from '../../helpers/udp.js';

const OWN = '10.0.0.1';
const OWN6 = F6.OWN_IP6;

test('a datagram comes as it was sent, with who sent it and what it was sent to', () => {
  const u = new Udp();
  const handle = u.open('::', 53);
  u.in(53, bytes(100, 3), 4000);
  u.in6(53, bytes(0), 4001);
  assert.equal(u.m.events(), [[handle, L.EV_DATAGRAM, 1, 0]]);
  assert.equal(u.recv(handle), [
    { from: PEER, to: OWN, port: 4000, data: bytes(100, 3) },
    { from: PEER6, to: OWN6, port: 4001, data: bytes(0) },
  ]);
  assert.equal(u.recv(handle), []);
  assert.is(u.count('UdpInDatagrams'), 2);
  u.in(53);
  assert.equal(u.m.events(), [[handle, L.EV_DATAGRAM, 1, 0]], 'a drained queue is announced again');
  u.recv(handle);
  u.done(handle);
});

test('received payload lies where the link has put it', () => {
  const u = new Udp();
  const handle = u.open('0.0.0.0', 53);
  u.in(53, bytes(1000));
  const { core } = u.m;
  assert.is(core.udpRecv(handle, core.scratch, 1), 1);
  const addr = core.u32[(core.scratch + L.UDPD_addr) >> 2];
  assert.is(core.rxInUse(), 1);
  assert.is(core.refCount(addr), 1);
  assert.is(core.counter(L.CNT_CopiedBytes), 0);
  core.free(addr);
  u.done(handle);
});

test('the connected socket comes before the one bound to the address, and that before any; other ports are nobody’s', () => {
  const u = new Udp();
  const any = u.open('0.0.0.0', 53, L.SOCK_REUSE);
  const exact = u.open(OWN, 53, L.SOCK_REUSE);
  const connected = u.open(OWN, 53, L.SOCK_REUSE);
  assert.is(u.connect(connected, PEER, 4000), 0);
  const { core } = u.m;
  writeAddress(core.u8, core.scratch, '10.0.0.5');
  core.addressAdd(core.scratch, 120);
  u.in(53, bytes(1), 4000);
  u.in(53, bytes(2), 4001);
  u.m.inject(F.udpFrame({ srcPort: 4000, dstPort: 53, payload: bytes(3) }, F.PEER_IP, [10, 0, 0, 5]));
  u.in(54);
  const sizes = (handle: number): number[] => u.recv(handle).map(({ data }) => data.length);
  assert.equal([any, exact, connected].map(sizes), [[3], [2], [1]]);
  assert.is(u.count('UdpNoPorts'), 1);
  u.done(any, exact, connected);
});

test(':: takes both families, unless it was told not to, and 0.0.0.0 comes before it', () => {
  const u = new Udp();
  const dual = u.open('::', 53, L.SOCK_REUSE);
  u.in(53);
  u.in6(53);
  assert.equal(
    u.recv(dual).map(({ from }) => from),
    [PEER, PEER6],
  );
  const v4 = u.open('0.0.0.0', 53, L.SOCK_REUSE);
  const later = u.open('::', 53, L.SOCK_REUSE);
  u.in(53);
  assert.is(u.recv(v4).length, 1);
  const only = u.open('::', 54, L.SOCK_V6ONLY);
  u.in(54);
  u.in6(54);
  assert.equal(
    u.recv(only).map(({ from }) => from),
    [PEER6],
  );
  u.done(dual, v4, later, only);
});

test('an address and port belong to one socket, unless all that have them share (as on Linux)', () => {
  const u = new Udp();
  const first = u.open('0.0.0.0', 53);
  assert.is(u.refused('0.0.0.0', 53), -L.EADDRINUSE);
  assert.is(u.refused(OWN, 53), -L.EADDRINUSE);
  assert.is(u.refused('::', 53), -L.EADDRINUSE);
  assert.is(u.refused('::', 53, L.SOCK_REUSE), -L.EADDRINUSE, 'the other does not share');
  assert.is(u.refused('::', 53, L.SOCK_V6ONLY), 0);
  assert.is(u.refused(OWN6, 53), 0);
  assert.is(u.refused('10.9.9.9', 99), -L.EADDRNOTAVAIL);
  const six = u.open(OWN6, 60);
  assert.is(u.refused('::', 60), -L.EADDRINUSE);
  assert.is(u.refused(OWN, 60), 0);
  const shared = [u.open(OWN, 70, L.SOCK_REUSE), u.open(OWN, 70, L.SOCK_REUSE)];
  u.in(70);
  assert.equal(
    shared.map((handle) => u.recv(handle).length),
    [0, 1],
    'the one bound last receives',
  );
  assert.is(u.m.core.udpBind(first, u.address(OWN), 99), -L.EINVAL, 'bound already');
  u.done(first, six, ...shared);
});

test('any port is a free one of the client range, and none is left when all are taken', () => {
  const u = new Udp({ portLo: 50000, portHi: 50003 });
  const handles = [0, 1, 2, 3].map(() => u.open('::', 0));
  const { core } = u.m;
  const ports = handles.map((handle) => {
    assert.is(core.udpInfo(handle, core.scratch), 0);
    return core.dv.getUint32(core.scratch + L.UDPI_local_port, true);
  });
  assert.equal([...ports].sort(), [50000, 50001, 50002, 50003]);
  assert.is(u.refused('::', 0), -L.EADDRINUSE);
  u.done(...handles);
});

test('there are as many sockets as configured, and a closed one’s handle is stale', () => {
  const u = new Udp({ udpSockets: 3 });
  const { core } = u.m;
  const handles = [1, 2, 3].map((port) => u.open('::', port));
  assert.is(core.udpOpen(0), -L.ENOBUFS);
  assert.is(core.udpClose(handles[0]), 0);
  const next = core.udpOpen(0);
  assert.ok(next > 0 && !handles.includes(next));
  assert.is(core.udpClose(handles[0]), -L.EBADF);
  assert.is(core.close(next), -L.EBADF, 'no handle of TCP');
  u.done(next, handles[1], handles[2]);
  assert.is(new Udp({ udpSockets: 0, udpDatagrams: 0 }).m.core.udpOpen(0), -L.ENOBUFS);
});

test('a receive buffer is bounded in bytes and in datagrams, and what is too much is counted', () => {
  const u = new Udp({ udpRcvBufBytes: 3000, udpRcvBufDatagrams: 4 });
  const [a, b] = [u.open('::', 1), u.open('::', 2)];
  for (let i = 0; i < 4; i++) u.in(1, bytes(1000));
  for (let i = 0; i < 6; i++) u.in(2, bytes(1));
  assert.is(u.recv(a).length, 3);
  assert.is(u.recv(b).length, 4);
  assert.is(u.count('UdpRcvbufErrors'), 3);
  const { core } = u.m;
  core.udpInfo(b, core.scratch);
  assert.is(core.dv.getUint32(core.scratch + L.UDPI_drops, true), 2);
  assert.is(core.udpSetOption(a, L.OPT_RCV_BUF_BYTES, 5000), 0);
  for (let i = 0; i < 4; i++) u.in(1, bytes(1000));
  assert.is(u.recv(a).length, 4);
  assert.is(core.udpGetOption(a, L.OPT_RCV_BUF_BYTES), 5000);
  u.done(a, b);
});

test('all receive buffers together are bounded, too, and leave half of the receive objects to others', () => {
  const u = new Udp({ udpDatagrams: 10, udpMemBytes: 5000 });
  const [a, b] = [u.open('::', 1), u.open('::', 2)];
  for (let i = 0; i < 4; i++) u.in(1, bytes(1000));
  for (let i = 0; i < 4; i++) u.in(2, bytes(1000));
  assert.is(u.recv(b).length, 1, 'bytes');
  for (let i = 0; i < 10; i++) u.in(2, bytes(1));
  assert.is(u.recv(b).length, 6, 'datagrams');
  assert.is(u.count('UdpMemErrors'), 3 + 4);
  u.done(a, b);
  const all = new Udp({ udpDatagrams: 4096, udpRcvBufDatagrams: 4096 });
  const handle = all.open('::', 1);
  for (let i = 0; i < all.m.rxObjects; i++) all.in(1, bytes(1));
  assert.is(all.m.core.rxInUse(), all.m.rxObjects >> 1);
  assert.is(all.m.freeRxObjects(), all.m.rxObjects - (all.m.rxObjects >> 1));
  all.done(handle);
});

test('closing gives up what was not read, and the event of a closed socket says nothing of its successor', () => {
  const u = new Udp({ udpSockets: 1 });
  const handle = u.open('::', 1);
  for (let i = 0; i < 5; i++) u.in(1);
  u.m.core.udpClose(handle);
  assert.is(u.m.core.udpQueued(), 0);
  const next = u.open('::', 1);
  u.in(1);
  u.recv(next);
  assert.ok(u.m.events().every(([of]) => of === handle || of === next));
  u.done(next);
});

test('events wait for room in the event ring', () => {
  const u = new Udp({ eventRing: 2 });
  const handles = [1, 2, 3, 4, 5].map((port) => u.open('::', port));
  for (const port of [1, 2, 3, 4, 5]) u.in(port);
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    seen.push(...u.m.events().map(([handle]) => handle));
    u.m.poll();
  }
  assert.equal(seen, handles);
  u.done(...handles);
});

test('an inline socket answers while the frame is being processed, and may close itself', () => {
  const got: string[] = [];
  let close = false;
  const u: Udp = new Udp({}, (handle, kind, a, b) => {
    assert.is(kind, L.EV_DATAGRAM);
    assert.is(b, L.UDPD_SIZE);
    const { from, port, data } = u.read(a);
    got.push(`${from} ${port} ${data.length}`);
    assert.is(u.send(handle, [data], from, port), data.length);
    if (close) assert.is(u.m.core.udpClose(handle), 0);
  });
  u.open('::', 7, L.SOCK_INLINE);
  u.in(7, bytes(10));
  u.in6(7, bytes(20));
  assert.equal(got, [`${PEER} 5000 10`, `${PEER6} 5000 20`]);
  assert.equal(
    u.out().map(({ to, dstPort, data }) => `${to} ${dstPort} ${data.length}`),
    got,
  );
  close = true;
  u.in(7);
  u.in(7);
  assert.is(got.length, 3);
  assert.is(u.count('UdpNoPorts'), 1);
  u.done();
});

test('a broadcast comes to every socket that is bound to any address, to no other, and is not answered', () => {
  const inline: number[] = [];
  const u: Udp = new Udp({}, (handle, _kind, a) => {
    u.read(a);
    inline.push(handle);
    // Closing the others in the middle of it harms nothing.
    u.m.core.udpClose(two);
  });
  const one = u.open('0.0.0.0', 67, L.SOCK_REUSE);
  const two = u.open('::', 67, L.SOCK_REUSE | L.SOCK_INLINE);
  const exact = u.open(OWN, 67, L.SOCK_REUSE);
  const only = u.open('::', 68, L.SOCK_V6ONLY);
  for (const to of [
    [255, 255, 255, 255],
    [10, 0, 0, 255],
  ]) {
    const frame = F.udpFrame({ srcPort: 68, dstPort: 67 }, F.PEER_IP, to);
    frame.fill(255, 0, 6);
    u.m.inject(frame, F.udpFrame({ srcPort: 68, dstPort: 68 }, F.PEER_IP, to));
  }
  assert.equal(
    u.recv(one).map(({ to }) => to),
    ['255.255.255.255', '10.0.0.255'],
  );
  assert.equal(inline, [two]);
  assert.equal(u.recv(exact), []);
  assert.is(u.count('UdpNoPorts'), 2);
  // Our own address in a broadcast frame is nothing of the kind (RFC 1122 §3.3.6).
  const wrong = F.udpFrame({ srcPort: 68, dstPort: 67 });
  wrong.fill(255, 0, 6);
  u.m.inject(wrong);
  assert.equal(u.recv(one), []);
  assert.equal(u.m.take(), []);
  u.done(one, exact, only);
});

test('connect() chooses the local address, disconnect() gives it back, and each takes effect at once', () => {
  const u = new Udp();
  const { core } = u.m;
  const handle = u.open('::', 1000);
  const ends = (): string => {
    core.udpInfo(handle, core.scratch);
    return `${readAddress(core.u8, core.scratch)} ${readAddress(core.u8, core.scratch + 16)} ${core.dv.getUint32(core.scratch + L.UDPI_remote_port, true)}`;
  };
  assert.is(core.udpDisconnect(handle), -L.ENOTCONN);
  assert.is(u.connect(handle, PEER, 4000), 0);
  assert.is(ends(), `${OWN} ${PEER} 4000`);
  u.in(1000, bytes(1), 4001);
  u.in(1000, bytes(2), 4000);
  assert.equal(
    u.recv(handle).map(({ port }) => port),
    [4000],
  );
  assert.is(u.connect(handle, PEER6, 4000), 0, 'another peer, of the other family too');
  assert.is(ends(), `${OWN6} ${PEER6} 4000`);
  assert.is(core.udpDisconnect(handle), 0);
  assert.is(ends(), ':: :: 0');
  u.in(1000, bytes(1), 4001);
  assert.is(u.recv(handle).length, 1);
  // Not bound before: any port.
  const other = core.udpOpen(0);
  assert.is(u.connect(other, PEER, 0), -L.EINVAL);
  assert.is(u.connect(other, '10.0.0.255', 5), -L.EACCES);
  assert.is(u.connect(other, '224.0.0.1', 5), -L.ENETUNREACH);
  assert.is(u.connect(other, PEER, 5), 0);
  assert.is(u.send(other, [bytes(3)]), 3);
  assert.ok(u.out()[0].srcPort >= 61440);
  u.done(handle, other);
});

test.run();
