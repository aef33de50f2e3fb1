// Datagrams that come in fragments: they are UDP's as those that come whole.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { cuts, fragment4, fragment6 } from '../../helpers/fragments.js';
import * as F from '../../helpers/frames.js';
import * as F6 from '../../helpers/frames6.js';
import { bytes, PEER, PEER6, Udp } from '../../helpers/udp.js';

const DATA = bytes(4000, 3);
/** Bytes of the datagram in a fragment. */
const EACH = 1448;
const TOTAL = DATA.length + 8;

/** Fragments of a datagram to this port, the last one first. */
function fragments(v6: boolean, dstPort: number, spoilt = false): Uint8Array[] {
  const fields = { srcPort: 5000, dstPort, payload: DATA };
  const whole = v6 ? F6.frame6({ next: F6.UDP_PROTO, payload: F.udpBytes(fields) }) : F.udpFrame(fields);
  if (spoilt) whole[whole.length - 1] ^= 1;
  const cut = v6 ? fragment6 : fragment4;
  return cuts(TOTAL, EACH)
    .map((piece) => cut(whole, 77, piece))
    .reverse();
}

test('a datagram in fragments is received whole, and waits by reference', () => {
  for (const v6 of [false, true]) {
    const u = new Udp();
    const handle = u.open('::', 53);
    for (const frame of fragments(v6, 53)) {
      assert.is(u.m.core.udpQueued(), 0);
      u.m.inject(frame);
    }
    assert.is(u.m.core.rxInUse(), 0, 'the fragments are given back');
    const [datagram, ...more] = u.recv(handle);
    assert.equal(more, []);
    assert.equal([datagram.from, datagram.port], [v6 ? PEER6 : PEER, 5000]);
    assert.equal(datagram.data, DATA);
    assert.is(u.count('UdpInDatagrams'), 1);
    assert.is(u.count('CopiedBytes'), TOTAL, 'one copy, of reassembly');
    u.done(handle);
  }
});

for (const v6 of [false, true]) {
  const name = v6 ? 'IPv6' : 'IPv4';

  test(`${name}: its checksum is verified`, () => {
    const u = new Udp();
    const handle = u.open('::', 53);
    for (const frame of fragments(v6, 53, true)) u.m.inject(frame);
    assert.equal(u.recv(handle), []);
    assert.is(u.count('UdpInCsumErrors'), 1);
    u.done(handle);
  });

  test(`${name}: a port that nobody has is answered once, with the beginning of the whole`, () => {
    const u = new Udp();
    for (const frame of fragments(v6, 54)) u.m.inject(frame);
    const sent = u.m.take().map((frame) => Uint8Array.from(frame));
    assert.is(sent.length, 1);
    const [answer] = sent;
    const l4 = v6 ? 54 : 34;
    assert.equal([...answer.slice(l4, l4 + 2)], v6 ? [1, 4] : [3, 3]);
    assert.is(answer.length - 14, v6 ? 1280 : 576);
    const quoted = answer.slice(l4 + 8 + (v6 ? 40 : 20));
    assert.equal(quoted.slice(8), DATA.slice(0, quoted.length - 8));
    assert.is(u.count(v6 ? 'Icmp6OutDestUnreachs' : 'IcmpOutDestUnreachs'), 1);
    u.done();
  });
}

test('a broadcast in fragments reaches every socket on its port', () => {
  const u = new Udp();
  const handles = [u.open('0.0.0.0', 53, L.SOCK_REUSE), u.open('0.0.0.0', 53, L.SOCK_REUSE)];
  const whole = F.udpFrame({ srcPort: 5000, dstPort: 53, payload: DATA }, F.PEER_IP, [10, 0, 0, 255]);
  whole.fill(255, 0, 6);
  for (const piece of cuts(TOTAL, EACH)) u.m.inject(fragment4(whole, 78, piece));
  for (const handle of handles) assert.equal(u.recv(handle)[0]?.data, DATA);
  u.done(...handles);
});

test.run();
