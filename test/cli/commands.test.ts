import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CommandSpec, helpText, list, parseCommand, sizeBytes, UsageError } from '../../src/host/cli/args.js';
import { parseStacks } from '../../src/host/cli/knbench.js';
import { table } from '../../src/host/cli/output.js';
import { allowedCpus } from '../../src/host/knbench/run.js';

const MAIN = fileURLToPath(new URL('../../src/host/cli/main.js', import.meta.url));

function lunet(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const spec: CommandSpec = {
  name: 'thing',
  summary: 'Does a thing.',
  options: {
    size: { value: 'BYTES', help: 'how large', default: '64' },
    name: { value: 'TEXT', help: 'whose' },
    json: { help: 'as JSON' },
  },
};

test('options are parsed, with defaults', () => {
  const values = parseCommand(spec, ['--json', '--name=x']);
  assert.not.equal(values, 'help');
  if (values === 'help') return;
  assert.ok(values.flag('json'));
  assert.is(values.text('name'), 'x');
  assert.is(values.required('size'), '64');
  assert.is(parseCommand(spec, ['-h']), 'help');
});

for (const [args, text] of [
  [['--nope'], /--nope/],
  [['stray'], /stray/],
  [['--name'], /--name/],
  [['--json=1'], /json/],
] as const) {
  test(`"${args.join(' ')}" is refused in one line`, () => {
    try {
      parseCommand(spec, args);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, UsageError);
      assert.match((error as Error).message, text);
      assert.not.match((error as Error).message, /\n/);
    }
  });
}

test('a required option that is missing is named', () => {
  const values = parseCommand(spec, []);
  if (values === 'help') throw new Error('no help was asked for');
  assert.throws(() => values.required('name'), /--name is required/);
});

test('help shows every option and default', () => {
  const text = helpText(spec);
  for (const part of ['usage: lunet thing', '--size BYTES', '(default 64)', '--json', '--help'])
    assert.match(text, part);
});

test('sizes take units', () => {
  const parse = (text: string): number => sizeBytes(text, 'sizes', 16, 1 << 24);
  assert.equal(list('64,4k,4KiB,64KiB,1MiB,100B', parse), [64, 4096, 65536, 1 << 20, 100]);
  for (const bad of ['', '15', '4KB', '-1', '1e3', '17MiB', '4 KiB KiB'])
    assert.throws(() => parse(bad), /--sizes takes/);
});

test('stacks are named as stack:mode', () => {
  assert.equal(parseStacks('lunet:zc,kernel,lunet:rpc,kernel:rpc'), [
    { stack: 'lunet', mode: 'zc' },
    { stack: 'kernel', mode: 'copy' },
    { stack: 'lunet', mode: 'rpc' },
    { stack: 'kernel', mode: 'rpc' },
  ]);
  assert.throws(() => parseStacks('lunet'), /lunet:zc, lunet:copy, lunet:rpc, kernel/);
});

test('CPU lists are read in the kernel’s format', () => {
  assert.equal(allowedCpus('0-2,5,8-9\n'), [0, 1, 2, 5, 8, 9]);
  assert.equal(allowedCpus(''), []);
});

test('tables align text left and figures right', () => {
  assert.equal(
    table(
      ['a', 'b'],
      [
        ['xx', '1'],
        ['y', '100'],
      ],
    ).split('\n'),
    ['a     b', '──  ───', 'xx    1', 'y   100'],
  );
});

for (const [args, status, stream, text] of [
  [[], 2, 'stderr', /usage: lunet/],
  [['--help'], 0, 'stdout', /knbench/],
  [['nope'], 2, 'stderr', /no command "nope"/],
  [['toString'], 2, 'stderr', /no command "toString"/],
  [['knbench'], 2, 'stderr', /server, client, run or figures/],
  [['knbench', '--help'], 0, 'stdout', /knbench server/],
  [['knbench', 'run', '--help'], 0, 'stdout', /--stacks LIST/],
  [['knbench', 'figures', '--help'], 0, 'stdout', /--report FILE/],
  [['knbench', 'run', '--bogus'], 2, 'stderr', /--bogus/],
  [['knbench', 'run', '--seconds', 'x'], 2, 'stderr', /--seconds/],
  [['knbench', 'run', '--help'], 0, 'stdout', /connections of each thread/],
  [['knbench', 'run', '--threads', '0'], 2, 'stderr', /--threads takes a whole number from 1 to 16/],
  [['knbench', 'run', '--threads', '17'], 2, 'stderr', /--threads takes a whole number from 1 to 16/],
  [['knbench', 'run', '--threads', '2', '--link', 'xdp:eth1'], 2, 'stderr', /--threads 2: .* there is one xdp:eth1/],
  [['knbench', 'run', '--threads', '2', '--client-link', 'tap:t0'], 2, 'stderr', /there is one tap:t0/],
  [['knbench', 'client', '--server', '10.0.0.1', '--threads', '1'], 2, 'stderr', /--threads/],
  [['knbench', 'run', '--stacks', 'kernel:poll'], 2, 'stderr', /kernel:epoll, kernel:busy/],
  [['knbench', 'run', '--link', 'xdp,memif,xdp'], 2, 'stderr', /--link/],
  [['knbench', 'client', '--stack', 'kernel'], 2, 'stderr', /--server is required/],
  [['knbench', 'server', '--link', 'memory:x'], 2, 'stderr', /one process/],
  [['demo', '--help'], 0, 'stdout', /usage: lunet demo/],
  [['demo', '--bogus'], 2, 'stderr', /--bogus/],
] as const) {
  test(`lunet ${args.join(' ')} ends with ${status} and says why`, () => {
    const result = lunet(...args);
    assert.is(result.status, status, result.stderr);
    assert.match(result[stream], text);
  });
}

test('a veth pair of its own is not to be had by an ordinary user, and that is said', () => {
  const ordinary = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const args = [MAIN, 'knbench', 'run', '--link', 'memif,xdp', '--seconds', '0.01'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', ...ordinary });
  assert.is(status, 1);
  assert.match(stderr, /--link xdp needs root/);
});

test('a reader that goes away ends the command quietly', async () => {
  const child = spawn(process.execPath, [MAIN, 'knbench', 'run', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const status = await new Promise((resolve) => child.on('close', resolve));
  assert.is(stderr, '');
  assert.is(status, 0);
});

test.run();
