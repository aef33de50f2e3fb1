import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runScript, type ScriptResult } from '../script/index.js';
import { type CommandSpec, helpText, parseCommand, UsageError } from './args.js';
import { print } from './output.js';

const spec: CommandSpec = {
  name: 'script FILE|DIR…',
  summary: 'Runs packetdrill scripts on the core in virtual time; of a directory, every *.pkt below it.',
  options: { json: { help: 'print an array of {file, verdict, line, reason}' } },
  notes: [
    'verdicts: pass, fail, unsupported (the script asks for something that is not there)',
    'exit status: 1 when any script fails',
  ],
};

/** Every script that the paths name, in order. */
export function scriptFiles(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.pkt'));
    return names.sort().map((name) => join(path, name));
  });
}

/** Runs the command; resolves to its exit status. */
export async function script(args: readonly string[]): Promise<number> {
  const paths = args.filter((arg) => !arg.startsWith('-'));
  const values = parseCommand(
    spec,
    args.filter((arg) => arg.startsWith('-')),
  );
  if (values === 'help') {
    await print(helpText(spec));
    return 0;
  }
  if (paths.length === 0) throw new UsageError('a script or a directory of scripts is needed');
  const results = scriptFiles(paths).map((file) => ({
    file,
    ...runScript(readFileSync(file, 'utf8'), { directory: dirname(file) }),
  }));
  if (values.flag('json')) {
    const rows = results.map(({ file, verdict, line, reason }) => ({ file, verdict, line, reason }));
    await print(JSON.stringify(rows, null, 2));
  } else await print(report(results));
  return results.some(({ verdict }) => verdict === 'fail') ? 1 : 0;
}

function report(results: readonly (ScriptResult & { file: string })[]): string {
  const lines = results.flatMap(({ file, verdict, line, reason, printed }) => [
    ...printed,
    verdict === 'pass' ? `pass  ${file}` : `${verdict}  ${file}:${line}: ${reason}`,
  ]);
  const count = (verdict: string): number => results.filter((result) => result.verdict === verdict).length;
  return [...lines, `${count('pass')} passed, ${count('fail')} failed, ${count('unsupported')} unsupported`].join('\n');
}
