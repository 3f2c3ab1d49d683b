/** The OpenAPI document is what its standard says, by Redocly's strict rules, wherever it is served. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { createServer } from '../../src/index.js';
import { Installation, type Settings } from '../support/installation.js';
import { EVERYTHING } from '../support/rest.js';

const redocly = resolve(import.meta.dirname, '../../node_modules/@redocly/cli/bin/cli.js');

/** What Redocly's strict rules find in it. */
async function findingsIn(text: string, folder: string): Promise<string> {
  const file = join(folder, 'openapi.json');
  writeFileSync(file, text);
  const lint = promisify(execFile)(
    process.execPath,
    [redocly, 'lint', file, '--extends=recommended-strict', '--format=stylish'],
    {
      cwd: folder,
      env: { PATH: process.env.PATH, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
    },
  );
  return lint.then(
    () => '',
    ({ stdout, stderr }) => `${stdout}${stderr}`,
  );
}

describe('the OpenAPI document', () => {
  let here: Installation;
  afterEach(() => here.close());

  it('of a server in an application names no way to sign in that is not there, and has no finding', async () => {
    here = Installation.embedded();
    const server = await createServer({
      settings: {
        galaxy: { database_connection: `sqlite:///${join(here.folder, 'embedded.sqlite')}` },
        sse: { listen: '127.0.0.1:0', log_level: 'silent' },
      },
      authenticate: () => undefined,
    });
    await server.start();
    try {
      const text = await (await fetch(`${server.address}/api/openapi.json`)).text();
      const paths = Object.keys(JSON.parse(text).paths);
      expect(paths).toEqual(
        expect.arrayContaining(['/api/events/stream', '/api/events/marks', '/api/histories']),
      );
      expect(paths.filter((path) => /login|logout|sessions/.test(path))).toEqual([]);
      expect(await findingsIn(text, here.folder)).toBe('');
    } finally {
      await server.stop();
    }
  });

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
    expect(await findingsIn(text, here.folder)).toBe('');
  });
});
