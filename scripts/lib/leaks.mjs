// What a test run may leave behind on the machine: network namespaces, XDP programs, hugepages, DPDK's run-time
// folders and processes. A snapshot before the run and one after it tell which of them are ours.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const runtimeDirs = ['/var/run/dpdk', '/run/lunet'];
const HUGEPAGES = '/sys/kernel/mm/hugepages/hugepages-2048kB';

function output(program, ...args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}

/** Whether a namespace belongs to a process that lives, of another test run perhaps: its id is in the name. */
const inUse = (name) => existsSync(`/proc/${/^lunet-(\d+)-/.exec(name)?.[1] ?? 'nobody'}`);

const namespaces = () =>
  output('ip', 'netns', 'list')
    .split('\n')
    .map((line) => line.split(' ')[0])
    .filter((name) => name.startsWith('lunet-') && !inUse(name));

const xdpInterfaces = () =>
  JSON.parse(output('ip', '-json', 'link', 'show') || '[]')
    .filter((link) => link.xdp && link.xdp.mode !== 0)
    .map((link) => link.ifname);

/** What a directory holds; nothing where it is not there, or not ours to read. */
function entries(dir) {
  try {
    return readdirSync(dir).map((name) => `${dir}/${name}`);
  } catch {
    return [];
  }
}

const runtimeEntries = () => runtimeDirs.flatMap(entries);

function hugepagesInUse() {
  if (!existsSync(HUGEPAGES)) return 0;
  const count = (name) => Number(readFileSync(`${HUGEPAGES}/${name}`, 'utf8'));
  return count('nr_hugepages') - count('free_hugepages');
}

/** Ids of living processes that carry `NAME=value` in their environment. */
export function processesWith(name, value) {
  const wanted = `${name}=${value}`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(wanted);
      } catch {
        return false;
      }
    })
    .map(Number);
}

export function snapshot() {
  return {
    namespaces: namespaces(),
    xdp: xdpInterfaces(),
    runtime: runtimeEntries(),
    hugepages: hugepagesInUse(),
  };
}

function difference(before, after) {
  const added = (key) => after[key].filter((item) => !before[key].includes(item));
  return {
    namespaces: added('namespaces'),
    xdp: added('xdp'),
    runtime: added('runtime'),
    hugepages: Math.max(0, after.hugepages - before.hugepages),
  };
}

const isClean = (left) =>
  left.namespaces.length === 0 && left.xdp.length === 0 && left.runtime.length === 0 && left.hugepages === 0;

/**
 * Compares the machine with `before`, giving the kernel some seconds to tear down what was closed, and removes what
 * is left.
 * @returns {Promise<string[]>} a sentence for each kind of thing left
 */
export async function findLeaks(before) {
  let left = difference(before, snapshot());
  for (let tries = 0; tries < 20 && !isClean(left); tries++) {
    await sleep(250);
    left = difference(before, snapshot());
  }
  const found = [];
  if (left.namespaces.length > 0) found.push(`network namespaces left: ${left.namespaces.join(' ')}`);
  if (left.xdp.length > 0) found.push(`XDP programs left on: ${left.xdp.join(' ')}`);
  if (left.runtime.length > 0) found.push(`run-time files left: ${left.runtime.join(' ')}`);
  if (left.hugepages > 0) found.push(`hugepages still in use: ${left.hugepages}`);
  for (const name of left.namespaces) output('ip', 'netns', 'delete', name);
  for (const name of left.xdp) output('ip', 'link', 'set', 'dev', name, 'xdp', 'off');
  for (const path of left.runtime) rmSync(path, { recursive: true, force: true });
  return found;
}
