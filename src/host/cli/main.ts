// The `lunet` command. Importing this module runs it.
import { runCli } from './cli.js';
import { exitOnClosedPipe } from './output.js';

exitOnClosedPipe(process.stdout);
exitOnClosedPipe(process.stderr);
process.exitCode = await runCli(process.argv.slice(2));
