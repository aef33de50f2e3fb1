// The build steps. Each is a no-op when its outputs are up to date with its inputs' content.
//
//   node scripts/build.mjs [layout] [wasm] [ts] [addon] [xdp] [peers] [hot] [count]      (all of them when none is named)
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeLayout } from './gen-layout.mjs';
import { buildCount } from './lib/count.mjs';
import { instrument } from './lib/coverage.mjs';
import { at, filesBelow, Missing, packageVersion, run, StepError, whenChanged } from './lib/step.mjs';

const ends = (...suffixes) => {
  return (path) => suffixes.some((suffix) => path.endsWith(suffix));
};

/** TypeScript proper: what lies in a folder `assembly` is AssemblyScript. */
const isHost = (path) => !path.startsWith('bench/assembly/');

function needPackages() {
  if (!existsSync(at('node_modules'))) throw new StepError('node_modules is missing: run npm run setup');
}

async function layout() {
  try {
    writeLayout();
  } catch (error) {
    throw new StepError(`gen-layout: ${error.message}`);
  }
  return false;
}

async function wasmTarget(target) {
  const output = `build/core.${target}.wasm`;
  const outputs = [output];
  if (target === 'coverage') outputs.push('build/core.coverage.json');
  if (target === 'release') outputs.push('build/core.release.wat');
  return whenChanged({
    name: `wasm-${target}`,
    inputs: [
      'asconfig.json',
      ...(target === 'coverage' ? ['scripts/lib/coverage.mjs'] : []),
      ...filesBelow('assembly', ends('.ts')),
    ],
    extra: `asc ${packageVersion('assemblyscript')}`,
    outputs,
    make: async () => {
      const asc = at('node_modules', 'assemblyscript', 'bin', 'asc.js');
      await run([process.execPath, asc, '--config', 'asconfig.json', '--target', target]);
      if (target === 'coverage') {
        const { wasm, sites } = instrument(readFileSync(at(output)));
        writeFileSync(at(output), wasm);
        writeFileSync(at('build/core.coverage.json'), JSON.stringify(sites));
      }
    },
  });
}

/** The loopback link's module: as the release core, but without static data, so that it can share the core's memory. */
async function loopback() {
  return whenChanged({
    name: 'wasm-loopback',
    inputs: [
      'asconfig.json',
      ...['loopback/index', 'abi/layout', 'wire/checksum', 'wire/tcp'].map((name) => `assembly/${name}.ts`),
    ],
    extra: `asc ${packageVersion('assemblyscript')}`,
    outputs: ['build/loopback.wasm'],
    make: async () => {
      const asc = at('node_modules', 'assemblyscript', 'bin', 'asc.js');
      const { enable } = JSON.parse(readFileSync(at('asconfig.json'), 'utf8')).targets.release;
      const flags = [
        '--runtime',
        'stub',
        '--importMemory',
        '--use',
        'abort=',
        '-O3',
        '--noAssert',
        '--enable',
        enable.join(),
      ];
      const files = ['assembly/loopback/index.ts', '--outFile', 'build/loopback.wasm'];
      await run([process.execPath, asc, ...files, '--config', 'none', ...flags]);
    },
  });
}

async function wasm() {
  needPackages();
  if (!existsSync(at('assembly', 'index.ts'))) throw new StepError('assembly/index.ts is missing');
  const done = await Promise.allSettled([...['debug', 'release', 'coverage'].map(wasmTarget), loopback()]);
  const failed = done.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return done.some((result) => result.value);
}

/** Removes compiled files whose source is gone, so that a deleted test does not run for ever. */
function sweepDist() {
  for (const path of filesBelow('dist', ends('.js', '.js.map', '.d.ts'))) {
    const source = `${path.slice('dist/'.length).replace(/(\.js|\.js\.map|\.d\.ts)$/, '')}.ts`;
    if (!existsSync(at(source))) rmSync(at(path));
  }
}

async function ts() {
  needPackages();
  return whenChanged({
    name: 'ts',
    inputs: ['tsconfig.json', ...['src', 'test', 'bench'].flatMap((dir) => filesBelow(dir, ends('.ts')))].filter(
      isHost,
    ),
    extra: `tsc ${packageVersion('typescript')} types ${packageVersion('@types/node')}`,
    outputs: ['dist/src'],
    make: async () => {
      sweepDist();
      await run([process.execPath, at('node_modules', 'typescript', 'bin', 'tsc'), '--project', 'tsconfig.json']);
    },
  });
}

/** Node's headers, found locally: npm's `nodedir` setting, or the prefix this node was installed under. */
export function nodeHeaders() {
  const prefixes = [process.env.npm_config_nodedir, dirname(dirname(process.execPath))];
  return prefixes.find((prefix) => prefix && existsSync(join(prefix, 'include', 'node', 'node_api.h'))) ?? null;
}

/** @throws {Missing} when DPDK is not installed */
async function dpdkVersion() {
  try {
    return (await run(['pkg-config', '--modversion', 'libdpdk'])).trim();
  } catch {
    throw new Missing('DPDK (libdpdk-dev, pkg-config)');
  }
}

async function addon() {
  if (!existsSync(at('native', 'binding.gyp'))) throw new StepError('native/binding.gyp is missing');
  const dpdk = await dpdkVersion();
  needPackages();
  return whenChanged({
    name: 'addon',
    inputs: filesBelow('native', ends('.cc', '.h', '.gyp')).filter((path) => !path.startsWith('native/build/')),
    extra: `dpdk ${dpdk} node-addon-api ${packageVersion('node-addon-api')}`,
    outputs: ['native/build/Release/lunet.node'],
    make: async () => {
      const gyp = at('node_modules', 'node-gyp', 'bin', 'node-gyp.js');
      const headers = nodeHeaders();
      const nodedir = headers ? [`--nodedir=${headers}`] : [];
      await run([process.execPath, gyp, 'rebuild', '--directory=native', '--jobs=max', ...nodedir]);
    },
  });
}

const bpfSources = () => filesBelow('native/xdp', ends('.bpf.c'));
const bpfObject = (source) => `build/xdp/${source.slice('native/xdp/'.length).replace(/\.bpf\.c$/, '.o')}`;

async function xdp() {
  const sources = bpfSources();
  if (sources.length === 0) throw new StepError('native/xdp/ has no .bpf.c file');
  let clang;
  try {
    clang = await run(['clang', '--version']);
  } catch {
    throw new Missing('clang (for the XDP program)');
  }
  return whenChanged({
    name: 'xdp',
    inputs: filesBelow('native/xdp', ends('.c', '.h')),
    extra: clang.split('\n')[0],
    outputs: sources.map(bpfObject),
    make: async () => {
      mkdirSync(at('build', 'xdp'), { recursive: true });
      // asm/types.h lies in the multiarch folder, which clang does not search for -target bpf.
      const triplet = (await run(['clang', '-print-multiarch']).catch(() => '')).trim();
      const multiarch = triplet || `${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch}-linux-gnu`;
      const include = `/usr/include/${multiarch}`;
      const flags = ['-O2', '-g', '-Wall', '-Werror', '-target', 'bpf', '-mcpu=v3'];
      for (const source of sources) {
        await run(['clang', ...flags, `-I${include}`, '-c', source, '-o', bpfObject(source)]);
      }
    },
  });
}

/** The core with entries for microbenchmarks, of the same sources and options as the release build: build/bench/hot.wasm. */
async function hot() {
  needPackages();
  const config = 'build/bench/asconfig.json';
  return whenChanged({
    name: 'hot',
    inputs: ['asconfig.json', ...filesBelow('assembly', ends('.ts')), ...filesBelow('bench/assembly', ends('.ts'))],
    extra: `asc ${packageVersion('assemblyscript')}`,
    outputs: ['build/bench/hot.wasm'],
    make: async () => {
      const { options, targets } = JSON.parse(readFileSync(at('asconfig.json'), 'utf8'));
      const { textFile: _, ...release } = targets.release;
      mkdirSync(at('build', 'bench'), { recursive: true });
      // asc takes paths in a configuration relative to it.
      const target = { ...release, outFile: 'hot.wasm' };
      writeFileSync(
        at(config),
        JSON.stringify({ entries: ['../../bench/assembly/hot.ts'], options, targets: { hot: target } }),
      );
      const asc = at('node_modules', 'assemblyscript', 'bin', 'asc.js');
      await run([process.execPath, asc, '--config', config, '--target', 'hot']);
    },
  });
}

/** The kernel's side of the benchmarks in C: build/bench/rpc. */
async function peers() {
  const sources = filesBelow('bench/kernel', ends('.c'));
  if (sources.length === 0) throw new StepError('bench/kernel/ has no .c file');
  let gcc;
  try {
    gcc = await run(['gcc', '--version']);
  } catch {
    throw new Missing('gcc (for the benchmarks against the kernel in C)');
  }
  return whenChanged({
    name: 'peers',
    inputs: filesBelow('bench/kernel', ends('.c', '.h')),
    extra: gcc.split('\n')[0],
    outputs: ['build/bench/rpc'],
    make: async () => {
      mkdirSync(at('build', 'bench'), { recursive: true });
      const flags = ['-std=c11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror'];
      await run(['gcc', ...flags, '-o', 'build/bench/rpc', ...sources, '-lm']);
    },
  });
}

/** Steps by name; each resolves to whether it had anything to do. */
export const steps = { layout, wasm, ts, addon, xdp, peers, hot, count: buildCount };

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(steps);
  for (const name of names) {
    if (!steps[name]) {
      console.error(`build: no step "${name}"; there are ${Object.keys(steps).join(', ')}`);
      process.exit(2);
    }
    try {
      await steps[name]();
    } catch (error) {
      if (!(error instanceof StepError || error instanceof Missing)) throw error;
      const what = error instanceof Missing ? `missing: ${error.message}` : error.message;
      console.error(`build ${name}: ${what}${error.tail ? `\n${error.tail}` : ''}`);
      process.exit(1);
    }
  }
}
