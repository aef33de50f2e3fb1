import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { ClientEnd, EndTotals, ServerEnd } from './meter.js';
import { kernelRpc, listenRpc, runRpcClient } from './rpc.js';
import { echo, runStreamClient, streamNet } from './stream.js';
import type { EndInfo, EndSpec } from './types.js';

// The baseline: the operating system's TCP through node:net.

const kernelNet = streamNet({ createServer, connect });

/** Retransmitted segments of the network namespace: node:net shows no counter per connection. */
export function kernelTotals(): EndTotals {
  let retransmits = 0;
  try {
    const lines = readFileSync('/proc/net/snmp', 'utf8').split('\n');
    const [names, values] = lines.filter((line) => line.startsWith('Tcp:')).map((line) => line.split(' '));
    retransmits = Number(values?.[names?.indexOf('RetransSegs') ?? -1] ?? 0);
  } catch {
    // No /proc/net/snmp: nothing to report.
  }
  return { copiedBytes: 0, retransmits };
}

function interfaceOf(address: string): string {
  for (const [name, entries] of Object.entries(networkInterfaces())) {
    if (entries?.some((entry) => entry.address === address)) return name;
  }
  return 'lo';
}

/** What the interface does for the kernel's TCP, from ethtool where it is installed. */
function offloadsOf(name: string): string {
  try {
    const features = execFileSync('ethtool', ['-k', name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const on = (feature: string): boolean => new RegExp(`^${feature}: on`, 'm').test(features);
    const found = [
      on('tx-checksumming') ? 'tx checksum' : '',
      on('rx-checksumming') ? 'rx checksum' : '',
      on('tcp-segmentation-offload') ? 'TSO' : '',
      on('generic-segmentation-offload') ? 'GSO' : '',
      on('generic-receive-offload') ? 'GRO' : '',
    ].filter((text) => text !== '');
    return found.length > 0 ? found.join(', ') : 'none';
  } catch {
    return name === 'lo' ? "Linux's loopback defaults: no checksums computed, TSO, GSO, GRO" : 'not known (no ethtool)';
  }
}

function mtuOf(name: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'));
  } catch {
    return 0;
  }
}

export function kernelInfo(address: string, port: number): EndInfo {
  const name = interfaceOf(address);
  return {
    port,
    link: name === 'lo' ? 'loopback' : name,
    driver: 'kernel',
    mtu: mtuOf(name),
    offloads: offloadsOf(name),
    hugepages: false,
    driverCopies: 'into and out of the socket at each end: 2 per direction',
  };
}

export async function openKernelServer(spec: EndSpec): Promise<ServerEnd> {
  const address = spec.address ?? '127.0.0.1';
  const listener =
    spec.mode === 'rpc'
      ? await listenRpc(kernelRpc, spec.port, address)
      : await kernelNet.listen(spec.port, address, echo);
  return { info: kernelInfo(address, listener.port), totals: kernelTotals, close: () => listener.close() };
}

export async function openKernelClient(spec: EndSpec): Promise<ClientEnd> {
  const server = spec.server ?? '127.0.0.1';
  return {
    info: kernelInfo(server, spec.port),
    run: (workload, onMeasuring) =>
      spec.mode === 'rpc'
        ? runRpcClient(kernelRpc, { address: server, port: spec.port }, workload, onMeasuring)
        : runStreamClient(kernelNet, server, spec.port, workload, onMeasuring),
    totals: kernelTotals,
    close: () => Promise.resolve(),
  };
}
