// Two stacks of one process on a memory hub, each with its lunet/net, for tests in real time.
import type { EventEmitter } from 'node:events';
import * as assert from 'uvu/assert';
import { memoryLink, openStack, type Stack, type StackOptions } from '../../src/host/index.js';
import { createNet, type Net } from '../../src/host/net/index.js';
import type { Server } from '../../src/host/net/server.js';
import type { Socket } from '../../src/host/net/socket.js';

export const SERVER_ADDRESS = '10.0.0.1';
export const CLIENT_ADDRESS = '10.0.0.2';

let hubs = 0;

export interface Ends {
  serverStack: Stack;
  clientStack: Stack;
  server: Net;
  client: Net;
}

export async function openEnds(options: Partial<StackOptions> = {}): Promise<Ends> {
  const hub = `net-${process.pid}-${hubs++}`;
  const open = (address: string): Promise<Stack> =>
    openStack({
      link: memoryLink(hub),
      address: `${address}/24`,
      zones: 24,
      rxZones: 4,
      maxConnections: 4096,
      ...options,
    });
  const serverStack = await open(SERVER_ADDRESS);
  const clientStack = await open(CLIENT_ADDRESS);
  return { serverStack, clientStack, server: createNet(serverStack), client: createNet(clientStack) };
}

/** Waits for `condition`, looking every millisecond. */
export async function until(condition: () => boolean, what: string, limitMs = 5000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** The first argument of the next `event`; an 'error' before it rejects. */
export function next<T = unknown>(emitter: EventEmitter, event: string, limitMs = 5000): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(() => reject(new Error(`waited ${limitMs} ms for '${event}'`))), limitMs);
    const onEvent = (value: T): void => settle(() => resolve(value));
    const onError = (error: Error): void => settle(() => reject(error));
    const settle = (outcome: () => void): void => {
      clearTimeout(timer);
      emitter.off(event, onEvent);
      if (event !== 'error') emitter.off('error', onError);
      outcome();
    };
    emitter.once(event, onEvent);
    if (event !== 'error') emitter.once('error', onError);
  });
}

export async function listening(server: Server, port = 0): Promise<number> {
  server.listen(port, SERVER_ADDRESS);
  await next(server, 'listening');
  return server.address()!.port;
}

/** A connected pair of sockets and the server they came from. */
export async function connected(
  ends: Ends,
  options: { server?: object; client?: object } = {},
): Promise<{ near: Socket; far: Socket; server: Server }> {
  const server = ends.server.createServer(options.server ?? {});
  const port = await listening(server);
  const accepted = next<Socket>(server, 'connection');
  const near = ends.client.connect({ port, host: SERVER_ADDRESS, ...options.client });
  await next(near, 'connect');
  return { near, far: await accepted, server };
}

/** Everything is given back once the last sockets are gone; then the stacks close. */
export async function finish(ends: Ends): Promise<void> {
  const stacks = [ends.serverStack, ends.clientStack];
  const inUse = (): number => stacks.reduce((sum, { core }) => sum + core.zbufInUse() + core.rxInUse(), 0);
  try {
    await until(() => inUse() === 0, 'objects in use after the test');
    for (const { core } of stacks) assert.is(core.counters().ZbufMisuse, 0n);
  } finally {
    for (const stack of stacks) await stack.close();
  }
}

export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
