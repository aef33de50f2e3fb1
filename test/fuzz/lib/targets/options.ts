// TCP options, every kind in every order with every lie about lengths, in SYNs, SYN-ACKs and segments of open, half-closed
// and closing connections. What the core makes of them is compared with a reference (options/reference.ts): what is
// agreed on, what PAWS drops, which timestamp is echoed, which bytes count as selectively acknowledged.
import * as assert from 'uvu/assert';
import { writeAddress } from '../../../../src/host/core/address.js';
import type { DrivenCore } from '../../../../src/host/core/driven.js';
import * as L from '../../../../src/host/core/layout.js';
import * as F from '../../../helpers/frames.js';
import { PEER_MAC } from '../../../helpers/manual.js';
import { someConfig } from '../config.js';
import { assertEmpty, type Cores, introduce } from '../cores.js';
import { type Plausible, someOptions, someSynOptions } from '../options/generate.js';
import { distance, listOptions, type Meaning, readOptions, sackedBytes } from '../options/reference.js';
import type { TapeReader } from '../tape.js';
import type { Target } from '../target.js';

const PORT = 80;
const IP_AND_TCP = 40;
/** RFC 9293 §3.7.1 without the option; below the least, a core takes the least that it can send sensibly. */
const MSS_WITHOUT = 536;
const MSS_LEAST = 88;
/** What Linux takes (net.ipv4.tcp_min_snd_mss). */
const MSS_LEAST_LINUX = 48;
const TIMESTAMPS_BYTES = 12;
const MOST_OPEN = 4;

/** The peer's view of a connection, which the core's must agree with. */
interface Flow {
  readonly peerPort: number;
  readonly localPort: number;
  handle: number;
  /** Next number of ours, and the core's numbers [una, nxt) that are under way. */
  seq: number;
  una: number;
  nxt: number;
  /** Segments under way, as they were first sent. */
  segments: [number, number][];
  timestamps: boolean;
  sack: boolean;
  tsRecent: number;
  /** The last timestamp value of the core's. */
  tsPeer: number;
  finSent: boolean;
}

class Prober {
  readonly host: DrivenCore;
  readonly r: TapeReader;
  readonly #cores: Cores;
  readonly #flows: Flow[] = [];
  #ports = 1000;
  readonly #listener: number;

  constructor(r: TapeReader, cores: Cores) {
    this.r = r;
    this.#cores = cores;
    const config = { ...someConfig(r), maxConnections: 32, txRing: 1024, rcvBufBytes: 65536, sndBufBytes: 65536 };
    this.host = cores.open({ ...config, segmentRecords: 1024, zones: 14 }, () => {}, F.OWN_IP.join('.'));
    const { core } = this.host;
    introduce(core, F.PEER_IP.join('.'), PEER_MAC);
    core.u8.fill(0, core.scratch, core.scratch + 16);
    this.#listener = core.listen(core.scratch, PORT, 64, 0);
    assert.ok(this.#listener > 0);
  }

  #configured(flag: number): boolean {
    return (this.host.core.config.flags & flag) !== 0;
  }

  #plausible(flow: Flow | null): Plausible {
    if (!flow) return { value: this.r.u32(), echo: 0, edges: [0, 1, 1000] };
    const edges = [flow.una, flow.nxt, ...flow.segments.flat(), flow.una - 1000];
    return { value: flow.tsRecent, echo: flow.tsPeer, edges };
  }

  #send(flow: Flow, flags: number, seq: number, options: Uint8Array, payload = new Uint8Array()): void {
    this.host.inject(
      F.tcpFrame({
        srcPort: flow.peerPort,
        dstPort: flow.localPort,
        seq,
        ack: flags & F.ACK ? flow.una : 0,
        flags,
        window: 65535,
        options,
        payload,
      }),
    );
  }

  /** What the core has sent: every option it writes must be right. */
  #heard(flow: Flow): { segment: F.ParsedTcp; meaning: Meaning }[] {
    const list: { segment: F.ParsedTcp; meaning: Meaning }[] = [];
    for (const frame of this.host.take()) {
      this.#cores.note(frame);
      const segment = F.parseTcp(frame);
      if (!segment) continue;
      const { isBroken } = listOptions(segment.options);
      const meaning = readOptions(segment.options);
      assert.ok(!isBroken && !meaning.isBad, 'the core writes options as the RFCs have them');
      if (segment.dstPort !== flow.peerPort || segment.srcPort !== flow.localPort) continue;
      if (meaning.timestamps) flow.tsPeer = meaning.timestamps.value;
      list.push({ segment, meaning });
    }
    return list;
  }

  #info(handle: number): { options: number; wscale: number; mss: number; sacked: number; state: number } | null {
    const { core } = this.host;
    if (core.info(handle, core.scratch) < 0) return null;
    const word = (at: number): number => core.dv.getUint32(core.scratch + at, true);
    return {
      options: word(L.INFO_options) & 7,
      wscale: word(L.INFO_snd_wscale),
      mss: word(L.INFO_snd_mss),
      sacked: word(L.INFO_sacked),
      state: word(L.INFO_state),
    };
  }

  /** Both have said what they can: each option holds when both sent it. */
  #agree(flow: Flow, mine: Meaning): void {
    flow.timestamps = mine.timestamps !== null && this.#configured(L.CFGF_TIMESTAMPS);
    flow.sack = mine.sackPermitted && this.#configured(L.CFGF_SACK);
    if (flow.timestamps) flow.tsRecent = mine.timestamps?.value ?? 0;
  }

  #assertAgreed(flow: Flow, mine: Meaning): void {
    const info = this.#info(flow.handle);
    assert.ok(info, 'the connection is there');
    const wscale = mine.wscale !== null && this.#configured(L.CFGF_WINDOW_SCALE);
    assert.is(info.options, (flow.timestamps ? 1 : 0) | (flow.sack ? 2 : 0) | (wscale ? 4 : 0), 'options agreed on');
    assert.is(info.wscale, wscale ? mine.wscale : 0, 'the scale of our windows');
    const { mtu, tcpFlags } = this.host.core.config;
    const least = tcpFlags & L.CFGF_LINUX_CWND ? MSS_LEAST_LINUX : MSS_LEAST;
    const mss = Math.max(mine.mss || MSS_WITHOUT, least);
    const path = mtu - IP_AND_TCP;
    assert.is(info.mss, Math.min(mss, path) - (flow.timestamps ? TIMESTAMPS_BYTES : 0), 'the size of segments');
  }

  /** The options of a SYN-ACK are a subset of what the SYN had, and of what the core is configured to have. */
  #assertAnswer(flow: Flow, mine: Meaning, theirs: Meaning): void {
    assert.is(theirs.mss, this.host.core.config.mtu - IP_AND_TCP);
    assert.is(theirs.timestamps !== null, flow.timestamps);
    if (theirs.timestamps) assert.is(theirs.timestamps.echo, mine.timestamps?.value, 'the echo of a SYN');
    assert.is(theirs.sackPermitted, flow.sack);
    assert.is(theirs.wscale !== null, mine.wscale !== null && this.#configured(L.CFGF_WINDOW_SCALE));
  }

  #newFlow(localPort: number): Flow {
    const flow: Flow = {
      peerPort: this.#ports++,
      localPort,
      handle: 0,
      seq: this.r.pick([1, 0xfffffffe, 0x7ffffffe, this.r.u32()]),
      una: 0,
      nxt: 0,
      segments: [],
      timestamps: false,
      sack: false,
      tsRecent: 0,
      tsPeer: 0,
      finSent: false,
    };
    return flow;
  }

  /** A SYN to the listener. */
  open(): void {
    const { core } = this.host;
    const flow = this.#newFlow(PORT);
    const options = someSynOptions(this.r, this.#plausible(null));
    const mine = readOptions(options);
    this.#agree(flow, mine);
    this.#send(flow, F.SYN, flow.seq, options);
    const answers = this.#heard(flow);
    assert.is(answers.length, 1, 'a SYN has one answer');
    const { segment, meaning } = answers[0];
    assert.is(segment.flags & (F.SYN | F.ACK | F.RST), F.SYN | F.ACK);
    this.#assertAnswer(flow, mine, meaning);
    flow.seq = (flow.seq + 1) >>> 0;
    flow.una = flow.nxt = (segment.seq + 1) >>> 0;
    this.#finishHandshake(flow);
    flow.handle = core.accept(this.#listener);
    assert.ok(flow.handle > 0, `a connection to accept, not ${flow.handle}`);
    this.#assertAgreed(flow, mine);
    this.#add(flow);
  }

  /** The ACK of the handshake: with timestamps agreed on, one that lacks them or has old ones does not count. */
  #finishHandshake(flow: Flow): void {
    for (let left = this.r.below(3); left > 0; left--) {
      const options = someOptions(this.r, this.#plausible(flow));
      if (this.#acceptable(flow, readOptions(options))) continue;
      this.#send(flow, F.ACK, flow.seq, options);
      this.#heard(flow);
      assert.is(this.host.core.accept(this.#listener), -L.EAGAIN, 'an ACK that PAWS drops opens nothing');
    }
    this.#send(flow, F.ACK, flow.seq, this.#right(flow));
    this.#heard(flow);
  }

  /** An active open and the answer to it. */
  connect(): void {
    const { core } = this.host;
    const { r } = this;
    writeAddress(core.u8, core.scratch, F.PEER_IP.join('.'));
    const probe = this.#newFlow(0);
    const handle = core.connect(core.scratch, probe.peerPort, 0, 20_000 + (probe.peerPort & 0xfff), 0);
    assert.ok(handle > 0);
    const flow = { ...probe, localPort: 20_000 + (probe.peerPort & 0xfff), handle };
    core.flush(this.host.nowUs);
    const asked = this.#heard(flow)[0];
    assert.is(asked.meaning.timestamps !== null, this.#configured(L.CFGF_TIMESTAMPS));
    assert.is(asked.meaning.timestamps?.echo ?? 0, 0, 'a SYN echoes nothing');
    flow.una = flow.nxt = (asked.segment.seq + 1) >>> 0;
    const echo = asked.meaning.timestamps?.value ?? 0;
    const options = someSynOptions(r, { value: r.u32(), echo, edges: [flow.una] });
    const mine = readOptions(options);
    this.#agree(flow, mine);
    const simultaneous = r.oneIn(4);
    this.#send(flow, simultaneous ? F.SYN : F.SYN | F.ACK, flow.seq, options);
    const answers = this.#heard(flow);
    flow.seq = (flow.seq + 1) >>> 0;
    const stale = flow.timestamps && mine.timestamps !== null && distance(echo, mine.timestamps.echo) > 0;
    if (!simultaneous && stale && mine.timestamps?.echo !== 0) {
      // RFC 7323 §3.2: an echo of what was never sent.
      assert.ok(answers.length === 1 && answers[0].segment.flags & F.RST, 'the echo of a time to come is reset');
      core.abort(handle);
      return;
    }
    if (simultaneous) {
      assert.is(answers[0].segment.flags & (F.SYN | F.ACK), F.SYN | F.ACK);
      this.#assertAnswer(flow, mine, answers[0].meaning);
      this.#finishSimultaneous(flow);
    }
    this.#assertAgreed(flow, mine);
    this.#add(flow);
  }

  #finishSimultaneous(flow: Flow): void {
    this.#send(flow, F.ACK, flow.seq, this.#right(flow));
    this.#heard(flow);
    assert.is(this.#info(flow.handle)?.state, L.TCP_ESTABLISHED);
  }

  #add(flow: Flow): void {
    this.host.events();
    this.host.core.setOption(flow.handle, L.OPT_QUICKACK, 1);
    this.host.core.setOption(flow.handle, L.OPT_NODELAY, 1);
    this.#flows.push(flow);
    if (this.#flows.length > MOST_OPEN) this.#drop(this.#flows[0]);
  }

  #drop(flow: Flow): void {
    this.host.core.abort(flow.handle);
    this.host.take();
    this.#flows.splice(this.#flows.indexOf(flow), 1);
  }

  /** The options that a well-behaved peer would send. */
  #right(flow: Flow): Uint8Array {
    if (!flow.timestamps) return new Uint8Array();
    const bytes = new Uint8Array([1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
    const dv = new DataView(bytes.buffer);
    dv.setUint32(4, flow.tsRecent);
    dv.setUint32(8, flow.tsPeer);
    return bytes;
  }

  /** RFC 7323 §3.2 and §5.3: with timestamps agreed on, a segment needs one that is not older than the last. */
  #acceptable(flow: Flow, meaning: Meaning): boolean {
    if (!flow.timestamps) return true;
    return meaning.timestamps !== null && distance(flow.tsRecent, meaning.timestamps.value) >= 0;
  }

  /** A byte of data, an ACK or a FIN with any options. */
  probe(): void {
    if (this.#flows.length === 0) return;
    const { r } = this;
    const flow = r.pick(this.#flows);
    const before = this.#info(flow.handle);
    if (!before) return;
    const options = someOptions(r, this.#plausible(flow));
    const meaning = readOptions(options);
    const isFin = !flow.finSent && r.oneIn(20);
    const payload = !flow.finSent && r.oneIn(2) ? Uint8Array.of(1) : new Uint8Array();
    const isAccepted = this.#acceptable(flow, meaning);
    this.#send(flow, F.ACK | (isFin ? F.FIN : 0), flow.seq, options, payload);
    if (isAccepted) {
      flow.seq = (flow.seq + payload.length + (isFin ? 1 : 0)) >>> 0;
      if (isFin) flow.finSent = true;
      if (flow.timestamps && meaning.timestamps) flow.tsRecent = meaning.timestamps.value;
    }
    if (flow.sack && flow.segments.length > 0) this.#assertSacked(flow, meaning, before.sacked, isAccepted);
    this.#heard(flow);
    this.#assertInStep(flow);
  }

  #assertSacked(flow: Flow, meaning: Meaning, before: number, isAccepted: boolean): void {
    const sacked = this.#info(flow.handle)?.sacked ?? 0;
    const expected = isAccepted ? sackedBytes(flow.segments, meaning.sack, flow.nxt) : 0;
    // Everything starts anew after each comparison: the flight is acknowledged.
    assert.is(sacked - before, expected, 'bytes selectively acknowledged');
    flow.una = flow.nxt;
    flow.segments = [];
    this.#send(flow, F.ACK, flow.seq, this.#right(flow));
  }

  /** A byte that was acknowledged before draws an ACK that tells what the core expects and echoes. */
  #assertInStep(flow: Flow): void {
    this.#send(flow, F.ACK, (flow.seq - 1) >>> 0, this.#right(flow), Uint8Array.of(1));
    const answers = this.#heard(flow);
    const last = answers[answers.length - 1];
    assert.ok(last, 'old data is acknowledged');
    assert.is(last.segment.ack, flow.seq, 'the next number expected');
    assert.is(last.meaning.timestamps !== null, flow.timestamps);
    if (last.meaning.timestamps) assert.is(last.meaning.timestamps.echo, flow.tsRecent, 'the timestamp echoed');
  }

  /** The core has data under way. */
  write(): void {
    if (this.#flows.length === 0) return;
    const { core } = this.host;
    const flow = this.r.pick(this.#flows);
    if (flow.segments.length > 0) return;
    const length = this.r.pick([100, 3000, 12_000]);
    const addr = core.alloc(length);
    if (addr === 0) return;
    core.u8.fill(7, addr, core.objectEnd(addr));
    core.send(flow.handle, addr, length);
    core.free(addr);
    core.flush(this.host.nowUs);
    for (const { segment } of this.#heard(flow)) {
      const end = (segment.seq + segment.payload.length) >>> 0;
      if (segment.payload.length === 0 || distance(flow.nxt, segment.seq) !== 0) continue;
      flow.segments.push([segment.seq, end]);
      flow.nxt = end;
    }
  }

  /** Our side is closed, or reads what there is. */
  app(): void {
    if (this.#flows.length === 0) return;
    const { core } = this.host;
    const flow = this.r.pick(this.#flows);
    for (
      let pieces = core.recv(flow.handle, core.scratch, 64);
      pieces > 0;
      pieces = core.recv(flow.handle, core.scratch, 64)
    ) {
      const list = Array.from({ length: pieces }, (_, i) => core.u32[(core.scratch >> 2) + 2 * i]);
      for (const addr of list) assert.is(core.free(addr), 0);
    }
    if (flow.segments.length > 0 || !this.r.oneIn(8)) return;
    core.shutdown(flow.handle);
    core.flush(this.host.nowUs);
    for (const { segment } of this.#heard(flow)) if (segment.flags & F.FIN) flow.nxt = (flow.nxt + 1) >>> 0;
    if (this.r.oneIn(2)) {
      flow.una = flow.nxt;
      this.#send(flow, F.ACK, flow.seq, this.#right(flow));
    }
    this.#drop(flow);
  }

  step(): void {
    const kind = this.r.below(12);
    if (kind === 0 || this.#flows.length === 0) this.open();
    else if (kind === 1) this.connect();
    else if (kind < 4) this.write();
    else if (kind < 6) this.app();
    else this.probe();
    this.host.nowUs += this.r.pick([0, 1000, 5000]);
  }

  end(): void {
    const { core } = this.host;
    while (this.#flows.length > 0) this.#drop(this.#flows[0]);
    core.close(this.#listener);
    for (let i = 0; i < 60; i++) {
      this.host.nowUs += 10e6;
      this.host.poll();
      this.host.take();
      this.host.events();
    }
    assertEmpty(this.host);
  }
}

export const options: Target = {
  name: 'options',
  purpose: 'TCP options of every kind and shape in every state, against a reference',
  steps: 300,
  mostSteps: 600,
  inputs: 300,
  reaches: [
    'TcpActiveOpens',
    'TcpPassiveOpens',
    'TcpExtTCPBadOptions',
    'TcpExtPAWSEstab',
    'TcpExtTCPSACKDiscard',
    'TcpExtTCPHPHits',
    'TcpOutRsts',
  ],
  run(tape, cores) {
    if (!tape.next()) return;
    const prober = new Prober(tape, cores);
    while (tape.next()) prober.step();
    prober.end();
  },
};
