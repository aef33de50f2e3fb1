// Listening and connecting, the same over lunet/zc and over node:net's interface, so that one program runs on both.
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemError } from '../core/errors.js';
import { ECONNABORTED } from '../core/layout.js';
import type { ZcConnection } from '../zc/connection.js';
import type { Zc } from '../zc/zc.js';
import { RpcClient, type RpcClientOptions } from './client.js';
import { BufferMemory, type RpcMemory } from './memory.js';
import type { RpcServer } from './server.js';
import { NetTransport } from './transport-net.js';
import { ZcTransport, zcHandler } from './transport-zc.js';

export interface RpcListener {
  readonly port: number;
  /** Accepts no more; the connections stay: RpcServer.close() ends them. */
  close(): void;
}

export interface RpcNetwork {
  /** Where payloads come from: what is sent by reference is allocated here. */
  readonly memory: RpcMemory;
  /** Rejects with EADDRINUSE and the like. Over lunet/zc the port must be given. */
  listen(options: { port: number; address?: string }, server: RpcServer): Promise<RpcListener>;
  /** Calls may be made at once: they leave when the connection is open. options.onClose has what went wrong. */
  connect(options: { port: number; address: string }, client?: RpcClientOptions): RpcClient;
}

/** RPC over lunet/zc: nothing is copied. */
export function rpcOverZc(zc: Zc): RpcNetwork {
  const clientHandler = zcHandler();
  const transports = new Set<ZcTransport>();
  const transport = (connection: ZcConnection, isOpen: boolean): ZcTransport => {
    const made = new ZcTransport(zc, connection, isOpen, () => transports.delete(made));
    transports.add(made);
    return made;
  };
  // Connections of a stack that is closed say nothing more.
  zc.stack.onClose(() => {
    for (const each of transports) each.closed(systemError(ECONNABORTED, 'read', ': the stack is closed'));
  });
  return {
    memory: zc,
    async listen(options, server) {
      const accept = (connection: ZcConnection): void => {
        connection.setNoDelay();
        server.accept(transport(connection, true), connection);
      };
      return zc.listen(options, zcHandler(accept));
    },
    connect(options, client) {
      return new RpcClient(transport(zc.connect(options, clientHandler), false), client);
    },
  };
}

/** The part of node:net, or of createNet(stack), that is needed. */
export interface NetLike {
  createServer(onSocket: (socket: Duplex) => void): {
    listen(options: { port: number; host?: string }): unknown;
    once(event: 'listening' | 'error', listener: (error: Error) => void): unknown;
    address(): AddressInfo | string | null;
    close(): unknown;
  };
  connect(options: { port: number; host: string }): Duplex;
}

/** RPC over `node:net` or `createNet(stack)`. */
export function rpcOverNet(net: NetLike, memory = new BufferMemory()): RpcNetwork {
  return {
    memory,
    listen: ({ port, address }, server) =>
      new Promise((resolve, reject) => {
        const listener = net.createServer((socket) => server.accept(new NetTransport(socket, memory), socket));
        listener.once('error', reject);
        listener.once('listening', () => {
          const bound = listener.address();
          resolve({
            port: typeof bound === 'object' && bound !== null ? bound.port : port,
            close: () => void listener.close(),
          });
        });
        listener.listen(address === undefined ? { port } : { port, host: address });
      }),
    connect: ({ port, address }, client) =>
      new RpcClient(new NetTransport(net.connect({ port, host: address }), memory), client),
  };
}

/** A client on a connection that is there already: any socket. */
export function rpcClient(socket: Duplex, options?: RpcClientOptions, memory = new BufferMemory()): RpcClient {
  return new RpcClient(new NetTransport(socket, memory), options);
}
