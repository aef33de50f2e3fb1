// A UDP echo as a process of its own, on lunet's dgram or on Node's: `node dgram-echo.js KIND [LINK]`, KIND lunet or kernel.
// Answers every datagram with itself, and sends what it is asked to.
import nodeDgram from 'node:dgram';
import { createDgram } from '../../../src/host/dgram/index.js';
import { openStack, type Stack } from '../../../src/host/stack.js';

export interface EchoRequest {
  /** serve: a socket that answers; talk: one that sends `sizes` to host and port, and reports what came back. */
  ask: 'serve' | 'talk' | 'report' | 'close';
  type: 'udp4' | 'udp6';
  port: number;
  host: string;
  sizes: number[];
  connected: boolean;
}

export interface TalkReport {
  /** Sizes that came back as they were, in order. */
  echoed: number[];
  error: string;
}

const [kind, link] = process.argv.slice(2);
let stack: Stack | null = null;
const open: { close(): unknown }[] = [];

const contentOf = (size: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + size) & 255));

/** lunet's and Node's are the same to this program. */
async function create(type: 'udp4' | 'udp6'): Promise<nodeDgram.Socket> {
  if (kind === 'kernel') return nodeDgram.createSocket(type);
  stack ??= await openStack({ link });
  return createDgram(stack).createSocket(type) as unknown as nodeDgram.Socket;
}

async function serve({ type, port }: EchoRequest): Promise<string> {
  const socket = await create(type);
  open.push(socket);
  socket.on('message', (data, remote) => socket.send(data, remote.port, remote.address));
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.bind(port, () => resolve('serving'));
  });
}

/** One datagram after the other; the next one goes when the last one is back, or after a while. */
async function talk({ type, host, port, sizes, connected }: EchoRequest): Promise<TalkReport> {
  const socket = await create(type);
  const report: TalkReport = { echoed: [], error: '' };
  let heard: (() => void) | null = null;
  socket.on('message', (data) => {
    if (data.equals(contentOf(data.length))) report.echoed.push(data.length);
    heard?.();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    report.error = error.code ?? error.message;
    heard?.();
  });
  if (connected) await new Promise<void>((resolve) => socket.connect(port, host, resolve));
  for (const size of sizes) {
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, 2000);
      heard = () => {
        clearTimeout(limit);
        resolve();
      };
      if (connected) socket.send(contentOf(size));
      else socket.send(contentOf(size), port, host);
    });
  }
  socket.close();
  return report;
}

process.on('message', async (request: EchoRequest) => {
  switch (request.ask) {
    case 'serve':
      process.send?.(await serve(request));
      break;
    case 'talk':
      process.send?.(await talk(request));
      break;
    case 'report':
      process.send?.(Object.fromEntries(Object.entries(stack?.core.counters() ?? {}).map(([k, v]) => [k, Number(v)])));
      break;
    case 'close': {
      for (const socket of open.splice(0)) socket.close();
      const left = stack ? stack.core.zbufInUse() + stack.core.udpQueued() + stack.core.udpSocketsOpen() : 0;
      await stack?.close();
      stack = null;
      process.send?.(left);
    }
  }
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
