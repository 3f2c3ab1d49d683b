/**
 * The log of a SQLite database: audit rows are numbered, and a position is a number. SQLite has one writer at a time,
 * so the order of the numbers is the order of the commits, and nothing becomes visible below a number that was read.
 */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { LightconeError } from '../../core/errors.js';
import { parseSql } from '../../lib/time.js';
import { utcNow } from '../dialect.js';
import type { ChangeScope, Sql } from '../port.js';
import { scopeCondition } from './scope.js';
import { type ChangeRow, OWNERS, type Piece, type Visibility } from './visibility.js';

/** It survives the pruning of rows. */
const LAST = `coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'history_audit'), 0)`;

interface Row extends ChangeRow {
  last: number;
  moment: string;
  fresh: number;
  last_fresh: number | null;
}

export class SequenceLog implements Visibility {
  constructor(private readonly db: Sql) {}

  /**
   * A copy that replaces the file is another log, because it may reuse numbers. A file without a name of its own gets
   * one here.
   */
  async identify(): Promise<string> {
    const [database] = await this.db.all<{ file: string }>(
      `SELECT file FROM pragma_database_list WHERE name = 'main'`,
    );
    const found = statSync(database!.file, { throwIfNoEntry: false });
    if (!found)
      throw new LightconeError('DATABASE_UNAVAILABLE', `database file ${database!.file} was deleted`);
    const place = `${found.dev}:${found.ino}`;
    return (await this.nameOf(place)) ?? this.giveName(place);
  }

  private async nameOf(place: string): Promise<string | undefined> {
    const [known] = await this.db.all<{ id: string }>('SELECT id FROM lightcone_log WHERE place = $1', [
      place,
    ]);
    return known?.id;
  }

  /** Two processes may do this at once: the first of them changes the row, and both read it. */
  private async giveName(place: string): Promise<string> {
    const name = [randomBytes(4).toString('hex'), place];
    await this.db.run('UPDATE lightcone_log SET id = $1, place = $2 WHERE place <> $2', name);
    await this.db.run(
      'INSERT INTO lightcone_log (id, place) SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM lightcone_log)',
      name,
    );
    return (await this.nameOf(place))!;
  }

  async end(): Promise<{ where: string; moment: number }> {
    const [row] = await this.db.all<{ last: number; moment: string }>(
      `SELECT ${LAST} AS last, ${utcNow('sqlite')} AS moment`,
    );
    return { where: String(row!.last), moment: parseSql(row!.moment) };
  }

  async mark(tx: Sql): Promise<bigint> {
    const [row] = await tx.all<{ last: number }>(`SELECT ${LAST} AS last`);
    return BigInt(row!.last);
  }

  async since(where: string, scope: ChangeScope, limit: number): Promise<Piece | undefined> {
    if (!/^\d{1,15}$/.test(where)) return undefined;
    const { condition, params } = scopeCondition(this.db, scope, 3);
    const rows = await this.db.all<Row>(
      `WITH fresh AS MATERIALIZED (
         SELECT a.id, a.history_id, a.update_time FROM history_audit a
          WHERE a.id > $1 AND ${condition} ORDER BY a.id LIMIT $2
       ), c AS (SELECT history_id, max(update_time) AS newest FROM fresh GROUP BY history_id)
       SELECT ${LAST} AS last, ${utcNow('sqlite')} AS moment,
              (SELECT count(*) FROM fresh) AS fresh, (SELECT max(id) FROM fresh) AS last_fresh,
              o.history_id, o.newest, o.user_id, o.session_id
         FROM (SELECT 1) one
         LEFT JOIN (SELECT c.history_id, c.newest, h.user_id, s.id AS session_id FROM c ${OWNERS}) o ON true
        ORDER BY o.history_id`,
      [Number(where), limit, ...params],
    );
    const { last, moment, fresh, last_fresh } = rows[0]!;
    if (Number(where) > last) return undefined;
    const complete = fresh < limit;
    return {
      where: String(complete ? last : last_fresh!),
      moment: parseSql(moment),
      complete,
      rows: rows.filter((row) => row.history_id !== null),
    };
  }
}
