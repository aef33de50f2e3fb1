// One end of byte-checked connections, on lunet or on the kernel's stack: listens or connects as its parent asks, sends
// content and hashes what it receives, and tells how each connection ended.
//
//   endpoint               on node:net
//   endpoint LINK-URI      on lunet, which { ask: 'open' } opens

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import nodeNet from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import * as L from '../../../src/host/core/layout.js';
import { createNet } from '../../../src/host/net/index.js';
import type { Socket as LunetSocket } from '../../../src/host/net/socket.js';
import { openStack, type Stack, type StackOptions } from '../../../src/host/stack.js';
import { connectionStates } from './connections.js';
import { chunks, contentStream } from './content.js';

/** What an end does with each of its connections. Both ends send what they are to send, and then their FIN. */
export interface Job {
  seed: number;
  /** Bytes to send. */
  bytes: number;
  /** When to begin sending: at once (the default), or when the peer's FIN has come. */
  begin?: 'open' | 'eof';
  /** Whether to send a FIN after the last byte, true by default; else the socket is closed when the peer's FIN has come. */
  end?: boolean;
  /** Wait before sending. */
  delayMs?: number;
  /** Between two pieces of 64 KiB. */
  paceMs?: number;
  /** Stop reading after so many bytes, for so long. */
  pause?: { afterBytes: number; ms: number };
  /** Reset the connection when so many bytes have been received, or sent. */
  resetAfterReceived?: number;
  resetAfterSent?: number;
  noDelay?: boolean;
  keepAliveMs?: number;
  /** On lunet only. */
  userTimeoutMs?: number;
}

export interface ListenRequest extends Job {
  ask: 'listen';
  host: string;
  port: number;
  /** Connections to serve; their outcomes come in one message when the last has ended. */
  count?: number;
}

export interface ConnectRequest extends Job {
  ask: 'connect';
  host: string;
  port: number;
  localPort?: number;
  localAddress?: string;
  /** Connections in all, and how many at once. */
  count?: number;
  parallel?: number;
}

export type EndpointRequest =
  | ListenRequest
  | ConnectRequest
  | { ask: 'open'; options: Partial<StackOptions> }
  | { ask: 'counters' }
  | { ask: 'states' }
  | { ask: 'close' };

/** How a connection ended. */
export interface Outcome {
  /** Code of the error, '' without one. */
  error: string;
  hash: string;
  received: number;
  /** Bytes that the application gave to the socket. */
  sent: number;
  eof: boolean;
  /** From the connection's opening, or the call of connect() when it never opened. */
  seconds: number;
  /** Longest time between two arrivals, of which the first has at least one byte. */
  longestGapMs: number;
  /** INFO_options as of the opening; on lunet only. */
  options: number;
}

/** By the names of /proc/net/snmp and /proc/net/netstat, `Tcp` and `TcpExt` before them. */
export type Counters = Record<string, number>;

const link = process.argv[2];
let stack: Stack | null = null;
let net: typeof nodeNet = nodeNet;

async function* paced({ seed, bytes }: Job, paceMs: number): AsyncGenerator<Buffer> {
  for (const part of chunks(seed, bytes)) {
    yield part;
    await delay(paceMs);
  }
}

function run(socket: nodeNet.Socket, job: Job, opened: Promise<void>): Promise<Outcome> {
  let started = performance.now();
  const hash = createHash('sha256');
  let error = '';
  let received = 0;
  let eof = false;
  let options = 0;
  let sent = 0;
  let last = 0;
  let longestGapMs = 0;
  let paused = false;

  const reset = (): void => void socket.resetAndDestroy();
  const send = (): void => {
    const content = job.paceMs ? Readable.from(paced(job, job.paceMs)) : contentStream(job.seed, job.bytes);
    content.on('data', (bytes: Buffer) => {
      sent += bytes.length;
      if (job.resetAfterSent !== undefined && sent >= job.resetAfterSent) setTimeout(reset, 5);
    });
    content.pipe(socket, { end: job.end ?? true });
    socket.once('close', () => content.destroy());
  };

  socket.on('data', (bytes: Buffer) => {
    hash.update(bytes);
    if (received > 0) longestGapMs = Math.max(longestGapMs, performance.now() - last);
    last = performance.now();
    received += bytes.length;
    if (job.resetAfterReceived !== undefined && received >= job.resetAfterReceived) reset();
    if (job.pause && !paused && received >= job.pause.afterBytes) {
      paused = true;
      socket.pause();
      setTimeout(() => socket.resume(), job.pause.ms);
    }
  });
  socket.on('end', () => {
    eof = true;
    if (job.begin === 'eof') send();
    else if (job.end === false) socket.destroy();
  });
  socket.on('error', (cause: NodeJS.ErrnoException) => {
    error = cause.code ?? cause.message;
  });
  void opened.then(() => {
    started = performance.now();
    if (stack) options = infoField((socket as unknown as LunetSocket).handle, L.INFO_options);
    if (job.noDelay) socket.setNoDelay(true);
    if (job.keepAliveMs !== undefined) socket.setKeepAlive(true, job.keepAliveMs);
    if (job.userTimeoutMs !== undefined) (socket as unknown as LunetSocket).setUserTimeout(job.userTimeoutMs);
    if (job.begin !== 'eof') setTimeout(send, job.delayMs ?? 0);
  });
  return new Promise((resolve) => {
    socket.on('close', () => {
      const seconds = (performance.now() - started) / 1000;
      resolve({ error, hash: hash.digest('hex'), received, sent, eof, seconds, longestGapMs, options });
    });
  });
}

function infoField(handle: number, field: number): number {
  const { core } = stack as Stack;
  return core.info(handle, core.scratch) < 0 ? 0 : core.dv.getUint32(core.scratch + field, true);
}

function listen(request: ListenRequest): void {
  const count = request.count ?? 1;
  const outcomes: Outcome[] = [];
  const server = net.createServer({ allowHalfOpen: true }, async (socket) => {
    outcomes.push(await run(socket, request, Promise.resolve()));
    if (outcomes.length < count) return;
    server.close(() => process.send?.(outcomes));
  });
  server.on('error', (error) => process.send?.([{ error: String(error) }]));
  server.listen(request.port, request.host, 1024, () => process.send?.('listening'));
}

async function connect(request: ConnectRequest): Promise<void> {
  const { host, port, localPort, localAddress, count = 1, parallel = 1 } = request;
  const outcomes: Outcome[] = [];
  let begun = 0;
  const worker = async (): Promise<void> => {
    while (begun++ < count) {
      const target = {
        ...{ host, port, allowHalfOpen: true },
        ...(localPort === undefined ? {} : { localPort }),
        ...(localAddress === undefined ? {} : { localAddress }),
      };
      const socket = net.connect(target);
      const opened = new Promise<void>((resolve) => socket.once('connect', resolve));
      outcomes.push(await run(socket, request, opened));
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  process.send?.(outcomes);
}

/** The kernel's counters of this namespace. */
function kernelCounters(): Counters {
  const counters: Counters = {};
  for (const file of ['snmp', 'netstat']) {
    const lines = readFileSync(`/proc/net/${file}`, 'utf8').trim().split('\n');
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const [group, ...names] = lines[i].split(' ');
      const [, ...values] = lines[i + 1].split(' ');
      names.forEach((name, k) => {
        counters[`${group.slice(0, -1)}${name}`] = Number(values[k]);
      });
    }
  }
  return counters;
}

/** Closes the stack once it holds no memory and no connection but in TIME-WAIT; tells what it held else. */
async function close(): Promise<string> {
  const closing = stack as Stack;
  let left = '';
  for (let tries = 0; tries < 500; tries++) {
    const open = Object.keys(connectionStates(closing)).filter((state) => Number(state) !== L.TCP_TIME_WAIT);
    const { core } = closing;
    const inUse = [core.zbufInUse(), core.rxInUse()];
    left = open.length === 0 && inUse[0] + inUse[1] === 0 ? '' : `objects ${inUse}, states ${open}`;
    if (left === '') break;
    await delay(10);
  }
  stack = null;
  await closing.close();
  return left;
}

process.on('message', async (request: EndpointRequest) => {
  switch (request.ask) {
    case 'open':
      try {
        stack = await openStack({ link, ...request.options });
        net = createNet(stack) as unknown as typeof nodeNet;
        process.send?.('open');
      } catch (error) {
        process.send?.(String(error));
      }
      break;
    case 'listen':
      listen(request);
      break;
    case 'connect':
      void connect(request);
      break;
    case 'counters': {
      const counters = stack
        ? Object.fromEntries(Object.entries(stack.core.counters()).map(([name, count]) => [name, Number(count)]))
        : kernelCounters();
      process.send?.(counters);
      break;
    }
    case 'states':
      process.send?.(connectionStates(stack as Stack));
      break;
    case 'close':
      process.send?.(await close());
      break;
  }
});
process.on('disconnect', () => void (stack?.close() ?? Promise.resolve()).then(() => process.exit(0)));
process.send?.('ready');
