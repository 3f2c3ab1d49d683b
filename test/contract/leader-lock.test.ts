import { beforeEach, describe, expect, it } from 'vitest';
import { AdvisoryLock } from '../../src/database/postgres/advisory-lock.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { Servers } from '../../src/database/postgres/servers.js';
import { systemClock } from '../../src/lib/clock.js';
import {
  type AnyDatabase,
  type DatabaseFixture,
  eventually,
  FIXTURES,
  postgresFixture,
  silent,
} from '../support/databases.js';
import { createTestDatabase } from '../support/postgres.js';
import { TcpProxy } from '../support/tcp-proxy.js';

describe.each(FIXTURES)('the leader lock of %s', (_, makeFixture) => {
  let fixture: DatabaseFixture;
  let here: AnyDatabase;
  let there: AnyDatabase;
  beforeEach(async () => {
    fixture = await makeFixture();
    here = fixture.open();
    there = fixture.open();
    await Promise.all([here.start(), there.start()]);
    return () => fixture.close();
  });

  it('has one holder at a time, and another one after its release', async () => {
    const mine = here.createLeaderLock('monitor', 'me');
    const yours = there.createLeaderLock('monitor', 'you');
    expect(await mine.holder()).toEqual({ held: false });
    expect(await mine.tryAcquire()).toBe(true);
    expect(await mine.tryAcquire()).toBe(true);
    expect(await mine.check()).toBe(true);
    expect(await yours.tryAcquire()).toBe(false);
    expect([mine.held, yours.held]).toEqual([true, false]);
    expect(await yours.holder()).toEqual({ held: true, label: 'me' });
    expect(await yours.check()).toBe(false);
    await mine.release();
    await mine.release();
    expect(await mine.check()).toBe(false);
    expect(await eventually(() => yours.tryAcquire())).toBe(true);
    await yours.release();
  });

  it('is a different one under a different name', async () => {
    const monitor = here.createLeaderLock('monitor', 'me');
    const pruner = there.createLeaderLock('pruner', 'me');
    expect([await monitor.tryAcquire(), await pruner.tryAcquire()]).toEqual([true, true]);
    await Promise.all([monitor.release(), pruner.release()]);
  });
});

describe('the advisory lock on PostgreSQL', () => {
  it('reports its loss at once and once, when an administrator ends its session', async () => {
    const fixture = await postgresFixture();
    const [here, there] = [fixture.open(), fixture.open()];
    await Promise.all([here.start(), there.start()]);
    const mine = here.createLeaderLock('monitor', 'me');
    const yours = there.createLeaderLock('monitor', 'you');
    const losses: string[] = [];
    mine.onLost((reason) => losses.push(reason));
    await mine.tryAcquire();
    await fixture.foreign(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lightcone lock me'",
    );
    await eventually(() => losses.length > 0, { within: 1_000 });
    expect(mine.held).toBe(false);
    expect(await eventually(() => yours.tryAcquire())).toBe(true);
    expect(await mine.check()).toBe(false);
    expect(losses).toHaveLength(1);
    await yours.release();
    await fixture.close();
  });

  it('finds with a check that its connection is half-open', async () => {
    const database = await createTestDatabase();
    const proxy = await TcpProxy.to(database.url);
    const db = new PostgresDatabase({
      url: proxy.through(database.url),
      poolSize: 2,
      logger: silent,
      clock: systemClock,
    });
    await db.start();
    const lock = db.createLeaderLock('monitor', 'me');
    const losses: string[] = [];
    lock.onLost((reason) => losses.push(reason));
    await lock.tryAcquire();
    proxy.goSilent();
    const before = performance.now();
    expect(await lock.check()).toBe(false);
    expect(performance.now() - before).toBeLessThan(3_000);
    expect(losses).toEqual(['Query read timeout']);
    await lock.release();
    proxy.cut();
    await db.stop();
    await proxy.close();
    await database.drop();
  });
});

describe('the advisory lock as an open transaction', () => {
  it('keeps no snapshot that VACUUM would wait for, whatever isolation is the default', async () => {
    const fixture = await postgresFixture();
    await fixture.foreign(
      "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$",
    );
    const db = fixture.open();
    await db.start();
    const lock = db.createLeaderLock('monitor', 'me');
    await lock.tryAcquire();
    await lock.check();
    const sessions = await fixture.foreign(
      "SELECT backend_xmin::text, backend_xid::text, state FROM pg_stat_activity WHERE application_name = 'lightcone lock me'",
    );
    expect(sessions).toEqual([{ backend_xmin: null, backend_xid: null, state: 'idle in transaction' }]);
    await lock.release();
    await fixture.close();
  });

  it('is kept for as long as its holder says that it lives, and ended by the server when it does not', async () => {
    const fixture = await postgresFixture();
    const db = fixture.open();
    await db.start();
    const lock = db.createLeaderLock('monitor', 'me', 500);
    const losses: string[] = [];
    lock.onLost((reason) => losses.push(reason));
    await lock.tryAcquire();
    for (let i = 0; i < 5; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(await lock.check()).toBe(true);
    }
    await eventually(() => losses.length > 0, { within: 1_500 });
    expect(losses[0]).toMatch(/idle-in-transaction timeout/);
    expect(await eventually(() => lock.tryAcquire(), { within: 1_000 })).toBe(true);
    await lock.release();
    await fixture.close();
  });
});

describe('the advisory lock of a session that went silent', () => {
  it('is ended by the one who lost it: the server would believe in it for longer', async () => {
    const database = await createTestDatabase();
    const proxy = await TcpProxy.to(database.url);
    const db = new PostgresDatabase({ url: database.url, poolSize: 2, logger: silent, clock: systemClock });
    await db.start();
    // Only the lock's own session goes through the proxy.
    const lock = new AdvisoryLock({
      servers: new Servers(proxy.through(database.url)),
      sql: db,
      name: 'monitor',
      label: 'me',
    });
    const other = db.createLeaderLock('monitor', 'you');
    await lock.tryAcquire();
    proxy.goSilent();
    expect(await lock.check()).toBe(false);
    await proxy.resume();
    // For the server nothing had happened.
    expect(await eventually(() => other.tryAcquire(), { within: 1_000 })).toBe(true);
    await other.release();
    await lock.release();
    await db.stop();
    await proxy.close();
    await database.drop();
  });
});

describe('the file lock beside an SQLite database', () => {
  it('is lost when somebody deletes its file', async () => {
    const fixture = await FIXTURES[1]![1]();
    const db = fixture.open();
    await db.start();
    const lock = db.createLeaderLock('monitor', 'me');
    const losses: string[] = [];
    lock.onLost((reason) => losses.push(reason));
    await lock.tryAcquire();
    const [{ file }] = (await db.all<{ file: string }>('PRAGMA database_list')) as [{ file: string }];
    const { rmSync } = await import('node:fs');
    rmSync(`${file}.monitor.lock`);
    expect(await lock.check()).toBe(false);
    expect(losses[0]).toMatch(/was deleted/);
    await fixture.close();
  });
});
