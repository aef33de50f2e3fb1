// Two cores and a middle that means harm: it reorders, drops, repeats, damages, cuts, rewrites and forges. Whatever it
// does, the bytes that arrive are a prefix of those that were sent, except where it forged acceptable ones; and once it
// has become an ordinary path, every connection finishes or reports an error, and nothing is left.
import * as assert from 'uvu/assert';
import * as L from '../../../../src/host/core/layout.js';
import * as F from '../../../helpers/frames.js';
import { someConfig } from '../config.js';
import { assertEmpty, type Cores } from '../cores.js';
import { Apps, type Connection, type End, MACS, PORT } from '../middle/app.js';
import * as M from '../middle/frame.js';
import type { TapeReader } from '../tape.js';
import type { Target } from '../target.js';

const MOST_CONNECTIONS = 6;
const MOST_ARCHIVED = 32;
const DELAY_US = 500;
/** Virtual time that the middle's harm may last: less than what makes a sender give up. */
const HARM_US = 40e6;
/** Frames after which a middle that does no harm any more must have seen the last one. */
const MOST_PEACEFUL_FRAMES = 30_000;
const PEACE_US = 3600e6;

interface Flight {
  to: number;
  frame: Uint8Array;
}

class Middle {
  readonly apps: Apps;
  readonly r: TapeReader;
  readonly #cores: Cores;
  #flights: Flight[] = [];
  readonly #archive: Flight[] = [];
  harmUs = 0;

  constructor(r: TapeReader, cores: Cores) {
    this.r = r;
    this.#cores = cores;
    // Timers long enough for what the middle does while it harms.
    const patient = { synRetries: 12, synackRetries: 12, retries: 40, rtoMaxUs: 5_000_000 };
    this.apps = new Apps(r, cores, () => ({ ...someConfig(r), ...patient, maxConnections: 32 }));
  }

  #connectionOf(frame: Uint8Array): Connection | undefined {
    const dv = M.view(frame);
    const tcp = M.tcpAt(frame);
    const port = dv.getUint16(tcp) === PORT ? dv.getUint16(tcp + 2) : dv.getUint16(tcp);
    return this.apps.connections.find((connection) => connection.port === port);
  }

  /** What the cores have sent is on its way. */
  collect(): void {
    for (const from of [0, 1]) {
      const host = this.apps.hosts[from];
      host.core.flush(this.apps.nowUs);
      for (const frame of host.take()) {
        this.#cores.note(frame);
        if (M.isTcp(frame) && M.flagsOf(frame) & F.SYN) {
          const end = this.#connectionOf(frame)?.ends[from];
          if (end) end.isn = M.view(frame).getUint32(M.tcpAt(frame) + 4);
        }
        this.#flights.push({ to: 1 - from, frame });
      }
    }
  }

  deliver({ to, frame }: Flight): void {
    this.apps.hosts[to].inject(frame);
    this.apps.serve();
    this.collect();
  }

  pass(us: number): void {
    this.apps.nowUs += us;
    for (const host of this.apps.hosts) {
      host.nowUs = this.apps.nowUs;
      host.poll();
    }
    this.apps.serve();
    this.collect();
  }

  /** Marks what a frame that is not as its sender made it may do to its connection. */
  #account(to: number, frame: Uint8Array, harm: M.Harm): void {
    if (harm === 'path') return;
    const connection = this.#connectionOf(frame);
    if (!connection) return;
    connection.tainted = true;
    const from = connection.ends[1 - to];
    const established = connection.ends[to].handle > 0 && !connection.ends[to].blocked;
    if (M.flagsOf(frame) & F.SYN || from.isn === null || !established) connection.lost = true;
    if (harm !== 'data' || from.isn === null) return;
    const { length } = M.payloadOf(frame);
    const start = (M.view(frame).getUint32(M.tcpAt(frame) + 4) - from.isn - 1) | 0;
    from.forged.push([start, start + length]);
  }

  #take(): Flight | undefined {
    if (this.#flights.length === 0) return undefined;
    const index = this.r.oneIn(2) ? 0 : this.r.below(this.#flights.length);
    return this.#flights.splice(index, 1)[0];
  }

  /** One act of harm to a frame that is under way. */
  harm(): void {
    const flight = this.#take();
    if (flight) for (const frame of this.#harmed(flight)) this.deliver({ to: flight.to, frame });
  }

  /** What becomes of a frame. */
  #harmed(flight: Flight): Uint8Array[] {
    const { r } = this;
    const { to } = flight;
    const frame = flight.frame.slice();
    const kind = r.below(9);
    if (kind === 0) return [];
    if (kind === 1) {
      // Once more, whenever.
      this.#flights.splice(r.below(this.#flights.length + 1), 0, flight);
    } else if (kind === 2) {
      if (this.#archive.length < MOST_ARCHIVED) this.#archive.push(flight);
      else this.#archive[r.below(MOST_ARCHIVED)] = flight;
    } else if (kind === 3) {
      M.damage(frame, r);
    } else if (kind === 4) {
      return [frame.subarray(0, r.below(frame.length))];
    } else if (M.isTcp(frame)) {
      if (kind === 5) return M.fragment(frame, r);
      this.#account(to, frame, M.rewrite(frame, r));
    }
    return [frame];
  }

  /** A segment that nobody sent, as one who sees the connection would make it. */
  forge(): void {
    const { r } = this;
    const connection = this.apps.connections.length > 0 ? r.pick(this.apps.connections) : undefined;
    if (!connection) return;
    const to = r.below(2);
    const [from, target] = [connection.ends[1 - to], connection.ends[to]];
    if (from.isn === null || target.isn === null) return;
    const sent = from.isn + 1 + from.written;
    const payload = r.bytes(r.pick([0, 0, 1, 100, 1400]));
    const flags = r.pick([F.ACK, F.ACK, F.ACK | F.PSH, F.RST, F.RST | F.ACK, F.FIN | F.ACK, F.SYN, F.SYN | F.ACK]);
    // Numbers past all that was sent, so that an RST is not the exact one; or any in or about the window.
    const blind = r.oneIn(2);
    const seq = blind ? sent + 2 + r.below(3000) : from.isn + 1 + r.below(from.written + 2) + r.pick([0, 0, -1, 1]);
    const written = target.isn + 1 + target.written;
    // RFC 5961 §5.2: an acknowledgement of what was never sent makes the segment void.
    const ack = blind ? written + 100_000 + r.below(1e6) : target.isn + 1 + r.below(target.written + 2);
    const frame = F.tcpFrame(
      {
        srcPort: to === 1 ? connection.port : PORT,
        dstPort: to === 1 ? PORT : connection.port,
        seq,
        ack: flags & F.ACK ? ack : 0,
        flags,
        window: r.pick([0, 1, 1000, 65535]),
        options: this.#options(),
        payload: flags & F.SYN ? new Uint8Array() : payload,
      },
      to === 1 ? [10, 0, 0, 1] : [10, 0, 0, 2],
      to === 1 ? [10, 0, 0, 2] : [10, 0, 0, 1],
    );
    frame.set(MACS[to], 0);
    frame.set(MACS[1 - to], 6);
    const state = this.#state(target);
    const synchronised = state === L.TCP_ESTABLISHED || state === L.TCP_CLOSE_WAIT;
    if (!(blind && synchronised)) this.#account(to, frame, 'data');
    this.deliver({ to, frame });
  }

  /** Timestamps that pass, fail or are not there. */
  #options(): Uint8Array {
    const { r } = this;
    const ms = Math.floor(this.apps.nowUs / 1000) + r.pick([0, 0, -100_000, 1_000_000]);
    const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
    return r.oneIn(2) ? new Uint8Array() : Uint8Array.from([1, 1, 8, 10, ...word(ms), ...word(r.u32())]);
  }

  #state(end: End): number {
    const { core } = this.apps.hosts[end.side];
    return core.info(end.handle, core.scratch) < 0 ? 0 : core.dv.getUint32(core.scratch + L.INFO_state, true);
  }

  /** An ICMP error about a frame under way. */
  icmp(): void {
    const { r } = this;
    const flight = this.#take();
    if (!flight) return;
    this.#flights.unshift(flight);
    if (!M.isTcp(flight.frame)) return;
    const { to } = flight;
    const [type, code, mtu] = r.pick([
      [3, 4, r.pick([0, 68, 296, 576, 1400, 65535])],
      [3, 1, 0],
      [3, 3, 0],
      [11, 0, 0],
      [4, 0, 0],
    ]);
    const frame = F.icmpError(type, code, mtu, flight.frame.slice(14, 14 + r.pick([28, 40, 60])));
    frame.set(MACS[1 - to], 0);
    frame.set([10, 0, 0, 1 + to], 26);
    frame.set([10, 0, 0, 2 - to], 30);
    F.fixChecksums(frame);
    // Advice about a path, except that it may end a connection that is not open yet (RFC 5461).
    const connection = this.#connectionOf(flight.frame);
    if (type === 3 && code !== 4 && connection) connection.tainted = true;
    this.deliver({ to: 1 - to, frame });
  }

  /** The applications do something. */
  act(): void {
    const { r, apps } = this;
    if (apps.connections.length === 0 || (apps.connections.length < MOST_CONNECTIONS && r.oneIn(4))) {
      apps.connect(r.pick([0, 1, 3000, 20_000, 100_000]), r.pick([0, 1, 3000, 20_000, 100_000]));
      return;
    }
    const connection = r.pick(apps.connections);
    const end = connection.ends[r.below(2)];
    switch (r.below(8)) {
      case 0:
        connection.tainted = true;
        apps.leave(end, r.oneIn(2) ? 'abort' : 'close');
        break;
      case 1:
      case 2:
        end.paused = true;
        break;
      case 3:
      case 4:
        this.resume(end);
        break;
      default:
        if (end.handle > 0 && !end.gone) {
          const { core } = apps.hosts[end.side];
          const [option, value] = r.pick([
            [L.OPT_NODELAY, 1],
            [L.OPT_QUICKACK, 1],
            [L.OPT_RCV_BUF_BYTES, r.pick([2048, 20_000, 300_000])],
            [L.OPT_SND_BUF_BYTES, r.pick([2048, 20_000, 300_000])],
            [L.OPT_CONGESTION, r.below(3)],
          ]);
          assert.ok(core.setOption(end.handle, option, value) >= 0);
        }
    }
    apps.serve();
    this.collect();
  }

  resume(end: End): void {
    if (!end.paused) return;
    end.paused = false;
    if (end.gone || end.handle <= 0) return;
    this.apps.drain(end);
    this.apps.settle(end);
  }

  replay(): void {
    if (this.#archive.length === 0) return;
    const { to, frame } = this.r.pick(this.#archive);
    this.deliver({ to, frame: frame.slice() });
  }

  step(): void {
    const { r } = this;
    const kind = r.below(16);
    if (kind < 5) {
      for (let left = r.pick([1, 2, 4, 16]); left > 0; left--) {
        const flight = this.#flights.shift();
        if (flight) this.deliver(flight);
      }
    } else if (kind < 9) this.harm();
    else if (kind === 9) this.forge();
    else if (kind === 10) this.icmp();
    else if (kind === 11) this.replay();
    else if (kind < 14) this.act();
    const us = r.pick([0, 10, 200, 1000, 5000, r.oneIn(4) ? 3e5 : 4e4, r.oneIn(20) ? 2e6 : 1000]);
    if (this.harmUs + us > HARM_US) return;
    this.harmUs += us;
    this.pass(us);
  }

  /** An ordinary path from here on, to the end of every connection. */
  peace(): void {
    const { apps } = this;
    for (const { ends } of apps.connections) {
      for (const end of ends) {
        this.resume(end);
        if (end.handle > 0 && !end.gone) apps.hosts[end.side].core.setOption(end.handle, L.OPT_KEEPALIVE, 1);
        if (end.handle > 0 && !end.gone) apps.hosts[end.side].core.setOption(end.handle, L.OPT_KEEPALIVE_TIME_US, 30e6);
      }
    }
    const startUs = apps.nowUs;
    let frames = 0;
    let isPatient = true;
    for (;;) {
      const arrivals = this.#flights;
      this.#flights = [];
      frames += arrivals.length;
      assert.ok(frames < MOST_PEACEFUL_FRAMES, 'the cores come to rest');
      for (const { to, frame } of arrivals) apps.hosts[to].inject(frame);
      apps.serve();
      this.collect();
      const dueUs = Math.min(...apps.hosts.map((host) => host.poll()));
      this.collect();
      if (this.#flights.length > 0) {
        this.pass(DELAY_US);
        continue;
      }
      if (dueUs === Number.POSITIVE_INFINITY) break;
      assert.ok(apps.nowUs < startUs + PEACE_US, 'the last timer is done within an hour');
      // What cannot go on because of a forged acknowledgement goes on for ever: an application would give up.
      if (isPatient && apps.nowUs > startUs + PEACE_US / 4) {
        isPatient = false;
        for (const connection of apps.connections) {
          if (!connection.tainted) apps.assertFinished(connection);
          for (const end of connection.ends) apps.leave(end, 'abort');
        }
      }
      this.pass(Math.max(1, Math.ceil(dueUs - apps.nowUs)));
    }
    for (const connection of apps.connections) {
      if (!connection.tainted) apps.assertFinished(connection);
      for (const end of connection.ends) {
        assert.ok(end.gone || end.handle === 0 || connection.tainted, 'every connection has come to an end');
        apps.leave(end, 'abort');
      }
    }
  }
}

export const middle: Target = {
  name: 'middle',
  purpose: 'two cores with a hostile middle',
  steps: 300,
  mostSteps: 800,
  inputs: 400,
  reaches: [
    'TcpActiveOpens',
    'TcpPassiveOpens',
    'TcpRetransSegs',
    'TcpInCsumErrors',
    'TcpOutRsts',
    'TcpEstabResets',
    'TcpExtTCPOFOQueue',
    'TcpExtPAWSEstab',
    'TcpExtTCPDSACKOldSent',
    'TcpExtTCPDSACKRecv',
    'TcpExtTCPSackRecovery',
    'TcpExtTCPChallengeACK',
    'TcpExtTCPSYNChallenge',
    'TcpExtTCPTimeouts',
    'TcpExtTCPTimeWait',
    'TcpExtTCPZeroWindowProbe',
    'TcpExtTCPLossProbes',
    'IcmpInDestUnreachs',
  ],
  run(tape, cores) {
    if (!tape.next()) return;
    const session = new Middle(tape, cores);
    session.pass(0);
    while (tape.next()) session.step();
    session.peace();
    for (const host of session.apps.hosts) {
      host.take();
      assertEmpty(host);
    }
  },
};
