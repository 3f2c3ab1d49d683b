/**
 * `contents?since=`: the rows of a history that became visible after a position, whatever their times. The token is
 * `<log>.<moment>`; in a delta of several pages it is `<log>.<moment>.<moment of the first page>.<last row>`.
 */
import { LightconeError } from '../../core/errors.js';
import { type Cursor, MAX_ID } from '../../core/events.js';
import type { Dialect, LogEnd, LogPosition } from '../../database/port.js';
import type { Micros } from '../../lib/time.js';
import type { Condition, ContentType } from './contents-filter.js';

/** The positions of the log that this worker knows. */
export interface KnownPositions {
  at(moment: Cursor): LogPosition | null | undefined;
  /** Also null for a moment that this log cannot have issued. */
  ofToken(moment: Cursor): LogPosition | null | undefined;
  /** Maximum difference between the clocks that stamp rows and the clock of the database. */
  readonly rowClock: Micros;
  newest(): LogEnd | undefined;
  oldest(): LogEnd | undefined;
  /** No row that becomes visible after the moment has an earlier time. */
  floor(moment: Cursor): Cursor;
  /** Whether every audit row that became visible since the moment still exists. */
  isWhole(since: Cursor): boolean;
}

export interface Asked {
  /** Undefined: everything, as in the first request. */
  from: LogPosition | undefined;
  moment: Cursor;
  startOver: boolean;
  /** The token of the next request. */
  next: string | null;
  /** Continues the same delta after this row. */
  after: { type: ContentType; id: number } | undefined;
  pageAfter(row: { type: ContentType; id: number }): string;
}

const TOKEN = /^([0-9a-z]{1,16})\.([0-9a-z]{1,11})(?:\.([0-9a-z]{1,11})\.([dc])(\d{1,15}))?$/;
const EVERYTHING = 0;

/** @param token empty in the first request. @throws LightconeError PARAMETER_INVALID */
export function readSince(token: string, positions: KnownPositions): Asked {
  const newest = positions.newest();
  const log = newest?.position.slice(0, newest.position.indexOf('.')) ?? 'none';
  const now = newest?.moment ?? EVERYTHING;
  if (token === '') return asked(log, EVERYTHING, undefined, true, now);
  const [, givenLog, floor, pageMoment, letter, id] = TOKEN.exec(token) ?? [];
  if (givenLog === undefined || floor === undefined || Number(id ?? 0) > MAX_ID) {
    throw new LightconeError(
      'PARAMETER_INVALID',
      `since is ${JSON.stringify(token.slice(0, 100))}; give the since of an event or of an earlier answer, or nothing`,
    );
  }
  const moment = Number.parseInt(floor, 36);
  const after =
    id === undefined
      ? undefined
      : ({ type: letter === 'd' ? 'dataset' : 'dataset_collection', id: Number(id) } as const);
  const isPage = after !== undefined && givenLog === log;
  if (isPage && moment === EVERYTHING)
    return asked(log, moment, undefined, false, Number.parseInt(pageMoment!, 36), after);
  const from = givenLog === log ? positions.ofToken(moment) : undefined;
  if (typeof from !== 'string') return asked(log, EVERYTHING, undefined, true, now);
  return asked(log, moment, from, false, isPage ? Number.parseInt(pageMoment!, 36) : now, after);
}

const asked = (
  log: string,
  floor: Cursor,
  from: LogPosition | undefined,
  startOver: boolean,
  now: Cursor,
  after?: Asked['after'],
): Asked => ({
  from,
  moment: floor,
  startOver,
  next: now === EVERYTHING ? null : `${log}.${now.toString(36)}`,
  after,
  pageAfter: ({ type, id }) =>
    `${log}.${floor.toString(36)}.${now.toString(36)}.${type === 'dataset' ? 'd' : 'c'}${id}`,
});

/**
 * Condition over audit rows `a`: rows that became visible after a position, beside those of the write whose time `$2` is. On
 * SQLite that write itself tells what is behind it (its times are text, of three digits).
 */
export function becameVisibleLate(
  dialect: Dialect,
  position: LogPosition | undefined,
): Condition | undefined {
  if (dialect === 'sqlite') {
    const known = position === undefined ? null : Number(position.slice(position.indexOf('.') + 1));
    return {
      sql: `a.id > coalesce((SELECT max(k.id) FROM history_audit k WHERE k.history_id = $1
                               AND k.update_time BETWEEN rtrim($2, '0') AND $2), ?)`,
      values: [known],
    };
  }
  if (position === undefined) return undefined;
  const where = position.slice(position.indexOf('.') + 1);
  return {
    sql: `(a.xid >= pg_snapshot_xmax(?::pg_snapshot) OR a.xid = ANY (ARRAY(SELECT pg_snapshot_xip(?::pg_snapshot))))
          AND a.xid NOT IN (SELECT k.xid FROM history_audit k WHERE k.history_id = $1 AND k.update_time = $2)`,
    values: [where, where],
  };
}

/**
 * Rows of the history `$1` that became visible after a position. On PostgreSQL the audit rows tell which transactions these
 * are, and a row that such a transaction wrote, in a savepoint perhaps, is not older than it: what is told too much is what
 * others wrote since that transaction began, and it is told once. Where audit rows were pruned, everything counts that is not
 * older than the oldest transaction of then.
 */
export function changedSince(dialect: Dialect, position: LogPosition, isWhole: boolean): Condition {
  const where = position.slice(position.indexOf('.') + 1);
  if (dialect === 'sqlite') {
    return {
      sql: `EXISTS (SELECT 1 FROM history_audit a WHERE a.history_id = $1 AND a.id > ?
                       AND a.content_type = c.type AND a.content_id = c.id)`,
      values: [Number(where)],
    };
  }
  if (!isWhole) return { sql: 'c.row_age <= age(pg_snapshot_xmin(?::pg_snapshot)::xid)', values: [where] };
  return {
    sql: `c.row_age <= (SELECT age(first.xid::xid) FROM (
             SELECT a.xid FROM history_audit a
              WHERE a.history_id = $1 AND (a.xid >= pg_snapshot_xmax(?::pg_snapshot)
                                           OR a.xid = ANY (ARRAY(SELECT pg_snapshot_xip(?::pg_snapshot))))
              ORDER BY a.xid LIMIT 1) first)`,
    values: [where, where],
  };
}
