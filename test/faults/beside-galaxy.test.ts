/** Workers beside a Galaxy whose own monitor publishes: nobody ticks, and Lightcone's own monitor does not run. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseIso } from '../../src/lib/time.js';
import { publishAsGalaxy } from '../support/kombu.js';
import { sharedService } from '../support/services.js';
import { Cluster, type SharedServices } from './cluster.js';
import type { WatchedTab } from './judge.js';
import { seeded } from './random.js';

const TASK_EXPIRY_SECONDS = 10;

describe('a worker that hears no ticks', () => {
  let cluster: Cluster<SharedServices>;
  let tab: WatchedTab;
  beforeAll(async () => {
    const [postgres, rabbit] = await Promise.all([sharedService('postgres'), sharedService('rabbitmq')]);
    cluster = await Cluster.start(
      { postgres, rabbit },
      {
        workers: 1,
        monitors: 0,
        besideGalaxy: true,
        sse: { keepalive_interval: 1 },
        users: 1,
        tabsPerUser: 1,
        random: seeded(1),
      },
    );
    await cluster.writer.pause();
    tab = cluster.tabs[0]!;
  }, 60_000);
  afterAll(() => cluster?.close());

  const change = (): Promise<unknown> =>
    cluster.database.psql(`UPDATE history SET name = 'changed at ${performance.now()}' WHERE id = 1`);

  it('delivers what the monitor of the Galaxy publishes', async () => {
    const from = tab.client.frames.length;
    await change();
    await publishAsGalaxy(cluster.vhost.amqpUrl, [
      {
        payload: { task: 'history_update', kwargs: { user_updates: { '1': [1] }, event_id: 'e' } },
        key: 'control.*',
        expiration: TASK_EXPIRY_SECONDS,
      },
    ]);
    await tab.client.waitForHistory(cluster.ids.encodeId(1), { from });
  });

  it('reads from the database what was published while the broker had cut it off', async () => {
    // The management plugin hears of a connection a moment after it was made.
    await expect.poll(() => cluster.vhost.connections(), { timeout: 10_000 }).not.toEqual([]);
    const from = tab.client.frames.length;
    await change();
    expect(await cluster.vhost.closeConnections()).toBe(1);
    await tab.client.waitForHistory(cluster.ids.encodeId(1), { from });
  });

  it('gives ids that trail the clock by the expiry of a task', async () => {
    const trailing = async (): Promise<number> => {
      // Before the clock: while the answer is under way the id goes on.
      const id = parseIso(tab.client.lastEventId!)!;
      const [row] = await cluster.database.psql<{ now: string }>(
        `SELECT (clock_timestamp() AT TIME ZONE 'UTC')::text AS now`,
      );
      return (parseIso(row!.now)! - id) / 1e6;
    };
    // Until it can be sure that nobody ticks, a worker stays with the id that it started with.
    const first = tab.client.lastEventId;
    await expect.poll(() => tab.client.lastEventId, { timeout: 40_000, interval: 100 }).not.toBe(first);
    for (let i = 0; i < 5; i += 1) {
      expect(await trailing()).toBeGreaterThan(TASK_EXPIRY_SECONDS - 0.1);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      // The tab learns of it with the next event.
      await expect.poll(trailing, { timeout: 10_000, interval: 100 }).toBeLessThan(TASK_EXPIRY_SECONDS + 3);
    }
  }, 60_000);
});
