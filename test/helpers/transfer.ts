// Transfers by curl in a namespace, and the kernel's own traffic beside them.

import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { INTERFACE, type Namespace, type NamespacePair, until } from './netns.js';
import { type Program, startProgram } from './program.js';

export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;
/** lunet's port in A; the kernel's is outside lunet's range. */
export const LUNET_PORT = 8080;
export const KERNEL_PORT = 9000;
/** Nobody listens here, and it is not lunet's. */
export const CLOSED_PORT = 9001;
export const XDP_LINK = `xdp:${INTERFACE}?ports=${LUNET_PORT},61440-65535`;

/** What http-server tells about its stack. */
export interface Figures {
  zbufInUse: number;
  rxInUse: number;
  hugepages: boolean;
  /** By state, as Linux numbers them. */
  connections: Record<string, number>;
  counters: Record<string, number>;
  link: Record<string, number>;
}

export interface Transfer {
  hash: string;
  seconds: number;
}

const writer = fileURLToPath(new URL('../interop/programs/write-content.js', import.meta.url));

function sha256Of(stdout: string): string {
  return stdout.trim().split(/\s+/)[0];
}

export function startLunetServer(namespace: Namespace, link = XDP_LINK, env: NodeJS.ProcessEnv = {}): Promise<Program> {
  return startProgram(namespace, 'http-server', [`${LUNET_PORT}`, link], env);
}

export function startKernelServer(namespace: Namespace, port = KERNEL_PORT): Promise<Program> {
  return startProgram(namespace, 'http-server', [`${port}`]);
}

export async function curlGet(
  from: Namespace,
  host: string,
  seed: number,
  bytes: number,
  { port = LUNET_PORT, timeoutMs = 300_000 } = {},
): Promise<Transfer> {
  const started = performance.now();
  const script = `set -o pipefail; curl -sS --fail http://${host}:${port}/${seed}/${bytes} | sha256sum`;
  const { stdout } = await from.run('bash', ['-c', script], { timeoutMs });
  return { hash: sha256Of(stdout), seconds: (performance.now() - started) / 1000 };
}

/** The hash is the server's, of what it received. @param paceMs between two pieces of 64 KiB. */
export async function curlPut(
  from: Namespace,
  host: string,
  seed: number,
  bytes: number,
  { port = LUNET_PORT, timeoutMs = 300_000, paceMs = 0 } = {},
): Promise<Transfer> {
  const started = performance.now();
  const target = `http://${host}:${port}/`;
  const script = `set -o pipefail; "${process.execPath}" ${writer} ${seed} ${bytes} ${paceMs} | curl -sS --fail -H Expect: -T - ${target}`;
  const { stdout } = await from.run('bash', ['-c', script], { timeoutMs });
  return { hash: sha256Of(stdout), seconds: (performance.now() - started) / 1000 };
}

/**
 * Looks from B, again and again while `work` runs, whether the kernel in A answers as if lunet were not there: ping,
 * ARP, its TCP server, and a reset from a port where nobody listens.
 */
export async function besideKernelTraffic<T>(pair: NamespacePair, work: () => Promise<T>): Promise<T> {
  const { a, b } = pair;
  let done = false;
  let rounds = 0;
  const look = async (): Promise<void> => {
    while (!done || rounds === 0) {
      const [ping, arping, refused] = await Promise.all([
        b.run('ping', ['-n', '-c', '5', '-i', '0.1', '-w', '10', a.address]),
        // Its status is 1 also when it hears the answer to a question of B's own kernel and counts more than it asked.
        b.run('arping', ['-c', '2', '-w', '10', '-I', INTERFACE, a.address], { anyStatus: true }),
        b.run('curl', ['-sS', '--max-time', '10', `http://${a.address}:${CLOSED_PORT}/`], { anyStatus: true }),
        b.run('curl', [
          '-sS',
          '--fail',
          '--max-time',
          '20',
          '-o',
          '/dev/null',
          `http://${a.address}:${KERNEL_PORT}/1/4096`,
        ]),
      ]);
      assert.match(ping.stdout, /5 packets transmitted, 5 received/);
      assert.match(arping.stdout.toLowerCase(), new RegExp(`reply from ${a.address} \\[${a.mac}\\]`));
      assert.is(refused.status, 7, `the closed port must refuse: ${refused.stderr}`);
      rounds++;
    }
  };
  const beside = look();
  // A failure beside the transfer must not be an unhandled one while it runs.
  beside.catch(() => undefined);
  try {
    return await work();
  } finally {
    done = true;
    await beside;
  }
}

export function report(what: string, bytes: number, { seconds }: Transfer): void {
  const gbps = (bytes * 8) / seconds / 1e9;
  console.log(`    ${what}: ${seconds.toFixed(2)} s, ${gbps.toFixed(2)} Gbps`);
}

const TIME_WAIT = '6';

/** Waits until the stack holds no memory and no connection but in TIME-WAIT. */
export async function drained(server: Program): Promise<Figures> {
  return until(
    'every pool is full and no connection is left',
    async () => {
      const figures = await server.ask<Figures>({ ask: 'figures' });
      const { zbufInUse, rxInUse, connections } = figures;
      const open = Object.keys(connections).filter((state) => state !== TIME_WAIT);
      if (zbufInUse === 0 && rxInUse === 0 && open.length === 0) return figures;
      throw new Error(JSON.stringify({ zbufInUse, rxInUse, connections }));
    },
    30_000,
  );
}
