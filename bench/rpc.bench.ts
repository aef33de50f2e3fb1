// Request and echo between two cores in one thread: everything of the stack, nothing of a driver or an event loop.
import {
  CFGF_RX_TRUST,
  CFGF_TX_NO_CSUM,
  CTL_CLOCK_NS,
  EV_ACCEPT,
  EV_CONNECT,
  EV_DATA,
} from '../src/host/core/layout.js';
import { bench, type Case } from './harness.js';
import { connectInline, listenInline, openPair, type Pair, turnUntil } from './pair.js';

const PORT = 7;
const RPCS = 64;

interface Rpc {
  pair: Pair;
  one(): void;
}

/** An open connection whose one() sends `size` bytes and takes turns until as many have come back. */
function openRpc(size: number, mtu: number, flags: number): Rpc {
  const pair = openPair(mtu, flags);
  const { client, server } = pair;
  let connected = false;
  let accepted = false;
  let missing = 0;
  server.onEvent = (handle, kind, a, b) => {
    if (kind === EV_ACCEPT) accepted = true;
    if (kind !== EV_DATA) return;
    if (server.core.send(handle, a, b) < 0) throw new Error('the echo was refused');
    server.core.free(a);
  };
  client.onEvent = (_handle, kind, a, b) => {
    if (kind === EV_CONNECT) connected = true;
    if (kind !== EV_DATA) return;
    missing -= b;
    client.core.free(a);
  };
  listenInline(server, PORT);
  const handle = connectInline(client, PORT);
  turnUntil(pair, () => connected && accepted, 'the connection');
  const object = client.core.alloc(size);
  return {
    pair,
    one() {
      missing = size;
      if (client.core.send(handle, object, size) < 0) throw new Error('the request was refused');
      client.core.flush(client.core.dv.getFloat64(CTL_CLOCK_NS, true) / 1000);
      turnUntil(pair, () => missing === 0, 'the response');
    },
  };
}

const cases: (Case & { pair: Pair })[] = [];
for (const [size, mtu, flags, text] of [
  [64, 1500, 0, ''],
  [4096, 1500, 0, ''],
  [4096, 1500, CFGF_TX_NO_CSUM | CFGF_RX_TRUST, ', no checksums'],
  [4096, 9000, 0, ''],
  [65536, 1500, 0, ''],
  [65536, 9000, 0, ''],
] as const) {
  const { pair, one } = openRpc(size, mtu, flags);
  cases.push({
    name: `echo ${size} B, MTU ${mtu}${text}`,
    operations: RPCS,
    bytes: size,
    offloads: pair.offloads,
    pair,
    run() {
      for (let i = 0; i < RPCS; i++) one();
    },
  });
}

bench(cases);
for (const { pair } of cases) pair.close();
