import { formatSql, type Micros, parseSql } from '../lib/time.js';
import type { Database, LogEnd, PositionStore } from './port.js';
import { hasTable } from './schema.js';

interface Row {
  moment: string;
  position: string;
  [column: string]: unknown;
}

/** Entries are kept for this time, */
const KEPT_SECONDS = 86_400;
/** all of them for this time, later one a minute. An older entry causes duplicates, never losses. */
const KEPT_WHOLE_SECONDS = 900;
const CLEAR_EACH = 30;

export class SqlPositionStore implements PositionStore {
  readonly keeps = true;
  private added = 0;

  constructor(private readonly db: Database) {}

  async entries(): Promise<LogEnd[]> {
    // Beside a Galaxy the monitor creates it, if it may.
    if (!(await hasTable(this.db, 'lightcone_position'))) return [];
    const rows = await this.db.all<Row>('SELECT moment, position FROM lightcone_position ORDER BY id');
    return rows.map(entryOf);
  }

  async newest(log: string): Promise<LogEnd | undefined> {
    const [row] = await this.db.all<Row>(
      'SELECT moment, position FROM lightcone_position WHERE position LIKE $1 ORDER BY id DESC LIMIT 1',
      [`${log}.%`],
    );
    return row && entryOf(row);
  }

  async add({ position, moment }: LogEnd): Promise<void> {
    await this.db.run(
      this.db.dialect === 'postgresql'
        ? // On disk before it counts: a server that crashes gives out again what it does not remember.
          `INSERT INTO lightcone_position (moment, position)
           SELECT $1::timestamp, $2 FROM set_config('synchronous_commit', 'on', true)`
        : 'INSERT INTO lightcone_position (moment, position) VALUES ($1, $2)',
      [formatSql(moment), position],
    );
    this.added += 1;
    if (this.added % CLEAR_EACH === 0) await this.clear(moment);
  }

  private async clear(now: Micros): Promise<void> {
    const before = (seconds: number): string => formatSql(now - seconds * 1_000_000);
    const minute = (table: string): string =>
      this.db.dialect === 'postgresql'
        ? `date_trunc('minute', ${table}.moment)`
        : `substr(${table}.moment, 1, 16)`;
    await this.db.run(
      `DELETE FROM lightcone_position AS p WHERE p.moment < $1 OR (p.moment < $2 AND EXISTS (
         SELECT 1 FROM lightcone_position e WHERE e.id < p.id AND ${minute('e')} = ${minute('p')}))`,
      [before(KEPT_SECONDS), before(KEPT_WHOLE_SECONDS)],
    );
  }
}

const entryOf = ({ moment, position }: Row): LogEnd => ({ position, moment: parseSql(moment) });

/** For a Galaxy whose database user may not write the table: a new leader then reads by time. */
export const noPositionStore: PositionStore = {
  keeps: false,
  async entries() {
    return [];
  },
  async newest() {
    return undefined;
  },
  async add() {},
};
