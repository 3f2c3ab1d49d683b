import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { type DemoData, seedDemo } from '../../src/database/demo.js';
import { SqlPositionStore } from '../../src/database/position-store.js';
import { formatSql, secondsToMicros } from '../../src/lib/time.js';
import { pruneAudit, removeDeadProcesses, removeExpiredNotifications } from '../../src/maintenance/jobs.js';
import { MaintenanceScheduler } from '../../src/maintenance/scheduler.js';
import {
  type AnyDatabase,
  type DatabaseFixture,
  FIXTURES,
  openMigrated,
  silent,
} from '../support/databases.js';

const unending = new AbortController().signal;

describe.each(FIXTURES)('housekeeping on %s', (_, makeFixture) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;
  let demo: DemoData;
  let now: number;
  beforeAll(async () => {
    fixture = await makeFixture();
    db = await openMigrated(fixture);
    demo = (await seedDemo(db))!;
  });
  afterAll(() => fixture.close());
  beforeEach(async () => {
    await db.run('DELETE FROM history_audit');
    now = await db.now();
  });

  const ago = (seconds: number): string => formatSql(now - secondsToMicros(seconds));
  const audit = (historyId: number, seconds: number) =>
    db.run('INSERT INTO history_audit (history_id, update_time) VALUES ($1, $2)', [historyId, ago(seconds)]);

  it('keeps the newest audit row of each history, and all that a cursor within the window needs', async () => {
    const [quiet, busy] = [demo.users[0]!.historyId, demo.users[1]!.historyId];
    for (const seconds of [9_000, 8_000]) await audit(quiet, seconds);
    for (const seconds of [9_000, 905, 800, 10]) await audit(busy, seconds);
    const log = new SqlChangeLog(db);
    const floor = now - secondsToMicros(910);
    const before = await log.changesSince(floor, { kind: 'all' });
    expect(await pruneAudit(db, 910, unending)).toBe(2);
    expect(await log.changesSince(floor, { kind: 'all' })).toEqual(before);
    const rows = await db.all<{ history_id: number }>(
      'SELECT history_id FROM history_audit ORDER BY history_id',
    );
    expect(rows.map((row) => row.history_id)).toEqual([quiet, busy, busy, busy]);
    expect(await pruneAudit(db, 910, unending)).toBe(0);
  });

  it('prunes more rows than one piece has', async () => {
    const { historyId } = demo.users[0]!;
    await db.transaction(async (tx) => {
      for (let i = 0; i < 2_500; i += 1) {
        await tx.run('INSERT INTO history_audit (history_id, update_time) VALUES ($1, $2)', [
          historyId,
          ago(9_000 - i),
        ]);
      }
    });
    expect(await pruneAudit(db, 910, unending)).toBe(2_499);
  });

  it('keeps what the monitor has not read, and what stands for it, however late it was committed', async () => {
    const [late, plain] = [demo.users[0]!.historyId, demo.users[1]!.historyId];
    const log = new SqlChangeLog(db);
    const store = new SqlPositionStore(db);
    // Both were written long ago by their times; `late` became visible after the position of 20 minutes ago.
    await audit(plain, 9_000);
    await audit(plain, 8_000);
    const before = { ...(await log.end()), moment: now - secondsToMicros(1_200) };
    await store.add(before);
    await audit(late, 9_000);
    await audit(late, 8_000);
    expect(await pruneAudit(db, 910, unending)).toBe(1);
    const read = async () =>
      (await log.since(before.position, { kind: 'all' }))!.changes.map(({ historyId }) => historyId);
    expect(await read()).toEqual([late]);
    await store.add({ ...(await log.end()), moment: now - secondsToMicros(1_000) });
    expect(await pruneAudit(db, 910, unending)).toBe(1);
    expect(await read()).toEqual([late]);
    await db.run('DELETE FROM lightcone_position');
  });

  it('begins no further piece once it is over', async () => {
    const { historyId } = demo.users[0]!;
    await db.transaction(async (tx) => {
      for (let i = 0; i < 3_000; i += 1) {
        await tx.run('INSERT INTO history_audit (history_id, update_time) VALUES ($1, $2)', [
          historyId,
          ago(9_000 - i),
        ]);
      }
    });
    const over = new AbortController();
    const pruned = pruneAudit(db, 910, over.signal);
    over.abort();
    expect(await pruned).toBe(1_000);
  });

  it('removes expired notifications with what users have of them, and no others', async () => {
    for (const [id, expiry] of [
      [1, ago(5)],
      [2, ago(-500)],
    ] as const) {
      await db.run('INSERT INTO notification (id, dispatched, expiration_time) VALUES ($1, true, $2)', [
        id,
        expiry,
      ]);
      await db.run('INSERT INTO user_notification_association (user_id, notification_id) VALUES ($1, $2)', [
        demo.users[0]!.userId,
        id,
      ]);
    }
    expect(await removeExpiredNotifications(db, unending)).toBe(1);
    expect(await db.all('SELECT notification_id FROM user_notification_association')).toEqual([
      { notification_id: 2 },
    ]);
  });

  it('sweeps processes that have been dead for ten minutes', async () => {
    for (const [name, seconds] of [
      ['dead', 601],
      ['alive', 30],
    ] as const) {
      await db.run("INSERT INTO worker_process (server_name, hostname, update_time) VALUES ($1, 'h', $2)", [
        name,
        ago(seconds),
      ]);
    }
    expect(await removeDeadProcesses(db)).toBe(1);
    expect(await db.all('SELECT server_name FROM worker_process')).toEqual([{ server_name: 'alive' }]);
  });
});

describe('the housekeeper', () => {
  it('does a chore again and again while it leads, also after a failure, and stops when it no longer does', async () => {
    const run = vi.fn().mockRejectedValueOnce(new Error('not now')).mockResolvedValue(0);
    const maintenanceScheduler = new MaintenanceScheduler(
      [{ name: 'test', everySeconds: 0.01, run }],
      silent,
    );
    await maintenanceScheduler.gain();
    await vi.waitFor(() => expect(run.mock.calls.length).toBeGreaterThan(2));
    await maintenanceScheduler.lose();
    const times = run.mock.calls.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(run.mock.calls.length).toBe(times);
  });

  it('gives the role up without waiting for a chore that is under way, and tells it', async () => {
    let told: AbortSignal | undefined;
    const run = vi.fn(async (over: AbortSignal) => {
      told = over;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return 0;
    });
    const maintenanceScheduler = new MaintenanceScheduler(
      [{ name: 'long', everySeconds: 0.01, run }],
      silent,
    );
    await maintenanceScheduler.gain();
    await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(1));
    const before = performance.now();
    await maintenanceScheduler.lose();
    expect(performance.now() - before).toBeLessThan(100);
    expect(told?.aborted).toBe(true);
    await maintenanceScheduler.stop();
    expect(performance.now() - before).toBeGreaterThan(150);
    expect(run).toHaveBeenCalledTimes(1);
  });
});
