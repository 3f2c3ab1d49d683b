import { formatSql, type Micros } from '../lib/time.js';
import type { Dialect } from './port.js';

/** On PostgreSQL: "there is something in the outbox", from a process that cannot publish it itself. */
export const OUTBOX_CHANNEL = 'lightcone_outbox';

/**
 * SQL for the database's clock as naive UTC. On PostgreSQL never `now()`, which stands still inside a transaction, nor a
 * form that depends on the session's time zone.
 */
export const utcNow = (dialect: Dialect): string =>
  dialect === 'postgresql' ? "(clock_timestamp() AT TIME ZONE 'UTC')" : "strftime('%Y-%m-%d %H:%M:%f','now')";

/** SQL for the clock minus the seconds bound at `$position`. */
export const utcNowMinus = (dialect: Dialect, position: number): string =>
  dialect === 'postgresql'
    ? `(clock_timestamp() AT TIME ZONE 'UTC' - make_interval(secs => $${position}))`
    : `strftime('%Y-%m-%d %H:%M:%f','now','-' || $${position} || ' seconds')`;

/**
 * SQL for "the moment in this column has come". SQLite compares as text and its clock tells milliseconds, so that `…56.789` is
 * less than `…56.789000`, the same moment as we write it: in its first millisecond it would not have come yet.
 */
export const isDue = (dialect: Dialect, column: string): string =>
  dialect === 'postgresql' ? `${column} <= ${utcNow(dialect)}` : `${column} <= (${utcNow(dialect)} || '999')`;

/**
 * SQL for the latest audit time that is believed: no clock is a day ahead of the database's. A row from then on (`infinity`, a
 * year that was mistyped) would count as new for ever.
 */
export const believedUntil = (dialect: Dialect): string =>
  dialect === 'postgresql'
    ? "(SELECT clock_timestamp() AT TIME ZONE 'UTC' + interval '1 day')"
    : "strftime('%Y-%m-%d %H:%M:%f','now','+1 day')";

/**
 * SQL for the table `asked (caller, history_id, user_id, session_id, is_admin)` from a JSON array of such objects at
 * `$position`. A `bigint`, because an id that was made up may be too large for the column.
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

/** Binds a moment for `column >= $n`: SQLite compares as text, where `…56.789` (as its clock writes) is less than `…56.789000`. */
export const sinceInclusive = (moment: Micros): string => formatSql(moment).replace(/\.?0+$/, '');

/**
 * Columns and values for an UPDATE or INSERT, from an object whose keys come from outside: only those named in `columns`
 * get into a statement; what is undefined is left out.
 */
export const columnValues = (
  values: object,
  columns: readonly string[],
): [column: string, value: string | number | boolean | null][] =>
  columns.flatMap((column) => {
    const value = Object.hasOwn(values, column) ? (values as Record<string, unknown>)[column] : undefined;
    return value === undefined ? [] : [[column, value as string | number | boolean | null]];
  });
