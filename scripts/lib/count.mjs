// The core as a native program, for a counter of instructions: asc without SIMD, which wasm2c does not know, then wasm2c, then gcc.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { at, filesBelow, Missing, packageVersion, run, StepError, whenChanged } from './step.mjs';

const SOURCES = 'bench/count';
/** The programs keep the base of linear memory in r15, as V8 keeps it in a register. */
const OPTIONS = ['-O2', '-ffixed-r15', '-fno-strict-aliasing', `-I${SOURCES}`];

const tools = { wasm2c: 'wasm2c (Debian package wabt)', valgrind: 'valgrind', gcc: 'gcc', 'g++': 'g++' };

/** What this machine lacks for it, in words. */
async function countMissing() {
  const missing = process.arch === 'x64' ? [] : [`x86-64 (this is ${process.arch})`];
  for (const [program, name] of Object.entries(tools)) {
    await run([program, '--version']).catch(() => missing.push(name));
  }
  return missing;
}

/** First lines of what the compilers say of themselves. */
async function countVersions() {
  const [gcc, wasm2c] = await Promise.all(['gcc', 'wasm2c'].map((program) => run([program, '--version'])));
  return { gcc: gcc.split('\n')[0], wasm2c: `wasm2c ${wasm2c.split('\n')[0]}` };
}

/** Has wasm2c's loads and stores take their address from memory.h, and gcc do with what they loaded as it likes. */
function redirectMemory(text) {
  const edits = [
    ['#include "core.h"', '#include "core.h"\n#include "memory.h"'],
    ['wasm_rt_memcpy(&result, &mem->data[addr],', 'wasm_rt_memcpy(&result, memoryAt(addr, sizeof(t1), 0),'],
    ['wasm_rt_memcpy(&mem->data[addr], &wrapped,', 'wasm_rt_memcpy(memoryAt(addr, sizeof(t1), 1), &wrapped,'],
    ['wasm_asm("" ::"r"(result));', ''],
  ];
  return edits.reduce((edited, [from, to]) => {
    if (!edited.includes(from)) throw new StepError(`wasm2c of another version: its output has no ${from}`);
    return edited.replaceAll(from, to);
  }, text);
}

/** Compiles the core from `entry` and translates it to C, in build/count/`name`. */
async function translate(name, entry) {
  const folder = `build/count/${name}`;
  const { options, targets } = JSON.parse(readFileSync(at('asconfig.json'), 'utf8'));
  const { textFile: _, ...release } = targets.release;
  mkdirSync(at(folder), { recursive: true });
  // asc takes paths in a configuration relative to it. `debug` keeps the functions' names.
  const core = { ...release, enable: options.enable, disable: ['simd'], debug: true, outFile: 'core.wasm' };
  const config = { entries: [`../../../${entry}`], options, targets: { core } };
  writeFileSync(at(folder, 'asconfig.json'), JSON.stringify(config));
  const asc = at('node_modules', 'assemblyscript', 'bin', 'asc.js');
  await run([process.execPath, asc, '--config', `${folder}/asconfig.json`, '--target', 'core']);
  await run(['wasm2c', '-n', 'core', `${folder}/core.wasm`, '-o', `${folder}/core.c`]);
  writeFileSync(at(folder, 'core.c'), redirectMemory(readFileSync(at(folder, 'core.c'), 'utf8')));
}

/** Compiles and links the program `name` with the core in build/count/`core`. */
async function link(name, core, sources, flags) {
  const include = `-Ibuild/count/${core}`;
  const object = (source) => `build/count/${name}-${source}.o`;
  const generated = ['-w', ...OPTIONS, ...flags];
  const own = ['-Wall', '-Wextra', '-Werror', ...OPTIONS, ...flags];
  await run(['gcc', ...generated, include, '-c', `build/count/${core}/core.c`, '-o', object('core')]);
  await run(['gcc', '-std=gnu11', ...own, '-c', `${SOURCES}/memory.c`, '-o', object('memory')]);
  for (const source of [...sources, 'runtime']) {
    await run(['g++', '-std=c++17', ...own, include, '-c', `${SOURCES}/${source}.cc`, '-o', object(source)]);
  }
  const objects = [...sources, 'runtime', 'memory', 'core'].map(object);
  await run(['g++', '-o', `build/count/${name}`, ...objects]);
}

/** The build step. */
export async function buildCount() {
  const missing = await countMissing();
  if (missing.length > 0) throw new Missing(`${missing.join(', ')} (to count instructions)`);
  const { gcc, wasm2c } = await countVersions();
  return whenChanged({
    name: 'count',
    inputs: [
      'asconfig.json',
      'scripts/lib/count.mjs',
      ...filesBelow('assembly', (path) => path.endsWith('.ts')),
      ...filesBelow('bench/assembly', (path) => path.endsWith('.ts')),
      ...filesBelow(SOURCES, (path) => /\.(c|cc|h)$/.test(path)),
    ],
    extra: `asc ${packageVersion('assemblyscript')} ${gcc} ${wasm2c}`,
    outputs: ['count', 'inner', 'lines'].map((name) => `build/count/${name}`),
    make: async () => {
      const release = translate('release', 'assembly/index.ts');
      const hot = translate('hot', 'bench/assembly/hot.ts');
      await Promise.all([
        release.then(() => link('count', 'release', ['count', 'traffic', 'callgrind'], [])),
        release.then(() => link('lines', 'release', ['lines', 'traffic'], ['-O1', '-DNOTE_ADDRESSES'])),
        hot.then(() => link('inner', 'hot', ['inner', 'callgrind'], [])),
      ]);
    },
  });
}
