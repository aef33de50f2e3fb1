import { fileURLToPath } from 'node:url';
import { closeEnds, openEnds, usageOf } from '../knbench/agent.js';
import { paperPlan } from '../knbench/figures.js';
import { conditionLines, errorLines, SUMMARY_HEADER, SUMMARY_TEXT_COLUMNS, summaryRow } from '../knbench/format.js';
import { MAX_DEPTH, MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES } from '../knbench/frame.js';
import { type Contender, mediansOf, recordOf, summarize } from '../knbench/results.js';
import { allowedCpus, isMemoryLink, type RunOptions, runMatrix } from '../knbench/run.js';
import type { EndSpec, Mode, RunRecord, StackName } from '../knbench/types.js';
import { versions, versionsText } from '../knbench/versions.js';
import { isVeth, whyOnce } from '../knbench/wire.js';
import {
  type CommandSpec,
  helpText,
  integer,
  list,
  type OptionSpec,
  oneOf,
  parseCommand,
  seconds,
  sizeBytes,
  UsageError,
  type Values,
} from './args.js';
import { figures } from './figures.js';
import { print, progressLine, table } from './output.js';

const FIGURES = fileURLToPath(new URL('../../../../build/knbench-figures.html', import.meta.url));
const MAX_CONNECTIONS = 10_000;
const MAX_THREADS = 16;
const MAX_ROUNDS = 1000;
const MAX_SECONDS = 86_400;
/** Larger frames do not fit into an AF_XDP chunk. */
const MAX_VETH_MTU = 3400;
const DEFAULT_PORT = '7077';

type StackChoice = 'lunet:zc' | 'lunet:copy' | 'lunet:rpc' | 'kernel' | 'kernel:rpc' | 'kernel:epoll' | 'kernel:busy';
const STACKS: Readonly<Record<StackChoice, { stack: StackName; mode: Mode }>> = {
  'lunet:zc': { stack: 'lunet', mode: 'zc' },
  'lunet:copy': { stack: 'lunet', mode: 'copy' },
  'lunet:rpc': { stack: 'lunet', mode: 'rpc' },
  kernel: { stack: 'kernel', mode: 'copy' },
  'kernel:rpc': { stack: 'kernel', mode: 'rpc' },
  'kernel:epoll': { stack: 'kernel', mode: 'epoll' },
  'kernel:busy': { stack: 'kernel', mode: 'busy' },
};
const STACK_NAMES = Object.keys(STACKS) as StackChoice[];

const stackOptions: Record<string, OptionSpec> = {
  stack: { value: 'lunet|kernel', help: 'whose TCP', default: 'lunet' },
  mode: {
    value: 'zc|copy|rpc',
    help: 'lunet: zero copy on the core’s events, or copy through lunet/net; either stack: programs of lunet/rpc',
    default: 'zc',
  },
  link: { value: 'URI', help: 'lunet: the link, such as memif:/run/k.sock?role=server or xdp:eth1' },
  address: { value: 'ADDRESS', help: 'own address; lunet: with its prefix length (10.77.0.1/24)' },
  port: { value: 'N', help: 'TCP port of the server', default: DEFAULT_PORT },
  mtu: { value: 'BYTES', help: 'lunet: MTU of the link (default: the link’s own)' },
  'trust-link': { help: 'lunet: compute and verify no checksums, for links in shared memory; both ends alike' },
};

const workloadOptions: Record<string, OptionSpec> = {
  sizes: { value: 'LIST', help: 'message sizes, such as 64,4KiB,64KiB', default: '4KiB' },
  depths: { value: 'LIST', help: 'requests in flight on each connection', default: '1' },
  connections: { value: 'LIST', help: 'long-lived connections of each thread', default: '1' },
  seconds: { value: 'S', help: 'measured time of a run', default: '3' },
  warmup: { value: 'S', help: 'time before it', default: '0.5' },
  verify: { help: 'compare every byte of every response (slower; length and id are always checked)' },
  json: { help: 'print an array of one object per run' },
};

const serverSpec: CommandSpec = {
  name: 'knbench server',
  summary: 'Echoes complete messages until it is interrupted.',
  options: stackOptions,
};

const clientSpec: CommandSpec = {
  name: 'knbench client',
  summary: 'Measures RPCs to a server started elsewhere.',
  options: {
    ...stackOptions,
    server: { value: 'ADDRESS', help: 'address of the server' },
    ...workloadOptions,
  },
  notes: ['It has one thread. cpuSeconds, copiedBytes and retransmits are those of the client alone.'],
};

const runSpec: CommandSpec = {
  name: 'knbench run',
  summary: 'Starts both ends as pinned processes and compares stacks round by round.',
  options: {
    stacks: { value: 'LIST', help: `of ${STACK_NAMES.join(', ')}`, default: 'lunet:zc,lunet:copy,kernel' },
    link: {
      value: 'LIST',
      help: 'memif, memif:PATH, memory:, or the server’s link; xdp: a veth pair of the run’s own; both with a comma',
      default: 'memif',
    },
    'client-link': { value: 'URI', help: 'the client’s link where it is not the same' },
    mtu: stackOptions.mtu,
    'veth-mtu': { value: 'BYTES', help: 'xdp: MTU of the veth pair, for lunet and kernel', default: '1500' },
    'trust-link': stackOptions['trust-link'],
    ...workloadOptions,
    threads: {
      value: 'N',
      help: `threads of each end, each with a link and connections of its own, up to ${MAX_THREADS}`,
      default: '1',
    },
    medians: { help: 'with --json: medians, least and most of each stack and cell instead of single runs' },
    rounds: { value: 'N', help: 'times every stack has its turn', default: '5' },
    cpus: {
      value: 'LIST',
      help: 'CPUs of server and client of each thread in turn (default: the first two allowed for each thread)',
    },
  },
  notes: [
    'kernel is node:net; kernel:epoll and kernel:busy are a C program that waits in epoll, or asks without waiting.',
    'The kernel runs with both ends on one CPU and on two (busy: two); its fastest in a cell is the baseline.',
    'memory: has both ends in one process and one thread, and so has node:net then.',
    'Of memif:PATH each of several threads has its own (PATH-0, PATH-1, …); their figures are added up, latencies merged.',
    'xdp needs root. lunet is compared with the kernel on the same veth pair, with its offloads and without.',
  ],
};

const { medians: _, ...comparison } = runSpec.options;
const figuresSpec: CommandSpec = {
  name: 'knbench figures',
  summary: 'Throughput by message size and by iodepth, and latency: Figures 9, 10 and 11 of the LUNA paper, here.',
  options: {
    ...comparison,
    stacks: { ...runSpec.options.stacks, default: STACK_NAMES.filter((name) => STACKS[name].mode !== 'rpc').join(',') },
    sizes: { value: 'LIST', help: 'message sizes at iodepth 1', default: paperPlan.sizesBytes.join(',') },
    depths: { value: 'LIST', help: 'iodepths at 4 KiB', default: paperPlan.depths.join(',') },
    connections: { value: 'N', help: 'long-lived connections of each thread', default: String(paperPlan.connections) },
    seconds: { ...workloadOptions.seconds, default: '0.5' },
    warmup: { ...workloadOptions.warmup, default: '0.2' },
    json: { help: 'print one object: figures, medians of every cell, single runs, conditions' },
    report: { value: 'FILE', help: 'where the HTML report goes', default: 'build/knbench-figures.html' },
  },
  notes: runSpec.notes ?? [],
};

function endSpec(role: 'server' | 'client', values: Values): EndSpec {
  const stack = oneOf<StackName>(values.required('stack'), 'stack', ['lunet', 'kernel']);
  const mode = oneOf<Mode>(values.required('mode'), 'mode', ['zc', 'copy', 'rpc']);
  const port = integer(values.required('port'), 'port', 1, 65535);
  const address = values.text('address');
  const mtu = values.text('mtu');
  if (stack === 'lunet' && isMemoryLink(values.required('link'))) {
    throw new UsageError('memory: links join ends of one process: use lunet knbench run --link memory:');
  }
  const link = values.text('link');
  const server = role === 'client' ? values.required('server') : undefined;
  return {
    role,
    stack,
    mode: stack === 'kernel' && mode === 'zc' ? 'copy' : mode,
    port,
    trustLink: values.flag('trust-link'),
    ...(link !== undefined ? { link } : {}),
    ...(address !== undefined ? { address } : {}),
    ...(server !== undefined ? { server } : {}),
    ...(mtu !== undefined ? { mtu: integer(mtu, 'mtu', 576, 65535) } : {}),
  };
}

interface Workloads {
  sizesBytes: number[];
  depths: number[];
  connections: number[];
  seconds: number;
  warmupSeconds: number;
  verify: boolean;
}

function workloads(values: Values): Workloads {
  return {
    sizesBytes: list(values.required('sizes'), (t) => sizeBytes(t, 'sizes', MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES)),
    depths: list(values.required('depths'), (t) => integer(t, 'depths', 1, MAX_DEPTH)),
    connections: list(values.required('connections'), (t) => integer(t, 'connections', 1, MAX_CONNECTIONS)),
    seconds: seconds(values.required('seconds'), 'seconds', MAX_SECONDS),
    warmupSeconds: seconds(values.required('warmup'), 'warmup', MAX_SECONDS),
    verify: values.flag('verify'),
  };
}

export function parseStacks(text: string): { stack: StackName; mode: Mode }[] {
  return list(text, (name) => STACKS[oneOf(name, 'stacks', STACK_NAMES)]);
}

async function report(records: readonly RunRecord[], values: Values): Promise<number> {
  const cells = summarize(records);
  if (values.flag('json')) {
    const objects = values.flag('medians') ? mediansOf(cells) : records.map((record) => record.result);
    await print(JSON.stringify(objects, null, 2));
  } else {
    const rows = cells.flatMap((cell) => cell.entries.map((entry) => summaryRow(cell, entry)));
    const lines = [...conditionLines(records), versionsText(versions()), ...errorLines(records)];
    await print([table(SUMMARY_HEADER, rows, SUMMARY_TEXT_COLUMNS), '', ...lines].join('\n'));
  }
  return records.every(({ result }) => result.errors === 0) ? 0 : 1;
}

async function server(values: Values): Promise<number> {
  const stop = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve());
  });
  const spec = endSpec('server', values);
  const ends = await openEnds(spec);
  const info = ends.server?.info;
  await print(`knbench server: ${spec.stack} ${spec.mode} on ${info?.link}, port ${info?.port}, MTU ${info?.mtu}`);
  await stop;
  await closeEnds(ends);
  return 0;
}

async function client(values: Values): Promise<number> {
  const spec = endSpec('client', values);
  const { sizesBytes, depths, connections, ...times } = workloads(values);
  const ends = await openEnds(spec);
  const { client: end } = ends;
  if (end === undefined) throw new Error('the client end did not open');
  const who: Contender = { stack: spec.stack, mode: spec.mode, placement: 'by hand', wire: 'direct' };
  const progress = progressLine();
  const records: RunRecord[] = [];
  try {
    for (const count of connections) {
      for (const size of sizesBytes) {
        for (const depth of depths) {
          const cell = { sizeBytes: size, depth, connections: count };
          progress.show(`knbench client: ${size} B, iodepth ${depth}, ${count} connections`);
          let before = usageOf(ends);
          const figures = await end.run({ ...cell, ...times }, () => {
            before = usageOf(ends);
          });
          const after = usageOf(ends);
          records.push(
            recordOf(who, cell, 1, end.info, [figures], {
              cpuSeconds: after.cpuSeconds - before.cpuSeconds,
              copiedBytes: after.copiedBytes - before.copiedBytes,
              retransmits: after.retransmits - before.retransmits,
            }),
          );
        }
      }
    }
  } finally {
    progress.end();
    await closeEnds(ends);
  }
  return report(records, values);
}

/** A direct link, the veth pair, or one of each. */
function linkList(text: string): string[] {
  // A link of a scheme's own may hold commas (xdp:eth1?ports=80,443): only the ends can be the bare `xdp`.
  const match = /^(?:(xdp:?),)?(.+?)(?:,(xdp:?))?$/.exec(text.trim());
  const links = [match?.[1], match?.[2], match?.[3]].filter((link) => link !== undefined);
  if (links.length === 0 || links.filter(isVeth).length > 1) {
    throw new UsageError(`--link takes a link, xdp, or both (memif,xdp), not "${text}"`);
  }
  return links;
}

export function runOptions(values: Values): RunOptions {
  const mtu = values.text('mtu');
  const clientLink = values.text('client-link');
  const cpus = values.text('cpus');
  const threads = integer(values.required('threads'), 'threads', 1, MAX_THREADS);
  const links = linkList(values.required('link'));
  if (threads > 1) {
    const why = [...links, clientLink ?? 'memif'].map(whyOnce).find((text) => text !== undefined);
    if (why !== undefined) throw new UsageError(`--threads ${threads}: ${why}`);
  }
  const given = cpus === undefined ? allowedCpus() : list(cpus, (t) => integer(t, 'cpus', 0, 4095));
  return {
    ...workloads(values),
    threads,
    stacks: parseStacks(values.required('stacks')),
    links,
    vethMtu: integer(values.required('veth-mtu'), 'veth-mtu', 576, MAX_VETH_MTU),
    trustLink: values.flag('trust-link'),
    rounds: integer(values.required('rounds'), 'rounds', 1, MAX_ROUNDS),
    cpus: given.slice(0, 2 * threads),
    ...(clientLink !== undefined ? { clientLink } : {}),
    ...(mtu !== undefined ? { mtu: integer(mtu, 'mtu', 576, 65535) } : {}),
  };
}

async function run(values: Values): Promise<number> {
  const options = runOptions(values);
  const progress = progressLine();
  const records = await runMatrix({
    ...options,
    onProgress: ({ done, total, what }) => progress.show(`knbench: ${done}/${total} ${what}`),
  }).finally(() => progress.end());
  return report(records, values);
}

function drawFigures(values: Values): Promise<number> {
  const options = runOptions(values);
  const given = values.required('report');
  const report = given === figuresSpec.options.report.default ? FIGURES : given;
  const connections = integer(values.required('connections'), 'connections', 1, MAX_CONNECTIONS);
  return figures(options, { ...options, connections }, report, values.flag('json'));
}

const subcommands: Readonly<Record<string, { spec: CommandSpec; run: (values: Values) => Promise<number> }>> = {
  server: { spec: serverSpec, run: server },
  client: { spec: clientSpec, run: client },
  run: { spec: runSpec, run },
  figures: { spec: figuresSpec, run: drawFigures },
};

const HELP = `usage: lunet knbench server|client|run|figures [options]

An RPC benchmark: requests and responses of one size over long-lived connections, a fixed number in flight on each.

${Object.values(subcommands)
  .map(({ spec }) => `  ${spec.name.padEnd(16)}${spec.summary}`)
  .join('\n')}`;

/** Runs the command; resolves to its exit status. */
export async function knbench(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--help' || name === '-h') {
    await print(HELP);
    return 0;
  }
  const subcommand = name !== undefined && Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (subcommand === undefined) {
    throw new UsageError(name === undefined ? 'server, client, run or figures?' : `there is no "${name}"`);
  }
  const values = parseCommand(subcommand.spec, rest);
  if (values === 'help') {
    await print(helpText(subcommand.spec));
    return 0;
  }
  return subcommand.run(values);
}
