// net.ipv4.ip_local_reserved_ports: ports that the kernel must not hand out to its own clients, because a bifurcated
// link would take the answers. The setting belongs to the network namespace of the process.

import { readFileSync, writeFileSync } from 'node:fs';
import { formatPorts, intersectPorts, type PortSet, parsePorts, portSet, subtractPorts, unitePorts } from './ports.js';

const RESERVED_PORTS = '/proc/sys/net/ipv4/ip_local_reserved_ports';

function read(path: string): PortSet {
  const text = readFileSync(path, 'utf8').trim();
  return text === '' ? portSet([]) : parsePorts(text);
}

/**
 * Reserves the ports of the set that the kernel may still hand out.
 * @returns gives them free again, and only them.
 * @throws EACCES or EPERM without the right to, ENOENT without /proc.
 */
export function reservePorts(set: PortSet, path = RESERVED_PORTS): () => void {
  const before = read(path);
  const added = subtractPorts(set, before);
  if (added.length === 0) return () => undefined;
  writeFileSync(path, `${formatPorts(unitePorts(before, added))}\n`);
  return () => {
    const now = read(path);
    const left = subtractPorts(now, intersectPorts(now, added));
    writeFileSync(path, `${formatPorts(left)}\n`);
  };
}
