/**
 * What happens to a PostgreSQL itself, and to the log in it: each is an ordinary event. One throw-away server whose transaction
 * numbers are beyond 32 bits, and a standby of it.
 */
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { XminLog } from '../../src/database/log/xmin-log.js';
import type { LogPosition, Sql, SqlRow, SqlValue } from '../../src/database/port.js';
import { SqlPositionStore } from '../../src/database/position-store.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { clientOptions } from '../../src/database/postgres/options.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { pruneAudit } from '../../src/maintenance/jobs.js';
import { eventually, silent } from '../support/databases.js';
import { auditTriggers, GALAXY_TABLES } from '../support/galaxy-tables.js';
import {
  copyDatabase,
  createTestDatabase,
  type Postgres,
  startPostgres,
  type TestDatabase,
} from '../support/postgres.js';

const everything = { kind: 'all' } as const;
const KINDS = ['of its own', 'of a Galaxy'] as const;
const PEOPLE = `INSERT INTO galaxy_user (email, password, active) VALUES ('a@x.org', '!', true);
  INSERT INTO history (user_id, name) SELECT 1, 'h' || i FROM generate_series(1, 20) i`;

let server: Postgres;
const databases: TestDatabase[] = [];
const opened: { stop(): Promise<void> }[] = [];
const sessions: pg.Client[] = [];

beforeAll(async () => {
  server = await startPostgres({
    // What is not committed with `synchronous_commit` reaches no disk by itself.
    settings: ['synchronous_commit=on', 'wal_writer_delay=10s'],
    resetwal: ['-e', '1'],
  });
}, 60_000);
afterEach(async () => {
  for (const client of sessions.splice(0)) await client.end().catch(() => {});
  for (const it of opened.splice(0).reverse()) await it.stop();
});
afterAll(async () => {
  await server.stop();
});

async function open(url: string): Promise<{ db: PostgresDatabase; log: SqlChangeLog }> {
  const db = new PostgresDatabase({ url, poolSize: 4, logger: silent, clock: systemClock });
  opened.push(db);
  await db.start();
  return { db, log: new SqlChangeLog(db) };
}

async function session(url: string, ...statements: string[]): Promise<pg.Client> {
  const client = new pg.Client(clientOptions(url, 'writer'));
  client.on('error', () => {});
  await client.connect();
  sessions.push(client);
  for (const statement of statements) await client.query(statement);
  return client;
}

/** What became visible since, or `start over`. */
async function since(log: SqlChangeLog, position: LogPosition): Promise<number[] | 'start over'> {
  const read = await log.since(position, everything);
  return read ? read.changes.map(({ historyId }) => historyId) : 'start over';
}

const touch = (id: number): string => `UPDATE history SET name = name || '.' WHERE id = ${id}`;

describe.each(KINDS)('a log %s', (kind) => {
  let database: TestDatabase;
  let db: PostgresDatabase;
  let log: SqlChangeLog;

  beforeAll(async () => {
    database = await createTestDatabase(server);
    databases.push(database);
    if (kind === 'of a Galaxy') await database.psql(GALAXY_TABLES);
    else {
      const own = new PostgresDatabase({
        url: database.url,
        poolSize: 2,
        logger: silent,
        clock: systemClock,
      });
      await own.start();
      await migrate(own, silent);
      await own.stop();
    }
    await database.psql(PEOPLE);
  });
  const begin = async (): Promise<LogPosition> => {
    ({ db, log } = await open(database.url));
    return (await log.end()).position;
  };

  it('has numbers of a second epoch', async () => {
    const position = await begin();
    const [row] = await database.psql<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
    expect(BigInt(row!.xid)).toBeGreaterThan(2n ** 32n);
    const long = await session(database.url, 'BEGIN', 'SAVEPOINT s', touch(1), 'RELEASE s');
    await database.psql(touch(2));
    const first = (await log.since(position, everything))!;
    expect(first.changes.map(({ historyId }) => historyId)).toEqual([2]);
    await long.query('COMMIT');
    expect(await since(log, first.position)).toEqual([1]);
  });

  it('is read on from a stored position after a kill -9, which gives numbers of before out again', async () => {
    await begin();
    await db.run(
      `CREATE TABLE IF NOT EXISTS lightcone_position (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
         moment timestamp without time zone NOT NULL, position text NOT NULL)`,
    );
    const store = new SqlPositionStore(db);
    await store.add(await log.end());
    // They wrote nothing, and one of them has ended: whoever looks now believes that theirs are used up.
    const numbers: string[] = [];
    for (let n = 0; n < 6; n += 1) {
      const client = await session(database.url, 'BEGIN');
      const { rows } = await client.query('SELECT pg_current_xact_id()::text AS xid');
      numbers.push(rows[0].xid);
      await client.query('ROLLBACK');
    }
    const inMemory = (await log.end()).position;
    const victim = await session(database.url);
    const { rows } = await victim.query('SELECT pg_backend_pid() AS pid');
    const lost = new Promise((resolve) => victim.once('end', resolve));
    process.kill(rows[0].pid, 'SIGKILL');
    await lost;
    // The server ends all sessions, then recovers.
    const isBack = async () => (await database.psql('SELECT 1').catch(() => [])).length > 0;
    await eventually(isBack, { within: 20_000, what: 'the server is back' });
    const writer = await session(database.url, 'BEGIN', touch(3));
    const given = await writer.query('SELECT pg_current_xact_id()::text AS xid');
    await writer.query('COMMIT');
    expect(numbers).toContain(given.rows[0].xid);
    expect(await since(log, inMemory)).not.toContain(3);
    const stored = (await eventually(() => store.newest(inMemory.split('.')[0]!).catch(() => undefined)))!;
    expect(await since(log, stored.position)).toContain(3);
  });

  it('that was dumped and restored elsewhere is another log, in which the copied rows are old', async () => {
    await database.psql(touch(4));
    const position = await begin();
    const copy = await createTestDatabase();
    try {
      await copyDatabase(database.url, copy.url);
      const restored = await open(copy.url);
      expect(await since(restored.log, position)).toBe('start over');
      const { position: there } = await restored.log.end();
      expect(there.split('.')[0]).not.toBe(position.split('.')[0]);
      await copy.psql(touch(5));
      expect(await since(restored.log, there)).toEqual([5]);
      // Where they came from nothing has changed.
      expect(await since(log, position)).toEqual([]);
      await restored.db.stop();
    } finally {
      await copy.drop();
    }
  });

  it('is read through VACUUM FREEZE and VACUUM FULL', async () => {
    const position = await begin();
    await database.psql(touch(6));
    for (const how of ['FREEZE', 'FULL', 'FULL, FREEZE']) {
      await database.psql(`VACUUM (${how}) history_audit`);
      expect(await since(log, position)).toEqual([6]);
    }
  });

  it('tells what COPY FREEZE put in, and what comes after', async () => {
    const position = await begin();
    const columns = 'history_id, update_time';
    const file = join(tmpdir(), `${new URL(database.url).pathname.slice(1)}.copy`);
    await database.psql(`COPY (SELECT ${columns} FROM history_audit) TO '${file}';
      BEGIN; TRUNCATE history_audit; COPY history_audit (${columns}) FROM '${file}' (FREEZE); COMMIT`);
    await rm(file);
    const read = (await log.since(position, everything))!;
    expect(read.changes.length).toBeGreaterThan(0);
    await database.psql(touch(7));
    expect(await since(log, read.position)).toEqual([7]);
  });

  it('does not lose a row that was committed late and pruned unread: another one of its history stands for it', async () => {
    await begin();
    const long = await session(database.url, 'BEGIN', touch(8));
    await database.psql(
      touch(8).replace('name', 'slug').replace("name || '.'", "'s'").replace('id = 8', 'id = 9'),
    );
    const { position } = await log.end();
    await long.query('COMMIT');
    if (kind === 'of its own') {
      await database.psql(
        `INSERT INTO history_audit (history_id, update_time, xid) VALUES (8, now() AT TIME ZONE 'UTC' + interval '1 s', '3')`,
      );
      const store = new SqlPositionStore(db);
      await store.add({ position, moment: (await db.now()) - 3_600_000_000 });
      await database.psql(
        "UPDATE history_audit SET update_time = update_time - interval '2 hours' WHERE xid > '3' AND history_id = 8",
      );
      await pruneAudit(db, 60, new AbortController().signal);
    } else {
      // As Galaxy prunes: all but the newest row of each history.
      await database.psql(`DELETE FROM history_audit a WHERE EXISTS (SELECT 1 FROM history_audit n
        WHERE n.history_id = a.history_id AND n.update_time > a.update_time)`);
    }
    expect(await since(log, position)).toEqual([8]);
  });

  it('of a standby that was promoted is another one: commits may be lost, and their numbers come again', async () => {
    const position = await begin();
    const standby = await startPostgres({ standbyOf: server, settings: ['hot_standby=on'] });
    try {
      const url = new URL(database.url);
      url.port = String(standby.port);
      const there = await session(url.href);
      await database.psql(touch(10));
      await there.query('SELECT pg_promote()');
      const promoted = await open(url.href);
      expect(await since(promoted.log, position)).toBe('start over');
      const { position: after } = await promoted.log.end();
      await there.query(touch(11));
      expect(await since(promoted.log, after)).toEqual([11]);
      // The one of before goes on under its name.
      expect(await since(log, position)).toEqual([10]);
    } finally {
      for (const client of sessions.splice(0)) await client.end().catch(() => {});
      for (const it of opened.splice(0).reverse()) await it.stop();
      await standby.stop();
    }
  });
});

describe('triggers of a Galaxy', () => {
  it('are looked at again where the first look failed', async () => {
    const database = await createTestDatabase(server);
    databases.push(database);
    await database.psql(GALAXY_TABLES);
    await database.psql(PEOPLE);
    const { db } = await open(database.url);
    let failures = 0;
    const failing: Sql = Object.assign(Object.create(db) as Sql, {
      all: async <Row extends SqlRow>(text: string, params?: SqlValue[]): Promise<Row[]> => {
        if (text.includes('pg_trigger') && failures === 0) {
          failures += 1;
          throw new Error('the database is away');
        }
        return db.all<Row>(text, params);
      },
    });
    const log = new XminLog(failing);
    await log.identify();
    await expect(log.end()).rejects.toThrow('away');
    const { where } = await log.end();
    await database.psql(touch(1));
    expect((await log.since(where, everything))!.rows.map((row) => row.history_id)).toEqual([1]);
    expect(failures).toBe(1);
  });

  it.each([
    ['of before June 2025 write when their transaction began', "CURRENT_TIMESTAMP AT TIME ZONE 'UTC'"],
    ['of today write the time of the statement', "clock_timestamp() AT TIME ZONE 'UTC'"],
  ])('%s; what a long transaction wrote is read once it is committed', async (_, now) => {
    const database = await createTestDatabase(server);
    databases.push(database);
    await database.psql(GALAXY_TABLES);
    const triggers = auditTriggers('by_id', 'id', ['history']).replaceAll(
      'CREATE TRIGGER',
      'CREATE OR REPLACE TRIGGER',
    );
    await database.psql(triggers.replaceAll("clock_timestamp() AT TIME ZONE 'UTC'", now));
    await database.psql(PEOPLE);
    const { log } = await open(database.url);
    // Begun long before it writes, and before the first look.
    const long = await session(database.url, 'BEGIN');
    await long.query('SELECT 1');
    let { position } = await log.end();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    for (const id of [1, 2]) {
      await database.psql(touch(id));
      const read = (await log.since(position, everything))!;
      expect(read.changes.map(({ historyId }) => historyId)).toEqual([id]);
      ({ position } = read);
    }
    await long.query(touch(3));
    const meanwhile = (await log.since(position, everything))!;
    expect(meanwhile.changes).toEqual([]);
    await long.query('COMMIT');
    const late = (await log.since(meanwhile.position, everything))!;
    expect(late.changes.map(({ historyId }) => historyId)).toEqual([3]);
    // It waits for long, then writes and commits between two looks.
    await long.query('BEGIN; SELECT 1');
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const { position: waiting } = (await log.since(late.position, everything))!;
    await long.query(touch(4));
    await long.query('COMMIT');
    const quick = (await log.since(waiting, everything))!;
    expect(quick.changes.map(({ historyId }) => historyId)).toEqual([4]);
    expect(await since(log, quick.position)).toEqual([]);
  });
});
