/** However much changes, the monitor asks the database no oftener than it can flush; a lone change waits for nothing. */
import pg from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { seedDemo } from '../../src/database/demo.js';
import { SqlPositionStore } from '../../src/database/position-store.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { clientOptions } from '../../src/database/postgres/options.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { sleep } from '../../src/lib/lifecycle.js';
import { HistoryAuditMonitor } from '../../src/monitor/history-audit-monitor.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { eventually, silent } from '../support/databases.js';
import { createTestDatabase } from '../support/postgres.js';

const SECONDS = 3;
/** Beside reads: the position that is stored, the barrier, what is asked on the way from hints to polls and back. */
const BESIDE = SECONDS * 5 + 20;
/** A read in 20 ms. */
const BUDGET = SECONDS * (1_000 / 20) + BESIDE;

it('asks one statement a change, and at most 55 a second, whether writers NOTIFY or not', async () => {
  const database = await createTestDatabase();
  const db = new PostgresDatabase({ url: database.url, poolSize: 4, logger: silent, clock: systemClock });
  await db.start();
  await migrate(db, silent);
  const { historyId } = (await seedDemo(db))!.users[0]!;
  const lock = db.createLeaderLock('monitor', 'test');
  expect(await lock.tryAcquire()).toBe(true);
  let published = 0;
  const monitor = new HistoryAuditMonitor({
    changeLog: new SqlChangeLog(db),
    positions: new SqlPositionStore(db),
    bus: {
      available: true,
      onAvailable: () => () => {},
      publish: async () => {
        published += 1;
      },
      publishTick: async () => {},
    },
    createHintSource: (listener) => db.createHintSource(listener),
    leaderName: 'test',
    debounceMs: 200,
    clock: systemClock,
    logger: silent,
    metrics: noMetrics,
  });
  await monitor.gain();
  const writers = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const client = new pg.Client(clientOptions(database.url, 'writer'));
      await client.connect();
      return client;
    }),
  );
  onTestFinished(async () => {
    await Promise.all(writers.map((client) => client.end()));
    await monitor.lose();
    await lock.release();
    await db.stop();
    await database.drop();
  });
  const touch = (client: pg.Client) =>
    client.query("UPDATE history SET name = 'x' WHERE id = $1", [historyId]);
  /** @param pauseMs of each of four writers; @returns statements meanwhile */
  const load = async (pauseMs: number): Promise<number> => {
    const until = performance.now() + SECONDS * 1_000;
    const before = db.statements;
    await Promise.all(
      writers.map(async (client) => {
        for (; performance.now() < until; await sleep(pauseMs)) await touch(client);
      }),
    );
    return db.statements - before;
  };
  /** One writer, so many changes a second; @returns statements meanwhile */
  const paced = async (rate: number): Promise<number> => {
    const [begun, before] = [performance.now(), db.statements];
    for (let i = 0; i < SECONDS * rate; i += 1) {
      await sleep(Math.max(0, begun + (i / rate) * 1_000 - performance.now()));
      await touch(writers[0]!);
    }
    await sleep(1_000 / rate);
    return db.statements - before;
  };
  await touch(writers[0]!);
  await eventually(() => published > 0);
  // Each with its NOTIFY.
  for (const rate of [1, 20, 200])
    expect(await paced(rate), `${rate}/s`).toBeLessThanOrEqual(SECONDS * rate + BESIDE);
  // Some 450 a second.
  expect(await load(8)).toBeLessThan(BUDGET);
  // Thousands: the triggers fall silent.
  expect(await load(0)).toBeLessThan(BUDGET);
});
