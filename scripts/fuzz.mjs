// npm run fuzz: builds what the fuzzers need and runs them (test/fuzz/lib/main.ts; docs/fuzzing.md).

import { steps } from './build.mjs';
import { Missing, StepError } from './lib/step.mjs';

try {
  for (const name of ['layout', 'wasm', 'ts']) await steps[name]();
  await import('../dist/test/fuzz/lib/main.js');
} catch (error) {
  if (!(error instanceof StepError || error instanceof Missing)) throw error;
  console.error(`fuzz: ${error.message}${error.tail ? `\n${error.tail}` : ''}`);
  process.exitCode = 1;
}
