import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import {
  ALICE,
  ALICE_SESSION_KEY,
  ANONYMOUS_SESSION_KEY,
  BOB,
  HISTORY,
  type HttpServer,
  type HttpServerOptions,
  SESSION,
  startHttpServer,
} from '../support/http-server.js';

let server: HttpServer | undefined;
const start = async (options?: HttpServerOptions): Promise<HttpServer> => {
  server = await startHttpServer(options);
  return server;
};
afterEach(async () => {
  await server?.close();
  server = undefined;
});

interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what came, to be compared
  body: any;
}

async function ask(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(server!.url + path, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    redirect: 'manual',
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** For what `fetch` does not let a client say: its Origin, Host and Sec-Fetch-Site. */
function askRaw(method: string, path: string, headers: Record<string, string>, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(server!.url + path, { method, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => {
        const answered = Object.entries(response.headers).map(
          ([name, value]) => [name, String(value)] as [string, string],
        );
        resolve({
          status: response.statusCode!,
          headers: new Headers(answered),
          body: text && JSON.parse(text),
        });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

const key = (name: string) => ({ 'x-api-key': `key-${name}` });
const cookie = (sessionKey: string) => ({
  cookie: `galaxysession=${server!.idCodec.encodeSessionKey(sessionKey)}`,
});
const id = (number: number) => server!.idCodec.encodeId(number);
const subscriptions = '/api/events/history-subscriptions';

describe('the server tells of itself', () => {
  test('that it lives and is ready', async () => {
    await start();
    expect(await ask('GET', '/healthz')).toMatchObject({ status: 200, body: { live: true, problems: [] } });
    expect(await ask('GET', '/readyz')).toMatchObject({
      status: 200,
      body: { ready: true, well: true, problems: [] },
    });
  });

  test('why it is not ready', async () => {
    await start({ readyProblems: () => ['database: no answer within 5 s', 'draining'] });
    expect(await ask('GET', '/readyz')).toMatchObject({
      status: 503,
      body: { ready: false, problems: ['database: no answer within 5 s', 'draining'] },
    });
    expect((await ask('GET', '/healthz')).status).toBe(200);
  });

  test('its version in the contract’s form', async () => {
    await start();
    expect((await ask('GET', '/api/version')).body).toEqual({
      version_major: '26.1',
      version_minor: '0',
      extra: { lightcone_version: '9.9.9' },
    });
  });

  test('its configuration, whole or by keys', async () => {
    await start({ sseUpdates: false });
    expect((await ask('GET', '/api/configuration?view=all')).body).toMatchObject({
      enable_sse_updates: false,
      enable_notification_system: false,
      interactivetools_enable: false,
      version_major: '26.1',
    });
    expect(
      (await ask('GET', '/api/configuration?keys=version_major,constructor,%20enable_sse_updates')).body,
    ).toEqual({
      version_major: '26.1',
      enable_sse_updates: false,
    });
  });

  test('the caller who they are, and null to an anonymous one', async () => {
    await start();
    expect((await ask('GET', '/api/whoami', key('alice'))).body).toMatchObject({
      id: id(ALICE),
      email: 'alice@example.org',
    });
    const anonymous = await ask('GET', '/api/whoami', cookie(ANONYMOUS_SESSION_KEY));
    expect(anonymous.status).toBe(200);
    expect(anonymous.body).toBeNull();
  });

  test('its status to administrators only', async () => {
    await start();
    expect((await ask('GET', '/api/status', key('admin'))).body).toMatchObject({
      server: { name: 'main' },
      flow: {},
    });
    expect(await ask('GET', '/api/status', key('alice'))).toMatchObject({
      status: 403,
      body: { err_code: 403006 },
    });
    expect(await ask('GET', '/api/status')).toMatchObject({ status: 403, body: { err_code: 403006 } });
  });

  test('its metrics to a scraper on this machine, and through a proxy to administrators only', async () => {
    await start();
    await ask('POST', subscriptions, key('alice'), { history_ids: [id(HISTORY.alice)] });
    const metrics = await ask('GET', '/metrics');
    expect(metrics.headers.get('content-type')).toContain('text/plain');
    expect(metrics.body).toContain('galaxy_sse_dispatch_count_total{task="subscribe_history_viewer"} 1');
    const proxied = { 'x-forwarded-for': '203.0.113.7' };
    expect((await ask('GET', '/metrics', proxied)).status).toBe(403);
    expect((await ask('GET', '/metrics', { ...proxied, ...key('admin') })).status).toBe(200);
  });
});

describe('every route', () => {
  test('also answers with a slash at its end, and lies under the prefix', async () => {
    await start({ http: { prefix: '/galaxy' } });
    expect((await ask('GET', '/api/version/')).status).toBe(200);
    expect((await ask('GET', '/')).body).toContain('<base href="/galaxy/">');
    expect((await ask('GET', '')).status).toBe(200);
    expect((await fetch(server!.url.replace('/galaxy', '/api/version'))).status).toBe(404);
  });

  test.each([
    ['an unknown path', 'GET', '/api/nothing', 404, 404001, 'there is no GET /api/nothing'],
    [
      'a method that a path lacks',
      'DELETE',
      '/api/version',
      405,
      404001,
      '/api/version answers GET, HEAD, not DELETE',
    ],
    [
      'a path that cannot be decoded',
      'GET',
      '/api/%zz',
      400,
      400008,
      'the path of the URL cannot be decoded',
    ],
  ])('answers %s with an error in the contract’s form', async (_, method, path, status, code, message) => {
    await start();
    const answer = await ask(method, `${path}?key=secret`);
    expect(answer).toMatchObject({ status, body: { err_msg: message, err_code: code } });
  });

  test('names the methods that it has', async () => {
    await start();
    expect((await ask('PUT', subscriptions)).headers.get('allow')).toBe('POST, DELETE');
  });

  test('hides what went wrong inside', async () => {
    await start({
      routes: [
        (app) =>
          app.get('/broken', { config: { caller: 'public' } }, async () => {
            throw new Error('the password is 1234');
          }),
      ],
    });
    expect(await ask('GET', '/broken')).toMatchObject({
      status: 500,
      body: { err_msg: 'Lightcone failed internally; see its log', err_code: 500001 },
    });
  });

  test('says that the database is away, and when to come back', async () => {
    const { database } = await start();
    await database.stop();
    const answer = await ask('GET', '/api/whoami', key('alice'));
    expect(answer).toMatchObject({ status: 503, body: { err_code: 500001 } });
    expect(answer.headers.get('retry-after')).toBe('5');
  });
});

describe('a caller with bad credentials', () => {
  test('learns that the key is wrong', async () => {
    await start();
    expect(await ask('GET', '/api/histories?key=wrong')).toMatchObject({
      status: 401,
      body: { err_msg: 'the API key is not valid', err_code: 401001 },
    });
  });

  test('learns that the cookie is malformed', async () => {
    await start();
    expect(await ask('GET', '/api/histories', { cookie: 'galaxysession=tampered' })).toMatchObject({
      status: 400,
      body: { err_msg: expect.stringContaining('galaxysession cookie cannot be decoded'), err_code: 400009 },
    });
  });

  test('learns that acting for others is not allowed', async () => {
    await start();
    expect(await ask('GET', '/api/histories', { ...key('alice'), 'run-as': id(BOB) })).toMatchObject({
      status: 403,
      body: { err_code: 400001 },
    });
  });

  test('learns that the user to act for does not exist', async () => {
    await start({ auth: { apiAllowRunAs: ['alice@example.org'] } });
    expect(await ask('GET', '/api/histories', { ...key('alice'), 'run-as': id(77) })).toMatchObject({
      status: 400,
      body: { err_code: 400002 },
    });
  });
});

describe('viewer subscriptions', () => {
  test('go out as one control task per history, with user and session', async () => {
    await start();
    const history_ids = [id(HISTORY.bobPublished), id(HISTORY.alice), id(HISTORY.alice)];
    const answer = await ask('POST', subscriptions, cookie(ALICE_SESSION_KEY), { history_ids });
    expect(answer).toMatchObject({ status: 204, body: '' });
    const viewer = { userId: ALICE, sessionId: SESSION.alice };
    expect(server!.tasks).toEqual([
      { task: 'subscribe_history_viewer', historyId: id(HISTORY.bobPublished), ...viewer },
      { task: 'subscribe_history_viewer', historyId: id(HISTORY.alice), ...viewer },
    ]);
  });

  test('end with DELETE, also for a history that is not visible any more', async () => {
    await start();
    expect(
      (await ask('DELETE', subscriptions, key('alice'), { history_ids: [id(HISTORY.bob)] })).status,
    ).toBe(204);
    expect(server!.tasks).toEqual([
      { task: 'unsubscribe_history_viewer', historyId: id(HISTORY.bob), userId: ALICE },
    ]);
  });

  test('are refused as a whole when one history may not be seen', async () => {
    await start();
    const history_ids = [id(HISTORY.bobPublished), id(HISTORY.bob)];
    expect(await ask('POST', subscriptions, key('alice'), { history_ids })).toMatchObject({
      status: 403,
      body: {
        err_code: 403002,
        err_msg: `no access to the history ${id(HISTORY.bob)}; nothing was subscribed`,
      },
    });
    expect(server!.tasks).toEqual([]);
  });

  test('are refused for a history that does not exist in the same words', async () => {
    await start();
    expect(await ask('POST', subscriptions, key('alice'), { history_ids: [id(99)] })).toMatchObject({
      status: 403,
      body: { err_code: 403002 },
    });
  });

  test('of an anonymous session work for its own history', async () => {
    await start();
    const body = { history_ids: [id(HISTORY.anonymous)] };
    expect((await ask('POST', subscriptions, cookie(ANONYMOUS_SESSION_KEY), body)).status).toBe(204);
    expect(server!.tasks).toMatchObject([{ sessionId: SESSION.anonymous }]);
  });

  test('of somebody without user and session send nothing', async () => {
    await start();
    expect((await ask('POST', subscriptions, {}, { history_ids: [id(HISTORY.bobPublished)] })).status).toBe(
      204,
    );
    expect(server!.tasks).toEqual([]);
  });

  test.each([
    ['no body', undefined, 400007],
    ['no history_ids', {}, 400007],
    ['a text instead of a list', { history_ids: 'f2db41e1fa331b3e' }, 400008],
    ['a number in the list', { history_ids: [1] }, 400008],
    ['a list as body', [], 400008],
    ['more than 200 ids', { history_ids: Array(201).fill('f2db41e1fa331b3e') }, 400008],
    ['an id that is too long', { history_ids: ['a'.repeat(65)] }, 400008],
    ['an id that cannot be decoded', { history_ids: ['f2db41e1fa331b3f'] }, 400009],
    ['text that is no JSON', '{"history_ids":', 400003],
    ['an empty text', '', 400003],
  ])('with %s are refused and change nothing', async (_, body, code) => {
    await start();
    for (const method of ['POST', 'DELETE']) {
      expect(await ask(method, subscriptions, key('alice'), body)).toMatchObject({
        status: 400,
        body: { err_code: code, err_msg: expect.any(String) },
      });
    }
    expect(server!.tasks).toEqual([]);
  });

  test('in a body that is not declared as JSON are refused', async () => {
    await start();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const answer = await ask(
        'POST',
        subscriptions,
        { ...key('alice'), 'content-type': type },
        '{"history_ids":[]}',
      );
      expect(answer).toMatchObject({ status: 400, body: { err_code: 400003 } });
    }
  });

  test('in a body of more than 1 MiB are refused', async () => {
    await start();
    const answer = await ask('POST', subscriptions, key('alice'), { history_ids: ['a'.repeat(1_100_000)] });
    expect(answer).toMatchObject({ status: 413, body: { err_code: 400008 } });
  });

  test('are refused while live updates are switched off', async () => {
    await start({ sseUpdates: false });
    expect(await ask('POST', subscriptions, key('alice'), { history_ids: [] })).toMatchObject({
      status: 403,
      body: { err_code: 403004 },
    });
  });

  test('say so when the bus is away, and when to come back', async () => {
    const { bus } = await start();
    await bus.stop();
    const answer = await ask('POST', subscriptions, key('alice'), { history_ids: [id(HISTORY.alice)] });
    expect(answer).toMatchObject({ status: 503, body: { err_code: 500001 } });
    expect(answer.headers.get('retry-after')).toBe('5');
  });
});

describe('histories', () => {
  const names = (answer: Answer) => answer.body.map(({ name }: { name: string }) => name);

  test('are listed for their owner alone', async () => {
    await start();
    expect(names(await ask('GET', '/api/histories', key('alice')))).toEqual(["alice's"]);
    expect(names(await ask('GET', '/api/histories', key('bob')))).toEqual(['for all', "bob's"]);
    expect(names(await ask('GET', '/api/histories', cookie(ANONYMOUS_SESSION_KEY)))).toEqual(['of nobody']);
    expect(names(await ask('GET', '/api/histories'))).toEqual([]);
  });

  test('are renamed by their owner, which leaves an audit row', async () => {
    await start();
    const { body: before } = await ask('GET', '/api/histories', key('alice'));
    const answer = await ask('PUT', `/api/histories/${id(HISTORY.alice)}`, key('alice'), { name: 'new' });
    expect(answer).toMatchObject({ status: 200, body: { id: id(HISTORY.alice), name: 'new' } });
    expect(answer.body.update_time > before[0].update_time).toBe(true);
    expect(
      (
        await ask('PUT', `/api/histories/${id(HISTORY.anonymous)}`, cookie(ANONYMOUS_SESSION_KEY), {
          name: 'mine',
        })
      ).status,
    ).toBe(200);
  });

  test.each([
    ['by another user', 'alice', HISTORY.bobPublished, { name: 'x' }, 403, 403003],
    ['by an administrator', 'admin', HISTORY.alice, { name: 'x' }, 403, 403003],
    ['that do not exist', 'alice', 99, { name: 'x' }, 404, 404001],
    ['with an empty name', 'alice', HISTORY.alice, { name: '' }, 400, 400008],
    ['with a name that is too long', 'alice', HISTORY.alice, { name: 'x'.repeat(256) }, 400, 400008],
    ['with a NUL in the name', 'alice', HISTORY.alice, { name: 'a\u0000b' }, 400, 400008],
    ['without a name', 'alice', HISTORY.alice, {}, 400, 400007],
  ])('%s are not renamed', async (_, name, history, body, status, code) => {
    await start();
    const before = await server!.database.all('SELECT id, name FROM history');
    expect(await ask('PUT', `/api/histories/${id(history)}`, key(name), body)).toMatchObject({
      status,
      body: { err_code: code },
    });
    expect(await server!.database.all('SELECT id, name FROM history')).toEqual(before);
  });

  test('are not renamed by somebody without login, nor under an id that cannot be decoded', async () => {
    await start();
    expect(await ask('PUT', `/api/histories/${id(HISTORY.alice)}`, {}, { name: 'x' })).toMatchObject({
      status: 403,
      body: { err_code: 403001 },
    });
    expect(await ask('PUT', '/api/histories/1', key('alice'), { name: 'x' })).toMatchObject({
      status: 400,
      body: { err_code: 400009 },
    });
  });
});

describe('a page of another site', () => {
  const friend = 'https://friend.example';
  const rename = (headers: Record<string, string>) =>
    askRaw(
      'PUT',
      `/api/histories/${id(HISTORY.alice)}`,
      { 'content-type': 'application/json', ...headers },
      '{"name":"by a page"}',
    );

  test('may read answers, with credentials, only from an allowed origin', async () => {
    await start({ http: { allowedOrigins: [friend] } });
    const allowed = await askRaw('GET', '/api/version', { origin: friend });
    expect(allowed.headers.get('access-control-allow-origin')).toBe(friend);
    expect(allowed.headers.get('access-control-allow-credentials')).toBe('true');
    const refusedByName = await askRaw('GET', '/api/histories?key=wrong', { origin: friend });
    expect(refusedByName.headers.get('access-control-allow-origin')).toBe(friend);
    for (const origin of ['https://foe.example', 'null', `${friend}.foe.example`]) {
      const other = await askRaw('GET', '/api/version', { origin });
      expect(other.headers.get('access-control-allow-origin')).toBeNull();
      expect(other.headers.get('vary')).toBe('Origin');
    }
  });

  test('gets a preflight answer on every API path, with an origin only if it is allowed', async () => {
    await start({ http: { allowedOrigins: [friend] } });
    for (const path of [subscriptions, '/api/events/stream', '/api/no/such/path']) {
      const allowed = await askRaw('OPTIONS', path, { origin: friend });
      expect(allowed.status).toBe(204);
      expect(allowed.headers.get('access-control-allow-headers')).toMatch(/^\*/);
      expect(allowed.headers.get('access-control-allow-origin')).toBe(friend);
    }
    const foe = await askRaw('OPTIONS', subscriptions, { origin: 'https://foe.example' });
    expect(foe.headers.get('access-control-allow-origin')).toBeNull();
  });

  test.each([
    ['by the browser’s word', { origin: 'https://foe.example', 'sec-fetch-site': 'cross-site' }],
    ['from a sibling domain', { origin: 'https://foe.example', 'sec-fetch-site': 'same-site' }],
    ['by its origin', { origin: 'https://foe.example' }],
    ['by a hidden origin', { origin: 'null' }],
  ])('may not change anything with the visitor’s cookie (known %s)', async (_, headers) => {
    await start();
    expect(await rename({ ...cookie(ALICE_SESSION_KEY), ...headers })).toMatchObject({
      status: 403,
      body: { err_code: 403005 },
    });
  });

  test.each([
    ['a page of this server', { 'sec-fetch-site': 'same-origin', origin: 'https://galaxy.example' }],
    ['a page of an allowed origin', { 'sec-fetch-site': 'cross-site', origin: friend }],
    ['an older browser on this server', { origin: 'http://galaxy.local', host: 'galaxy.local' }],
    ['an older browser behind a proxy', { origin: 'https://public.example', host: 'backend:8080' }],
    ['a program', {}],
  ])('is told from %s, which may', async (_, headers) => {
    await start({ http: { allowedOrigins: [friend], infrastructureUrl: 'https://public.example/galaxy' } });
    expect((await rename({ ...cookie(ALICE_SESSION_KEY), ...headers })).status).toBe(200);
  });

  test('may use a key that it was given', async () => {
    await start();
    expect(
      (await rename({ ...key('alice'), origin: 'https://foe.example', 'sec-fetch-site': 'cross-site' }))
        .status,
    ).toBe(200);
  });
});
