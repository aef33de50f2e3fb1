// Two memif ends that are connected: one of this process, one in a process of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../helpers/netns.js';
import { type EndProcess, startEnd } from './end-process.js';
import { openEnd, type RingEnd } from './ring-end.js';

const folder = mkdtempSync(join(tmpdir(), 'lunet-rings-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
let sockets = 0;
/** A path for one pair's socket. */
export const socket = (): string => join(folder, `${sockets++}.sock`);

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const frame = (seed: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 31 + (i >> 8)) & 0xff);

export type Role = 'server' | 'client';

/** An end here and one in a process of its own, which are connected. `parameters`: of both URIs. */
export async function pair(role: Role, parameters = ''): Promise<{ end: RingEnd; peer: EndProcess }> {
  const path = socket();
  const uri = (of: Role): string => `memif:${path}?role=${of}${parameters}`;
  const early = role === 'client' ? await startEnd(uri('server')) : null;
  const end = await openEnd(uri(role));
  const peer = early ?? (await startEnd(uri('client')));
  peer.tell('collect');
  // Until it has read that, it sends back what comes.
  await peer.report();
  let sent = 0;
  await until('the connection', () => {
    end.turn();
    sent += end.send(frame(0, 60)).length;
    end.turn();
    // Only the shim's own path knows what is unread, so it is this path that runs.
    return end.link.stats().txFrames > 0;
  });
  // What was sent before the connection may still be on its way through the driver.
  await until('the peer to have read everything', () => {
    end.turn();
    return end.completed.length === sent && end.link.stats().txUnread === 0;
  });
  return { end, peer };
}

/** What the peer has received behind its first `from` frames, as soon as that is `count` frames. */
export async function collectedBy(end: RingEnd, peer: EndProcess, from: number, count: number): Promise<string[]> {
  const deadline = Date.now() + 5000;
  for (;;) {
    end.turn();
    const { collected } = await peer.report();
    if (collected.length >= from + count || Date.now() > deadline) return collected.slice(from).map((one) => one.hex);
  }
}
