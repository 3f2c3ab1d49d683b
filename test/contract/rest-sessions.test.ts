import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Installation } from '../support/installation.js';
import { type Answer, EVERYTHING, INSTALLATIONS, type Refusal, type Rest, restOf } from '../support/rest.js';

/** What a browser says of a page of another site; it keeps a cookie with SameSite=Lax to itself there. */
const FOREIGN = { origin: 'https://foe.example', 'sec-fetch-site': 'cross-site' };
const credentials = { login: 'alice@example.org', password: 'demo-alice' };

/** The cookie that an answer sets, as the browser would send it, and what else it says of it. */
function cookieOf({ headers }: Answer): { headers: { cookie: string }; attributes: string[] } {
  const [pair, ...attributes] = headers.get('set-cookie')!.split('; ');
  return { headers: { cookie: pair! }, attributes };
}

describe.each(INSTALLATIONS)('sessions on %s', (_, install) => {
  let here: Installation;
  let rest: Rest;
  let url: string;
  beforeAll(async () => {
    here = await install();
    ({ url } = await here.worker(EVERYTHING));
    rest = restOf(url);
  });
  afterAll(() => here.close());

  const whoIs = async (headers: { cookie: string }) => (await rest('GET', '/api/whoami', { headers })).body;
  const visit = async () => cookieOf(await rest('POST', '/api/sessions')).headers;

  it('are made for visitors, with a history and the cookie of the contract', async () => {
    const answer = await rest('POST', '/api/sessions');
    const { headers, attributes } = cookieOf(answer);
    expect(headers.cookie).toMatch(/^galaxysession=[0-9a-f]{80}$/);
    expect(attributes).toEqual(['Path=/', 'Max-Age=7776000', 'HttpOnly', 'SameSite=Lax']);
    expect((await rest('GET', '/api/histories', { headers })).body).toMatchObject([{ id: answer.body.id }]);
  });

  it('have a cookie for https alone behind a proxy that speaks it', async () => {
    const answer = await rest('POST', '/api/sessions', { headers: { 'x-forwarded-proto': 'https' } });
    expect(cookieOf(answer).attributes).toContain('Secure');
  });

  it('sign in and take over what the visitor did, at once; the old cookie is worth nothing then', async () => {
    const before = await visit();
    const [{ id: history }] = (await rest('GET', '/api/histories', { headers: before })).body;
    const tool = { name: 'Jupyter' };
    await rest('POST', '/api/entry_points', { headers: before, body: tool });
    expect(await whoIs(before)).toBeNull();
    const answer = await rest('POST', '/api/login', { headers: before, body: credentials });
    expect(answer.status).toBe(200);
    const { headers } = cookieOf(answer);
    expect(await whoIs(headers)).toMatchObject({ id: answer.body.id, email: 'alice@example.org' });
    const owned = (await rest('GET', '/api/histories', { as: 'alice' })).body;
    expect(owned.map(({ id }: { id: string }) => id)).toContain(history);
    expect((await rest('GET', '/history/current_history_json', { headers })).body.id).toBe(history);
    expect((await rest('GET', '/api/entry_points?running=true', { headers })).body).toMatchObject([
      tool && { name: 'Jupyter' },
    ]);
    expect((await rest('GET', '/api/histories', { headers: before })).body).toEqual([]);
  });

  it('tell the user of the history that was taken over', async () => {
    const stream = await here.stream(url);
    const before = await visit();
    const [{ id }] = (await rest('GET', '/api/histories', { headers: before })).body;
    await rest('POST', '/api/login', { headers: before, body: credentials });
    await stream.waitForHistory(id, { within: 5_000 });
  });

  it('end at once when the user signs out', async () => {
    const { headers } = cookieOf(await rest('POST', '/api/login', { body: credentials }));
    expect(await whoIs(headers)).not.toBeNull();
    const answer = await rest('POST', '/api/logout', { headers });
    expect(answer.status).toBe(204);
    expect(cookieOf(answer).attributes).toContain('Max-Age=0');
    expect(await whoIs(headers)).toBeNull();
    expect((await rest('POST', '/api/logout')).status).toBe(204);
  });

  const login = (body: object) => ({ body: { ...credentials, ...body } });
  it.each<Refusal>([
    ['a wrong password', 'POST', '/api/login', login({ password: 'demo-bob' }), 401, 401001],
    ['an unknown user', 'POST', '/api/login', login({ login: 'nobody@example.org' }), 401, 401001],
    ['no password', 'POST', '/api/login', login({ password: undefined }), 400, 400007],
    ['an empty name', 'POST', '/api/login', login({ login: '' }), 400, 400008],
    ['a damaged cookie', 'POST', '/api/logout', { headers: { cookie: 'galaxysession=zz' } }, 400, 400009],
    [
      'a page of another site',
      'POST',
      '/api/logout',
      { headers: { cookie: 'a=b', 'sec-fetch-site': 'cross-site' } },
      403,
      403005,
    ],
    // The cookie of the answer would take the place of the visitor's own.
    ['an end by another site', 'POST', '/api/logout', { headers: FOREIGN }, 403, 403005],
    ['a beginning by another site', 'POST', '/api/sessions', { headers: FOREIGN }, 403, 403005],
    ['a login by another site', 'POST', '/api/login', { ...login({}), headers: FOREIGN }, 403, 403005],
  ])('refuse %s', async (_what, method, path, ask, status, code) => {
    expect(await rest(method, path, ask)).toMatchObject({ status, body: { err_code: code } });
  });

  it('let nobody guess passwords for long', async () => {
    const guess = () => rest('POST', '/api/login', login({ login: 'bob@example.org', password: 'x' }));
    const answers = [];
    for (let i = 0; i < 11; i += 1) answers.push(await guess());
    expect(answers.map(({ status }) => status)).toEqual([...Array(10).fill(401), 429]);
    expect(answers.at(-1)!.body.err_code).toBe(429001);
    expect(Number(answers.at(-1)!.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});
