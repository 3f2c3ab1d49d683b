/** The stream is answered in two ways, with Fastify and without (`Shortcut` in `http/app.ts`): nobody may see a difference. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { type RawConnection, rawConnection } from '../support/raw-http.js';

const ORIGIN = 'https://galaxy.example.org';
// A query of nothing at all is a query: the shortcut leaves it to the route.
const WAYS = [
  ['with', '/galaxy/api/events/stream?'],
  ['without', '/galaxy/api/events/stream'],
] as const;

let here: Installation;
let worker: RunningWorker;
let cookie: string;
const connections: RawConnection[] = [];

beforeAll(async () => {
  here = Installation.embedded();
  worker = await here.worker({
    galaxy: { galaxy_url_prefix: '/galaxy' },
    sse: { allowed_origins: [ORIGIN], max_connections_per_user: 2 },
  });
  await here.sql(
    `INSERT INTO galaxy_session (session_key, user_id, is_valid) VALUES ('0123456789abcdef', ${DEMO.users.alice}, 1)`,
  );
  cookie = `Cookie: galaxysession=${here.ids.encodeSessionKey('0123456789abcdef')}\r\n`;
});
afterAll(() => here.close());
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.destroy();
  await expect.poll(open).toBe(0);
});

const open = (): number => worker.worker.manager.registry.all.length;
function ask(path: string, headers = '', version = '1.1', times = 1): RawConnection {
  const request = `GET ${path} HTTP/${version}\r\nHost: x\r\n${headers}\r\n`;
  const connection = rawConnection(worker.url.replace(/\/galaxy$/, ''), request.repeat(times));
  connections.push(connection);
  return connection;
}
const ready = (connection: RawConnection): Promise<string> =>
  connection.until(({ text }) => text.includes('event: ready\n'));
/** Without what may differ from one answer to the next. */
const comparable = (text: string): string =>
  text
    .replace(/^date: .*$/gim, 'date')
    .replace(/retry: \d+/, 'retry')
    .replace(/^id: .*$/gm, 'id');

describe('an answer with Fastify and one without', () => {
  it.each([
    ['to nobody in particular', () => '', '1.1'],
    ['to a remembered session', () => cookie, '1.1'],
    ['to a page of an allowed origin', () => `Origin: ${ORIGIN}\r\n`, '1.1'],
    ['to a page of another origin', () => 'Origin: https://evil.example.org\r\n', '1.1'],
    ['to a client that speaks HTTP/1.0', () => cookie, '1.0'],
  ])('%s are the same, byte by byte', async (_, headers, version) => {
    await ready(ask(WAYS[0][1], cookie)); // from here on the session is remembered
    const answers: string[] = [];
    for (const [, path] of WAYS) {
      for (const connection of connections.splice(0)) connection.destroy();
      await expect.poll(open).toBe(0);
      answers.push(await ready(ask(path, headers(), version)));
    }
    const [withIt, without] = answers;
    expect(comparable(without!)).toBe(comparable(withIt!));
    expect(without).toContain('\r\n\r\n');
  });

  it.each(WAYS)('(%s) brings the changes of the session that asked', async (_, path) => {
    await ready(ask(WAYS[0][1], cookie));
    const connection = ask(path, cookie);
    await ready(connection);
    await here.change(DEMO.histories.alice);
    await connection.until(({ text }) => text.includes(here.encode(DEMO.histories.alice)));
  });

  it.each(WAYS)('(%s) catches up from Last-Event-ID', async (_, path) => {
    await ready(ask(WAYS[0][1], cookie));
    await here.change(DEMO.histories.alice);
    const connection = ask(path, `${cookie}Last-Event-ID: 2026-01-01T00:00:00\r\n`);
    const text = await connection.until((it) => it.text.includes(here.encode(DEMO.histories.alice)));
    expect(text.slice(text.indexOf('event: ready'))).toMatch(
      /^event: ready\ndata: \{\}\nid: 2026-01-01T00:00:00\n/,
    );
  });

  it.each(WAYS)('(%s) is refused in the same form where the user has too many', async (_, path) => {
    await Promise.all([ready(ask(WAYS[0][1], cookie)), ready(ask(WAYS[0][1], cookie))]);
    const text = await ask(path, cookie).until((it) => it.text.includes('}'));
    expect(text).toMatch(/^HTTP\/1\.1 429 /);
    expect(text.toLowerCase()).toMatch(/\r\nretry-after: \d+\r\n/);
    expect(text).toContain('max_connections_per_user');
  });

  it.each(WAYS)('(%s) comes once to a client that asks three times in one packet', async (_, path) => {
    const connection = ask(path, '', '1.1', 3);
    await ready(connection);
    connection.write('garbage\r\n\r\n');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(connection.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(open()).toBe(1);
  });

  it.each(WAYS)('(%s) is not opened again by a second request on its connection', async (_, path) => {
    const connection = ask(path);
    await ready(connection);
    connection.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    // Whoever comes later is served; by then the second request has been read.
    await ready(ask(path));
    expect(connection.text.match(/event: ready\n/g)).toHaveLength(1);
    expect(open()).toBe(2);
  });

  it.each(WAYS)('(%s) does not come where the same packet goes on with garbage', async (_, path) => {
    const connection = rawConnection(
      worker.url.replace(/\/galaxy$/, ''),
      `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\ngarbage\r\n\r\n`,
    );
    connections.push(connection);
    await connection.until(({ closed }) => closed);
    expect(connection.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(open()).toBe(0);
  });

  it.each(WAYS)('(%s) comes to a client that asked for something else before', async (_, path) => {
    const connection = ask('/galaxy/api/version');
    await connection.until(({ text }) => text.includes('version_major'));
    connection.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await ready(connection);
  });

  it.each(WAYS)('(%s) waits its turn behind a request that is still being answered', async (_, path) => {
    const connection = rawConnection(
      worker.url.replace(/\/galaxy$/, ''),
      `GET /galaxy/api/configuration HTTP/1.1\r\nHost: x\r\n\r\nGET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`,
    );
    connections.push(connection);
    const text = await connection.until((it) => /event: ready\n|pipelining/.test(it.text));
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });
});
