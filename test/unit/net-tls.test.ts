// Node's own tls over lunet/net, with a certificate made for the occasion.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tls from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { finish, listening, next, openEnds, SERVER_ADDRESS } from '../helpers/net-pair.js';

interface Certificate {
  key: string;
  cert: string;
}

/** A self-signed certificate, or null where the openssl command is missing. */
function certificate(): Certificate | null {
  const dir = mkdtempSync(join(tmpdir(), 'lunet-tls-'));
  try {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const subject = ['-subj', '/CN=lunet.test', '-addext', `subjectAltName=DNS:lunet.test,IP:${SERVER_ADDRESS}`];
    const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const made = spawnSync('openssl', [
      'req',
      '-x509',
      ...algorithm,
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '2',
      ...subject,
    ]);
    if (made.status !== 0) return null;
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const pair = certificate();
const tlsTest = pair ? test : test.skip;

tlsTest('tls.connect({ socket }) and new TLSSocket(socket, { isServer }) talk over lunet', async () => {
  const ends = await openEnds();
  const server = ends.server.createServer((socket) => {
    const secure = new tls.TLSSocket(socket as never, { isServer: true, ...pair! });
    secure.pipe(secure);
  });
  const port = await listening(server);
  const socket = ends.client.connect(port, SERVER_ADDRESS);
  const secure = tls.connect({ socket: socket as never, ca: pair!.cert, servername: 'lunet.test' });
  await next(secure, 'secureConnect');
  assert.is(secure.authorized, true);
  const bytes = Buffer.alloc(1024 * 1024, 'secret ');
  const received: Buffer[] = [];
  let length = 0;
  const whole = new Promise<void>((resolve) => {
    secure.on('data', (data: Buffer) => {
      received.push(data);
      length += data.length;
      if (length === bytes.length) resolve();
    });
  });
  secure.write(bytes);
  await whole;
  assert.ok(Buffer.concat(received).equals(bytes));
  secure.end();
  await next(secure, 'close');
  server.close();
  await next(server, 'close');
  await finish(ends);
});

tlsTest('https runs over it, both ends', async () => {
  const ends = await openEnds();
  const site = https.createServer({ ...pair! }, (incoming, outgoing) => outgoing.end(`secure ${incoming.url}`));
  const server = ends.server.createServer((socket) => site.emit('connection', socket));
  const port = await listening(server);
  const body = await new Promise<string>((resolve, reject) => {
    const outgoing = https.get(
      {
        host: SERVER_ADDRESS,
        port,
        path: '/page',
        createConnection: () =>
          tls.connect({
            socket: ends.client.connect(port, SERVER_ADDRESS) as never,
            ca: pair!.cert,
            servername: 'lunet.test',
          }),
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
  assert.is(body, 'secure /page');
  server.close();
  await next(server, 'close');
  await finish(ends);
});

test.run();
