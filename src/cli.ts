#!/usr/bin/env -S node --max-semi-space-size=8
// The flag halves the memory for short-lived objects, and costs nothing that could be measured (docs/performance.md).
import { createProgram } from './cli/program.js';
import { run } from './cli/run.js';

await run(createProgram(), process.argv);
