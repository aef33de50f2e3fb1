// A stream of large writes from one core to another in one thread: segmentation, acknowledgment and reception of bulk
// data, with what can be done late or once switched on and off.
import * as L from '../src/host/core/layout.js';
import { bench, type Case } from './harness.js';
import { connectInline, listenInline, openPair, type Pair, turnUntil } from './pair.js';

const PORT = 9;
const WRITE_BYTES = 65536;
const WRITES = 64;
/** Writes that wait to be acknowledged. */
const QUEUED = 8;

/** An open connection whose run() hands over and delivers WRITES writes. */
function openBulk(name: string, mtu: number, flags: number, offloads = {}): Case & { pair: Pair } {
  const pair = openPair(mtu, flags, offloads);
  const { client, server } = pair;
  let connected = false;
  let accepted = false;
  let received = 0;
  server.onEvent = (_handle, kind, a, b) => {
    if (kind === L.EV_ACCEPT) accepted = true;
    if (kind !== L.EV_DATA) return;
    received += b;
    server.core.free(a);
  };
  client.onEvent = (_handle, kind) => {
    if (kind === L.EV_CONNECT) connected = true;
  };
  listenInline(server, PORT);
  const handle = connectInline(client, PORT);
  turnUntil(pair, () => connected && accepted, 'the connection');
  const object = client.core.alloc(WRITE_BYTES);
  let sent = 0;
  return {
    name,
    operations: WRITES,
    bytes: WRITE_BYTES,
    offloads: pair.offloads,
    pair,
    run() {
      const goal = sent + WRITES * WRITE_BYTES;
      turnUntil(
        pair,
        () => {
          while (sent < goal && sent - received < QUEUED * WRITE_BYTES) {
            if (client.core.send(handle, object, WRITE_BYTES) < 0) break;
            sent += WRITE_BYTES;
          }
          return received === goal;
        },
        'the delivery',
      );
    },
  };
}

const UNCHECKED = L.CFGF_TX_NO_CSUM | L.CFGF_RX_TRUST;
const NEITHER = L.CFGF_NO_GSO | L.CFGF_NO_GRO;
const cases: (Case & { pair: Pair })[] = [];
for (const mtu of [1500, 9000]) {
  for (const [checksums, text] of [
    [0, ''],
    [UNCHECKED, ', no checksums'],
  ] as const) {
    const name = `MTU ${mtu}${text}`;
    cases.push(openBulk(`${name}, neither`, mtu, checksums | NEITHER));
    cases.push(openBulk(`${name}, gso`, mtu, checksums | L.CFGF_NO_GRO));
    cases.push(openBulk(`${name}, gro`, mtu, checksums | L.CFGF_NO_GSO));
    cases.push(openBulk(`${name}, gso and gro`, mtu, checksums));
  }
}
cases.push(openBulk('MTU 1500, checksums and tso left to the link', 1500, 0, { csum: true, tso: true }));

bench(cases);
for (const { pair } of cases) pair.close();
