// The swarm: for each seed two cores with settings of their own, a path that loses, delays, reorders, duplicates,
// corrupts and vanishes, clocks that jump, processes that sleep, and connections of all sizes and habits. After a while
// the path becomes good, and then everything must come to its end. What must hold, always:
//
//   the bytes an application reads are those that were sent, in order, from the first on
//   a connection that ended in good order at both ends has delivered everything
//   every connection ends, unless the other end is gone and nothing is owed to it
//   a core that owes something has a timer: no deadline is lost
//   at the end nothing is held: no Zbuf object, no receive object, no slot
import type { CoreBuild, CoreConfig } from '../core/core.js';
import * as L from '../core/layout.js';
import { profiles } from '../profiles.js';
import { type EndPlan, Endpoint, type EndWorld } from './endpoint.js';
import { type SimHost, simConfig } from './host.js';
import type { Loss, Path, PathOptions } from './path.js';
import { type Random, random } from './random.js';
import { createSimulation, type Simulation } from './simulation.js';

/** Ways to break the world, to see that the invariants notice. */
export const sabotages = ['forge', 'leak', 'timers'] as const;
export type Sabotage = (typeof sabotages)[number];

export interface SwarmOptions {
  seed: number;
  build?: CoreBuild;
  captureFolder?: string;
  sabotage?: Sabotage;
}

export interface SwarmResult {
  seed: number;
  violations: string[];
  summary: string;
  /** Virtual seconds until everything had ended. */
  seconds: number;
  bytes: number;
  retransmitted: number;
}

const SECOND_US = 1e6;
/** How long an application waits for an end that will never tell it. */
const PATIENCE_US = 900 * SECOND_US;
const LIMIT_US = 4000 * SECOND_US;
const PORT = 7000;

/** A number between the two, evenly on a logarithmic scale. */
function spread(r: Random, low: number, high: number): number {
  return Math.round(low * (high / low) ** (r.below(1 << 20) / (1 << 20)));
}

function coreSettings(r: Random, mtu: number): Partial<CoreConfig> {
  const profile = profiles[r.pick(['internet', 'linux', 'datacenter'] as const)];
  let flags = simConfig.flags;
  for (const bit of [L.CFGF_TIMESTAMPS, L.CFGF_SACK, L.CFGF_WINDOW_SCALE]) if (r.oneIn(4)) flags &= ~bit;
  let { tcpFlags } = profile;
  for (const bit of [L.CFGF_TLP, L.CFGF_FRTO, L.CFGF_PMTU_BLACK_HOLE, L.CFGF_ECN_REQUEST, L.CFGF_ECN_ACCEPT]) {
    if (r.oneIn(3)) tcpFlags ^= bit;
  }
  const rcvBufBytes = spread(r, 4096, 200_000);
  return {
    ...profile,
    flags,
    tcpFlags,
    congestion: r.pick([L.CC_RENO, L.CC_CUBIC, L.CC_DCTCP]),
    seed: BigInt(r.u32()),
    mtu,
    sndBufBytes: spread(r, 4096, 200_000),
    rcvBufBytes,
    rcvBufMaxBytes: r.oneIn(2) ? 0 : rcvBufBytes * 4,
    oooObjects: r.pick([4, 16, 64, 512]),
    maxConnections: 32,
    txRing: r.pick([32, 128, 1024]),
    segmentRecords: r.pick([64, 1024, 8192]),
    zones: 5,
    rxZones: 1,
  };
}

function lossOf(r: Random): Loss | null {
  switch (r.below(4)) {
    case 0:
      return { kind: 'random', probability: r.below(100) / 1000 };
    case 1:
      return { kind: 'burst', toBad: 0.01, toGood: 0.2 + r.below(50) / 100 };
    case 2:
      return { kind: 'periodic', every: 5 + r.below(100) };
    default:
      return null;
  }
}

function pathOptions(r: Random): PathOptions {
  const slow = r.oneIn(3);
  return {
    rateBps: slow ? spread(r, 200_000, 5e6) : spread(r, 5e6, 1e9),
    delayUs: spread(r, 10, 60_000),
    queuePackets: spread(r, 4, 400),
    whenFull: r.oneIn(4) ? 'wait' : 'drop',
    ...(r.oneIn(3) ? { markPackets: 2 + r.below(20) } : {}),
    loss: lossOf(r),
    reorder: r.oneIn(2) ? { probability: r.below(40) / 100, maxUs: spread(r, 10, 30_000) } : null,
    duplicateProbability: r.oneIn(3) ? r.below(20) / 100 : 0,
    corruptProbability: r.oneIn(3) ? r.below(5) / 100 : 0,
  };
}

function endPlan(r: Random): EndPlan {
  const send = r.oneIn(6) ? 0 : spread(r, 1, 500_000);
  const lazy = r.oneIn(4);
  return {
    send,
    chunk: spread(r, 1 + (send >> 8), 30_000),
    inline: r.oneIn(2),
    readEveryUs: lazy ? spread(r, 100, 200_000) : 0,
    readBytes: spread(r, 500, 60_000),
    finish: r.oneIn(6) ? 'abort' : r.oneIn(2) ? 'end' : 'close',
    abortAfter: r.below(send + 1),
  };
}

interface Connection {
  opener: Endpoint;
  /** Made when the listener accepts; null until then, for ever when the opening fails. */
  accepter: Endpoint | null;
  accepterPlan: EndPlan;
  from: SimHost;
  to: SimHost;
  atUs: number;
  id: number;
}

/** Changes two payload bytes of one segment in `every` and makes the checksum right again: what no path may do. */
function forger(simulation: Simulation, every: number, deliver: (slot: number) => void): (slot: number) => void {
  let count = 0;
  return (slot) => {
    const { frames } = simulation;
    const bytes = frames.bytes();
    const ip = slot * frames.stride + 14;
    const v4 = bytes[ip] >> 4 === 4;
    const word = (at: number): number => (bytes[at] << 8) | bytes[at + 1];
    const tcp = ip + (v4 ? 20 : 40);
    const end = v4 ? ip + word(ip + 2) : tcp + word(ip + 4);
    const isTcp = bytes[ip + (v4 ? 9 : 6)] === 6;
    if (isTcp && end - tcp - (bytes[tcp + 12] >> 4) * 4 > 2 && ++count % every === 0) {
      const at = end - 2 - ((end - tcp) & 1);
      const changed = word(at) ^ 0x0101;
      let sum = word(tcp + 16) + word(at) - changed;
      while (sum < 0) sum += 0xffff;
      sum = (sum & 0xffff) + (sum >>> 16);
      bytes[at] = changed >> 8;
      bytes[at + 1] = changed & 255;
      bytes[tcp + 16] = sum >> 8;
      bytes[tcp + 17] = sum & 255;
    }
    deliver(slot);
  };
}

/** Runs one seed to its end. */
export function runSwarm(options: SwarmOptions): SwarmResult {
  const { seed, sabotage } = options;
  const r = random(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995);
  const violations: string[] = [];
  const world: EndWorld = {
    violation: (text) => violations.length < 20 && violations.push(text),
    leak: sabotage === 'leak',
  };
  const simulation = createSimulation({
    seed,
    frameBytes: 2048,
    captureFolder: options.captureFolder ?? null,
  });
  const v6 = r.oneIn(2);
  const mtu = r.pick(v6 ? [1280, 1400, 1500] : [576, 1000, 1400, 1500]);
  const build = options.build ? { build: options.build } : {};
  const hosts = ['a', 'b'].map((name, i) =>
    simulation.host({
      name,
      address: v6 ? `fd00::${i + 1}/64` : `10.0.0.${i + 1}/24`,
      mac: `02:00:00:00:00:0${i + 1}`,
      config: coreSettings(r, mtu),
      ...build,
    }),
  );
  const deliver = hosts.map((host) => (sabotage === 'forge' ? forger(simulation, 10, host.receive) : host.receive));
  const paths = [simulation.path(pathOptions(r), deliver[1]), simulation.path(pathOptions(r), deliver[0])];
  hosts[0].egress = paths[0];
  hosts[1].egress = paths[1];
  simulation.introduce();

  const connections = planConnections(r, hosts, world);
  const byHandle = hosts.map(() => new Map<number, Endpoint>());
  wireUp(hosts, connections, byHandle, world);
  const troubleUs = disturb(r, simulation, hosts, paths, sabotage);

  let endUs = 0;
  const ended = (): boolean => connections.every((one) => isOver(one, simulation));
  while (simulation.nowUs() < LIMIT_US) {
    const before = simulation.nowUs();
    simulation.runUs(before < troubleUs ? 100_000 : Math.max(100_000, before / 8), ended);
    checkTimers(hosts, world);
    for (const connection of connections) patience(connection, simulation, troubleUs);
    if (ended()) {
      endUs = simulation.nowUs();
      break;
    }
  }
  for (const connection of connections) verdict(connection, world);
  if (endUs === 0) endUs = simulation.nowUs();
  // Listeners go, TIME-WAIT passes.
  for (const host of hosts) host.at(simulation.events.nowNs(), () => host.core.close(listenerOf(host)));
  simulation.runUs(400 * SECOND_US);
  checkEmpty(hosts, world);
  simulation.close();
  const sum = (counter: number): number => hosts.reduce((total, { core }) => total + core.counter(counter), 0);
  const bytes = connections.reduce(
    (total, { opener, accepter }) => total + opener.received + (accepter?.received ?? 0),
    0,
  );
  return {
    seed,
    violations,
    seconds: endUs / SECOND_US,
    bytes,
    retransmitted: sum(L.CNT_TcpRetransSegs),
    summary:
      `${connections.length} connections, ${bytes} bytes, ${sum(L.CNT_TcpRetransSegs)} retransmissions, ` +
      `${sum(L.CNT_TcpExtTCPTimeouts)} timeouts, IPv${v6 ? 6 : 4}, MTU ${mtu}, ended after ${(endUs / SECOND_US).toFixed(1)} s`,
  };
}

function planConnections(r: Random, hosts: readonly SimHost[], world: EndWorld): Connection[] {
  return Array.from({ length: 1 + r.below(8) }, (_, id) => {
    const side = r.below(2);
    const plan = endPlan(r);
    const accepterPlan = endPlan(r);
    const opener = new Endpoint(
      hosts[side],
      plan,
      `connection ${id} opener`,
      2 * id,
      2 * id + 1,
      accepterPlan.send,
      world,
    );
    return {
      opener,
      accepter: null,
      accepterPlan,
      from: hosts[side],
      to: hosts[1 - side],
      atUs: r.oneIn(2) ? 0 : r.below(2_000_000),
      id,
    };
  });
}

/** The one listener of a host. */
function listenerOf({ core }: SimHost): number {
  const { maxConnections, maxListeners } = core.config;
  for (let i = maxConnections; i < maxConnections + maxListeners; i++) {
    if (core.connectionAt(i, core.scratch) === 0) return core.dv.getUint32(core.scratch + L.INFO_handle, true);
  }
  return 0;
}

function wireUp(
  hosts: readonly SimHost[],
  connections: readonly Connection[],
  byHandle: readonly Map<number, Endpoint>[],
  world: EndWorld,
): void {
  for (const [i, host] of hosts.entries()) {
    const { core } = host;
    const accepted = (handle: number): void => {
      core.info(handle, core.scratch);
      // The opener's port says which connection it is.
      const id = core.dv.getUint32(core.scratch + L.INFO_remote_port, true) - 20_000;
      const connection = connections[id];
      if (!connection || connection.to !== host || connection.accepter) {
        core.abort(handle);
        return;
      }
      const end = new Endpoint(
        host,
        { ...connection.accepterPlan, inline: inlineListener(i) },
        `connection ${id} accepter`,
        2 * id + 1,
        2 * id,
        connection.opener.plan.send,
        world,
      );
      connection.accepter = end;
      byHandle[i].set(handle, end);
      end.attach(handle);
      end.write();
    };
    host.onEvent = (handle, kind, a, b) => {
      if (kind === L.EV_ACCEPT) {
        if (a !== 0) accepted(a);
        else for (let next = core.accept(handle); next > 0; next = core.accept(handle)) accepted(next);
        return;
      }
      const end = byHandle[i].get(handle);
      if (end && (end.handle === handle || end.over)) end.event(kind, a, b);
      else if (kind === L.EV_DATA && b !== 0) core.free(a);
    };
    host.at(0, () => {
      core.u8.fill(0, core.scratch, core.scratch + 16);
      core.listen(core.scratch, PORT, 8, inlineListener(i) ? L.SOCK_INLINE : 0);
    });
  }
  for (const { opener, from, to, atUs, id } of connections) {
    from.at(atUs * 1000, () => {
      const { core } = from;
      core.u8.set(to.address, core.scratch);
      const handle = core.connect(core.scratch, PORT, 0, 20_000 + id, opener.plan.inline ? L.SOCK_INLINE : 0);
      if (handle <= 0) {
        world.violation(`connection ${id} cannot be opened: ${handle}`);
        opener.over = 'error';
        return;
      }
      byHandle[from === hosts[0] ? 0 : 1].set(handle, opener);
      opener.attach(handle);
      // Some write before they are connected.
      if (id % 2 === 0) opener.write();
    });
  }
}

/** The first host's listener is inline, the second's is not. */
function inlineListener(host: number): boolean {
  return host === 0;
}

/** What happens to the path and the hosts meanwhile. Returns when it is over and the path good, µs. */
function disturb(
  r: Random,
  simulation: Simulation,
  hosts: readonly SimHost[],
  paths: readonly Path[],
  sabotage: Sabotage | undefined,
): number {
  const untilUs = spread(r, 500_000, 20_000_000);
  if (sabotage === 'timers') for (const host of hosts) host.stopTimers();
  const { events } = simulation;
  for (let i = r.below(4); i > 0; i--) {
    const path = r.pick(paths);
    const at = r.below(untilUs);
    events.at(at * 1000, () => path.change({ blackHole: true }));
    events.at((at + spread(r, 1000, 3_000_000)) * 1000, () => path.change({ blackHole: false }));
  }
  for (let i = r.below(3); i > 0; i--) {
    const host = r.pick(hosts);
    const jump = spread(r, 1000, 5_000_000);
    events.at(r.below(untilUs) * 1000, () => host.jump(jump));
  }
  for (let i = r.below(4); i > 0; i--) {
    const host = r.pick(hosts);
    const at = r.below(untilUs);
    const us = spread(r, 100, 1_000_000);
    events.at(at * 1000, () => host.pause((at + us) * 1000));
  }
  const calmUs = untilUs + 3_100_000;
  events.at(calmUs * 1000, () => {
    const good = { loss: null, reorder: null, duplicateProbability: 0, corruptProbability: 0, blackHole: false };
    for (const path of paths) path.change(good);
  });
  return calmUs;
}

/** The connection needs nothing more. */
function isOver({ opener, accepter, atUs }: Connection, simulation: Simulation): boolean {
  if (simulation.nowUs() < atUs || opener.over === '') return false;
  return accepter === null || accepter.over !== '';
}

/** An end whose other end is gone, and to which nothing is owed, waits in vain: its application gives up some day. */
function patience({ opener, accepter }: Connection, simulation: Simulation, calmUs: number): void {
  if (simulation.nowUs() < calmUs) return;
  const ends = [opener, accepter];
  for (const [i, end] of ends.entries()) {
    const other = ends[1 - i];
    if (end?.over !== '' || end.handle === 0) continue;
    const alone =
      other === null ? i === 1 : other.over === 'aborted' || other.over === 'error' || other.over === 'gone';
    if (alone && end.host.nowUs() - end.lastProgressUs > PATIENCE_US) end.giveUp();
  }
}

/** What the end of a connection must look like. */
function verdict({ opener, accepter, id }: Connection, world: EndWorld): void {
  for (const end of [opener, accepter]) {
    if (end && end.over === '') {
      world.violation(`${end.name} has not ended: ${end.sent} sent, ${end.received} of ${end.expected} received`);
    }
  }
  if (!accepter) return;
  const ends = [opener, accepter];
  const orderly = ends.every((end) => end.over === 'closed' && end.error === 0);
  for (const [i, end] of ends.entries()) {
    const writer = ends[1 - i];
    if (end.received > writer.sent) world.violation(`connection ${id}: ${end.name} read what was never written`);
    if (orderly && end.eof && end.received !== writer.sent) {
      world.violation(`${end.name}: an orderly end after ${end.received} of ${writer.sent} bytes`);
    }
    // An end of file is said only behind the last byte.
    if (end.eof && writer.plan.finish !== 'abort' && end.received < writer.plan.send && end.over !== 'error') {
      if (!(end.plan.finish === 'abort'))
        world.violation(`${end.name}: end of file after ${end.received} of ${writer.plan.send}`);
    }
  }
}

const OWING = [L.TCP_SYN_SENT, L.TCP_SYN_RECV, L.TCP_FIN_WAIT1, L.TCP_CLOSING, L.TCP_LAST_ACK];

/** A core with something outstanding must have a deadline. */
function checkTimers(hosts: readonly SimHost[], world: EndWorld): void {
  for (const { core, name, nowUs } of hosts) {
    let owing = '';
    for (let i = 0; i < core.config.maxConnections; i++) {
      if (core.connectionAt(i, core.scratch) !== 0) continue;
      const word = (offset: number): number => core.dv.getUint32(core.scratch + offset, true);
      const state = word(L.INFO_state);
      if (state === L.TCP_CLOSE) continue;
      if (word(L.INFO_unacked) > 0 || word(L.INFO_notsent_bytes) > 0 || OWING.includes(state)) {
        owing = `slot ${i} in state ${state}, ${word(L.INFO_unacked)} unacked, ${word(L.INFO_notsent_bytes)} unsent`;
      }
    }
    if (owing && core.poll(nowUs()) === Number.POSITIVE_INFINITY)
      world.violation(`host ${name} has no timer: ${owing}`);
  }
}

/** Nothing is held once everything has ended. */
function checkEmpty(hosts: readonly SimHost[], world: EndWorld): void {
  for (const host of hosts) {
    const { core, name } = host;
    if (core.zbufInUse() !== 0) world.violation(`host ${name} holds ${core.zbufInUse()} Zbuf objects`);
    if (core.rxInUse() !== 0) world.violation(`host ${name} holds ${core.rxInUse()} receive objects`);
    if (host.freeRxObjects() !== host.rxObjects) {
      world.violation(`host ${name}: ${host.rxObjects - host.freeRxObjects()} receive objects have not come back`);
    }
    for (let i = 0; i < core.config.maxConnections + core.config.maxListeners; i++) {
      if (core.connectionAt(i, core.scratch) === 0) {
        const state = core.dv.getUint32(core.scratch + L.INFO_state, true);
        world.violation(`host ${name}: slot ${i} is in use at the end, state ${state}`);
      }
    }
    if (core.counter(L.CNT_ZbufMisuse) !== 0) world.violation(`host ${name}: an object was misused`);
  }
}
