#!/usr/bin/env node
import { isNodeNewEnough } from './cli/node-version.js';

if (isNodeNewEnough()) import('./cli/sse-monitor.js');
