// Many connections between two cores in one thread: what one takes of memory, how fast they are opened, and what they
// cost those that are used.
import type { Core } from '../src/host/core/core.js';
import { CNT_TcpRetransSegs, EV_ACCEPT, EV_CONNECT, EV_DATA, EV_ERROR } from '../src/host/core/layout.js';
import { bytes, count } from '../src/host/knbench/format.js';
import { begin, json, printJson, printTable, quick, ROUNDS, type Spread, spread } from './harness.js';
import { connectInline, listenInline, openPair, type Pair, type PairOptions, pages, turnUntil } from './pair.js';

const COUNTS = quick ? [10, 1000, 10_000] : [10, 1000, 100_000, 1_000_000];
const SECONDS = quick ? 0.02 : 0.3;
const MESSAGE_BYTES = 64;
/** Slots: what is beyond them is packed while it does nothing (decision 014). */
const ACTIVE = 98_304;
/** After which nothing of the handshakes is under way any more: longer than the delayed ACK. */
const REST_MS = 20;
const WARM_UP_ROUNDS = quick ? 1 : 3;
/** Connections that are used while the others are idle. */
const USED = 10;
/** Connections that are being opened, or closed, at a time. */
const BATCH = 64;
/** Clients' addresses and servers' ports: with 64,512 local ports enough for four million. */
const ADDRESSES = Array.from({ length: 16 }, (_, i) => `10.0.1.${i + 1}`);
const PORTS = [7, 8, 9, 10];

interface Row {
  connections: number;
  /** Of the tables of one core, for each connection it has room for. */
  tableBytes: number | null;
  /** Objects and records that idle connections hold, of both cores together. */
  heldWhenIdle: number;
  handshakesPerSecond: Spread;
  rpcPerSecond: Spread;
  /** With 16 requests in flight, each on a connection of its own. */
  rpcPerSecond16: Spread;
  /** One at a time over ten of the connections, while the others stay established: what idle ones cost the rest. */
  rpcPerSecondOnTen: Spread;
  /** Segments that both cores have sent again, over everything: nothing is lost here, so there should be none. */
  retransmits: number;
}

function options(connections: number): PairOptions {
  return {
    clientAddresses: ADDRESSES,
    config: {
      maxConnections: Math.max(16, connections),
      activeConnections: Math.min(ACTIVE, Math.max(16, connections)),
      segmentRecords: 16_384,
      portLo: 1024,
      zones: 24,
      rxZones: 4,
    },
  };
}

const heldBy = (core: Core): number => core.zbufInUse() + core.rxInUse() + core.recordsInUse();

function measure(connections: number): Row {
  const smallest = openPair('two instances', options(16));
  smallest.close();
  const pair = openPair('two instances', options(connections));
  const { client, server } = pair;
  let accepted = 0;
  let connected = 0;
  let ended = 0;
  let responses = 0;
  pair.onEvent = (core, handle, kind, a, b) => {
    if (kind === EV_DATA) {
      // Two requests on one connection may be answered in one segment.
      if (core === client) responses += b / MESSAGE_BYTES;
      else if (core.send(handle, a, b) < 0) throw new Error('the response was refused');
      core.free(a);
    } else if (kind === EV_ACCEPT) accepted++;
    else if (kind === EV_CONNECT) connected++;
    else if (kind === EV_ERROR) {
      ended++;
      core.close(handle);
    }
  };
  for (const port of PORTS) listenInline(pair, port, 4096);
  const handles = new Uint32Array(connections);

  function open(): number {
    accepted = connected = 0;
    const start = performance.now();
    for (let i = 0; i < connections; i += BATCH) {
      const end = Math.min(connections, i + BATCH);
      for (let j = i; j < end; j++) {
        handles[j] = connectInline(pair, PORTS[(j >> 4) % PORTS.length], ADDRESSES[j % ADDRESSES.length]);
      }
      turnUntil(pair, () => accepted === end && connected === end, `connection ${end}`);
    }
    return connections / ((performance.now() - start) / 1000);
  }

  function closeAll(): void {
    ended = 0;
    for (let i = 0; i < connections; i += BATCH) {
      const end = Math.min(connections, i + BATCH);
      for (let j = i; j < end; j++) client.abort(handles[j]);
      turnUntil(pair, () => ended === end, `the end of connection ${end}`);
    }
  }

  // The first time is not counted: code is new, and so is the memory.
  open();
  const handshakes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    closeAll();
    handshakes.push(open());
  }
  const rest = performance.now() + REST_MS;
  turnUntil(pair, () => performance.now() > rest, 'rest');
  const heldWhenIdle = heldBy(client) + heldBy(server);

  const rpc = rpcRate(pair, handles, () => responses);
  // Spread over the tables.
  const step = connections / USED;
  const used = Uint32Array.from({ length: USED }, (_, i) => handles[Math.floor(i * step)]);
  const rpcOnTen = rpcRate(pair, used, () => responses);
  const one: number[] = [];
  const sixteen: number[] = [];
  const onTen: number[] = [];
  const runAll = (): void => {
    one.push(rpc(1));
    sixteen.push(rpc(16));
    onTen.push(rpcOnTen(1));
  };
  // Not counted: the first numbers of connections would pay for compiling what the others run.
  for (let round = 0; round < WARM_UP_ROUNDS; round++) runAll();
  for (const rates of [one, sixteen, onTen]) rates.length = 0;
  for (let round = 0; round < ROUNDS; round++) runAll();
  const retransmits = client.counter(CNT_TcpRetransSegs) + server.counter(CNT_TcpRetransSegs);
  pair.close();
  return {
    connections,
    tableBytes: connections < 1000 ? null : (pair.tableBytes - smallest.tableBytes) / (connections - 16),
    heldWhenIdle,
    handshakesPerSecond: spread(handshakes),
    rpcPerSecond: spread(one),
    rpcPerSecond16: spread(sixteen),
    rpcPerSecondOnTen: spread(onTen),
    retransmits,
  };
}

/** Requests per second, `depth` at a time, each on a connection drawn at random. */
function rpcRate(pair: Pair, handles: Uint32Array, responses: () => number): (depth: number) => number {
  const { client } = pair;
  const object = client.alloc(MESSAGE_BYTES);
  let draw = 1;
  return (depth) => {
    const start = performance.now();
    const before = responses();
    for (;;) {
      for (let i = 0; i < 64; i++) {
        const due = responses() + depth;
        for (let j = 0; j < depth; j++) {
          draw = (Math.imul(draw, 1664525) + 1013904223) >>> 0;
          const handle = handles[Math.floor((draw / 2 ** 32) * handles.length)];
          if (client.send(handle, object, MESSAGE_BYTES) < 0) throw new Error('the request was refused');
        }
        turnUntil(pair, () => responses() === due, 'the response');
      }
      const seconds = (performance.now() - start) / 1000;
      if (seconds >= SECONDS) return (responses() - before) / seconds;
    }
  };
}

const setting = begin({
  what: `Connections between two cores in one thread; RPCs of ${MESSAGE_BYTES} B on connections drawn at random`,
  link: `memory: between two instances, MTU 1500; one copy from transmit to receive objects; memory on ${pages}`,
  offloads: 'checksums in software, no TSO; late segmentation and GRO in the core',
});
const rows = COUNTS.map(measure);
if (json) printJson(setting, rows);
else {
  const ranged = ({ median, min, max }: Spread): string[] => [count(median), `${count(min)}–${count(max)}`];
  printTable(
    [
      'connections',
      'tables each',
      'held',
      'handshakes/s',
      'min–max',
      'RPC/s',
      'min–max',
      'RPC/s, 16 in flight',
      'min–max',
      `RPC/s on ${USED} of them`,
      'min–max',
      'retr',
    ],
    rows.map((row) => [
      row.connections.toLocaleString('en'),
      row.tableBytes === null ? '' : bytes(Math.round(row.tableBytes)),
      `${row.heldWhenIdle}`,
      ...ranged(row.handshakesPerSecond),
      ...ranged(row.rpcPerSecond),
      ...ranged(row.rpcPerSecond16),
      ...ranged(row.rpcPerSecondOnTen),
      `${row.retransmits}`,
    ]),
  );
  console.log(
    [
      '',
      `tables each: what a core’s tables grow by for each connection it is configured for: slots (${ACTIVE.toLocaleString('en')} at most), packed records, handles, flow table.`,
      'held: buffers and records that all idle connections together hold.',
      `RPC/s: on connections drawn from all; on ${USED} of them: the others are established and idle.`,
      `Medians of ${ROUNDS} rounds; all connections are closed and opened again for each figure of handshakes.`,
    ].join('\n'),
  );
}
