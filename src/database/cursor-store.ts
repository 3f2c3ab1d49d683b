import type { Cursor } from '../core/events.js';
import { formatSql, parseSql } from '../core/time.js';
import { utcNow } from './dialect.js';
import type { CursorStore, Database } from './port.js';

export class SqlCursorStore implements CursorStore {
  constructor(private readonly db: Database) {}

  async read(role: string): Promise<Cursor | undefined> {
    const [row] = await this.db.all<{ cursor: string }>(
      'SELECT cursor FROM lightcone_cursor WHERE role = $1',
      [role],
    );
    return row && parseSql(row.cursor);
  }

  /** A cursor never goes back: a leader that lost its role a moment ago may still write. */
  async write(role: string, cursor: Cursor): Promise<void> {
    await this.db.run(
      `INSERT INTO lightcone_cursor (role, cursor, update_time)
       VALUES ($1, $2, ${utcNow(this.db.dialect)})
       ON CONFLICT (role) DO UPDATE SET cursor = excluded.cursor, update_time = excluded.update_time
        WHERE lightcone_cursor.cursor < excluded.cursor`,
      [role, formatSql(cursor)],
    );
  }
}

/** Beside a Galaxy whose database user may not write the table: a new leader starts at the database's clock. */
export const noCursorStore: CursorStore = {
  async read() {
    return undefined;
  },
  async write() {},
};
