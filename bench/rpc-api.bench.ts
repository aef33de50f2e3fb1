// lunet/rpc against the bare echo of lunet/zc, between two cores in one thread: what a call costs on top of its bytes.
import { CTL_CLOCK_NS } from '../src/host/core/layout.js';
import { RPC_HEADROOM, RpcServer, rpcOverZc } from '../src/host/rpc/index.js';
import { createZc } from '../src/host/zc/index.js';
import { handStacks } from './hand-stack.js';
import { begin, bench, type Case } from './harness.js';
import { openPair, type Pair, SERVER_ADDRESS, turnUntil } from './pair.js';

const PORT = 7;
const RPCS = 64;
const MTU = 9000;
const ECHO = 1;

interface Flow {
  pair: Pair;
  /** Sends `depth` messages, and one more for each answer until RPCS have been answered. */
  run(): void;
}

const flush = ({ client }: Pair): void => client.flush(client.dv.getFloat64(CTL_CLOCK_NS, true) / 1000);

function openZc(size: number, depth: number): Flow {
  const pair = openPair('two instances', { mtu: MTU });
  const stacks = handStacks(pair);
  const server = createZc(stacks.server);
  const client = createZc(stacks.client);
  let connected = false;
  let bytesMissing = 0;
  let unsent = 0;
  server.listen(
    { port: PORT },
    {
      accept: (connection) => void connection.setNoDelay(),
      data(connection, addr, len) {
        if (!connection.send(addr, len)) throw new Error('the echo was refused');
        server.free(addr);
      },
    },
  );
  const object = client.alloc(size);
  let got = 0;
  const connection = client.connect(
    { port: PORT, address: SERVER_ADDRESS },
    {
      connect(opened) {
        opened.setNoDelay();
        connected = true;
      },
      data(_connection, addr, len) {
        client.free(addr);
        bytesMissing -= len;
        for (got += len; got >= size; got -= size) send();
      },
    },
  );
  const send = (): void => {
    if (unsent === 0) return;
    unsent--;
    if (!connection.send(object, size)) throw new Error('the request was refused');
  };
  turnUntil(pair, () => connected, 'the connection');
  return {
    pair,
    run() {
      bytesMissing = RPCS * size;
      unsent = RPCS;
      for (let i = 0; i < depth; i++) send();
      flush(pair);
      turnUntil(pair, () => bytesMissing === 0, 'the answers');
    },
  };
}

function openRpc(size: number, depth: number): Flow {
  const pair = openPair('two instances', { mtu: MTU });
  const stacks = handStacks(pair);
  const zc = createZc(stacks.client);
  const server = new RpcServer();
  server.handle(ECHO, (request) => void request.reply(request.pieces));
  void rpcOverZc(createZc(stacks.server)).listen({ port: PORT }, server);
  let missing = 0;
  let unsent = 0;
  // An object for each request in flight, with room for the header in front of the payload.
  const payloads = Array.from({ length: depth }, () =>
    zc.iov(1).push(zc.alloc(RPC_HEADROOM + size) + RPC_HEADROOM, size),
  );
  let turn = 0;
  const options = {
    headroom: true,
    onReply(error: Error | null) {
      if (error) throw error;
      missing--;
      send();
    },
  };
  const client = rpcOverZc(zc).connect({ port: PORT, address: SERVER_ADDRESS });
  const send = (): void => {
    if (unsent === 0) return;
    unsent--;
    client.call(ECHO, payloads[turn++ % depth], options);
  };
  turnUntil(pair, () => client.isOpen, 'the connection');
  return {
    pair,
    run() {
      missing = RPCS;
      unsent = RPCS;
      for (let i = 0; i < depth; i++) send();
      flush(pair);
      turnUntil(pair, () => missing === 0, 'the answers');
    },
  };
}

const cases: (Case & Flow)[] = [];
for (const [name, open] of [
  ['zc ', openZc],
  ['rpc', openRpc],
] as const) {
  for (const size of [64, 4096]) {
    for (const depth of [1, 16]) {
      const flow = open(size, depth);
      cases.push({ name: `${name} ${size} B, iodepth ${depth}`, operations: RPCS, bytes: size, ...flow });
    }
  }
}
cases.sort((a, b) => a.name.slice(3).localeCompare(b.name.slice(3)) || b.name.localeCompare(a.name));

const setting = begin({
  what: 'echo between two cores: bare, and as calls of lunet/rpc',
  link: `memory, MTU ${MTU}`,
  offloads: 'none: checksums in software',
});
bench(setting, cases);
for (const { pair } of cases) pair.close();
