// Blocks in %{ … }%: parsed and run as Python.
import { Mismatch, Unsupported } from './ast.js';
import { parsePython } from './python/parse.js';
import { type PythonScope, type PythonValue, runPython } from './python/run.js';
import { PythonUnsupported } from './python/syntax.js';

export type { PythonValue };

/** `line`: of the block's beginning. Throws Unsupported, or Mismatch for an assertion that does not hold. */
export function runCode(text: string, line: number, scope: PythonScope): void {
  try {
    const failure = runPython(parsePython(text), scope);
    if (failure !== null) throw new Mismatch(line + failure.line, failure.message);
  } catch (error) {
    if (error instanceof PythonUnsupported) {
      throw new Unsupported(line + error.line, `${error.message} in an assertion`);
    }
    throw error;
  }
}

/** Throws Unsupported for what could not be run whatever the values. */
export function checkCode(text: string, line: number): void {
  try {
    parsePython(text);
  } catch (error) {
    if (error instanceof PythonUnsupported) {
      throw new Unsupported(line + error.line, `${error.message} in an assertion`);
    }
    throw error;
  }
}
