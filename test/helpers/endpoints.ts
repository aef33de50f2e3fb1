// lunet in A and the kernel in B, each with a program (test/interop/programs/endpoint.ts) that opens connections on it.

import type { StackOptions } from '../../src/host/stack.js';
import type { ConnectRequest, Counters, Job, ListenRequest, Outcome } from '../interop/programs/endpoint.js';
import { createNamespaces, INTERFACE, type Namespace, type NamespacePair } from './netns.js';
import { type Program, startProgram } from './program.js';
import { KERNEL_PORT, LUNET_PORT, XDP_LINK } from './transfer.js';

export type Side = 'lunet' | 'kernel';
export type Family = 4 | 6;
/** Families that lunet speaks. */
export const FAMILIES: readonly Family[] = [4, 6];

/** Larger frames do not fit into an AF_XDP chunk; AF_PACKET takes any. */
const XDP_MOST_MTU = 3000;

/** Both ends of a connection may be asked at most this long. */
const TIMEOUT_MS = 60_000;

export interface Endpoints {
  readonly pair: NamespacePair;
  readonly link: string;
  address(side: Side, family: Family): string;
  /** Opens a stack in A. */
  open(options?: Partial<StackOptions>): Promise<void>;
  /** Sets `net.ipv4.NAME` in B. */
  sysctl(values: Readonly<Record<string, string | number>>): Promise<void>;
  /**
   * Chooses congestion control in B, by its routes: the sysctl of a namespace takes only what the machine's owner allows
   * unprivileged users (tcp_allowed_congestion_control).
   */
  kernelCongestion(name: string): Promise<void>;
  listen(side: Side, request: Omit<ListenRequest, 'ask' | 'host' | 'port'> & { family?: Family }): Promise<Listening>;
  connect(
    side: Side,
    request: Omit<ConnectRequest, 'ask' | 'host' | 'port'> & { family?: Family; port?: number },
  ): Promise<Outcome[]>;
  counters(side: Side): Promise<Counters>;
  /** How many connections lunet has in each state, as Linux numbers them. */
  states(): Promise<Record<string, number>>;
  /** Closes the stack in A. Rejects when it holds memory or connections after they have had time to end. */
  close(): Promise<void>;
  dispose(): Promise<void>;
}

export interface Listening {
  outcomes(timeoutMs?: number): Promise<Outcome[]>;
}

function hostAddress(pair: NamespacePair, link: string, side: Side, family: Family): string {
  const { a, b } = pair;
  const of = (one: Namespace): string => (family === 4 ? one.address : one.address6);
  if (side === 'kernel') return of(b);
  return link === XDP_LINK ? of(a) : of(a).replace(/1$/, '3');
}

/**
 * AF_PACKET sees frames as the sender's interface leaves them: it shall leave no whole windows, and no checksums to fill
 * in. And a veth hands frames on by the CPU that sent them, so that those of one connection overtake each other when its
 * sender moves: all go by one CPU.
 */
async function prepareForPackets(pair: NamespacePair): Promise<void> {
  const offloads = ['tx', 'tso', 'gso', 'gro'].flatMap((name) => [name, 'off']);
  await pair.b.run('ethtool', ['-K', INTERFACE, ...offloads]);
  for (const end of [pair.a, pair.b]) {
    await end.run('sh', [
      '-c',
      `for mask in /sys/class/net/${INTERFACE}/queues/rx-*/rps_cpus; do echo 1 > $mask; done`,
    ]);
  }
}

/** Two namespaces with the endpoints. @param mtu decides the link: beyond what AF_XDP takes, AF_PACKET. */
export async function createEndpoints({ mtu = 1500 } = {}): Promise<Endpoints> {
  const pair = createNamespaces({ mtu });
  const link = mtu <= XDP_MOST_MTU ? XDP_LINK : `packet:${INTERFACE}`;
  // A host of its own beside A's kernel, which hears the same frames.
  const hosts = [`${hostAddress(pair, link, 'lunet', 4)}/24`, `${hostAddress(pair, link, 'lunet', 6)}/64`];
  const own = link === XDP_LINK ? {} : { address: hosts };
  if (link !== XDP_LINK) await prepareForPackets(pair);
  const programs: Record<Side, Program> = {
    lunet: await startProgram(pair.a, 'endpoint', [link]),
    kernel: await startProgram(pair.b, 'endpoint'),
  };
  let opened = false;

  const self: Endpoints = {
    pair,
    link,
    address: (side, family) => hostAddress(pair, link, side, family),
    async open(options = {}) {
      if (opened) await self.close();
      const answer = await programs.lunet.ask<string>({ ask: 'open', options: { ...own, ...options } });
      if (answer !== 'open') throw new Error(answer);
      opened = true;
    },
    async sysctl(values) {
      await pair.b.run('sysctl', [
        '-qw',
        ...Object.entries(values).map(([name, value]) => `net.ipv4.${name}=${value}`),
      ]);
    },
    async kernelCongestion(name) {
      for (const family of ['-4', '-6']) {
        const { stdout } = await pair.b.run('ip', [family, '-j', 'route', 'show', 'dev', INTERFACE, 'proto', 'kernel']);
        for (const { dst } of JSON.parse(stdout) as { dst: string }[]) {
          if (dst.startsWith('fe80')) continue;
          const route = [dst, 'dev', INTERFACE, 'proto', 'kernel', 'congctl', name];
          await pair.b.run('ip', [family, 'route', 'replace', ...route]);
        }
      }
    },
    async listen(side, { family = 4, ...job }) {
      const port = side === 'lunet' ? LUNET_PORT : KERNEL_PORT;
      const request = { ask: 'listen', host: self.address(side, family), port, ...job };
      const answer = await programs[side].ask<string | [{ error: string }]>(request);
      if (answer !== 'listening') throw new Error(`listen on ${side}: ${JSON.stringify(answer)}`);
      return { outcomes: (timeoutMs = TIMEOUT_MS) => programs[side].next(timeoutMs) as Promise<Outcome[]> };
    },
    connect(side, { family = 4, ...job }) {
      const to = other(side);
      const port = to === 'lunet' ? LUNET_PORT : KERNEL_PORT;
      const request = { ask: 'connect', host: self.address(to, family), port, ...job };
      return programs[side].ask<Outcome[]>(request, TIMEOUT_MS);
    },
    states: () => programs.lunet.ask({ ask: 'states' }),
    counters: (side) => programs[side].ask<Counters>({ ask: 'counters' }),
    async close() {
      opened = false;
      const left = await programs.lunet.ask<string>({ ask: 'close' });
      if (left !== '') throw new Error(`left in the stack: ${left}`);
    },
    async dispose() {
      await pair.dispose();
    },
  };
  return self;
}

export function other(side: Side): Side {
  return side === 'lunet' ? 'kernel' : 'lunet';
}

/** One connection (or `count`), opened by `client`. */
export async function exchange(
  ends: Endpoints,
  client: Side,
  jobs: { readonly lunet: Job; readonly kernel: Job },
  options: { family?: Family; count?: number; parallel?: number; timeoutMs?: number } = {},
): Promise<Record<Side, Outcome[]>> {
  const { family = 4, count = 1, parallel = 1, timeoutMs } = options;
  const server = other(client);
  const listening = await ends.listen(server, { ...jobs[server], family, count });
  const [near, far] = await Promise.all([
    ends.connect(client, { ...jobs[client], family, count, parallel }),
    listening.outcomes(timeoutMs),
  ]);
  return { [client]: near, [server]: far } as Record<Side, Outcome[]>;
}
