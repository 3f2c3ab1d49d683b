import type { Dialect } from '../port.js';
import { TRIGGER_LOCK } from './0006-quiet-triggers.js';
import { withSchema } from './0007-triggers-without-search-path.js';

/**
 * One row per history and statement, as before: all rows of a statement have one time, so the key lets no second one in. DISTINCT
 * was a seventh of what the triggers cost a writer. PostgreSQL sends equal notifications of a transaction once.
 */
export const cheaperTriggers = (dialect: Dialect): string[] =>
  dialect === 'sqlite'
    ? []
    : (['history_id', 'id'] as const).map((column) => withSchema(cheaperFunction(column, NOTIFY(column))));

const NOTIFY = (column: string): string => `
    IF FOUND THEN
      IF pg_try_advisory_xact_lock_shared(${TRIGGER_LOCK}) THEN
        PERFORM pg_notify('galaxy_history_update', ${column}::text) FROM new_table WHERE ${column} IS NOT NULL;
      END IF;
    END IF;`;

/** @param then what it does after the audit rows are written */
export const cheaperFunction = (column: string, then: string): string => `
  CREATE OR REPLACE FUNCTION fn_audit_history_by_${column}() RETURNS trigger LANGUAGE plpgsql AS $body$
  BEGIN
    INSERT INTO history_audit (history_id, update_time)
    SELECT ${column}, (SELECT clock_timestamp() AT TIME ZONE 'UTC')
      FROM new_table WHERE ${column} IS NOT NULL
    ON CONFLICT DO NOTHING;${then}
    RETURN NULL;
  END;
  $body$`;
