#!/usr/bin/env node
import { isNodeNewEnough } from './cli/node-version.js';
import { nameProcess } from './cli/process-name.js';

if (isNodeNewEnough()) {
  nameProcess();
  import('./cli/lightcone.js');
}
