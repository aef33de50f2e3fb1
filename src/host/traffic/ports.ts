// Sets of TCP ports: what a bifurcated link takes from the kernel, and how client ports are shared out.

export const PORT_MAX = 65535;
/** Client ports that belong to lunet unless told otherwise (ATC §7). */
export const CLIENT_PORTS: PortRange = [61440, 65535];

/** First and last, both included. */
export type PortRange = readonly [first: number, last: number];

/** Ascending, disjoint and not adjacent. */
export type PortSet = readonly PortRange[];

/** The error of a bad port or range: Node's code for bad ports. */
function badPort(message: string): RangeError & { code: string } {
  return Object.assign(new RangeError(message), { code: 'ERR_SOCKET_BAD_PORT' });
}

/** Sorts and merges. @throws ERR_SOCKET_BAD_PORT for what is no port (1 to 65535) or runs backwards. */
export function portSet(ranges: readonly PortRange[]): PortSet {
  for (const [first, last] of ranges) {
    const valid = Number.isInteger(first) && Number.isInteger(last) && first >= 1 && last <= PORT_MAX && first <= last;
    if (!valid) throw badPort(`ports ${first}-${last}: a range runs upwards within 1 to ${PORT_MAX}`);
  }
  const merged: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const previous = merged[merged.length - 1];
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

/**
 * Reads '80', '8000-8999', '443,61440-65535'. The same notation as net.ipv4.ip_local_reserved_ports.
 * @throws ERR_SOCKET_BAD_PORT with the part that is wrong.
 */
export function parsePorts(text: string): PortSet {
  const ranges = text.split(',').map((part): PortRange => {
    const match = /^\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?\s*$/.exec(part);
    if (match === null) throw badPort(`"${part}" is no port and no range of ports, as in 80,8000-8999`);
    const first = Number(match[1]);
    return [first, match[2] === undefined ? first : Number(match[2])];
  });
  return portSet(ranges);
}

export function formatPorts(set: PortSet): string {
  return set.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}

export function hasPort(set: PortSet, port: number): boolean {
  let low = 0;
  let high = set.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (port < set[middle][0]) high = middle - 1;
    else if (port > set[middle][1]) low = middle + 1;
    else return true;
  }
  return false;
}

export function countPorts(set: PortSet): number {
  return set.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

export function unitePorts(a: PortSet, b: PortSet): PortSet {
  return portSet([...a, ...b]);
}

/** What is in a and not in b. */
export function subtractPorts(a: PortSet, b: PortSet): PortSet {
  const left: PortRange[] = [];
  for (const [first, last] of a) {
    let next = first;
    for (const [from, to] of b) {
      if (to < next || from > last) continue;
      if (from > next) left.push([next, from - 1]);
      next = to + 1;
    }
    if (next <= last) left.push([next, last]);
  }
  return left;
}

export function intersectPorts(a: PortSet, b: PortSet): PortSet {
  return subtractPorts(a, subtractPorts(a, b));
}

/**
 * Splits a range into contiguous parts, one a thread or application, whose sizes differ by one at most (ATC §7.1).
 * @throws ERR_OUT_OF_RANGE when there are fewer ports than parts.
 */
export function splitRange([first, last]: PortRange, parts: number): PortRange[] {
  const count = last - first + 1;
  if (!Number.isInteger(parts) || parts < 1 || parts > count) {
    throw Object.assign(new RangeError(`cannot share ${count} ports among ${parts}`), { code: 'ERR_OUT_OF_RANGE' });
  }
  return Array.from({ length: parts }, (_, part): PortRange => {
    const from = first + Math.floor((count * part) / parts);
    return [from, first + Math.floor((count * (part + 1)) / parts) - 1];
  });
}
