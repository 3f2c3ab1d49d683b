/** A PostgreSQL that is slow, locked, read-only or full, and administrators who cut in. */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LightconeError } from '../../src/core/errors.js';
import { identifyPostgres } from '../../src/database/log/identity.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { systemClock } from '../../src/lib/clock.js';
import { eventually, silent } from '../support/databases.js';
import { createTestDatabase, startPostgres, type TestDatabase } from '../support/postgres.js';

let database: TestDatabase;
let db: PostgresDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
  await database.psql('CREATE TABLE t (id integer PRIMARY KEY)');
});
afterEach(async () => {
  await db.stop();
  await database.drop();
});

async function connect(poolSize = 2): Promise<void> {
  db = new PostgresDatabase({ url: database.url, poolSize, logger: silent, clock: systemClock });
  await db.start();
}
const ofUs = (condition = 'true') =>
  database.psql<{ pid: number; query: string }>(
    `SELECT pid, query FROM pg_stat_activity WHERE application_name LIKE 'lightcone%' AND datname = current_database() AND ${condition}`,
  );
const settled = (work: Promise<unknown>): Promise<LightconeError | undefined> =>
  work.then(
    () => undefined,
    (error: LightconeError) => error,
  );

describe('a table that is locked for long', () => {
  let unlock: () => Promise<unknown>;
  beforeEach(async () => {
    await connect(3);
    const other = new PostgresDatabase({
      url: database.url,
      poolSize: 2,
      logger: silent,
      clock: systemClock,
    });
    await other.start();
    let end!: () => void;
    const held = new Promise<void>((resolve) => {
      end = resolve;
    });
    const locked = new Promise<Promise<unknown>>((resolve) => {
      const transaction = other.transaction(async (tx) => {
        await tx.run('LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
        // Not idle for so long that our own limit ends it.
        const busy = setInterval(() => void tx.all('SELECT 1').catch(() => {}), 2_000);
        resolve(Promise.resolve());
        await held;
        clearInterval(busy);
      });
      unlock = async () => {
        end();
        await transaction;
        await other.stop();
      };
    });
    await locked;
  });

  it('is given up by the server before the driver gives up, so that nothing stays there', async () => {
    const most: number[] = [];
    const watch = setInterval(() => void ofUs().then((rows) => most.push(rows.length)), 300);
    // More than there are connections, and again as soon as they are refused, as tabs that come back do.
    const errors = await Promise.all(
      Array.from({ length: 9 }, async () => [
        await settled(db.all('SELECT * FROM t')),
        await settled(db.all('SELECT * FROM t')),
      ]),
    );
    clearInterval(watch);
    expect(new Set(errors.flat().map((error) => error?.code))).toEqual(new Set(['DATABASE_UNAVAILABLE']));
    expect(errors[0]![0]!.message).toMatch(/lock timeout.*VACUUM FULL/);
    // Ours and the other's.
    expect(Math.max(...most)).toBeLessThanOrEqual(3 + 2);
    expect(await ofUs("wait_event_type = 'Lock'")).toEqual([]);
    // The server is there, and answers what does not need the table.
    expect(await db.all('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(db.problem()).toBeUndefined();
    await unlock();
    expect(await db.all('SELECT * FROM t')).toEqual([]);
  }, 30_000);

  it('holds up only those who ask for it: a lane of its own goes on', async () => {
    const lane = db.lane('other', 2);
    const stuck = Promise.all(Array.from({ length: 9 }, () => settled(db.all('SELECT * FROM t'))));
    const begin = performance.now();
    expect(await lane.all('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(performance.now() - begin).toBeLessThan(2_000);
    await unlock();
    await stuck;
  }, 30_000);
});

describe('a statement that an administrator cancels', () => {
  const cancelled = async (): Promise<void> => {
    const [row] = await eventually(async () => {
      const rows = await ofUs("state = 'active' AND query LIKE '%pg_sleep(60)%'");
      return rows.length > 0 && rows;
    });
    await database.psql(`SELECT pg_cancel_backend(${row!.pid})`);
  };

  it('may be asked again, on the same connection, and the database is not called away', async () => {
    await connect();
    const [before] = await db.all<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const asked = settled(db.all('SELECT pg_sleep(60)'));
    await cancelled();
    expect(await asked).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(db.problem()).toBeUndefined();
    expect(await db.all('SELECT pg_backend_pid() AS pid')).toEqual([before]);
  });

  it('takes its transaction along', async () => {
    await connect();
    const asked = settled(
      db.transaction(async (tx) => {
        await tx.run('INSERT INTO t VALUES (1)');
        await tx.all('SELECT pg_sleep(60)');
      }),
    );
    await cancelled();
    expect(await asked).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringMatching(/user request/),
    });
    expect(await db.all('SELECT * FROM t')).toEqual([]);
  });
});

describe('a transaction that cannot be rolled back', () => {
  it('fails for the reason that it had, and its connection is used no more', async () => {
    await connect(1);
    await db.run('INSERT INTO t VALUES (1)');
    const failed = await settled(
      db.transaction(async (tx) => {
        try {
          await tx.run('INSERT INTO t VALUES (1)');
        } catch (error) {
          await database.psql(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name LIKE 'lightcone%'`,
          );
          await eventually(async () => (await ofUs()).length === 0);
          throw error;
        }
      }),
    );
    expect((failed as unknown as { code: string }).code).toBe('23505');
    expect(await db.all('SELECT id FROM t')).toEqual([{ id: 1 }]);
  });
});

describe('a limit that the administrator has set', () => {
  const set = (setting: string) =>
    database.psql(`ALTER DATABASE ${new URL(database.url).pathname.slice(1)} SET ${setting}`);

  it('idle_session_timeout: the next statement opens another connection', async () => {
    await set("idle_session_timeout = '100ms'");
    await connect();
    for (let i = 0; i < 3; i += 1) {
      expect(await db.all('SELECT 1 AS one')).toEqual([{ one: 1 }]);
      await eventually(async () => (await ofUs()).length === 0);
    }
    expect(db.problem()).toBeUndefined();
  });

  it('default_transaction_read_only: reads go on, and what cannot be written says what to do', async () => {
    await set('default_transaction_read_only = on');
    await connect();
    expect(await settled(db.run('INSERT INTO t VALUES (1)'))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringMatching(/read-only transaction \(a standby, .*name the primary server/),
    });
    expect(await settled(db.transaction((tx) => tx.run('INSERT INTO t VALUES (1)')))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    expect(await db.all('SELECT * FROM t')).toEqual([]);
    expect(db.problem()).toBeUndefined();
  });
});

describe('what passes by itself may be asked again', () => {
  it.each([
    ['53100', 'a full disk'],
    ['53200', 'memory that is used up'],
    ['25P04', 'transaction_timeout'],
    ['40001', 'transactions that cannot be put in an order'],
    ['40P01', 'a deadlock'],
    ['55006', 'an object in use'],
    ['58030', 'a disk that does not answer'],
    ['XX000', 'an error inside the server'],
  ])('%s, %s', async (code) => {
    await connect();
    const raise = `DO $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '${code}'; END $$`;
    expect(await settled(db.run(raise))).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(await settled(db.transaction((tx) => tx.run(raise)))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    expect(db.problem()).toBeUndefined();
  });

  it.each(['23505', '22003', '42601', 'P0001'])('but not %s', async (code) => {
    await connect();
    const error = await settled(
      db.run(`DO $$ BEGIN RAISE EXCEPTION 'trouble' USING ERRCODE = '${code}'; END $$`),
    );
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(LightconeError);
  });
});

describe('no connection', () => {
  it.each([
    ['the account may not log in', 'ALTER ROLE $ NOLOGIN', /not permitted to log in/],
    ['the account has too many connections', 'ALTER ROLE $ CONNECTION LIMIT 0', /too many connections/],
    ['the account does not exist', 'ALTER ROLE $ RENAME TO $_gone', /does not exist/],
  ])('%s: the database is away, for as long as that lasts', async (_why, change, reason) => {
    const role = new URL(database.url).pathname.slice(1);
    await database.psql(`CREATE ROLE ${role} LOGIN`);
    const url = new URL(database.url);
    url.username = role;
    db = new PostgresDatabase({ url: url.href, poolSize: 2, logger: silent, clock: systemClock });
    await db.start();
    await database.psql(change.replaceAll('$', role));
    await database.psql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE '${role}%'`,
    );
    await eventually(async () => (await settled(db.all('SELECT 1'))) !== undefined);
    expect(await settled(db.all('SELECT 1'))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringMatching(reason),
    });
    expect(db.problem()).toMatch(reason);
    await db.stop();
    await database.psql(`DROP ROLE IF EXISTS ${role}; DROP ROLE IF EXISTS ${role}_gone`);
  });

  it('because the server has no TLS', async () => {
    db = new PostgresDatabase({
      url: `${database.url}?sslmode=require`,
      poolSize: 2,
      logger: silent,
      clock: systemClock,
    });
    await settled(db.start(AbortSignal.timeout(300)));
    expect(await settled(db.all('SELECT 1'))).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });

  it('because all are busy: says so, and does not open more', async () => {
    await connect();
    const busy = [1, 2].map(() => settled(db.all('SELECT pg_sleep(7)')));
    expect(await settled(db.all('SELECT 1'))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringMatching(/all 2 connections of "lightcone" are busy/),
    });
    expect(await ofUs()).toHaveLength(2);
    await Promise.all(busy);
    expect(await db.all('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  }, 20_000);
});

it('a hot standby is read, and what cannot be written says what to do', async () => {
  const server = await startPostgres();
  const own = await createTestDatabase(server);
  await own.psql('CREATE TABLE t (id integer)');
  await server.halt();
  writeFileSync(join(server.socketFolder, 'data', 'standby.signal'), '');
  await server.resume();
  const standby = new PostgresDatabase({ url: own.url, poolSize: 2, logger: silent, clock: systemClock });
  try {
    await standby.start(AbortSignal.timeout(10_000));
    expect(await standby.all('SELECT pg_is_in_recovery() AS recovering')).toEqual([{ recovering: true }]);
    const refused = {
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringMatching(/name the primary server/),
    };
    expect(await settled(standby.run('INSERT INTO t VALUES (1)'))).toMatchObject(refused);
    expect(await settled(standby.all("SELECT pg_notify('x', '')"))).toMatchObject(refused);
    expect(standby.problem()).toBeUndefined();
  } finally {
    await standby.stop();
    await server.stop();
  }
  await connect();
}, 60_000);

describe('a user with no right but to log in, on a server that hides its system identifier', () => {
  const role = `least_${randomUUID().slice(0, 8)}`;
  const opened: PostgresDatabase[] = [];
  const openAs = async (url: string): Promise<PostgresDatabase> => {
    const asRole = new URL(url);
    asRole.username = role;
    asRole.password = 'least';
    const least = new PostgresDatabase({ url: asRole.href, poolSize: 2, logger: silent, clock: systemClock });
    opened.push(least);
    await least.start();
    return least;
  };
  const hide = (one: TestDatabase) =>
    one.psql('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC, CURRENT_USER');
  beforeEach(async () => {
    await connect();
    await database.psql(`CREATE ROLE ${role} LOGIN PASSWORD 'least'`);
    await hide(database);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.stop()));
    await db.run(`DROP ROLE ${role}`);
  });

  it('knows its installation: the same for every process on the database, another for another one', async () => {
    const least = await openAs(database.url);
    await expect(least.all('SELECT * FROM pg_control_system()')).rejects.toThrow(/permission denied/);
    expect(await least.identity()).toBe(await (await openAs(database.url)).identity());
    const other = await createTestDatabase();
    try {
      await hide(other);
      const elsewhere = await openAs(other.url);
      expect(await elsewhere.identity()).not.toBe(await least.identity());
      await elsewhere.stop();
    } finally {
      await other.drop();
    }
  });

  it('is not known by another name because the server did not answer once', async () => {
    const asked: string[] = [];
    const silentOnce: Pick<PostgresDatabase, 'all'> = {
      all: async (sql: string) => {
        asked.push(sql);
        throw new LightconeError('DATABASE_UNAVAILABLE', 'no answer');
      },
    };
    await expect(identifyPostgres(silentOnce as PostgresDatabase)).rejects.toThrow('no answer');
    expect(asked).toHaveLength(1);
  });
});

it('a transaction in which a failure was overlooked is not called committed', async () => {
  await connect();
  const asked = db.transaction(async (tx) => {
    await tx.run('INSERT INTO t VALUES (1)');
    await tx.run('INSERT INTO t VALUES (1)').catch(() => {});
  });
  await expect(asked).rejects.toMatchObject({ code: 'INTERNAL' });
  expect(await db.all('SELECT * FROM t')).toEqual([]);
});
