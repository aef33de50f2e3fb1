// Link URIs: `scheme:target?name=value&…`. Pure parsing and checking; nothing is opened here.
//
//   memory:NAME?mtu=&mac=&burst=
//   loopback:?mtu=&mac=&burst=                                a stack alone with itself
//   memif:PATH?role=server|client&id=0&rings=7&bsize=&stream=    shared memory between two processes
//   xdp:IFACE?ports=8080,53/udp,61440-65535&queue=0&copy=1&busy=     AF_XDP beside the kernel's own stack
//   packet:IFACE                                              AF_PACKET
//   tap:NAME                                                  a TAP interface of the kernel
//   pcap:FILE | pcap:?rx=FILE&tx=FILE                         capture files
//   null:?rx=1&size=64                                        a sink (and, with rx=1, a source of empty frames)
//   pci:ADDR                                                  a NIC bound to vfio-pci
//
// Common to all but memory and loopback: mtu, mac, burst, rxd, txd, hugepages=auto|require|forbid. And to all: csum, tso,
// gso, gro, each on or off; on by default, where the driver has it, but csum and tso of memory, which is to be a wire, and
// tso of loopback, which has none.
import { isIPv4 } from 'node:net';
import { parseMac } from '../core/address.js';
import { codeError } from '../core/errors.js';
import type { MemoryLinkOptions } from './embedded.js';
import type { Protocol } from './link.js';
import type { OffloadSwitches } from './offloads.js';

export type PortRange = readonly [first: number, last: number];

interface Common {
  /** The URI as written. */
  uri: string;
  /** Interface, path, name or address. */
  target: string;
  /** Largest IP packet in bytes; null: what the device has. */
  mtu: number | null;
  mac: Uint8Array | null;
  burstFrames: number;
  rxDescriptors: number | null;
  txDescriptors: number | null;
  hugepages: 'auto' | 'require' | 'forbid';
  /** Offloads that may be used. */
  offloads: OffloadSwitches;
}

export type ParsedUri = Common &
  (
    | { scheme: 'memory'; memory: MemoryLinkOptions }
    | { scheme: 'loopback'; memory: MemoryLinkOptions }
    | {
        scheme: 'memif';
        role: 'server' | 'client';
        id: number;
        /** log2 of the number of slots in each ring. */
        rings: number;
        /** Bytes of a slot; null: what a frame needs. */
        slotBytes: number | null;
        /** Write frames past the cache: always, never, or while the peer's core shares none with this one. */
        stream: 'on' | 'off' | 'auto';
      }
    | {
        scheme: 'xdp';
        /** null: TCP's client range and whatever is listened on or bound to. */
        ports: Readonly<Record<Protocol, readonly PortRange[]>> | null;
        queue: number;
        /** Do not try zero copy in the driver. */
        forceCopy: boolean;
        /** Frames the kernel's busy polling may take at a time; 0 turns it off; null: depends on the interface. */
        busyFrames: number | null;
      }
    | { scheme: 'packet' }
    | { scheme: 'tap' }
    | { scheme: 'pcap'; rxFile: string | null; txFile: string | null }
    | { scheme: 'null'; source: boolean; sourceBytes: number }
    | { scheme: 'pci' }
  );

export type DpdkUri = Exclude<ParsedUri, { scheme: 'memory' | 'loopback' }>;

const MIN_MTU = 576;
const MAX_MTU = 65535 - 14;
const MAX_BURST = 512;
const DEFAULT_BURST = 32;
const DEFAULT_RINGS = 7;
const MAX_RINGS = 14;
const SOCKET_PATH_BYTES = 107;
const INTERFACE_BYTES = 15;
const PCI_ADDRESS = /^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$/;
/** DPDK's device arguments use these as separators and know no quoting. */
const UNPASSABLE = /[,=[\]]/;
const USAGE: Record<string, string> = {
  memory: 'memory:NAME',
  loopback: 'loopback:',
  memif: 'memif:PATH?role=server|client',
  xdp: 'xdp:IFACE?ports=8080,53/udp,61440-65535',
  packet: 'packet:IFACE',
  tap: 'tap:NAME',
  pcap: 'pcap:FILE or pcap:?rx=FILE&tx=FILE',
  null: 'null:',
  pci: 'pci:0000:01:00.0',
};

/** Reads parameters one by one and at the end complains of those nobody asked for. */
class Parameters {
  private readonly left: Map<string, string>;

  constructor(
    readonly uri: string,
    query: string,
  ) {
    this.left = new Map();
    for (const [name, value] of new URLSearchParams(query)) {
      if (this.left.has(name)) throw this.error(`${name} is given twice`);
      this.left.set(name, value);
    }
  }

  error(what: string): Error {
    return codeError('ERR_LUNET_URI', `${this.uri}: ${what}`);
  }

  text(name: string): string | null {
    const value = this.left.get(name) ?? null;
    this.left.delete(name);
    if (value === '') throw this.error(`${name} is empty`);
    return value;
  }

  number(name: string, least: number, most: number): number | null {
    const value = this.text(name);
    if (value === null) return null;
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= least && number <= most)) throw this.error(`${name} must be ${least} to ${most}, not "${value}"`);
    return number;
  }

  flag(name: string): boolean | null {
    return this.choice(name, ['0', '1']) === null ? null : this.last === '1';
  }

  onOff(name: string): boolean | null {
    const value = this.choice(name, ['on', 'off']);
    return value === null ? null : value === 'on';
  }

  choice<T extends string>(name: string, allowed: readonly T[]): T | null {
    const value = this.text(name);
    this.last = value;
    if (value === null) return null;
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw this.error(`${name} must be ${allowed.join(' or ')}, not "${value}"`);
    return found;
  }

  mac(name: string): Uint8Array | null {
    const value = this.text(name);
    if (value === null) return null;
    let mac: Uint8Array;
    try {
      mac = parseMac(value);
    } catch {
      throw this.error(`${name} must be six hexadecimal bytes like 02:00:00:00:00:01, not "${value}"`);
    }
    if (mac[0] & 1) throw this.error(`${name} ${value} is a multicast address`);
    return mac;
  }

  finish(): void {
    const [unknown] = this.left.keys();
    if (unknown !== undefined) throw this.error(`unknown parameter "${unknown}"`);
  }

  private last: string | null = null;
}

/** Parses a link URI. Throws ERR_LUNET_URI that names the part which is wrong. */
export function parseLinkUri(uri: string): ParsedUri {
  const colon = uri.indexOf(':');
  const scheme = colon < 0 ? uri : uri.slice(0, colon);
  if (colon < 0 || !(scheme in USAGE)) {
    const known = Object.values(USAGE).join(', ');
    const hint = isIPv4(scheme) ? ' (an address is an option of its own)' : '';
    throw codeError('ERR_LUNET_URI', `"${uri}" is no link URI${hint}. Links are ${known}`);
  }
  const question = uri.indexOf('?', colon);
  const target = uri.slice(colon + 1, question < 0 ? undefined : question);
  const parameters = new Parameters(uri, question < 0 ? '' : uri.slice(question + 1));
  const embedded = scheme === 'memory' || scheme === 'loopback';
  const common: Common = {
    uri,
    target,
    mtu: parameters.number('mtu', MIN_MTU, MAX_MTU),
    mac: parameters.mac('mac'),
    burstFrames: parameters.number('burst', 1, MAX_BURST) ?? DEFAULT_BURST,
    rxDescriptors: parameters.number('rxd', 1, 32768),
    txDescriptors: parameters.number('txd', 1, 32768),
    hugepages: parameters.choice('hugepages', ['auto', 'require', 'forbid']) ?? 'auto',
    offloads: {
      csum: parameters.onOff('csum') ?? scheme !== 'memory',
      tso: parameters.onOff('tso') ?? !embedded,
      gso: parameters.onOff('gso') ?? true,
      gro: parameters.onOff('gro') ?? true,
    },
  };
  const parsed = parseScheme(scheme, common, parameters);
  parameters.finish();
  return parsed;
}

function parseScheme(scheme: string, common: Common, parameters: Parameters): ParsedUri {
  const { target } = common;
  switch (scheme) {
    case 'memory':
    case 'loopback': {
      const memory: MemoryLinkOptions = { burstFrames: common.burstFrames, ...common.offloads };
      if (memory.tso && scheme === 'loopback') throw parameters.error('this link has no tso to switch on');
      if (memory.tso && !memory.csum) throw parameters.error('tso=on needs csum=on');
      if (common.mtu !== null) memory.mtu = common.mtu;
      if (common.mac) memory.mac = Array.from(common.mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
      return { ...common, scheme, memory };
    }
    case 'memif': {
      if (target === '') throw parameters.error('the path of the socket is missing');
      if (Buffer.byteLength(target) > SOCKET_PATH_BYTES) {
        throw parameters.error(`a socket path has at most ${SOCKET_PATH_BYTES} bytes`);
      }
      checkPassable(parameters, target);
      const role = parameters.choice('role', ['server', 'client']);
      if (role === null) throw parameters.error('role=server or role=client is missing');
      return {
        ...common,
        scheme,
        role,
        id: parameters.number('id', 0, 0x7fffffff) ?? 0,
        rings: parameters.number('rings', 4, MAX_RINGS) ?? DEFAULT_RINGS,
        slotBytes: parameters.number('bsize', 64, 65472),
        stream: parameters.choice('stream', ['on', 'off', 'auto']) ?? 'auto',
      };
    }
    case 'xdp':
      checkInterface(parameters, target);
      if (common.mac) throw parameters.error('the kernel interface has a mac already');
      return {
        ...common,
        scheme,
        ports: parsePorts(parameters, parameters.text('ports')),
        queue: parameters.number('queue', 0, 63) ?? 0,
        forceCopy: parameters.flag('copy') ?? false,
        busyFrames: parameters.number('busy', 0, 65535),
      };
    case 'packet':
      checkInterface(parameters, target);
      return { ...common, scheme };
    case 'tap':
      checkInterface(parameters, target);
      return { ...common, scheme };
    case 'pcap': {
      const rxFile = parameters.text('rx') ?? (target === '' ? null : target);
      const txFile = parameters.text('tx');
      if (rxFile === null && txFile === null) throw parameters.error('no file is named: rx=FILE, tx=FILE or both');
      for (const file of [rxFile, txFile]) if (file !== null) checkPassable(parameters, file);
      return { ...common, scheme, rxFile, txFile };
    }
    case 'null':
      if (target !== '') throw parameters.error('null: has no name');
      return {
        ...common,
        scheme,
        source: parameters.flag('rx') ?? false,
        sourceBytes: parameters.number('size', 60, 1514) ?? 64,
      };
    default:
      if (!PCI_ADDRESS.test(target)) throw parameters.error(`"${target}" is no PCI address like 0000:01:00.0`);
      return { ...common, scheme: 'pci' };
  }
}

function checkInterface(parameters: Parameters, name: string): void {
  if (name === '') throw parameters.error('the name of the interface is missing');
  if (Buffer.byteLength(name) > INTERFACE_BYTES || /[\s/]/.test(name)) {
    throw parameters.error(`"${name}" is no interface name (at most ${INTERFACE_BYTES} bytes, no blanks, no slash)`);
  }
  checkPassable(parameters, name);
}

function checkPassable(parameters: Parameters, text: string): void {
  if (UNPASSABLE.test(text)) throw parameters.error(`"${text}" may not hold any of , = [ ]`);
}

/** `8080,53/udp,61440-65535/tcp`: without a protocol, TCP's. */
function parsePorts(parameters: Parameters, text: string | null): Record<Protocol, readonly PortRange[]> | null {
  if (text === null) return null;
  const ports: Record<Protocol, PortRange[]> = { tcp: [], udp: [] };
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (!match || first < 1 || last > 65535 || first > last) {
      throw parameters.error(`ports must be like 8080,53/udp,61440-65535, not "${part}"`);
    }
    ports[(match[3] ?? 'tcp') as Protocol].push([first, last]);
  }
  return ports;
}
