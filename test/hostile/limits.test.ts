/** Strangers who ask for too much: they are refused, and nobody else waits for them. */
import { afterEach, describe, expect, it } from 'vitest';
import { Addresses } from '../../src/http/auth/addresses.js';
import { RequestLimits } from '../../src/http/auth/rate-limit.js';
import { systemClock } from '../../src/lib/clock.js';
import { Installation } from '../support/installation.js';
import { rawConnection } from '../support/raw-http.js';
import { EVERYTHING, restOf } from '../support/rest.js';
import { SseClient } from '../support/sse-client.js';

let here: Installation;
afterEach(() => here.close());

const LIMIT = { sse: { api_rate_limit: 1 } };
const statusesOf = async (times: number, ask: (i: number) => Promise<{ status: number }>) => {
  const statuses: number[] = [];
  for (let i = 0; i < times; i += 1) statuses.push((await ask(i)).status);
  return statuses;
};
const passed = (statuses: number[]): number => statuses.filter((status) => status === 200).length;
const invented = (i: number) => ({ cookie: `galaxysession=${i.toString(16)}` });

describe('api_rate_limit', () => {
  it('counts the route, however its URL is written', async () => {
    here = Installation.embedded();
    const { url } = await here.worker(LIMIT);
    const { host } = new URL(url);
    const ask = async (target: string): Promise<{ status: number }> => {
      const connection = rawConnection(
        url,
        `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      const text = await connection.until(({ closed }) => closed);
      return { status: Number(text.slice(9, 12)) };
    };
    const spellings = [
      '/api/histories/published',
      '/%61pi/histories/published',
      '/api/histories/published/',
      '/api/histories/%70ublished?x=1',
      `http://${host}/api/histories/published`,
    ];
    const statuses = await statusesOf(30, (i) => ask(spellings[i % spellings.length]!));
    expect(passed(statuses)).toBeLessThanOrEqual(12);
    expect(statuses.slice(-5)).toEqual([429, 429, 429, 429, 429]);
  });

  it('counts by address until credentials are proved: another invented cookie each time brings nothing', async () => {
    here = Installation.embedded();
    const rest = restOf((await here.worker(LIMIT)).url);
    const statuses = await statusesOf(30, (i) =>
      rest('GET', '/api/histories/published', { headers: invented(i) }),
    );
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(15);
    const begin = performance.now();
    const keys = await statusesOf(20, (i) =>
      rest('GET', '/api/version', { headers: { 'x-api-key': `no-${i}` } }),
    );
    // One a second may pass, however long twenty take.
    expect(passed(keys)).toBeLessThanOrEqual(1 + (performance.now() - begin) / 1_000);
  });

  it('does not refuse a user for what strangers at the same address have asked for', async () => {
    here = Installation.embedded();
    const rest = restOf((await here.worker(LIMIT)).url);
    await statusesOf(20, () => rest('GET', '/api/histories/published'));
    await statusesOf(20, (i) => rest('GET', '/api/whoami', { headers: invented(i) }));
    expect((await rest('GET', '/api/version')).status).toBe(429);
    expect((await rest('GET', '/api/histories', { as: 'alice' })).status).toBe(200);
  });

  it('refuses in the form of every other error, and lets a page of an allowed origin read it', async () => {
    here = Installation.embedded();
    const sse = { api_rate_limit: 1, allowed_origins: ['https://galaxy.example.org'] };
    const rest = restOf((await here.worker({ sse })).url);
    await statusesOf(20, () => rest('GET', '/api/version'));
    const headers = { origin: 'https://galaxy.example.org' };
    for (const [path, options] of [
      ['/api/version', {}],
      ['/api/nowhere?x=1', {}],
      ['/api/version', { headers }],
    ] as const) {
      const answer = await rest('GET', path, options);
      expect([path, answer.status]).toEqual([path, 429]);
      expect(answer.body).toEqual({ err_msg: expect.stringContaining('api_rate_limit'), err_code: 429001 });
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      const readable = 'headers' in options ? headers.origin : null;
      expect(answer.headers.get('access-control-allow-origin')).toBe(readable);
    }
    expect((await rest('GET', '/healthz')).status).toBe(200);
    expect((await rest('GET', '/api/version?key=a&key=b')).status).toBe(429);
  });

  it('believes X-Forwarded-For of nobody: with forged ones one caller gets as much as two', async () => {
    here = Installation.embedded();
    const rest = restOf((await here.worker({ sse: { api_rate_limit: 2 } })).url);
    const forged = (i: number) => ({ 'x-forwarded-for': `203.0.113.${i}`, 'x-real-ip': `203.0.113.${i}` });
    const statuses = await statusesOf(120, (i) => rest('GET', '/api/version', { headers: forged(i) }));
    expect(passed(statuses)).toBeLessThan(60);
  });

  it('takes the address from a trusted proxy, so that its callers have a limit each', async () => {
    here = Installation.embedded();
    const { url } = await here.worker({ sse: { api_rate_limit: 1, trust_proxy: ['127.0.0.1'] } });
    const rest = restOf(url);
    const by = (address: string) =>
      rest('GET', '/api/version', { headers: { 'x-forwarded-for': `198.51.100.1, ${address}` } });
    expect((await statusesOf(15, () => by('203.0.113.1'))).at(-1)).toBe(429);
    expect((await by('203.0.113.2')).status).toBe(200);
  });
});

describe('wrong keys behind a proxy of this machine that is not trusted', () => {
  const lookUps = async (forwarded: (i: number) => string): Promise<number> => {
    const { url, worker } = await here.worker({ sse: { api_rate_limit: 2 } });
    const { database } = worker as unknown as { database: { statements: number } };
    const before = database.statements;
    const rest = restOf(url);
    await statusesOf(40, (i) =>
      rest('GET', '/api/events/stream', {
        headers: { 'x-api-key': `wrong-${i}`, 'x-forwarded-for': forwarded(i) },
      }),
    );
    return database.statements - before;
  };

  it('are counted together: another X-Forwarded-For each time brings no more look-ups', async () => {
    here = Installation.embedded();
    const began = performance.now();
    const made = await lookUps((i) => `203.0.113.${i}`);
    // Four a second once it counts as guessing, and what the worker asks for itself.
    expect(made).toBeLessThan(10 + (6 * (performance.now() - began)) / 1_000);
  });

  it('of one caller leave the others alone; of many they do not', () => {
    const limits = new RequestLimits(2, new Addresses(), systemClock);
    const by = (claimed: string) => ({
      headers: { 'x-forwarded-for': claimed },
      socket: { remoteAddress: '127.0.0.1' },
    });
    for (let i = 0; i < 1_000; i += 1) limits.noteWrongCredential(by('203.0.113.7'));
    expect([limits.isGuessing(by('203.0.113.7')), limits.isGuessing(by('203.0.113.8'))]).toEqual([
      true,
      false,
    ]);
    for (let i = 0; i < 10; i += 1) limits.noteWrongCredential(by(`198.51.100.${i}`));
    expect(limits.isGuessing(by('203.0.113.8'))).toBe(true);
  });
});

describe('a stranger makes sessions', () => {
  it('forty times slower than it may ask, whatever cookie it shows', async () => {
    here = Installation.embedded();
    const rest = restOf((await here.worker({ sse: { api_rate_limit: 5 } })).url);
    const statuses = await statusesOf(30, (i) => rest('POST', '/api/sessions', { headers: invented(i) }));
    expect(passed(statuses)).toBeLessThan(10);
    const rows = await here.sql<{ n: number }>('SELECT count(*) AS n FROM galaxy_session');
    expect(rows[0]!.n).toBeLessThan(12);
  });
});

describe('a password', () => {
  it('is guessed ten times at most, in whatever spelling the name is written', async () => {
    here = Installation.embedded();
    const rest = restOf((await here.worker(EVERYTHING)).url);
    const login = (name: string, password: string) =>
      rest('POST', '/api/login', { body: { login: name, password } });
    const names = ['alice@example.org', ' alice@example.org', 'Alice@Example.org\t', 'ａlice@example.org'];
    const statuses = await statusesOf(15, (i) => login(names[i % names.length]!, 'wrong'));
    expect(statuses.filter((status) => status === 401)).toHaveLength(10);
    expect((await login('  alice@example.org', 'demo-alice')).status).toBe(429);
    expect((await login('bob@example.org', 'demo-bob')).status).toBe(200);
  });
});

describe('anonymous streams', () => {
  it('never take the last places, which are kept for users; nobody connected is evicted', async () => {
    here = Installation.embedded();
    const { url } = await here.worker({ sse: { max_connections: 20 } });
    const anonymous = await Promise.all(Array.from({ length: 18 }, () => here.stream(url, '')));
    const refused = await SseClient.open(`${url}/api/events/stream`);
    await refused.ended();
    expect(refused.status).toBe(503);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await here.stream(url)).status).toBe(200);
    expect(anonymous.map((stream) => stream.brokenAt)).toEqual(anonymous.map(() => undefined));
  });

  it('of one address, 420 of them, leave a place to Alice where max_connections is 400', async () => {
    here = Installation.embedded();
    const { url } = await here.worker({ sse: { max_connections: 400 } });
    const ask = 'GET /api/events/stream HTTP/1.1\r\nHost: x\r\n\r\n';
    const anonymous = Array.from({ length: 420 }, () => rawConnection(url, ask));
    const texts = await Promise.all(
      anonymous.map((one) => one.until(({ text }) => /event: ready| 503 /.test(text))),
    );
    expect(texts.filter((text) => text.includes(' 503 '))).toHaveLength(60);
    // The rest of the answer is the stream: it goes on, so nobody can wait for its end.
    expect((await here.stream(url)).status).toBe(200);
    for (const one of anonymous) one.destroy();
  });

  it('are limited by address where that is set; a place that becomes free can be taken', async () => {
    here = Installation.embedded();
    const { url } = await here.worker({ sse: { max_connections_per_address: 2, trust_proxy: 'loopback' } });
    const of = (address: string) => ({ headers: { 'x-forwarded-for': address } });
    const open = (address: string) => SseClient.open(`${url}/api/events/stream`, of(address));
    const [first] = [
      await here.stream(url, '', of('203.0.113.1')),
      await here.stream(url, '', of('203.0.113.1')),
    ];
    const refused = await open('203.0.113.1');
    await refused.ended();
    expect(refused.status).toBe(429);
    await here.stream(url, '', of('203.0.113.2'));
    // The keys of the demo hold on this machine only.
    await here.sql(
      "INSERT INTO api_keys (user_id, key, deleted, create_time) VALUES (1, 'key-of-alice', false, '2030-01-01')",
    );
    await here.stream(url, 'key=key-of-alice', of('203.0.113.1'));
    first!.close();
    await expect.poll(async () => (await open('203.0.113.1')).status).toBe(200);
  });
});

describe('streams that watch histories', () => {
  it('count by their history_id: who opens too many is told when to come back, and may open others', async () => {
    here = Installation.embedded();
    const { url } = await here.worker({ sse: { api_rate_limit: 40 } });
    await here.sql(
      `INSERT INTO history (user_id, name, deleted, importable, published) VALUES ${"(1, 'watched', false, false, false), ".repeat(99)} (1, 'watched', false, false, false)`,
    );
    const made = await here.sql<{ id: number }>("SELECT id FROM history WHERE name = 'watched'");
    const watched = made.map(({ id }) => `history_id=${here.encode(id)}`).join('&');
    const streams = await Promise.all(
      Array.from({ length: 12 }, () => SseClient.open(`${url}/api/events/stream?key=demo-alice&${watched}`)),
    );
    const outcomes = await Promise.all(
      streams.map((stream) =>
        Promise.race([stream.waitFor(({ event }) => event === 'ready').then(() => 'ready'), stream.ended()]),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === 'ready')).toHaveLength(4);
    const refused = streams.filter((_, i) => outcomes[i] === 'end');
    expect(refused.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(Math.min(...refused.map(({ retryMs }) => retryMs))).toBeGreaterThanOrEqual(3_000);
    // No history, no price; nor does it cost others anything.
    await here.stream(url, 'key=demo-alice');
    await here.stream(url, `key=demo-bob&history_id=${here.encode(2)}`);
    for (const stream of streams) stream.close();
  });
});

describe('subscriptions', () => {
  it('count by their ids: a stranger cannot fill the bus with few requests', async () => {
    here = Installation.embedded();
    const { url } = await here.worker({ sse: { api_rate_limit: 50 } });
    const rest = restOf(url);
    const cookie = (await rest('POST', '/api/sessions')).headers.get('set-cookie')!.split(';')[0]!;
    const history_ids = Array.from({ length: 200 }, (_, i) => here.encode(i + 100));
    const statuses = await statusesOf(10, () =>
      rest('DELETE', '/api/events/history-subscriptions', { headers: { cookie }, body: { history_ids } }),
    );
    expect(statuses.filter((status) => status === 204).length).toBeLessThanOrEqual(4);
    expect(statuses.at(-1)).toBe(429);
  });
});

describe('write marks', () => {
  it('count each: a stranger cannot fill the bus or the memory with them, and a user’s own are told meanwhile', async () => {
    here = Installation.embedded();
    const { url, worker } = await here.worker({ sse: { api_rate_limit: 50 } });
    const rest = restOf(url);
    const alice = await here.stream(url);
    const cookie = (await rest('POST', '/api/sessions')).headers.get('set-cookie')!.split(';')[0]!;
    const written = await rest('POST', '/api/histories', { as: 'alice', body: { name: 'new' } });
    const mark = written.headers.get('x-write-mark')!;
    const log = mark.slice(0, mark.indexOf('.'));
    const begin = performance.now();
    const statuses = await statusesOf(40, (i) =>
      // Numbers that no write will have for a long time.
      rest('POST', '/api/events/marks', {
        headers: { cookie },
        body: { marks: Array.from({ length: 50 }, (_, j) => `${log}.zzzz${(i * 50 + j).toString(36)}`) },
      }).then(({ status }) => ({ status: status === 204 ? 200 : status })),
    );
    const most = (500 + (50 * (performance.now() - begin)) / 1_000) / 50;
    expect(passed(statuses)).toBeGreaterThan(2);
    expect(passed(statuses)).toBeLessThanOrEqual(most);
    expect(statuses.at(-1)).toBe(429);
    const { dispatcher } = (
      worker.manager as unknown as { pipeline: { dispatcher: { marks: { size: number } } } }
    ).pipeline;
    expect(dispatcher.marks.size).toBeLessThanOrEqual(most * 50);
    const asked = await rest('POST', '/api/events/marks', { as: 'alice', body: { marks: [mark] } });
    expect(asked.status).toBe(204);
    const told = await alice.waitFor(({ event }) => event === 'marks_reached', { within: 4_000 });
    expect(JSON.parse(told.data!)).toMatchObject({ marks: [mark] });
  });
});
