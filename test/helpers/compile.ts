// Compiles parts of the core by themselves, so that a test can call what the ABI does not export.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { defaultBuild } from '../../src/host/core/core.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const ENTRY = 'assembly/unit-test-entry.ts';

/**
 * Compiles the AssemblyScript text `entry`, which imports from the core as a file in assembly/ would, with the flags
 * of the build under test. `instead` replaces whole files of the core, by path from the root.
 */
export async function compileEntry(entry: string, instead: Record<string, string> = {}): Promise<WebAssembly.Module> {
  let binary: Uint8Array | undefined;
  const diagnostics: string[] = [];
  const { error } = await asc.main([ENTRY, '--config', 'none', '--outFile', 'out.wasm', ...flags()], {
    readFile(name) {
      if (name === ENTRY) return entry;
      if (name in instead) return instead[name];
      try {
        return readFileSync(join(root, name), 'utf8');
      } catch {
        return null;
      }
    },
    writeFile(name, contents) {
      if (name === 'out.wasm') binary = contents as Uint8Array;
    },
    listFiles: () => [],
    reportDiagnostic: (diagnostic) => diagnostics.push(diagnostic.message),
  });
  if (error || !binary)
    throw new Error(`the test's entry does not compile: ${error?.message}\n${diagnostics.join('\n')}`);
  return new WebAssembly.Module(binary as Uint8Array<ArrayBuffer>);
}

/** The options of asconfig.json as arguments. */
function flags(): string[] {
  const config = JSON.parse(readFileSync(join(root, 'asconfig.json'), 'utf8')) as {
    options: Record<string, unknown>;
    targets: Record<string, Record<string, unknown>>;
  };
  const { outFile, textFile, ...target } = config.targets[defaultBuild()];
  const list: string[] = [];
  for (const [name, value] of Object.entries({ ...config.options, ...target })) {
    if (value === true) list.push(`--${name}`);
    else if (value !== false)
      for (const one of Array.isArray(value) ? value : [value]) list.push(`--${name}`, String(one));
  }
  return list;
}
