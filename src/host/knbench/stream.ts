import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { Framer, nextId, writeRequests } from './frame.js';
import { Meter } from './meter.js';
import type { ClientFigures, Workload } from './types.js';

// Both ends over byte streams. The kernel's node:net and lunet/net run through this one implementation.

/** The part of node:net's interface that the benchmark uses. */
interface NetModule {
  createServer(options: { noDelay: boolean; allowHalfOpen: boolean }, onSocket: (socket: Duplex) => void): NetServer;
  connect(options: { port: number; host: string; noDelay: boolean }, onConnect: () => void): Duplex;
}

interface NetServer {
  listen(port: number, host: string | undefined, onListening: () => void): unknown;
  address(): string | { port: number } | null;
  close(callback: () => void): unknown;
  once(event: 'error', listener: (error: Error) => void): unknown;
}

export interface StreamNet {
  listen(port: number, address: string | undefined, onSocket: (socket: Duplex) => void): Promise<StreamListener>;
  connect(port: number, address: string): Promise<Duplex>;
}

export interface StreamListener {
  readonly port: number;
  close(): Promise<void>;
}

/** Listening and connecting as promises, with Nagle's algorithm off at both ends. */
export function streamNet(net: NetModule): StreamNet {
  return {
    listen: (port, address, onSocket) =>
      new Promise((resolve, reject) => {
        const sockets = new Set<Duplex>();
        const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
          sockets.add(socket);
          socket.once('close', () => sockets.delete(socket));
          onSocket(socket);
        });
        server.once('error', reject);
        server.listen(port, address, () => {
          const bound = server.address();
          resolve({
            port: typeof bound === 'object' && bound !== null ? bound.port : port,
            close: () =>
              new Promise((done) => {
                for (const socket of sockets) socket.destroy();
                server.close(() => done());
              }),
          });
        });
      }),
    connect: (port, host) =>
      new Promise((resolve, reject) => {
        const socket = net.connect({ port, host, noDelay: true }, () => {
          socket.off('error', reject);
          resolve(socket);
        });
        socket.once('error', reject);
      }),
  };
}

/** Echoes every message once it is complete; messages that end in the same chunk go out in one write. */
export function echo(socket: Duplex): void {
  const framer = new Framer();
  let pending: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    let complete = 0;
    for (let at = framer.next(view, 0, chunk.length); at >= 0; at = framer.next(view, at, chunk.length)) complete = at;
    if (framer.bad) {
      socket.destroy();
      return;
    }
    if (complete === 0) {
      pending.push(chunk);
      return;
    }
    const tail = complete === chunk.length ? chunk : chunk.subarray(0, complete);
    if (pending.length === 0) {
      socket.write(tail);
    } else {
      socket.cork();
      for (const piece of pending) socket.write(piece);
      socket.write(tail);
      socket.uncork();
      pending = [];
    }
    if (complete < chunk.length) pending.push(chunk.subarray(complete));
  });
  socket.on('end', () => socket.end());
  // A client that goes away in the middle of a run is the client's to report.
  socket.on('error', () => socket.destroy());
}

const nowNs = (): number => performance.now() * 1e6;

/**
 * Keeps `depth` requests in flight on one connection. The requests lie in one buffer in the order they are sent;
 * responses come in the same order, so the bytes received are the buffer over and over, and the requests a chunk
 * of responses frees are one region of it (two around its end): one write.
 */
function startFlow(socket: Duplex, workload: Workload, meter: Meter): () => void {
  const { sizeBytes, depth } = workload;
  const framer = new Framer();
  const requests = Buffer.alloc(sizeBytes * depth);
  const requestView = new DataView(requests.buffer, requests.byteOffset, requests.length);
  const ids = writeRequests(requests, sizeBytes, depth);
  const sentAt = new Float64Array(depth);
  let slot = 0;
  let verifyAt = 0;
  let flight = 0;
  let broken = false;

  const send = (from: number, count: number): void => {
    flight += count;
    meter.inFlight += count;
    const untilEnd = Math.min(count, depth - from);
    if (untilEnd === count) {
      socket.write(requests.subarray(from * sizeBytes, (from + count) * sizeBytes));
      return;
    }
    socket.cork();
    socket.write(requests.subarray(from * sizeBytes));
    socket.write(requests.subarray(0, (count - untilEnd) * sizeBytes));
    socket.uncork();
  };
  const fail = (error: Error): void => {
    if (broken) return;
    broken = true;
    socket.destroy();
    meter.fail(error);
  };
  const verify = (chunk: Buffer): boolean => {
    for (let at = 0; at < chunk.length; ) {
      const n = Math.min(chunk.length - at, requests.length - verifyAt);
      if (requests.compare(chunk, at, at + n, verifyAt, verifyAt + n) !== 0) return false;
      at += n;
      verifyAt = (verifyAt + n) % requests.length;
    }
    return true;
  };

  socket.on('data', (chunk: Buffer) => {
    const now = nowNs();
    if (workload.verify && !verify(chunk)) {
      fail(new Error('a response differs from its request'));
      return;
    }
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    const first = slot;
    let again = 0;
    for (let at = framer.next(view, 0, chunk.length); at >= 0; at = framer.next(view, at, chunk.length)) {
      if (framer.id !== ids[slot] || framer.length !== sizeBytes || flight === 0) {
        fail(new Error(`a response carries id ${framer.id}, length ${framer.length}: not what was asked`));
        return;
      }
      flight--;
      meter.inFlight--;
      meter.complete(now - sentAt[slot]);
      if (meter.sending) {
        const id = nextId(framer.id);
        ids[slot] = id;
        requestView.setUint32(slot * sizeBytes + 4, id, true);
        sentAt[slot] = now;
        again++;
      }
      slot = slot + 1 === depth ? 0 : slot + 1;
    }
    if (framer.bad) fail(new Error('a response has a length out of bounds'));
    else if (again > 0) send(first, again);
  });
  socket.on('error', fail);
  socket.on('close', () => {
    if (flight > 0) fail(new Error('the server closed a connection with requests in flight'));
  });
  return () => {
    sentAt.fill(nowNs());
    send(0, depth);
  };
}

export async function runStreamClient(
  net: StreamNet,
  address: string,
  port: number,
  workload: Workload,
  onMeasuring: () => void,
): Promise<ClientFigures> {
  const meter = new Meter();
  const sockets: Duplex[] = [];
  let starts: (() => void)[] = [];
  try {
    return await meter.run(workload, {
      connect: async () => {
        const opening = Array.from({ length: workload.connections }, () =>
          net.connect(port, address).then((socket) => sockets.push(socket)),
        );
        await Promise.all(opening);
        starts = sockets.map((socket) => startFlow(socket, workload, meter));
      },
      start: () => {
        for (const start of starts) start();
      },
      clockNs: nowNs,
      onMeasuring,
    });
  } finally {
    await Promise.all(sockets.map(endSocket));
  }
}

/** Closes a socket in order where the peer still answers, at once where it does not. */
function endSocket(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) {
      resolve();
      return;
    }
    const timer = setTimeout(() => socket.destroy(), 500);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.end();
  });
}
