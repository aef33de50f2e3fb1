// Rules of RFC 9293 that read differently over IPv6: segment sizes, addresses, ICMPv6, the fields of the header.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../src/host/core/address.js';
import * as L from '../../../src/host/core/layout.js';
import { ACK, SYN } from '../../helpers/frames.js';
import {
  frame6,
  ICMPV6_PROTO,
  icmp6,
  OWN_IP6,
  type Packet6,
  type Parsed6,
  PEER_IP6,
  parse6,
  TCP_PROTO,
  tcp6,
} from '../../helpers/frames6.js';
import { type ManualCore, manualCore, PEER_MAC } from '../../helpers/manual.js';

const PORT = 80;
const PEER_PORT = 4000;
const IRS = 1000;

function ready(): ManualCore {
  const manual = manualCore({ flags: L.CFGF_ARP });
  const { core } = manual;
  writeAddress(core.u8, core.scratch, OWN_IP6);
  assert.is(core.addressAdd(core.scratch, 64), 0);
  writeAddress(core.u8, core.scratch, PEER_IP6);
  core.u8.set(PEER_MAC, core.scratch + 16);
  core.neighSet(core.scratch, core.scratch + 16);
  return manual;
}

function out(manual: ManualCore): Parsed6[] {
  return manual
    .take()
    .map((frame) => parse6(frame))
    .filter((packet): packet is Parsed6 => packet?.next === TCP_PROTO);
}

const word = (bytes: Uint8Array, at: number): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);

interface Connected {
  handle: number;
  /** Options of the SYN-ACK. */
  options: Uint8Array;
  segment(flags: number, payload?: Uint8Array): Uint8Array;
}

function accepted(manual: ManualCore, options: readonly number[], o: Partial<Packet6> = {}): Connected {
  const { core } = manual;
  core.u8.fill(0, core.scratch, core.scratch + 16);
  const listener = core.listen(core.scratch, PORT, 4, 0);
  assert.ok(listener > 0);
  const packet = (payload: Uint8Array): Uint8Array => frame6({ next: TCP_PROTO, payload, ...o });
  manual.inject(packet(tcp6({ srcPort: PEER_PORT, dstPort: PORT, seq: IRS, flags: SYN, options })));
  const [synAck] = out(manual);
  assert.is(synAck.payload[13], SYN | ACK);
  const ack = word(synAck.payload, 4) + 1;
  const segment = (flags: number, payload?: Uint8Array): Uint8Array =>
    packet(
      tcp6({
        srcPort: PEER_PORT,
        dstPort: PORT,
        seq: IRS + 1,
        ack,
        flags,
        ...(payload === undefined ? {} : { payload }),
      }),
    );
  manual.inject(segment(ACK));
  const handle = core.accept(listener);
  assert.ok(handle > 0);
  return { handle, options: synAck.payload.slice(20, (synAck.payload[12] >> 4) * 4), segment };
}

/** Sends `bytes` and returns the packets. */
function sent(manual: ManualCore, handle: number, bytes: number): Parsed6[] {
  const { core } = manual;
  const addr = core.alloc(bytes);
  assert.is(core.send(handle, addr, bytes), bytes);
  core.free(addr);
  core.flush(manual.nowUs);
  return out(manual);
}

test('over IPv6 a peer that announces no MSS is sent 1,220 bytes a segment, and MSS is the MTU less 60 (MUST-15, SHLD-5)', () => {
  const manual = ready();
  const { handle, options } = accepted(manual, []);
  assert.equal([...options.slice(0, 4)], [2, 4, 1440 >> 8, 1440 & 255]);
  const sizes = sent(manual, handle, 3000).map(({ payload }) => payload.length - 20);
  assert.equal(sizes, [1220, 1220, 560]);
});

test('over IPv6 the peer’s MSS and the link bound a segment (MUST-16)', () => {
  for (const [mss, expected] of [
    [1300, 1300],
    [9000, 1440],
  ]) {
    const manual = ready();
    const { handle } = accepted(manual, [2, 4, mss >> 8, mss & 255]);
    assert.is(sent(manual, handle, 4000)[0].payload.length - 20, expected);
  }
});

test('over IPv6 every checksum is right, and a wrong one is dropped (MUST-2, MUST-3)', () => {
  const manual = ready();
  const { handle, segment } = accepted(manual, []);
  for (const length of [1, 2, 1220, 2441]) assert.ok(sent(manual, handle, length).every(({ sumFine }) => sumFine));
  const wrong = segment(ACK, new Uint8Array(10).fill(7));
  wrong[wrong.length - 1] ^= 1;
  manual.inject(wrong);
  manual.core.info(handle, manual.core.scratch);
  assert.is(manual.core.dv.getUint32(manual.core.scratch + L.INFO_rcv_queued_bytes, true), 0);
  wrong[wrong.length - 1] ^= 1;
  manual.inject(wrong);
  manual.core.info(handle, manual.core.scratch);
  assert.is(manual.core.dv.getUint32(manual.core.scratch + L.INFO_rcv_queued_bytes, true), 10);
});

test('over IPv6 opening to a multicast, unspecified or loopback address is an error (MUST-46)', () => {
  const { core } = ready();
  for (const address of ['ff02::1', 'ff05::2', '::', '::1']) {
    writeAddress(core.u8, core.scratch, address);
    const result = core.connect(core.scratch, 80, 0, 0, 0);
    assert.ok(result === -L.ENETUNREACH || result === -L.EINVAL, `${address}: ${result}`);
  }
});

test('over IPv6 a SYN to a multicast address, or from an address that nobody can have, is ignored (MUST-57, MUST-63)', () => {
  const ends: Partial<Packet6>[] = [
    { dst: 'ff02::1', mac: [0x33, 0x33, 0, 0, 0, 1] },
    { dst: 'ff02::1' },
    { mac: [255, 255, 255, 255, 255, 255] },
    { mac: [0x33, 0x33, 0, 0, 0, 1] },
    { src: 'ff02::1' },
    { src: '::' },
    { src: '::1' },
    { src: OWN_IP6 },
  ];
  for (const o of ends) {
    const manual = ready();
    const { core } = manual;
    core.u8.fill(0, core.scratch, core.scratch + 16);
    core.listen(core.scratch, PORT, 4, 0);
    const payload = tcp6({ srcPort: PEER_PORT, dstPort: PORT, seq: IRS, flags: SYN });
    manual.inject(frame6({ next: TCP_PROTO, payload, ...o }));
    assert.equal(manual.take(), [], JSON.stringify(o));
    assert.is(core.counter(L.CNT_TcpPassiveOpens), 0, JSON.stringify(o));
  }
});

test('soft ICMPv6 errors are reported and end nothing, port unreachable ends an attempt to open (MUST-54, MUST-56, SHLD-25)', () => {
  const errors: [type: number, code: number, errno: number, soft: boolean][] = [
    [1, 0, L.ENETUNREACH, true],
    [1, 3, L.EHOSTUNREACH, true],
    [3, 0, L.EHOSTUNREACH, true],
    [3, 1, L.EHOSTUNREACH, true],
    [4, 0, L.EPROTO, true],
    [4, 2, L.EPROTO, true],
    [1, 4, L.ECONNREFUSED, false],
  ];
  for (const [type, code, errno, soft] of errors) {
    const manual = ready();
    const { core } = manual;
    writeAddress(core.u8, core.scratch, PEER_IP6);
    const handle = core.connect(core.scratch, 80, 0, 5000, 0);
    core.flush(manual.nowUs);
    const quoted = Uint8Array.from(manual.take()[0]).slice(14);
    manual.inject(frame6({ next: ICMPV6_PROTO, payload: icmp6(type, code, 0, quoted) }));
    const expected = soft ? [L.EV_REPORT, L.REPORT_ICMP | (errno << 8)] : [L.EV_ERROR, errno];
    assert.equal(manual.events(), [[handle, ...expected, 0]], `${type}, ${code}`);
    const open = ready();
    const connection = accepted(open, []);
    open.events();
    open.take();
    const addr = open.core.alloc(100);
    open.core.send(connection.handle, addr, 100);
    open.core.flush(open.nowUs);
    const data = Uint8Array.from(open.take()[0]).slice(14);
    open.inject(frame6({ next: ICMPV6_PROTO, payload: icmp6(type, code, 0, data) }));
    assert.equal(open.events(), [[connection.handle, L.EV_REPORT, L.REPORT_ICMP | (errno << 8), 0]]);
    open.core.info(connection.handle, open.core.scratch);
    assert.is(open.core.dv.getUint32(open.core.scratch + L.INFO_state, true), L.TCP_ESTABLISHED);
  }
});

test('over IPv6 the application sets traffic class and hop limit (MUST-48, MUST-49)', () => {
  const manual = ready();
  const { handle } = accepted(manual, []);
  assert.equal(
    sent(manual, handle, 10).map((p) => [p.trafficClass, p.hopLimit]),
    [[0, 64]],
  );
  manual.core.setOption(handle, L.OPT_NODELAY, 1);
  manual.core.setOption(handle, L.OPT_TOS, 0xb8);
  manual.core.setOption(handle, L.OPT_TTL, 3);
  assert.equal(
    sent(manual, handle, 10).map((p) => [p.trafficClass, p.hopLimit]),
    [[0xb8, 3]],
  );
});

test.run();
