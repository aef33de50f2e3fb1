// Runs a script: each event at its time, calls and injected packets done, expected packets waited for.
import { constants as os } from 'node:os';
import { infoField } from './assertions.js';
import {
  type CallEvent,
  type IcmpPacket,
  Mismatch,
  type PacketEvent,
  type Script,
  type TcpPacket,
  type Time,
  type TimedEvent,
  Unsupported,
} from './ast.js';
import { busyField } from './busy.js';
import { type PythonValue, runCode } from './code.js';
import { withCookies } from './cookies.js';
import { difference, type Flow, newFlow, sentText, toWire } from './flow.js';
import { icmpNumbers } from './icmp.js';
import { createMachine, type Machine } from './machine.js';
import { parseScript } from './parse.js';
import { applyOptions, defaultSettings } from './settings.js';
import { applyShell } from './shell.js';
import { type Attempt, callNames, createSockets, type Sockets } from './sockets.js';
import { flagsFrom, icmpFrame, ipHeaderBytes, type SentSegment, tcpFrame } from './wire.js';

export type Verdict = 'pass' | 'fail' | 'unsupported';

export interface ScriptResult {
  verdict: Verdict;
  /** Where a script failed or what it asks for stands; null for one that passed. */
  line: number | null;
  reason: string | null;
  /** What assertions printed. */
  printed: string[];
}

/** A packet expected at any time, or a call that may block for as long as it likes, is waited for this long. */
const FOREVER_US = 600_000_000;
const FIRST_REMOTE_PORT = 53055;
const MORE_FIN = flagsFrom('P') | flagsFrom('F');

const errnoNames = new Map(Object.entries(os.errno).map(([name, value]) => [value, name]));
// One number, two names: Linux's own comes first.
errnoNames.set(os.errno.EAGAIN, 'EAGAIN').set(os.errno.EOPNOTSUPP, 'EOPNOTSUPP');

interface Pending {
  readonly attempt: Attempt;
  readonly event: CallEvent;
  readonly line: number;
  /** When it may end. */
  readonly fromUs: number;
  readonly untilUs: number;
}

export interface ScriptOptions {
  /** Where the script's file is: shell scripts that it calls are looked for from there. */
  directory?: string;
}

/** Runs the script in `text` on a core of its own. */
export function runScript(text: string, options: ScriptOptions = {}): ScriptResult {
  const printed: string[] = [];
  try {
    execute(parseScript(text), printed, options.directory ?? null);
    return { verdict: 'pass', line: null, reason: null, printed };
  } catch (error) {
    if (error instanceof Unsupported)
      return { verdict: 'unsupported', line: error.line, reason: error.message, printed };
    if (error instanceof Mismatch) return { verdict: 'fail', line: error.line, reason: error.message, printed };
    throw error;
  }
}

/** Before anything runs: a script that cannot be run to its end says so instead of failing on the way. */
function checkSupport(script: Script): void {
  for (const { event, line } of script.events) {
    if (event.kind === 'call' && !callNames.has(event.name)) throw new Unsupported(line, `the call ${event.name}()`);
  }
}

function execute(script: Script, printed: string[], directory: string | null): void {
  checkSupport(script);
  const settings = defaultSettings();
  applyOptions(settings, script.options);
  let machine: Machine | null = null;
  for (const { command, line } of script.setup) shell(command, line);
  const { toleranceUs } = settings;

  let sockets: Sockets | null = null;
  let flow: Flow | null = null;
  let listenPort = settings.bindPort;
  let remotePort = FIRST_REMOTE_PORT;
  let pending: Pending | null = null;
  let attempting = false;
  const variables = new Map<string, PythonValue>();

  /** Microseconds that the command sleeps. */
  function shell(command: string, line: number): number {
    const sleepUs = applyShell({ settings, directory, line, running: machine !== null }, command);
    machine?.reconfigure();
    return sleepUs;
  }

  function start(): { machine: Machine; sockets: Sockets } {
    if (machine !== null && sockets !== null) return { machine, sockets };
    machine = createMachine(settings, (handle, kind, a) => sockets?.onEvent(handle, kind, a), turned);
    sockets = createSockets(machine, settings, {
      listening(port) {
        listenPort = port;
        flow = null;
      },
      connecting() {
        flow = null;
      },
    });
    return { machine, sockets };
  }

  // ---- calls ----

  function turned(): void {
    sockets?.onTurn();
    retryPending();
  }

  function retryPending(): void {
    if (pending === null || attempting) return;
    const { attempt, event, line, fromUs, untilUs } = pending;
    // A write lets the core send on the way.
    attempting = true;
    let result: number | null;
    try {
      result = attempt();
    } finally {
      attempting = false;
    }
    if (result === null) return;
    pending = null;
    const at = machine?.nowUs() ?? 0;
    if (at < fromUs || at > untilUs) {
      throw new Mismatch(line, `${event.name}() ended at ${time(at)}, expected ${time(fromUs + toleranceUs)}`);
    }
    checkResult(event, line, result);
  }

  function settlePending(): void {
    if (pending === null) return;
    const { event, line, untilUs } = pending;
    start().machine.advance(untilUs, () => pending === null);
    if (pending !== null) throw new Mismatch(line, `${event.name}() still blocks at ${time(start().machine.nowUs())}`);
  }

  function call(event: CallEvent, line: number, atUs: number): void {
    settlePending();
    const run = start();
    const attempt = run.sockets.call(event, line);
    const end = event.endUs;
    if (end === null) {
      // A call that is not said to block may take as long as the tolerance allows.
      pending = { attempt, event, line, fromUs: 0, untilUs: atUs + toleranceUs };
      run.machine.turn();
      settlePending();
      return;
    }
    pending = { attempt, event, line, fromUs: end - toleranceUs, untilUs: end + toleranceUs };
    run.machine.turn();
  }

  function checkResult(event: CallEvent, line: number, result: number): void {
    const got = result < 0 ? `-1 ${errnoNames.get(-result) ?? -result}` : String(result);
    if (event.errno !== null) {
      if (got !== `-1 ${event.errno}`) throw new Mismatch(line, `${event.name}() gives ${got}, not -1 ${event.errno}`);
    } else if (event.result.kind === 'number' && event.result.value !== (result < 0 ? -1 : result)) {
      throw new Mismatch(line, `${event.name}() gives ${got}, not ${event.result.value}`);
    } else if (event.result.kind === 'symbol') throw new Unsupported(line, `the name ${event.result.name}`);
  }

  // ---- packets ----

  function inject(packet: TcpPacket, event: PacketEvent): void {
    const run = start();
    flow ??= newFlow(listenPort, remotePort++);
    if (packet.flags.includes('S') && !packet.flags.includes('.')) flow.opening = true;
    const ecn = event.ecn === null ? 0 : ecnBits[event.ecn];
    const marks = { tos: (event.tos ?? 0) | ecn, ttl: event.ttl ?? 255, flowLabel: event.flowLabel ?? 0 };
    const ports = { src: flow.remotePort, dst: flow.localPort };
    const whole = withCookies(packet, settings.fastOpenKey, run.machine.ends);
    run.machine.inject(tcpFrame(run.machine.ends, ports, toWire(flow, whole), marks));
  }

  function injectIcmp(packet: IcmpPacket, line: number): void {
    const run = start();
    const { type, code } = icmpNumbers(packet, settings.ipVersion === 'ipv6', line);
    const quoted = lastSent;
    if (quoted === null) throw new Mismatch(line, 'there is no packet of the core that an ICMP error could quote');
    const bytes = Uint8Array.from(quoted.packet);
    if (packet.quotedSeq !== null && flow !== null) {
      new DataView(bytes.buffer).setUint32(ipHeaderBytes(run.machine.ends) + 4, (packet.quotedSeq + flow.offset) >>> 0);
    }
    run.machine.inject(icmpFrame(run.machine.ends, type, code, packet.mtu, bytes));
  }

  let lastSent: SentSegment | null = null;

  /** The next segment of the script's connection, waiting until `untilUs`. */
  function nextSent(untilUs: number): SentSegment | null {
    const run = start();
    const { sent } = run.machine;
    const found = (): boolean => {
      for (; sent.length > 0; sent.shift()) {
        const [first] = sent;
        if (flow === null && (first.flags & flagsFrom('S.')) === flagsFrom('S'))
          flow = newFlow(first.srcPort, first.dstPort);
        if (flow !== null && first.srcPort === flow.localPort && first.dstPort === flow.remotePort) return true;
      }
      return false;
    };
    if (!found()) run.machine.advance(untilUs, found);
    return found() ? (sent.shift() ?? null) : null;
  }

  function expectPacket(written: TcpPacket, event: PacketEvent, line: number, range: readonly [number, number]): void {
    const [fromUs, untilUs] = range;
    const packet = withCookies(written, settings.fastOpenKey, start().machine.ends);
    const first = nextSent(untilUs);
    if (first === null) throw new Mismatch(line, `no packet until ${time(untilUs)}`);
    const whole = joined(first, packet, untilUs);
    lastSent = first;
    const wrong = flow === null ? null : difference(flow, packet, whole, settings.tsTickUs);
    if (wrong !== null) throw new Mismatch(line, `${wrong}: ${sentText(flow, whole)} at ${time(whole.atUs)}`);
    if (first.atUs < fromUs || first.atUs > untilUs) {
      const when = fromUs === untilUs ? time(fromUs) : `${time(Math.max(fromUs, 0))} to ${time(untilUs)}`;
      throw new Mismatch(line, `sent at ${time(first.atUs)}, expected from ${when}: ${sentText(flow, whole)}`);
    }
    const marks = marksDifference(event, first);
    if (marks !== null) throw new Mismatch(line, `${marks}: ${sentText(flow, whole)}`);
  }

  /** One segment larger than the MSS, as a device with segmentation offload shows it, from a run of smaller ones. */
  function joined(first: SentSegment, expected: TcpPacket, untilUs: number): SentSegment {
    let whole = first;
    while (whole.length < expected.length && first.length > 0) {
      const next = nextSent(untilUs);
      if (next === null) break;
      const fits = next.seq === (whole.seq + whole.length) >>> 0 && whole.length + next.length <= expected.length;
      if (!fits || (next.flags | MORE_FIN) !== (first.flags | MORE_FIN)) {
        start().machine.sent.unshift(next);
        break;
      }
      // Within the run PSH may stand anywhere; what counts is the end.
      whole = { ...whole, flags: next.flags, length: whole.length + next.length };
    }
    // Linux before 5.5 did not have it behind every packet of several segments; a script of that time is as good.
    const bare = whole !== first && !expected.flags.includes('P') && !(whole.flags & flagsFrom('F'));
    return bare ? { ...whole, flags: whole.flags & ~flagsFrom('P') } : whole;
  }

  // ---- events ----

  /** When the event is due, and the range of times that an expected packet may have. */
  function due(t: Time): { atUs: number; range: [number, number] } {
    if (t.kind === 'any') {
      const now = machine?.nowUs() ?? 0;
      return { atUs: now, range: [Number.NEGATIVE_INFINITY, now + FOREVER_US] };
    }
    const offset = relativeTo(t);
    const atUs = t.us + offset;
    const endUs = 'endUs' in t ? t.endUs + offset : atUs;
    return { atUs, range: [atUs - toleranceUs, endUs + toleranceUs] };
  }

  function run({ event, line, time: t }: TimedEvent): void {
    const { atUs, range } = due(t);
    const expected = event.kind === 'packet' && event.direction === 'out' ? event.packet : null;
    const now = machine?.nowUs() ?? 0;
    const base = relativeTo(t);
    if (expected?.kind === 'tcp') {
      expectPacket(expected, event as PacketEvent, line, range);
      return;
    }
    // The first event does not start the core's clock by itself: shell commands may still change its configuration.
    if (machine !== null && atUs > now) machine.advance(atUs);
    if (event.kind === 'shell') {
      const sleepUs = shell(event.command, line);
      if (sleepUs > 0) start().machine.advance(Math.max(atUs, now) + sleepUs);
    } else {
      if (machine === null && atUs > 0) start().machine.advance(atUs);
      if (event.kind === 'code') runAssertions(event.text, event.line);
      else if (event.kind === 'call') call(absoluteEnd(event, base), line, Math.max(atUs, now));
      else if (event.packet.kind === 'tcp') inject(event.packet, event);
      else injectIcmp(event.packet, line);
    }
  }

  /** What relative times count from: the moment at which the event before was done. */
  function relativeTo(t: Time): number {
    return t.kind === 'relative' || t.kind === 'relative-range' ? (machine?.nowUs() ?? 0) : 0;
  }

  /** The end of a blocking call counts like its start. */
  function absoluteEnd(event: CallEvent, base: number): CallEvent {
    return event.endUs === null ? event : { ...event, endUs: event.endUs + base };
  }

  function runAssertions(text: string, line: number): void {
    const run = start();
    run.machine.turn();
    const s = run.sockets.underTest();
    runCode(text, line, {
      variables,
      lookUp: (name) => (s && busyField(s, name)) ?? infoField(run.machine, s?.handle ?? 0, name),
      print: (said) => printed.push(said),
    });
  }

  for (const event of script.events) {
    try {
      run(event);
    } catch (error) {
      if (error instanceof Unsupported || error instanceof Mismatch) throw error;
      const { message, code } = error as NodeJS.ErrnoException;
      // A configuration that cannot be is the script's; anything else, a trap first of all, is ours.
      if (code === 'ERR_LUNET_CORE') throw new Unsupported(event.line, message);
      throw new Mismatch(event.line, `the core failed: ${message}`);
    }
  }
  settlePending();
}

const ecnBits = { noecn: 0, ect1: 1, ect0: 2, ect01: 2, ce: 3 } as const;

function marksDifference(event: PacketEvent, sent: SentSegment): string | null {
  const ecn = sent.tos & 3;
  if (event.ecn === 'ect01' ? ecn !== 1 && ecn !== 2 : event.ecn !== null && ecn !== ecnBits[event.ecn]) {
    return `the ECN bits are ${ecn}`;
  }
  if (event.tos !== null && (event.tos & ~3) !== (sent.tos & ~3)) return `the TOS is 0x${sent.tos.toString(16)}`;
  if (event.flowLabel !== null && event.flowLabel !== sent.flowLabel) return `the flow label is ${sent.flowLabel}`;
  return event.ttl !== null && event.ttl !== sent.ttl ? `the TTL is ${sent.ttl}` : null;
}

function time(us: number): string {
  return `${(us / 1_000_000).toFixed(6)} s`;
}
