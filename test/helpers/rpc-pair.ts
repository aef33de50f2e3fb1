// Two ends for lunet/rpc on each of the stacks it runs over.
import * as nodeNet from 'node:net';
import * as assert from 'uvu/assert';
import * as L from '../../src/host/core/layout.js';
import { memoryLink, openStack, type Stack, type StackOptions } from '../../src/host/index.js';
import { createNet } from '../../src/host/net/index.js';
import {
  BufferMemory,
  type NetLike,
  type RpcClient,
  type RpcClientOptions,
  type RpcError,
  type RpcNetwork,
  RpcServer,
  type RpcServerOptions,
  rpcOverNet,
  rpcOverZc,
} from '../../src/host/rpc/index.js';
import { createZc } from '../../src/host/zc/index.js';
import { until } from './net-pair.js';

export const RPC_STACKS = ['lunet/zc', 'lunet/net', 'node:net'] as const;
export type RpcStackName = (typeof RPC_STACKS)[number];

const PORT = 7;
let hubs = 0;

export interface RpcEnds {
  readonly name: RpcStackName;
  readonly stacks: readonly Stack[];
  readonly networks: { readonly server: RpcNetwork; readonly client: RpcNetwork };
  readonly server: RpcServer;
  readonly port: number;
  readonly address: string;
  /** The net module that a raw peer of the server can use; null over lunet/zc. */
  readonly net: NetLike | null;
  connect(options?: RpcClientOptions): RpcClient;
  /** Objects in use at both ends, those of the connections apart. */
  inUse(): number;
  /** Closes the clients and the server, and looks for what is left. */
  finish(misused?: boolean): Promise<void>;
}

/** @param stackOptions of both stacks, over lunet */
export async function openRpc(
  name: RpcStackName,
  options: RpcServerOptions = {},
  stackOptions: Partial<StackOptions> = {},
): Promise<RpcEnds> {
  const stacks: Stack[] = [];
  const memories = [new BufferMemory(), new BufferMemory()];
  let networks: RpcEnds['networks'];
  let net: NetLike | null = null;
  if (name === 'node:net') {
    net = nodeNet as unknown as NetLike;
    networks = { server: rpcOverNet(net, memories[0]), client: rpcOverNet(net, memories[1]) };
  } else {
    const hub = `rpc-${process.pid}-${hubs++}`;
    for (const address of ['10.0.0.1/24', '10.0.0.2/24']) {
      stacks.push(
        await openStack({
          link: memoryLink(hub),
          address,
          zones: 16,
          rxZones: 4,
          maxConnections: 256,
          ...stackOptions,
        }),
      );
    }
    if (name === 'lunet/zc') {
      networks = { server: rpcOverZc(createZc(stacks[0])), client: rpcOverZc(createZc(stacks[1])) };
    } else {
      const nets = stacks.map((stack) => createNet(stack) as unknown as NetLike);
      net = nets[1];
      networks = { server: rpcOverNet(nets[0], memories[0]), client: rpcOverNet(nets[1], memories[1]) };
    }
  }
  const server = new RpcServer(options);
  const address = name === 'node:net' ? '127.0.0.1' : '10.0.0.1';
  const listener = await networks.server.listen({ port: name === 'node:net' ? 0 : PORT, address }, server);
  const clients: RpcClient[] = [];
  const inUse = (): number =>
    memories.reduce((sum, memory) => sum + memory.inUse, 0) +
    stacks.reduce((sum, { core }) => sum + core.zbufInUse() + core.rxInUse(), 0);
  return {
    name,
    stacks,
    networks,
    server,
    port: listener.port,
    address,
    net,
    connect(clientOptions) {
      const client = networks.client.connect({ port: listener.port, address }, clientOptions);
      clients.push(client);
      return client;
    },
    inUse,
    async finish(misused = false) {
      try {
        for (const client of clients) client.abort();
        listener.close();
        await server.close(1000);
        await until(() => inUse() === 0, 'objects in use after the test');
        if (!misused) for (const { core } of stacks) assert.is(core.counters().ZbufMisuse, 0n);
        if (name === 'lunet/zc') {
          for (const { core } of stacks) {
            assert.is(core.counter(L.CNT_CopiedBytes) + core.counter(L.CNT_HostCopiedBytes), 0, 'copied bytes');
          }
        }
      } finally {
        for (const stack of stacks) await stack.close();
      }
    },
  };
}

/** The error that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<RpcError> {
  try {
    await promise;
  } catch (error) {
    return error as RpcError;
  }
  throw new Error('nothing went wrong');
}

/** Bytes that say where they are, and of which message. */
export const pattern = (length: number, seed = 7): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + seed) % 251));

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
