/**
 * What administrators do to the files of a database, and to its numbers: a copy of the files is put back, a dump is put into the
 * tables that are there, the WAL is thrown away, numbers of 32 bits begin again. Each is another log, or the same one; nobody is
 * told that nothing changed where something did.
 */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import type { LogPosition } from '../../src/database/port.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { clientOptions } from '../../src/database/postgres/options.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { eventually, openMigrated, silent, sqliteFixture } from '../support/databases.js';
import { GALAXY_TABLES } from '../support/galaxy-tables.js';
import {
  copyDatabase,
  createTestDatabase,
  type Postgres,
  startPostgres,
  type TestDatabase,
} from '../support/postgres.js';

const everything = { kind: 'all' } as const;
const touch = (id: number): string => `UPDATE history SET name = name || '.' WHERE id = ${id}`;
const PEOPLE = `INSERT INTO galaxy_user (email, password, active) VALUES ('a@x.org', '!', true);
  INSERT INTO history (user_id, name) SELECT 1, 'h' || i FROM generate_series(1, 9) i`;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** What became visible since, or `start over`. */
async function since(log: SqlChangeLog, position: LogPosition): Promise<number[] | 'start over'> {
  const read = await log.since(position, everything);
  return read ? read.changes.map(({ historyId }) => historyId) : 'start over';
}

async function connect(url: string): Promise<PostgresDatabase> {
  const db = new PostgresDatabase({ url, poolSize: 2, logger: silent, clock: systemClock });
  closing.push(() => db.stop());
  await db.start();
  return db;
}

describe.each(['of its own', 'of a Galaxy'] as const)('a PostgreSQL with tables %s', (kind) => {
  let server: Postgres;
  let database: TestDatabase;
  let log: SqlChangeLog;

  async function prepare(resetwal: () => Promise<void> = async () => {}): Promise<void> {
    server = await startPostgres({ settings: ['autovacuum=off'] });
    closing.push(() => server.stop());
    await resetwal();
    database = await createTestDatabase(server);
    const db = await connect(database.url);
    if (kind === 'of a Galaxy') await database.psql(GALAXY_TABLES);
    else await migrate(db, silent);
    await database.psql(PEOPLE);
    log = new SqlChangeLog(db);
  }

  /** The server was away: connections are made anew. */
  const isBack = (position: LogPosition) =>
    eventually(() => since(log, position).catch(() => undefined), { within: 10_000, what: 'an answer' });

  it('whose files were put back to an earlier state is another log for who has seen a later one', async () => {
    await prepare();
    await database.psql(touch(1));
    const early = (await log.end()).position;
    await server.halt();
    const copy = `${server.data}-copy`;
    await server.asServer('cp', '-a', server.data, copy);
    await server.resume();
    for (const id of [2, 3]) await database.psql(touch(id));
    const late = (await log.end()).position;
    await server.halt();
    await server.asServer('rm', '-r', server.data);
    await server.asServer('mv', copy, server.data);
    await server.resume();
    expect(await isBack(late)).toBe('start over');
    // Who has seen nothing of it goes on.
    await database.psql(touch(4));
    expect(await since(log, early)).toEqual([4]);
  });

  it('whose WAL was thrown away is another log for who has seen what was in it', async () => {
    await prepare();
    await database.psql(`${touch(1)}; CHECKPOINT`);
    for (const id of [2, 3]) await database.psql(touch(id));
    const { position } = await log.end();
    await server.halt('immediate');
    await server.asServer('pg_resetwal', '-f', '-D', server.data);
    await server.resume();
    expect(await isBack(position)).toBe('start over');
  });

  it('that a dump was put into is another log, although server, database and numbers are the same', async () => {
    await prepare();
    await database.psql(touch(1));
    const { position } = await log.end();
    await copyDatabase(database.url, database.url, '--clean', '--if-exists');
    expect(await since(log, position)).toBe('start over');
    const { position: after } = await log.end();
    expect(after.split('.')[0]).not.toBe(position.split('.')[0]);
    await database.psql(touch(2));
    expect(await since(log, after)).toEqual([2]);
  });

  it('is read across the end of 32 bits', async () => {
    const first = 2 ** 32 - 150;
    await prepare(async () => {
      const url = new URL(server.url);
      for (const name of ['postgres', 'template1']) {
        url.pathname = `/${name}`;
        const client = new pg.Client(clientOptions(url.href, 'psql'));
        await client.connect();
        await client.query('VACUUM FREEZE');
        await client.end();
      }
      await server.halt();
      const oldest = String(first - 1_000_000);
      await server.asServer('pg_resetwal', '-u', oldest, '-x', String(first), '-D', server.data);
      const segment = join(
        server.data,
        'pg_xact',
        Math.floor(first / 2 ** 20)
          .toString(16)
          .toUpperCase()
          .padStart(4, '0'),
      );
      await server.asServer('dd', 'if=/dev/zero', `of=${segment}`, 'bs=8192', 'count=32');
      await server.resume();
    });
    const client = new pg.Client(clientOptions(database.url, 'writer'));
    await client.connect();
    closing.push(() => client.end());
    const long = new pg.Client(clientOptions(database.url, 'writer'));
    await long.connect();
    closing.push(() => long.end());
    await long.query(`BEGIN; SAVEPOINT s; ${touch(9)}; RELEASE s`);
    let { position } = await log.end();
    const begun = position;
    let number = 0n;
    for (let n = 0; n < 250; n += 1) {
      const id = 1 + (n % 8);
      await client.query(touch(id));
      const read = (await log.since(position, everything))!;
      expect(read.changes.map(({ historyId }) => historyId)).toEqual([id]);
      ({ position } = read);
    }
    number = BigInt((await client.query('SELECT pg_current_xact_id()::text AS xid')).rows[0].xid);
    expect(number).toBeGreaterThan(2n ** 32n);
    await long.query('COMMIT');
    expect(await since(log, position)).toEqual([9]);
    expect(await since(log, begun)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
});

describe('a SQLite database', () => {
  it('into whose file a backup was copied is another log for who has seen a later state', async () => {
    const fixture = await sqliteFixture();
    closing.push(() => fixture.close());
    const db = await openMigrated(fixture);
    await fixture.foreign(`INSERT INTO galaxy_user (id, email, password, active) VALUES (1, 'a', '!', true);
      INSERT INTO history (id, user_id, name) VALUES (1, 1, 'h'), (2, 1, 'i')`);
    const log = new SqlChangeLog(db);
    const early = (await log.end()).position;
    const [main] = await db.all<{ file: string }>(
      "SELECT file FROM pragma_database_list WHERE name = 'main'",
    );
    const { file } = main!;
    const backup = `${file}.backup`;
    await fixture.foreign(`VACUUM INTO '${backup}'`);
    await fixture.foreign(touch(1));
    const late = (await log.end()).position;
    expect(await since(log, early)).toEqual([1]);
    await db.stop();
    // As `cp` does it: into the file that is there, which keeps its place.
    await copyFile(backup, file);
    const again = new SqlChangeLog(await openMigrated(fixture));
    expect(await since(again, late)).toBe('start over');
    await fixture.foreign(touch(2));
    expect(await since(again, early)).toEqual([2]);
  });
});
