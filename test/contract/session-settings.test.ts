/** Settings of role, database or server that change how a session reads and writes: none of them changes what we say. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { addUser } from '../../src/database/demo.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { migrate } from '../../src/database/schema.js';
import { systemClock } from '../../src/lib/clock.js';
import { MICROS_PER_SECOND } from '../../src/lib/time.js';
import { silent } from '../support/databases.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

let here: TestDatabase;
let name: string;
let running: PostgresDatabase;
const opened: PostgresDatabase[] = [];

async function open(): Promise<PostgresDatabase> {
  const db = new PostgresDatabase({ url: here.url, poolSize: 2, logger: silent, clock: systemClock });
  opened.push(db);
  await db.start();
  return db;
}

beforeAll(async () => {
  here = await createTestDatabase();
  name = new URL(here.url).pathname.slice(1);
  running = await open();
  await migrate(running, silent);
  await addUser(running, 'ae@example.org');
  await running.run(
    "INSERT INTO history (id, user_id, name, create_time, update_time) VALUES (1, 1, 'Grüße 100%', now(), now())",
  );
});
afterAll(async () => {
  await Promise.all(opened.map((db) => db.stop()));
  await here.drop();
});

/** A change is written and read back with its time, a pattern matches, text keeps its letters. */
async function works(db: PostgresDatabase): Promise<void> {
  const before = await db.now();
  await db.transaction((tx) => tx.run("UPDATE history SET name = 'Grüße 100%' WHERE id = 1"));
  const [change, ...more] = await new SqlChangeLog(db).changesOf([1]);
  expect(more).toEqual([]);
  expect(Math.abs(change!.newest - before)).toBeLessThan(30 * MICROS_PER_SECOND);
  const rows = await db.all("SELECT name FROM history WHERE name LIKE $1 ESCAPE '\\'", ['Grüße 100\\%']);
  expect(rows).toEqual([{ name: 'Grüße 100%' }]);
}

describe.each([
  ['DateStyle', 'German'],
  ['DateStyle', 'SQL, DMY'],
  ['DateStyle', 'Postgres, MDY'],
  ['IntervalStyle', 'iso_8601'],
  ['TimeZone', 'Pacific/Kiritimati'],
  ['standard_conforming_strings', 'off'],
  ['backslash_quote', 'off'],
  ['client_encoding', 'LATIN1'],
  ['extra_float_digits', '-15'],
  ['bytea_output', 'escape'],
  ['default_transaction_isolation', 'serializable'],
])('%s = %s', (setting, value) => {
  it('as a setting of the database, at a start and while it runs', async () => {
    await here.psql(`ALTER DATABASE ${name} SET ${setting} = '${value}'`);
    try {
      await works(await open());
      // A new connection, as after any interruption, has the new setting.
      await here.psql(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      );
      await expect.poll(() => works(running).then(() => 'works', String), { timeout: 5_000 }).toBe('works');
    } finally {
      await here.psql(`ALTER DATABASE ${name} RESET ${setting}`);
    }
  });
});
