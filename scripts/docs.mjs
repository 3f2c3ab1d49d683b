// `npm run docs`: writes the reference pages and the pictures of docs/architecture.md. Needs a build.
import { readFileSync, writeFileSync } from 'node:fs';
import { SETTINGS } from '../dist/config/schema.js';
import { ERRORS } from '../dist/core/errors.js';
import { LIMITS } from '../dist/core/limits.js';
import { EVENTS } from '../dist/events/registry.js';
import { METRICS } from '../dist/telemetry/metrics.js';
import * as clientStates from '../packages/client/src/states.ts';
import { importsOf, sourceFiles } from '../test/support/source-imports.ts';
import { changePicture, housePicture } from './draw-architecture.mjs';
import {
  configurationPage,
  errorsPage,
  metricsPage,
  withEvents,
  withLimits,
  withStates,
} from './render-docs.mjs';

const page = (name) => new URL(`../docs/${name}`, import.meta.url);
writeFileSync(page('configuration.md'), configurationPage(SETTINGS));
writeFileSync(page('errors.md'), errorsPage(ERRORS));
writeFileSync(page('images/house.svg'), housePicture(sourceFiles().flatMap(importsOf)));
writeFileSync(page('images/change.svg'), changePicture());
const security = readFileSync(page('security.md'), 'utf8');
writeFileSync(page('security.md'), withLimits(security, LIMITS, SETTINGS.sse));
writeFileSync(page('metrics.md'), metricsPage(METRICS));
const stream = readFileSync(page('stream.md'), 'utf8');
writeFileSync(page('stream.md'), withEvents(stream, EVENTS));
const client = readFileSync(page('client.md'), 'utf8');
writeFileSync(page('client.md'), withStates(client, clientStates));
