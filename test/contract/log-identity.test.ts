/** The name of the log on SQLite, which the first process to look gives to a file. */
import { expect, it } from 'vitest';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { openMigrated, sqliteFixture } from '../support/databases.js';

it('two processes that start on a new file at once call its log by one name, and keep to it', async () => {
  const fixture = await sqliteFixture();
  try {
    const first = await openMigrated(fixture);
    const second = fixture.open();
    await second.start();
    const identify = () => Promise.all([first, second].map((db) => new SqlChangeLog(db).identify()));
    const [name, other] = await identify();
    expect(other).toBe(name);
    expect(await identify()).toEqual([name, name]);
    // As after a copy of the file took its place.
    await fixture.foreign("UPDATE lightcone_log SET place = 'elsewhere'");
    const [renamed, also] = await identify();
    expect(also).toBe(renamed);
    expect(renamed).not.toBe(name);
  } finally {
    await fixture.close();
  }
});
