// An http client on lunet: its parent tells what to fetch and what to upload, and is told the hash and the time.
//
//   http-client LINK-URI

import { createHash } from 'node:crypto';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { connectionStates } from './connections.js';
import { contentStream } from './content.js';
import { openLunet } from './lunet.js';

export type ClientRequest =
  | { ask: 'get' | 'put'; host: string; port: number; seed: number; bytes: number }
  | { ask: 'figures' };

const { net, stack } = await openLunet(process.argv[2]);

function exchange(o: { ask: 'get' | 'put'; host: string; port: number; seed: number; bytes: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const upload = o.ask === 'put';
    const outgoing = request({
      method: upload ? 'PUT' : 'GET',
      path: upload ? '/' : `/${o.seed}/${o.bytes}`,
      host: o.host,
      port: o.port,
      headers: upload ? { 'content-length': o.bytes } : {},
      createConnection: () => net.connect({ host: o.host, port: o.port }) as unknown as Socket,
    });
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const hash = createHash('sha256');
      let text = '';
      response.on('data', (bytes: Buffer) => {
        if (upload) text += bytes.toString();
        else hash.update(bytes);
      });
      response.on('error', reject);
      response.on('end', () => resolve(upload ? text.trim() : hash.digest('hex')));
    });
    if (upload) pipeline(contentStream(o.seed, o.bytes), outgoing).catch(reject);
    else outgoing.end();
  });
}

process.on('message', async (message: ClientRequest) => {
  if (message.ask === 'figures') {
    process.send?.({
      zbufInUse: stack.core.zbufInUse(),
      rxInUse: stack.core.rxInUse(),
      connections: connectionStates(stack),
    });
    return;
  }
  const started = performance.now();
  try {
    const hash = await exchange(message);
    process.send?.({ hash, seconds: (performance.now() - started) / 1000 });
  } catch (error) {
    process.send?.({ hash: String(error), seconds: 0 });
  }
});
process.on('disconnect', () => void stack.close().then(() => process.exit(0)));
process.send?.('ready');
