/** `lightcone migrate --attach --quiet-triggers`: a condition is put into Galaxy's triggers, and taken out again. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { hasQuietTriggers } from '../../src/database/poll-source.js';
import { PostgresDatabase } from '../../src/database/postgres/database.js';
import { changeGalaxyTriggers } from '../../src/database/postgres/galaxy-triggers.js';
import { systemClock } from '../../src/lib/clock.js';
import { silent } from '../support/databases.js';
import { auditTriggers, GALAXY_TABLES } from '../support/galaxy-tables.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

let galaxy: TestDatabase;
let db: PostgresDatabase;

/** The shape of 26.1: a loop over the histories. */
const loop = (column: string): string => `
  CREATE OR REPLACE FUNCTION fn_audit_history_by_${column}() RETURNS trigger LANGUAGE plpgsql AS $body$
    DECLARE one_history integer;
    BEGIN
      INSERT INTO history_audit (history_id, update_time)
      SELECT DISTINCT ${column}, clock_timestamp() AT TIME ZONE 'UTC'
        FROM new_table
       WHERE ${column} IS NOT NULL
      ON CONFLICT DO NOTHING;
      FOR one_history IN SELECT DISTINCT ${column} FROM new_table WHERE ${column} IS NOT NULL
      LOOP
        PERFORM pg_notify('galaxy_history_update', one_history::text);
      END LOOP;
      RETURN NULL;
    END;
  $body$`;
const bodies = () =>
  galaxy.psql("SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'fn_audit_history_by_%' ORDER BY 1");
beforeEach(async () => {
  galaxy = await createTestDatabase();
  await galaxy.psql(`${GALAXY_TABLES}
    INSERT INTO galaxy_user (email, password, active) VALUES ('alice@example.org', '', true);
    INSERT INTO history (user_id, name) VALUES (1, 'hers');
    ${loop('id')}; ${loop('history_id')}`);
  db = new PostgresDatabase({ url: galaxy.url, poolSize: 2, logger: silent, clock: systemClock });
  await db.start();
});
afterEach(async () => {
  await db.stop();
  await galaxy.drop();
});

it('makes the triggers of 26.1 quiet, and gives back the very text', async () => {
  const before = await bodies();
  expect(await hasQuietTriggers(db)).toBe(false);
  expect((await changeGalaxyTriggers(db, 'quiet')).sort()).toEqual([
    'fn_audit_history_by_history_id',
    'fn_audit_history_by_id',
  ]);
  expect(await hasQuietTriggers(db)).toBe(true);
  expect(await changeGalaxyTriggers(db, 'quiet')).toEqual([]);
  await galaxy.psql("UPDATE history SET name = 'x'");
  expect(await galaxy.psql('SELECT DISTINCT history_id FROM history_audit')).toEqual([{ history_id: 1 }]);
  await changeGalaxyTriggers(db, 'noisy');
  expect(await bodies()).toEqual(before);
  expect(await changeGalaxyTriggers(db, 'noisy')).toEqual([]);
});

it('takes one statement in place of the loop, too', async () => {
  const notify = (column: string) =>
    `PERFORM pg_notify('galaxy_history_update', i::text) FROM (SELECT DISTINCT ${column} AS i FROM new_table WHERE ${column} IS NOT NULL) t;`;
  await galaxy.psql('DROP FUNCTION fn_audit_history_by_id, fn_audit_history_by_history_id CASCADE');
  await galaxy.psql(
    auditTriggers('by_id', 'id', ['history'], notify('id')) +
      auditTriggers('by_history_id', 'history_id', ['history_dataset_association'], notify('history_id')),
  );
  expect(await changeGalaxyTriggers(db, 'quiet')).toHaveLength(2);
});

it.each([
  ['does something else as well', loop('id').replace('RETURN NULL;', 'DELETE FROM job; RETURN NULL;')],
  ['writes CURRENT_TIMESTAMP', loop('id').replace('clock_timestamp()', 'CURRENT_TIMESTAMP')],
  ['sends no NOTIFY', loop('id').replace(/FOR[^$]*LOOP;/, '')],
  ['notifies on another channel', loop('id').replace('galaxy_history_update', 'elsewhere')],
])('changes nothing where one body %s', async (_what, odd) => {
  await galaxy.psql(odd);
  const before = await bodies();
  await expect(changeGalaxyTriggers(db, 'quiet')).rejects.toMatchObject({ code: 'DATABASE_SCHEMA' });
  expect(await bodies()).toEqual(before);
});
