/** The standalone monitor under its own name: `lightcone monitor` with the same flags. */
import { createMonitorCommand } from './monitor-command.js';
import { run } from './run.js';
import { version } from './version.js';

await run(createMonitorCommand('sse-monitor').version(version()), process.argv);
