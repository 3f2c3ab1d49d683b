import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { DEMO, Installation, type RunningWorker } from '../support/installation.js';
import { publishRaw } from '../support/publish.js';
import { historyIds, type SseClient, type SseFrame } from '../support/sse-client.js';

let here: Installation;
afterEach(() => here.close());
const { alice, bob } = DEMO.histories;

/** What a catch-up wrote: the frames from `ready` on. */
async function caughtUp(stream: SseClient): Promise<SseFrame[]> {
  const ready = stream.frames.findIndex((frame) => frame.event === 'ready');
  // The last frame of a catch-up is the first one with a cursor of its own.
  const last = await stream.waitFor((frame) => frame.id !== stream.frames[ready]!.id, { from: ready });
  return stream.frames.slice(ready, stream.frames.indexOf(last) + 1);
}

/** Until the worker has heard that all was published up to so many seconds from now. */
async function ticked({ worker }: RunningWorker, seconds = 0): Promise<void> {
  const floor = worker.manager.estimateNow()! + seconds * 1_000_000;
  await eventually(() => worker.manager.watermark! > floor, { within: 10_000, what: 'a later tick' });
}

/** A cursor so late that nothing from before it is remembered as of after it. */
async function cursorOf(worker: RunningWorker): Promise<string> {
  await ticked(worker, 3);
  const stream = await here.stream(worker.url);
  const { lastEventId } = stream;
  stream.close();
  return lastEventId!;
}

describe.each(['embedded', 'production'] as const)('a tab that comes back (%s)', (shape) => {
  const start = async (galaxy: Record<string, unknown> = {}): Promise<RunningWorker> => {
    here = shape === 'embedded' ? Installation.embedded() : await Installation.production();
    return here.worker({ galaxy: { enable_notification_system: true, ...galaxy } });
  };

  it('is told what it missed: the notifications first, then the histories; only the last carries the new cursor', async () => {
    const worker = await start();
    const lastEventId = await cursorOf(worker);
    await here.change(alice);
    await here.change(bob);
    const reader = await here.stream(worker.url, 'key=demo-bob');
    await here.change(bob);
    await reader.waitForHistory(here.encode(bob));
    await ticked(worker);
    const stream = await here.stream(worker.url, 'key=demo-alice', { lastEventId });
    const [ready, status, update, ...more] = await caughtUp(stream);
    expect(more).toEqual([]);
    expect(ready?.id).toBe(lastEventId);
    expect(status).toMatchObject({ event: 'notification_status', id: lastEventId });
    expect(JSON.parse(status!.data!)).toEqual({ total_unread_count: 0, notifications: [], broadcasts: [] });
    expect(historyIds(update!)).toEqual([here.encode(alice)]);
    expect(Date.parse(`${update!.id}Z`)).toBeGreaterThan(Date.parse(`${lastEventId}Z`));
    // And from then on it is live.
    const from = stream.frames.length;
    await here.change(alice);
    await stream.waitForHistory(here.encode(alice), { from });
  });

  it('and missed nothing gets the new cursor all the same', async () => {
    const worker = await start({ enable_notification_system: false });
    const lastEventId = await cursorOf(worker);
    await ticked(worker);
    const stream = await here.stream(worker.url, 'key=demo-bob', { lastEventId });
    const [, ...frames] = await caughtUp(stream);
    expect(frames).toMatchObject([{ event: undefined, comments: ['nothing missed'] }]);
  });

  it('may give its cursor in the query; the header of a reconnect is newer and wins', async () => {
    const worker = await start();
    const lastEventId = await cursorOf(worker);
    await here.change(alice);
    await ticked(worker);
    const query = `key=demo-alice&last_event_id=${encodeURIComponent(lastEventId)}`;
    const first = await here.stream(worker.url, query);
    expect((await caughtUp(first)).flatMap(historyIds)).toEqual([here.encode(alice)]);
    const newer = await cursorOf(worker);
    const second = await here.stream(worker.url, query, { lastEventId: newer });
    expect(second.frames.find((frame) => frame.event === 'ready')?.id).toBe(newer);
  });

  it('after longer than the memory of its worker is answered from the database', async () => {
    const worker = await start();
    const lastEventId = '2020-01-01T00:00:00';
    const stream = await here.stream(worker.url, 'key=demo-alice', { lastEventId });
    expect((await caughtUp(stream)).flatMap(historyIds)).toEqual([here.encode(alice)]);
    const metrics = await (await fetch(`${worker.url}/metrics`)).text();
    expect(metrics).toMatch(/resume_count[^\n]*source="database"[^\n]* 1$/m);
  });

  it('having missed 1,200 histories is told in frames of at most 500', async () => {
    const worker = await start();
    const name = "'many'";
    await here.sql(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
       INSERT INTO history (create_time, update_time, user_id, name, deleted, purged, importing, importable, published)
       SELECT CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 1, ${name}, false, false, false, false, false FROM n`,
    );
    const stream = await here.stream(worker.url, 'key=demo-alice', { lastEventId: '2020-01-01T00:00:00' });
    const updates = (await caughtUp(stream)).filter((frame) => frame.event === 'history_update');
    expect(updates.map((frame) => historyIds(frame).length)).toEqual([500, 500, 201]);
    expect(new Set(updates.flatMap(historyIds)).size).toBe(1201);
    expect(updates[0]!.id).toBe('2020-01-01T00:00:00');
    expect(updates[1]!.id).toBe('2020-01-01T00:00:00');
  });

  it('as an anonymous visitor is told of the history of its session', async () => {
    const worker = await start();
    const headers = await here.cookieOf(DEMO.anonymousSession);
    const lastEventId = await cursorOf(worker);
    await here.change(DEMO.histories.anonymous);
    await here.change(alice);
    await ticked(worker);
    const stream = await here.stream(worker.url, '', { headers, lastEventId });
    const frames = await caughtUp(stream);
    expect(frames.flatMap(historyIds)).toEqual([here.encode(DEMO.histories.anonymous)]);
  });
});

describe('a cursor', () => {
  it('never runs ahead: however a stream is cut, what came after its last id is told again', async () => {
    here = await Installation.production();
    const { url } = await here.worker({ sse: {} });
    const stream = await here.stream(url, 'key=demo-alice', { reconnect: true, reconnectAfterMs: 20 });
    for (let round = 0; round < 15; round += 1) {
      await eventually(() => stream.opened === round + 1, { what: 'the next connection' });
      const from = stream.frames.length;
      await here.change(alice);
      // Before, while and after the event is on its way.
      await new Promise((resolve) => setTimeout(resolve, round * 2));
      stream.breakConnection();
      await stream.waitForHistory(here.encode(alice), { from });
    }
  });

  it('of the keepalive moves on while nothing happens', async () => {
    here = Installation.embedded();
    const { url } = await here.worker({ sse: { keepalive_interval: 3 } });
    const stream = await here.stream(url);
    const first = await stream.waitFor((frame) => frame.comments.includes('keepalive'));
    const second = await stream.waitFor((frame) => frame.comments.includes('keepalive') && frame !== first);
    expect(first.raw).toMatch(/^: keepalive\nid: [0-9T:.-]+$/);
    expect(second.id! > first.id!).toBe(true);
    expect(second.at - first.at).toBeGreaterThan(2_500);
    expect(second.at - first.at).toBeLessThan(3_500);
  });
});

describe('an entry point that changed', () => {
  it('is told to its user live and on the way back', async () => {
    here = await Installation.production();
    const worker = await here.worker({ galaxy: { interactivetools_enable: true } });
    const lastEventId = await cursorOf(worker);
    const task = JSON.stringify({ task: 'entry_point_update', kwargs: { user_id: DEMO.users.alice } });
    const [live, other] = [await here.stream(worker.url), await here.stream(worker.url, 'key=demo-bob')];
    await publishRaw(here.vhost!.amqpUrl, [task]);
    expect((await live.waitFor(({ event }) => event === 'entry_point_update')).data).toBe('{}');
    const back = await here.stream(worker.url, 'key=demo-alice', { lastEventId });
    await back.waitFor(({ event }) => event === 'entry_point_update');
    expect(other.events('entry_point_update')).toEqual([]);
  });
});
