// npm run setup: everything between a fresh clone and a running lunet, each step only when needed. Runs before
// node_modules exists, so it uses Node's own modules alone. What cannot be had (root, DPDK, hugepages) is said in one
// line at the end and is no failure: lunet then runs on the links that remain.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { steps } from './build.mjs';
import { lockSetup } from './lib/lock.mjs';
import { at, logPath, Missing, run, StepError } from './lib/step.mjs';

const isRoot = process.getuid?.() === 0;

// Debian packages. Each group is installed as a whole when one of it is missing.
const packageGroups = [
  {
    purpose: 'DPDK links',
    packages: ['libdpdk-dev', 'pkg-config', 'g++', 'make', 'python3', 'libc6-dev'],
  },
  {
    purpose: 'the XDP program',
    packages: ['clang', 'llvm', 'libbpf-dev', 'libxdp-dev', 'linux-libc-dev', 'ethtool'],
  },
  {
    purpose: 'interop tests',
    packages: [
      ...'iproute2 nftables tcpdump tshark iputils-ping iputils-arping ethtool procps util-linux'.split(' '),
      ...'curl iperf3 netcat-openbsd socat'.split(' '),
    ],
  },
  {
    purpose: 'counts of instructions',
    packages: ['wabt', 'valgrind'],
  },
];

const HUGEPAGES_WANTED = 512;
const HUGEPAGE_KB = 2048;

function npm(...args) {
  const cli = process.env.npm_execpath;
  return cli?.endsWith('.js') ? [process.execPath, cli, ...args] : ['npm', ...args];
}

/** Whether node_modules holds exactly what package-lock.json asks for. */
function packagesMatchLock() {
  const installedPath = at('node_modules', '.package-lock.json');
  if (!existsSync(installedPath)) return false;
  const wanted = JSON.parse(readFileSync(at('package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedPath, 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    if (path === '') return true;
    const present = installed[path];
    // Other platforms' binaries are optional dependencies that npm leaves out.
    if (!present) return optional === true;
    return present.version === version && present.integrity === integrity && existsSync(at(path, 'package.json'));
  });
}

async function installPackages() {
  if (packagesMatchLock()) return false;
  await run(npm('ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=notice'));
  return true;
}

/** The packages among `names` that dpkg does not know as installed. */
async function notInstalled(names) {
  const format = `\${Package} \${db:Status-Status}\\n`;
  // dpkg-query fails when one name is unknown and still prints the others.
  const output = await run(['dpkg-query', '-W', `-f=${format}`, ...names]).catch((error) => error.tail);
  const installed = new Set();
  for (const line of output.split('\n')) {
    const [name, status] = line.split(' ');
    if (status === 'installed') installed.add(name);
  }
  return names.filter((name) => !installed.has(name));
}

async function installDebianPackages() {
  if (!existsSync('/usr/bin/dpkg-query') || !existsSync('/usr/bin/apt-get')) {
    throw new Missing(
      `apt (install by other means what gives ${packageGroups.map((group) => group.purpose).join(', ')})`,
    );
  }
  const wanted = [];
  const purposes = [];
  for (const { purpose, packages } of packageGroups) {
    const missing = await notInstalled(packages);
    if (missing.length > 0) purposes.push(purpose);
    wanted.push(...missing);
  }
  if (wanted.length === 0) return false;
  if (!isRoot) throw new Missing(`root to install ${wanted.join(' ')} (${purposes.join(', ')})`);
  const env = { DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1' };
  const options = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  try {
    await run(['apt-get', 'update', ...options], { env });
    await run(['apt-get', 'install', '--no-install-recommends', ...options, ...wanted], { env });
  } catch (error) {
    throw new Missing(
      `Debian packages ${wanted.join(' ')} (${purposes.join(', ')}; ${error.message}, see build/setup.log)`,
    );
  }
  return true;
}

const hugepageFile = (name) => `/sys/kernel/mm/hugepages/hugepages-${HUGEPAGE_KB}kB/${name}`;
const hugepageCount = (name) => Number(readFileSync(hugepageFile(name), 'utf8'));

/** How many hugepages this machine can spare: 1 GiB of them, a quarter of a small machine's memory. */
function hugepagesWanted() {
  const memoryKb = Number(/MemTotal:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))[1]);
  return Math.min(HUGEPAGES_WANTED, Math.floor(memoryKb / 4 / HUGEPAGE_KB));
}

async function reserveHugepages() {
  if (!existsSync(hugepageFile('nr_hugepages'))) throw new Missing('2 MiB hugepages (this kernel has none)');
  const wanted = hugepagesWanted();
  const total = hugepageCount('nr_hugepages');
  if (total >= wanted) return false;
  if (!isRoot) throw new Missing(`root to reserve hugepages (${total} of ${wanted})`);
  try {
    writeFileSync(hugepageFile('nr_hugepages'), String(wanted));
    if (hugepageCount('nr_hugepages') < wanted) {
      writeFileSync('/proc/sys/vm/compact_memory', '1');
      writeFileSync(hugepageFile('nr_hugepages'), String(wanted));
    }
  } catch (error) {
    throw new Missing(`hugepages (${total} of ${wanted}; the kernel refused more: ${error.code})`);
  }
  const reserved = hugepageCount('nr_hugepages');
  if (reserved < wanted / 2) throw new Missing(`hugepages (${reserved} of ${wanted}; memory is too fragmented)`);
  return true;
}

// In order. A required step that fails ends the set-up; an optional one is reported at the end.
const plan = [
  { name: 'npm packages', act: installPackages, required: true },
  { name: 'Debian packages', act: installDebianPackages },
  { name: 'layout', act: steps.layout, required: true, quiet: true },
  { name: 'core (Wasm)', act: steps.wasm, required: true },
  { name: 'host (TypeScript)', act: steps.ts, required: true },
  { name: 'shim (addon)', act: steps.addon },
  { name: 'XDP program', act: steps.xdp },
  { name: 'benchmark peers', act: steps.peers },
  { name: 'hugepages', act: reserveHugepages },
];

const say = (name, outcome, ms) => console.log(`setup: ${name.padEnd(18)} ${outcome} (${(ms / 1000).toFixed(2)} s)`);

async function main() {
  await lockSetup((pid) => console.log(`setup: waiting for another set-up to end (process ${pid})`));
  try {
    rmSync(logPath, { force: true });
  } catch (error) {
    if (error.code !== 'EACCES' && error.code !== 'EROFS') throw error;
  }
  const missing = [];
  for (const { name, act, required, quiet } of plan) {
    const started = performance.now();
    try {
      const acted = await act();
      if (!quiet) say(name, acted ? 'done' : 'up to date', performance.now() - started);
    } catch (error) {
      if (error instanceof Missing) {
        missing.push(error.message);
      } else if (error instanceof StepError && !required) {
        say(name, `FAILED: ${error.message}`, performance.now() - started);
        if (error.tail) console.error(error.tail);
        missing.push(`${name} (did not build, see build/setup.log)`);
      } else if (error instanceof StepError) {
        say(name, `FAILED: ${error.message}`, performance.now() - started);
        if (error.tail) console.error(error.tail);
        console.error('setup: stopped; the whole output is in build/setup.log');
        return 1;
      } else {
        throw error;
      }
    }
  }
  if (missing.length > 0) {
    const remaining = existsSync(at('native', 'build', 'Release', 'lunet.node'))
      ? 'the embedded in-memory link and the DPDK links that need none of these'
      : 'the embedded in-memory link';
    console.log(`setup: missing ${missing.join('; ')}: lunet will run on ${remaining} (lunet doctor says more)`);
  }
  return 0;
}

process.exitCode = await main();
