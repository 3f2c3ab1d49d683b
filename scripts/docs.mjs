// `npm run docs`: writes the reference pages. Needs a build.
import { readFileSync, writeFileSync } from 'node:fs';
import { SETTINGS } from '../dist/config/schema.js';
import { ERRORS } from '../dist/core/errors.js';
import { LIMITS } from '../dist/core/limits.js';
import { EVENTS } from '../dist/events/registry.js';
import { METRICS } from '../dist/telemetry/metrics.js';
import { configurationPage, errorsPage, metricsPage, withEvents, withLimits } from './render-docs.mjs';

const page = (name) => new URL(`../docs/${name}`, import.meta.url);
writeFileSync(page('configuration.md'), configurationPage(SETTINGS));
writeFileSync(page('errors.md'), errorsPage(ERRORS));
const security = readFileSync(page('security.md'), 'utf8');
writeFileSync(page('security.md'), withLimits(security, LIMITS, SETTINGS.sse));
writeFileSync(page('metrics.md'), metricsPage(METRICS));
const stream = readFileSync(page('stream.md'), 'utf8');
writeFileSync(page('stream.md'), withEvents(stream, EVENTS));
