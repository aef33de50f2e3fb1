// As many connections as one core may have, all established at once, between two cores under a virtual clock.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { connectInline, listenInline, openPair, turnUntil } from '../../bench/pair.js';
import * as L from '../../src/host/core/layout.js';
import { random } from '../helpers/random.js';

const CONNECTIONS = 1_000_000;
/** Opened at a time. */
const BATCH = 64;
const PORT = 7;
/** With 64,512 local ports each enough for all of them. */
const ADDRESSES = Array.from({ length: 16 }, (_, i) => `10.0.1.${i + 1}`);
/** Packed (decision 014), with handle and two entries of the flow table. */
const MOST_TABLE_BYTES = 400;
const QUESTIONS = 20_000;
const QUESTION_BYTES = 64;

test('a million connections are established in one core, idle ones hold no memory, and any of them answers', () => {
  let nowNs = 0;
  const pair = openPair('two instances', {
    clockNs: () => (nowNs += 20_000),
    clientAddresses: ADDRESSES,
    config: {
      maxConnections: CONNECTIONS,
      activeConnections: 65_536,
      segmentRecords: 16_384,
      portLo: 1024,
      zones: 24,
      rxZones: 4,
    },
  });
  const { client, server } = pair;
  let accepted = 0;
  let connected = 0;
  const heard: number[] = [];
  pair.onEvent = (core, handle, kind, a, b) => {
    if (kind === L.EV_ACCEPT) accepted++;
    else if (kind === L.EV_CONNECT) connected++;
    else if (kind === L.EV_DATA) {
      if (core === server) assert.is(core.send(handle, a, b), b);
      else heard.push(handle, core.dv.getUint32(a, true));
      core.free(a);
    } else assert.unreachable(`event ${kind}`);
  };
  listenInline(pair, PORT, 4096);
  const handles = new Uint32Array(CONNECTIONS);
  for (let i = 0; i < CONNECTIONS; i += BATCH) {
    for (let j = i; j < i + BATCH; j++) handles[j] = connectInline(pair, PORT, ADDRESSES[j % ADDRESSES.length]);
    turnUntil(pair, () => accepted === i + BATCH && connected === i + BATCH, `connection ${i + BATCH}`);
  }
  for (const core of [client, server]) assert.is(core.counter(L.CNT_TcpCurrEstab), CONNECTIONS);
  assert.is(new Set(handles).size, CONNECTIONS);
  assert.ok(pair.tableBytes / CONNECTIONS < MOST_TABLE_BYTES, `${pair.tableBytes / CONNECTIONS} bytes each`);

  const rested = nowNs + 50e6;
  turnUntil(pair, () => nowNs > rested, 'rest');
  for (const core of [client, server]) assert.is(core.zbufInUse() + core.rxInUse() + core.recordsInUse(), 0);

  const { below } = random(1);
  const question = client.alloc(QUESTION_BYTES);
  for (let i = 0; i < QUESTIONS; i++) {
    const handle = handles[below(CONNECTIONS)];
    client.dv.setUint32(question, i, true);
    assert.is(client.send(handle, question, QUESTION_BYTES), QUESTION_BYTES);
    turnUntil(pair, () => heard.length > 0 && client.refCount(question) === 1, `answer ${i}`);
    assert.equal(heard.splice(0), [handle, i]);
  }
  client.free(question);
  for (const core of [client, server]) {
    assert.is(core.counter(L.CNT_TcpRetransSegs), 0);
    assert.is(core.counter(L.CNT_TcpCurrEstab), CONNECTIONS);
  }
  pair.close();
});

test.run();
