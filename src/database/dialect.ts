import { formatSql, type Micros } from '../lib/time.js';
import type { Dialect } from './port.js';

/** PostgreSQL only: announces an outbox entry from a process that cannot publish it itself. */
export const OUTBOX_CHANNEL = 'lightcone_outbox';

/**
 * SQL for the database's clock as naive UTC. On PostgreSQL never `now()`, which is constant inside a transaction, nor
 * an expression that depends on the time zone of the session.
 */
export const utcNow = (dialect: Dialect): string =>
  dialect === 'postgresql' ? "(clock_timestamp() AT TIME ZONE 'UTC')" : "strftime('%Y-%m-%d %H:%M:%f','now')";

/** SQL for the clock minus the seconds bound at `$position`. */
export const utcNowMinus = (dialect: Dialect, position: number): string =>
  dialect === 'postgresql'
    ? `(clock_timestamp() AT TIME ZONE 'UTC' - make_interval(secs => $${position}))`
    : `strftime('%Y-%m-%d %H:%M:%f','now','-' || $${position} || ' seconds')`;

/**
 * SQL for "the moment in this column has passed". SQLite compares text, and its clock has milliseconds: `…56.789` is
 * less than `…56.789000`, the same moment in our format, so a moment would not be due in its first millisecond.
 */
export const isDue = (dialect: Dialect, column: string): string =>
  dialect === 'postgresql' ? `${column} <= ${utcNow(dialect)}` : `${column} <= (${utcNow(dialect)} || '999')`;

/**
 * SQL for the latest credible audit time: no clock is a day ahead of the database's. A later row (`infinity`, a
 * mistyped year) would count as new for ever.
 */
export const believedUntil = (dialect: Dialect): string =>
  dialect === 'postgresql'
    ? "(SELECT clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day')"
    : "strftime('%Y-%m-%d %H:%M:%f','now','+1 day')";

/**
 * SQL for the table `asked (caller, history_id, user_id, session_id, is_admin)` from a JSON array of such objects at
 * `$position`. A `bigint`, because a forged id may be too large for the column.
 */
export const askedByCaller = (dialect: Dialect, position: number): string =>
  dialect === 'postgresql'
    ? `json_to_recordset($${position}::json)
         AS asked(caller integer, history_id bigint, user_id integer, session_id integer, is_admin boolean)`
    : `(SELECT value ->> 'caller' AS caller, value ->> 'history_id' AS history_id, value ->> 'user_id' AS user_id,
               value ->> 'session_id' AS session_id, value ->> 'is_admin' AS is_admin
          FROM json_each($${position})) AS asked`;

/** SQL for the table `asked (user_id, since)` from a JSON array of such objects at `$position`. */
export const askedByUser = (dialect: Dialect, position: number): string =>
  dialect === 'postgresql'
    ? `json_to_recordset($${position}::json) AS asked(user_id integer, since timestamp)`
    : `(SELECT value ->> 'user_id' AS user_id, value ->> 'since' AS since FROM json_each($${position})) AS asked`;

/**
 * Binds a moment for `column >= $n`: SQLite compares text, and `…56.789` (the format of its clock) is less than
 * `…56.789000`.
 */
export const sinceInclusive = (moment: Micros): string => formatSql(moment).replace(/\.?0+$/, '');

/**
 * Columns and values for an UPDATE or INSERT, from an object whose keys come from outside. Only keys listed in
 * `columns` get into the statement; undefined values are omitted.
 */
export const columnValues = (
  values: object,
  columns: readonly string[],
): [column: string, value: string | number | boolean | null][] =>
  columns.flatMap((column) => {
    const value = Object.hasOwn(values, column) ? (values as Record<string, unknown>)[column] : undefined;
    return value === undefined ? [] : [[column, value as string | number | boolean | null]];
  });
