// knbench between two processes: lunet over shared memory and over AF_XDP, the kernel on the loopback and on the same veth
// pair with its offloads and without, through node:net and through C programs that wait and that poll; programs of lunet/rpc on
// either; all in turn.
import { probeEnvironment } from '../src/host/cli/probe.js';
import {
  conditionLines,
  errorLines,
  SUMMARY_HEADER,
  SUMMARY_TEXT_COLUMNS,
  summaryRow,
} from '../src/host/knbench/format.js';
import { mediansOf, summarize } from '../src/host/knbench/results.js';
import { allowedCpus, runMatrix } from '../src/host/knbench/run.js';
import { needVeth } from '../src/host/knbench/wire.js';
import { begin, json, printJson, printTable, quick, ROUNDS } from './harness.js';

const SECONDS = quick ? 0.05 : 0.5;
const MEMIF_MTU = 9000;
const VETH_MTU = 1500;

/** Links this machine has, and why it lacks the others. */
function links(): { found: string[]; missing: string[] } {
  const missing: string[] = [];
  const { addon } = probeEnvironment();
  if (!addon.ok) return { found: ['memory:'], missing: [`memif and xdp: the shim is missing: ${addon.detail}`] };
  try {
    needVeth();
    return { found: ['memif', 'xdp'], missing };
  } catch (error) {
    return { found: ['memif'], missing: [(error as Error).message] };
  }
}

const cpus = allowedCpus().slice(0, 2);
const { found, missing } = links();
const setting = begin(
  {
    what: `RPCs between two processes, ${ROUNDS} rounds of ${SECONDS} s, all stacks in turn in each`,
    link: `lunet over ${found.join(' and ')}; the kernel on the loopback${found.includes('xdp') ? ' and on the veth pair' : ''}`,
    offloads: 'of each stack: below; memif is trusted as the loopback is, without checksums',
  },
  `CPUs ${cpus.join(' and ')}: one for each end, for the kernel also one for both; its best is the baseline`,
);
for (const line of missing) process.stderr.write(`not measured: ${line}\n`);
const records = await runMatrix({
  stacks: [
    { stack: 'lunet', mode: 'zc' },
    { stack: 'lunet', mode: 'copy' },
    { stack: 'lunet', mode: 'rpc' },
    { stack: 'kernel', mode: 'copy' },
    { stack: 'kernel', mode: 'rpc' },
    { stack: 'kernel', mode: 'epoll' },
    { stack: 'kernel', mode: 'busy' },
  ],
  links: found,
  mtu: MEMIF_MTU,
  vethMtu: VETH_MTU,
  trustLink: true,
  sizesBytes: quick ? [4096] : [64, 4096, 65536],
  depths: quick ? [1] : [1, 16],
  connections: [1],
  seconds: SECONDS,
  warmupSeconds: SECONDS / 3,
  rounds: ROUNDS,
  verify: false,
  cpus,
});
const cells = summarize(records);
const conditions = [...conditionLines(records), ...errorLines(records)];
if (json) printJson(setting, { conditions, medians: mediansOf(cells), runs: records.map(({ result }) => result) });
else {
  const rows = cells.flatMap((cell) => cell.entries.map((entry) => summaryRow(cell, entry)));
  printTable(SUMMARY_HEADER, rows, SUMMARY_TEXT_COLUMNS);
  console.log(['', ...conditions].join('\n'));
}
process.exitCode = records.every(({ result }) => result.errors === 0) ? 0 : 1;
