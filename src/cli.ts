#!/usr/bin/env node
import { createProgram } from './cli/program.js';
import { run } from './cli/run.js';

await run(createProgram(), process.argv);
