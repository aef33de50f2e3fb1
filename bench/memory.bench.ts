// In memory, one thread, both ends: bulk and RPC by reference on inline sockets. Everything of the stack, nothing of a
// driver, an event loop or another process.
import { CFG_RCV_BUF_BYTES, CFG_SND_BUF_BYTES, CNT_TcpRetransSegs } from '../src/host/core/layout.js';
import { count, micros } from '../src/host/knbench/format.js';
import { latencyRecorder, percentileUs, toHistogram } from '../src/host/knbench/histogram.js';
import { sizeText } from '../src/host/knbench/results.js';
import { dispatch, Echo, Requester, Sink, Source } from './apps.js';
import { begin, json, printJson, printTable, quick, ROUNDS, type Spread, spread } from './harness.js';
import { hotCore } from './hot.js';
import { connectInline, type Join, listenInline, openPair, type Pair, pages, turnUntil } from './pair.js';

const SECONDS = quick ? 0.01 : 0.1;
const WARM_UP_SECONDS = SECONDS / 4;
/** Turns between two looks at the clock. */
const TURNS = 32;

interface Variant {
  join: Join;
  mtu: number;
  checksums: boolean;
}

interface Workload {
  kind: 'rpc' | 'bulk';
  /** rpc: of a message; bulk: of the send and receive buffers. */
  sizeBytes: number;
  depth: number;
  connections: number;
}

interface Cell extends Variant, Workload {
  rates: number[];
  /** rpc at iodepth 1 on one connection: of each round. */
  p50Us: number[];
}

let nextPort = 1000;
/** Room for all requests of a connection. */
const RPC_SND_BUF_BYTES = 2 * 1024 * 1024;
/** Eight connections' windows together fit the receive objects: nothing is lost for want of one. */
const RPC_RCV_BUF_BYTES = 256 * 1024;

function setBuffers(pair: Pair, sndBytes: number, rcvBytes: number): void {
  for (const { dv } of [pair.server, pair.client]) {
    dv.setUint32(CFG_SND_BUF_BYTES, sndBytes, true);
    dv.setUint32(CFG_RCV_BUF_BYTES, rcvBytes, true);
  }
}

/** Segments sent again; the link loses nothing, so there should be none. */
function retransmits({ server, client }: Pair): number {
  const ends = server === client ? [server] : [server, client];
  return ends.reduce((sum, core) => sum + core.counter(CNT_TcpRetransSegs), 0);
}

function turnFor(pair: Pair, seconds: number): number {
  const start = performance.now();
  for (;;) {
    for (let i = 0; i < TURNS; i++) pair.turn();
    const spent = (performance.now() - start) / 1000;
    if (spent >= seconds) return spent;
  }
}

/** Requests per second, and the median latency where it means something. */
function runRpc(pair: Pair, { sizeBytes, depth, connections }: Workload): { rate: number; p50Us: number | null } {
  setBuffers(pair, RPC_SND_BUF_BYTES, RPC_RCV_BUF_BYTES);
  const port = nextPort++;
  const register = dispatch(pair, (core, handle) => new Echo(core, handle, sizeBytes));
  const listener = listenInline(pair, port);
  const flows = Array.from({ length: connections }, () => {
    const flow = new Requester(pair.client, connectInline(pair, port), sizeBytes, depth);
    register(pair.client, flow.handle, flow);
    return flow;
  });
  turnUntil(pair, () => flows.every(({ open }) => open), 'the connections');
  for (const flow of flows) flow.start();
  const completed = (): number => flows.reduce((sum, flow) => sum + flow.completed, 0);
  turnFor(pair, WARM_UP_SECONDS);
  const before = completed();
  const seconds = turnFor(pair, SECONDS);
  const rate = (completed() - before) / seconds;
  let p50Us: number | null = null;
  if (depth === 1 && connections === 1) {
    // In a run of its own: reading the clock takes as long as a good part of a small request.
    const recorder = latencyRecorder();
    let last = performance.now();
    flows[0].onResponse = () => {
      const now = performance.now();
      recorder.record((now - last) * 1e6);
      last = now;
    };
    turnFor(pair, SECONDS / 2);
    p50Us = percentileUs(toHistogram(recorder.snapshot()), 50);
  }
  for (const flow of flows) flow.stopped = true;
  turnUntil(pair, () => flows.every(({ inFlight }) => inFlight === 0), 'the last responses');
  for (const flow of flows) flow.close();
  pair.server.close(listener);
  turnFor(pair, 0);
  return { rate, p50Us };
}

/** Payload bytes per second from the client to the server. */
function runBulk(pair: Pair, { sizeBytes }: Workload): number {
  setBuffers(pair, sizeBytes, sizeBytes);
  const port = nextPort++;
  let sink: Sink | undefined;
  const register = dispatch(pair, (core) => {
    sink = new Sink(core);
    return sink;
  });
  const listener = listenInline(pair, port);
  const source = new Source(pair.client, connectInline(pair, port));
  register(pair.client, source.handle, source);
  turnUntil(pair, () => source.open && sink !== undefined, 'the connection');
  source.writable();
  turnFor(pair, WARM_UP_SECONDS);
  const before = sink!.bytes;
  const seconds = turnFor(pair, SECONDS);
  const rate = (sink!.bytes - before) / seconds;
  source.stopped = true;
  turnFor(pair, SECONDS / 10);
  source.close();
  pair.server.close(listener);
  turnFor(pair, 0);
  return rate;
}

const joins: readonly Join[] = ['loopback', 'two instances'];
const variants: readonly Variant[] = joins.flatMap((join) =>
  [1500, 9000].flatMap((mtu) => [true, false].map((checksums) => ({ join, mtu, checksums }))),
);
const workloads: readonly Workload[] = [
  ...[64, 256].map((kib): Workload => ({ kind: 'bulk', sizeBytes: kib * 1024, depth: 1, connections: 1 })),
  ...[64, 512, 4096, 16384, 65536].flatMap((sizeBytes) =>
    [1, 16].flatMap((depth) => [1, 8].map((connections): Workload => ({ kind: 'rpc', sizeBytes, depth, connections }))),
  ),
];

/** The machine's own pace, to hold the figures against. */
function copyNs(): number {
  const { core } = hotCore();
  const [to, from] = [core.alloc(2048), core.alloc(2048)];
  const times = 200_000;
  core.hotCopy(times, to, from, 1460);
  const start = performance.now();
  core.hotCopy(times, to, from, 1460);
  return ((performance.now() - start) * 1e6) / times;
}

const setting = begin({
  what: 'Both ends in one thread, by reference on inline sockets; loopback: one core that receives what it transmits',
  link: `loopback, and memory: between two instances; one copy from transmit to receive objects on either; memory on ${pages}`,
  offloads:
    'checksums in software or none at all, as said in each row (loopback: those sent are summed with the copy of the frame); ' +
    'no TSO; late segmentation and GRO in the core',
});
const yardsticks = [copyNs()];
// On the loopback the ends have one table for both directions.
const pairs = variants.map((variant) => ({ variant, pair: openPair(variant.join, variant) }));
const cells = pairs.map(({ variant, pair }) => ({
  pair,
  cells: workloads.map((workload): Cell => ({ ...variant, ...workload, rates: [], p50Us: [] })),
}));
for (let round = 0; round < ROUNDS; round++) {
  for (const { pair, cells: own } of cells) {
    for (const cell of own) {
      if (cell.kind === 'bulk') {
        cell.rates.push(runBulk(pair, cell) * 8);
      } else {
        const { rate, p50Us } = runRpc(pair, cell);
        cell.rates.push(rate);
        if (p50Us !== null) cell.p50Us.push(p50Us);
      }
    }
  }
  yardsticks.push(copyNs());
}
const retransmitted = pairs.reduce((sum, { pair }) => sum + retransmits(pair), 0);
for (const { pair } of pairs) pair.close();

const copy: Spread = spread(yardsticks);
const all = cells.flatMap(({ cells: own }) => own);
if (json) {
  printJson(setting, {
    copy1460Ns: copy,
    rounds: ROUNDS,
    secondsEach: SECONDS,
    retransmits: retransmitted,
    cells: all.map(({ rates, p50Us, ...cell }) => ({
      ...cell,
      [cell.kind === 'bulk' ? 'bitsPerSecond' : 'rpcPerSecond']: spread(rates),
      p50Us: p50Us.length > 0 ? spread(p50Us) : null,
    })),
  });
} else {
  console.log(`memory.copy of 1460 B: ${copy.median.toFixed(1)} ns (${copy.min.toFixed(1)}–${copy.max.toFixed(1)})`);
  const onOff = (cell: Cell): string => (cell.checksums ? 'on' : 'off');
  printTable(
    ['bulk: buffers', 'MTU', 'checksums', 'joined by', 'Gbps', 'min–max'],
    all
      .filter(({ kind }) => kind === 'bulk')
      .map((cell) => {
        const { median, min, max } = spread(cell.rates.map((rate) => rate / 1e9));
        const range = `${min.toFixed(1)}–${max.toFixed(1)}`;
        return [sizeText(cell.sizeBytes), `${cell.mtu}`, onOff(cell), cell.join, median.toFixed(1), range];
      }),
    4,
  );
  printTable(
    ['RPC: message', 'iodepth', 'conn.', 'MTU', 'checksums', 'joined by', 'RPC/s', 'min–max', 'p50 µs', 'Gbps'],
    all
      .filter(({ kind }) => kind === 'rpc')
      .map((cell) => {
        const { median, min, max } = spread(cell.rates);
        return [
          sizeText(cell.sizeBytes),
          `${cell.depth}`,
          `${cell.connections}`,
          `${cell.mtu}`,
          onOff(cell),
          cell.join,
          count(median),
          `${count(min)}–${count(max)}`,
          cell.p50Us.length > 0 ? micros(spread(cell.p50Us).median) : '',
          ((median * cell.sizeBytes * 8) / 1e9).toFixed(1),
        ];
      }),
    6,
  );
  console.log(
    `\nMedians of ${ROUNDS} rounds of ${SECONDS} s, all variants in turn. RPC: Gbps each way. Segments retransmitted: ${retransmitted}.`,
  );
}
