/** What a stream does to the connection that it was asked for on: with and without Node's internals nobody may see a difference. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { type RawConnection, rawConnection } from '../support/raw-http.js';

const ORIGIN = 'https://galaxy.example.org';
const PATH = '/galaxy/api/events/stream';
const WAYS = [
  ['with internals', true],
  ['without internals', false],
] as const;

let here: Installation;
let workers: Map<boolean, RunningWorker>;
let cookie: string;
const connections: RawConnection[] = [];

beforeAll(async () => {
  here = Installation.embedded();
  workers = new Map();
  for (const [, node_internals] of WAYS) {
    const settings = {
      galaxy: {
        galaxy_url_prefix: '/galaxy',
        database_connection: `sqlite:///internals-${node_internals}.sqlite`,
      },
      sse: { allowed_origins: [ORIGIN], node_internals },
    };
    workers.set(node_internals, await here.worker(settings));
  }
  cookie = 'x-api-key: demo-alice\r\n';
});
afterAll(() => here.close());
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.destroy();
  for (const [, way] of WAYS) await expect.poll(() => open(way)).toBe(0);
});

const tabs = (way: boolean) => workers.get(way)!.worker.manager.registry.all;
const open = (way: boolean): number => tabs(way).length;
function say(way: boolean, bytes: string): RawConnection {
  const connection = rawConnection(workers.get(way)!.url, bytes);
  connections.push(connection);
  return connection;
}
const get = (path = PATH, headers = '', version = '1.1'): string =>
  `GET ${path} HTTP/${version}\r\nHost: x\r\n${headers}\r\n`;
const READY = 'event: ready\n';
const ready = (connection: RawConnection): Promise<string> =>
  connection.until(({ text }) => text.includes(READY));
/** All that was said to the worker before has been read when somebody else has been served. */
const served = (way: boolean): Promise<string> => ready(say(way, get()));
const answers = (text: string): number => text.match(/HTTP\/1\.1 /g)?.length ?? 0;

/** Without what may differ from one answer to the next, and the head's lines in one order. */
function comparable(text: string): string {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  const lines = head
    .toLowerCase()
    .replace(/^date: .*$/m, 'date: now')
    .replace(/^keep-alive: .*\r\n/m, '');
  return [
    lines.split('\r\n').sort().join('\n'),
    body.replace(/retry: \d+/, 'retry').replace(/^id: .*$/gm, 'id'),
  ].join('\n\n');
}

describe.each(WAYS)('a stream %s', (_, way) => {
  it.each([
    ['a plain request', get(), true],
    ['a request behind another one that was answered', '', true],
    ['a request that comes in two packets', get(), true],
    ['one in HTTP/1.0', get(PATH, '', '1.0'), false],
    ['one with a body', `${get(PATH, 'Content-Length: 3\r\n')}abc`, false],
    ['one with a body in chunks', `${get(PATH, 'Transfer-Encoding: chunked\r\n')}0\r\n\r\n`, false],
    ['one with further requests behind it', get() + get('/galaxy/api/version'), false],
  ])('(%s) has a connection of its own where that is safe', async (name, bytes, safe) => {
    const connection = say(way, name.includes('answered') ? get('/galaxy/api/version') : bytes.slice(0, 9));
    if (name.includes('answered')) await connection.until(({ text }) => text.includes('version_major'));
    else await served(way);
    connection.write(name.includes('answered') ? get() : bytes.slice(9));
    await ready(connection);
    expect(tabs(way).at(-1)?.chunked).toBe(way && safe);
  });

  it('brings changes, catches up, and ends with its client', async () => {
    const first = say(way, get(PATH, cookie));
    await ready(first);
    first.destroy();
    await expect.poll(() => open(way)).toBe(0);
    const connection = say(way, get(PATH, `${cookie}Last-Event-ID: 2026-01-01T00:00:00\r\n`));
    const text = await connection.until((it) => it.text.includes('event: history_update\n'));
    expect(text.slice(text.indexOf(READY))).toMatch(/^event: ready\ndata: \{\}\nid: 2026-01-01T00:00:00\n/);
    expect(text).toContain(here.encode(DEMO.histories.alice));
    connection.end();
    await connection.until(({ closed }) => closed);
  });

  it('comes once to a client that asks three times in one packet; nothing of the others comes into it', async () => {
    const connection = say(way, get().repeat(3));
    await ready(connection);
    await served(way);
    expect(answers(connection.text)).toBe(1);
    expect(connection.closed).toBe(false);
  });

  it('is not opened again by a second request on its connection', async () => {
    const connection = say(way, get());
    await ready(connection);
    connection.write(get());
    await served(way);
    expect(connection.text.match(/event: ready\n/g)).toHaveLength(1);
    expect(answers(connection.text)).toBe(1);
    expect(open(way)).toBe(2);
  });

  it.each([
    ['with a body', 'Content-Length: 3\r\n', 'abc'],
    ['without one', '', ''],
  ])('(%s) is told nothing of garbage behind it', async (__, headers, body) => {
    const connection = say(way, get(PATH, headers) + body);
    await ready(connection);
    connection.write('\0\0garbage\r\n\r\n');
    await served(way);
    expect(answers(connection.text)).toBe(1);
  });

  it('does not begin where its packet goes on with garbage, and no other answer comes in its place', async () => {
    const connection = say(way, `${get()}garbage\r\n\r\n`);
    await connection.until(({ closed }) => closed);
    expect(connection.text).toBe('');
    expect(open(way)).toBe(0);
  });

  it('is refused to one that will not wait for the answer in front of it', async () => {
    const connection = say(way, get('/galaxy/api/configuration') + get());
    const text = await connection.until((it) => /event: ready\n|pipelining/.test(it.text));
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });
});

describe('an answer with internals and one without', () => {
  it.each([
    ['to nobody in particular', get()],
    ['to a user', get(PATH, 'x-api-key: demo-alice\r\n')],
    ['to a page of an allowed origin', get(PATH, `Origin: ${ORIGIN}\r\n`)],
    ['to a page of another origin', get(PATH, 'Origin: https://evil.example.org\r\n')],
    ['to a client that speaks HTTP/1.0', get(PATH, '', '1.0')],
  ])('%s are the same', async (_, bytes) => {
    const [withThem, without] = await Promise.all(WAYS.map(([, way]) => ready(say(way, bytes))));
    expect(comparable(without!)).toBe(comparable(withThem!));
  });
});

describe.each(WAYS)('a packet that ended the process (q01, %s)', (_, way) => {
  it.each([
    ['at once', 'Content-Length: 3\r\n', 'abc', 0],
    ['behind a lone G', 'Content-Length: 3\r\n', 'abc', 1],
    ['in chunks', 'Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n0\r\n\r\n', 1],
  ])('is a stream with a request that waits behind it, %s', async (__, headers, body, split) => {
    const bytes = get(PATH, headers) + body + get('/galaxy/api/version');
    const connection = say(way, bytes.slice(0, split));
    if (split > 0) await served(way);
    connection.write(bytes.slice(split));
    await ready(connection);
    await served(way);
    expect(answers(connection.text)).toBe(1);
  });
});
