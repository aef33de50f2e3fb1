import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import * as F from '../helpers/frames.js';
import { manualCore, OWN_MAC, PEER_MAC } from '../helpers/manual.js';
import { random } from '../helpers/random.js';

const flags = L.CFGF_ARP | L.CFGF_ICMP_ECHO;

test('an echo request of any size is answered with its own bytes', () => {
  const manual = manualCore();
  manual.inject(F.arpFrame(1));
  manual.take();
  const r = random(9);
  for (let size = 0; size <= 1472; size += size < 40 ? 1 : 1 + r.below(60)) {
    const payload = r.bytes(size);
    const request = F.icmpEcho(payload);
    request.set(r.bytes(4), 38);
    F.fixChecksums(request);
    manual.inject(request);
    const [reply] = manual.take();
    const expected = request.slice();
    expected.set(PEER_MAC, 0);
    expected.set(OWN_MAC, 6);
    expected.set(F.OWN_IP, 26);
    expected.set(F.PEER_IP, 30);
    expected[34] = 0;
    F.fixChecksums(expected);
    assert.equal([...reply], [...expected], `size ${size}`);
  }
  manual.core.poll(manual.nowUs);
  assert.is(manual.core.zbufInUse(), 0);
  assert.is(manual.core.rxInUse(), 0);
});

test('a reply’s checksum is right for every checksum the request may have', () => {
  const manual = manualCore();
  manual.inject(F.arpFrame(1));
  manual.take();
  for (let word = 0; word < 65536; word += word < 300 || word > 65200 ? 1 : 97) {
    manual.inject(F.icmpEcho(new Uint8Array([word >> 8, word & 255])));
    const [reply] = manual.take();
    let sum = 0;
    for (let i = 34; i < reply.length; i += 2) sum += (reply[i] << 8) | reply[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    assert.is(sum, 0xffff, `${word}`);
  }
});

test('a request larger than our MTU is not answered', () => {
  const manual = manualCore({ mtu: 576, flags });
  manual.inject(F.arpFrame(1));
  manual.take();
  manual.inject(F.icmpEcho(new Uint8Array(548)));
  assert.is(manual.take().length, 1);
  manual.inject(F.icmpEcho(new Uint8Array(549)));
  assert.is(manual.take().length, 0);
  manual.core.poll(manual.nowUs);
  assert.is(manual.core.rxInUse(), 0);
});

test('behind a kernel, echo requests are left to it', () => {
  const manual = manualCore({ flags: L.CFGF_NEIGH_EVENTS });
  manual.inject(F.icmpEcho(new Uint8Array(8)));
  assert.is(manual.take().length, 0);
  assert.is(manual.core.counter(L.CNT_IcmpInEchos), 1);
  assert.is(manual.core.rxInUse(), 0);
});

test('a request with no room to answer is dropped and counted, and nothing is lost', () => {
  const manual = manualCore({ txRing: 16, flags });
  manual.inject(F.arpFrame(1));
  manual.take();
  const burst = Array.from({ length: 20 }, () => F.icmpEcho(new Uint8Array(100)));
  manual.inject(...burst);
  assert.is(manual.core.counter(L.CNT_IcmpOutEchoReps), 8, 'two segments each');
  assert.is(manual.core.counter(L.CNT_TxRingFull), 12);
  assert.is(manual.take().length, 8);
  manual.inject(F.icmpEcho(new Uint8Array(100)));
  assert.is(manual.take().length, 1);
  manual.core.poll(manual.nowUs);
  assert.is(manual.core.zbufInUse(), 0);
  assert.is(manual.core.rxInUse(), 0);
});

test('errors that do not quote a segment of ours are counted', () => {
  const quoted = F.tcpFrame(
    { srcPort: 80, dstPort: 4000, seq: 1, ack: 1, flags: F.ACK, window: 1 },
    F.OWN_IP,
    F.PEER_IP,
  ).slice(14);
  const cases: [string, Uint8Array][] = [
    ['nothing quoted', new Uint8Array(0)],
    ['half a header', quoted.slice(0, 19)],
    ['no ports', quoted.slice(0, 27)],
    ['version 6', withByte(quoted, 0, 0x65)],
    ['a header of 16 bytes', withByte(quoted, 0, 0x44)],
    ['a header beyond the quotation', withByte(quoted, 0, 0x4f)],
    ['another host’s packet', withByte(quoted, 15, 9)],
  ];
  for (const type of [3, 11, 12]) {
    for (const [name, bytes] of cases) {
      const manual = manualCore();
      manual.inject(F.icmpError(type, 0, 0, bytes));
      assert.is(manual.core.counter(L.CNT_IcmpInErrors), 1, `type ${type}, ${name}`);
      assert.is(manual.core.rxInUse(), 0);
    }
    const manual = manualCore();
    manual.inject(F.icmpError(type, 0, 0, quoted.slice(0, 28)));
    assert.is(manual.core.counter(L.CNT_IcmpInErrors), 0, `type ${type}: what RFC 792 asks for is enough`);
    assert.is(manual.core.counter(L.CNT_IcmpInDestUnreachs), type === 3 ? 1 : 0);
  }
});

function withByte(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}

test('redirects, source quench, replies and unknown types change nothing', () => {
  for (const type of [0, 4, 5, 13, 17, 255]) {
    const manual = manualCore();
    manual.inject(F.icmpError(type, 1, 0, new Uint8Array(40)));
    assert.is(manual.take().length, 0);
    assert.is(manual.core.counter(L.CNT_IcmpInMsgs), 1);
    assert.is(manual.core.counter(L.CNT_IcmpInErrors), 0);
    assert.is(manual.core.rxInUse(), 0);
  }
});

test.run();
