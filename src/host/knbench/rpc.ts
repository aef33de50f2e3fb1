import { connect, createServer } from 'node:net';
import {
  type CallOptions,
  type Iov,
  type NetLike,
  RPC_HEADROOM,
  type RpcClient,
  type RpcMemory,
  type RpcNetwork,
  RpcServer,
  rpcOverNet,
} from '../rpc/index.js';
import { Iov as Pieces } from '../zc/iov.js';
import { bodyByte, MAX_DEPTH, MAX_MESSAGE_BYTES } from './frame.js';
import { Meter } from './meter.js';
import type { ClientFigures, Workload } from './types.js';

// Both ends as programs of lunet/rpc: the same one over lunet/zc and over the kernel's TCP. The size of a message is
// that of its payload; the header comes on top.

const ECHO = 1;
const OBJECT_BYTES = 65536;
const LIMITS = { maxMessageBytes: MAX_MESSAGE_BYTES, maxInFlight: MAX_DEPTH };

/** RPC over node:net. */
export const kernelRpc: RpcNetwork = rpcOverNet({ connect, createServer } as unknown as NetLike);

export interface RpcEcho {
  readonly port: number;
  close(): Promise<void>;
}

/** Answers every request with its own payload. */
export async function listenRpc(network: RpcNetwork, port: number, address?: string): Promise<RpcEcho> {
  const server = new RpcServer(LIMITS);
  server.handle(ECHO, (request) => void request.reply(request.pieces));
  const listener = await network.listen(address === undefined ? { port } : { port, address }, server);
  return {
    port: listener.port,
    close() {
      listener.close();
      return server.close(0);
    },
  };
}

/** One connection with `depth` requests in flight, each in objects of its own, sent again and again. */
class RpcFlow {
  readonly connected: Promise<void>;
  private readonly client: RpcClient;
  private readonly memory: RpcMemory;
  private readonly payloads: Iov[];
  private readonly options: CallOptions[];
  private readonly sentAt: Float64Array;
  private closing = false;

  constructor(
    network: RpcNetwork,
    server: { address: string; port: number },
    private readonly workload: Workload,
    private readonly meter: Meter,
    private readonly clockNs: () => number,
  ) {
    const { depth } = workload;
    this.memory = network.memory;
    this.sentAt = new Float64Array(depth);
    this.payloads = Array.from({ length: depth }, () => this.allocate());
    this.options = this.payloads.map((_, slot) => ({
      headroom: true,
      onReply: (error, pieces) => {
        if (error) this.fail(error);
        else this.answered(slot, pieces);
      },
    }));
    let opened = (): void => undefined;
    let failed = (_error: Error): void => undefined;
    this.connected = new Promise((resolve, reject) => {
      opened = resolve;
      failed = reject;
    });
    this.client = network.connect(server, {
      ...LIMITS,
      onOpen: opened,
      onClose: (error) => {
        const reason = error ?? new Error('the server closed a connection');
        failed(reason);
        this.fail(reason);
      },
    });
  }

  /** The first object has room for the header. */
  private allocate(): Iov {
    const { sizeBytes } = this.workload;
    const pieces = new Pieces(Math.ceil((sizeBytes + RPC_HEADROOM) / OBJECT_BYTES));
    let headroom = RPC_HEADROOM;
    for (let at = 0; at < sizeBytes; ) {
      const len = Math.min(sizeBytes - at, OBJECT_BYTES - headroom);
      const addr = this.memory.alloc(headroom + len) + headroom;
      const view = this.memory.view(addr, len);
      for (let i = 0; i < len; i++) view[i] = bodyByte(at + i);
      pieces.push(addr, len);
      at += len;
      headroom = 0;
    }
    return pieces;
  }

  start(): void {
    this.sentAt.fill(this.clockNs());
    for (let slot = 0; slot < this.payloads.length; slot++) this.send(slot);
  }

  private send(slot: number): void {
    this.meter.inFlight++;
    this.client.call(ECHO, this.payloads[slot], this.options[slot]);
  }

  private answered(slot: number, pieces: Iov): void {
    const { meter, workload } = this;
    if (pieces.byteLength !== workload.sizeBytes || (workload.verify && !this.matches(pieces))) {
      this.fail(new Error('a response differs from its request'));
      return;
    }
    const now = this.clockNs();
    meter.inFlight--;
    meter.complete(now - this.sentAt[slot]);
    if (!meter.sending) return;
    this.sentAt[slot] = now;
    this.send(slot);
  }

  private matches(pieces: Iov): boolean {
    let at = 0;
    for (let i = 0; i < pieces.length; i++) {
      for (const byte of this.memory.view(pieces.addr(i), pieces.len(i))) if (byte !== bodyByte(at++)) return false;
    }
    return true;
  }

  private fail(error: Error): void {
    if (this.closing) return;
    this.closing = true;
    this.meter.fail(error);
  }

  async close(): Promise<void> {
    this.closing = true;
    if (this.client.inFlight > 0) this.client.abort();
    await this.client.close();
    for (const pieces of this.payloads) for (let i = 0; i < pieces.length; i++) this.memory.free(pieces.addr(i));
  }
}

export async function runRpcClient(
  network: RpcNetwork,
  server: { address: string; port: number },
  workload: Workload,
  onMeasuring: () => void,
  clockNs: () => number = () => performance.now() * 1e6,
): Promise<ClientFigures> {
  const meter = new Meter();
  const flows: RpcFlow[] = [];
  try {
    return await meter.run(workload, {
      connect: async () => {
        for (let i = 0; i < workload.connections; i++) {
          flows.push(new RpcFlow(network, server, workload, meter, clockNs));
        }
        await Promise.all(flows.map((flow) => flow.connected));
      },
      start: () => {
        for (const flow of flows) flow.start();
      },
      clockNs,
      onMeasuring,
    });
  } finally {
    await Promise.all(flows.map((flow) => flow.close()));
  }
}
