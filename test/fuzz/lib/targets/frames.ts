// Frames into the core, made to be right, made to be wrong, and mutated, with an application that uses its sockets at random
// meanwhile, also from inside the inline callback.
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../../src/host/core/address.js';
import type { DrivenCore } from '../../../../src/host/core/driven.js';
import * as L from '../../../../src/host/core/layout.js';
import * as F from '../../../helpers/frames.js';
import { PEER_MAC } from '../../../helpers/manual.js';
import { someConfig, someUdpConfig } from '../config.js';
import { assertEmpty, type Cores, introduce, slotsInUse } from '../cores.js';
import { inFragments } from '../fragments.js';
import type { TapeReader } from '../tape.js';
import type { Target } from '../target.js';
import { UdpApp } from '../udp/app.js';

const BATCH_PORT = 80;
const INLINE_PORT = 81;
const MAX_FLOWS = 48;

/** The fuzzer's side of a connection: enough to send segments that are in the window. */
interface Flow {
  peerPort: number;
  localPort: number;
  seq: number;
  ack: number;
  /** A segment of the core's that got lost, as far as our acknowledgements say. */
  hole: { start: number; end: number } | null;
  quoted: Uint8Array;
}

class Peer {
  readonly flows: Flow[] = [];
  readonly handles: number[] = [];
  readonly kept: number[] = [];
  readonly manual: DrivenCore;
  readonly r: TapeReader;
  readonly #cores: Cores;
  readonly udp: UdpApp;

  constructor(r: TapeReader, cores: Cores) {
    this.r = r;
    this.#cores = cores;
    const onEvent = (handle: number, kind: number, a: number, b: number): void => this.onEvent(handle, kind, a, b);
    this.manual = cores.open({ ...someConfig(r), ...someUdpConfig(r) }, onEvent, F.OWN_IP.join('.'));
    const { core } = this.manual;
    introduce(core, F.PEER_IP.join('.'), PEER_MAC);
    core.u8.fill(0, core.scratch, core.scratch + 16);
    assert.ok(core.listen(core.scratch, BATCH_PORT, 16, 0) > 0);
    assert.ok(core.listen(core.scratch, INLINE_PORT, 16, L.SOCK_INLINE) > 0);
    this.udp = new UdpApp(r, cores, this.manual, F.OWN_IP.join('.'), F.PEER_IP.join('.'));
    this.udp.begin();
  }

  /** Also the inline callback: it may do anything to any socket while a segment is being processed. */
  onEvent(handle: number, kind: number, a: number, b: number): void {
    const { core } = this.manual;
    if (this.udp.event(handle, kind, a, b)) return;
    if (kind === L.EV_ACCEPT) {
      if (a !== 0) this.handles.push(a);
      else for (let h = core.accept(handle); h >= 0; h = core.accept(handle)) this.handles.push(h);
    } else if (kind === L.EV_DATA && b !== 0) {
      if (this.r.oneIn(3)) core.send(handle, a, b);
      if (this.r.oneIn(8)) this.kept.push(a);
      else assert.is(core.free(a), 0);
      if (this.r.oneIn(40)) this.act();
    } else if (kind === L.EV_DATA) {
      if (!this.r.oneIn(4)) this.drainReceive(handle);
    } else if (kind === L.EV_ERROR || kind === L.EV_CLOSED) {
      core.close(handle);
    }
  }

  drainReceive(handle: number): void {
    const { core } = this.manual;
    const pieces = core.recv(handle, core.scratch, 64);
    const list: number[] = [];
    for (let i = 0; i < pieces; i++) list.push(core.u32[(core.scratch >> 2) + 2 * i]);
    for (const addr of list) assert.is(core.free(addr), 0);
  }

  /** One random call of the application. */
  act(): void {
    const { core } = this.manual;
    const { r } = this;
    const handle = this.handles.length > 0 && !r.oneIn(20) ? r.pick(this.handles) : r.u32() & 0x7fffffff;
    switch (r.below(14)) {
      case 10:
      case 11:
      case 12:
      case 13:
        this.udp.act();
        break;
      case 0:
        core.close(handle);
        this.handles.splice(this.handles.indexOf(handle) >>> 0, 1);
        break;
      case 1:
        core.abort(handle);
        this.handles.splice(this.handles.indexOf(handle) >>> 0, 1);
        break;
      case 2:
        core.shutdown(handle);
        break;
      case 3: {
        const addr = core.alloc(1000);
        if (addr === 0) break;
        core.u8.fill(7, addr, core.objectEnd(addr));
        core.send(handle, addr + r.below(1000), r.below(1200));
        core.free(addr);
        break;
      }
      case 4:
        this.drainReceive(handle);
        break;
      case 5:
        writeAddress(core.u8, core.scratch, F.PEER_IP.join('.'));
        this.remember(core.connect(core.scratch, 1 + r.below(65535), 0, 0, r.below(2)));
        break;
      case 6:
        core.info(handle, core.scratch);
        break;
      case 7:
        core.setOption(handle, r.below(9), r.pick([0, 1, 1000, 1e6, -1, Number.NaN, 1e300]));
        break;
      case 8:
        // Misuse: addresses that are not ours to give.
        for (const addr of [0, r.below(131072), 0x80000000 + r.below(0x7fffffff)]) {
          assert.ok(core.free(addr) < 0);
          assert.ok(core.dup(addr) < 0);
          assert.ok(core.send(handle, addr, 1 + r.u32()) < 0);
        }
        break;
      default:
        while (this.kept.length > 0) assert.is(core.free(this.kept.pop() ?? 0), 0);
    }
  }

  /** The application as it should be: a buffer, filled, sent, freed. */
  write(): void {
    if (this.handles.length === 0) return;
    const { core } = this.manual;
    const size = this.r.pick([1, 100, 1460, 4096, 65536]);
    const addr = core.alloc(size);
    if (addr === 0) return;
    core.u8.fill(7, addr, core.objectEnd(addr));
    core.send(this.r.pick(this.handles), addr, size);
    core.free(addr);
  }

  remember(handle: number): void {
    if (handle > 0) this.handles.push(handle);
  }

  /** Reads what the core sends, to stay in its windows. */
  hear(): void {
    for (const frame of this.manual.take()) {
      this.#cores.note(frame);
      this.udp.hear(frame);
      const segment = F.parseTcp(frame);
      if (!segment) continue;
      let flow = this.flows.find((f) => f.peerPort === segment.dstPort && f.localPort === segment.srcPort);
      if (!flow) {
        if (this.flows.length >= MAX_FLOWS) this.flows.splice(this.r.below(MAX_FLOWS), 1);
        flow = {
          peerPort: segment.dstPort,
          localPort: segment.srcPort,
          seq: this.r.u32(),
          ack: 0,
          hole: null,
          quoted: frame,
        };
        this.flows.push(flow);
      }
      if (segment.flags & F.RST) {
        this.flows.splice(this.flows.indexOf(flow), 1);
        continue;
      }
      const span = segment.payload.length + (segment.flags & F.SYN ? 1 : 0) + (segment.flags & F.FIN ? 1 : 0);
      if (flow.hole && (segment.seq === flow.hole.start || this.r.oneIn(30))) flow.hole = null;
      else if (!flow.hole && segment.payload.length > 0 && this.r.oneIn(6)) {
        flow.hole = { start: segment.seq, end: (segment.seq + segment.payload.length) >>> 0 };
      }
      if ((segment.seq + span - flow.ack) >> 0 > 0 || flow.ack === 0) flow.ack = (segment.seq + span) >>> 0;
      // Back to where the core is, or everything after the first mutated segment would be out of the window.
      if (segment.flags & F.ACK && !this.r.oneIn(6)) flow.seq = segment.ack;
      if (segment.flags & F.SYN) {
        flow.ack = (segment.seq + 1) >>> 0;
        flow.hole = null;
        if (segment.flags & F.ACK) flow.seq = segment.ack;
      }
      flow.quoted = frame.slice(14, 14 + 20 + 20);
    }
  }

  frame(): Uint8Array {
    const { r } = this;
    const kind = r.below(100);
    if (kind < 3) return F.arpFrame(1 + r.below(3));
    if (kind < 6) return F.icmpEcho(r.bytes(r.below(1400)));
    if (kind < 8) return r.bytes(r.below(200));
    if (kind < 10 && this.flows.length > 0) {
      return F.icmpError(r.pick([3, 11, 4]), r.below(6), r.pick([0, 68, 552, 1400, 9000]), r.pick(this.flows).quoted);
    }
    if (kind < 22) return this.udp.frame();
    if (kind < 34 || this.flows.length === 0) {
      return F.tcpFrame({
        srcPort: 1024 + r.below(64),
        dstPort: r.pick([BATCH_PORT, INLINE_PORT, 9]),
        seq: r.pick([0xffffff00, 0x7fffffff, 1, r.u32()]),
        ack: 0,
        flags: F.SYN,
        window: r.pick([0, 1, 1000, 65535]),
        options: this.options(null),
      });
    }
    const flow = r.pick(this.flows);
    const payload = r.oneIn(2) ? r.bytes(r.pick([1, 10, 536, 1448, r.below(1448)])) : new Uint8Array();
    const offset = r.oneIn(3) ? r.pick([-1, 1, -1448, 1448, 2896, 10000, 0x7fffffff, r.below(65536)]) : 0;
    const flags =
      F.ACK |
      (r.oneIn(30) ? F.FIN : 0) |
      (r.oneIn(100) ? F.RST : 0) |
      (r.oneIn(100) ? F.SYN : 0) |
      (r.oneIn(50) ? F.URG : 0);
    const frame = F.tcpFrame({
      srcPort: flow.peerPort,
      dstPort: flow.localPort,
      seq: flow.seq + offset,
      ack: (flow.hole?.start ?? flow.ack) + (r.oneIn(8) ? r.pick([-1, 1, -1448, -100000, 0x7fffffff]) : 0),
      flags: r.oneIn(60) ? r.below(256) : flags,
      window: r.pick([0, 1, 500, 65535]),
      options: this.options(flow),
      payload,
    });
    if (offset === 0) flow.seq = (flow.seq + payload.length + (flags & F.FIN ? 1 : 0)) >>> 0;
    return frame;
  }

  /** Options that are right, garbage, or in between. */
  options(flow: Flow | null): Uint8Array {
    const { r } = this;
    const syn = flow === null;
    const list: number[] = [];
    const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
    if (syn && !r.oneIn(4)) list.push(2, 4, r.pick([0, 1, 5, 255]), r.below(256), 4, 2, 3, 3, r.below(16), 1);
    if (!r.oneIn(3)) list.push(1, 1, 8, 10, ...word(Math.floor(this.manual.nowUs / 1000)), ...word(r.u32()));
    if (flow?.hole && !r.oneIn(8)) list.push(1, 1, 5, 10, ...word(flow.hole.end), ...word(flow.ack));
    else if (flow && r.oneIn(20)) {
      list.push(1, 1, 5, 10, ...word(flow.ack - r.below(3000)), ...word(flow.ack + r.below(3000)));
    }
    if (r.oneIn(10)) list.push(...r.bytes(r.below(12)));
    return Uint8Array.from(list.slice(0, 40));
  }

  mutate(frame: Uint8Array): Uint8Array {
    const { r } = this;
    let result = frame;
    if (r.oneIn(20)) result = result.slice(0, r.below(result.length + 1));
    if (r.oneIn(40)) result = Buffer.concat([result, r.bytes(r.below(64))]);
    if (r.oneIn(3)) {
      // Headers are where it hurts.
      for (let i = r.below(4); i >= 0 && result.length > 0; i--) result[r.below(Math.min(result.length, 90))] = r.u32();
    }
    if (!r.oneIn(6)) F.fixChecksums(result);
    return result;
  }
}

function step(peer: Peer, wild: number): void {
  const { manual, r } = peer;
  const frames = Array.from({ length: r.pick([1, 1, 2, 4, 16]) }, () => {
    const frame = peer.frame();
    return r.oneIn(wild) ? peer.mutate(frame) : frame;
  });
  // Those of a path with a smaller MTU, or of an attacker.
  if (r.oneIn(6)) for (const frame of frames) manual.inject(...inFragments(r, frame));
  else manual.inject(...frames);
  manual.nowUs += r.pick([0, 1, 50, 1000, r.oneIn(200) ? 3e7 : 5000]);
  if (r.oneIn(4)) manual.poll();
  for (const event of manual.events()) peer.onEvent(...event);
  if (r.oneIn(3)) peer.act();
  if (r.oneIn(2)) peer.write();
  // A link that is slow for a while lets the transmit ring run full.
  if (!r.oneIn(4)) peer.hear();
}

/** The application lets go of everything, and time passes. */
function end(peer: Peer): void {
  const { manual } = peer;
  const { core } = manual;
  for (const handle of [...slotsInUse(core), ...peer.handles]) core.abort(handle);
  for (const addr of peer.kept) core.free(addr);
  peer.udp.leave();
  for (let i = 0; i < 60; i++) {
    manual.take();
    manual.nowUs += 30e6;
    manual.poll();
    for (const [handle, kind] of manual.events()) {
      if (kind === L.EV_ACCEPT) while (core.abort(core.accept(handle)) >= 0);
    }
  }
  manual.take();
}

export const frames: Target = {
  name: 'frames',
  purpose: 'random and mutated frames into a core whose application is busy',
  steps: 400,
  mostSteps: 1200,
  inputs: 250,
  reaches: [
    'ArpOutReplies',
    'IcmpOutEchoReps',
    'IpInHdrErrors',
    'IpReasmOKs',
    'IpReasmFails',
    'IpReasmTimeout',
    'IpExtReasmOverlaps',
    'IcmpOutTimeExcds',
    'TcpActiveOpens',
    'TcpPassiveOpens',
    'TcpRetransSegs',
    'TcpInCsumErrors',
    'TcpOutRsts',
    'TcpExtTCPHPHits',
    'TcpExtTCPOFOQueue',
    'TcpExtTCPOFOMerge',
    'TcpExtPAWSEstab',
    'TcpExtTCPDSACKOldSent',
    'TcpExtTCPSackRecovery',
    'TcpExtTCPZeroWindowProbe',
    'TcpExtTCPChallengeACK',
    'TcpExtTCPTimeWait',
    'TxRingFull',
    'UdpInDatagrams',
    'UdpInErrors',
    'UdpInCsumErrors',
    'UdpNoPorts',
    'UdpOutDatagrams',
    'UdpRcvbufErrors',
    'UdpMemErrors',
    'UdpSndbufErrors',
    'IpFragOKs',
    'IcmpOutDestUnreachs',
    'ZbufMisuse',
  ],
  run(tape, cores) {
    if (!tape.next()) return;
    const peer = new Peer(tape, cores);
    // Some runs break nearly everything, others let connections live long enough to get into trouble of their own.
    const wild = tape.pick([2, 6, 20]);
    while (tape.next()) step(peer, wild);
    end(peer);
    assertEmpty(peer.manual);
  },
};
