import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeError } from '../core/errors.js';
import { createNamespaces, INTERFACE, type Namespace } from '../netns.js';
import type { EndSpec, StackName, Wire } from './types.js';

// What joins the two ends of a run. `direct`: lunet's link as it was given, and the loopback for the kernel. `veth`: two
// network namespaces and a veth pair, which the run makes and removes; lunet has its ends through AF_XDP.

const SERVER_ADDRESS = '10.77.0.1';
const CLIENT_ADDRESS = '10.77.0.2';
/** The features of an interface that spare its host work with segments; all on when a veth pair is new. */
const OFFLOADS = ['tx', 'rx', 'tso', 'gso', 'gro'];
const DEFAULT_VETH_MTU = 1500;

export interface WireOptions {
  /** lunet's link on the direct wire; `clientLink` where the client's is not the same but for its role. */
  link: string;
  clientLink?: string | undefined;
  /** Of lunet's direct link. */
  mtu?: number | undefined;
  vethMtu?: number | undefined;
}

/** Which of the wires that are open at once, one for each thread of an end, a wire is. */
export interface WireTurn {
  index: number;
  count: number;
}

export interface OpenWire {
  readonly server: Partial<EndSpec>;
  readonly client: Partial<EndSpec>;
  /** Where the processes of the two ends run; undefined: where this one does. */
  readonly serverNamespace?: Namespace;
  readonly clientNamespace?: Namespace;
  close(): Promise<void>;
}

/** Wires that a list of links stands for: `xdp` without an interface is the veth pair, with and without its offloads. */
export function wiresOf(links: readonly string[]): Wire[] {
  return links.flatMap((link): Wire[] => (isVeth(link) ? ['veth', 'bare veth'] : ['direct']));
}

export const isVeth = (link: string): boolean => link === 'xdp' || link === 'xdp:';

/** AF_XDP meets no offload of the interface, so lunet has one veth wire and the kernel two. */
export function carries(wire: Wire, stack: StackName): boolean {
  return wire !== 'bare veth' || stack === 'kernel';
}

/**
 * Why a link cannot be had once for each of several threads; undefined where it can: a veth pair, a memif without a path and
 * links in one process are made anew, of a memif's path there are several.
 */
export function whyOnce(link: string): string | undefined {
  const [scheme] = link.split(':');
  if (isVeth(link) || scheme === 'memif' || scheme === 'memory') return undefined;
  return `more threads than one need a link each, and there is one ${link}: use memif, memif:PATH, memory: or xdp`;
}

/** `memif:PATH`, or `memif:PATH-0`, `memif:PATH-1`, … for several threads. Throws ERR_LUNET_THREADS. */
function linkOfTurn(link: string, { index, count }: WireTurn): string {
  if (count === 1) return link;
  const why = whyOnce(link);
  if (why !== undefined) throw codeError('ERR_LUNET_THREADS', why);
  const question = link.indexOf('?');
  const end = question < 0 ? link.length : question;
  return `${link.slice(0, end)}-${index}${link.slice(end)}`;
}

/** Wires open at once share nothing: sockets have folders or paths of their own, veth pairs namespaces. */
export async function openWire(
  wire: Wire,
  stack: StackName,
  options: WireOptions,
  turn: WireTurn = { index: 0, count: 1 },
): Promise<OpenWire> {
  if (wire !== 'direct') return openVeth(wire, stack, options);
  if (stack === 'kernel') return { server: { port: 0 }, client: {}, close: () => Promise.resolve() };
  const links = directLinks(options, turn);
  const mtu = options.mtu === undefined ? {} : { mtu: options.mtu };
  return {
    server: { ...mtu, link: links.server, address: `${SERVER_ADDRESS}/24` },
    client: { ...mtu, link: links.client, address: `${CLIENT_ADDRESS}/24`, server: SERVER_ADDRESS },
    close: async () => links.remove(),
  };
}

/** Folders of sockets; removed with their wire, or when this process ends. */
const folders = new Set<string>();

function removeFolder(folder: string): void {
  folders.delete(folder);
  rmSync(folder, { recursive: true, force: true });
}

const removeFolders = (): void => folders.forEach(removeFolder);

/** The two links of a pair. A memif without a path gets a socket of its own, removed afterwards. */
function directLinks(
  { link, clientLink }: WireOptions,
  turn: WireTurn,
): { server: string; client: string; remove(): void } {
  if (clientLink !== undefined) {
    return { server: linkOfTurn(link, turn), client: linkOfTurn(clientLink, turn), remove: () => undefined };
  }
  if (link === 'memif' || link === 'memif:') {
    const folder = mkdtempSync(join(tmpdir(), 'lunet-knbench-'));
    if (folders.size === 0) process.once('exit', removeFolders);
    folders.add(folder);
    return {
      ...withRoles(`memif:${join(folder, 'memif.sock')}`),
      remove() {
        removeFolder(folder);
        if (folders.size === 0) process.off('exit', removeFolders);
      },
    };
  }
  return { ...withRoles(linkOfTurn(link, turn)), remove: () => undefined };
}

function withRoles(link: string): { server: string; client: string } {
  const withRole = (role: string): string => `${link}${link.includes('?') ? '&' : '?'}role=${role}`;
  return { server: withRole('server'), client: withRole('client') };
}

/** A new pair for every turn: nothing of one stack (an XDP program, a neighbour) is there when the next begins. */
async function openVeth(wire: Wire, stack: StackName, options: WireOptions): Promise<OpenWire> {
  const pair = createNamespaces({ mtu: options.vethMtu ?? DEFAULT_VETH_MTU });
  try {
    if (wire === 'bare veth') {
      const off = OFFLOADS.flatMap((feature) => [feature, 'off']);
      for (const end of [pair.a, pair.b]) await end.run('ethtool', ['-K', INTERFACE, ...off]);
    }
  } catch (error) {
    await pair.dispose();
    throw error;
  }
  // Frames cross the kernel's veth driver: checksums are computed whatever the direct link is trusted with.
  const link = stack === 'lunet' ? { link: `xdp:${INTERFACE}`, trustLink: false } : {};
  return {
    // lunet takes its address from the interface, as the kernel on it has it.
    server: { ...link, ...(stack === 'kernel' ? { address: pair.a.address, port: 0 } : {}) },
    client: { ...link, server: pair.a.address },
    serverNamespace: pair.a,
    clientNamespace: pair.b,
    close: () => pair.dispose(),
  };
}

/** Throws ERR_LUNET_VETH with what is missing for namespaces of our own. */
export function needVeth(): void {
  const missing = [
    process.getuid?.() === 0 ? '' : 'root (it makes network namespaces and a veth pair)',
    ...['ip', 'ethtool'].map((tool) =>
      spawnSync(tool, ['--version']).error === undefined ? '' : `the program ${tool}`,
    ),
  ].filter((text) => text !== '');
  if (missing.length > 0) throw codeError('ERR_LUNET_VETH', `--link xdp needs ${missing.join(' and ')}`);
}
