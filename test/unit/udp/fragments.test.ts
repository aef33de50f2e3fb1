// Datagrams that are larger than the path takes: RFC 791 §3.2, RFC 8200 §4.5, RFC 6864, RFC 1191.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import * as F from '../../helpers/frames.js';
import * as F6 from '../../helpers/frames6.js';
import { bytes, PEER, PEER6, Udp } from '../../helpers/udp.js';

interface Fragment {
  id: number;
  offset: number;
  more: boolean;
  df: boolean;
  data: Uint8Array;
  length: number;
}

function parse(raw: Uint8Array): Fragment {
  const frame = Uint8Array.from(raw);
  const dv = new DataView(frame.buffer);
  if (frame[12] === 8) {
    const fixed = frame.slice();
    F.fixChecksums(fixed);
    assert.equal(fixed.slice(14, 34), frame.slice(14, 34), 'the header’s checksum is right');
    assert.is(dv.getUint16(16), frame.length - 14);
    const field = dv.getUint16(20);
    return {
      id: dv.getUint16(18),
      offset: (field & 0x1fff) * 8,
      more: (field & 0x2000) !== 0,
      df: (field & 0x4000) !== 0,
      data: frame.slice(34),
      length: frame.length - 14,
    };
  }
  assert.is(frame[20], 44);
  assert.is(frame[54], 17);
  assert.is(dv.getUint16(18), frame.length - 54);
  const field = dv.getUint16(56);
  return {
    id: dv.getUint32(58),
    offset: field & 0xfff8,
    more: (field & 1) !== 0,
    df: false,
    data: frame.slice(62),
    length: frame.length - 14,
  };
}

/** The datagram that fragments make, which cover it exactly once. */
function assemble(fragments: readonly Fragment[]): Uint8Array {
  let at = 0;
  fragments.forEach((fragment, i) => {
    assert.is(fragment.offset, at);
    assert.is(fragment.id, fragments[0].id);
    assert.is(fragment.df, false);
    assert.is(fragment.more, i < fragments.length - 1);
    if (fragment.more) assert.is(fragment.data.length % 8, 0);
    at += fragment.data.length;
  });
  return Uint8Array.from(fragments.flatMap(({ data }) => [...data]));
}

/** Checks the whole datagram as a receiver would. */
function checkDatagram(datagram: Uint8Array, v6: boolean, payload: Uint8Array): void {
  const udp = F.udpBytes({ srcPort: 1000, dstPort: 53, payload });
  const whole = v6
    ? F6.frame6({ next: 17, payload: udp, src: F6.OWN_IP6, dst: F6.PEER_IP6 }).slice(54)
    : F.udpFrame({ srcPort: 1000, dstPort: 53, payload }, F.OWN_IP, F.PEER_IP).slice(34);
  assert.equal(datagram, whole);
}

test('what fits is not fragmented, one byte more is, and the largest datagram goes too', () => {
  for (const v6 of [false, true]) {
    const peer = v6 ? PEER6 : PEER;
    const headers = v6 ? 48 : 28;
    const most = v6 ? 65527 : 65507;
    const u = new Udp({ mtu: 1500 });
    const handle = u.open('::', 1000);
    u.send(handle, [bytes(1500 - headers)], peer, 53);
    const [whole] = u.out();
    assert.is(whole.frame.length, 1514);
    if (!v6) assert.equal([...whole.frame.slice(18, 22)], [0, 0, 0x40, 0], 'atomic: DF, and no identification');
    for (const size of [1500 - headers + 1, 3000, 8192, most]) {
      assert.is(u.send(handle, [bytes(size, size)], peer, 53), size);
      const fragments = u.m.take().map(parse);
      assert.ok(fragments.every(({ length }) => length <= 1500));
      checkDatagram(assemble(fragments), v6, bytes(size, size));
    }
    assert.is(u.count(v6 ? 'Ip6FragOKs' : 'IpFragOKs'), 4);
    assert.is(u.send(handle, [bytes(most - 40000), bytes(40001)], peer, 53), -L.EMSGSIZE);
    assert.is(u.count('UdpOutDatagrams'), 5);
    assert.is(u.count('CopiedBytes'), 0);
    u.done(handle);
  }
});

test('identifications of one destination differ, for as long as there are others', () => {
  for (const v6 of [false, true]) {
    const peer = v6 ? PEER6 : PEER;
    const u = new Udp({ mtu: 1500 });
    const handle = u.open('::', 1000);
    const ids = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      u.send(handle, [bytes(2000)], peer, 53);
      ids.add(parse(u.m.take()[0]).id);
    }
    assert.is(ids.size, 1000);
    u.done(handle);
  }
});

for (const v6 of [false, true]) {
  const peer = v6 ? PEER6 : PEER;
  const name = v6 ? 'IPv6' : 'IPv4';

  test(`${name}: pieces of any length end up in their places`, () => {
    const u = new Udp({ mtu: v6 ? 1280 : 576 });
    const handle = u.open('::', 1000);
    const lengths = [1, 0, 1111, 7, 2049, 1, 4000, 33];
    const pieces = lengths.map((length, i) => bytes(length, i));
    u.send(handle, pieces, peer, 53);
    const payload = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
    checkDatagram(assemble(u.m.take().map(parse)), v6, payload);
    u.done(handle);
  });

  test(`${name}: a ring without room for all fragments takes none, and one that never has refuses`, () => {
    const u = new Udp({ txRing: 32 });
    const handle = u.open('::', 1000);
    let sent = 0;
    while (u.send(handle, [bytes(5000)], peer, 53) === 5000) sent++;
    const fragments = u.m.take().length;
    assert.ok(sent > 0);
    assert.is(fragments % sent, 0, 'whole datagrams');
    u.m.poll();
    assert.equal(u.m.events(), [[handle, L.EV_WRITE, 0, 0]]);
    assert.is(u.send(handle, [bytes(5000)], peer, 53), 5000);
    u.m.take();
    assert.is(u.send(handle, [bytes(60000)], peer, 53), -L.EMSGSIZE);
    u.done(handle);
  });
}

test('a router’s word about the path is kept: datagrams fit it from then on, for ten minutes', () => {
  const u = new Udp();
  const handle = u.open('::', 1000);
  const sizes = (): number[] => {
    u.send(handle, [bytes(1400)], PEER, 53);
    return u.m.take().map((frame) => frame.length - 14);
  };
  assert.equal(sizes(), [1428]);
  u.send(handle, [bytes(1400)], PEER, 53);
  const frame = Uint8Array.from(u.m.take()[0]);
  const stranger = frame.slice(14, 42);
  stranger[21] = 99;
  u.m.inject(F.icmpError(3, 4, 1000, stranger));
  assert.equal(sizes(), [1428], 'about a port that nobody has');
  u.m.inject(F.icmpError(3, 4, 1000, frame.slice(14, 42)));
  assert.equal(sizes(), [20 + 976, 20 + 432]);
  u.m.inject(F.icmpError(3, 4, 1200, frame.slice(14, 42)));
  assert.equal(sizes(), [20 + 976, 20 + 432], 'it makes the path no larger');
  u.m.inject(F.icmpError(3, 4, 68, frame.slice(14, 42)));
  assert.ok(sizes().every((size) => size <= 552));
  // A change of routes is none of the path.
  const { core } = u.m;
  core.routeClear();
  core.linkConfig(L.CFG_MAC, 1500, 0);
  assert.ok(sizes().length > 1);
  u.m.nowUs += 601e6;
  u.m.poll();
  assert.equal(sizes(), [1428]);
  u.done(handle);
});

test('IPv6: packet too big about a fragment is heard, and no path takes less than 1280 bytes', () => {
  const u = new Udp();
  const handle = u.open('::', 1000);
  const sizes = (): number[] => {
    u.send(handle, [bytes(2000)], PEER6, 53);
    return u.m.take().map((frame) => frame.length - 14);
  };
  const big = (frame: Uint8Array, mtu: number): void => {
    u.m.inject(F6.frame6({ next: 58, payload: F6.icmp6(2, 0, mtu, frame.slice(14, 14 + 200)) }));
  };
  u.send(handle, [bytes(2000)], PEER6, 53);
  const [first] = u.m.take().map((frame) => Uint8Array.from(frame));
  assert.equal(sizes(), [1496, 608]);
  big(first, 1400);
  assert.equal(sizes(), [1400, 704]);
  big(first, 600);
  assert.equal(sizes(), [1280, 824]);
  u.done(handle);
});

test.run();
