/** A secret that a caller or a setting holds is in no log, error, status, metric, report or process title. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { rawConnection } from '../support/raw-http.js';

/** Each holds this word, in capitals or not, so that one search finds any of them. */
const CANARY = 'canary';
const SECRETS = {
  id_secret: 'the-canary-of-ids',
  bootstrap_admin_api_key: 'bootstrap-canary-key',
};

const here = Installation.embedded();
afterAll(() => here.close());

it('the canary of each secret is nowhere to be seen', { timeout: 120_000 }, async () => {
  const settings = { galaxy: SECRETS, sse: { log_level: 'trace' } };
  const service = here.process(['serve', '--demo'], settings);
  const url = await service.address();
  await service.ready(url);
  await here.sql(
    "INSERT INTO api_keys (user_id, key, deleted, create_time) VALUES (2, 'canary-of-bob', 0, '2030-01-01')",
  );
  const answers: string[] = [];
  const { host } = new URL(url);
  const send = async (target: string, headers = '', method = 'GET', body = ''): Promise<void> => {
    const length = body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
    const connection = rawConnection(
      url,
      `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${headers}${length}\r\n${body}`,
    );
    // A stream does not end by itself.
    answers.push(await connection.until(({ text, closed }) => closed || text.includes('event: ready')));
    connection.destroy();
  };
  for (const key of ['canary-of-bob', 'wrong-canary', `canary-${'x'.repeat(2_000)}`]) {
    const paths = [
      '/api/whoami',
      '/api/events/stream',
      '/api/status',
      '/api/configuration',
      '/readyz',
      '/metrics',
    ];
    for (const path of paths) {
      await send(`${path}?key=${key}`);
      await send(path, `x-api-key: ${key}\r\n`);
      await send(path, `Cookie: galaxysession=${key}\r\n`);
      await send(path, `Authorization: Bearer ${key}\r\nrun-as: ${key}\r\n`);
    }
    for (const odd of [
      '#key=',
      ';key=',
      '?KEY=',
      '?a=b;key=',
      '/%3Fkey=',
      '?key=%0d%0a',
      '?key=a&key=',
      '%zz?key=',
    ]) {
      await send(`/api/whoami${odd}${key}`);
      await send(`/api/events/stream${odd}${key}`);
    }
    await send(`http://user:${key}@${host}/api/whoami`);
    await send(
      `/api/login?key=${key}`,
      '',
      'POST',
      JSON.stringify({ login: 'bob@example.org', password: key }),
    );
    await send(`/api/login`, '', 'POST', `{"login": "bob", "password": "${key}`);
    await send(`/api/histories/${key}?key=${key}`, `x-api-key: ${key}\r\n`, 'DELETE');
  }
  await send('/api/status', `x-api-key: ${SECRETS.bootstrap_admin_api_key}\r\n`);
  // An answer may say back what stood in the path: to the one who sent it. Nothing else of the canaries comes back.
  const told = answers.filter(
    (answer) => !answer.includes('there is no') && !answer.includes('is not an encoded'),
  );
  expect(told.filter((answer) => answer.toLowerCase().includes(CANARY))).toEqual([]);

  const titles = readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(here.folder));
  expect(titles.length).toBeGreaterThan(0);

  const reports = [];
  for (const args of [['doctor'], ['config'], ['config', '--check']]) {
    const report = here.process(args, settings);
    await expect.poll(() => report.running, { timeout: 30_000 }).toBe(false);
    reports.push(report.stdout + report.stderr);
    expect(reports.at(-1)).not.toBe('');
  }
  await service.stop();
  const log = service.stdout + service.stderr;
  expect(log).toContain('incoming request');
  for (const text of [...titles, ...reports, log]) {
    const at = text.toLowerCase().indexOf(CANARY);
    expect(at < 0 ? '' : text.slice(Math.max(0, at - 200), at + 100)).toBe('');
  }
});

it.each([
  ['database_connection', 'postgresql://u:canary-pw@127.0.0.1:1/d'],
  ['database_connection', 'postgresql://127.0.0.1:1/d?password=canary-pw'],
  ['amqp_internal_connection', 'amqp://u:canary-pw@127.0.0.1:1//'],
  ['amqp_internal_connection', 'amqp://u:canary-pw@127.0.0.1:notaport//'],
  ['database_connection', 'postgresql://u:canary-pw@[::1/d'],
  ['id_secret', 'canary-that-is-much-longer-than-the-fifty-six-bytes-which-a-key-may-have'],
])('nor is that of a neighbour’s URL (%s %s)', { timeout: 60_000 }, async (key, value) => {
  const other = Installation.embedded();
  try {
    const settings = { galaxy: { [key]: value }, sse: { log_level: 'trace' } };
    const service = other.process(['serve'], settings);
    await expect
      .poll(() => !service.running || /127\.0\.0\.1:1\b|ECONNREFUSED/.test(service.stdout + service.stderr), {
        timeout: 30_000,
      })
      .toBe(true);
    const doctor = other.process(['doctor'], settings);
    await expect.poll(() => doctor.running, { timeout: 30_000 }).toBe(false);
    const text = service.stdout + service.stderr + doctor.stdout + doctor.stderr;
    expect(text).not.toBe('');
    expect(text.toLowerCase()).not.toContain(CANARY);
  } finally {
    await other.close();
  }
});
