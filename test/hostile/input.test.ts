/** Input that costs the sender little: it gets a clear answer, and costs this side little as well. */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { Handshakes } from '../../src/http/auth/handshakes.js';
import { measure } from '../../src/http/json-body.js';
import { Installation, type RunningWorker } from '../support/installation.js';
import { rawConnection } from '../support/raw-http.js';
import { EVERYTHING, type Rest, restOf } from '../support/rest.js';

let here: Installation;
let worker: RunningWorker;
let rest: Rest;
beforeAll(async () => {
  here = Installation.embedded();
  worker = await here.worker(EVERYTHING);
  rest = restOf(worker.url);
});
afterAll(() => here.close());

describe('a JSON body that is 100,000 levels deep', () => {
  const deep = (open: string, close: string): string => open.repeat(100_000) + close.repeat(100_000);
  it.each([
    ['POST', '/api/entry_points', `{"name":"x","info":{"a":${deep('[', ']')}}}`],
    ['POST', '/api/histories', `{"name":${deep('{"a":', '}').replace('{"a":}', '{"a":1}')}}`],
    ['POST', '/api/notifications', deep('[', ']')],
    ['POST', '/api/events/history-subscriptions', `{"history_ids":${deep('[', ']')}}`],
    ['PUT', '/api/notifications/preferences', `{"preferences":${deep('[', ']')}}`],
    ['POST', '/api/login', deep('{"a":', '}')],
  ])('is a 400 (%s %s)', async (method, path, body) => {
    expect((await rest(method, path, { as: 'admin', body })).status).toBe(400);
    expect((await rest('GET', '/healthz')).status).toBe(200);
  });

  it.each([
    ['[[]]', 1, true],
    ['[[]]', 2, false],
    ['"[[[["', 1, false],
    ['["\\"[[[", [1], {"a[{": 2}]', 2, false],
    ['["\\\\", [[1]]]', 2, true],
  ])('the depth of %s is counted (more than %i: %s)', (json, most, deeper) => {
    expect(measure(json).depth > most).toBe(deeper);
  });
});

describe('a JSON body with very many values', () => {
  const ids = (count: number) => Array.from({ length: count }, () => here.encode(1));
  it.each([
    ['POST', '/api/events/history-subscriptions', () => ({ history_ids: Array(150_000).fill('ab') })],
    ['POST', '/api/events/marks', () => ({ marks: Array(300_000).fill(1) })],
    ['POST', '/api/histories', () => ({ name: 'x', ...Array(60_000).fill(0) })],
    ['POST', '/api/notifications', () => ({ recipients: { user_ids: Array(150_000).fill('ab') } })],
  ])('is refused before anything looks at them (%s %s)', async (method, path, body) => {
    const answer = await rest(method, path, { as: 'bob', body: body() });
    expect([answer.status, answer.body.err_msg]).toEqual([
      400,
      'the request body holds more than 20000 values',
    ]);
  });

  it('counts as many requests: who sends many of them is refused', async () => {
    const { url } = await here.worker({
      galaxy: { database_connection: 'sqlite:///values.sqlite' },
      sse: { api_rate_limit: 10 },
    });
    const ask = restOf(url);
    const statuses: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      statuses.push(
        (
          await ask('POST', '/api/events/history-subscriptions', {
            as: 'alice',
            body: { history_ids: ids(3_000) },
          })
        ).status,
      );
    }
    expect(statuses[0]).toBe(400);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(1);
    // A long text is dear as well, as far as it goes over what others send.
    const long = { login: 'a', password: 'b'.repeat(900_000) };
    const others = [
      await ask('POST', '/api/login', { body: long }),
      await ask('POST', '/api/login', { body: long }),
    ];
    expect(others.map(({ status }) => status)).toEqual([400, 429]);
  });
});

it('a list in detail costs as many statements with 200 histories as with one', async () => {
  const { database } = worker.worker as unknown as { database: { statements: number } };
  const cost = async (): Promise<number> => {
    const before = database.statements;
    const list = await rest('GET', '/api/histories?limit=1000&view=detailed', { as: 'bob' });
    expect(list.body[0].contents_active).toEqual({ active: 0, deleted: 0, hidden: 0 });
    return database.statements - before;
  };
  const one = await cost();
  await here.sql(
    `INSERT INTO history (user_id, name, hid_counter, create_time, update_time, deleted)
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
     SELECT 2, 'h' || i, 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00', 0 FROM n`,
  );
  // Others (the check of permissions, the heartbeat) may send one meanwhile.
  expect(await cost()).toBeLessThanOrEqual(one + 3);
});

it('a crowd of streams that watch a history shares its look-ups', async () => {
  await rest('PUT', `/api/histories/${here.encode(2)}/publish`, { as: 'bob' });
  const { database } = worker.worker as unknown as { database: { statements: number } };
  const before = database.statements;
  const path = `/api/events/stream?history_id=${here.encode(2)}`;
  const streams = Array.from({ length: 200 }, () =>
    rawConnection(worker.url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`),
  );
  await Promise.all(
    streams.map((stream) => stream.until(({ text }) => text.includes('event: ready'), 20_000)),
  );
  expect(database.statements - before).toBeLessThan(60);
  for (const stream of streams) stream.destroy();
});

it('a settings file of 50,000 keys is read in seconds, and what is said of it is bounded', () => {
  const file = join(here.folder, 'long.yml');
  const keys = Array.from({ length: 50_000 }, (_, i) => `  unknown_setting_${i}: ${i}`).join('\n');
  writeFileSync(file, `galaxy:\n${keys}\nsse:\n${keys}\n`);
  const begin = performance.now();
  let said = '';
  try {
    loadConfig({ env: {}, flags: { config: file, sse: {} }, cwd: here.folder });
  } catch (error) {
    said = (error as Error).message;
  }
  expect(performance.now() - begin).toBeLessThan(10_000);
  expect(said).toContain('unknown setting');
  expect(said.split('\n').length).toBeLessThan(200);
});

it('a connection that never sends a whole head is closed', { timeout: 40_000 }, async () => {
  const slow = [
    rawConnection(worker.url, ''),
    rawConnection(worker.url, 'G'),
    rawConnection(worker.url, 'GET /api/version HTTP/1.1\r\nHost: x\r\nX-A: '),
    rawConnection(worker.url, 'GET /api/events/stream HTTP/1.1\r\nHost: x\r\n'),
  ];
  const drip = setInterval(() => {
    for (const one of slow.slice(2)) if (!one.closed) one.write('a: b\r\n');
  }, 1_000);
  await Promise.all(slow.map((one) => one.until(({ closed }) => closed, 25_000))).finally(() =>
    clearInterval(drip),
  );
  expect(slow[3]!.text).toContain(' 408 ');
});

describe('connections of one peer that ask for nothing', () => {
  const sockets: Socket[] = [];
  const server = new Handshakes().limit(
    createServer((_, response) => response.end('ok')),
    3,
  );
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve())));
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const open = (): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1', () => resolve(socket));
      socket.on('error', () => {});
      sockets.push(socket);
    });
  const ended = (socket: Socket) => new Promise((resolve) => socket.resume().once('close', resolve));

  it('are closed when there are too many; one that asks makes room for another', async () => {
    const first = [await open(), await open(), await open()];
    await ended(await open());
    const answer = new Promise((resolve) => first[0]!.once('data', resolve));
    first[0]!.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String(await answer)).toContain('200 OK');
    const next = await open();
    const also = new Promise((resolve) => next.once('data', resolve));
    next.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String(await also)).toContain('200 OK');
    expect(first.map((socket) => socket.destroyed)).toEqual([false, false, false]);
  });
});
