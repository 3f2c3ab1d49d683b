/** The test vectors of docs/vectors.md that a real database answers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import {
  type AnyDatabase,
  type DatabaseFixture,
  openMigrated,
  postgresFixture,
  sqliteFixture,
} from '../support/databases.js';
import { vectorsOf } from '../support/vectors.js';

interface Vector {
  position: string;
  rows: Record<string, number>;
  new: number[] | 'start over';
}

describe.each([
  ['snapshots', postgresFixture],
  ['numbers', sqliteFixture],
] as const)('the vectors of %s', (name, open) => {
  let fixture: DatabaseFixture;
  let db: AnyDatabase;

  beforeAll(async () => {
    fixture = await open();
    db = await openMigrated(fixture);
    await fixture.foreign("INSERT INTO galaxy_user (id, email, password, active) VALUES (1, 'a', '!', true)");
    for (let id = 1; id <= 6; id += 1) {
      await fixture.foreign(`INSERT INTO history (id, user_id, name) VALUES (${id}, 1, 'h')`);
    }
  });
  afterAll(() => fixture.close());

  it.each(vectorsOf<Vector>(name))(
    'to $position of $rows new are $new',
    async ({ position, rows, new: expected }) => {
      await fixture.foreign('DELETE FROM history_audit');
      const now = '2026-01-01 00:00:00';
      for (const [key, value] of Object.entries(rows)) {
        const [columns, values] =
          name === 'snapshots'
            ? ['history_id, update_time, xid', `${key}, '${now}', '${value}'`]
            : ['id, history_id, update_time', `${key}, ${value}, '${now}.00${key}'`];
        await fixture.foreign(`INSERT INTO history_audit (${columns}) VALUES (${values})`);
      }
      if (name === 'numbers')
        await fixture.foreign("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'history_audit'");
      const log = new SqlChangeLog(db);
      const id = await log.identify();
      const read = await log.since(`${id}.${position}`, { kind: 'all' });
      expect(read ? read.changes.map(({ historyId }) => historyId) : 'start over').toEqual(expected);
    },
  );
});
