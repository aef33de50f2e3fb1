// Node's own http over lunet/net: a 'connection' event in, createConnection out.
import { createHash } from 'node:crypto';
import * as http from 'node:http';
import type { Duplex } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Server } from '../../src/host/net/server.js';
import { type Ends, finish, listening, next, openEnds, readAll, SERVER_ADDRESS, until } from '../helpers/net-pair.js';

interface Site {
  ends: Ends;
  server: Server;
  port: number;
  connections(): number;
  agent: http.Agent;
  close(): Promise<void>;
}

async function serve(listener: http.RequestListener, agentOptions: http.AgentOptions = {}): Promise<Site> {
  const ends = await openEnds();
  const site = http.createServer(listener);
  let connections = 0;
  const server = ends.server.createServer({ noDelay: true }, (socket) => {
    connections++;
    site.emit('connection', socket);
  });
  const port = await listening(server);
  class Agent extends http.Agent {
    override createConnection(options: http.ClientRequestArgs): Duplex {
      return ends.client.connect({ port: Number(options.port), host: options.host! });
    }
  }
  const agent = new Agent({ keepAlive: true, ...agentOptions });
  return {
    ends,
    server,
    port,
    agent,
    connections: () => connections,
    async close() {
      agent.destroy();
      site.closeAllConnections();
      server.close();
      await next(server, 'close');
      await finish(ends);
    },
  };
}

function request(
  site: Site,
  options: http.RequestOptions,
  body?: Buffer | string,
): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request(
      { host: SERVER_ADDRESS, port: site.port, agent: site.agent, ...options },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () => {
          resolve({ status: incoming.statusCode!, headers: incoming.headers, body: Buffer.concat(chunks) });
        });
        incoming.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

test('a GET is answered', async () => {
  const site = await serve((incoming, outgoing) => {
    outgoing.setHeader('x-path', incoming.url!);
    outgoing.end('hello over lunet');
  });
  const { status, headers, body } = await request(site, { path: '/a?b=c' });
  assert.is(status, 200);
  assert.is(headers['x-path'], '/a?b=c');
  assert.is(body.toString(), 'hello over lunet');
  await site.close();
});

test('1000 requests with keep-alive use one connection', async () => {
  const site = await serve((incoming, outgoing) => outgoing.end(incoming.url), { maxSockets: 1 });
  for (let i = 0; i < 1000; i++) {
    const { body } = await request(site, { path: `/${i}` });
    assert.is(body.toString(), `/${i}`);
  }
  assert.is(site.connections(), 1);
  await site.close();
});

test('a large POST and a chunked answer arrive whole', async () => {
  const site = await serve((incoming, outgoing) => {
    const hash = createHash('sha256');
    incoming.on('data', (chunk: Buffer) => hash.update(chunk));
    incoming.on('end', () => {
      outgoing.write(hash.digest('hex'));
      for (let i = 0; i < 64; i++) outgoing.write(Buffer.alloc(32 * 1024, i));
      outgoing.end();
    });
  });
  const upload = Buffer.alloc(8 * 1024 * 1024, 'up');
  const { headers, body } = await request(site, { method: 'POST', path: '/' }, upload);
  assert.is(headers['transfer-encoding'], 'chunked');
  assert.is(body.subarray(0, 64).toString(), createHash('sha256').update(upload).digest('hex'));
  assert.is(body.length, 64 + 64 * 32 * 1024);
  assert.is(body[64 + 63 * 32 * 1024], 63);
  await site.close();
});

test('pipelined requests are answered in order', async () => {
  const site = await serve((incoming, outgoing) => {
    setTimeout(() => outgoing.end(`answer ${incoming.url}\n`), incoming.url === '/0' ? 20 : 0);
  });
  const socket = site.ends.client.connect(site.port, SERVER_ADDRESS);
  let requests = '';
  for (let i = 0; i < 20; i++) {
    requests += `GET /${i} HTTP/1.1\r\nHost: a\r\nConnection: ${i === 19 ? 'close' : 'keep-alive'}\r\n\r\n`;
  }
  socket.write(requests);
  const text = (await readAll(socket)).toString();
  const answers = [...text.matchAll(/answer \/(\d+)/g)].map((match) => Number(match[1]));
  assert.equal(
    answers,
    Array.from({ length: 20 }, (_, i) => i),
  );
  await site.close();
});

test('createConnection without an agent works as it does over node:net', async () => {
  const site = await serve((_incoming, outgoing) => outgoing.end('plain'));
  const body = await new Promise<string>((resolve, reject) => {
    const outgoing = http.get(
      {
        host: SERVER_ADDRESS,
        port: site.port,
        path: '/somewhere',
        createConnection: ((options: object) => site.ends.client.createConnection(options as never)) as never,
      },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        incoming.on('end', () => resolve(text));
      },
    );
    outgoing.on('error', reject);
  });
  assert.is(body, 'plain');
  await site.close();
});

test('a client that goes away aborts the request', async () => {
  let aborted = false;
  const site = await serve((incoming, outgoing) => {
    incoming.on('close', () => {
      aborted = incoming.destroyed && !incoming.complete;
    });
    incoming.resume();
    outgoing.on('error', () => undefined);
  });
  const outgoing = http.request({ host: SERVER_ADDRESS, port: site.port, agent: site.agent, method: 'POST' });
  outgoing.on('error', () => undefined);
  outgoing.setHeader('content-length', 1000);
  outgoing.write('part');
  await until(() => site.connections() === 1, 'the connection');
  await new Promise((resolve) => setTimeout(resolve, 10));
  outgoing.destroy();
  await until(() => aborted, 'the abort');
  await site.close();
});

test('a request’s timeout fires while the server is silent', async () => {
  const site = await serve(() => undefined);
  const outgoing = http.request({ host: SERVER_ADDRESS, port: site.port, agent: site.agent, timeout: 40 });
  outgoing.on('error', () => undefined);
  outgoing.end();
  await next(outgoing, 'timeout');
  outgoing.destroy();
  await site.close();
});

test('an upgraded connection carries bytes both ways', async () => {
  const ends = await openEnds();
  const site = http.createServer();
  site.on('upgrade', (_incoming, socket, head) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n');
    if (head.length > 0) socket.write(head);
    socket.pipe(socket);
  });
  const server = ends.server.createServer((socket) => site.emit('connection', socket));
  const port = await listening(server);
  const outgoing = http.request({
    host: SERVER_ADDRESS,
    port,
    headers: { Connection: 'Upgrade', Upgrade: 'echo' },
    createConnection: ((options: object) => ends.client.connect(options as never)) as never,
  });
  outgoing.end();
  const socket = await new Promise<Duplex>((resolve) => {
    outgoing.on('upgrade', (_incoming, upgraded) => resolve(upgraded));
  });
  socket.write('over the top');
  const [echo] = await new Promise<Buffer[]>((resolve) => socket.once('data', (data) => resolve([data])));
  assert.is(echo.toString(), 'over the top');
  socket.end();
  await next(socket, 'close');
  server.close();
  await next(server, 'close');
  await finish(ends);
});

test.run();
