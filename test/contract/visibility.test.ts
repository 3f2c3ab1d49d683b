/** *What became visible since* a position, on each kind of log: exact whatever order transactions begin and end in. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import type { LogPosition, LogRead } from '../../src/database/port.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { clientOptions } from '../../src/database/postgres/options.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { eventually, openMigrated, silent, sqliteFixture } from '../support/databases.js';
import { GALAXY_TABLES } from '../support/galaxy-tables.js';
import { createTestDatabase, type Postgres, startPostgres, type TestDatabase } from '../support/postgres.js';

const everything = { kind: 'all' } as const;

describe.each(['of its own', 'of a Galaxy'] as const)('the log of a PostgreSQL with tables %s', (kind) => {
  let server: Postgres;
  let database: TestDatabase;
  let db: PostgresDatabase;
  let log: SqlChangeLog;
  const open: pg.Client[] = [];

  beforeAll(async () => {
    server = await startPostgres({ settings: ['max_prepared_transactions=10', 'synchronous_commit=on'] });
    database = await createTestDatabase(server);
    db = new PostgresDatabase({ url: database.url, poolSize: 4, logger: silent, clock: systemClock });
    await db.start();
    if (kind === 'of its own') await migrate(db, silent);
    else await database.psql(GALAXY_TABLES);
    await database.psql(`INSERT INTO galaxy_user (email, password, active) VALUES ('a@x.org', '!', true);
      INSERT INTO history (user_id, name) SELECT 1, 'h' || i FROM generate_series(1, 40) i`);
    log = new SqlChangeLog(db);
  }, 60_000);
  afterEach(async () => {
    for (const client of open.splice(0)) await client.end().catch(() => {});
  });
  afterAll(async () => {
    await db.stop();
    await server.stop();
  });

  const touch = (id: number): string => `UPDATE history SET name = name || '.' WHERE id = ${id}`;
  const session = async (...statements: string[]): Promise<pg.Client> => {
    const client = new pg.Client(clientOptions(database.url, 'writer'));
    client.on('error', () => {});
    await client.connect();
    open.push(client);
    for (const statement of statements) await client.query(statement);
    return client;
  };
  /** Reads on from `position`, to the end. */
  const read = async (
    position: LogPosition,
  ): Promise<{ ids: number[]; position: LogPosition; last: LogRead }> => {
    const last = (await log.since(position, everything))!;
    return { ids: last.changes.map(({ historyId }) => historyId), position: last.position, last };
  };

  it('gives each change once, with its owner', async () => {
    let { position } = await log.end();
    await database.psql(touch(1));
    const first = await read(position);
    expect(first.last.changes).toMatchObject([{ historyId: 1, userId: 1, sessionIds: [] }]);
    ({ position } = first);
    expect((await read(position)).ids).toEqual([]);
  });

  it('gives a change of a long transaction once it is committed, and what others committed meanwhile only once', async () => {
    let { position } = await log.end();
    const long = await session('BEGIN', touch(2));
    const idle = await session('BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT 1', touch(39));
    for (const id of [3, 4, 5]) {
      await database.psql(touch(id));
      const next = await read(position);
      expect(next.ids).toEqual([id]);
      ({ position } = next);
    }
    await long.query('COMMIT');
    const late = await read(position);
    expect(late.ids).toEqual([2]);
    expect((await read(late.position)).ids).toEqual([]);
    await idle.query('ROLLBACK');
    expect((await read(late.position)).ids).toEqual([]);
  });

  it('gives what was written in savepoints, and nothing of what was rolled back', async () => {
    let { position } = await log.end();
    const one = await session(
      'BEGIN',
      'SAVEPOINT a',
      touch(6),
      'RELEASE a',
      'SAVEPOINT b',
      touch(7),
      'ROLLBACK TO b',
    );
    const two = await session('BEGIN', 'SAVEPOINT a', touch(8));
    const three = await session('BEGIN', touch(9));
    await database.psql(touch(10));
    const meanwhile = await read(position);
    expect(meanwhile.ids).toEqual([10]);
    ({ position } = meanwhile);
    // A position taken when the sub-transactions were already there.
    await one.query('COMMIT');
    await three.query('ROLLBACK');
    const after = await read(position);
    expect(after.ids).toEqual([6]);
    await two.query('COMMIT');
    expect((await read(after.position)).ids).toEqual([8]);
  });

  it('gives what was written in more savepoints than a server keeps in memory', async () => {
    let { position } = await log.end();
    const many = Array.from({ length: 200 }, (_, i) => `SAVEPOINT s${i}; ${touch(34)}; RELEASE s${i}`);
    const one = await session('BEGIN', ...many, 'SAVEPOINT last', touch(35), 'ROLLBACK TO last');
    const two = await session('BEGIN', ...many.slice(0, 100).map((it) => it.replaceAll('= 34', '= 36')));
    for (const id of [37, 38]) {
      await database.psql(touch(id));
      const meanwhile = await read(position);
      expect(meanwhile.ids).toEqual([id]);
      ({ position } = meanwhile);
    }
    expect(position.length).toBeLessThan(300);
    await one.query('COMMIT');
    const after = await read(position);
    expect(after.ids).toEqual([34]);
    await two.query('COMMIT');
    const last = await read(after.position);
    expect(last.ids).toEqual([36]);
    expect((await read(last.position)).ids).toEqual([]);
  });

  it('gives what was prepared before a restart of the server, and committed after it', async () => {
    const { position } = await log.end();
    const insert = 'INSERT INTO history_audit VALUES';
    for (const [id, end] of [
      [31, 'p3'],
      [32, 'p4'],
    ] as const) {
      await session(
        'BEGIN',
        'SAVEPOINT s',
        `${insert} (${id}, clock_timestamp() AT TIME ZONE 'UTC')`,
        `PREPARE TRANSACTION '${end}'`,
      );
    }
    const before = await read(position);
    expect(before.ids).toEqual([]);
    for (const client of open.splice(0)) await client.end();
    await server.restart('immediate');
    await database.psql(touch(33));
    const after = await eventually(() => read(before.position).catch(() => undefined));
    expect(after!.ids).toEqual([33]);
    await database.psql("COMMIT PREPARED 'p3'");
    await database.psql("ROLLBACK PREPARED 'p4'");
    expect((await read(after!.position)).ids).toEqual([31]);
    expect((await read(position)).ids).toEqual([31, 33]);
  });

  it('gives what was prepared when it is committed, over many reads', async () => {
    let { position } = await log.end();
    if (kind === 'of its own') {
      // NOTIFY, as the triggers send it, and PREPARE exclude each other: only the audit row counts here.
      await session(
        'BEGIN',
        'INSERT INTO history_audit VALUES (11, clock_timestamp())',
        "PREPARE TRANSACTION 'p1'",
      );
      await session(
        'BEGIN',
        'INSERT INTO history_audit VALUES (12, clock_timestamp())',
        "PREPARE TRANSACTION 'p2'",
      );
    } else {
      await session('BEGIN', touch(11), "PREPARE TRANSACTION 'p1'");
      await session('BEGIN', touch(12), "PREPARE TRANSACTION 'p2'");
    }
    for (const id of [13, 14]) {
      await database.psql(touch(id));
      const next = await read(position);
      expect(next.ids).toEqual([id]);
      ({ position } = next);
    }
    await database.psql("COMMIT PREPARED 'p1'");
    await database.psql("ROLLBACK PREPARED 'p2'");
    expect((await read(position)).ids).toEqual([11]);
  });

  it('is exact with many writers at once, seen from readers that began at different times', async () => {
    const from = [await log.end()];
    const expected: Set<number>[] = [new Set()];
    const writers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => session('BEGIN', 'SAVEPOINT s', touch(20 + i), 'RELEASE s')),
    );
    for (const [i, writer] of writers.entries()) {
      from.push(await log.end());
      expected.push(new Set());
      const commits = i % 3 !== 2;
      await writer.query(commits ? 'COMMIT' : 'ROLLBACK');
      if (commits) for (const ids of expected) ids.add(20 + i);
    }
    for (const [i, { position }] of from.entries()) {
      expect((await read(position)).ids).toEqual([...expected[i]!].sort((a, b) => a - b));
    }
  });

  it('survives VACUUM FREEZE and VACUUM FULL', async () => {
    const { position } = await log.end();
    await database.psql(touch(15));
    await database.psql('VACUUM FREEZE history_audit');
    expect((await read(position)).ids).toEqual([15]);
    await database.psql('VACUUM FULL history_audit');
    expect((await read(position)).ids).toEqual([15]);
  });

  it('reads past an audit row of the year infinity, whose time counts as now', async () => {
    const { position } = await log.end();
    await database.psql("INSERT INTO history_audit VALUES (16, 'infinity'), (17, '0044-03-15 BC')");
    await database.psql(touch(18));
    const { last } = await read(position);
    expect(last.changes.find(({ historyId }) => historyId === 16)?.newest).toBeLessThanOrEqual(last.moment);
    expect(last.changes.map(({ historyId }) => historyId)).toContain(18);
    expect(await log.changesOf([16])).toHaveLength(1);
    await database.psql('DELETE FROM history_audit WHERE history_id IN (16, 17)');
  });

  it('does not know the positions of another log, nor those that it has not reached', async () => {
    const { position } = await log.end();
    expect(await log.since(`00000000.${position.slice(9)}`, everything)).toBeUndefined();
    expect(await log.since(`${position.slice(0, 9)}nonsense`, everything)).toBeUndefined();
  });

  it('tells again, after a crash of the server, from a position that was stored', async () => {
    const aborted = await session('BEGIN', touch(19));
    const stored = await log.end();
    await database.psql(`CREATE TABLE stored AS SELECT '${stored.position}' AS position; CHECKPOINT`);
    // Numbers that were given to transactions of which nothing reached the disk are given out again.
    await aborted.query('ROLLBACK');
    for (const _ of [1, 2, 3]) await database.psql('SELECT pg_current_xact_id()');
    await server.restart('immediate');
    await database.psql(touch(30));
    expect((await read(stored.position)).ids).toContain(30);
  });

  if (kind === 'of its own') {
    it('reads a long past in pieces, in the order of transactions', async () => {
      let { position } = await log.end();
      const long = await session('BEGIN', touch(31));
      for (let id = 20; id < 30; id += 1) await database.psql(touch(id));
      const seen: number[] = [];
      let pieces = 0;
      for (;;) {
        const piece = (await log.since(position, everything, 3))!;
        seen.push(...piece.changes.map(({ historyId }) => historyId));
        ({ position } = piece);
        pieces += 1;
        if (pieces === 2) await long.query('COMMIT');
        if (piece.complete) break;
      }
      expect(pieces).toBeGreaterThanOrEqual(4);
      expect(seen.filter((id) => id !== 31)).toEqual([20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
      if (!seen.includes(31)) expect((await read(position)).ids).toEqual([31]);
    });

    it('gives each change of a long past once where the numbers of transactions become longer', async () => {
      await database.psql(`DO $$ DECLARE n bigint := pg_current_xact_id()::text::bigint; BEGIN
        FOR i IN 1 .. 10 ^ length(n::text) - n - 8 LOOP COMMIT; PERFORM pg_current_xact_id(); END LOOP; END $$`);
      let { position } = await log.end();
      for (let id = 20; id < 30; id += 1) await database.psql(touch(id));
      const seen: number[] = [];
      for (let complete = false; !complete; ) {
        const piece = (await log.since(position, everything, 4))!;
        seen.push(...piece.changes.map(({ historyId }) => historyId));
        ({ position, complete } = piece);
      }
      expect(seen).toEqual([20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
    });

    it('gives a transaction that is larger than a piece whole', async () => {
      const { position } = await log.end();
      await database.psql("UPDATE history SET name = 'all'");
      const piece = (await log.since(position, everything, 5))!;
      expect(piece.changes).toHaveLength(40);
      expect((await log.since(piece.position, everything, 5))?.changes).toEqual([]);
    });

    it('takes rows that were copied from another server, with its numbers, for old', async () => {
      await database.psql(
        "INSERT INTO history_audit (history_id, update_time, xid) VALUES (33, now(), '99999999999')",
      );
      const { position } = await log.end();
      expect((await read(position)).ids).toEqual([33]);
      await new SqlChangeLog(db).identify();
      expect((await read(position)).ids).toEqual([]);
    });
  }
});

describe('the log of a SQLite database', () => {
  it('gives two changes of one history in one millisecond as two, and no number twice', async () => {
    const fixture = await sqliteFixture();
    try {
      const db = await openMigrated(fixture);
      await fixture.foreign(`INSERT INTO galaxy_user (id, email, password, active) VALUES (1, 'a', '!', true);
        INSERT INTO history (id, user_id, name) VALUES (1, 1, 'h')`);
      const log = new SqlChangeLog(db);
      let { position } = await log.end();
      const time = '2026-01-01 00:00:00.000';
      for (let n = 0; n < 3; n += 1) {
        await fixture.foreign(`INSERT INTO history_audit (history_id, update_time) VALUES (1, '${time}')`);
        const read = (await log.since(position, everything))!;
        expect(read.changes).toHaveLength(1);
        ({ position } = read);
        await fixture.foreign('DELETE FROM history_audit');
      }
      expect((await log.since(position, everything))!.changes).toEqual([]);
      // Numbers that this file has not given out: it was put in the place of another.
      expect(await log.since(position.replace(/\d+$/, '99'), everything)).toBeUndefined();
    } finally {
      await fixture.close();
    }
  });
});
