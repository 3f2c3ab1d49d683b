import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import type { SseClient } from '../support/sse-client.js';

let here: Installation;
let worker: RunningWorker;
const { alice, bob, anonymous } = DEMO.histories;
/** How long a stream may outlive its permission here. */
const CHECK_SECONDS = 1;

beforeEach(async () => {
  here = Installation.embedded();
  worker = await here.worker({ sse: { permission_check_interval: CHECK_SECONDS } });
});
afterEach(() => here.close());

const subscriptions = async (
  method: 'POST' | 'DELETE',
  ids: number[],
  caller: { key?: string; headers?: Record<string, string> } = { key: 'demo-alice' },
): Promise<number> => {
  const query = caller.key === undefined ? '' : `?key=${caller.key}`;
  const { status } = await fetch(`${worker.url}/api/events/history-subscriptions${query}`, {
    method,
    headers: { 'content-type': 'application/json', ...caller.headers },
    body: JSON.stringify({ history_ids: ids.map((id) => here.encode(id)) }),
  });
  return status;
};
/** Changes bob's history, and resolves when its owner was told: whoever else is concerned was told with him. */
async function changeBobs(change: () => Promise<unknown>): Promise<void> {
  const owner = await here.stream(worker.url, 'key=demo-bob');
  await change();
  await owner.waitForHistory(here.encode(bob));
  owner.close();
}
const publish = (yes: boolean) =>
  changeBobs(() => here.sql(`UPDATE history SET published = ${yes} WHERE id = ${bob}`));
/** Whether the stream was told of bob's history, once it was told of a later change of its own. */
async function toldOfBobs(stream: SseClient, own: number = alice): Promise<number> {
  const from = stream.frames.length;
  await changeBobs(() => here.change(bob));
  await here.change(own);
  await stream.waitForHistory(here.encode(own), { from });
  return stream.frames.slice(from).filter((frame) => frame.data?.includes(here.encode(bob))).length;
}

describe('a viewer', () => {
  it('is told of each change once, until it unsubscribes', async () => {
    await publish(true);
    const stream = await here.stream(worker.url);
    expect(await toldOfBobs(stream)).toBe(0);
    expect(await subscriptions('POST', [bob])).toBe(204);
    expect(await subscriptions('POST', [bob])).toBe(204);
    await expect.poll(() => worker.worker.manager.viewers.size).toBe(1);
    expect(await toldOfBobs(stream)).toBe(1);
    expect(await subscriptions('DELETE', [bob])).toBe(204);
    await expect.poll(() => worker.worker.manager.viewers.size).toBe(0);
    expect(await toldOfBobs(stream)).toBe(0);
  });

  it('without access is refused as a whole', async () => {
    await here.stream(worker.url);
    expect(await subscriptions('POST', [alice, bob])).toBe(403);
    expect(worker.worker.manager.viewers.size).toBe(0);
  });

  it('can be an anonymous session', async () => {
    await publish(true);
    const headers = await here.cookieOf(DEMO.anonymousSession);
    const stream = await here.stream(worker.url, '', { headers });
    expect(await subscriptions('POST', [bob], { headers })).toBe(204);
    expect(await toldOfBobs(stream, anonymous)).toBe(1);
  });

  it('loses the history with its access to it', async () => {
    await publish(true);
    const stream = await here.stream(worker.url);
    const own = await here.stream(worker.url, `key=demo-alice&history_id=${here.encode(bob)}`);
    await subscriptions('POST', [bob]);
    expect(await toldOfBobs(stream)).toBe(1);
    await publish(false);
    await expect.poll(() => worker.worker.manager.viewers.size, { timeout: 5_000 }).toBe(0);
    expect(await toldOfBobs(stream)).toBe(0);
    expect(await toldOfBobs(own)).toBe(0);
  });

  it('is forgotten with its last stream', async () => {
    await publish(true);
    const streams = [await here.stream(worker.url), await here.stream(worker.url)];
    await subscriptions('POST', [bob]);
    await expect.poll(() => worker.worker.manager.viewers.size).toBe(1);
    streams[0]!.close();
    await expect.poll(() => worker.worker.manager.registry.all.length).toBe(1);
    expect(worker.worker.manager.viewers.size).toBe(1);
    streams[1]!.close();
    await expect.poll(() => worker.worker.manager.viewers.size).toBe(0);
  });
});

describe('a stream ends when its permission does:', () => {
  const ends = async (stream: SseClient, statement: string): Promise<void> => {
    const other = await here.stream(worker.url, 'key=demo-bob');
    await here.sql(statement);
    expect(await stream.ended(2_000 * CHECK_SECONDS + 1_000)).toBe('end');
    await here.change(bob);
    await other.waitForHistory(here.encode(bob));
  };

  it('logout', async () => {
    const headers = await here.cookieOf(DEMO.anonymousSession);
    await ends(await here.stream(worker.url, '', { headers }), 'UPDATE galaxy_session SET is_valid = false');
  });

  it('login: the stream of the anonymous session', async () => {
    const headers = await here.cookieOf(DEMO.anonymousSession);
    await ends(await here.stream(worker.url, '', { headers }), 'UPDATE galaxy_session SET user_id = 1');
  });

  it('a revoked key', async () => {
    await ends(await here.stream(worker.url), 'UPDATE api_keys SET deleted = true WHERE user_id = 1');
  });

  it('a deleted user', async () => {
    await ends(await here.stream(worker.url), 'UPDATE galaxy_user SET deleted = true WHERE id = 1');
  });
});
