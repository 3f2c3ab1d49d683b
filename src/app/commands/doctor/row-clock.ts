/**
 * Measures the difference between the clocks that stamp rows and the clock of the database. A trigger writes an audit
 * row at the moment at which the writer stamps a dataset, so the two times of one transaction reveal it.
 */
import { parseSql } from '../../../lib/time.js';
import type { WatchedDatabase } from '../../wiring/infrastructure.js';
import { type Finding, note, ok, problem } from './finding.js';

/** Longer than a trigger takes. */
const TOLERANCE_SECONDS = 1;
const RECENT = 200;
/** The SQLSTATE, because the server's message is in its own language. */
const NOT_ALLOWED = '42501';
const DATASETS = 'history_dataset_association';

/** The last change of each recent transaction (SQLite: write) to the datasets of a history. */
const SQL = {
  postgresql: `
    SELECT max(a.update_time) AS noticed, max(c.update_time) AS stamped
      FROM (SELECT history_id, update_time, xmin AS writer FROM history_audit
             WHERE update_time < clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day'
             ORDER BY update_time DESC LIMIT ${RECENT}) a
      JOIN ${DATASETS} c ON c.history_id = a.history_id AND c.xmin = a.writer
     WHERE isfinite(c.update_time)
     GROUP BY a.history_id, a.writer::text`,
  sqlite: `
    SELECT max(a.update_time) AS noticed, max(c.update_time) AS stamped
      FROM (SELECT content_id, max(id) AS id, max(update_time) AS update_time FROM history_audit
             WHERE content_type = 'dataset' GROUP BY content_id ORDER BY id DESC LIMIT ${RECENT}) a
      JOIN ${DATASETS} c ON c.id = a.content_id
     WHERE c.update_time IS NOT NULL
     GROUP BY a.id`,
} as const;

export async function rowClockFinding(db: WatchedDatabase, boundSeconds: number): Promise<Finding> {
  let rows: { noticed: string; stamped: string }[];
  try {
    rows = await db.all(SQL[db.dialect]);
  } catch (error) {
    if (((error as Error).cause as { code?: string } | undefined)?.code !== NOT_ALLOWED) throw error;
    return note(
      `the clock that stamps them cannot be measured; GRANT SELECT (history_id, update_time, xmin) ON ${DATASETS} lets it`,
    );
  }
  const differences = rows
    .map(({ noticed, stamped }) => (parseSql(stamped) - parseSql(noticed)) / 1e6)
    .sort((a, b) => a - b);
  const median = differences[differences.length >> 1];
  if (median === undefined)
    return ok('no dataset was written recently, so the clock that stamps them is unknown');
  const apart = Math.abs(median);
  const said = `they are stamped ${apart.toFixed(3)} s ${median > 0 ? 'ahead of' : 'behind'} the database's clock (median of ${differences.length})`;
  if (apart > boundSeconds) {
    return problem(
      `${said}, and row_clock_difference is ${boundSeconds} s: clients that poll with a time may miss rows; synchronize the clocks of their writers by NTP, or raise it`,
    );
  }
  return apart > TOLERANCE_SECONDS
    ? note(`${said}; synchronize the clocks of their writers by NTP`)
    : ok(said);
}
