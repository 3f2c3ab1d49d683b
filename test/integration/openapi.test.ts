/** The OpenAPI document is what its standard says, by Redocly's strict rules, wherever it is served. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { Installation, type Settings } from '../support/installation.js';
import { EVERYTHING } from '../support/rest.js';

const redocly = resolve(import.meta.dirname, '../../node_modules/@redocly/cli/bin/cli.js');

describe('the OpenAPI document', () => {
  let here: Installation;
  afterEach(() => here.close());

  it.each<[string, Settings, string]>([
    ['with everything switched on', EVERYTHING, ''],
    ['with what is on by itself', {}, ''],
    ['under a prefix', { galaxy: { galaxy_url_prefix: '/galaxy' } }, '/galaxy'],
  ])('%s has no finding', async (_, settings, prefix) => {
    here = Installation.embedded();
    const { url } = await here.worker(settings);
    const text = await (await fetch(`${url}${prefix}/api/openapi.json`)).text();
    const document = JSON.parse(text);
    expect(document.servers).toEqual([{ url: prefix || '/' }]);
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/api/events/stream', '/api/histories', '/readyz', '/metrics']),
    );
    const file = join(here.folder, 'openapi.json');
    writeFileSync(file, text);
    const lint = promisify(execFile)(
      process.execPath,
      [redocly, 'lint', file, '--extends=recommended-strict', '--format=stylish'],
      {
        cwd: here.folder,
        env: { PATH: process.env.PATH, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
      },
    );
    const findings = await lint.then(
      () => '',
      ({ stdout, stderr }) => `${stdout}${stderr}`,
    );
    expect(findings).toBe('');
  });
});
