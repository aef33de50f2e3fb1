// An http server on lunet or on the kernel's stack. GET /SEED/BYTES gives that content, PUT / answers with the SHA-256
// of what it was given. Its parent asks for figures over IPC.
//
//   http-server PORT               on node:net
//   http-server PORT LINK-URI      on lunet

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import { connectionStates } from './connections.js';
import { contentStream } from './content.js';
import { openLunet } from './lunet.js';

const [port, link] = [Number(process.argv[2]), process.argv[3]];
/** No request is answered before so many are there. */
const barrier = Number(process.env.LUNET_TEST_BARRIER ?? 0);
let held: (() => void)[] = [];
let seen = 0;

function hold(answer: () => void): void {
  seen++;
  held.push(answer);
  if (seen < barrier) return;
  for (const each of held) each();
  held = [];
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'PUT') {
    const hash = createHash('sha256');
    request.on('data', (bytes: Buffer) => hash.update(bytes));
    request.on('end', () => response.end(`${hash.digest('hex')}\n`));
    return;
  }
  const [, seed, bytes] = /^\/(\d+)\/(\d+)$/.exec(request.url ?? '') ?? [];
  if (bytes === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-length': bytes });
  // Clients that go away in the middle are part of the tests.
  pipeline(contentStream(Number(seed), Number(bytes)), response, () => undefined);
}

const http = createServer((request, response) => hold(() => serve(request, response)));
if (link === undefined) {
  http.listen(port, () => process.send?.('listening'));
  process.on('disconnect', () => process.exit(0));
} else {
  const { net, stack } = await openLunet(link);
  const server = net.createServer((socket) => http.emit('connection', socket));
  server.listen(port, () => process.send?.('listening'));
  process.on('message', () => {
    process.send?.({
      zbufInUse: stack.core.zbufInUse(),
      rxInUse: stack.core.rxInUse(),
      hugepages: stack.hugepages,
      connections: connectionStates(stack),
      counters: Object.fromEntries(Object.entries(stack.core.counters()).map(([name, count]) => [name, Number(count)])),
      link: stack.link.stats(),
    });
  });
  process.on('disconnect', () => void stack.close().then(() => process.exit(0)));
}
