// The bounded run of a target, as a test: the same inputs every time.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultBuild } from '../../../src/host/core/core.js';
import { explain, fuzz } from './engine.js';
import { committedFolder, failedFolder, hungFile, readCorpus, saveTape, shown } from './files.js';
import type { Target } from './target.js';
import { startWatchdog } from './watchdog.js';

/** Longest that one input may take before it counts as hanging; a busy machine is slow, but not this slow. */
const HANG_MS = 60_000;

/** LUNET_FUZZ_INPUTS and LUNET_FUZZ_SEED make it longer, or another one. */
export function boundedTest(target: Target): void {
  const seed = Number(process.env.LUNET_FUZZ_SEED ?? 1);
  // The build with assertions is the instrumented one; the other is the release build as it is.
  const build = defaultBuild() === 'debug' ? 'coverage' : 'release';
  const inputs = Number(process.env.LUNET_FUZZ_INPUTS ?? target.inputs);

  test(`${target.purpose}: ${inputs} inputs from seed ${seed} on the ${build} build`, async () => {
    const hung = hungFile(target.name);
    const replay = `npm run fuzz -- ${target.name} --build ${build} --replay ${shown(hung)}`;
    const watchdog = startWatchdog(HANG_MS, hung, replay);
    const corpus = readCorpus(committedFolder(target.name));
    const result = fuzz({ target, build, seed, inputs, seconds: Number.POSITIVE_INFINITY, corpus, watchdog });
    await watchdog.close();
    if (result.failure) {
      const file = shown(saveTape(failedFolder(target.name), result.failure.tape));
      throw new Error(explain(target, result.failure, file));
    }
    // A fuzzer that no longer gets past the handshake would find nothing and say so proudly.
    for (const name of target.reaches) {
      assert.ok((result.counters.get(name) ?? 0n) > 0n, `${target.name} has moved the counter ${name}`);
    }
  });

  test.run();
}
