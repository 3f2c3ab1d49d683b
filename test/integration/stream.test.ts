import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { type RawConnection, rawConnection } from '../support/raw-http.js';
import { SseClient } from '../support/sse-client.js';

let here: Installation;
let worker: RunningWorker;
let path: string;
const connections: RawConnection[] = [];

beforeAll(async () => {
  here = Installation.embedded();
  worker = await here.worker();
  path = '/api/events/stream?key=demo-alice';
});
afterAll(() => here.close());
/** Nothing of one test is open in the next. */
afterEach(async () => {
  here.closeStreams();
  for (const connection of connections.splice(0)) connection.destroy();
  await expect.poll(open).toBe(0);
});

const send = (bytes: string): RawConnection => {
  const connection = rawConnection(worker.url, bytes);
  connections.push(connection);
  return connection;
};
const get = (query = 'key=demo-alice', headers = ''): string =>
  `GET /api/events/stream?${query} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;
const open = (): number => worker.worker.manager.registry.all.length;
const refusal = async (
  query: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown> }> => {
  const response = await fetch(`${worker.url}/api/events/stream?${query}`, { headers });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};

describe('the answer', () => {
  it('is an unbuffered event stream that begins with retry and ready', async () => {
    const stream = await here.stream(worker.url);
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'transfer-encoding': 'chunked',
    });
    expect(stream.headers).not.toHaveProperty('content-length');
    const [retry, ready] = stream.frames;
    expect(retry?.retry).toBeGreaterThanOrEqual(2000);
    expect(retry?.retry).toBeLessThanOrEqual(5000);
    expect(ready?.raw).toMatch(/^event: ready\ndata: \{\}\nid: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$/);
  });

  it('reaches a client that speaks HTTP/1.0, without chunks', async () => {
    const { cookie } = await here.cookieOf(DEMO.anonymousSession);
    const connection = send(`GET /api/events/stream HTTP/1.0\r\nCookie: ${cookie}\r\n\r\n`);
    await connection.until(({ text }) => text.includes('event: ready\n'));
    await here.change(DEMO.histories.anonymous);
    const text = await connection.until((it) => it.text.includes('event: history_update\n'));
    expect(text).toContain('\r\n\r\nretry: ');
    expect(text.toLowerCase()).not.toContain('transfer-encoding');
    expect(text.toLowerCase()).toContain('connection: close\r\n');
  });

  it.each([
    ['POST', 405],
    ['PUT', 405],
    ['DELETE', 405],
    ['HEAD', 405],
  ])('to %s is %i, and names what is allowed', async (method, status) => {
    const response = await fetch(`${worker.url}${path}`, { method });
    expect(response.status).toBe(status);
    expect(response.headers.get('allow')).toBe('GET');
  });
});

describe('a peculiar client', () => {
  it.each([1, 2])('that asks three times in one packet is served once, attempt %i', async () => {
    const before = open();
    const connection = send(get() + get() + get());
    await connection.until(({ text }) => text.includes('event: ready\n'));
    await here.change(DEMO.histories.alice);
    const text = await connection.until((it) => it.text.includes('event: history_update\n'));
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    connection.write(get());
    const at = text.length;
    await here.change(DEMO.histories.alice);
    await connection.until((it) => it.text.slice(at).includes('event: history_update\n'));
    expect(open()).toBe(before + 1);
  });

  it('that asked for something else before on the same connection is served', async () => {
    const connection = send('GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n');
    await connection.until(({ text }) => text.includes('version_major'));
    connection.write(get());
    await connection.until(({ text }) => text.includes('event: ready\n'));
    await here.change(DEMO.histories.alice);
    await connection.until((it) => it.text.includes('event: history_update\n'));
  });

  it('that sends a body with its GET is served', async () => {
    const connection = send(`${get('key=demo-alice', 'Content-Length: 5\r\n')}hello`);
    await connection.until(({ text }) => text.includes('event: ready\n'));
  });

  it('that ends its side is let go', async () => {
    const before = open();
    const connection = send(get());
    await connection.until(({ text }) => text.includes('event: ready\n'));
    expect(open()).toBe(before + 1);
    connection.end();
    await connection.until(({ closed }) => closed);
    await expect.poll(open).toBe(before);
  });

  it('that vanishes is let go', async () => {
    const before = open();
    const connection = send(get());
    await connection.until(({ text }) => text.includes('event: ready\n'));
    connection.destroy();
    await expect.poll(open).toBe(before);
  });
});

describe('bad input', () => {
  it('a wrong key is 401 and not an anonymous stream', async () => {
    const { status, body } = await refusal('key=nobody');
    expect(status).toBe(401);
    expect(body).toMatchObject({ err_code: 401001, err_msg: 'the API key is not valid' });
  });

  it('a malformed cookie is 400', async () => {
    const { status, body } = await refusal('', { cookie: 'galaxysession=zzz' });
    expect(status).toBe(400);
    expect(body).toMatchObject({ err_code: 400009 });
    expect(body.err_msg).toContain('the galaxysession cookie cannot be decoded');
  });

  it('a history_id that is not an encoded id is 400', async () => {
    const { status, body } = await refusal('key=demo-alice&history_id=1');
    expect(status).toBe(400);
    expect(body).toMatchObject({ err_code: 400009, err_msg: 'history_id is not an encoded id.' });
  });

  it('a history_id of somebody else is 403, and no stream is opened', async () => {
    const before = open();
    const { status, body } = await refusal(`key=demo-alice&history_id=${here.encode(DEMO.histories.bob)}`);
    expect(status).toBe(403);
    expect(body).toMatchObject({ err_code: 403002 });
    expect(open()).toBe(before);
  });

  it.each(['yesterday', '2999-01-01T00:00:00', "'; DROP TABLE history; --", '2026-02-31T00:00:00'])(
    'Last-Event-ID %s says nothing: what was lately told is told again',
    async (lastEventId) => {
      await here.change(DEMO.histories.alice);
      const stream = await here.stream(worker.url, 'key=demo-alice', { lastEventId });
      await stream.waitForHistory(here.encode(DEMO.histories.alice));
      expect(stream.frames[1]?.id).not.toBe(lastEventId);
    },
  );

  it('unreadable and future cursors are counted', async () => {
    const metrics = await (await fetch(`${worker.url}/metrics`)).text();
    expect(metrics).toMatch(/resume_invalid_cursor[^\n]*reason="unreadable"[^\n]* [1-9]/);
    expect(metrics).toMatch(/resume_invalid_cursor[^\n]*reason="future"[^\n]* [1-9]/);
  });
});

describe('a history that the stream asks for by history_id', () => {
  it('is told to it while the stream lives, though somebody else owns it', async () => {
    const { bob, alice } = DEMO.histories;
    await here.sql(`UPDATE history SET published = true WHERE id = ${bob}`);
    const viewer = await here.stream(worker.url, `key=demo-alice&history_id=${here.encode(bob)}`);
    const other = await here.stream(worker.url);
    await here.change(bob);
    await viewer.waitForHistory(here.encode(bob));
    await here.change(alice);
    await other.waitForHistory(here.encode(alice));
    expect(other.events('history_update').some((frame) => frame.data?.includes(here.encode(bob)))).toBe(
      false,
    );
  });
});

describe('too many', () => {
  // One process serves a SQLite file, so that a worker with other limits has one of its own.
  let other: Installation;
  beforeEach(() => {
    other = Installation.embedded();
  });
  afterEach(() => other.close());

  it('streams on one worker: 503 with Retry-After, whoever asks', async () => {
    const small = await other.worker({ sse: { max_connections: 2 } });
    await other.stream(small.url);
    await other.stream(small.url, '');
    const refused = await SseClient.open(`${small.url}/api/events/stream`);
    await refused.ended();
    expect(refused.status).toBe(503);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(JSON.parse(refused.body).err_msg).toContain('max_connections');
  });

  it('is more than 50 of one user where nothing else is set', async () => {
    const streams = await Promise.all(Array.from({ length: 50 }, () => here.stream(worker.url)));
    expect(streams).toHaveLength(50);
    const refused = await SseClient.open(`${worker.url}${path}`);
    await refused.ended();
    expect(refused.status).toBe(429);
  });

  it('streams of one user: 429 with Retry-After, for that user only', async () => {
    const small = await other.worker({ sse: { max_connections_per_user: 2 } });
    const streams = [await other.stream(small.url), await other.stream(small.url)];
    const refused = await SseClient.open(`${small.url}${path}`);
    await refused.ended();
    expect(refused.status).toBe(429);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(JSON.parse(refused.body)).toMatchObject({ err_code: 429001 });
    await other.stream(small.url, 'key=demo-bob');
    await other.stream(small.url, '');
    streams[0]!.close();
    await expect.poll(async () => (await SseClient.open(`${small.url}${path}`)).status).toBe(200);
  });
});
