import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';

/** What figures were measured with. */
export interface Versions {
  lunet: string;
  node: string;
  v8: string;
  /** null where DPDK is not installed. */
  dpdk: string | null;
  linux: string;
  cpu: string;
  cpuCount: number;
}

export function versions(): Versions {
  const { version } = JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'));
  return {
    lunet: version,
    node: process.versions.node,
    v8: process.versions.v8,
    dpdk: dpdkVersion(),
    linux: release(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown CPU',
    cpuCount: cpus().length,
  };
}

function dpdkVersion(): string | null {
  try {
    return execFileSync('pkg-config', ['--modversion', 'libdpdk'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}

export function versionsText({ lunet, node, v8, dpdk, linux, cpu, cpuCount }: Versions): string {
  const driver = dpdk === null ? 'no DPDK' : `DPDK ${dpdk}`;
  return `lunet ${lunet}, Node ${node} (V8 ${v8}), ${driver}, Linux ${linux}, ${cpuCount} × ${cpu}`;
}
