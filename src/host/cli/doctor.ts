// lunet doctor: what the full path (DPDK on hugepages, beside the kernel on a real interface) still needs here.
import { type Environment, findings, missingForFullPath, probeEnvironment } from './probe.js';

const USAGE = `usage: lunet doctor [--json]

Says what this machine has of what lunet can use, and how to get the rest.
Exit status: 0 when the full path can run, 1 when something it needs is missing.
`;

function table(environment: Environment): string {
  const rows = findings(environment);
  const width = Math.max(...rows.map((row) => row.name.length));
  const lines = rows.map((row) => {
    const verdict = row.ok ? 'ok     ' : row.required ? 'MISSING' : 'absent ';
    const indent = ' '.repeat(verdict.length + width + 4);
    return `${verdict}  ${row.name.padEnd(width)}  ${row.detail}${row.fix ? `\n${indent}→ ${row.fix}` : ''}`;
  });
  const missing = missingForFullPath(environment);
  const verdict =
    missing.length === 0
      ? 'The full path can run.'
      : `The full path cannot run: ${missing.map((finding) => finding.name).join(', ')}. ${fallback(environment)}`;
  return `${lines.join('\n')}\n\n${verdict}\n`;
}

function fallback(environment: Environment): string {
  if (!environment.core.ok) return 'Nothing runs before npm run setup.';
  return environment.addon.ok
    ? 'DPDK links that need none of these (memif:, null:, pcap:) and the embedded in-memory link (memory:) work.'
    : 'The embedded in-memory link (memory:) works.';
}

/** Runs the command; resolves to its exit status. */
export async function doctor(args: string[]): Promise<number> {
  const unknown = args.find((arg) => arg !== '--json' && arg !== '--help');
  if (unknown !== undefined) {
    process.stderr.write(`lunet doctor: unknown argument ${unknown}\n${USAGE}`);
    return 2;
  }
  if (args.includes('--help')) {
    process.stdout.write(USAGE);
    return 0;
  }
  const environment = probeEnvironment();
  const fullPath = missingForFullPath(environment).length === 0;
  const text = args.includes('--json')
    ? `${JSON.stringify({ fullPath, findings: environment }, null, 2)}\n`
    : table(environment);
  process.stdout.write(text);
  return fullPath ? 0 : 1;
}
