import { UsageError } from './args.js';
import { attack } from './attack.js';
import { demo } from './demo.js';
import { doctor } from './doctor.js';
import { knbench } from './knbench.js';
import { print } from './output.js';
import { script } from './script.js';
import { sim } from './sim.js';

interface Command {
  readonly summary: string;
  /** Resolves to the exit status. */
  run(args: string[]): Promise<number>;
}

const commands: Readonly<Record<string, Command>> = {
  demo: { summary: 'lunet against the kernel, a table and an HTML report, in under two minutes', run: demo },
  knbench: { summary: 'the RPC benchmark: server, client, or whole comparisons', run: knbench },
  script: { summary: 'packetdrill scripts on the core, in virtual time', run: script },
  sim: { summary: 'many cores on simulated paths: goodput against theory, and the swarm test', run: sim },
  attack: { summary: 'attacks on a core beside a legitimate client, in virtual time: what holds', run: attack },
  doctor: { summary: 'what this machine has of what lunet can use, and what is missing', run: doctor },
};

function help(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return ['usage: lunet <command> [options]', '', ...lines, '', 'lunet <command> --help tells more.'].join('\n');
}

/** Runs one command line; resolves to the exit status: 0 fine, 1 failed, 2 misused. */
export async function runCli(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    process.stderr.write(`${help()}\n`);
    return 2;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    await print(help());
    return 0;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    process.stderr.write(`lunet: there is no command "${name}": see lunet --help\n`);
    return 2;
  }
  try {
    return await command.run(rest);
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`lunet ${name}: ${error.message}: see lunet ${name} --help\n`);
      return 2;
    }
    process.stderr.write(`lunet ${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}
