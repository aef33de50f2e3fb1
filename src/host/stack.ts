// A stack: one core on one link, driven by one loop on one thread. Everything above (lunet/net, lunet/zc, knbench)
// is built on the few calls below.
import { isIPv6 } from 'node:net';
import { isLinkLocal, linkLocal, parsePrefix, writeAddress } from './core/address.js';
import { type Core, type CoreBuild, createCore } from './core/core.js';
import { addressError, codeError, connectError, listenError, systemError } from './core/errors.js';
import * as L from './core/layout.js';
import type { Link } from './link/link.js';
import { loadNative } from './link/native.js';
import { openLink } from './link/open.js';
import { createLoop, type LoopOptions } from './loop/loop.js';
import { type NetlinkSync, openNetlinkSync } from './netlink/sync.js';
import type { CongestionName, ProfileName, ProfileParameters } from './profiles.js';
import { coreConfig, followsKernel } from './stack-config.js';
import { createPortKeeper } from './traffic/steering.js';

export interface StackOptions extends Partial<Omit<ProfileParameters, 'congestion' | 'synCookies' | 'tcpFlags'>> {
  /** A link URI (`memory:NAME`, `memif:PATH`, `xdp:IFACE`, …) or an open link. */
  link: string | Link;
  /**
   * Own address with prefix length, e.g. `10.0.0.1/24` or `fd00::1/64`, or several of them. Where the link shares a kernel's interface, the kernel's
   * addresses, routes and neighbours are used unless this is given; a link that steers ports (`xdp:`) then has both.
   */
  address?: string | readonly string[];
  /** Default gateway, or one of each family. */
  gateway?: string | readonly string[];
  /** `local` by default on links in memory (`memory:`, `loopback:`, `memif:`), `internet` on all others. */
  profile?: ProfileName;
  /** Seed of everything random in the core; by default from the system's random source. */
  seed?: bigint;
  maxConnections?: number;
  /**
   * Connections that may be doing something at the same time, at most 65,536 by default. More cost 768 bytes each, those
   * beyond it about 240: they are packed while they do nothing.
   */
  activeConnections?: number;
  maxListeners?: number;
  /** UDP sockets there may be; 1024 by default. 0: no UDP. */
  maxUdpSockets?: number;
  /** Receive buffer of a UDP socket: payload bytes and datagrams that may wait; 212,992 and 256 by default. */
  udpRcvBufBytes?: number;
  udpRcvBufDatagrams?: number;
  /** The same for all UDP sockets together: 4 MiB and 1024 by default, and at most half of the receive objects. */
  udpMemBytes?: number;
  udpDatagrams?: number;
  /** Send and receive buffer of a connection, bytes. */
  sndBufBytes?: number;
  rcvBufBytes?: number;
  /** Client ports, lowest and highest. */
  portRange?: readonly [number, number];
  /** 2 MiB zones in all, and how many of them receive frames. */
  zones?: number;
  rxZones?: number;
  /** Out-of-order receive objects a connection may hold. */
  oooObjects?: number;
  timestamps?: boolean;
  sack?: boolean;
  windowScale?: boolean;
  /** Congestion control of connections that do not choose their own; the profile's by default. */
  congestion?: CongestionName;
  /** Explicit congestion notification: agreed to when the peer asks (`accept`, the default), asked for too, or not at all. */
  ecn?: 'off' | 'accept' | 'on';
  /**
   * SYN cookies (RFC 4987): when a listener has as many half-open connections as its backlog (`pressure`, the default),
   * for every SYN (`always`, for tests), or never (`off`: the oldest half-open connection makes room).
   */
  synCookies?: 'off' | 'pressure' | 'always';
  /** Neither fill in nor verify checksums: both ends of a shared-memory link must agree. */
  trustLink?: boolean;
  build?: CoreBuild;
  loop?: LoopOptions;
  /**
   * Keeps the calling thread, which is the loop's, on this CPU: V8's helper threads stay where they are. Needs the shim.
   * EINVAL for a CPU that there is not, or that the process may not use.
   */
  cpu?: number;
}

/** What happens to a listener or a connection. Every callback runs on the loop's thread, to completion. */
export interface SocketHandler {
  /** A new connection of this listener: give it a handler with setHandler() at once, or it is aborted. */
  accept?(handle: number): void;
  connect?(): void;
  /** Batch: `a` bytes are ready for recv(). Inline: [a, a + b) is payload and one reference to it is yours. */
  data?(a: number, b: number): void;
  writable?(): void;
  eof?(): void;
  /** UDP. Batch: `a` datagrams are ready for udpRecv(). Inline: a UDPD_… descriptor is at `a`, its payload yours to free. */
  datagram?(a: number, b: number): void;
  /** `what`: REPORT_… bits; `errno` of an ICMP error, else 0; `urgentBytes` to read until the end of urgent data. */
  report?(what: number, errno: number, urgentBytes: number): void;
  /** The connection is dead; close() releases the handle. */
  error?(errno: number): void;
  closed?(): void;
}

export interface ListenOptions {
  port: number;
  /** Local address; any by default: `::`, which takes IPv4 too, on a stack that has an IPv6 address, else `0.0.0.0`. */
  address?: string;
  /** On `::`: IPv6 connections only. */
  ipv6Only?: boolean;
  /** Connections that may wait to be accepted; 511 by default, as Node's. */
  backlog?: number;
  inline?: boolean;
}

export interface ConnectOptions {
  port: number;
  address: string;
  localAddress?: string;
  localPort?: number;
  inline?: boolean;
}

export interface BindOptions {
  /** 0: a free one of the client range, or of the link's `ports=`. */
  port: number;
  /** Local address; `::`, which takes IPv4 too, by default. */
  address?: string;
  /** On `::`: IPv6 only. */
  ipv6Only?: boolean;
  /** Shares the address with others that ask for it; the one bound last receives. */
  reuse?: boolean;
  inline?: boolean;
}

export interface Stack {
  readonly core: Core;
  readonly link: Link;
  readonly hugepages: boolean;
  /** Listens; returns the handle. Throws a Node-style error (EADDRINUSE, EACCES, …; ECONNABORTED once the stack is closed). */
  listen(options: ListenOptions, handler: SocketHandler): number;
  /** Begins an active open; returns the handle. Throws what is known at once (ENETUNREACH, …). */
  connect(options: ConnectOptions, handler: SocketHandler): number;
  /** Opens and binds a UDP socket; returns the handle. Throws a Node-style error (EADDRINUSE, EACCES, …). */
  bind(options: BindOptions, handler: SocketHandler): number;
  setHandler(handle: number, handler: SocketHandler): void;
  /** Forgets the handler: call it with, or after, close(), abort() or udpClose() of the core. */
  release(handle: number): void;
  /** Something was queued from outside a callback: the loop shall look soon. */
  kick(): void;
  /** Whether the loop's turn is under way, and with it the callback that asks. */
  readonly turning: boolean;
  /**
   * Brings the core's clock up to date. Call it before the core's send() and shutdown() when no turn is under way, and
   * in callbacks that may have computed for long: a timer armed in the past expires early.
   */
  enter(): void;
  /** Whether a handle keeps the process alive, as in node:net. */
  ref(handle: number): void;
  unref(handle: number): void;
  /** The link’s clock as of the last burst, microseconds. */
  nowUs(): number;
  onClose(callback: () => void): void;
  /** Called at the end of every turn that had events for batch sockets, before what they caused is sent. */
  afterEvents(callback: () => void): void;
  /** Aborts what is open, which its handlers are told by error(ECONNABORTED), stops the loop, closes the link. */
  close(): Promise<void>;
}

const DEFAULT_BACKLOG = 511;
/** Turns of the loop in which resets of a closing stack reach the wire. */
const CLOSING_TURNS = 8;

export async function openStack(options: StackOptions): Promise<Stack> {
  const link = typeof options.link === 'string' ? openLink(options.link) : options.link;
  try {
    if (options.cpu !== undefined) loadNative().pinThread(options.cpu);
    return await openOn(link, options);
  } catch (error) {
    link.close();
    throw error;
  }
}

async function openOn(link: Link, options: StackOptions): Promise<Stack> {
  const { kernelInterface } = link.info;
  if (!kernelInterface && listOf(options.address).length === 0) {
    throw codeError(
      'ERR_LUNET_ADDRESS',
      `${link.info.uri} has no kernel interface to take an address from: give "address"`,
    );
  }
  const own = listOf(options.address).map(parsePrefix);
  const handlers = new Map<number, SocketHandler>();
  const unreferenced = new Set<number>();
  const closeCallbacks: (() => void)[] = [];
  const afterEventsCallbacks: (() => void)[] = [];
  let sync: NetlinkSync | null = null;
  let closing: Promise<void> | null = null;
  let closed = false;
  let hugepages = false;

  function dispatch(handle: number, kind: number, a: number, b: number): void {
    const handler = handlers.get(handle);
    if (!handler) {
      // Released between the event and now: a piece that came with it is nobody's.
      if (kind === L.EV_DATA && b !== 0) core.free(a);
      else if (kind === L.EV_DATAGRAM && b !== 0) core.free(u32[(a + L.UDPD_addr) >> 2]);
      else if (kind === L.EV_ACCEPT && a !== 0) core.abort(a);
      return;
    }
    switch (kind) {
      case L.EV_DATA:
        handler.data?.(a, b);
        break;
      case L.EV_DATAGRAM:
        handler.datagram?.(a, b);
        break;
      case L.EV_WRITE:
        handler.writable?.();
        break;
      case L.EV_ACCEPT:
        if (a !== 0) accepted(handler, a);
        else for (let next = core.accept(handle); next >= 0; next = core.accept(handle)) accepted(handler, next);
        break;
      case L.EV_CONNECT:
        handler.connect?.();
        break;
      case L.EV_EOF:
        handler.eof?.();
        break;
      case L.EV_REPORT:
        handler.report?.(a & 0xff, a >>> 8, b);
        break;
      case L.EV_ERROR:
        handler.error?.(a);
        break;
      case L.EV_CLOSED:
        handler.closed?.();
        break;
    }
  }

  function accepted(listener: SocketHandler, handle: number): void {
    listener.accept?.(handle);
    if (!handlers.has(handle)) core.abort(handle);
  }

  function surface(error: unknown): void {
    process.nextTick(() => {
      throw error;
    });
  }

  /** An exception must not unwind the core's frames: it surfaces as an uncaught one when they have returned. */
  function onInlineEvent(handle: number, kind: number, a: number, b: number): void {
    try {
      dispatch(handle, kind, a, b);
    } catch (error) {
      surface(error);
    }
  }

  /** Nor may it keep the rest from being closed. */
  function callOut(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      surface(error);
    }
  }

  const config = coreConfig(link, options);
  const core = createCore({
    config,
    ...(options.build ? { build: options.build } : {}),
    onEvent: onInlineEvent,
    place(memory, arenaEnd) {
      const attachment = link.attach({
        memory,
        ctl: L.CTL,
        arenaEnd,
        zoneCount: config.zones,
        rxZones: config.rxZones,
      });
      hugepages = attachment.hugepages;
      return attachment;
    },
  });
  const { u8, u32, scratch } = core;

  // Without a kernel on the interface its link-local address is ours to make (RFC 4291 §2.1, §2.5.6).
  if (
    !kernelInterface &&
    own.some(({ address }) => isIPv6(address)) &&
    !own.some(({ address }) => isLinkLocal(address))
  ) {
    own.push({ address: linkLocal(link.info.mac), prefixLength: 64 });
  }
  for (const { address, prefixLength } of own) {
    writeAddress(u8, scratch, address);
    const result = core.addressAdd(scratch, prefixLength);
    if (result < 0) {
      throw codeError('ERR_LUNET_ADDRESS', `${address} cannot be an address of this stack (errno ${-result})`);
    }
  }
  for (const gateway of listOf(options.gateway)) {
    u8.fill(0, scratch, scratch + 16);
    writeAddress(u8, scratch + 16, gateway);
    const v4 = u8[scratch + 16 + 10] === 0xff;
    if (v4) writeAddress(u8, scratch, '0.0.0.0');
    core.routeAdd(scratch, v4 ? 96 : 0, scratch + 16, 0);
  }
  const eventAt = core.dv.getUint32(L.CTL_EVENT_AT, true) >> 2;
  const eventMask = core.dv.getUint32(L.CTL_EVENT_SIZE, true) - 1;
  const eventHead = L.CTL_EVENT_HEAD >> 2;
  const eventTail = L.CTL_EVENT_TAIL >> 2;

  function drain(): number {
    let count = 0;
    // Callbacks may cause further events; those beyond one ring's worth wait for the next turn.
    while (u32[eventTail] !== u32[eventHead] && count <= eventMask) {
      const entry = eventAt + ((u32[eventTail] & eventMask) << 2);
      const handle = u32[entry];
      const kind = u32[entry + 1];
      const a = u32[entry + 2];
      const b = u32[entry + 3];
      u32[eventTail]++;
      count++;
      if (kind === L.EV_NEIGH) sync?.resolve(u8.subarray(a, a + 16));
      else dispatch(handle, kind, a, b);
    }
    if (count > 0) for (const callback of afterEventsCallbacks) callback();
    return count;
  }

  const loop = createLoop(core, link, drain, options.loop);

  await link.start();
  if (kernelInterface && followsKernel(link, options)) {
    sync = await openNetlinkSync(core, kernelInterface, {
      addon: loadNative(),
      families: ['IPv4', 'IPv6'],
      changed: () => loop.kick(),
      warning: (error) => process.emitWarning(error.message, { code: 'LUNET_NETLINK' }),
    });
  }

  function updateHold(): void {
    loop.hold(handlers.size > unreferenced.size);
  }

  const ports = createPortKeeper(link);

  /** udpBind() to a port, or to any of those that the link leaves to lunet. 0 or -errno. */
  function bindUdp(handle: number, address: number, port: number): number {
    if (port !== 0) return core.udpBind(handle, address, port);
    for (const choice of ports.choices('udp')) {
      const result = core.udpBind(handle, address, choice);
      if (result !== -L.EADDRINUSE) return result;
    }
    return -L.EADDRINUSE;
  }

  const stack: Stack = {
    core,
    link,
    get hugepages() {
      return hugepages;
    },
    listen(o, handler) {
      const address = o.address ?? (speaksIPv6(core) ? '::' : '0.0.0.0');
      if (closed) throw listenError(L.ECONNABORTED, address, o.port);
      if (!ports.mayUse('tcp', o.port)) {
        throw Object.assign(systemError(L.EACCES, 'listen', `: port ${o.port} is not among the link's ports=`), {
          address,
          port: o.port,
        });
      }
      writeAddress(u8, scratch, address || '::');
      const flags = (o.inline ? L.SOCK_INLINE : 0) | (o.ipv6Only ? L.SOCK_V6ONLY : 0);
      const handle = core.listen(scratch, o.port, o.backlog ?? DEFAULT_BACKLOG, flags);
      if (handle < 0) throw listenError(-handle, address, o.port);
      ports.take(handle, 'tcp', o.port);
      stack.setHandler(handle, handler);
      return handle;
    },
    bind(o, handler) {
      const address = o.address ?? '::';
      if (closed) throw addressError(L.ECONNABORTED, 'bind', address, o.port);
      if (o.port !== 0 && !ports.mayUse('udp', o.port)) {
        throw Object.assign(systemError(L.EACCES, 'bind', `: port ${o.port}/udp is not among the link's ports=`), {
          address,
          port: o.port,
        });
      }
      writeAddress(u8, scratch, address);
      const inline = o.inline ? L.SOCK_INLINE : 0;
      const handle = core.udpOpen(inline | (o.ipv6Only ? L.SOCK_V6ONLY : 0) | (o.reuse ? L.SOCK_REUSE : 0));
      if (handle < 0) throw addressError(-handle, 'bind', address, o.port);
      const result = bindUdp(handle, scratch, o.port);
      if (result < 0) {
        core.udpClose(handle);
        throw addressError(-result, 'bind', address, o.port);
      }
      core.udpInfo(handle, scratch);
      ports.take(handle, 'udp', core.dv.getUint32(scratch + L.UDPI_local_port, true));
      stack.setHandler(handle, handler);
      return handle;
    },
    connect(o, handler) {
      if (closed) throw connectError(L.ECONNABORTED, o.address, o.port);
      loop.enter();
      writeAddress(u8, scratch, o.address);
      if (o.localAddress) writeAddress(u8, scratch + 16, o.localAddress);
      const handle = core.connect(
        scratch,
        o.port,
        o.localAddress ? scratch + 16 : 0,
        o.localPort ?? 0,
        o.inline ? L.SOCK_INLINE : 0,
      );
      if (handle < 0) throw connectError(-handle, o.address, o.port);
      stack.setHandler(handle, handler);
      loop.kick();
      return handle;
    },
    setHandler(handle, handler) {
      handlers.set(handle, handler);
      updateHold();
    },
    release(handle) {
      handlers.delete(handle);
      unreferenced.delete(handle);
      ports.leave(handle);
      updateHold();
      loop.kick();
    },
    kick: () => loop.kick(),
    get turning() {
      return loop.turning;
    },
    enter: () => loop.enter(),
    ref(handle) {
      unreferenced.delete(handle);
      updateHold();
    },
    unref(handle) {
      if (handlers.has(handle)) unreferenced.add(handle);
      updateHold();
    },
    nowUs: () => loop.nowUs(),
    onClose(callback) {
      closeCallbacks.push(callback);
    },
    afterEvents(callback) {
      afterEventsCallbacks.push(callback);
    },
    close() {
      closing ??= new Promise((resolve) => {
        setImmediate(() => {
          for (const callback of closeCallbacks) callback();
          loop.enter();
          closed = true;
          const open = [...handlers];
          handlers.clear();
          for (const [handle] of open) if (core.abort(handle) < 0) core.udpClose(handle);
          for (const [, handler] of open) callOut(() => handler.error?.(L.ECONNABORTED));
          for (const callback of afterEventsCallbacks) callOut(callback);
          for (let i = 0; i < CLOSING_TURNS; i++) loop.turn();
          loop.stop();
          sync?.close();
          link.close();
          resolve();
        });
      });
      return closing;
    },
  };
  loop.start();
  updateHold();
  return stack;
}

/** Whether the stack has an IPv6 address beside those of the link itself: a route that came with one. */
export function speaksIPv6(core: Core): boolean {
  const { dv, u8, scratch: at } = core;
  for (let i = 0; core.routeAt(i, at) === 0; i++) {
    if (!(dv.getUint32(at + L.ROUTE_flags, true) & L.ROUTEF_CONNECTED)) continue;
    const mapped = u8[at + 10] === 0xff && u8[at + 11] === 0xff && u8.subarray(at, at + 10).every((byte) => byte === 0);
    if (!mapped && !(u8[at] === 0xfe && (u8[at + 1] & 0xc0) === 0x80)) return true;
  }
  return false;
}

function listOf(value: string | readonly string[] | undefined): string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : [...value];
}
