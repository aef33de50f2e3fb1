// Every accessor of the wire views against headers written byte by byte.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileEntry } from '../helpers/compile.js';
import { random } from '../helpers/random.js';

const module = await compileEntry(`
  import * as tcp from './wire/tcp';
  import * as ip from './wire/ipv4';
  import * as eth from './wire/ethernet';
  import * as arp from './wire/arp';
  import * as icmp from './wire/icmp';
  export function tcpFits(p: u32, len: u32): bool { return tcp.tcpFits(p, len); }
  export function tcpSrcPort(p: u32): u32 { return tcp.tcpSrcPort(p); }
  export function tcpDstPort(p: u32): u32 { return tcp.tcpDstPort(p); }
  export function tcpSeq(p: u32): u32 { return tcp.tcpSeq(p); }
  export function tcpAck(p: u32): u32 { return tcp.tcpAck(p); }
  export function tcpDataOffset(p: u32): u32 { return tcp.tcpDataOffset(p); }
  export function tcpFlags(p: u32): u32 { return tcp.tcpFlags(p); }
  export function tcpWindow(p: u32): u32 { return tcp.tcpWindow(p); }
  export function tcpUrgent(p: u32): u32 { return tcp.tcpUrgent(p); }
  export function setTcp(p: u32, s: u32, d: u32, seq: u32, ack: u32, off: u32, flags: u32, win: u32, sum: u32, urg: u32): void {
    tcp.setTcpSrcPort(p, s); tcp.setTcpDstPort(p, d); tcp.setTcpSeq(p, seq); tcp.setTcpAck(p, ack);
    tcp.setTcpDataOffset(p, off); tcp.setTcpFlags(p, flags); tcp.setTcpWindow(p, win);
    tcp.setTcpChecksum(p, <u16>sum); tcp.setTcpUrgent(p, urg);
  }
  export function ipv4Fits(p: u32, len: u32): bool { return ip.ipv4Fits(p, len); }
  export function ipv4Total(p: u32): u32 { return ip.ipv4Total(p); }
  export function ipv4HeaderBytes(p: u32): u32 { return ip.ipv4HeaderBytes(p); }
  export function ipv4IsFragment(p: u32): bool { return ip.ipv4IsFragment(p); }
  export function setIpv4(p: u32, total: u32, proto: u32, src: u32, dst: u32, tos: u32, ttl: u32): void { ip.setIpv4(p, total, proto, src, dst, tos, ttl); }
  export function mappedStore(p: u32, raw: u32): void { ip.mappedStore(p, raw); }
  export function isMapped(p: u32): bool { return ip.isMapped(p); }
  export function martian(raw: u32): bool { return ip.ipv4IsMartian(raw); }
  export function setEth(p: u32, dst: u64, src: u64, type: u32): void { eth.setEth(p, dst, src, type); }
  export function ethDst(p: u32): u64 { return eth.ethDst(p); }
  export function ethSrc(p: u32): u64 { return eth.ethSrc(p); }
  export function setArp(p: u32, op: u32, sm: u64, si: u32, tm: u64, ti: u32): void { arp.setArp(p, op, sm, si, tm, ti); }
  export function arpFits(p: u32, len: u32): bool { return arp.arpFits(p, len); }
  export function arpOp(p: u32): u32 { return arp.arpOp(p); }
  export function arpSenderMac(p: u32): u64 { return arp.arpSenderMac(p); }
  export function arpSenderIp(p: u32): u32 { return arp.arpSenderIpRaw(p); }
  export function arpTargetIp(p: u32): u32 { return arp.arpTargetIpRaw(p); }
  export function icmpNextMtu(p: u32): u32 { return icmp.icmpNextMtu(p); }
`);
const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536 });
const core = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Record<
  string,
  (...args: (number | bigint)[]) => number & bigint
>;
const u8 = new Uint8Array(memory.buffer);
const dv = new DataView(memory.buffer);
const AT = 65541;
const u32 = (n: number): number => n >>> 0;

test('TCP accessors read and write the fields of RFC 9293', () => {
  const r = random(4);
  for (let round = 0; round < 500; round++) {
    const f = {
      src: r.below(65536),
      dst: r.below(65536),
      seq: r.u32(),
      ack: r.u32(),
      offset: 20 + 4 * r.below(11),
      flags: r.below(256),
      window: r.below(65536),
      sum: r.below(65536),
      urgent: r.below(65536),
    };
    u8.fill(0xee, AT, AT + 24);
    core.setTcp(AT, f.src, f.dst, f.seq, f.ack, f.offset, f.flags, f.window, f.sum, f.urgent);
    assert.is(dv.getUint16(AT), f.src);
    assert.is(dv.getUint16(AT + 2), f.dst);
    assert.is(dv.getUint32(AT + 4), f.seq);
    assert.is(dv.getUint32(AT + 8), f.ack);
    assert.is(u8[AT + 12], (f.offset / 4) << 4);
    assert.is(u8[AT + 13], f.flags);
    assert.is(dv.getUint16(AT + 14), f.window);
    assert.is(dv.getUint16(AT + 16, true), f.sum);
    assert.is(dv.getUint16(AT + 18), f.urgent);
    assert.is(u8[AT + 20], 0xee, 'nothing behind the header is touched');
    assert.is(core.tcpSrcPort(AT), f.src);
    assert.is(core.tcpDstPort(AT), f.dst);
    assert.is(u32(core.tcpSeq(AT)), f.seq);
    assert.is(u32(core.tcpAck(AT)), f.ack);
    assert.is(core.tcpDataOffset(AT), f.offset);
    assert.is(core.tcpFlags(AT), f.flags);
    assert.is(core.tcpWindow(AT), f.window);
    assert.is(core.tcpUrgent(AT), f.urgent);
  }
});

test('tcpFits asks for the whole header', () => {
  for (let offset = 0; offset < 16; offset++) {
    u8[AT + 12] = (offset << 4) | 15;
    for (let len = 0; len < 70; len++) {
      const fits = len >= 20 && offset >= 5 && offset * 4 <= len;
      assert.is(core.tcpFits(AT, len) !== 0, fits, `offset ${offset}, length ${len}`);
    }
  }
});

test('ipv4Fits asks for version 4 and a header inside both lengths', () => {
  u8.fill(0, AT, AT + 64);
  for (let first = 0; first < 256; first++) {
    for (const len of [0, 19, 20, 23, 24, 60]) {
      for (const total of [0, 19, 20, 24, 60, 65535]) {
        u8[AT] = first;
        dv.setUint16(AT + 2, total);
        const header = (first & 15) * 4;
        const fits = len >= 20 && first >> 4 === 4 && header >= 20 && header <= len && header <= total;
        assert.is(core.ipv4Fits(AT, len) !== 0, fits, `${first} ${len} ${total}`);
      }
    }
  }
});

test('an IPv4 header is written whole, with a right checksum', () => {
  const r = random(5);
  for (let round = 0; round < 2000; round++) {
    const total = r.oneIn(10) ? 65535 : r.below(65536);
    const src = r.oneIn(10) ? 0xffffffff : r.u32();
    const dst = r.oneIn(10) ? 0xffffffff : r.u32();
    u8.fill(0xee, AT, AT + 24);
    core.setIpv4(AT, total, 6, src, dst, 0, 64);
    assert.equal([...u8.slice(AT, AT + 2)], [0x45, 0]);
    assert.is(core.ipv4Total(AT), total);
    assert.is(dv.getUint16(AT + 6), 0x4000, 'do not fragment');
    assert.equal([...u8.slice(AT + 8, AT + 10)], [64, 6]);
    assert.is(dv.getUint32(AT + 12, true), src);
    assert.is(dv.getUint32(AT + 16, true), dst);
    let sum = 0;
    for (let i = 0; i < 20; i += 2) sum += dv.getUint16(AT + i);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    assert.is(sum, 0xffff);
    assert.is(u8[AT + 20], 0xee);
  }
});

test('fragments are told by offset or more-fragments, not by do-not-fragment', () => {
  const fragment = (word: number): boolean => {
    dv.setUint16(AT + 6, word);
    return core.ipv4IsFragment(AT) !== 0;
  };
  assert.not.ok(fragment(0));
  assert.not.ok(fragment(0x4000));
  assert.ok(fragment(0x2000));
  assert.ok(fragment(1));
  assert.ok(fragment(0x1fff));
  assert.ok(fragment(0x6000));
});

test('only ::ffff:0:0/96 is IPv4 mapped', () => {
  core.mappedStore(AT, dv.getUint32(AT, true));
  assert.ok(core.isMapped(AT));
  for (let i = 0; i < 12; i++) {
    u8[AT + i] ^= 1;
    assert.not.ok(core.isMapped(AT), `byte ${i}`);
    u8[AT + i] ^= 1;
  }
  assert.equal([...u8.slice(AT, AT + 12)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
});

test('martian sources are 0/8, 127/8 and 224/3', () => {
  for (let net = 0; net < 256; net++) {
    assert.is(core.martian(net | 0x01020300) !== 0, net === 0 || net === 127 || net >= 224, `${net}/8`);
  }
});

test('Ethernet headers carry the MACs in order', () => {
  const dst = 0x0605_0403_0201n;
  const src = 0x0c0b_0a09_0807n;
  u8.fill(0xee, AT, AT + 16);
  core.setEth(AT, dst, src, 0x0008);
  assert.equal([...u8.slice(AT, AT + 15)], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0, 0xee]);
  assert.is(core.ethDst(AT) as bigint, dst);
  assert.is(core.ethSrc(AT) as bigint, src);
});

test('ARP packets are written and read field by field, and only Ethernet over IPv4 fits', () => {
  u8.fill(0xee, AT, AT + 32);
  core.setArp(AT, 2, 0x0605_0403_0201n, 0x0d0c0b0a, 0x1615_1413_1211n, 0x1d1c1b1a);
  assert.equal(
    [...u8.slice(AT, AT + 29)],
    [0, 1, 8, 0, 6, 4, 0, 2, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 17, 18, 19, 20, 21, 22, 26, 27, 28, 29, 0xee],
  );
  assert.is(core.arpOp(AT), 2);
  assert.is(core.arpSenderMac(AT) as bigint, 0x0605_0403_0201n);
  assert.is(core.arpSenderIp(AT), 0x0d0c0b0a);
  assert.is(core.arpTargetIp(AT), 0x1d1c1b1a);
  assert.ok(core.arpFits(AT, 28));
  assert.not.ok(core.arpFits(AT, 27));
  for (let i = 0; i < 6; i++) {
    u8[AT + i] ^= 1;
    assert.not.ok(core.arpFits(AT, 28), `byte ${i}`);
    u8[AT + i] ^= 1;
  }
});

test('the next-hop MTU of RFC 1191 is the second half of the rest', () => {
  u8.set([3, 4, 0, 0, 0xaa, 0xbb, 0x05, 0xd4], AT);
  assert.is(core.icmpNextMtu(AT), 1492);
});

test.run();
