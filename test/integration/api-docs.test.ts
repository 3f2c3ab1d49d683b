import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { locate } from '../support/programs.js';
import { EVERYTHING, restOf } from '../support/rest.js';

const page = readFileSync(resolve(import.meta.dirname, '../../docs/api.md'), 'utf8');
const script = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block).join('');
const requests = script.split('\n').filter((line) => line.includes('curl '));

/** `GET /api/histories/x`, with whatever stands for an id as `x`. */
function routeOf(line: string): string {
  const method = / -X ([A-Z]+)/.exec(line)?.[1] ?? 'GET';
  const path = /\$LIGHTCONE([^"?]*)/.exec(line)![1]!;
  return `${method} ${path.replace(/\$[A-Z_]+/g, 'x').replace('/contents/datasets/', '/contents/x/')}`;
}

/** Ids stand for any. */
const open = (route: string): string => route.replace(/\/contents\/\w+\//, '/contents/x/');

describe('docs/api.md', () => {
  let here: Installation;
  afterEach(() => here.close());

  it('has a line for every route that the server describes', async () => {
    here = Installation.embedded();
    const { paths } = (await restOf((await here.worker(EVERYTHING)).url)('GET', '/api/openapi.json')).body;
    const described = Object.entries<object>(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, 'x')}`),
    );
    expect(described.length).toBeGreaterThan(40);
    const shown = new Set(requests.map(routeOf));
    expect(described.filter((route) => !shown.has(route))).toEqual([]);
    const known = [...described, 'GET /api/openapi.json'].map(open);
    expect([...shown].map(open).filter((route) => !known.includes(route))).toEqual([]);
  });

  it('every operation that the server describes has a summary, and words for its answers', async () => {
    here = Installation.embedded();
    const { paths } = (await restOf((await here.worker(EVERYTHING)).url)('GET', '/api/openapi.json')).body;
    type Operation = { summary?: string; responses: Record<string, { description?: string }> };
    const dumb = Object.entries<Record<string, Operation>>(paths).flatMap(([path, operations]) =>
      Object.entries(operations)
        .filter(
          ([, { summary, responses }]) =>
            !summary ||
            !responses[503] ||
            Object.values(responses).some(({ description = '' }) => /^Default Response/.test(description)),
        )
        .map(([method]) => `${method} ${path}`),
    );
    expect(dumb).toEqual([]);
  });

  it('has lines that all work, from top to bottom', async () => {
    locate('curl');
    here = Installation.embedded();
    const { url } = await here.worker(EVERYTHING);
    const run = promisify(execFile)('bash', ['-e', '-o', 'pipefail', '-x', '-c', script], {
      cwd: here.folder,
      env: { PATH: process.env.PATH, LIGHTCONE: url },
    });
    const failed = await run.then(
      () => undefined,
      (error: { stderr: string }) => error.stderr.trim().split('\n').slice(-4).join('\n'),
    );
    expect(failed).toBeUndefined();
    expect(requests.length).toBeGreaterThan(45);
  });
});
