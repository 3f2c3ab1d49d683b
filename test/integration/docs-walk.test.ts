/**
 * The commands of docs/production.md and README.md, from a fresh clone to PostgreSQL, RabbitMQ, two workers, a monitor and nginx.
 * They are read out of the pages; what is not a matter of Lightcone (root, systemd) is done by the stand-ins in
 * test/support/walk-bin, and addresses and folders are those of this walk.
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { locate } from '../support/programs.js';
import { sharedService } from '../support/services.js';
import { SseClient } from '../support/sse-client.js';

const ROOT = resolve(import.meta.dirname, '../..');
const page = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block!);

let walk: string;
let name: string;
let admin: TestDatabase;
let managementUrl: string;
let ports: { http: number; workers: number; monitor: number; site: number };
let substitutions: [string, string][];
let env: NodeJS.ProcessEnv;
const groups: number[] = [];

beforeEach(async () => {
  // What is copied from and to stands beneath one folder; nginx serves as `nobody`.
  walk = mkdtempSync(join(tmpdir(), 'lightcone-walk-'));
  chmodSync(walk, 0o755);
  name = `walk_${Math.random().toString(36).slice(2, 10)}`;
  const [database, rabbit, ...free] = await Promise.all([
    createTestDatabase(),
    sharedService('rabbitmq'),
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  admin = database;
  managementUrl = rabbit.managementUrl;
  ports = { http: free[0]!, workers: free[1]!, monitor: free[2]!, site: free[3]! };
  const sql = new URL(database.url);
  substitutions = [
    [
      'postgresql://lightcone:\\([a-z0-9]*\\)@127.0.0.1:5432/lightcone',
      `postgresql://${name}:\\1@${sql.host}/${name}`,
    ],
    [
      'amqp://lightcone:\\([a-z0-9]*\\)@127.0.0.1:5672/lightcone',
      `amqp://${name}:\\1@${new URL(rabbit.amqpUrl).host}/${name}`,
    ],
    ['ROLE lightcone', `ROLE ${name}`],
    ['DATABASE lightcone OWNER lightcone', `DATABASE ${name} OWNER ${name}`],
    ['add_user lightcone', `add_user ${name}`],
    ['add_vhost lightcone', `add_vhost ${name}`],
    ['-p lightcone lightcone', `-p ${name} ${name}`],
    ['127\\.0\\.0\\.1:8080', `127.0.0.1:${ports.http}`],
    ['127\\.0\\.0\\.1:9380', `127.0.0.1:${ports.workers}`],
    ['127\\.0\\.0\\.1:9381', `127.0.0.1:${ports.monitor}`],
    ['listen 80;', `listen 127.0.0.1:${ports.site};`],
    ['/opt/lightcone', `${walk}/opt/lightcone`],
    ['/\\(usr\\)/local/bin', `${walk}/bin`],
    ['/etc/\\(lightcone\\|systemd\\|nginx\\)', `${walk}/etc/\\1`],
  ];
  writeFileSync(
    join(walk, 'substitutions'),
    substitutions.map(([from, to]) => `s#${from}#${to}#g\n`).join(''),
  );
  for (const folder of [
    'bin',
    'opt',
    'etc/systemd/system',
    'etc/nginx/conf.d',
    'var/lib/lightcone',
    'temp',
  ]) {
    mkdirSync(join(walk, folder), { recursive: true });
  }
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path temp/${kind};`,
  );
  writeFileSync(
    join(walk, 'etc/nginx/nginx.conf'),
    `pid ${walk}/nginx.pid;\nerror_log ${walk}/nginx.log;\nworker_processes 1;\nevents {}\nhttp {\naccess_log off;\n${temp.join('\n')}\ninclude conf.d/*.conf;\n}\n`,
  );
  env = {
    ...process.env,
    PATH: `${join(ROOT, 'test/support/walk-bin')}:${walk}/bin:${process.env.PATH}`,
    WALK: walk,
    REPOSITORY: ROOT,
    MANAGEMENT_URL: managementUrl,
    NGINX_PROGRAM: locate('nginx'),
    CURL: locate('curl'),
    PSQL: join(dirname(locate('postgresql')), 'psql'),
    PSQL_URL: database.url,
    NODE_ENV: undefined,
  };
});

afterEach(async () => {
  const pids = existsSync(join(walk, 'pids')) ? readFileSync(join(walk, 'pids'), 'utf8').split(/\s+/) : [];
  groups.push(...pids.filter(Boolean).map((pid) => -Number(pid)));
  if (existsSync(join(walk, 'nginx.pid'))) groups.push(Number(readFileSync(join(walk, 'nginx.pid'), 'utf8')));
  const isAlive = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  for (const pid of groups) if (isAlive(pid)) process.kill(pid, 'SIGTERM');
  await eventually(() => !groups.some(isAlive), { within: 15_000, what: 'all of them ended' });
  groups.length = 0;
  await admin.psql(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  await admin.psql(`DROP ROLE IF EXISTS ${name}`);
  const { origin, username, password } = new URL(managementUrl);
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  for (const path of [`vhosts/${name}`, `users/${name}`]) {
    await fetch(`${origin}/api/${path}`, { method: 'DELETE', headers: { authorization } });
  }
  await admin.drop();
  rmSync(walk, { recursive: true, force: true });
});

/** Runs lines of a page in a shell that stops at the first that fails. @returns what they print */
async function run(script: string, cwd: string): Promise<string> {
  const lines = substitutions.reduce(
    (text, [from, to]) =>
      text.replace(new RegExp(from.replace(/\\([()|])/g, '$1'), 'g'), to.replace(/\\1/g, '$1')),
    script,
  );
  // Into a file, so that what goes on in the background does not keep the shell's output open.
  writeFileSync(join(walk, 'script'), `set -euo pipefail\n${lines}`);
  const child = spawn('bash', ['-c', `bash ${walk}/script >${walk}/out 2>${walk}/err`], {
    cwd,
    env,
    detached: true,
  });
  groups.push(-child.pid!);
  const code = await new Promise((done) => child.once('exit', done));
  const out = readFileSync(join(walk, 'out'), 'utf8');
  expect(code, `${out}\n${readFileSync(join(walk, 'err'), 'utf8').slice(-3_000)}`).toBe(0);
  return out;
}

const well = (port: number): Promise<unknown> =>
  eventually(
    async () => (await fetch(`http://127.0.0.1:${port}/wellz`).catch(() => undefined))?.status === 200,
    {
      within: 30_000,
      what: `all is well at ${port}`,
    },
  );
const keyOf = (out: string, email: string): string =>
  new RegExp(`${email} added, API key: (\\S+)`).exec(out)![1]!;

/** A history that its user makes comes on the user's stream. */
async function changeComes(url: string, key: string): Promise<void> {
  const stream = await SseClient.ready(`${url}/api/events/stream`, { headers: { 'x-api-key': key } });
  const answer = await fetch(`${url}/api/histories`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: '{"name":"walked"}',
  });
  const { id } = (await answer.json()) as { id: string };
  await stream.waitForHistory(id, { within: 10_000 });
  stream.close();
}

it('docs/production.md, typed from top to bottom', { timeout: 240_000 }, async () => {
  const [before, after] = page('docs/production.md').split(/^## 6\. /m);
  const out = await run(blocks(before!, 'sh').join(''), ROOT);
  await Promise.all([well(ports.workers), well(ports.monitor)]);
  const report = await run(blocks(after!, 'sh').join(''), `${walk}/opt/lightcone`);
  expect(report).not.toMatch(/^(problem|note)/m);
  expect(report).toMatch(/process="main\.1"/);
  expect(report).toMatch(/process="main\.2"/);

  const site = `http://127.0.0.1:${ports.site}`;
  await changeComes(site, keyOf(out, 'alice@example.org'));
  for (const path of ['/metrics', '/readyz', '/wellz']) expect((await fetch(site + path)).status).toBe(404);
  expect((await fetch(`${site}/healthz`)).status).toBe(200);
  const status = await fetch(`${site}/api/status`, {
    headers: { 'x-api-key': keyOf(out, 'admin@example.org') },
  });
  expect(((await status.json()) as { monitor: object }).monitor).toMatchObject({
    leader: expect.stringContaining('sse_monitor'),
  });
});

it('README.md, "In production"', { timeout: 240_000 }, async () => {
  const section = /^## In production$(.*?)^## /ms.exec(page('README.md'))![1]!;
  const clone = join(walk, 'opt/lightcone');
  await run('sudo git clone . /opt/lightcone', ROOT);
  const [settings] = blocks(section, 'yaml');
  expect(settings!.trim().split('\n')).toHaveLength(10);
  await run(
    `psql -c "CREATE ROLE lightcone LOGIN PASSWORD 'secret'" -c "CREATE DATABASE lightcone OWNER lightcone"
rabbitmqctl add_user lightcone secret
rabbitmqctl add_vhost lightcone
rabbitmqctl set_permissions -p lightcone lightcone '.*' '.*' '.*'
cat >galaxy.yml <<'END'
${settings}END
`,
    clone,
  );
  const out = await run(blocks(section, 'sh').join(''), clone);
  await well(ports.http);
  await changeComes(`http://127.0.0.1:${ports.http}`, keyOf(out, 'alice@example.org'));
});
