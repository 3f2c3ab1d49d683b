/** A stream ends with its permission: at once where our own API makes the change, on every worker; else within a minute. */
import { afterEach, describe, expect, it } from 'vitest';
import { DEMO, Installation } from '../support/installation.js';
import { EVERYTHING, restOf } from '../support/rest.js';
import type { SseClient } from '../support/sse-client.js';

let here: Installation;
afterEach(() => here.close());

const { bob } = DEMO.histories;
/** The round comes too late for a test that passes by it. */
const SLOW = { ...EVERYTHING, sse: { permission_check_interval: 30 } };
const FAST = { ...EVERYTHING, sse: { permission_check_interval: 1 } };
const AT_ONCE = 3_000;

async function login(url: string, headers: Record<string, string> = {}): Promise<{ cookie: string }> {
  const answer = await restOf(url)('POST', '/api/login', {
    body: { login: 'alice@example.org', password: 'demo-alice' },
    headers,
  });
  expect(answer.status).toBe(200);
  return { cookie: answer.headers.get('set-cookie')!.split(';')[0]! };
}

/** Two workers on one database and one broker. */
async function two(): Promise<[string, string]> {
  here = await Installation.production();
  const [first, second] = [await here.worker(SLOW), await here.worker(SLOW)];
  return [first.url, second.url];
}

/** That the stream tells nothing of Bob's history, while another one tells of it. */
async function silent(url: string, stream: SseClient): Promise<void> {
  const witness = await here.stream(url, 'key=demo-bob');
  const from = stream.frames.length;
  const seen = witness.frames.length;
  await here.change(bob);
  await witness.waitForHistory(here.encode(bob), { from: seen, within: 10_000 });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(stream.frames.slice(from).filter((frame) => frame.data?.includes(here.encode(bob)))).toEqual([]);
}

describe('at once, on every worker:', () => {
  it('a logout', async () => {
    const [first, second] = await two();
    const headers = await login(first);
    const streams = [await here.stream(first, '', { headers }), await here.stream(second, '', { headers })];
    await restOf(first)('POST', '/api/logout', { headers });
    for (const stream of streams) expect(await stream.ended(AT_ONCE)).toBe('end');
    // Nor does a worker that remembers the session let it in again.
    expect((await restOf(second)('GET', '/api/whoami', { headers })).body).toBeNull();
  });

  it('an anonymous session that becomes a user’s', async () => {
    const [first, second] = await two();
    const headers = await here.cookieOf(DEMO.anonymousSession);
    const streams = [await here.stream(first, '', { headers }), await here.stream(second, '', { headers })];
    await login(first, headers);
    for (const stream of streams) expect(await stream.ended(AT_ONCE)).toBe('end');
  });

  it.each([
    ['disable_link_access', undefined],
    ['share_with_users', { user_ids: [] }],
  ])('a history that is watched is unshared (%s)', async (change, body) => {
    const [first, second] = await two();
    const rest = restOf(first);
    const path = `/api/histories/${here.encode(bob)}`;
    if (body)
      await rest('PUT', `${path}/share_with_users`, { as: 'bob', body: { user_ids: ['alice@example.org'] } });
    else await rest('PUT', `${path}/publish`, { as: 'bob' });
    const stream = await here.stream(second, `key=demo-alice&history_id=${here.encode(bob)}`);
    await here.change(bob);
    await stream.waitForHistory(here.encode(bob));
    await rest('PUT', `${path}/${change}`, { as: 'bob', ...(body && { body }) });
    // It is told of until the task is there, and not from then on.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await silent(second, stream);
    expect(stream.brokenAt).toBeUndefined();
  });
});

describe('within the round, though nothing was said:', () => {
  it('a right of an administrator that is taken away (Lightcone’s own table)', async () => {
    here = Installation.embedded();
    const { url } = await here.worker(FAST);
    const stream = await here.stream(url, `key=demo-admin&history_id=${here.encode(bob)}`);
    await here.change(bob);
    await stream.waitForHistory(here.encode(bob));
    await here.sql('DELETE FROM lightcone_admin');
    expect(await stream.ended(5_000)).toBe('end');
    const again = await fetch(`${url}/api/events/stream?key=demo-admin&history_id=${here.encode(bob)}`);
    expect(again.status).toBe(403);
  });

  it('a right of an administrator by e-mail, who has another address now', async () => {
    here = Installation.embedded();
    const galaxy = { ...EVERYTHING.galaxy, admin_users: 'alice@example.org' };
    const { url } = await here.worker({ ...FAST, galaxy });
    const stream = await here.stream(url, `key=demo-alice&history_id=${here.encode(bob)}`);
    await here.sql("UPDATE galaxy_user SET email = 'eve@example.org' WHERE id = 1");
    expect(await stream.ended(5_000)).toBe('end');
  });

  it.each([
    ['deleted', 'key=demo-alice', {}],
    ['purged', 'key=demo-alice', {}],
    ['deleted', '', { 'x-api-key': 'bootstrap-key' }],
    ['purged', '', { 'x-api-key': 'bootstrap-key' }],
  ])('a user who is %s (%s %o)', async (flag, query, headers) => {
    here = Installation.embedded();
    const { url } = await here.worker(FAST);
    const runAs = { ...headers, ...(query === '' && { 'run-as': here.encode(DEMO.users.alice) }) };
    const stream = await here.stream(url, query, { headers: runAs });
    await here.sql(`UPDATE galaxy_user SET ${flag} = true WHERE id = 1`);
    expect(await stream.ended(5_000)).toBe('end');
    const again = await fetch(`${url}/api/events/stream?${query}`, { headers: runAs });
    expect(again.status).toBeGreaterThanOrEqual(400);
  });
});
