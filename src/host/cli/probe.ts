// What this machine offers lunet, found without changing anything. Each finding says what is there or what is missing,
// and how to get it.
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's root folder: this file is dist/src/host/cli/probe.js in it. */
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..');

/** Hugepages one stack needs with the default number of zones, with some to spare for DPDK itself. */
const HUGEPAGES_NEEDED = 64;
const HUGEPAGES = '/sys/kernel/mm/hugepages/hugepages-2048kB';

export interface Finding {
  readonly name: string;
  readonly ok: boolean;
  /** Whether the full path (DPDK on hugepages beside the kernel on a real interface) needs it. */
  readonly required: boolean;
  /** What was found, or the cause of its absence. */
  readonly detail: string;
  /** What to do about it; '' when there is nothing to do. */
  readonly fix: string;
}

export interface Environment {
  readonly node: Finding;
  readonly core: Finding;
  readonly cpus: Finding;
  readonly root: Finding;
  readonly capabilities: Finding;
  readonly hugepages: Finding;
  readonly dpdk: Finding;
  readonly addon: Finding;
  readonly afXdp: Finding;
  readonly clang: Finding;
  readonly xdpObject: Finding;
  readonly tools: Finding;
}

/** Required findings that are not ok. */
export function missingForFullPath(environment: Environment): Finding[] {
  return findings(environment).filter((finding) => finding.required && !finding.ok);
}

export function findings(environment: Environment): Finding[] {
  return Object.values(environment);
}

export function hugepagesTotal(): number {
  return readCount(`${HUGEPAGES}/nr_hugepages`);
}

export function hugepagesFree(): number {
  return readCount(`${HUGEPAGES}/free_hugepages`);
}

function readCount(path: string): number {
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
}

function onPath(program: string): boolean {
  // An ordinary user's PATH often lacks the sbin folders, where ip and nft live.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}

function firstLine(program: string, ...args: string[]): string | null {
  try {
    const output = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return output.trim().split('\n')[0] ?? '';
  } catch {
    return null;
  }
}

function probeNode(): Finding {
  const ok = Number(process.versions.node.split('.')[0]) >= 20;
  return {
    name: 'Node.js',
    ok,
    required: true,
    detail: process.version,
    fix: ok ? '' : 'install Node.js 20 or later',
  };
}

function probeCore(): Finding {
  const absent = ['debug', 'release'].filter((target) => !existsSync(join(root, 'build', `core.${target}.wasm`)));
  const ok = absent.length === 0;
  return {
    name: 'core (Wasm)',
    ok,
    required: true,
    detail: ok ? 'build/core.release.wasm' : `not built: ${absent.join(', ')}`,
    fix: ok ? '' : 'npm run setup',
  };
}

function probeCpus(): Finding {
  const count = availableParallelism();
  const ok = count >= 2;
  return {
    name: 'CPUs',
    ok,
    required: false,
    detail: `${count}${ok ? '' : ': two polling processes share it, and measurements say little'}`,
    fix: ok ? '' : 'give the machine a second CPU',
  };
}

function probeRoot(): Finding {
  const uid = process.geteuid?.() ?? -1;
  const ok = uid === 0;
  return {
    name: 'root',
    ok,
    required: true,
    detail: ok ? 'yes' : `running as user ${uid}: DPDK cannot read physical addresses nor make interfaces`,
    fix: ok ? '' : 'run as root (sudo)',
  };
}

// Bit numbers of linux/capability.h.
const CAPABILITIES: readonly (readonly [string, number])[] = [
  ['CAP_NET_ADMIN', 12],
  ['CAP_NET_RAW', 13],
  ['CAP_IPC_LOCK', 14],
  ['CAP_SYS_ADMIN', 21],
];

function probeCapabilities(): Finding {
  const effective = BigInt(
    `0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`,
  );
  const absent = CAPABILITIES.filter(([, bit]) => ((effective >> BigInt(bit)) & 1n) === 0n).map(([name]) => name);
  const ok = absent.length === 0;
  return {
    name: 'capabilities',
    ok,
    required: true,
    detail: ok ? CAPABILITIES.map(([name]) => name).join(' ') : `not held: ${absent.join(' ')}`,
    fix: ok ? '' : 'run as root; in a container, grant these (docker run --cap-add …, or --privileged)',
  };
}

function probeHugepages(): Finding {
  const [total, free] = [hugepagesTotal(), hugepagesFree()];
  const ok = free >= HUGEPAGES_NEEDED;
  const found = existsSync(HUGEPAGES) ? `${free} free of ${total} (2 MiB each)` : 'this kernel has no 2 MiB hugepages';
  return {
    name: 'hugepages',
    ok,
    required: true,
    detail: ok ? found : `${found}; ${HUGEPAGES_NEEDED} are needed`,
    fix: ok ? '' : `npm run setup as root, or: echo 512 > ${HUGEPAGES}/nr_hugepages`,
  };
}

function probeDpdk(): Finding {
  const version = firstLine('pkg-config', '--modversion', 'libdpdk');
  return {
    name: 'DPDK',
    ok: version !== null,
    required: true,
    detail: version ?? (onPath('pkg-config') ? 'pkg-config knows no libdpdk' : 'pkg-config is not installed'),
    fix: version === null ? 'apt-get install libdpdk-dev pkg-config (npm run setup does it as root)' : '',
  };
}

function probeAddon(): Finding {
  const path = join(root, 'native', 'build', 'Release', 'lunet.node');
  let cause = existsSync(path) ? '' : 'not built';
  if (cause === '') {
    try {
      createRequire(import.meta.url)(path);
    } catch (error) {
      cause = `does not load: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`;
    }
  }
  return {
    name: 'shim (addon)',
    ok: cause === '',
    required: true,
    detail: cause === '' ? 'loads' : cause,
    fix: cause === '' ? '' : 'npm run setup; what went wrong is in build/setup.log',
  };
}

function probeAfXdp(): Finding {
  // The kernel lists a protocol once its socket family is registered.
  const protocols = existsSync('/proc/net/protocols') ? readFileSync('/proc/net/protocols', 'utf8') : '';
  const ok = /^XDP\s/m.test(protocols);
  return {
    name: 'AF_XDP sockets',
    ok,
    required: true,
    detail: ok ? 'in this kernel' : 'not in this kernel (CONFIG_XDP_SOCKETS)',
    fix: ok ? '' : 'run a kernel with CONFIG_XDP_SOCKETS=y; the links memif:, tap: and packet: work without it',
  };
}

function probeClang(): Finding {
  const version = firstLine('clang', '--version');
  return {
    name: 'clang',
    ok: version !== null,
    required: false,
    detail: version ?? 'not installed: the XDP program cannot be built',
    fix: version === null ? 'apt-get install clang libbpf-dev (npm run setup does it as root)' : '',
  };
}

function probeXdpObject(): Finding {
  const folder = join(root, 'build', 'xdp');
  const objects = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.o')) : [];
  const ok = objects.length > 0;
  return {
    name: 'XDP program',
    ok,
    required: true,
    detail: ok ? objects.map((name) => `build/xdp/${name}`).join(' ') : 'not built',
    fix: ok ? '' : 'npm run setup, with clang installed',
  };
}

const TOOLS = 'ip nft tc tcpdump tshark ping arping ethtool curl iperf3 nc socat'.split(' ');

function probeTools(): Finding {
  const absent = TOOLS.filter((tool) => !onPath(tool));
  const ok = absent.length === 0;
  return {
    name: 'test tools',
    ok,
    required: false,
    detail: ok ? TOOLS.join(' ') : `not installed: ${absent.join(' ')}`,
    fix: ok ? '' : 'npm run setup as root',
  };
}

/** Looks at the machine; loads the addon if there is one. Takes some tens of milliseconds. */
export function probeEnvironment(): Environment {
  return {
    node: probeNode(),
    core: probeCore(),
    cpus: probeCpus(),
    root: probeRoot(),
    capabilities: probeCapabilities(),
    hugepages: probeHugepages(),
    dpdk: probeDpdk(),
    addon: probeAddon(),
    afXdp: probeAfXdp(),
    clang: probeClang(),
    xdpObject: probeXdpObject(),
    tools: probeTools(),
  };
}
