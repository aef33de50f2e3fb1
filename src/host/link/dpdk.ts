// Links on DPDK: a URI becomes a port of the shim. What a driver needs and offers is decided here; native/ only does it.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { codeError } from '../core/errors.js';
import * as L from '../core/layout.js';
import type { Link, LinkAttachment, LinkInfo, LinkPlacement } from './link.js';
import { closeOnSignal, type InterfaceInfo, loadNative, type NativePort, type NativePortOptions } from './native.js';
import type { DpdkUri, PortRange } from './uri.js';

/** What a scheme contributes to its link. */
interface Plan {
  port: NativePortOptions;
  mac: Uint8Array | null;
  mtu: number;
  kernelInterface: string | null;
  description: string;
  copiesPerPayloadByte: string;
}

const ETHERNET_BYTES = 14;
const VLAN_BYTES = 4;
const DEFAULT_MTU = 1500;
/** Between two processes nothing asks for smaller frames (docs/decisions/006). */
const MEMIF_MTU = 9000;
/** What a receive object holds at least: DPDK's customary buffer. */
const MIN_FRAME_BYTES = 2048;
/** Linux reserves this much in front of every AF_XDP frame (XDP_PACKET_HEADROOM). */
const XDP_HEADROOM = 256;
/** A UMEM chunk is at most a page. */
const XDP_CHUNK_BYTES = 4096;
/** mempool header, mbuf, DPDK headroom, XDP headroom, Ethernet and VLAN header. */
const XDP_MAX_MTU = XDP_CHUNK_BYTES - 64 - 128 - 128 - XDP_HEADROOM - ETHERNET_BYTES - VLAN_BYTES;
/** The af_xdp driver's fill queue, and as much again on its way through lunet. */
const XDP_MIN_OBJECTS = 4096;
/** The kernel hands over frames one by one, on veth 1 to 2 µs apart. */
const XDP_GRO_HOLD_US = 8;
/** Ports lunet's own connections begin at. */
const CLIENT_PORTS: PortRange = [61440, 65535];
/** Hugepages a stack with the default number of zones takes; with fewer free, ordinary pages do. */
const HUGEPAGES = 52;
/** How long start() of a memif client waits for its server, and how often it looks. */
const MEMIF_WAIT_MS = 1000;
const MEMIF_LOOK_MS = 5;
const MEMIF_RETRY_MS = 50;
/** How often a sleeper looks whether its peer is still the one that will wake it, and where there is none whether one has come. */
const WAKEUP_CHECK_MS = 50;
/** Kernel drivers that hand over frames whose TCP checksum a local sender left for hardware that does not exist. */
const PARTIAL_CHECKSUM_DRIVERS = new Set(['veth', 'tun', 'bridge', 'virtio_net']);
const SHARED_RINGS = '1 on transmit, 1 on receive (into and out of the shared rings)';

/** The shim stamps CLOCK_MONOTONIC, as process.hrtime() does; performance.now() is cheaper and begins later. */
const CLOCK_OFFSET_NS = Number(process.hrtime.bigint()) - performance.now() * 1e6;

const xdpObject = fileURLToPath(new URL('../../../../build/xdp/lunet.o', import.meta.url));

const frameBytesOf = (mtu: number): number => Math.max(MIN_FRAME_BYTES, mtu + ETHERNET_BYTES + VLAN_BYTES);

/** Opens a link on DPDK. Throws what the driver says, with a code and what to try. */
export function openDpdkLink(uri: DpdkUri): Link {
  const native = loadNative();
  const plan = planOf(uri, (name) => native.interfaceInfo(name));
  const port = native.openPort({
    ...plan.port,
    hugepages: process.env.LUNET_NO_HUGE === '1' ? 'forbid' : uri.hugepages,
    pages: HUGEPAGES,
    burst: uri.burstFrames,
    checksums: uri.offloads.csum,
    tso: uri.offloads.tso,
    ...(uri.rxDescriptors === null ? {} : { rxDescriptors: uri.rxDescriptors }),
    ...(uri.txDescriptors === null ? {} : { txDescriptors: uri.txDescriptors }),
  });
  const info: LinkInfo = Object.freeze({
    uri: uri.uri,
    driver: port.driver,
    mac: plan.mac ?? Uint8Array.from(port.mac),
    mtu: plan.mtu,
    rxChecksumTrusted: false,
    loopback: false,
    offloads: Object.freeze({
      txChecksum: port.txChecksum,
      checksumsInCopy: port.sumsInCopy ? 'both' : 'none',
      rxChecksum: port.rxChecksum,
      tso: port.tso,
      multiSegment: port.multiSegment,
      gso: uri.offloads.gso,
      gro: uri.offloads.gro,
    }),
    groHoldUs: uri.scheme === 'xdp' ? XDP_GRO_HOLD_US : 0,
    kernelInterface: plan.kernelInterface,
    description: `${plan.description}, DPDK on ${port.hugepages ? 'hugepages' : 'ordinary pages'}`,
    copiesPerPayloadByte: plan.copiesPerPayloadByte,
  });
  return uri.scheme === 'xdp' ? xdpLink(info, port, uri) : portLink(info, port, uri);
}

function portLink(info: LinkInfo, port: NativePort, uri: DpdkUri): Link {
  const memif = uri.scheme === 'memif';
  let closed = false;
  let retry: NodeJS.Timeout | null = null;
  let wakeupCheck: NodeJS.Timeout | null = null;
  const forget = closeOnSignal(close);

  function close(): void {
    if (closed) return;
    closed = true;
    if (retry) clearInterval(retry);
    stopWakeupCheck();
    forget();
    port.close();
  }

  function stopWakeupCheck(): void {
    if (wakeupCheck) clearInterval(wakeupCheck);
    wakeupCheck = null;
  }

  function armWakeup(callback: () => void): boolean {
    if (closed) return false;
    if (port.hasBacklog()) {
      setImmediate(callback);
      return true;
    }
    const wake = (): void => {
      stopWakeupCheck();
      callback();
    };
    const alone = memif && !port.linkUp();
    if (!alone && !port.armWakeup(wake)) return false;
    if (!memif) return true;
    stopWakeupCheck();
    // Without a peer there is nobody to send a signal: its coming is what wakes the loop.
    wakeupCheck = setInterval(() => {
      if (alone ? !port.linkUp() : !port.wakeupStale()) return;
      port.disarmWakeup();
      wake();
    }, WAKEUP_CHECK_MS);
    wakeupCheck.unref();
    return true;
  }

  /** A client whose server went away, or is not there yet, tries again for as long as it is open. */
  async function keepConnected(): Promise<void> {
    const deadline = performance.now() + MEMIF_WAIT_MS;
    let nextTry = performance.now() + MEMIF_RETRY_MS;
    while (!closed && !port.linkUp() && performance.now() < deadline) {
      if (performance.now() >= nextTry) {
        port.reconnect();
        nextTry = performance.now() + MEMIF_RETRY_MS;
      }
      await new Promise((done) => setTimeout(done, MEMIF_LOOK_MS));
    }
    if (closed) return;
    // Between connecting and the link coming up the two ends talk; a try is not disturbed by the next one.
    let wasDown = false;
    retry = setInterval(() => {
      const down = !port.linkUp();
      if (down && wasDown) port.reconnect();
      wasDown = down && !wasDown;
    }, MEMIF_RETRY_MS);
    retry.unref();
  }

  return {
    info,
    attach(placement: LinkPlacement): LinkAttachment {
      if (placement.ctl !== L.CTL) {
        throw codeError('ERR_LUNET_STATE', `the shim expects the control block at ${L.CTL}, not ${placement.ctl}`);
      }
      const { zoneBase, base, stride, count, hugepages } = port.attach(placement);
      return { zoneBase, rxPools: [{ base, stride, count }], hugepages };
    },
    start(): void | Promise<void> {
      port.start();
      return memif && uri.role === 'client' ? keepConnected() : undefined;
    },
    burst: port.burst,
    clockNs: () => performance.now() * 1e6 + CLOCK_OFFSET_NS,
    armWakeup,
    disarmWakeup(): void {
      stopWakeupCheck();
      port.disarmWakeup();
    },
    stats: () => port.stats(),
    close,
  };
}

function xdpLink(info: LinkInfo, port: NativePort, uri: Extract<DpdkUri, { scheme: 'xdp' }>): Link {
  const { ports } = uri;
  // A UDP socket always binds, and takes its port then.
  for (const [first, last] of ports?.tcp ?? [CLIENT_PORTS]) port.steer('tcp', first, last, true);
  for (const [first, last] of ports?.udp ?? []) port.steer('udp', first, last, true);
  return {
    ...portLink(info, port, uri),
    steer(protocol, number, on): void {
      // Ports named in the URI, and TCP's client range, stay with lunet.
      const [first, last] = CLIENT_PORTS;
      const stays = ports !== null || (protocol === 'tcp' && number >= first && number <= last);
      if (!stays) port.steer(protocol, number, number, on);
    },
    steeredPorts: (protocol) => ports?.[protocol] ?? 'dynamic',
  };
}

function planOf(uri: DpdkUri, interfaceInfo: (name: string) => InterfaceInfo): Plan {
  const mtu = uri.mtu ?? (uri.scheme === 'memif' ? MEMIF_MTU : DEFAULT_MTU);
  const plan: Plan = {
    port: { frameBytes: frameBytesOf(mtu) },
    mac: uri.mac,
    mtu,
    kernelInterface: null,
    description: '',
    copiesPerPayloadByte: '0',
  };
  switch (uri.scheme) {
    case 'memif':
      return planMemif(uri, plan);
    case 'xdp':
      return planXdp(uri, plan, interfaceInfo(uri.target));
    case 'packet':
      return planPacket(uri, plan, interfaceInfo(uri.target));
    case 'tap': {
      plan.mac ??= macFrom(uri.uri);
      plan.port = {
        ...plan.port,
        driver: 'net_tap',
        args: `iface=${uri.target}`,
        setMtu: mtu,
        tapInterface: uri.target,
      };
      plan.description = `TAP interface ${uri.target} of the kernel`;
      plan.copiesPerPayloadByte = '1 on transmit, 1 on receive (by the kernel)';
      return plan;
    }
    case 'pcap': {
      const files: string[] = [];
      if (uri.rxFile !== null) files.push(`rx_pcap=${resolve(uri.rxFile)}`);
      if (uri.txFile !== null) files.push(`tx_pcap=${resolve(uri.txFile)}`);
      plan.mac ??= macFrom(uri.uri);
      plan.port = { ...plan.port, driver: 'net_pcap', args: files.join(','), forceMultiSegment: true };
      plan.description = `capture files (receive ${uri.rxFile ?? 'none'}, transmit ${uri.txFile ?? 'none'})`;
      plan.copiesPerPayloadByte = '1 on transmit, 1 on receive (by the driver)';
      return plan;
    }
    case 'null': {
      plan.mac ??= macFrom(uri.uri);
      const args = uri.source ? `size=${uri.sourceBytes}` : 'no-rx=1';
      plan.port = { ...plan.port, driver: 'net_null', args, forceMultiSegment: true };
      plan.description = uri.source ? `a source of empty frames of ${uri.sourceBytes} bytes, and a sink` : 'a sink';
      return plan;
    }
    case 'pci':
      plan.port = { ...plan.port, pci: uri.target, setMtu: mtu };
      plan.description = `PCI device ${uri.target} (untested: built to DPDK's documentation)`;
      return plan;
  }
}

function planMemif(uri: Extract<DpdkUri, { scheme: 'memif' }>, plan: Plan): Plan {
  const slotBytes = uri.slotBytes ?? Math.ceil(plan.port.frameBytes / 64) * 64;
  const path = resolve(uri.target);
  // The two ends of a socket differ in their role and must differ in their address.
  plan.mac ??= macFrom(`memif:${path}#${uri.id}/${uri.role}`);
  const mac = Array.from(plan.mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
  plan.port = {
    frameBytes: Math.max(plan.port.frameBytes, slotBytes),
    driver: 'net_memif',
    args: `role=${uri.role},id=${uri.id},socket=${path},socket-abstract=no,rsize=${uri.rings},bsize=${slotBytes},mac=${mac}`,
    memif: true,
    stream: uri.stream,
    ...(uri.role === 'server' ? { socketPath: path } : {}),
  };
  plan.description = `shared memory, ${uri.role} of ${path}`;
  plan.copiesPerPayloadByte = SHARED_RINGS;
  return plan;
}

function planXdp(uri: Extract<DpdkUri, { scheme: 'xdp' }>, plan: Plan, device: InterfaceInfo): Plan {
  const { target } = uri;
  if (!device.up) {
    throw codeError('ENETDOWN', `interface ${target} is down. Try: ip link set ${target} up`);
  }
  const mtu = uri.mtu ?? device.mtu;
  // The kernel may send and receive frames of the interface's MTU whatever lunet itself uses.
  if (device.mtu > XDP_MAX_MTU) {
    throw codeError(
      'ERR_LUNET_MTU',
      `${target} has mtu ${device.mtu}; AF_XDP takes ${XDP_MAX_MTU}. Try: ip link set ${target} mtu 1500`,
    );
  }
  if (mtu > device.mtu) {
    throw codeError('ERR_LUNET_MTU', `mtu ${mtu} is more than the ${device.mtu} of ${target}`);
  }
  if (uri.queue >= device.queues) {
    throw codeError('ERR_LUNET_URI', `${uri.uri}: ${target} has ${device.queues} receive queue(s), counted from 0`);
  }
  const virtual = PARTIAL_CHECKSUM_DRIVERS.has(device.driver);
  // Busy polling drives a NIC's queue from this thread; on a virtual interface each empty look would be a system call.
  const busyFrames = uri.busyFrames ?? (virtual ? 0 : 64);
  plan.mac = Uint8Array.from(device.mac);
  plan.mtu = mtu;
  plan.kernelInterface = target;
  const args = [`iface=${target}`, `start_queue=${uri.queue}`, `xdp_prog=${xdpObject}`, `busy_budget=${busyFrames}`];
  if (uri.forceCopy) args.push('force_copy=1');
  plan.port = {
    driver: 'net_af_xdp',
    args: args.join(','),
    xdpInterface: target,
    // A chunk is not smaller than half a page.
    frameBytes: Math.max(MIN_FRAME_BYTES - XDP_HEADROOM, device.mtu + ETHERNET_BYTES + VLAN_BYTES),
    driverHeadroom: XDP_HEADROOM,
    maxObjectBytes: XDP_CHUNK_BYTES,
    minObjects: XDP_MIN_OBJECTS,
    rxFlags: device.driver === 'veth' ? L.RXF_L4_CSUM_PARTIAL : 0,
  };
  plan.description = `AF_XDP on ${target} (${device.driver || 'unknown driver'}), queue ${uri.queue}, beside the kernel`;
  plan.copiesPerPayloadByte =
    '1 on transmit by the shim (counted); by the kernel 1 each way where the interface has no zero copy';
  return plan;
}

function planPacket(uri: Extract<DpdkUri, { scheme: 'packet' }>, plan: Plan, device: InterfaceInfo): Plan {
  const { target } = uri;
  if (!device.up) {
    throw codeError('ENETDOWN', `interface ${target} is down. Try: ip link set ${target} up`);
  }
  plan.mtu = uri.mtu ?? device.mtu;
  plan.mac ??= Uint8Array.from(device.mac);
  plan.kernelInterface = target;
  // A ring slot holds a header of the kernel's and the frame; slots fill whole blocks.
  let slotBytes = MIN_FRAME_BYTES;
  while (slotBytes < frameBytesOf(device.mtu)) slotBytes *= 2;
  const frames = 1024;
  plan.port = {
    driver: 'net_af_packet',
    args: `iface=${target},qpairs=1,framesz=${slotBytes},blocksz=${Math.max(slotBytes, 4096)},framecnt=${frames},qdisc_bypass=1`,
    frameBytes: slotBytes,
    rxFlags: PARTIAL_CHECKSUM_DRIVERS.has(device.driver) ? L.RXF_L4_CSUM_PARTIAL : 0,
  };
  plan.description = `AF_PACKET on ${target} (${device.driver || 'unknown driver'}), beside the kernel`;
  plan.copiesPerPayloadByte = '2 on transmit, 2 on receive (by the driver and the kernel)';
  return plan;
}

/** A locally administered address that is the same in every run (FNV-1a of the text). */
export function macFrom(text: string): Uint8Array {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  const mac = new Uint8Array(6);
  for (let i = 0; i < 6; i++) mac[i] = Number((hash >> BigInt(8 * i)) & 0xffn);
  mac[0] = (mac[0] & 0xfc) | 2;
  return mac;
}
