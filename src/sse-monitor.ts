#!/usr/bin/env node
/** The standalone monitor under its own name: `lightcone monitor` with the same flags. */
import { createMonitorCommand } from './cli/monitor-command.js';
import { run } from './cli/run.js';

await run(createMonitorCommand('sse-monitor'), process.argv);
