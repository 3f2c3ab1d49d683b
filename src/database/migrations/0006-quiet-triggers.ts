import type { Dialect } from '../port.js';

/** "LCNE", 2: whoever gets it shared, NOTIFYs. The leader holds it while it polls. Triggers hold it, so it never changes. */
export const TRIGGER_LOCK = '1279479365, 2';

/** The number of the transaction is taken by the INSERT, before the lock is tried: see `postgres/quiet-triggers.ts`. */
export const quietTriggers = (dialect: Dialect): string[] =>
  dialect === 'sqlite'
    ? []
    : (['history_id', 'id'] as const).map(
        (column) => `
      CREATE OR REPLACE FUNCTION fn_audit_history_by_${column}() RETURNS trigger LANGUAGE plpgsql AS $body$
      BEGIN
        INSERT INTO history_audit (history_id, update_time)
        SELECT ${column}, clock_timestamp() AT TIME ZONE 'UTC'
          FROM new_table WHERE ${column} IS NOT NULL
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
          IF pg_try_advisory_xact_lock_shared(${TRIGGER_LOCK}) THEN
            PERFORM pg_notify('galaxy_history_update', changed.id::text)
               FROM (SELECT DISTINCT ${column} AS id FROM new_table WHERE ${column} IS NOT NULL) changed;
          END IF;
        END IF;
        RETURN NULL;
      END;
      $body$`,
      );
