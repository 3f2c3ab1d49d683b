// `npm run docs`: writes the reference pages. Needs a build.
import { writeFileSync } from 'node:fs';
import { SETTINGS } from '../dist/config/schema.js';
import { ERRORS } from '../dist/core/errors.js';
import { METRICS } from '../dist/telemetry/metrics.js';
import { configurationPage, errorsPage, metricsPage } from './render-docs.mjs';

const page = (name) => new URL(`../docs/${name}`, import.meta.url);
writeFileSync(page('configuration.md'), configurationPage(SETTINGS));
writeFileSync(page('errors.md'), errorsPage(ERRORS));
writeFileSync(page('metrics.md'), metricsPage(METRICS));
